//! The setting of the manifest that would read a refused value.
//!
//! Only refused values get here, and the work for one is bounded: a value longer than [`VALUE_BYTES_MAX`] is not tried,
//! and each list of candidates is short.

mod number;
mod time;

use std::fmt;
use std::time::SystemTime;

use super::column::{ColumnCheck, Outcome};
use crate::manifest::starter::booleans::pair_of;
use crate::manifest::starter::markers::MARKERS;
use crate::manifest::{Column, Dataset, Kind, Reading};
use crate::printable::{in_quotes, printable_line};

/// No number, date or time that a setting reads is longer.
const VALUE_BYTES_MAX: usize = 64;

/// What to write in the manifest, so that a value is read. Displays as the end of a message:
/// `'format: "%d/%m/%Y"' reads it`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The settings that read the value, as the manifest has them: `format: "%d/%m/%Y"`. If there are several, they
    /// read the value differently, and only the user knows which is right.
    pub settings: Vec<String>,
    /// Whether the value is then a missing one.
    pub is_missing: bool,
}

impl Hint {
    fn one(setting: String) -> Self {
        Self { settings: vec![setting], is_missing: false }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<String> = self.settings.iter().map(|setting| format!("'{setting}'")).collect();
        let effect = match (settings.len(), self.is_missing) {
            (_, true) => "takes it for a missing value",
            (1, _) => "reads it",
            _ => "reads it, each differently",
        };
        write!(f, "{} {effect}", settings.join(" or "))
    }
}

/// The setting that would make a dataset's column, by its index, accept a value. `None` if the column accepts it already,
/// or no single setting would help.
pub fn hint(dataset: &Dataset, index: usize, value: &str) -> Option<Hint> {
    let column = &dataset.columns[index];
    let is_accepted = accepted(column, column.reading.clone(), value).is_some();
    if is_accepted { None } else { hint_of(column, dataset.is_key(index), value.as_bytes()) }
}

/// As [`hint`], for a value that the column refuses. A column of the key cannot lack a value.
#[cold]
pub(super) fn hint_of(column: &Column, is_key: bool, value: &[u8]) -> Option<Hint> {
    let is_short = !value.is_empty() && value.len() <= VALUE_BYTES_MAX;
    let text = std::str::from_utf8(value).ok().filter(|_| is_short)?;
    let is_padded = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
    if is_padded && accepted(column, Reading { trim: true, ..column.reading.clone() }, text).is_some() {
        return Some(Hint::one("trim: true".to_owned()));
    }
    if MARKERS.contains(&text) || (column.kind.is_instant() && is_zero_date(text)) {
        return (!is_key).then(|| null(column, text));
    }
    match column.kind {
        Kind::Boolean => boolean(column, text),
        kind if kind.is_number() => number::hint(column, text),
        kind if kind.is_instant() => time::hint(column, text),
        _ => None,
    }
}

/// Whether a text is what MySQL and others write for no date: `0000-00-00`, with or without a time.
fn is_zero_date(text: &str) -> bool {
    let zeros = text.bytes().filter(|byte| *byte == b'0').count();
    zeros >= "00000000".len() && text.bytes().all(|byte| b"0-/.: T".contains(&byte))
}

fn null(column: &Column, text: &str) -> Hint {
    let Column { optional, reading: Reading { nulls, default, .. }, .. } = column;
    let may_be_missing = *optional || default.is_some();
    // A marker that the column has already stands in quotes.
    let mut setting = match nulls.iter().any(|null| null == text) {
        true => "quoted_null: true".to_owned(),
        false => format!("null: {}", list(nulls.iter().map(String::as_str).chain([text]).map(scalar))),
    };
    if !may_be_missing {
        setting.push_str(", optional: true");
    }
    Hint { settings: vec![setting], is_missing: true }
}

fn boolean(column: &Column, text: &str) -> Option<Hint> {
    if column.reading.has_words() {
        return None;
    }
    let [truth, falsehood] = pair_of(&text.to_lowercase())?;
    Some(Hint::one(format!("true: [{}], false: [{}]", scalar(truth), scalar(falsehood))))
}

/// What a column makes of a text that is read otherwise. `None` if it refuses the text.
fn accepted(column: &Column, reading: Reading, text: &str) -> Option<Vec<u8>> {
    let (mut out, mut reasons) = (Vec::new(), Vec::new());
    let check = ColumnCheck::without_hints(&Column { reading, ..column.clone() });
    let outcome = check.read(text.as_bytes(), false, SystemTime::UNIX_EPOCH, &mut out, &mut reasons);
    if outcome == Outcome::AsGiven {
        out.extend_from_slice(text.as_bytes());
    }
    reasons.is_empty().then_some(out)
}

/// The first two settings that make a column accept a text with different results.
fn first_of(
    column: &Column,
    text: &str,
    candidates: impl Iterator<Item = (String, Reading)>,
) -> Option<Hint> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    for (setting, reading) in candidates {
        let Some(result) = accepted(column, reading, text) else { continue };
        if found.iter().all(|(_, other)| *other != result) {
            found.push((setting, result));
        }
        if found.len() == 2 {
            break;
        }
    }
    let settings: Vec<String> = found.into_iter().map(|(setting, _)| setting).collect();
    (!settings.is_empty()).then_some(Hint { settings, is_missing: false })
}

/// Scalars as a YAML list, or one as it is. What a column has already stands first, because a setting replaces it.
fn list(scalars: impl Iterator<Item = String>) -> String {
    let scalars: Vec<String> = scalars.collect();
    if let [one] = &scalars[..] { one.clone() } else { format!("[{}]", scalars.join(", ")) }
}

/// A text as a YAML scalar, in quotes unless it is a plain word.
fn scalar(text: &str) -> String {
    let is_word = text.chars().all(char::is_alphanumeric) && !text.eq_ignore_ascii_case("null");
    let starts = text.starts_with(char::is_alphabetic);
    if is_word && starts { text.to_owned() } else { in_quotes(&printable_line(text), |c| c.is_control()) }
}
