//! Whether a text is a value of a type: the forms that Postgres reads, without those that it trims or guesses.

use super::Violation;
use crate::dead_letter::Code;
use crate::decimal::{Decimal, split_sign};
use crate::instant::{Misfit, year_max};
use crate::manifest::Kind;

/// How many digits a `numeric` without a precision holds before and after its point.
const NUMERIC_DIGITS_MAX: (i64, i64) = (131_072, 16_383);

/// A number of this many digits cannot overflow a bigint.
const SAFE_DIGITS: usize = 18;

/// Reads an integer: a sign, then digits.
pub(super) fn integer(field: &[u8]) -> Result<i64, Violation> {
    let (negative, digits) = split_sign(field);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Violation::new(Code::InvalidInteger, "is not an integer"));
    }
    let values = || digits.iter().map(|digit| i64::from(digit - b'0'));
    if digits.len() <= SAFE_DIGITS {
        let number = values().fold(0, |number, digit| number * 10 + digit);
        return Ok(if negative { -number } else { number });
    }
    let number = values().try_fold(0i64, |number, digit| {
        let tenfold = number.checked_mul(10)?;
        if negative { tenfold.checked_sub(digit) } else { tenfold.checked_add(digit) }
    });
    number.ok_or_else(|| Violation::new(Code::OutOfRange, "is out of the range of bigint"))
}

/// Reads an integer that may have decimal places, all zero, as programs write that have no integers: `1.0`. An exponent
/// is refused: a spreadsheet that writes `1.23457E+11` has lost digits.
pub(super) fn whole(field: &[u8]) -> Result<i64, Violation> {
    match memchr::memchr(b'.', field) {
        Some(point) if field[point + 1..].iter().all(|byte| *byte == b'0') && point + 1 < field.len() => {
            integer(&field[..point])
        }
        _ => integer(field),
    }
}

/// Reads a `numeric(precision,scale)`.
pub(super) fn numeric(
    field: &[u8],
    precision: Option<u16>,
    scale: Option<u16>,
) -> Result<Decimal<'_>, Violation> {
    let decimal = decimal(field)?;
    let scale = scale.map_or(0, i64::from);
    let (before_max, behind_max) = match precision {
        Some(precision) => (i64::from(precision) - scale, scale),
        None => NUMERIC_DIGITS_MAX,
    };
    let (before, behind) = (decimal.digits_before_point(), decimal.digits_behind_point());
    if before > before_max {
        let message = format!("has {before} digits before the point, at most {before_max} are kept");
        return Err(Violation::new(Code::OutOfRange, message));
    }
    if behind > behind_max {
        let message = format!("has {behind} decimal places, at most {behind_max} are kept");
        return Err(Violation::new(Code::OutOfRange, message));
    }
    Ok(decimal)
}

/// Reads a `real` or a `double`, both as a double: messages and comparisons then show 0.1 as 0.1.
pub(super) fn float(field: &[u8], kind: Kind) -> Result<f64, Violation> {
    let decimal = decimal(field)?;
    // A decimal is ASCII, and Rust reads it as a number too.
    let text = std::str::from_utf8(field).unwrap_or_default();
    let number: f64 = text.parse().unwrap_or(f64::INFINITY);
    let stored = match kind {
        Kind::Real => text.parse().map_or(f64::INFINITY, |stored: f32| f64::from(stored)),
        _ => number,
    };
    if stored.is_infinite() || (stored == 0.0 && !decimal.is_zero()) {
        return Err(Violation::out_of_range_of(kind));
    }
    Ok(number)
}

/// Reads a number in decimal notation.
fn decimal(field: &[u8]) -> Result<Decimal<'_>, Violation> {
    Decimal::parse(field).ok_or_else(|| Violation::new(Code::InvalidNumber, "is not a number"))
}

