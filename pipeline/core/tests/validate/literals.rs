//! Which texts are values of a type.

use tidegate_core::dead_letter::Code;
use tidegate_core::split::write_field;
use tidegate_core::validate::Scratch;

use super::validator_of;

/// The code of the reason against a value in a column of a type.
fn code(column: &str, value: &str) -> Option<Code> {
    let mut line = b"1,".to_vec();
    write_field(value.as_bytes(), &mut line);
    let (validator, mut scratch) = (validator_of(column), Scratch::default());
    validator.check(&line, &mut scratch).err().map(|reasons| reasons[0].code)
}

#[test]
fn timestamps_are_iso_8601_within_the_range_of_postgres() {
    for (kind, text, expected) in [
        ("timestamptz", "2021-07-27T16:02:08Z", None),
        ("timestamptz", "2021-07-27 16:02", None),
        ("timestamptz", "2021-07-27t16:02:08.123456+05:30", None),
        ("timestamptz", "2021-07-27T16:02:08-0330", None),
        ("timestamptz", "2021-07-27T16:02:08+05", None),
        ("timestamptz", "2020-02-29T00:00:00.123456789z", None),
        ("timestamptz", "2000-02-29T00:00:00Z", None),
        ("timestamptz", "294276-12-31T23:59:59Z", None),
        ("timestamp", "2021-07-27T16:02:08", None),
        ("timestamptz", "2021-02-29T00:00:00Z", Some(Code::InvalidTimestamp)),
        ("timestamptz", "1900-02-29T00:00:00Z", Some(Code::InvalidTimestamp)),
        ("timestamp", "2021-07-27T16:02:08Z", Some(Code::InvalidTimestamp)),
        ("timestamptz", "2021-07-27", Some(Code::InvalidTimestamp)),
        ("timestamptz", "2021-13-01T00:00:00Z", Some(Code::InvalidTimestamp)),
        ("timestamptz", "2021-07-27T24:00:00Z", Some(Code::InvalidTimestamp)),
        ("timestamptz", "2021-07-27T16:02:08 ", Some(Code::InvalidTimestamp)),
        ("timestamptz", "2021-07-27T16:02:08.Z", Some(Code::InvalidTimestamp)),
        ("timestamptz", "2021-07-27T16:02:08.1234567890Z", Some(Code::InvalidTimestamp)),
        ("timestamptz", "2021-07-27T16:02:08+5", Some(Code::InvalidTimestamp)),
        ("timestamptz", "2021-07-27T16:02:08+05:", Some(Code::InvalidTimestamp)),
        ("timestamptz", "2021-07-27T16:02:08+16", Some(Code::InvalidTimestamp)),
        ("timestamptz", "21-07-27T16:02:08Z", Some(Code::InvalidTimestamp)),
        ("timestamptz", "0000-01-01T00:00:00Z", Some(Code::OutOfRange)),
        ("timestamptz", "0001-01-01T00:00:00+01:00", Some(Code::OutOfRange)),
        ("timestamptz", "294277-01-01T00:00:00Z", Some(Code::OutOfRange)),
        ("timestamptz", "99999999999999999999-01-01T00:00:00Z", Some(Code::OutOfRange)),
        ("timestamptz", "294276-12-31T23:59:59-01:00", Some(Code::OutOfRange)),
    ] {
        assert_eq!(code(kind, text), expected, "{text}");
    }
}

#[test]
fn dates_and_times_are_read() {
    assert_eq!(code("date", "2024-02-29"), None);
    assert_eq!(code("date", "2023-02-29"), Some(Code::InvalidDate));
    assert_eq!(code("date", "2023-02-01x"), Some(Code::InvalidDate));
    assert_eq!(code("date", "5874898-01-01"), Some(Code::OutOfRange));
    assert_eq!(code("time", "23:59:59.999999"), None);
    assert_eq!(code("time", "23:60"), Some(Code::InvalidTime));
    assert_eq!(code("time", "7:00"), Some(Code::InvalidTime));
}

#[test]
fn a_float_must_neither_overflow_nor_vanish() {
    for (text, real, double) in [
        ("0.1", None, None),
        ("-0e-999", None, None),
        ("1e39", Some(Code::OutOfRange), None),
        ("1e-46", Some(Code::OutOfRange), None),
        ("-1e309", Some(Code::OutOfRange), Some(Code::OutOfRange)),
        ("1e-400", Some(Code::OutOfRange), Some(Code::OutOfRange)),
        ("inf", Some(Code::InvalidNumber), Some(Code::InvalidNumber)),
        ("NaN", Some(Code::InvalidNumber), Some(Code::InvalidNumber)),
    ] {
        assert_eq!((code("real", text), code("double", text)), (real, double), "{text}");
    }
}

#[test]
fn an_escaped_nul_is_found_and_an_escaped_backslash_is_not_one() {
    assert_eq!(code("jsonb", r#"{"a": "\u0000"}"#), Some(Code::InvalidJson));
    assert_eq!(code("jsonb", r#""\\\u0000""#), Some(Code::InvalidJson));
    assert_eq!(code("jsonb", r#""\\u0000""#), None);
}
