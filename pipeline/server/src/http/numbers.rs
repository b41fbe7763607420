//! Whole numbers in JSON. RFC 8259 has one kind of numbers, and some clients write `7` as `7.0` or `7e0`.

use std::borrow::Cow;

/// No integer column holds so many digits. Longer numbers stay as they are written, and their column refuses them.
const DIGITS_MAX: usize = 40;

/// Returns a whole number in digits alone, and any other number unchanged. Exact for any size.
pub(super) fn whole(number: &str) -> Cow<'_, str> {
    digits(number).map_or(Cow::Borrowed(number), Cow::Owned)
}

/// The digits of a whole number that is written with a point or an exponent.
fn digits(number: &str) -> Option<String> {
    let (sign, unsigned) = number.strip_prefix('-').map_or(("", number), |unsigned| ("-", unsigned));
    if !unsigned.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent),
        None if unsigned.contains('.') => (unsigned, "0"),
        None => return None,
    };
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all: String = [before, behind].concat();
    let significant = all.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some("0".to_owned());
    }
    // The position of the last significant digit: either zeros follow, or the digit is behind the point.
    let trailing = all.len() - all.trim_end_matches('0').len();
    let exponent: i64 = exponent.parse().ok()?; // a longer exponent is too large, or makes no whole number
    let zeros = exponent.checked_sub(behind.len() as i64)?.checked_add(trailing as i64)?;
    let zeros =
        usize::try_from(zeros).ok().filter(|zeros| zeros.saturating_add(significant.len()) <= DIGITS_MAX)?;
    Some(format!("{sign}{significant}{}", "0".repeat(zeros)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_of_zero_is_none_and_nothing_is_rounded() {
        for (written, meant) in [
            ("1.0", "1"),
            ("-1.0", "-1"),
            ("2e0", "2"),
            ("1e2", "100"),
            ("1E+2", "100"),
            ("1.50e1", "15"),
            ("1200e-2", "12"),
            ("0.0", "0"),
            ("-0.0", "0"),
            ("0e999999999999999999999", "0"),
            ("9007199254740993.0", "9007199254740993"),
            ("9223372036854775807.000", "9223372036854775807"),
            ("-9.223372036854775808e18", "-9223372036854775808"),
            ("0.000001e6", "1"),
            ("1e39", &format!("1{}", "0".repeat(39))),
        ] {
            assert_eq!(whole(written), meant, "{written}");
        }
        for other in [
            "1",
            "-0",
            "12345678901234567890",
            "1.5",
            "1e-1",
            "15e-1",
            "1e400",
            "1e99999999999999999999",
            "0.1e-99999999999999999999",
            "true",
            "{}",
            "[1.0]",
        ] {
            assert_eq!(whole(other), other);
        }
    }
}
