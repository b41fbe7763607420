//! Which setting a refused value needs.

use tidegate_core::manifest::Manifest;
use tidegate_core::validate::{Scratch, Validator, hint};

/// What is hinted at for a value of a column.
fn of(column: &str, value: &str) -> String {
    let text =
        format!("{{pipeline: p, datasets: {{d: {{key: id, columns: {{id: integer, v: {column}}}}}}}}}");
    let manifest = Manifest::parse(&text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    hint(&manifest.datasets[0], 1, value).map(|hint| hint.to_string()).unwrap_or_default()
}

#[test]
fn a_hint_names_the_format_that_reads_a_date() {
    for (kind, value, expected) in [
        ("date", "27/07/2021", "'format: \"%d/%m/%Y\"' reads it"),
        ("date", "07/27/2021", "'format: \"%m/%d/%Y\"' reads it"),
        ("date", "7/7/2021", "'format: \"%d/%m/%Y\"' reads it"),
        ("date", "05/07/2021", "'format: \"%d/%m/%Y\"' or 'format: \"%m/%d/%Y\"' reads it, each differently"),
        ("date", "27-Jul-21", "'format: \"%d-%b-%y\"' reads it"),
        ("date", "July 27, 2021", "'format: \"%B %d, %Y\"' reads it"),
        ("date", "27/07/2021 00:00:00", "'format: \"%d/%m/%Y 00:00:00\"' reads it"),
        ("date", "44404", "'format: excel' reads it"),
        ("date", "27072021", "'format: \"%d%m%Y\"' reads it"),
        ("date", "0000-00-00", "'null: \"0000-00-00\", optional: true' takes it for a missing value"),
        (
            "timestamp",
            "00/00/0000 00:00",
            "'null: \"00/00/0000 00:00\", optional: true' takes it for a missing value",
        ),
        ("timestamptz", "27/07/2021 16:02:08Z", "'format: \"%d/%m/%Y %H:%M:%S%Z\"' reads it"),
        ("time", "4:02 PM", "'format: \"%I:%M %p\"' reads it"),
        ("timestamp", "27.07.2021 16:02", "'format: \"%d.%m.%Y %H:%M\"' reads it"),
        ("timestamp", "1627401728", "'format: epoch_s' reads it"),
        ("timestamptz", "1627401728000", "'format: epoch_ms' reads it"),
        ("timestamptz", "27/Jul/2021:18:02:08 +0200", "'format: \"%d/%b/%Y:%H:%M:%S %z\"' reads it"),
        ("timestamptz", "Tue, 27 Jul 2021 16:02:08 GMT", "'format: \"%a, %d %b %Y %H:%M:%S %Z\"' reads it"),
        ("date", "31/02/2021", ""),
        ("date", "2021-07-27 16:02:08", ""),
        ("date", "2021-07-27", ""),
        ("date", "yesterday", ""),
    ] {
        assert_eq!(of(kind, value), expected, "{kind} {value}");
    }
}

#[test]
fn a_hint_names_the_notation_of_a_number() {
    for (kind, value, expected) in [
        ("numeric", "1,5", "'decimal: \",\"' reads it"),
        ("numeric", "1.234,50", "'decimal: \",\", thousands: \".\"' reads it"),
        ("numeric", "1,234.50", "'thousands: \",\"' reads it"),
        ("numeric", "1,234", "'thousands: \",\"' or 'decimal: \",\"' reads it, each differently"),
        ("integer", "1,234", "'thousands: \",\"' reads it"),
        ("integer", "1 234", "'thousands: \" \"' reads it"),
        ("numeric", "$12.50", "'strip: [\"$\"]' reads it"),
        ("numeric", "12,5 %", "'decimal: \",\", strip: [\"%\"]' reads it"),
        ("numeric", "EUR 5", "'strip: [EUR]' reads it"),
        ("numeric", "(5)", "'accounting: true' reads it"),
        ("double", "5-", "'accounting: true' reads it"),
        ("integer", "1.5", ""),
        ("integer", "2147483648", ""),
        ("numeric", "twelve", ""),
        ("numeric", "12 apples", ""),
    ] {
        assert_eq!(of(kind, value), expected, "{kind} {value}");
    }
}

#[test]
fn a_hint_names_words_null_markers_and_blanks() {
    let missing = |setting: &str| format!("'{setting}' takes it for a missing value");
    assert_eq!(of("boolean", "SÍ"), "'true: [sí], false: [no]' reads it");
    assert_eq!(of("boolean", "perhaps"), "");
    assert_eq!(of("{type: integer, optional: true}", "NA"), missing("null: NA"));
    assert_eq!(of("{type: date, optional: true}", "NULL"), missing("null: \"NULL\""));
    assert_eq!(of("{type: integer, optional: true}", "\\N"), missing("null: \"\\\\N\""));
    assert_eq!(of("{type: integer, default: 0}", "-"), missing("null: \"-\""));
    assert_eq!(of("integer", "n/a"), missing("null: \"n/a\", optional: true"));
    assert_eq!(of("{type: text, optional: true, one_of: [a]}", "NA"), missing("null: NA"));
    assert_eq!(of("integer", " 7"), "'trim: true' reads it");
    let keyed = Manifest::parse("{pipeline: p, datasets: {d: {key: id, columns: {id: integer}}}}", &|_| None)
        .unwrap();
    assert_eq!(hint(&keyed.datasets[0], 0, "NA"), None, "a key cannot lack its value");
    assert_eq!(of("{type: text, one_of: [a]}", "a "), "'trim: true' reads it");
    assert_eq!(of("integer", &"1,000".repeat(20)), "", "a long value is not tried");
}

#[test]
fn a_hint_keeps_the_settings_that_a_column_has() {
    let of_nulls = of("{type: integer, optional: true, null: [NA, \"-\"]}", "NULL");
    assert_eq!(of_nulls, "'null: [NA, \"-\", \"NULL\"]' takes it for a missing value");
    let of_formats = of("{type: date, format: [\"%d/%m/%Y\", excel]}", "27.07.2021");
    assert_eq!(of_formats, "'format: [\"%d/%m/%Y\", excel, \"%d.%m.%Y\"]' reads it");
    let of_epochs = of("{type: timestamp, format: epoch_s}", "1627401728000");
    assert_eq!(of_epochs, "'format: [epoch_s, epoch_ms]' reads it");
}

#[test]
fn a_marker_in_quotes_is_missing_by_another_setting() {
    let text = "{pipeline: p, datasets: {d: {key: id, columns: {id: integer, v: {type: integer, optional: true, null: NA}}}}}";
    let manifest = Manifest::parse(text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    let mut scratch = Scratch::default();
    let validator = Validator::new(&manifest.datasets[0]);
    let reasons = validator.check(b"1,\"NA\"", &mut scratch).unwrap_err();
    let message = &reasons[0].message;
    assert!(message.ends_with("; 'quoted_null: true' takes it for a missing value"), "{message}");
}
