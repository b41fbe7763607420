//! From a line to accepted, or to all the reasons against it.
//!
//! [`Validator::check`] is a pure function. It returns an accepted line in canonical form: RFC 4180 in the order of
//! the columns, which Postgres's `copy ... (format csv)` reads unchanged. A line that is canonical already, as nearly
//! all are, is returned unchanged. Whether a reference exists does not depend on the line alone: a caller that knows
//! keys checks the references in [`Validator::references`].

mod column;
mod typed;
mod literal;
mod notation;
mod hint;

use std::time::SystemTime;

use crate::dead_letter::{Code, Reason};
use crate::manifest::{Column, Dataset, Kind, Reference};
use crate::position::Position;
use crate::shape::{Form, fingerprints, form_of};
use crate::split::{Fields, setting_for_count, write_field, write_quoted};
use crate::syntax::Dialect;
use column::{ColumnCheck, Outcome};
pub use hint::{Hint, hint};

/// Checks the lines of one dataset.
#[derive(Debug)]
pub struct Validator {
    dialect: Dialect,
    key: Vec<usize>,
    columns: Vec<ColumnCheck>,
    references: Vec<Reference>,
    /// Whether the dialect is RFC 4180, perhaps with blanks around fields.
    is_standard: bool,
    /// Whether the files have a header, if the lines are as in the file.
    header: Option<bool>,
}

/// The validators of one dataset, for lines in each form.
#[derive(Debug)]
pub struct Validators {
    by_form: [Validator; Form::ALL.len()],
    fingerprints: [u32; Form::ALL.len()],
}

impl Validators {
    /// The validators of `dataset`.
    pub fn new(dataset: &Dataset) -> Self {
        let by_form = Form::ALL.map(|form| Validator::of(dataset, form));
        Self { by_form, fingerprints: fingerprints(dataset) }
    }

    /// The validator of lines in a form.
    pub fn of(&self, form: Form) -> &Validator {
        &self.by_form[form as usize]
    }

    /// The fingerprint of lines in a form. See [`fingerprints`].
    pub fn fingerprint(&self, form: Form) -> u32 {
        self.fingerprints[form as usize]
    }

    /// The form of a line that carries this fingerprint. See [`form_of`].
    pub fn form(&self, fingerprint: u32) -> Option<Form> {
        form_of(fingerprint, &self.fingerprints)
    }

    /// The validator of a line that carries this fingerprint. See [`Validators::form`].
    pub fn reading(&self, fingerprint: u32) -> Option<&Validator> {
        self.form(fingerprint).map(|form| self.of(form))
    }
}

/// Buffers that [`Validator::check`] reuses for each line.
#[derive(Debug)]
pub struct Scratch {
    fields: Fields,
    values: Values,
    canonical: Vec<u8>,
    now: SystemTime,
}

impl Scratch {
    /// Buffers for lines that are validated at `now`, which is the value of a column whose default is `now`.
    pub fn at(now: SystemTime) -> Self {
        Self { now, ..Self::default() }
    }

    /// Sets the time at which the next lines are validated.
    pub fn set_now(&mut self, now: SystemTime) {
        self.now = now;
    }
}

impl Default for Scratch {
    /// Buffers for lines that are validated at the beginning of 1970.
    fn default() -> Self {
        let (fields, values) = (Fields::default(), Values::default());
        Self { fields, values, canonical: Vec::new(), now: SystemTime::UNIX_EPOCH }
    }
}

/// The values of a line, by column.
#[derive(Debug, Default)]
struct Values {
    places: Vec<Place>,
    /// The values that are not written as the line has them.
    written: Vec<u8>,
    /// Whether any value is not the field itself. A missing value is the same as an empty field.
    is_other: bool,
}

/// Where the value of a column is.
#[derive(Clone, Copy, Debug)]
enum Place {
    Field,
    Missing,
    /// From and to, in the written values.
    Written(u32, u32),
}

impl Values {
    fn clear(&mut self, columns: usize) {
        self.places.clear();
        self.places.resize(columns, Place::Field);
        self.written.clear();
        self.is_other = false;
    }

    #[inline]
    fn set(&mut self, column: usize, outcome: Outcome, start: usize, field: &[u8]) {
        match outcome {
            Outcome::AsGiven => self.is_other |= field.is_empty(),
            Outcome::Missing => {
                self.places[column] = Place::Missing;
                self.is_other |= !field.is_empty();
            }
            Outcome::Written => {
                self.places[column] = Place::Written(start as u32, self.written.len() as u32);
                self.is_other = true;
            }
        }
    }

    fn get<'a>(&'a self, column: usize, fields: &'a Fields, text: &'a [u8]) -> Option<&'a [u8]> {
        match self.places[column] {
            Place::Field => Some(fields.get(column, text)),
            Place::Missing => None,
            Place::Written(start, end) => Some(&self.written[start as usize..end as usize]),
        }
    }
}

/// An accepted line.
#[derive(Debug)]
pub struct Row<'a> {
    /// The canonical line.
    pub canonical: &'a [u8],
    text: &'a [u8],
    fields: &'a Fields,
    values: &'a Values,
    key: &'a [usize],
}

impl<'a> Row<'a> {
    /// The key of the row's record on a topic: see [`Validator::write_key`]. A key that is not one field of the line is
    /// written to `scratch`.
    pub fn key<'s>(&'s self, position: Position, scratch: &'s mut Vec<u8>) -> &'s [u8] {
        if let [column] = self.key {
            return self.value(*column).unwrap_or_default();
        }
        scratch.clear();
        write_key(self.key, position, |column| self.value(column).unwrap_or_default(), scratch);
        scratch
    }

