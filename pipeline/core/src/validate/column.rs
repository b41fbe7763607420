//! What is asked of the values of one column.

use std::cmp::Ordering;

use super::{Fault, literal};
use crate::dead_letter::{Code, Reason};
use crate::manifest::{Bound, Column, Kind, Rules};

/// Checks the values of one column.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) column: Column,
    /// The most characters, by the rules and by the type.
    length_max: Option<usize>,
    /// Whether any text will do.
    is_free: bool,
}

impl Check {
    pub(super) fn new(column: &Column) -> Self {
        let rules = &column.rules;
        let length_max = match column.kind {
            Kind::Varchar(length) => Some(rules.max_length.map_or(length, |max| max.min(length))),
            _ => rules.max_length,
        };
        let has_rules = rules.min_length.is_some()
            || length_max.is_some()
            || rules.pattern.is_some()
            || rules.one_of.is_some();
        Self {
            length_max: length_max.map(|max| max as usize),
            is_free: column.kind == Kind::Text && !has_rules,
            column: column.clone(),
        }
    }

    /// What is wrong with a required column that holds `field`, which means missing.
    #[cold]
    pub(super) fn missing(&self, field: &[u8]) -> Reason {
        let name = &self.column.name;
        Reason::new(Code::MissingValue, Some(name), format!("{name} is required"), field)
    }

    /// Adds all that is wrong with a value that is there.
    #[inline]
    pub(super) fn value(&self, value: &[u8], reasons: &mut Vec<Reason>) {
        if self.is_free {
            return;
        }
        if self.column.kind.is_text() {
            return self.text(value, reasons);
        }
        let typed = self.typed(value);
        let is_readable = typed.as_ref().err().is_none_or(|fault| fault.code == Code::OutOfRange);
        if let Err(fault) = typed {
            self.refuse(value, fault, reasons);
        }
        if let Some(allowed) = self.column.rules.one_of.as_ref().filter(|_| is_readable) {
            let is = |number: i64| allowed.iter().any(|allowed| allowed.parse() == Ok(number));
            if !literal::integer(value).is_ok_and(is) {
                self.refuse(value, not_among(allowed), reasons);
            }
        }
    }

    fn text(&self, value: &[u8], reasons: &mut Vec<Reason>) {
        let rules = &self.column.rules;
        let length = match (rules.min_length, self.length_max) {
            (None, None) => 0,
            _ => characters(value),
        };
        if let Some(min) = rules.min_length.filter(|min| length < *min as usize) {
            let message = format!("has {length} characters, at least {min} are required");
            self.refuse(value, Fault::new(Code::TooShort, message), reasons);
        }
        if let Some(max) = self.length_max.filter(|max| length > *max) {
            let message = format!("has {length} characters, at most {max} are allowed");
            self.refuse(value, Fault::new(Code::TooLong, message), reasons);
        }
        if rules.pattern.is_none() && rules.one_of.is_none() {
            return;
        }
        let text = std::str::from_utf8(value).unwrap_or_default();
        if let Some(allowed) = rules.one_of.as_ref().filter(|allowed| !allowed.iter().any(|a| a == text)) {
            self.refuse(value, not_among(allowed), reasons);
        }
        if let Some(pattern) = rules.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            let message = format!("does not match '{pattern}'");
            self.refuse(value, Fault::new(Code::PatternMismatch, message), reasons);
        }
    }

    #[cold]
    fn refuse(&self, value: &[u8], fault: Fault, reasons: &mut Vec<Reason>) {
        let name = &self.column.name;
        reasons.push(Reason::new(fault.code, Some(name), format!("{name} {}", fault.message), value));
    }

    /// Reads a value that is no text, and holds it against the bounds.
    fn typed(&self, value: &[u8]) -> Result<(), Fault> {
        let kind = self.column.kind;
        match kind {
            Kind::SmallInt => self.integer(value, i64::from(i16::MIN), i64::from(i16::MAX)),
            Kind::Integer => self.integer(value, i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::BigInt => self.integer(value, i64::MIN, i64::MAX),
            Kind::Numeric { precision, scale } => {
                let number = literal::numeric(value, precision, scale)?;
                self.within(|bound| match bound {
                    Bound::Decimal(limit) => number.compare_with(limit),
                    _ => Ordering::Equal,
                })
            }
            Kind::Real | Kind::Double => {
                let number = literal::float(value, kind)?;
                self.within(|bound| match bound {
                    Bound::Float(limit) => number.partial_cmp(limit).unwrap_or(Ordering::Equal),
                    _ => Ordering::Equal,
                })
            }
            Kind::Boolean => literal::boolean(value),
            Kind::Text | Kind::Varchar(_) => Ok(()),
            Kind::Date => self.instant(value, Kind::Date),
            Kind::Time => self.instant(value, Kind::Time),
            Kind::Timestamp => self.instant(value, Kind::Timestamp),
            Kind::Timestamptz => self.instant(value, Kind::Timestamptz),
            Kind::Uuid => literal::uuid(value),
            Kind::Jsonb => literal::json(value),
        }
    }

    fn integer(&self, value: &[u8], min: i64, max: i64) -> Result<(), Fault> {
        let number = literal::integer(value)?;
        if number < min || number > max {
            return Err(Fault::out_of_range_of(self.column.kind));
        }
        self.within(|bound| match bound {
            Bound::Integer(limit) => number.cmp(limit),
            _ => Ordering::Equal,
        })
    }

    #[inline]
    fn instant(&self, value: &[u8], kind: Kind) -> Result<(), Fault> {
        let instant = literal::instant(value, kind)?;
        self.within(|bound| match bound {
            Bound::Instant(limit, _) => instant.cmp(limit),
            _ => Ordering::Equal,
        })
    }

    /// Holds a value against the bounds; `order` tells how it stands to one. The manifest gives a
    /// column only bounds of its own type.
    #[inline]
    fn within(&self, order: impl Fn(&Bound) -> Ordering) -> Result<(), Fault> {
        let Rules { min, max, .. } = &self.column.rules;
        if let Some(min) = min.as_ref().filter(|min| order(min).is_lt()) {
            return Err(Fault::new(Code::OutOfRange, format!("is below {min}")));
        }
        if let Some(max) = max.as_ref().filter(|max| order(max).is_gt()) {
            return Err(Fault::new(Code::OutOfRange, format!("is above {max}")));
        }
        Ok(())
    }
}

/// How many characters a text in UTF-8 has: the bytes that do not continue one.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

fn not_among(allowed: &[String]) -> Fault {
    Fault::new(Code::NotAllowed, format!("is not one of {}", allowed.join(", ")))
}
