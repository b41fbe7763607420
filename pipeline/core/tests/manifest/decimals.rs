//! Decimals are compared exactly.

use std::cmp::Ordering;

use proptest::prelude::*;
use tidegate_core::manifest::{compare_decimals, is_decimal};

#[test]
fn decimals_are_compared_by_value_and_not_by_spelling() {
    let ascending = [
        "-1e400",
        "-100.01",
        "-100",
        "-1",
        "-0.5",
        "-1e-400",
        "0",
        "1e-400",
        "0.05",
        ".5",
        "1",
        "9.99",
        "10",
        "100",
        "123456789012345678901234567890",
        "123456789012345678901234567890.1",
        "1e400",
        "1e99999999999999999999",
    ];
    for (i, a) in ascending.iter().enumerate() {
        for (j, b) in ascending.iter().enumerate() {
            assert_eq!(compare_decimals(a, b), i.cmp(&j), "{a} and {b}");
        }
    }
    for (a, b) in
        [("1.50", "15e-1"), ("-0", "+0.00"), ("0e9", "0"), ("007", "7."), ("1000", "1E3"), ("0.001", "1e-3")]
    {
        assert_eq!(compare_decimals(a, b), Ordering::Equal, "{a} and {b}");
    }
}

#[test]
fn a_decimal_is_digits_with_a_sign_a_point_and_an_exponent() {
    for text in ["0", "-1", "+1.", ".5", "1e5", "1.5E-5"] {
        assert!(is_decimal(text), "{text}");
    }
    for text in ["", ".", "-", "e5", "1e", "1e+", "1.2.3", " 1", "1,5", "NaN", "0x1", "1_0", "--1", "١"] {
        assert!(!is_decimal(text), "{text}");
    }
}

proptest! {
    #[test]
    fn decimals_compare_like_scaled_integers(a in -10_000_000_i64..10_000_000, b in -10_000_000_i64..10_000_000) {
        let text = |n: i64| {
            let sign = if n < 0 { "-" } else { "" };
            format!("{sign}{}.{:04}", n.abs() / 10_000, n.abs() % 10_000)
        };
        prop_assert_eq!(compare_decimals(&text(a), &text(b)), a.cmp(&b));
        prop_assert_eq!(compare_decimals(&text(a), &format!("{b}e-4")), a.cmp(&b));
    }
}
