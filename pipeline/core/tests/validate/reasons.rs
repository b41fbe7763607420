//! Every reason that the transform can give against a line, word by word.

use super::{reasons, validator, validator_of};

/// Asserts, for a column of that type, what is said of each value; nothing means that it is accepted.
fn assert_values(column: &str, cases: &[(&str, &str)]) {
    let validator = validator_of(column);
    for (value, expected) in cases {
        let expected: Vec<_> =
            (!expected.is_empty()).then(|| format!("{expected} [{value}]")).into_iter().collect();
        assert_eq!(reasons(&validator, format!("1,{value}")), expected, "{column}: {value}");
    }
}

#[test]
fn a_line_has_a_field_for_each_column() {
    let validator = validator_of("text");
    let few = "wrong_column_count -: the line has 1 field, 2 are expected; 'short_rows: pad' in 'csv' takes the last ones for \
               missing values [1]";
    assert_eq!(reasons(&validator, "1"), [few]);
    let many = |line: &str, setting: &str| {
        let expected =
            format!("wrong_column_count -: the line has 3 fields, 2 are expected; {setting} [{line}]");
        assert_eq!(reasons(&validator, line), [expected]);
    };
    many("x,,", "'trailing_delimiter: true' in 'csv' lets a delimiter end each line");
    many("x,,y", "'columns_unknown: ignore' in 'csv' leaves further fields out");
    let divided = "wrong_column_count -: the line has 1 field, 2 are expected; 'delimiter: \"\\t\"' in 'csv' divides it \
                   into 2 [1\ta]";
    assert_eq!(reasons(&validator, "1\ta"), [divided]);
}

#[test]
fn a_required_value_that_is_empty_or_null_is_missing() {
    let missing = |value: &str| format!("missing_value v: v is required [{value}]");
    for column in ["text", "integer", "timestamptz"] {
        assert_eq!(reasons(&validator_of(column), "1,"), [missing("")]);
        assert_eq!(reasons(&validator_of(column), "1,\"\""), [missing("")]);
    }
    let nullable = validator("    csv: {null: NA}\n    columns: {id: integer, v: text}\n");
    assert_eq!(reasons(&nullable, "1,NA"), [missing("NA")]);
    assert_eq!(reasons(&nullable, "1,"), [missing("")]);
    assert!(reasons(&nullable, "1,\"NA\"").is_empty(), "what is quoted is a text");
}

#[test]
fn integers_are_digits_within_their_type() {
    assert_values(
        "integer",
        &[
            ("-2147483648", ""),
            ("+2147483647", ""),
            ("00000000000000000000000000000007", ""),
            ("2147483648", "out_of_range v: v is out of the range of integer"),
            ("9223372036854775808", "out_of_range v: v is out of the range of bigint"),
            ("1.0", ""),
            ("1.5", "invalid_integer v: v is not an integer"),
            ("1e3", "invalid_integer v: v is not an integer"),
            (" 1", "invalid_integer v: v is not an integer; 'trim: true' reads it"),
            (
                "-",
                "invalid_integer v: v is not an integer; 'null: \"-\", optional: true' takes it for a missing value",
            ),
        ],
    );
    assert_values(
        "smallint",
        &[("32767", ""), ("-32769", "out_of_range v: v is out of the range of smallint")],
    );
    assert_values(
        "bigint",
        &[
            ("-9223372036854775808", ""),
            ("-9223372036854775809", "out_of_range v: v is out of the range of bigint"),
        ],
    );
}

#[test]
fn decimals_keep_to_precision_and_scale() {
    assert_values(
        "numeric(5,2)",
        &[
            ("-123.4500", ""),
            ("1e2", ""),
            ("1000", "out_of_range v: v has 4 digits before the point, at most 3 are kept"),
            ("1.005", "out_of_range v: v has 3 decimal places, at most 2 are kept"),
            (
                "NaN",
                "invalid_number v: v is not a number; 'null: NaN, optional: true' takes it for a missing value",
            ),
            ("1 ", "invalid_number v: v is not a number; 'trim: true' reads it"),
        ],
    );
    assert_values(
        "numeric(3)",
        &[("999", ""), ("1.5", "out_of_range v: v has 1 decimal places, at most 0 are kept")],
    );
    assert_values(
        "numeric",
        &[
            ("1e131071", ""),
            ("1e131072", "out_of_range v: v has 131073 digits before the point, at most 131072 are kept"),
            ("1e-16384", "out_of_range v: v has 16384 decimal places, at most 16383 are kept"),
        ],
    );
}