/// The violation of a text that is not a point in time.
#[cold]
pub(super) fn no_instant(misfit: Misfit, kind: Kind) -> Violation {
    let timestamp = |message: &str| Violation::new(Code::InvalidTimestamp, message);
    match (misfit, kind) {
        (Misfit::Range, _) => {
            Violation::new(Code::OutOfRange, format!("is not within the years 1 to {}", year_max(kind)))
        }
        (Misfit::Local(fault), _) => Violation::new(Code::InvalidTimestamp, fault.to_string()),
        (Misfit::HasTime, _) => {
            Violation::new(Code::InvalidDate, "has a time other than midnight, which a date would lose")
        }
        (_, Kind::Date) => Violation::new(Code::InvalidDate, "is not a date, YYYY-MM-DD"),
        (_, Kind::Time) => Violation::new(Code::InvalidTime, "is not a time of day, HH:MM:SS"),
        (_, Kind::Timestamptz) => timestamp("is not a timestamp, YYYY-MM-DDTHH:MM:SSZ"),
        _ => timestamp("is not a timestamp without offset, YYYY-MM-DDTHH:MM:SS"),
    }
}

/// What Postgres reads as true, and as false.
pub(super) const TRUE_WORDS: [&str; 6] = ["true", "t", "yes", "y", "on", "1"];
pub(super) const FALSE_WORDS: [&str; 6] = ["false", "f", "no", "n", "off", "0"];

/// Reads one of the words that Postgres takes for true or false.
pub(super) fn boolean(field: &[u8]) -> Result<(), Violation> {
    if TRUE_WORDS.iter().chain(&FALSE_WORDS).any(|word| field.eq_ignore_ascii_case(word.as_bytes())) {
        Ok(())
    } else {
        Err(Violation::new(Code::InvalidBoolean, "is neither true nor false"))
    }
}

/// Reads 32 hexadecimal digits, with or without the hyphens.
pub(super) fn uuid(field: &[u8]) -> Result<(), Violation> {
    let is_uuid = matches!(field.len(), 32 | 36) && uuid::Uuid::try_parse_ascii(field).is_ok();
    if is_uuid { Ok(()) } else { Err(Violation::new(Code::InvalidUuid, "is not a uuid")) }
}

/// Reads a JSON document that `jsonb` can hold.
pub(super) fn json(field: &[u8]) -> Result<(), Violation> {
    serde_json::from_slice::<serde::de::IgnoredAny>(field)
        .map_err(|error| Violation::new(Code::InvalidJson, format!("is not JSON: {error}")))?;
    // An escaped NUL is JSON, but jsonb cannot hold it. After an escaped backslash it is no escape.
    let holds_nul = memchr::memmem::find_iter(field, b"\\u0000")
        .any(|at| field[..at].iter().rev().take_while(|byte| **byte == b'\\').count().is_multiple_of(2));
    if holds_nul {
        Err(Violation::new(Code::InvalidJson, "holds \\u0000, which jsonb cannot"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_end_at_the_range_of_bigint() {
        assert_eq!(integer(b"-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer(b"+9223372036854775807"), Ok(i64::MAX));
        assert_eq!(integer(b"-000000000000000000000000012"), Ok(-12));
        assert_eq!(integer(b"9223372036854775808").map_err(|f| f.code), Err(Code::OutOfRange));
        for text in ["", "-", "--1", "1 ", "1.0", "0x1", "1_000"] {
            assert_eq!(integer(text.as_bytes()).map_err(|f| f.code), Err(Code::InvalidInteger), "{text}");
        }
    }

    #[test]
    fn a_whole_number_may_have_decimal_places_that_are_zero() {
        assert_eq!((whole(b"-1.0"), whole(b"007.000"), whole(b"12")), (Ok(-1), Ok(7), Ok(12)));
        for text in ["1.", ".0", "1.5", "1.0e0", "1e3", "1.0.0", "-.0"] {
            assert_eq!(whole(text.as_bytes()).map_err(|f| f.code), Err(Code::InvalidInteger), "{text}");
        }
    }
}
