//! The manifest as text.

use std::fmt::Write as _;

use super::names::{self, FileNames, key_text, value_text};
use super::references::{self, ReferenceGuess};
use super::remarks::{self, Remarks};
use super::{ColumnSample, DatasetGuess, Sample, key};
use crate::printable::printable_line;

/// A manifest to start from.
#[derive(Clone, Debug)]
pub struct Starter {
    /// The text of the manifest.
    pub text: String,
    /// What a person should know about each dataset.
    pub remarks: Vec<Remarks>,
    /// The files that are not in the manifest, each with the reason.
    pub left_out: Vec<(String, &'static str)>,
}

/// Writes a manifest for the samples, with comments on what to check. A sample without columns, or with the file name
/// of an earlier sample, is left out. `pipeline` is turned into a valid name.
pub fn write(samples: &[Sample], pipeline: &str) -> Starter {
    let pipeline = names::pipeline(pipeline);
    let mut files = FileNames::new(&pipeline);
    let (mut guesses, mut left_out) = (Vec::new(), Vec::new());
    for sample in samples {
        match guess(sample, &mut files) {
            Ok(guess) => guesses.push(guess),
            Err(why) => left_out.push((sample.file_name.clone(), why)),
        }
    }
    let mut text = format!(
        "# Inferred from samples: check keys, types and references before the first run.\n\
         pipeline: {pipeline}\n\
         landing: landing # files dropped here are read, and moved to landing/done when all is accounted for\n\
         views: sql/views # one metric query a file\n\n\
         datasets:\n"
    );
    if guesses.is_empty() {
        text.push_str(EXAMPLE);
    }
    let references = references::guess(&guesses);
    let mut remarks = Vec::new();
    for (index, guess) in guesses.iter().enumerate() {
        let about = remarks::about(guess);
        write_dataset(&mut text, guess, &about, &guesses, &references[index]);
        remarks.push(about);
    }
    Starter { text, remarks, left_out }
}

/// The datasets of a manifest without samples.
const EXAMPLE: &str = "  example: # no sample to infer from; replace this\n    key: id\n    columns:\n      \
                       id: integer\n      name: text\n";

fn guess<'a>(sample: &'a Sample, files: &mut FileNames) -> Result<DatasetGuess<'a>, &'static str> {
    if sample.columns.is_empty() {
        return Err("nothing in it is divided into columns: it is empty, or no CSV");
    }
    let (name, files) =
        files.take(&sample.file_name).ok_or("another file has its name: give one of each dataset")?;
    let key = key::guess(&sample.columns, &name);
    Ok(DatasetGuess { name, files, sample, key, null: sample.null_marker() })
}

// Writing to a text cannot fail.
fn write_dataset(
    text: &mut String,
    guess: &DatasetGuess<'_>,
    remarks: &Remarks,
    all: &[DatasetGuess<'_>],
    references: &[Option<ReferenceGuess>],
) {
    let _ = writeln!(text, "  {}:", guess.name);
    for obstacle in &remarks.obstacles {
        let _ = writeln!(text, "    # not read as it is: {}", printable_line(obstacle));
    }
    for doubt in &remarks.doubts {
        let _ = writeln!(text, "    # not sure: {}", printable_line(doubt));
    }
    let _ = writeln!(text, "    files: {}", value_text(&guess.files));
    let layout = &guess.sample.layout;
    let delimiter = (layout.delimiter != b',')
        .then(|| format!("delimiter: {:?}", char::from(layout.delimiter).to_string()));
    let header = guess.sample.header.is_some().then(|| "header: true".to_owned());
    let null = guess.sample.null().map(|null| format!("null: {}", names::quoted(null)));
    let dialect: Vec<String> = delimiter.into_iter().chain(header).chain(null).collect();
    if !dialect.is_empty() {
        let _ = writeln!(text, "    csv: {{{}}}", dialect.join(", "));
    }
    let _ = match guess.key.column() {
        Some(key) => writeln!(text, "    key: {}\n    columns:", value_text(&guess.sample.columns[key].name)),
        None => writeln!(
            text,
            "    # key: which column identifies a row? 'tidegate check' fails until this says it\n    columns:"
        ),
    };
    for (index, column) in guess.sample.columns.iter().enumerate() {
        let target =
            references[index].map(|reference| (all[reference.dataset].name.as_str(), reference.lacking));
        let _ = writeln!(text, "      {}", column_line(guess, column, index, target));
    }
}

fn column_line(
    guess: &DatasetGuess<'_>,
    column: &ColumnSample,
    index: usize,
    references: Option<(&str, usize)>,
) -> String {
    let (name, kind) = (key_text(&column.name), column.kind);
    let optional = guess.is_optional(index);
    let mut value = match (optional, references) {
        (false, None) => kind.to_string(),
        (true, None) => format!("{{type: {kind}, optional: true}}"),
        (false, Some((target, _))) => format!("{{type: {kind}, references: {target}}}"),
        (true, Some((target, _))) => format!("{{type: {kind}, optional: true, references: {target}}}"),
    };
    let (mut rejected, mut doubts) = (Vec::new(), Vec::new());
    if column.empty > 0 && !optional {
        rejected.push(format!("{} empty", column.empty));
    }
    let nulls = guess.nulls(column);
    if nulls > 0 && !optional {
        rejected.push(format!("{nulls} \"{}\"", guess.sample.null().unwrap_or_default()));
    }
    if column.misfits > 0 {
        rejected.push(format!("{} no {kind}", column.misfits));
    }
    if !rejected.is_empty() {
        doubts.push(format!("of {} sampled: {}; these are rejected", column.rows(), rejected.join(", ")));
    }
    if column.meaning.is_some() {
        doubts.push(format!("{}: text keeps it", remarks::in_words(column)));
    }
    if let Some((target, lacking @ 1..)) = references {
        doubts.push(format!("{lacking} values are not in the sample of {target}"));
    }
    if !doubts.is_empty() {
        let _ = write!(value, " # {}", printable_line(&doubts.join("; ")));
    }
    format!("{name}: {value}")
}