#[test]
fn floating_point_numbers_neither_overflow_nor_vanish() {
    assert_values(
        "real",
        &[
            ("0.1", ""),
            ("1e39", "out_of_range v: v is out of the range of real"),
            ("1e-50", "out_of_range v: v is out of the range of real"),
            ("inf", "invalid_number v: v is not a number"),
        ],
    );
    assert_values("double", &[("1e39", ""), ("-1e309", "out_of_range v: v is out of the range of double")]);
}

#[test]
fn points_in_time_are_iso_8601() {
    assert_values(
        "timestamptz",
        &[
            ("2021-07-27T16:02:08Z", ""),
            ("2021-07-27 16:02:08", ""),
            (
                "27/07/2021 16:02",
                "invalid_timestamp v: v is not a timestamp, YYYY-MM-DDTHH:MM:SSZ; 'format: \"%d/%m/%Y %H:%M\"' reads it",
            ),
            ("2021-02-30T00:00:00Z", "invalid_timestamp v: v is not a timestamp, YYYY-MM-DDTHH:MM:SSZ"),
            ("300000-01-01T00:00:00Z", "out_of_range v: v is not within the years 1 to 294276"),
        ],
    );
    assert_values(
        "timestamp",
        &[
            ("2021-07-27T16:02:08", ""),
            (
                "2021-07-27T16:02:08Z",
                "invalid_timestamp v: v is not a timestamp without offset, YYYY-MM-DDTHH:MM:SS",
            ),
        ],
    );
    assert_values(
        "date",
        &[
            ("2024-02-29", ""),
            ("2023-02-29", "invalid_date v: v is not a date, YYYY-MM-DD"),
            ("0000-01-01", "out_of_range v: v is not within the years 1 to 5874897"),
        ],
    );
    assert_values("time", &[("23:59", ""), ("24:00", "invalid_time v: v is not a time of day, HH:MM:SS")]);
}

