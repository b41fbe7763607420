//! From a line to accepted, or to all the reasons against it.
//!
//! [`Validator::check`] is a pure function. What it accepts, it gives back as a canonical line: RFC 4180
//! in the order of the columns, which Postgres's `copy ... (format csv)` reads as it stands. A line that
//! is canonical already, as nearly all are, is given back as it came. Whether a reference exists is no
//! question of the line alone: whoever has a state asks it with [`Validator::references`].

mod column;
mod literal;

use crate::dead_letter::{Code, Reason};
use crate::manifest::{Dataset, Kind};
use crate::shape::{form, is_read_in};
use crate::split::{Dialect, Fields, write_field};
use column::Check;

/// Checks the lines of one dataset.
#[derive(Debug)]
pub struct Validator {
    dialect: Dialect,
    null: Option<String>,
    key: usize,
    columns: Vec<Check>,
    references: Vec<Reference>,
    form: u32,
}

/// A column whose values must be keys of another dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The index of the column.
    pub column: usize,
    /// The index of the dataset it references.
    pub dataset: usize,
}

/// Buffers that [`Validator::check`] uses again for each line.
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
    /// The key of the row, as it stands in the line.
    pub fn key(&self) -> &'a [u8] {
        self.fields.get(self.key, self.text)
    }

    /// The value of a column; `None` if it is missing.
    pub fn value(&self, column: usize) -> Option<&'a [u8]> {
        present(self.fields, column, self.text, self.null)
    }
}

/// What is wrong with one value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    code: Code,
    message: String,
}

impl Fault {
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
        let columns: Vec<_> = dataset.columns.iter().map(Check::new).collect();
        let references = columns.iter().enumerate().filter_map(|(column, check)| {
            check.column.references.map(|dataset| Reference { column, dataset })
        });
        Self {
            dialect: Dialect { delimiter: dataset.csv.delimiter, quote: dataset.csv.quote },
            null: dataset.csv.null.clone(),
            key: dataset.key,
            references: references.collect(),
            form: form(dataset),
            columns,
        }
    }

    /// The same rules for canonical lines of the dataset, whatever its own dialect is.
    pub fn canonical(dataset: &Dataset) -> Self {
        Self { dialect: Dialect::STANDARD, null: None, ..Self::new(dataset) }
    }

    /// What tells the form of the dataset's lines on topics from others.
    pub fn form(&self) -> u32 {
        self.form
    }

    /// Whether a line of that form on a topic is in the columns that this one checks. One of form 0 does not say.
    pub fn reads(&self, form: u32) -> bool {
        is_read_in(form, self.form)
    }

    /// The columns that reference a dataset, in order.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The key of a line that may be anything, as it stands there; empty if there is none.
    pub fn key_of<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.split(|byte| *byte == self.dialect.delimiter).nth(self.key).unwrap_or_default()
    }

    /// Checks one line, without its line ending.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, in the order of the columns.
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

    /// Whether a line of these fields is canonical as it stands. No splitter gives out a line feed without
    /// quotes, but others write to topics too, and it would begin another row for Postgres.
    fn is_canonical(&self, fields: &Fields, text: &[u8]) -> bool {
        fields.is_plain()
            && fields.is_without_carriage_return()
            && memchr::memchr(b'\n', text).is_none()
            && self.dialect == Dialect::STANDARD
            && self.null.is_none()
    }
}

/// Why a line is no text at all, if so. Sources keep such lines off the topics; this is for the others.
pub fn unreadable(text: &[u8]) -> Option<Reason> {
    if let Err(error) = simdutf8::compat::from_utf8(text) {
        let message = format!("byte {} of the line is not UTF-8", error.valid_up_to() + 1);
        return Some(Reason::new(Code::InvalidUtf8, None, message, b""));
    }
    let nul = memchr::memchr(0, text)?;
    let message = format!("byte {} of the line is NUL, which Postgres cannot store", nul + 1);
    Some(Reason::new(Code::InvalidCharacter, None, message, b""))
}

/// The reason of a line that references a row of `parent` which is not there.
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

/// Writes the fields as a canonical line to `out`, which is cleared, and gives it back.
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
