//! Numbers as Postgres reads them, less what it trims or guesses.

use super::Fault;
use crate::dead_letter::Code;

/// Reads an integer: a sign, then digits.
pub(super) fn integer(field: &[u8]) -> Result<i64, Fault> {
    let (negative, digits) = match field {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, field),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::new(Code::InvalidInteger, "is not an integer"));
    }
    let mut number = 0i64;
    for digit in digits {
        let digit = i64::from(digit - b'0');
        let next = number.checked_mul(10).and_then(|n| {
            if negative { n.checked_sub(digit) } else { n.checked_add(digit) }
        });
        number = next.ok_or_else(|| Fault::new(Code::OutOfRange, "is out of the range of bigint"))?;
    }
    Ok(number)
}

/// How many digits a decimal has on each side of its point, zeros at the ends left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digits {
    pub(super) integer: i64,
    pub(super) fraction: i64,
}

/// Reads a decimal: sign, digits with or without a point, exponent.
pub(super) fn decimal(field: &[u8]) -> Result<Digits, Fault> {
    let invalid = || Fault::new(Code::InvalidNumber, "is not a number");
    let unsigned = match field {
        [b'-' | b'+', rest @ ..] => rest,
        _ => field,
    };
    let (mantissa, exponent) = match unsigned.iter().position(|b| matches!(b, b'e' | b'E')) {
        None => (unsigned, 0),
        Some(at) => {
            let exponent = integer(&unsigned[at + 1..]).map_err(|_| invalid())?;
            (&unsigned[..at], exponent.clamp(-1_000_000, 1_000_000))
        }
    };
    let point = mantissa.iter().position(|b| *b == b'.').unwrap_or(mantissa.len());
    let (whole, fraction) = (&mantissa[..point], mantissa.get(point + 1..).unwrap_or_default());
    let digits = || whole.iter().chain(fraction);
    if digits().next().is_none() || !digits().all(u8::is_ascii_digit) {
        return Err(invalid());
    }
    let Some(first) = digits().position(|b| *b != b'0') else {
        return Ok(Digits { integer: 0, fraction: 0 });
    };
    let last = whole.len() + fraction.len() - digits().rev().take_while(|b| **b == b'0').count();
    let point = whole.len() as i64 + exponent;
    Ok(Digits { integer: (point - first as i64).max(0), fraction: (last as i64 - point).max(0) })
}

/// Reads a floating-point number; `double` tells of which width.
pub(super) fn float(field: &[u8], double: bool) -> Result<f64, Fault> {
    let digits = decimal(field)?;
    let text = std::str::from_utf8(field).unwrap_or_default();
    let number = if double { text.parse() } else { text.parse::<f32>().map(f64::from) };
    let number: f64 = number.map_err(|_| Fault::new(Code::InvalidNumber, "is not a number"))?;
    let is_zero = digits.integer == 0 && digits.fraction == 0;
    if number.is_infinite() || (number == 0.0 && !is_zero) {
        return Err(Fault::new(Code::OutOfRange, "is out of range"));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_measured() {
        let measure = |text: &str| decimal(text.as_bytes()).map(|d| (d.integer, d.fraction)).ok();
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("-001.2300", Some((1, 2))),
            ("1e3", Some((4, 0))),
            ("12.5E-2", Some((0, 3))),
            (".5", Some((0, 1))),
            ("5.", Some((1, 0))),
            ("1200", Some((4, 0))),
            ("", None),
            (".", None),
            ("1e", None),
            ("1 ", None),
            ("1.2.3", None),
            ("NaN", None),
        ] {
            assert_eq!(measure(text), expected, "{text}");
        }
    }

    #[test]
    fn integers_end_at_the_range_of_bigint() {
        assert_eq!(integer(b"-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer(b"+9223372036854775807"), Ok(i64::MAX));
        assert_eq!(integer(b"9223372036854775808").map_err(|f| f.code), Err(Code::OutOfRange));
        assert_eq!(integer(b"--1").map_err(|f| f.code), Err(Code::InvalidInteger));
    }
}