    /// The values of columns, joined by commas if there are several; `None` if one of them is missing. Several values
    /// are written to `scratch`.
    pub fn values<'s>(&'s self, columns: &[usize], scratch: &'s mut Vec<u8>) -> Option<&'s [u8]> {
        if let [column] = columns {
            return self.value(*column);
        }
        scratch.clear();
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                scratch.push(b',');
            }
            scratch.extend_from_slice(self.value(*column)?);
        }
        Some(scratch)
    }

    /// The value of a column, as the canonical line writes it; `None` if it is missing.
    pub fn value(&self, column: usize) -> Option<&'a [u8]> {
        self.values.get(column, self.fields, self.text)
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
    /// A validator for lines of `dataset` as its files have them.
    pub fn new(dataset: &Dataset) -> Self {
        Self::of(dataset, Form::Given)
    }

    /// A validator for lines of `dataset` in a form.
    pub fn of(dataset: &Dataset, form: Form) -> Self {
        let check = |(i, column)| {
            let check = match form {
                Form::Canonical => ColumnCheck::canonical(column),
                Form::Given | Form::Mapped => ColumnCheck::new(column),
            };
            check.in_key(dataset.is_key(i))
        };
        let dialect = form.dialect(dataset).clone();
        Self {
            is_standard: dialect == Dialect { trim: dialect.trim, ..Dialect::STANDARD },
            dialect,
            key: dataset.key.clone(),
            columns: dataset.columns.iter().enumerate().map(check).collect(),
            references: dataset.references.clone(),
            header: (form == Form::Given).then_some(dataset.csv.syntax.header),
        }
    }

    /// The references of the dataset's lines.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Appends the key of any line's record on a topic, valid or not: the key as the line writes it, its fields joined
    /// by commas if it has several columns, or the position if the dataset has no key. Quotes and escapes are not
    /// looked at: the key only chooses a partition, which is the same for the same text.
    pub fn write_key(&self, position: Position, text: &[u8], out: &mut Vec<u8>) {
        write_key(&self.key, position, |column| self.dialect.raw_field(text, column), out);
    }

    /// Checks one line, without its line ending.
    ///
    /// # Errors
    ///
    /// All reasons against the line, in the order of the columns.
    pub fn check<'a>(&'a self, text: &'a [u8], scratch: &'a mut Scratch) -> Result<Row<'a>, Vec<Reason>> {
        let Scratch { fields, values, canonical, now } = scratch;
        let split = fields.split(text, &self.dialect);
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
            let expected = self.columns.len();
            let mut message = format!("the line has {}, {expected} are expected", fields.count());
            if let Some(has_header) = self.header {
                message += &setting_for_count(text, fields, &self.dialect, expected, has_header);
            }
            return Err(vec![Reason::new(Code::WrongColumnCount, None, message, text)]);
        }
        let mut reasons = Vec::new();
        values.clear(self.columns.len());
        for (i, check) in self.columns.iter().enumerate() {
            let (field, start) = (fields.get(i, text), values.written.len());
            let outcome = check.read(field, fields.is_literal(i), *now, &mut values.written, &mut reasons);
            values.set(i, outcome, start, field);
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let values = &*values;
        let canonical = if !values.is_other && self.is_canonical(fields, text) {
            text
        } else {
            write_canonical(fields, text, values, canonical)
        };
        Ok(Row { canonical, text, fields, values, key: &self.key })
    }

    /// Whether a line of these fields is canonical already. No splitter gives out a line feed without quotes, but
    /// other applications may write one to a topic, and Postgres would begin another row there.
    fn is_canonical(&self, fields: &Fields, text: &[u8]) -> bool {
        fields.is_plain()
            && fields.is_without_carriage_return()
            && memchr::memchr(b'\n', text).is_none()
            && self.is_standard
            && !fields.is_trimmed()
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

fn write_key<'a>(key: &[usize], position: Position, field: impl Fn(usize) -> &'a [u8], out: &mut Vec<u8>) {
    if key.is_empty() {
        let mut number = itoa::Buffer::new();
        out.extend_from_slice(number.format(position.source).as_bytes());
        out.push(b',');
        out.extend_from_slice(number.format(position.line).as_bytes());
    }
    for (i, column) in key.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(field(*column));
    }
}

/// Clears `out`, writes the values to it as a canonical line, and returns the line.
fn write_canonical<'a>(fields: &Fields, text: &[u8], values: &Values, out: &'a mut Vec<u8>) -> &'a [u8] {
    out.clear();
    for i in 0..fields.len() {
        if i > 0 {
            out.push(b',');
        }
        match values.get(i, fields, text) {
            // Nothing would be a missing value.
            Some(b"") => write_quoted(b"", out),
            Some(value) => write_field(value, out),
            None => {}
        }
    }
    out
}

/// The canonical form of a value of a column that the manifest itself holds.
///
/// # Errors
///
/// What the column has against the value.
pub(crate) fn canonical_value(column: &Column, value: &str) -> Result<String, String> {
    let (mut out, mut reasons) = (Vec::new(), Vec::new());
    let check = ColumnCheck::canonical(column);
    let outcome = check.read(value.as_bytes(), true, SystemTime::UNIX_EPOCH, &mut out, &mut reasons);
    match (reasons.into_iter().next(), outcome) {
        (Some(reason), _) => Err(reason.message),
        (None, Outcome::Missing) => Err(format!("{} is empty", column.name)),
        (None, Outcome::AsGiven) => Ok(value.to_owned()),
        (None, Outcome::Written) => Ok(String::from_utf8_lossy(&out).into_owned()),
    }
}
