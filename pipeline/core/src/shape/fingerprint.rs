//! What identifies the rules of a dataset, and the columns and the form of its lines.

use super::Form;
use crate::manifest::{Column, Dataset, Manifest, Reading, Reference};
use crate::syntax::Syntax;

/// Identifies the rules of a dataset: the names of its columns in any order, what each value must be, and whether it
/// may be missing.
pub fn rules(manifest: &Manifest, dataset: &Dataset) -> String {
    let mut columns: Vec<String> = dataset
        .columns
        .iter()
        .enumerate()
        .map(|(i, column)| {
            let references = reference_of(manifest, dataset, i);
            let rules = (&column.name, column.kind, column.optional, references, &column.rules);
            match settings(dataset, column) {
                Some(reading) => format!("{rules:?} {reading:?}"),
                None => format!("{rules:?}"),
            }
        })
        .collect();
    columns.sort_unstable();
    let key = dataset.names(&dataset.key);
    let mut text = format!("{columns:?} {key} {}", manifest.max_record_bytes);
    for column in dataset.columns.iter().filter(|column| !column.is_field()) {
        text += &format!(" {} {:?}", column.name, column.origin);
    }
    for reference in dataset.references.iter().filter(|reference| !is_plain(manifest, reference)) {
        let parent = &manifest.datasets[reference.dataset];
        let to = parent.names(&reference.to);
        text += &format!(" {:?}", (reference.name(dataset), &parent.name, to));
    }
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

/// The name of the dataset whose key a column, by its index, references alone.
fn reference_of<'a>(manifest: &'a Manifest, dataset: &Dataset, column: usize) -> Option<&'a str> {
    let mut plain = dataset.references.iter().filter(|reference| is_plain(manifest, reference));
    let reference = plain.find(|reference| reference.columns == [column])?;
    Some(&manifest.datasets[reference.dataset].name)
}

/// Whether a reference is of one column to a key.
fn is_plain(manifest: &Manifest, reference: &Reference) -> bool {
    reference.columns.len() == 1 && reference.to == manifest.datasets[reference.dataset].key
}

/// The fingerprint that lines of a dataset carry on topics: of their columns, and of how they are written. Never 0.
fn fingerprint(dataset: &Dataset, form: Form) -> u32 {
    let columns: Vec<_> = dataset.columns.iter().map(|column| (&column.name, column.kind)).collect();
    let dialect = form.dialect(dataset).clone();
    // A dataset without settings of later versions has the fingerprint that it had in earlier ones.
    let mut text = match (Syntax::of_dialect(dialect.clone()).plain(), &dataset.csv.null[..]) {
        _ if form == Form::Canonical => format!("{columns:?} canonical"),
        (Some((delimiter, quote)), [] | [_]) => {
            format!("{columns:?} {delimiter} {quote} {:?}", dataset.csv.null.first())
        }
        (_, null) => format!("{columns:?} {dialect:?} {null:?}"),
    };
    for (column, reading) in dataset.columns.iter().filter_map(|c| Some((&c.name, settings(dataset, c)?))) {
        text.push_str(&format!(" {column:?} {reading:?}"));
    }
    let hash = blake3::hash(text.as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d]).max(1)
}

/// How the texts of a column are read, if there is more to say than the dataset's dialect does. Without it, the
/// fingerprints are those of versions that had no such settings.
fn settings<'a>(dataset: &Dataset, column: &'a Column) -> Option<&'a Reading> {
    let nulls = dataset.csv.null.iter().take(1).cloned().collect();
    (column.reading != Reading { nulls, ..Reading::default() }).then_some(&column.reading)
}

/// The fingerprints that lines of a dataset carry on topics, by form.
pub fn fingerprints(dataset: &Dataset) -> [u32; Form::ALL.len()] {
    Form::ALL.map(|form| fingerprint(dataset, form))
}

/// The form of a line that carries this fingerprint, given those of its dataset today. `None` if the line has other
/// columns or another dialect. A fingerprint of 0 says nothing, and the line is taken as given.
pub fn form_of(fingerprint: u32, own: &[u32; Form::ALL.len()]) -> Option<Form> {
    Form::ALL.into_iter().find(|form| fingerprint == 0 || own[*form as usize] == fingerprint)
}
