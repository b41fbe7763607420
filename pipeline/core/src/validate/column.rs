//! The checks of the values of one column.

use std::cmp::Ordering;
use std::time::SystemTime;

use super::hint::hint_of;
use super::{Violation, literal, typed};
use crate::dead_letter::{Code, Reason};
use crate::instant::Instant;
use crate::manifest::{Bound, Column, DefaultValue, Kind, Rules};

/// Reads and checks the values of one column.
#[derive(Debug)]
pub(super) struct ColumnCheck {
    pub(super) column: Column,
    /// The most characters that the rules and the type allow.
    length_max: Option<usize>,
    /// Whether any text is valid.
    is_free: bool,
    /// Whether a field that is not empty is read by its type alone.
    is_plain: bool,
    /// Whether numbers are in a notation of their own.
    pub(super) has_notation: bool,
    /// The words for true and for false, in lower case.
    pub(super) words: [Vec<String>; 2],
    /// Whether the column is one of the key.
    is_key: bool,
    /// Whether a reason names a setting of the manifest that would help.
    has_hints: bool,
}

/// What became of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The field is the value, as Postgres reads it.
    AsGiven,
    /// The value is missing.
    Missing,
    /// The value was appended to the buffer.
    Written,
}

impl ColumnCheck {
    /// The checks of fields that files and clients write.
    pub(super) fn new(column: &Column) -> Self {
        let Column { kind, rules, reading, .. } = column;
        let length_max = rules.length_max(*kind);
        let has_rules = rules.min_length.is_some()
            || length_max.is_some()
            || rules.pattern.is_some()
            || rules.one_of.is_some();
        let has_notation = kind.is_number() && reading.has_notation();
        let has_settings = has_notation
            || reading.trim
            || !reading.nulls.is_empty()
            || !reading.formats.is_empty()
            || (*kind == Kind::Timestamptz && reading.time_zone.is_some())
            || reading.has_words();
        Self {
            length_max: length_max.map(|max| max as usize),
            is_free: *kind == Kind::Text && !has_rules,
            is_plain: !has_settings,
            has_notation,
            words: words(&reading.true_words, &reading.false_words),
            is_key: false,
            has_hints: true,
            column: column.clone(),
        }
    }

    /// The checks of fields of canonical text.
    pub(super) fn canonical(column: &Column) -> Self {
        let reading = column.reading.canonical(column.kind, column.optional);
        Self { has_hints: false, ..Self::new(&Column { reading, ..column.clone() }) }
    }

    /// The same checks, of a column that `is_key` or not.
    pub(super) fn in_key(self, is_key: bool) -> Self {
        Self { is_key, ..self }
    }

    /// The same checks, whose reasons name no setting.
    pub(super) fn without_hints(column: &Column) -> Self {
        Self { has_hints: false, ..Self::new(column) }
    }

    /// Reads a field, and adds all reasons against it. `is_literal` says that the field was in quotes. What the field
    /// does not say itself in canonical form is appended to `out`.
    #[inline]
    pub(super) fn read(
        &self,
        field: &[u8],
        is_literal: bool,
        now: SystemTime,
        out: &mut Vec<u8>,
        reasons: &mut Vec<Reason>,
    ) -> Outcome {
        if self.is_plain && !field.is_empty() {
            return self.value(field, out, reasons);
        }
        let reading = &self.column.reading;
        let value = reading.value_of(field);
        if reading.means_missing(value, is_literal) {
            return self.missing(field, now, out, reasons);
        }
        let outcome = self.value(value, out, reasons);
        if outcome == Outcome::AsGiven && value.len() != field.len() {
            out.extend_from_slice(value);
            return Outcome::Written;
        }
        outcome
    }

    /// Puts the default in the place of a missing value, or adds a reason if the value is required.
    fn missing(
        &self,
        field: &[u8],
        now: SystemTime,
        out: &mut Vec<u8>,
        reasons: &mut Vec<Reason>,
    ) -> Outcome {
        match &self.column.reading.default {
            Some(DefaultValue::Constant(value)) => out.extend_from_slice(value.as_bytes()),
            Some(DefaultValue::Now) => self.write_now(now, out),
            Some(DefaultValue::Table) => return Outcome::Missing,
            None if self.column.optional => return Outcome::Missing,
            None => {
                let name = &self.column.name;
                reasons.push(Reason::new(
                    Code::MissingValue,
                    Some(name),
                    format!("{name} is required"),
                    field,
                ));
                return Outcome::Missing;
            }
        }
        Outcome::Written
    }

    /// Appends the time of validation, local in the column's zone unless the column stores the instant itself.
    fn write_now(&self, now: SystemTime, out: &mut Vec<u8>) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let micros = i64::from(since.subsec_micros()) * 1000;
        let now = Instant::since_epoch(since.as_secs() as i64, micros);
        let kind = self.column.kind;
        let zone = self.column.reading.time_zone.as_ref().filter(|_| kind != Kind::Timestamptz);
        zone.map_or(now, |zone| zone.local(now)).write(kind, out);
    }

    /// Reads a value that is present, and adds all its violations.
    #[inline]
    fn value(&self, value: &[u8], out: &mut Vec<u8>, reasons: &mut Vec<Reason>) -> Outcome {
        if self.is_free {
            return Outcome::AsGiven;
        }
        if self.column.kind.is_text() {
            self.text(value, reasons);
            return Outcome::AsGiven;
        }
        let start = out.len();
        let typed = typed::read(self, value, out);
        let is_readable = typed.as_ref().err().is_none_or(|violation| violation.code == Code::OutOfRange);
        if let Err(violation) = typed {
            self.refuse(value, violation, reasons);
        }
        let is_written = out.len() > start;
        if let Some(allowed) = self.column.rules.one_of.as_ref().filter(|_| is_readable) {
            let canonical = if is_written { &out[start..] } else { value };
            let is = |number: i64| allowed.iter().any(|allowed| allowed.parse() == Ok(number));
            if !literal::integer(canonical).is_ok_and(is) {
                self.refuse(value, not_among(allowed), reasons);
            }
        }
        if is_written { Outcome::Written } else { Outcome::AsGiven }
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
        let mut message = format!("{name} {}", violation.message);
        if self.has_hints
            && let Some(hint) = hint_of(&self.column, self.is_key, value)
        {
            message.push_str(&format!("; {hint}"));
        }
        reasons.push(Reason::new(violation.code, Some(name), message, value));
    }

    /// Checks a value against the bounds. `order` compares the value with a bound. The manifest gives a column only
    /// bounds of its own type.
    #[inline]
    pub(super) fn within(&self, order: impl Fn(&Bound) -> Ordering) -> Result<(), Violation> {
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

/// The words for true and for false, in lower case. Where one list is empty, Postgres's words take its place, as far as
/// the other list does not have them.
fn words(truths: &[String], falsehoods: &[String]) -> [Vec<String>; 2] {
    let lower = |words: &[String]| words.iter().map(|word| word.to_lowercase()).collect::<Vec<_>>();
    let (truths, falsehoods) = (lower(truths), lower(falsehoods));
    let of_postgres = |words: &[&str], other: &[String]| {
        words.iter().map(|word| (*word).to_owned()).filter(|word| !other.contains(word)).collect()
    };
    match (truths.is_empty(), falsehoods.is_empty()) {
        (false, true) => [truths.clone(), of_postgres(&literal::FALSE_WORDS, &truths)],
        (true, false) => [of_postgres(&literal::TRUE_WORDS, &falsehoods), falsehoods],
        _ => [truths, falsehoods],
    }
}
