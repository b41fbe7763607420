//! What a person should know about a guessed dataset.

use super::column::Meaning;
use super::key::KeyGuess;
use super::markers::MARKERS;
use super::references::References;
use super::syntax::by_place;
use super::{DatasetGuess, Sample};
use crate::printable::printable_line;
use crate::syntax::Delimiter;

/// What was found in a file, and what is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// The file's name.
    pub file_name: String,
    /// What was found, in one line.
    pub found: String,
    /// What the settings were found by.
    pub evidence: Vec<String>,
    /// What keeps the pipeline from reading the file as it is, each with what to do.
    pub obstacles: Vec<String>,
    /// What may be a wrong guess.
    pub doubts: Vec<String>,
}

impl Remarks {
    /// Returns obstacles, evidence and doubts, each as one printable line that says which of them it is.
    pub fn details(&self) -> impl Iterator<Item = String> {
        let kinds = [
            ("not read as it is: ", &self.obstacles),
            ("found: ", &self.evidence),
            ("not sure: ", &self.doubts),
        ];
        kinds.into_iter().flat_map(|(begin, of_kind)| {
            of_kind.iter().map(move |what| format!("{begin}{}", printable_line(what)))
        })
    }
}

/// The remarks on one dataset.
pub(super) fn about(guess: &DatasetGuess<'_>, references: &References, all: &[DatasetGuess<'_>]) -> Remarks {
    let layout = &guess.sample.layout;
    let mut remarks = Remarks {
        file_name: guess.sample.file_name.clone(),
        found: found(guess),
        evidence: layout.evidence.clone(),
        obstacles: layout.obstacles.clone(),
        doubts: layout.doubts.clone(),
    };
    of_header(guess.sample, &mut remarks);
    of_key(guess, &mut remarks);
    of_missing(guess, &mut remarks);
    of_values(guess, &mut remarks);
    of_lines(guess.sample, &mut remarks);
    for reference in references.together.iter().filter(|reference| reference.lacking > 0) {
        remarks.doubts.push(format!(
            "{} seem to reference '{}', but {} of their values are not in its sample",
            named(guess.sample, &reference.columns),
            all[reference.dataset].name,
            reference.lacking
        ));
    }
    remarks
}

fn found(guess: &DatasetGuess<'_>) -> String {
    let sample = guess.sample;
    let (bytes, rows, columns) = (sample.layout.bytes, sample.rows, sample.columns.len());
    let looked = match sample.layout.whole {
        true => format!("all {bytes} bytes"),
        false => format!("the first {bytes} bytes"),
    };
    let header = if sample.header.is_some() { "a header" } else { "no header" };
    let delimiter = match &sample.layout.syntax.dialect.delimiter {
        Delimiter::Byte(b'\t') => "delimiter tab".to_owned(),
        Delimiter::Byte(byte) => format!("delimiter \"{}\"", char::from(*byte)),
        Delimiter::Text(text) => format!("delimiter \"{text}\""),
        Delimiter::Whitespace => "blanks as delimiter".into(),
        Delimiter::Widths(_) => "fields of fixed width".into(),
    };
    let key = match guess.key.columns() {
        [] => "no key".to_owned(),
        columns => format!("key {}", named(sample, columns)),
    };
    let null: Vec<String> = guess.nulls.all().iter().map(|null| format!("\"{null}\"")).collect();
    let null =
        if null.is_empty() { String::new() } else { format!(", missing values as {}", null.join(", ")) };
    format!("{rows} rows of {columns} columns in {looked}: {header}, {delimiter}, {key}{null}")
}

/// The names of columns, in words.
fn named(sample: &Sample, columns: &[usize]) -> String {
    let names: Vec<String> =
        columns.iter().map(|column| format!("'{}'", sample.columns[*column].name)).collect();
    names.join(" and ")
}

fn of_header(sample: &Sample, remarks: &mut Remarks) {
    match (&sample.header, sample.sure_of_header) {
        (Some(_), false) => remarks.doubts.push(
            "the first line seems to name the columns, but it might be a row: without names set 'header: false'".into(),
        ),
        (None, false) => remarks.doubts.push(
            "the first line looks like the others and is taken for a row: if it names the columns set 'header: true' \
             and name them so"
                .into(),
        ),
        _ => {}
    }
    if let Some(why) = by_place(sample) {
        remarks.evidence.push(format!("{why}: its line is skipped, and columns are taken by their place"));
        return;
    }
    for column in &sample.columns {
        let Some(name) = &column.renamed else { continue };
        let ours = &column.name;
        remarks.evidence.push(match name.trim() {
            "" => format!("the header leaves a column without a name, here '{ours}'"),
            trimmed if trimmed == ours => continue,
            _ => format!(
                "the header says '{}', which cannot be the name of a column; here it is '{ours}'",
                printable_line(name)
            ),
        });
    }
}

