//! From a line to accepted, or to all the reasons against it.
//!
//! [`Validator::check`] is a pure function. What it accepts, it gives back as a canonical line: RFC 4180
//! in the order of the columns, which Postgres's `copy ... (format csv)` reads as it stands. A line that
//! is canonical already, as nearly all are, is given back as it came. Whether a reference exists is no
//! question of the line alone: whoever has a state asks it with [`Validator::references`].

mod instant;
mod number;

use crate::dead_letter::{Code, Reason};
use crate::manifest::{Bound, Column, Dataset, Kind, compare_decimals};
use crate::split::{Dialect, Fields, write_field};
use instant::Instant;

/// Checks the lines of one dataset.
#[derive(Debug)]
pub struct Validator {
    dialect: Dialect,
    null: Option<String>,
    key: usize,
    columns: Vec<Check>,
    references: Vec<Reference>,
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
}

#[derive(Debug)]
struct Check {
    column: Column,
    min: Option<Limit>,
    max: Option<Limit>,
}

/// A bound, ready to compare with.
#[derive(Debug)]
enum Limit {
    Integer(i64),
    Decimal(String),
    Float(f64),
    Instant(Instant, String),
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
            columns,
        }
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
        if let Some(reason) = unreadable(text) {
            return Err(vec![reason]);
        }
        if let Err(unclosed) = scratch.fields.split(text, self.dialect) {
            let column = self.columns.get(unclosed.field - 1).map(|check| check.column.name.as_str());
            return Err(vec![Reason::new(Code::InvalidCharacter, column, unclosed.to_string(), text)]);
        }
        let fields = &scratch.fields;
        if fields.len() != self.columns.len() {
            let message =
                format!("the line has {} fields, {} are expected", fields.len(), self.columns.len());
            return Err(vec![Reason::new(Code::WrongColumnCount, None, message, text)]);
        }
        let null = self.null.as_deref();
        let mut reasons = Vec::new();
        for (i, check) in self.columns.iter().enumerate() {
            let name = &check.column.name;
            match present(fields, i, text, null) {
                Some(value) => check.value(value, &mut reasons),
                None if check.column.optional => {}
                None => {
                    let message = format!("{name} is required");
                    reasons.push(Reason::new(Code::MissingValue, Some(name), message, fields.get(i, text)));
                }
            }
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let is_canonical = fields.is_plain()
            && self.dialect == Dialect::STANDARD
            && null.is_none()
            && memchr::memchr2(b'\r', b'"', text).is_none();
        let canonical = if is_canonical {
            text
        } else {
            scratch.canonical.clear();
            for i in 0..fields.len() {
                if i > 0 {
                    scratch.canonical.push(b',');
                }
                write_field(present(fields, i, text, null).unwrap_or_default(), &mut scratch.canonical);
            }
            &scratch.canonical
        };
        Ok(Row { canonical, text, fields, key: self.key, null })
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

impl Check {
    fn new(column: &Column) -> Self {
        let limit = |bound: &Option<Bound>| bound.as_ref().and_then(|bound| Limit::new(column.kind, bound));
        Self { min: limit(&column.rules.min), max: limit(&column.rules.max), column: column.clone() }
    }

    /// Adds all that is wrong with a value that is there.
    fn value(&self, value: &[u8], reasons: &mut Vec<Reason>) {
        let name = &self.column.name;
        let mut fault = |code, message: &str| {
            reasons.push(Reason::new(code, Some(name), format!("{name} {message}"), value));
        };
        if let Err(Fault { code, message }) = self.typed(value) {
            return fault(code, &message);
        }
        let rules = &self.column.rules;
        if rules.min_length.is_none()
            && rules.max_length.is_none()
            && rules.pattern.is_none()
            && rules.one_of.is_none()
        {
            return;
        }
        let text = std::str::from_utf8(value).unwrap_or_default();
        let length = text.chars().count();
        if let Some(min) = rules.min_length.filter(|min| length < *min as usize) {
            fault(Code::TooShort, &format!("has {length} characters, at least {min} are required"));
        }
        if let Some(max) = rules.max_length.filter(|max| length > *max as usize) {
            fault(Code::TooLong, &format!("has {length} characters, at most {max} are allowed"));
        }
        if let Some(pattern) = rules.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            fault(Code::PatternMismatch, &format!("does not match '{pattern}'"));
        }
        if let Some(allowed) = rules.one_of.as_ref().filter(|allowed| !self.is_among(allowed, text)) {
            fault(Code::NotAllowed, &format!("is not one of {}", allowed.join(", ")));
        }
    }

    fn is_among(&self, allowed: &[String], text: &str) -> bool {
        let same = |a: &String| match self.column.kind {
            Kind::SmallInt | Kind::Integer | Kind::BigInt => compare_decimals(a, text).is_eq(),
            _ => a == text,
        };
        allowed.iter().any(same)
    }

    fn typed(&self, value: &[u8]) -> Result<(), Fault> {
        match self.column.kind {
            Kind::SmallInt => self.integer(value, i64::from(i16::MIN), i64::from(i16::MAX)),
            Kind::Integer => self.integer(value, i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::BigInt => self.integer(value, i64::MIN, i64::MAX),
            Kind::Numeric { precision, scale } => self.numeric(value, precision, scale),
            Kind::Real => number::float(value, false).and_then(|n| self.within(|l| l.cmp_float(n))),
            Kind::Double => number::float(value, true).and_then(|n| self.within(|l| l.cmp_float(n))),
            Kind::Boolean => boolean(value),
            Kind::Text => Ok(()),
            Kind::Varchar(max) => match std::str::from_utf8(value).unwrap_or_default().chars().count() {
                length if length > max as usize => Err(Fault::new(
                    Code::TooLong,
                    format!("has {length} characters, at most {max} are allowed"),
                )),
                _ => Ok(()),
            },
            Kind::Date => instant::date(value).and_then(|i| self.within(|l| l.cmp_instant(i))),
            Kind::Time => instant::time(value).and_then(|i| self.within(|l| l.cmp_instant(i))),
            Kind::Timestamp => {
                instant::timestamp(value, false).and_then(|i| self.within(|l| l.cmp_instant(i)))
            }
            Kind::Timestamptz => {
                instant::timestamp(value, true).and_then(|i| self.within(|l| l.cmp_instant(i)))
            }
            Kind::Uuid => uuid(value),
            Kind::Jsonb => json(value),
        }
    }

    fn integer(&self, value: &[u8], min: i64, max: i64) -> Result<(), Fault> {
        let number = number::integer(value)?;
        if number < min || number > max {
            return Err(Fault::new(Code::OutOfRange, format!("is out of the range of {}", self.column.kind)));
        }
        self.within(|limit| limit.cmp_integer(number))
    }

    fn numeric(&self, value: &[u8], precision: Option<u16>, scale: Option<u16>) -> Result<(), Fault> {
        let digits = number::decimal(value)?;
        let (integer_max, scale) = match precision {
            Some(precision) => {
                let scale = scale.unwrap_or(0);
                (i64::from(precision) - i64::from(scale), i64::from(scale))
            }
            None => (131_072, 16_383), // what Postgres's numeric holds
        };
        if digits.integer > integer_max {
            return Err(Fault::new(Code::OutOfRange, format!("is out of the range of {}", self.column.kind)));
        }
        if digits.fraction > scale {
            let message = format!("has {} decimal places, at most {scale} are kept", digits.fraction);
            return Err(Fault::new(Code::OutOfRange, message));
        }
        if self.min.is_none() && self.max.is_none() {
            return Ok(());
        }
        let text = std::str::from_utf8(value).unwrap_or_default();
        self.within(|limit| limit.cmp_decimal(text))
    }

    /// Holds a value against the bounds; `order` tells how it stands to a limit.
    fn within(&self, order: impl Fn(&Limit) -> std::cmp::Ordering) -> Result<(), Fault> {
        if let Some(min) = self.min.as_ref().filter(|min| order(min).is_lt()) {
            return Err(Fault::new(Code::OutOfRange, format!("is below {min}")));
        }
        if let Some(max) = self.max.as_ref().filter(|max| order(max).is_gt()) {
            return Err(Fault::new(Code::OutOfRange, format!("is above {max}")));
        }
        Ok(())
    }
}

impl Limit {
    fn new(kind: Kind, bound: &Bound) -> Option<Self> {
        Some(match bound {
            Bound::Integer(limit) => Self::Integer(*limit),
            Bound::Decimal(limit) => Self::Decimal(limit.clone()),
            Bound::Float(limit) => Self::Float(*limit),
            Bound::Instant(text) => {
                let field = text.as_bytes();
                let instant = match kind {
                    Kind::Date => instant::date(field),
                    Kind::Time => instant::time(field),
                    Kind::Timestamp => instant::timestamp(field, false),
                    _ => instant::timestamp(field, true),
                };
                Self::Instant(instant.ok()?, text.clone())
            }
        })
    }

    fn cmp_integer(&self, value: i64) -> std::cmp::Ordering {
        match self {
            Self::Integer(limit) => value.cmp(limit),
            _ => std::cmp::Ordering::Equal,
        }
    }

    fn cmp_decimal(&self, value: &str) -> std::cmp::Ordering {
        match self {
            Self::Decimal(limit) => compare_decimals(value, limit),
            _ => std::cmp::Ordering::Equal,
        }
    }

    fn cmp_float(&self, value: f64) -> std::cmp::Ordering {
        match self {
            Self::Float(limit) => value.total_cmp(limit),
            _ => std::cmp::Ordering::Equal,
        }
    }

    fn cmp_instant(&self, value: Instant) -> std::cmp::Ordering {
        match self {
            Self::Instant(limit, _) => value.cmp(limit),
            _ => std::cmp::Ordering::Equal,
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(limit) => limit.fmt(f),
            Self::Decimal(limit) | Self::Instant(_, limit) => limit.fmt(f),
            Self::Float(limit) => limit.fmt(f),
        }
    }
}

fn boolean(value: &[u8]) -> Result<(), Fault> {
    const WORDS: [&str; 12] = ["true", "false", "t", "f", "yes", "no", "y", "n", "on", "off", "1", "0"];
    if WORDS.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes())) {
        Ok(())
    } else {
        Err(Fault::new(Code::InvalidBoolean, "is neither true nor false"))
    }
}

fn uuid(value: &[u8]) -> Result<(), Fault> {
    let is_uuid = matches!(value.len(), 32 | 36) && uuid::Uuid::try_parse_ascii(value).is_ok();
    if is_uuid { Ok(()) } else { Err(Fault::new(Code::InvalidUuid, "is not a uuid")) }
}

fn json(value: &[u8]) -> Result<(), Fault> {
    serde_json::from_slice::<serde::de::IgnoredAny>(value)
        .map_err(|error| Fault::new(Code::InvalidJson, format!("is not JSON: {error}")))?;
    // An escaped NUL is JSON, but jsonb cannot hold it. An escaped backslash before it is no escape.
    let text = std::str::from_utf8(value).unwrap_or_default();
    let holds_nul = text.match_indices("\\u0000").any(|(at, _)| {
        text[..at].bytes().rev().take_while(|byte| *byte == b'\\').count().is_multiple_of(2)
    });
    if holds_nul { Err(Fault::new(Code::InvalidJson, "holds \\u0000, which jsonb cannot")) } else { Ok(()) }
}
