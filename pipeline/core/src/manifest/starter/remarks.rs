//! What a person should know about a guessed dataset.

use super::key::KeyGuess;
use super::markers::{MARKERS, is_no_word};
use super::{ColumnSample, DatasetGuess};

/// What was found in a file, and what is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// The file's name.
    pub file_name: String,
    /// What was found, in one line.
    pub found: String,
    /// What keeps the pipeline from reading the file as it is, each with what to do.
    pub obstacles: Vec<String>,
    /// What may be a wrong guess.
    pub doubts: Vec<String>,
}

/// The remarks on one dataset.
pub(super) fn about(guess: &DatasetGuess<'_>) -> Remarks {
    let mut remarks = Remarks {
        file_name: guess.sample.file_name.clone(),
        found: found(guess),
        obstacles: guess.sample.layout.obstacles.clone(),
        doubts: guess.sample.layout.doubts.clone(),
    };
    of_header(guess, &mut remarks);
    of_key(guess, &mut remarks);
    of_missing(guess, &mut remarks);
    of_values(guess, &mut remarks);
    if guess.sample.ragged > 0 {
        let what = format!(
            "{} of {} lines do not have {} fields: they are rejected",
            guess.sample.ragged,
            guess.sample.ragged + guess.sample.rows,
            guess.sample.layout.width
        );
        remarks.doubts.push(what);
    }
    remarks
}

fn found(guess: &DatasetGuess<'_>) -> String {
    let sample = guess.sample;
    let (bytes, rows, columns) = (guess.sample.layout.bytes, sample.rows, guess.sample.columns.len());
    let looked = match guess.sample.layout.whole {
        true => format!("all {bytes} bytes"),
        false => format!("the first {bytes} bytes"),
    };
    let header = if sample.header.is_some() { "a header" } else { "no header" };
    let delimiter = match guess.sample.layout.delimiter {
        b'\t' => "tab".to_owned(),
        byte => format!("\"{}\"", char::from(byte)),
    };
    let key = match guess.key.column() {
        Some(key) => format!("key '{}'", guess.sample.columns[key].name),
        None => "no key".to_owned(),
    };
    let null = sample.null().map(|null| format!(", missing values as \"{null}\"")).unwrap_or_default();
    format!("{rows} rows of {columns} columns in {looked}: {header}, delimiter {delimiter}, {key}{null}")
}

fn of_header(guess: &DatasetGuess<'_>, remarks: &mut Remarks) {
    let sample = guess.sample;
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
    if sample.odd.trailing_delimiter {
        remarks.obstacles.push(
            "lines end in a delimiter, so that the header has a last, empty name, which a run refuses: take it away".into(),
        );
    }
    if sample.odd.short_header {
        remarks.obstacles.push(
            "the header has one name less than lines have fields, as R writes it, and a run rejects such lines: name the \
             first column"
                .into(),
        );
    }
    for column in &guess.sample.columns {
        if let Some(name) = &column.renamed
            && !sample.odd.short_header
        {
            remarks.obstacles.push(match name.trim().is_empty() {
                true => format!(
                    "the header leaves a column without a name, here '{}'; a run refuses that: name it in the file",
                    column.name
                ),
                false => format!(
                    "the header says '{name}', which cannot be the name of a column, or of two; here it is '{}': rename it in \
                     the file",
                    column.name
                ),
            });
        }
    }
}

fn of_key(guess: &DatasetGuess<'_>, remarks: &mut Remarks) {
    let name = |index: usize| guess.sample.columns[index].name.as_str();
    let doubt = match &guess.key {
        KeyGuess::Column(_) => return,
        KeyGuess::Unsure(column, why) => format!("'{}' seems to be the key, but {why}", name(*column)),
        KeyGuess::Together(columns) => {
            let names: Vec<String> = columns.iter().map(|column| format!("'{}'", name(*column))).collect();
            format!(
                "no column is the key by itself; {} are distinct together: a key has one column, so give rows one of their \
                 own, or one that joins these",
                names.join(" and ")
            )
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
    for column in &guess.sample.columns {
        let found = column.markers.iter().enumerate().filter(|(_, count)| **count > 0);
        for (marker, count) in found {
            let (text, name) = (MARKERS[marker], &column.name);
            let is_null = guess.null == Some(marker);
            if is_null && column.is_text() && !guess.means_missing(column) {
                remarks.doubts.push(format!("'{name}' has \"{text}\" {count} times: missing, or a code?"));
            } else if is_null && column.is_text() && !is_no_word(marker) {
                remarks.doubts.push(format!(
                    "'{name}' has \"{text}\" {count} times, which is read as missing there too"
                ));
            } else if !is_null && column.is_text() {
                remarks.doubts.push(format!(
                    "'{name}' has \"{text}\" {count} times and keeps it as text: if it means missing, set csv: null"
                ));
            } else if !is_null && column.meaning.is_none() {
                remarks.obstacles.push(format!(
                    "'{name}' has \"{text}\" {count} times; only one text can mean a missing value, so such lines are rejected"
                ));
            }
        }
        if !column.is_text() && column.quoted_markers > 0 {
            remarks.obstacles.push(format!(
                "'{}' has a missing value in quotes {} times, where it counts as a value: such lines are rejected",
                column.name, column.quoted_markers
            ));
        }
    }
}

fn of_values(guess: &DatasetGuess<'_>, remarks: &mut Remarks) {
    for column in &guess.sample.columns {
        let Some(meaning) = &column.meaning else { continue };
        let list = if meaning.sure { &mut remarks.obstacles } else { &mut remarks.doubts };
        list.push(format!("'{}' stays text: {}", column.name, in_words(column)));
    }
}

/// What the values of a column mean, if the manifest's types cannot read them.
pub(super) fn in_words(column: &ColumnSample) -> String {
    let Some(meaning) = &column.meaning else { return String::new() };
    let example = match meaning.example.as_str() {
        "" => String::new(),
        example => format!(", as in \"{example}\""),
    };
    let sure = if meaning.sure { "which is not read yet" } else { "which cannot be told" };
    format!("{}, {}{example}, {sure}", meaning.kind, meaning.how)
}
