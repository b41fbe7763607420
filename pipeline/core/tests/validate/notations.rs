//! Numbers and booleans in notations of their own.

use proptest::prelude::*;
use tidegate_core::position::Position;
use tidegate_core::validate::Scratch;

use super::{assert_fields, read, validator, validator_of};

#[test]
fn decimals_and_groups_of_digits_have_the_marks_of_the_column() {
    assert_fields(
        "{type: numeric, decimal: ',', thousands: '.'}",
        &[
            ("\"1,5\"", "1.5"),
            ("1.234", "1234"),
            ("\"-1.234.567,89\"", "-1234567.89"),
            ("\"12.34.567,5\"", "1234567.5"),
            ("7", "7"),
            ("\"1,5e3\"", "1.5e3"),
            ("1.5", "v is not a number; 'decimal: \".\", thousands: \",\"' reads it"),
            ("\"1,234,567\"", "v is not a number; 'decimal: \".\", thousands: \",\"' reads it"),
        ],
    );
    let blanks = "{type: integer, thousands: ' '}";
    assert_fields(
        blanks,
        &[("1 234", "1234"), ("1\u{a0}234\u{202f}567", "1234567"), ("123 45", "v is not an integer")],
    );
    assert_fields("{type: double, thousands: \"'\"}", &[("1'234.5", "1234.5"), ("1’234", "1234")]);
}

#[test]
fn groups_that_are_not_well_formed_are_refused() {
    let validator = validator_of("{type: numeric, decimal: ',', thousands: '.'}");
    for field in
        ["1.23", "1234.567", ".234", "1..234", "1.234.", "12.345.67", "1.2345", "1.23.4567", "12.34.567.890"]
    {
        assert!(read(&validator, &format!("1,{field}")).starts_with("v is not a number"), "{field}");
    }
}

#[test]
fn what_is_stripped_stands_around_the_number_with_or_without_a_blank() {
    assert_fields(
        "{type: numeric, strip: '$€%'}",
        &[("$12.50", "12.50"), ("-$ 5", "-5"), ("$-5", "-5"), ("12 €", "12"), ("7%", "7"), ("7", "7")],
    );
    assert_fields("{type: integer, strip: [EUR, E]}", &[("EUR 5", "5"), ("5E", "5"), ("5 EUR", "5")]);
    let validator = validator_of("{type: numeric, strip: '$'}");
    for field in ["5$5", " 5", "$", "$ $", "--5", "$-"] {
        assert!(read(&validator, &format!("1,{field}")).starts_with("v is not a number"), "{field}");
    }
}

#[test]
fn an_accountant_writes_negative_numbers_otherwise() {
    assert_fields(
        "{type: numeric, accounting: true, strip: '$', thousands: ','}",
        &[
            ("(5)", "-5"),
            ("5-", "-5"),
            ("5+", "5"),
            ("-5", "-5"),
            ("\"($1,234.50)\"", "-1234.50"),
            ("$(5)", "-5"),
        ],
    );
    let validator = validator_of("{type: numeric, accounting: true}");
    for field in ["(5", "5)", "-(5)", "(-5)", "-5-", "((5))", "()"] {
        assert!(read(&validator, &format!("1,{field}")).starts_with("v is not a number"), "{field}");
    }
}

#[test]
fn a_whole_number_may_have_decimal_places_that_are_zero() {
    assert_fields(
        "integer",
        &[("1.0", "1"), ("+07.00", "7"), ("-0.0", "0"), ("2147483648.0", "v is out of the range of integer")],
    );
    assert_fields("{type: integer, decimal: ','}", &[("\"1,0\"", "1"), ("\"1,5\"", "v is not an integer")]);
    assert_fields("{type: integer, one_of: [1, 2], max: 1}", &[("1.0", "1"), ("2.0", "v is above 1")]);
}

#[test]
fn the_rules_hold_for_the_number_and_the_dead_letter_shows_what_was_written() {
    let validator = validator_of("{type: \"numeric(5,2)\", decimal: ',', max: 10}");
    let reasons = super::reasons(&validator, "1,\"10,01\"");
    assert_eq!(reasons, ["out_of_range v: v is above 10 [10,01]"]);
    assert!(
        super::reasons(&validator, "1,\"1,001\"")[0].starts_with("out_of_range v: v has 3 decimal places")
    );
}

#[test]
fn booleans_have_the_words_of_the_column_in_any_case_and_no_others() {
    assert_fields(
        "{type: boolean, true: [Y, sí], false: [N, no]}",
        &[
            ("Y", "true"),
            ("SÍ", "true"),
            ("n", "false"),
            ("No", "false"),
            ("t", "v is not one of the words y, sí, n, no"),
        ],
    );
    assert_fields(
        "{type: boolean, true: [x], default: false}",
        &[
            ("x", "true"),
            ("", "false"),
            ("No", "false"),
            ("yes", "v is not one of the words x, false, f, no, n, off, 0"),
        ],
    );
    assert_fields("{type: boolean, false: [y]}", &[("y", "false"), ("yes", "true"), ("1", "true")]);
}

#[test]
fn the_key_and_the_references_are_the_canonical_values() {
    let validator = validator(
        "    csv: {thousands: ','}\n    columns: {id: integer, boss: {type: integer, optional: true, references: d}}\n",
    );
    let mut scratch = Scratch::default();
    let row = validator.check(b"\"1,000\",7.0", &mut scratch).expect("the line is valid");
    let mut key = Vec::new();
    let key = row.key(Position::new(1, 1), &mut key);
    assert_eq!((key, row.value(1), row.canonical), (&b"1000"[..], Some(&b"7"[..]), &b"1000,7"[..]));
}

/// Writes a number with marks between groups of three digits.
fn grouped(number: u64, mark: char) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(mark);
        }
        text.push(digit);
    }
    text
}

proptest! {
    #[test]
    fn a_number_that_is_written_in_a_notation_reads_as_itself(
        number in 0..u64::MAX / 2,
        fraction in "[0-9]{0,6}",
        notation in prop::sample::select(vec![(',', '.'), ('.', ','), (',', ' '), ('.', '\''), ('٫', '٬')]),
        (negative, symbol, accounting) in (any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let (decimal, thousands) = notation;
        let column = format!(
            "{{type: numeric, decimal: \"{decimal}\", thousands: \"{thousands}\", strip: \"€\", accounting: {accounting}}}"
        );
        let point = if fraction.is_empty() { String::new() } else { format!("{decimal}{fraction}") };
        let size = format!("{}{point}{}", grouped(number, thousands), if symbol { " €" } else { "" });
        let text = match (negative, accounting) {
            (true, true) => format!("({size})"),
            (true, false) => format!("-{size}"),
            _ => size,
        };
        let expected_point = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
        let expected = format!("1,{}{number}{expected_point}", if negative { "-" } else { "" });
        prop_assert_eq!(read(&validator_of(&column), &format!("1,\"{text}\"")), expected);
    }
}
