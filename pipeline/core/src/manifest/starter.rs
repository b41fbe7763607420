//! A first manifest, inferred from samples of files.
//!
//! Feed the rows of a file to an [`Inference`], and give the [`Sample`]s of all files to [`write()`]. What
//! comes out is a guess for a person to check, and [`Manifest::parse`](super::Manifest::parse) accepts it.

mod column;
mod inference;
mod names;
mod references;

use std::fmt::Write as _;

pub use column::ColumnSample;
pub use inference::Inference;

use names::{Files, key_text, value_text};

/// What the rows of one file look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The file's name, without its folder.
    pub file_name: String,
    /// The names in its first record, where that seems to be a header.
    pub header: Option<Vec<String>>,
    /// Its columns, in order.
    pub columns: Vec<ColumnSample>,
    /// What stands between its fields.
    pub delimiter: u8,
}

/// A dataset as it will be written.
struct Guess<'a> {
    name: String,
    files: String,
    header: bool,
    delimiter: u8,
    key: usize,
    columns: &'a [ColumnSample],
}

/// Writes a manifest for the samples, with comments on what to check. Samples without a column, and a
/// second one of the same file name, are left out. `pipeline` is made a valid name.
pub fn write(samples: &[Sample], pipeline: &str) -> String {
    let pipeline = names::pipeline(pipeline);
    let mut files = Files::new(&pipeline);
    let guesses: Vec<Guess<'_>> = samples.iter().filter_map(|sample| guess(sample, &mut files)).collect();
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
    for (index, guess) in guesses.iter().enumerate() {
        write_dataset(&mut text, guess, &guesses, &references[index]);
    }
    text
}

/// What stands in a manifest for which there were no samples.
const EXAMPLE: &str = "  example: # no sample to infer from; replace this\n    key: id\n    columns:\n      \
                       id: integer\n      name: text\n";

fn guess<'a>(sample: &'a Sample, files: &mut Files) -> Option<Guess<'a>> {
    if sample.columns.is_empty() {
        return None;
    }
    let (name, files) = files.take(&sample.file_name)?;
    let key = key_of(&sample.columns);
    Some(Guess {
        name,
        files,
        header: sample.header.is_some(),
        delimiter: sample.delimiter,
        key,
        columns: &sample.columns,
    })
}

/// The column named `id`, else the first that could be a key, else the first.
fn key_of(columns: &[ColumnSample]) -> usize {
    let named = columns.iter().position(|column| column.name.eq_ignore_ascii_case("id"));
    named.or_else(|| columns.iter().position(ColumnSample::identifies)).unwrap_or(0)
}

fn write_dataset(text: &mut String, guess: &Guess<'_>, all: &[Guess<'_>], references: &[Option<usize>]) {
    let key = &guess.columns[guess.key];
    let unsure = if key.identifies() { "" } else { " # check: in the sample its values are not distinct" };
    let mut lines = format!("  {}:\n    files: {}\n", guess.name, value_text(&guess.files));
    let delimiter =
        (guess.delimiter != b',').then(|| format!("delimiter: {:?}", char::from(guess.delimiter)));
    let header = guess.header.then(|| "header: true".to_owned());
    let dialect: Vec<String> = delimiter.into_iter().chain(header).collect();
    if !dialect.is_empty() {
        let _ = writeln!(lines, "    csv: {{{}}}", dialect.join(", "));
    }
    // Writing to a text cannot fail.
    let _ = writeln!(lines, "    key: {}{unsure}\n    columns:", value_text(&key.name));
    for (index, column) in guess.columns.iter().enumerate() {
        let optional = column.optional() && index != guess.key;
        let target = references[index].map(|target| all[target].name.as_str());
        let _ = writeln!(lines, "      {}", column_line(column, optional, target));
    }
    text.push_str(&lines);
}

fn column_line(column: &ColumnSample, optional: bool, references: Option<&str>) -> String {
    let (name, kind) = (key_text(&column.name), column.kind);
    let mut value = match (optional, references) {
        (false, None) => kind.to_string(),
        (true, None) => format!("{{type: {kind}, optional: true}}"),
        (false, Some(target)) => format!("{{type: {kind}, references: {target}}}"),
        (true, Some(target)) => format!("{{type: {kind}, optional: true, references: {target}}}"),
    };
    let mut doubts = Vec::new();
    if column.empty > 0 && !optional {
        doubts.push(format!("{} empty", column.empty));
    }
    if column.misfits > 0 {
        doubts.push(format!("{} no {kind}", column.misfits));
    }
    if !doubts.is_empty() {
        let _ = write!(value, " # of {} sampled: {}; these are rejected", column.rows(), doubts.join(", "));
    }
    format!("{name}: {value}")
}
