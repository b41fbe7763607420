//! Every way in which a column can be wrong, with the exact words.

use super::faults::assert_faults;

/// Asserts the faults of a column, whose type begins in line 2, character 5.
#[track_caller]
fn assert_column_fault(column: &str, expected: &str) {
    let text =
        format!("{{pipeline: p, datasets: {{a: {{key: id, columns: {{id: integer,\n x: {column}}}}}}}}}");
    assert_faults(&text, &[expected]);
}

#[test]
fn a_column_is_a_type_or_a_mapping_with_one() {
    assert_column_fault("{optional: true}", "2:2: \"type\" is missing; give the column one: \"type: text\"");
    assert_column_fault(
        "[text]",
        "2:5: expected a type or a mapping, found a list; write \"name: text\" or \"name: {type: text, optional: true}\"",
    );
}

#[test]
fn types_take_the_arguments_they_take() {
    let numeric = "numeric takes a precision and a scale; write numeric, numeric(p) or numeric(p,s), with p from 1 to 1000 and s from 0 to p";
    for wrong in ["numeric(0)", "numeric(2,3)", "numeric(a)", "numeric(1,1,1)", "numeric()", "numeric(1001)"]
    {
        assert_column_fault(&format!("\"{wrong}\""), &format!("2:5: {numeric}"));
    }
    assert_column_fault("text(3)", "2:5: \"text\" takes no arguments; write it without \"(…)\"");
    assert_column_fault("varchar(3", "2:5: \"varchar(3\" is no type; close its \"(\"");
    assert_column_fault("string", "2:5: \"string\" is no type; did you mean \"text\"?");
    assert_column_fault(
        "geometry",
        "2:5: \"geometry\" is no type; types are smallint, integer, bigint, numeric, real, double, boolean, text, varchar, date, time, timestamp, timestamptz, uuid, jsonb",
    );
}

#[test]
fn rules_fit_the_type_and_each_other() {
    let cases = [
        (
            "{type: text, min: 1}",
            "2:23: min is for numbers, dates and times, not for text; remove it, or change the column's type",
        ),
        (
            "{type: integer, min: 1.5}",
            "2:26: min of a column of type integer cannot be \"1.5\"; write a whole number",
        ),
        (
            "{type: numeric, max: NaN}",
            "2:26: max of a column of type numeric cannot be \"NaN\"; write a number like 12.50",
        ),
        (
            "{type: real, max: inf}",
            "2:23: max of a column of type real cannot be \"inf\"; write a number like 12.50",
        ),
        (
            "{type: date, max: 2021-02-29}",
            "2:23: max of a column of type date cannot be \"2021-02-29\"; write a date like 2021-07-27",
        ),
        (
            "{type: timestamptz, min: '0001-01-01T00:00:00+01:00'}",
            "2:30: min of a column of type timestamptz cannot be \"0001-01-01T00:00:00+01:00\"; write a timestamp with its zone, like 2021-07-27T16:02:08Z",
        ),
        (
            "{type: time, max: '24:00'}",
            "2:23: max of a column of type time cannot be \"24:00\"; write a time like 16:02:08",
        ),
        (
            "{type: timestamptz, max: 2021-02-02}",
            "2:30: max of a column of type timestamptz cannot be \"2021-02-02\"; write a timestamp with its zone, like 2021-07-27T16:02:08Z",
        ),
        (
            "{type: numeric, min: 1.01, max: 1.001}",
            "2:21: min is above max; no value could be both; lower it",
        ),
        (
            "{type: timestamptz, min: '2021-01-01T01:00:00Z', max: '2021-01-01T02:00:00+02:00'}",
            "2:25: min is above max; no value could be both; lower it",
        ),
        (
            "{type: text, min_length: 3, max_length: 2}",
            "2:18: min_length is above max_length; no value could be both; lower it",
        ),
        (
            "{type: varchar(2), min_length: 3}",
            "2:24: min_length is above the length of the type; no value could be both; lower it",
        ),
        (
            "{type: date, max_length: 2}",
            "2:30: max_length is for text and varchar, not for date; remove it, or change the column's type",
        ),
        (
            "{type: text, max_length: -2}",
            "2:30: max_length must be a number of characters, not \"-2\"; write a whole number from 0",
        ),
        (
            "{type: uuid, pattern: a}",
            "2:27: pattern is for text and varchar, not for uuid; remove it, or change the column's type",
        ),
        (
            "{type: text, pattern: 'a(b'}",
            "2:27: \"a(b\" is no regular expression: unclosed group; the syntax is that of the Rust crate regex",
        ),
        (
            "{type: text, pattern: '\\w{1000}{100}'}",
            "2:27: \"\\w{1000}{100}\" is no regular expression: Compiled regex exceeds size limit of 1048576 bytes; the syntax is that of the Rust crate regex",
        ),
        (
            "{type: real, one_of: [1]}",
            "2:26: one_of is for text, varchar and whole numbers, not for real; remove it, or change the column's type",
        ),
        (
            "{type: text, one_of: a}",
            "2:26: expected a list of values, found a text; write \"one_of: [a, b]\"",
        ),
        (
            "{type: text, one_of: []}",
            "2:26: expected a list of values, found an empty list; write \"one_of: [a, b]\"",
        ),
        ("{type: integer, one_of: [1, a]}", "2:33: \"a\" is no integer; write a whole number"),
        ("{type: integer, one_of: [1, 01]}", "2:33: \"1\" is listed twice; remove one of them"),
        (
            "{type: text, one_of: [a, null]}",
            "2:30: expected a value, found nothing; quote it where the text itself is meant",
        ),
    ];
    for (column, expected) in cases {
        assert_column_fault(column, expected);
    }
}
