//! Decimal numbers as texts, measured and compared exactly without a decimal type.

use std::cmp::Ordering;

/// Whether the text is a number in decimal notation: an optional sign, digits with at most one point
/// among them, and an optional exponent.
pub fn is_decimal(text: &str) -> bool {
    Decimal::parse(text.as_bytes()).is_some()
}

/// Compares two numbers in decimal notation exactly, whatever their length, sign or exponent:
/// `1.50` equals `15e-1`, and `-0` equals `0`.
///
/// Both must satisfy [`is_decimal`]. Any other text ranks below all numbers, and equal to other such texts.
pub fn compare_decimals(a: &str, b: &str) -> Ordering {
    match (Decimal::parse(a.as_bytes()), Decimal::parse(b.as_bytes())) {
        (Some(a), Some(b)) => a.compare(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// `0.d₁d₂d₃… × 10^magnitude`, where `d₁` is not zero. Zero has no digits.
#[derive(Debug)]
pub(crate) struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    magnitude: i64,
}

impl<'a> Decimal<'a> {
    /// Reads a number in decimal notation; see [`is_decimal`].
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let (negative, bytes) = split_sign(text);
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

    /// Removes the zeros at both ends.
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

    /// How many digits precede the point, leading zeros excluded.
    pub(crate) fn digits_before_point(&self) -> i64 {
        self.magnitude.max(0)
    }

    /// How many digits follow the point, trailing zeros excluded.
    pub(crate) fn digits_behind_point(&self) -> i64 {
        let digits = (self.whole.len() + self.fraction.len()) as i64;
        digits.saturating_sub(self.magnitude).max(0)
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.is_empty()
    }

    /// Compares with a text that satisfies [`is_decimal`]. Any other text ranks below all numbers.
    pub(crate) fn compare_with(&self, text: &str) -> Ordering {
        Decimal::parse(text.as_bytes()).map_or(Ordering::Greater, |other| self.compare(&other))
    }

    fn compare(&self, other: &Decimal<'_>) -> Ordering {
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

    fn compare_size(&self, other: &Decimal<'_>) -> Ordering {
        let digits = self.whole.iter().chain(self.fraction);
        let others = other.whole.iter().chain(other.fraction);
        self.magnitude.cmp(&other.magnitude).then_with(|| digits.cmp(others))
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other).is_eq()
    }
}

/// Reads an exponent. It saturates beyond any size that a number of a file can need, and then still compares as huge
/// or tiny.
fn parse_exponent(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = split_sign(bytes);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits
        .iter()
        .fold(0_i64, |size, digit| size.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    Some(if negative { -size } else { size })
}

/// Whether the number is negative, and the bytes after its sign.
pub(crate) fn split_sign(bytes: &[u8]) -> (bool, &[u8]) {
    match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    }
}

fn trim_start(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

fn trim_end(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    &digits[..digits.len() - zeros]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_measured_on_each_side_of_the_point() {
        for (text, expected) in [
            ("0", (0, 0)),
            ("-0.00e9", (0, 0)),
            ("-001.2300", (1, 2)),
            ("1e3", (4, 0)),
            ("12.5E-2", (0, 3)),
            (".5", (0, 1)),
            ("0.05", (0, 2)),
            ("5.", (1, 0)),
            ("1200", (4, 0)),
            ("100.001", (3, 3)),
            ("1e-99999999999999999999", (0, i64::MAX)),
        ] {
            let decimal = Decimal::parse(text.as_bytes()).unwrap();
            assert_eq!((decimal.digits_before_point(), decimal.digits_behind_point()), expected, "{text}");
        }
    }
}