fn of_key(guess: &DatasetGuess<'_>, remarks: &mut Remarks) {
    let name = |index: usize| guess.sample.columns[index].name.as_str();
    let doubt = match &guess.key {
        KeyGuess::Column(_) => return,
        KeyGuess::Unsure(column, why) => format!("'{}' seems to be the key, but {why}", name(*column)),
        KeyGuess::Together(columns) => {
            let together = named(guess.sample, columns);
            let told = format!(
                "no column is the key by itself; {together} are distinct together in all {} rows",
                guess.sample.rows
            );
            match guess.sample.layout.whole {
                true => remarks.evidence.push(told),
                false => remarks.doubts.push(format!("{told} of the sample, which is not the whole file")),
            }
            return;
        }
        KeyGuess::Perhaps(columns) => format!(
            "no column is the key by itself; {} are distinct together in {} rows, perhaps by chance",
            named(guess.sample, columns),
            guess.sample.rows
        ),
        KeyGuess::Repeated => {
            "some rows are the same in all columns: if each line is a row of its own, the key is none".into()
        }
        KeyGuess::None(Some(column)) => format!(
            "no column is surely the key; '{}' is distinct in {} rows, perhaps by chance",
            name(*column),
            guess.sample.rows
        ),
        KeyGuess::None(None) if guess.sample.rows == 0 => {
            "there are no rows, so nothing tells which column is the key".into()
        }
        KeyGuess::None(None) => {
            "no column is the key: each lacks values, repeats some, or holds what rarely is one \
                                 (amounts, long texts, true and false)"
                .into()
        }
    };
    remarks.doubts.push(doubt);
}

fn of_missing(guess: &DatasetGuess<'_>, remarks: &mut Remarks) {
    for (index, column) in guess.sample.columns.iter().enumerate().filter(|(_, column)| column.is_text()) {
        let found = column.markers.iter().enumerate().filter(|(_, count)| **count > 0);
        for (marker, count) in found {
            let (text, name) = (MARKERS[marker], &column.name);
            if !guess.nulls.has(index, marker) {
                remarks.doubts.push(format!(
                    "'{name}' has \"{text}\" {count} times and keeps it as text: if it means missing, add it to 'null' \
                     of the column"
                ));
            } else if !super::markers::is_no_word(marker) {
                remarks.doubts.push(format!(
                    "'{name}' has \"{text}\" {count} times, which is read as missing there too"
                ));
            }
        }
    }
}

fn of_values(guess: &DatasetGuess<'_>, remarks: &mut Remarks) {
    for column in &guess.sample.columns {
        if let Some(meaning) = &column.meaning {
            remarks.doubts.push(format!("'{}' stays text: {}", column.name, in_words(meaning)));
        }
        if let Some(hint) = &column.hint {
            remarks.doubts.push(format!("'{}' is {}: {hint}", column.name, column.kind));
        }
    }
}

fn of_lines(sample: &Sample, remarks: &mut Remarks) {
    let Sample { ragged, short, rows, layout, .. } = sample;
    let (all, width) = (ragged + rows, layout.width);
    if sample.odd.trailing_delimiter && sample.header.is_none() {
        let what = "all lines end in a delimiter: without 'trailing_delimiter' they have one field more, which is \
                    empty";
        remarks.doubts.push(what.into());
    }
    if sample.repeated_headers > 0 {
        remarks
            .evidence
            .push(format!("the header is repeated {} times, which is recognised", sample.repeated_headers));
    }
    if layout.syntax.pads {
        remarks.doubts.push(
            "many lines have fewer fields than names: 'short_rows: pad' takes the missing ones for empty"
                .into(),
        );
    }
    if *ragged > 0 {
        let pad = match short {
            0 => String::new(),
            short => format!("; 'short_rows: pad' would read the {short} short ones"),
        };
        remarks
            .doubts
            .push(format!("{ragged} of {all} lines do not have {width} fields: they are rejected{pad}"));
    }
}

/// What the values of a column may mean.
pub(super) fn in_words(meaning: &Meaning) -> String {
    let Meaning { kind, how, example } = meaning;
    match example.as_str() {
        "" => format!("{kind}, {how}"),
        example => format!("{kind}, {how}, as in \"{example}\""),
    }
}