#[test]
fn booleans_uuids_and_json_are_what_postgres_reads() {
    assert_values(
        "boolean",
        &[("YES", ""), ("0", ""), ("2", "invalid_boolean v: v is neither true nor false")],
    );
    assert_values(
        "uuid",
        &[
            ("A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11", ""),
            ("a0eebc999c0b4ef8bb6d6bb9bd380a11", ""),
            ("{a0eebc999c0b4ef8bb6d6bb9bd380a11}", "invalid_uuid v: v is not a uuid"),
        ],
    );
    assert_values(
        "jsonb",
        &[
            ("null", ""),
            ("{", "invalid_json v: v is not JSON: EOF while parsing an object at line 1 column 1"),
        ],
    );
    let nul = reasons(&validator_of("jsonb"), r#"1,"""\u0000""""#);
    assert_eq!(nul, [r#"invalid_json v: v holds \u0000, which jsonb cannot ["\u0000"]"#]);
}

#[test]
fn values_keep_to_their_bounds_which_are_inclusive() {
    assert_values(
        "{type: integer, min: -1, max: 5}",
        &[
            ("-1", ""),
            ("5", ""),
            ("-2", "out_of_range v: v is below -1"),
            ("6", "out_of_range v: v is above 5"),
        ],
    );
    assert_values(
        "{type: numeric, min: -1e2, max: '0.10'}",
        &[
            ("-100.0", ""),
            (".1", ""),
            ("-100.01", "out_of_range v: v is below -1e2"),
            ("0.100001", "out_of_range v: v is above 0.10"),
        ],
    );
    assert_values(
        "{type: real, min: 0, max: 0.1}",
        &[("-0", ""), ("0.1", ""), ("0.11", "out_of_range v: v is above 0.1")],
    );
    assert_values(
        "{type: date, min: 2021-01-01, max: 12021-12-31}",
        &[
            ("2021-01-01", ""),
            ("2020-12-31", "out_of_range v: v is below 2021-01-01"),
            ("12022-01-01", "out_of_range v: v is above 12021-12-31"),
        ],
    );
    assert_values(
        "{type: time, min: '08:00', max: '18:00'}",
        &[("08:00:00", ""), ("18:00:00.000001", "out_of_range v: v is above 18:00:00")],
    );
    assert_values(
        "{type: timestamp, min: 2021-01-01}",
        &[
            ("2021-01-01T00:00:00", ""),
            ("2020-12-31 23:59:59.999999", "out_of_range v: v is below 2021-01-01T00:00:00"),
        ],
    );
    assert_values(
        "{type: timestamptz, max: '2021-01-01T00:00:00+01:00'}",
        &[
            ("2020-12-31T23:00:00Z", ""),
            ("2021-01-01T01:00:00.5+02:00", "out_of_range v: v is above 2020-12-31T23:00:00Z"),
        ],
    );
}

#[test]
fn texts_keep_to_their_rules_and_length_is_counted_in_characters() {
    assert_values(
        "{type: text, min_length: 2, max_length: 3}",
        &[
            ("éé", ""),
            ("ééé", ""),
            ("é", "too_short v: v has 1 characters, at least 2 are required"),
            ("éééé", "too_long v: v has 4 characters, at most 3 are allowed"),
        ],
    );
    let long = "too_long v: v has 4 characters, at most 3 are allowed";
    assert_values("varchar(3)", &[("éé日", ""), ("abcd", long)]);
    assert_values("{type: varchar(9), max_length: 3}", &[("abcd", long)]);
    assert_values("{type: varchar(3), max_length: 9}", &[("abcd", long)]);
    assert_values("{type: text, one_of: [a, b]}", &[("a", ""), ("A", "not_allowed v: v is not one of a, b")]);
    assert_values(
        "{type: integer, one_of: [7, 8]}",
        &[("+007", ""), ("9", "not_allowed v: v is not one of 7, 8")],
    );
    assert_values(
        "{type: text, pattern: '^[a-z]+$'}",
        &[("abc", ""), ("abc1", "pattern_mismatch v: v does not match '^[a-z]+$'")],
    );
}

#[test]
fn what_is_no_text_is_refused_whole() {
    let validator = validator_of("text");
    let utf8 = "invalid_utf8 -: byte 4 of the line is not UTF-8 []";
    assert_eq!(reasons(&validator, b"1,a\xff"), [utf8]);
    assert_eq!(reasons(&validator, b"1,a\xff,\0"), [utf8], "nothing else is asked");
    assert_eq!(reasons(&validator, b"1,\"\xff"), ["invalid_utf8 -: byte 4 of the line is not UTF-8 []"]);
    let nul = "invalid_character -: byte 3 of the line is NUL, which Postgres cannot store []";
    assert_eq!(reasons(&validator, b"1,\0"), [nul]);
    assert_eq!(reasons(&validator, b"1,\0abcdefgh"), [nul]);
    assert!(reasons(&validator, "1,\u{7f}\u{1}é").is_empty());
}

#[test]
fn a_quote_that_never_closes_says_what_to_do() {
    let unclosed = |column: &str, field: usize, line: &str| {
        format!(
            "invalid_character {column}: the quote that opens field {field} never closes; \
             write the field in quotes with each quote inside doubled [{line}]"
        )
    };
    let validator = validator_of("text");
    assert_eq!(reasons(&validator, "1,\"a"), [unclosed("v", 2, "1,\"a")]);
    assert_eq!(reasons(&validator, "1,2,\"a"), [unclosed("-", 3, "1,2,\"a")]);
}

#[test]
fn all_reasons_are_given_at_once_in_the_order_of_the_columns() {
    let validator = validator(
        "    columns:\n      id: integer\n      name: text\n      at: timestamptz\n      \
         size: {type: smallint, min: 1, one_of: [1, 2]}\n      \
         code: {type: varchar(4), max_length: 3, pattern: '^[a-z]+$', one_of: [abc, de]}\n      \
         note: {type: text, optional: true, min_length: 2}\n",
    );
    assert!(reasons(&validator, "1,x,2021-01-01T00:00:00Z,2,abc,").is_empty());
    assert_eq!(
        reasons(&validator, "x,,yesterday,0,ABCDE,n"),
        [
            "invalid_integer id: id is not an integer [x]",
            "missing_value name: name is required []",
            "invalid_timestamp at: at is not a timestamp, YYYY-MM-DDTHH:MM:SSZ [yesterday]",
            "out_of_range size: size is below 1 [0]",
            "not_allowed size: size is not one of 1, 2 [0]",
            "too_long code: code has 5 characters, at most 3 are allowed [ABCDE]",
            "not_allowed code: code is not one of abc, de [ABCDE]",
            "pattern_mismatch code: code does not match '^[a-z]+$' [ABCDE]",
            "too_short note: note has 1 characters, at least 2 are required [n]",
        ]
    );
}

#[test]
fn a_value_is_repeated_without_its_quotes_and_in_part_if_it_is_long() {
    let validator = validator_of("integer");
    assert_eq!(reasons(&validator, "1,\"a,\"\"b\""), ["invalid_integer v: v is not an integer [a,\"b]"]);
    let long = "é".repeat(300);
    let expected = format!("invalid_integer v: v is not an integer [{}]", "é".repeat(256));
    assert_eq!(reasons(&validator, format!("1,{long}")), [expected]);
}
