//! One value in several spellings.
//!
//! Postgres reads `007` and `+7` as the same integer. Keys are values, so whatever compares keys as texts must know
//! which texts are one value.

use uuid::Uuid;

use crate::decimal::Decimal;
use crate::instant::Instant;
use crate::kind::Kind;

/// The value of a text, for the kinds in which one value has several spellings.
#[derive(Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Integer(i64),
    Decimal(Decimal<'a>),
    Uuid(Uuid),
    Instant(Instant),
}

impl<'a> Value<'a> {
    /// Reads a text as a value of a kind. `None` if it is no such value, or if the kind has one spelling a value.
    pub(crate) fn of(kind: Kind, text: &'a [u8]) -> Option<Self> {
        match kind {
            Kind::Numeric { .. } | Kind::Real | Kind::Double => Decimal::parse(text).map(Self::Decimal),
            Kind::Uuid => {
                // Postgres reads hyphens between any two groups of four digits.
                let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_hexdigit).collect();
                Uuid::try_parse_ascii(&digits).ok().map(Self::Uuid)
            }
            _ if kind.is_instant() => Instant::parse(kind, text).ok().map(Self::Instant),
            _ => integer(kind, text).map(Self::Integer),
        }
    }
}

/// Reads an integer, if the kind is one.
pub(crate) fn integer(kind: Kind, text: &[u8]) -> Option<i64> {
    if kind.is_integer() { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// A key in a form that is the same for all texts that Postgres reads as the same key: for an integer, without sign
/// and leading zeros. For types with more ways to write a value it is the text unchanged.
pub fn normal_key(kind: Kind, key: &[u8]) -> Vec<u8> {
    match integer(kind, key) {
        Some(number) => number.to_string().into_bytes(),
        None => key.to_vec(),
    }
}

/// A key of several columns in a form that is the same for all texts that Postgres reads as the same key, and for no
/// other key: its parts, each in the form of [`normal_key`]. `None` if a part is missing.
pub fn normal_parts<'a>(parts: impl IntoIterator<Item = (Kind, &'a [u8])>) -> Option<Vec<u8>> {
    let mut normal: Option<Vec<u8>> = None;
    for (kind, part) in parts {
        if part.is_empty() {
            return None;
        }
        let part = normal_key(kind, part);
        match &mut normal {
            None => normal = Some(part),
            Some(before) => {
                // No text of a line holds a NUL, so it ends a part.
                before.push(0);
                before.extend_from_slice(&part);
            }
        }
    }
    normal
}

/// Whether Postgres reads two texts as the same key, provided both can be read as values of that kind.
pub fn same_key(kind: Kind, a: &[u8], b: &[u8]) -> bool {
    a == b || Value::of(kind, a).is_some_and(|value| Value::of(kind, b) == Some(value))
}
