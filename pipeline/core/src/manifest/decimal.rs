//! Decimal numbers as texts, compared exactly and without a decimal type.

use std::cmp::Ordering;

/// Whether the text is a number in decimal notation: an optional sign, digits with at most one point
/// among them, and an optional exponent.
pub fn is_decimal(text: &str) -> bool {
    Decimal::parse(text).is_some()
}

/// Compares two numbers in decimal notation exactly, whatever their length, sign or exponent:
/// `1.50` equals `15e-1`, and `-0` equals `0`.
///
/// Both must satisfy [`is_decimal`]; any other text ranks below all numbers, equal to its like.
pub fn compare_decimals(a: &str, b: &str) -> Ordering {
    match (Decimal::parse(a), Decimal::parse(b)) {
        (Some(a), Some(b)) => a.compare(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// `0.d₁d₂d₃… × 10^magnitude`, where `d₁` is not zero; the digits of zero are empty.
struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    magnitude: i64,
}

impl<'a> Decimal<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (negative, bytes) = match bytes {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, bytes),
        };
        let (mantissa, exponent) = match bytes.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&bytes[..at], parse_exponent(&bytes[at + 1..])?),
            None => (bytes, 0),
        };
        let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
            Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
            None => (mantissa, &mantissa[mantissa.len()..]),
        };
        let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
            return None;
        }
        Some(Self::normal(negative, whole, fraction, exponent))
    }

    /// Takes the zeros off both ends.
    fn normal(negative: bool, whole: &'a [u8], fraction: &'a [u8], exponent: i64) -> Self {
        let whole = trim_start(whole);
        let (mut magnitude, mut digits_behind) = (whole.len() as i64, fraction);
        if whole.is_empty() {
            digits_behind = trim_start(fraction);
            magnitude = -((fraction.len() - digits_behind.len()) as i64);
        }
        let fraction = trim_end(digits_behind);
        let whole = if fraction.is_empty() { trim_end(whole) } else { whole };
        if whole.is_empty() && fraction.is_empty() {
            return Self { negative: false, whole, fraction, magnitude: 0 };
        }
        Self { negative, whole, fraction, magnitude: magnitude.saturating_add(exponent) }
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.is_empty()
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self.sign(), other.sign()) {
            (1, 1) => self.compare_size(other),
            (-1, -1) => other.compare_size(self),
            (a, b) => a.cmp(&b),
        }
    }

    fn sign(&self) -> i8 {
        match (self.is_zero(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    fn compare_size(&self, other: &Self) -> Ordering {
        let digits = self.whole.iter().chain(self.fraction);
        let others = other.whole.iter().chain(other.fraction);
        self.magnitude.cmp(&other.magnitude).then_with(|| digits.cmp(others))
    }
}

/// An exponent that no number of a file can need saturates, so that it still compares as huge or tiny.
fn parse_exponent(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits
        .iter()
        .fold(0_i64, |size, digit| size.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    Some(if negative { -size } else { size })
}

fn trim_start(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

fn trim_end(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    &digits[..digits.len() - zeros]
}
