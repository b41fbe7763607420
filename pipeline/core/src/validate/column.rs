//! The checks of the values of one column.

use std::cmp::Ordering;

use super::{Violation, literal};
use crate::dead_letter::{Code, Reason};
use crate::manifest::{Bound, Column, Kind, Rules};

/// Checks the values of one column.
#[derive(Debug)]
pub(super) struct ColumnCheck {
    pub(super) column: Column,
    /// The most characters that the rules and the type allow.
    length_max: Option<usize>,
    /// Whether any text is valid.
    is_free: bool,
}

impl ColumnCheck {
    pub(super) fn new(column: &Column) -> Self {
        let rules = &column.rules;
        let length_max = rules.length_max(column.kind);
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

    /// The reason against a required column whose `field` means missing.
    #[cold]
    pub(super) fn missing(&self, field: &[u8]) -> Reason {
        let name = &self.column.name;
        Reason::new(Code::MissingValue, Some(name), format!("{name} is required"), field)
    }

    /// Adds all violations of a value that is present.
    #[inline]
    pub(super) fn value(&self, value: &[u8], reasons: &mut Vec<Reason>) {
        if self.is_free {
            return;
        }
        if self.column.kind.is_text() {
            return self.text(value, reasons);
        }
        let typed = self.typed(value);
        let is_readable = typed.as_ref().err().is_none_or(|violation| violation.code == Code::OutOfRange);
        if let Err(violation) = typed {
            self.refuse(value, violation, reasons);
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
            self.refuse(value, Violation::new(Code::TooShort, message), reasons);
        }
        if let Some(max) = self.length_max.filter(|max| length > *max) {
            let message = format!("has {length} characters, at most {max} are allowed");
            self.refuse(value, Violation::new(Code::TooLong, message), reasons);
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
            self.refuse(value, Violation::new(Code::PatternMismatch, message), reasons);
        }
    }

    #[cold]
    fn refuse(&self, value: &[u8], violation: Violation, reasons: &mut Vec<Reason>) {
        let name = &self.column.name;
        reasons.push(Reason::new(violation.code, Some(name), format!("{name} {}", violation.message), value));
    }

    /// Reads a value that is not text, and checks it against the bounds.
    fn typed(&self, value: &[u8]) -> Result<(), Violation> {
        let kind = self.column.kind;
        match kind {
            Kind::SmallInt | Kind::Integer | Kind::BigInt => self.integer(value),
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

    fn integer(&self, value: &[u8]) -> Result<(), Violation> {
        let number = literal::integer(value)?;
        if !self.column.kind.integers().is_some_and(|all| all.contains(&number)) {
            return Err(Violation::out_of_range_of(self.column.kind));
        }
        self.within(|bound| match bound {
            Bound::Integer(limit) => number.cmp(limit),
            _ => Ordering::Equal,
        })
    }

    #[inline]
    fn instant(&self, value: &[u8], kind: Kind) -> Result<(), Violation> {
        let instant = literal::instant(value, kind)?;
        self.within(|bound| match bound {
            Bound::Instant(limit, _) => instant.cmp(limit),
            _ => Ordering::Equal,
        })
    }

    /// Checks a value against the bounds. `order` compares the value with a bound. The manifest gives a column only
    /// bounds of its own type.
    #[inline]
    fn within(&self, order: impl Fn(&Bound) -> Ordering) -> Result<(), Violation> {
        let Rules { min, max, .. } = &self.column.rules;
        if let Some(min) = min.as_ref().filter(|min| order(min).is_lt()) {
            return Err(Violation::new(Code::OutOfRange, format!("is below {min}")));
        }
        if let Some(max) = max.as_ref().filter(|max| order(max).is_gt()) {
            return Err(Violation::new(Code::OutOfRange, format!("is above {max}")));
        }
        Ok(())
    }
}

/// How many characters a UTF-8 text has: the bytes that do not continue a character.
fn characters(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

fn not_among(allowed: &[String]) -> Violation {
    Violation::new(Code::NotAllowed, format!("is not one of {}", allowed.join(", ")))
}
