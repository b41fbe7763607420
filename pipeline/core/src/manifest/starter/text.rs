//! The manifest as text.

use std::fmt::Write as _;

use super::key::KeyGuess;
use super::names::{self, FileNames, key_text, value_text};
use super::references::{self, ReferenceGuess, ReferenceTogether, References};
use super::remarks::{self, Remarks};
use super::syntax::{self, by_place};
use super::{ColumnSample, DatasetGuess, Sample, key, nulls};
use crate::printable::printable_line;
use crate::syntax::Delimiter;

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
    for (guess, references) in guesses.iter().zip(&references) {
        let about = remarks::about(guess, references, &guesses);
        write_dataset(&mut text, guess, &about, &guesses, references);
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
    let nulls = nulls::guess(&sample.columns);
    let key = key::guess(&sample.columns, &name, &nulls);
    Ok(DatasetGuess { name, files, sample, key, nulls })
}

// Writing to a text cannot fail.
fn write_dataset(
    text: &mut String,
    guess: &DatasetGuess<'_>,
    remarks: &Remarks,
    all: &[DatasetGuess<'_>],
    references: &References,
) {
    let _ = writeln!(text, "  {}:", guess.name);
    for detail in remarks.details() {
        let _ = writeln!(text, "    # {detail}");
    }
    let _ = writeln!(text, "    files: {}", value_text(&guess.files));
    let csv = in_braces(&syntax::settings(guess));
    if !csv.is_empty() {
        let _ = writeln!(text, "    csv: {csv}");
    }
    let _ = writeln!(text, "    {}", key_line(guess));
    write_references(text, guess, all, &references.together);
    let _ = writeln!(text, "    columns:");
    for (index, column) in guess.sample.columns.iter().enumerate() {
        let _ = writeln!(text, "      {}", column_line(guess, column, index, references.single[index], all));
    }
}

fn in_braces(settings: &[(&str, String)]) -> String {
    let settings: Vec<String> = settings.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    if settings.is_empty() { String::new() } else { format!("{{{}}}", settings.join(", ")) }
}

/// The key, or a comment that asks for it.
fn key_line(guess: &DatasetGuess<'_>) -> String {
    match &guess.key {
        KeyGuess::Column(key) | KeyGuess::Unsure(key, _) => {
            format!("key: {}", value_text(&guess.sample.columns[*key].name))
        }
        KeyGuess::Together(columns) => format!("key: {}", column_list(guess.sample, columns)),
        KeyGuess::Perhaps(columns) => format!(
            "# key: {}\n    # 'tidegate check' fails until a key is chosen: this one, another, or 'key: none'",
            column_list(guess.sample, columns)
        ),
        KeyGuess::Repeated | KeyGuess::None(_) => {
            "# key: none\n    # 'tidegate check' fails until a key is chosen: the columns \
             that identify a row, or 'none' if each line is a row of its own"
                .into()
        }
    }
}

/// The names of columns, as a list in YAML.
fn column_list(sample: &Sample, columns: &[usize]) -> String {
    let names: Vec<String> = columns.iter().map(|column| value_text(&sample.columns[*column].name)).collect();
    format!("[{}]", names.join(", "))
}

/// The references of several columns. One with values that are not there is a comment.
fn write_references(
    text: &mut String,
    guess: &DatasetGuess<'_>,
    all: &[DatasetGuess<'_>],
    together: &[ReferenceTogether],
) {
    let line = |reference: &ReferenceTogether| {
        let columns = column_list(guess.sample, &reference.columns);
        format!("{{columns: {columns}, to: {}}}", all[reference.dataset].name)
    };
    let (whole, lacking): (Vec<_>, Vec<_>) = together.iter().partition(|reference| reference.lacking == 0);
    for reference in lacking {
        let (line, count) = (line(reference), reference.lacking);
        let _ = writeln!(text, "    # references: [{line}] # {count} values are not in the sample");
    }
    if !whole.is_empty() {
        let lines: Vec<String> = whole.into_iter().map(line).collect();
        let _ = writeln!(text, "    references: [{}]", lines.join(", "));
    }
}

fn column_line(
    guess: &DatasetGuess<'_>,
    column: &ColumnSample,
    index: usize,
    references: Option<ReferenceGuess>,
    all: &[DatasetGuess<'_>],
) -> String {
    let (name, kind) = (key_text(&column.name), column.kind);
    let is_optional = guess.is_optional(index);
    let target = references.map(|reference| {
        let other = &all[reference.dataset];
        match reference.to {
            Some(to) => value_text(&format!("{}.{}", other.name, other.sample.columns[to].name)),
            None => other.name.clone(),
        }
    });
    let mut settings = vec![("type", kind.to_string())];
    settings.extend(column_settings(guess, column, index));
    if is_optional {
        settings.push(("optional", "true".into()));
    }
    settings.extend(target.clone().map(|target| ("references", target)));
    let mut value = match &settings[..] {
        [(_, kind)] => kind.clone(),
        settings => in_braces(settings),
    };
    let mut comments = Vec::new();
    if !column.example.is_empty() && column.meaning.is_none() {
        comments.push(format!("as in \"{}\"", column.example));
    }
    comments.extend(rejected(guess, column, index));
    if let Some(meaning) = &column.meaning {
        comments.push(remarks::in_words(meaning));
    }
    comments.extend(column.hint.clone());
    if let (Some(ReferenceGuess { lacking: lacking @ 1.., .. }), Some(target)) = (references, target) {
        comments.push(format!("{lacking} values are not in the sample of {target}"));
    }
    if !comments.is_empty() {
        let _ = write!(value, " # {}", printable_line(&comments.join("; ")));
    }
    format!("{name}: {value}")
}

/// The settings of a column that say where its values are, and how they are written.
fn column_settings(
    guess: &DatasetGuess<'_>,
    column: &ColumnSample,
    index: usize,
) -> Vec<(&'static str, String)> {
    let syntax = &guess.sample.layout.syntax;
    let mut settings = Vec::new();
    if let Delimiter::Widths(widths) = &syntax.dialect.delimiter {
        settings.extend(widths.get(index).map(|width| ("at", format!("{}..{}", width.from, width.to))));
    } else if let Some(name) = column.renamed.as_ref().filter(|name| name.trim() != column.name)
        && by_place(guess.sample).is_none()
    {
        settings.push(("from", names::quoted(name)));
    }
    let is_trimmed = syntax.dialect.trim;
    settings.extend(column.notation.settings().into_iter().filter(|(key, _)| *key != "trim" || !is_trimmed));
    let null = guess.nulls.own(index);
    match &null[..] {
        [] => {}
        [one] => settings.push(("null", names::quoted(one))),
        several => settings.push(("null", names::quoted_list(several))),
    }
    settings
}

/// How many values of a column are rejected, and why. `None` if none is.
fn rejected(guess: &DatasetGuess<'_>, column: &ColumnSample, index: usize) -> Option<String> {
    let mut rejected = Vec::new();
    let is_optional = guess.is_optional(index);
    if column.empty > 0 && !is_optional {
        rejected.push(format!("{} empty", column.empty));
    }
    let nulls = guess.nulls.count(index, column);
    if nulls > 0 && !is_optional {
        rejected.push(format!("{nulls} missing"));
    }
    if column.misfits > 0 {
        rejected.push(format!("{} no {}", column.misfits, column.kind));
    }
    (!rejected.is_empty())
        .then(|| format!("of {} sampled: {}; these are rejected", column.rows(), rejected.join(", ")))
}
