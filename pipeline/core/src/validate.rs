//! From a line to accepted, or to all the reasons against it.
//!
//! [`Validator::check`] is a pure function. It returns an accepted line in canonical form: RFC 4180 in the order of
//! the columns, which Postgres's `copy ... (format csv)` reads unchanged. A line that is canonical already, as nearly
//! all are, is returned unchanged. Whether a reference exists does not depend on the line alone: a caller that knows
//! keys checks the references in [`Validator::references`].

mod column;
mod literal;

use crate::dead_letter::{Code, Reason};
use crate::manifest::{Dataset, Kind};
use crate::shape::{fingerprint, is_read_in};
use crate::split::{Dialect, Fields, write_field};
use column::ColumnCheck;

/// Checks the lines of one dataset.
#[derive(Debug)]
pub struct Validator {
    dialect: Dialect,
    null: Option<String>,
    key: usize,
    columns: Vec<ColumnCheck>,
    references: Vec<Reference>,
    fingerprint: u32,
}

/// A column whose values must be keys of another dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The index of the column.
    pub column: usize,
    /// The index of the dataset it references.
    pub dataset: usize,
}

/// Buffers that [`Validator::check`] reuses for each line.
#[derive(Debug, Default)]
pub struct Scratch {
    fields: Fields,
    canonical: Vec<u8>,
}

/// An accepted line.
#[derive(Debug)]
pub struct Row<'a> {
    /// The canonical line.
    pub canonical: &'a [u8],
    text: &'a [u8],
    fields: &'a Fields,
    key: usize,
    null: Option<&'a str>,
}

impl<'a> Row<'a> {
    /// The key of the row as the line writes it.
    pub fn key(&self) -> &'a [u8] {
        self.fields.get(self.key, self.text)
    }

    /// The value of a column; `None` if it is missing.
    pub fn value(&self, column: usize) -> Option<&'a [u8]> {
        present(self.fields, column, self.text, self.null)
    }
}

/// A rule that a value breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Violation {
    code: Code,
    message: String,
}

impl Violation {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn out_of_range_of(kind: Kind) -> Self {
        Self::new(Code::OutOfRange, format!("is out of the range of {kind}"))
    }
}

impl Validator {
    /// A validator for the lines of `dataset`.
    pub fn new(dataset: &Dataset) -> Self {
        let columns: Vec<_> = dataset.columns.iter().map(ColumnCheck::new).collect();
        let references = columns.iter().enumerate().filter_map(|(column, check)| {
            check.column.references.map(|dataset| Reference { column, dataset })
        });
        Self {
            dialect: dataset.csv.dialect(),
            null: dataset.csv.null.clone(),
            key: dataset.key,
            references: references.collect(),
            fingerprint: fingerprint(dataset),
            columns,
        }
    }

    /// A validator with the same rules for canonical lines, whatever the dataset's own dialect is.
    pub fn canonical(dataset: &Dataset) -> Self {
        Self { dialect: Dialect::STANDARD, null: None, ..Self::new(dataset) }
    }

    /// The fingerprint of the dataset's lines on topics: see [`fingerprint`].
    pub fn fingerprint(&self) -> u32 {
        self.fingerprint
    }

    /// Whether a line with this fingerprint on a topic has the columns that this validator checks: see [`is_read_in`].
    pub fn reads(&self, fingerprint: u32) -> bool {
        is_read_in(fingerprint, self.fingerprint)
    }

    /// The columns that reference a dataset, in the order of the columns.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The key of any line, valid or not, as the line writes it. Empty if the line has none.
    pub fn key_of<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.split(|byte| *byte == self.dialect.delimiter).nth(self.key).unwrap_or_default()
    }

    /// Checks one line, without its line ending.
    ///
    /// # Errors
    ///
    /// All reasons against the line, in the order of the columns.
    pub fn check<'a>(&'a self, text: &'a [u8], scratch: &'a mut Scratch) -> Result<Row<'a>, Vec<Reason>> {
        let Scratch { fields, canonical } = scratch;
        let split = fields.split(text, self.dialect);
        if !fields.is_plain_ascii()
            && let Some(reason) = unreadable(text)
        {
            return Err(vec![reason]);
        }
        if let Err(unclosed) = split {
            let column = self.columns.get(unclosed.field - 1).map(|check| check.column.name.as_str());
            return Err(vec![Reason::new(Code::InvalidCharacter, column, unclosed.to_string(), text)]);
        }
        let fields = &*fields;
        if fields.len() != self.columns.len() {
            let message =
                format!("the line has {} fields, {} are expected", fields.len(), self.columns.len());
            return Err(vec![Reason::new(Code::WrongColumnCount, None, message, text)]);
        }
        let null = self.null.as_deref();
        let mut reasons = Vec::new();
        for (i, check) in self.columns.iter().enumerate() {
            match present(fields, i, text, null) {
                Some(value) => check.value(value, &mut reasons),
                None if check.column.optional => {}
                None => reasons.push(check.missing(fields.get(i, text))),
            }
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let canonical = if self.is_canonical(fields, text) {
            text
        } else {
            write_canonical(fields, text, null, canonical)
        };
        Ok(Row { canonical, text, fields, key: self.key, null })
    }

    /// Whether a line of these fields is canonical already. No splitter gives out a line feed without quotes, but
    /// other applications may write one to a topic, and Postgres would begin another row there.
    fn is_canonical(&self, fields: &Fields, text: &[u8]) -> bool {
        fields.is_plain()
            && fields.is_without_carriage_return()
            && memchr::memchr(b'\n', text).is_none()
            && self.dialect == Dialect::STANDARD
            && self.null.is_none()
    }
}

/// The reason why a line is not text, if it is not. Sources keep such lines off the raw topics. The check covers
/// records that other applications write there.
pub fn unreadable(text: &[u8]) -> Option<Reason> {
    if let Err(error) = simdutf8::compat::from_utf8(text) {
        let message = format!("byte {} of the line is not UTF-8", error.valid_up_to() + 1);
        return Some(Reason::new(Code::InvalidUtf8, None, message, b""));
    }
    let nul = memchr::memchr(0, text)?;
    let message = format!("byte {} of the line is NUL, which Postgres cannot store", nul + 1);
    Some(Reason::new(Code::InvalidCharacter, None, message, b""))
}

/// The reason against a line that references a row of `parent` which does not exist.
pub fn unknown_reference(column: &str, parent: &str, value: &[u8]) -> Reason {
    let shown = String::from_utf8_lossy(value);
    Reason::new(Code::UnknownReference, Some(column), format!("{parent} has no row '{shown}'"), value)
}

fn present<'a>(fields: &'a Fields, i: usize, text: &'a [u8], null: Option<&str>) -> Option<&'a [u8]> {
    let value = fields.get(i, text);
    let is_missing =
        value.is_empty() || null.is_some_and(|null| value == null.as_bytes() && !fields.is_quoted(i));
    (!is_missing).then_some(value)
}

/// Clears `out`, writes the fields to it as a canonical line, and returns the line.
fn write_canonical<'a>(fields: &Fields, text: &[u8], null: Option<&str>, out: &'a mut Vec<u8>) -> &'a [u8] {
    out.clear();
    for i in 0..fields.len() {
        if i > 0 {
            out.push(b',');
        }
        write_field(present(fields, i, text, null).unwrap_or_default(), out);
    }
    out
}
