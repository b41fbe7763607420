//! How the texts of a column are read, as the manifest says it, and every way in which it can be wrong.

use tidegate_core::manifest::{DefaultValue, Reading};

use super::faults::assert_faults;
use super::{faulty, valid};

fn column(column: &str) -> String {
    format!("pipeline: p\ndatasets:\n  d:\n    key: id\n    columns:\n      id: integer\n      v: {column}\n")
}

fn reading(text: &str) -> Reading {
    valid(&column(text)).datasets[0].columns[1].reading.clone()
}

/// Asserts the only fault of a column `v`, without its place.
#[track_caller]
fn assert_fault(text: &str, message: &str) {
    let faults = faulty(&column(text)).to_string();
    assert!(faults.ends_with(&format!(": {message}")) && faults.lines().count() == 1, "{text}: {faults}");
}

#[test]
fn a_column_without_settings_reads_what_postgres_reads() {
    assert_eq!(reading("integer"), Reading::default());
    assert_eq!(reading("{type: text, optional: true}"), Reading::default());
}

#[test]
fn the_settings_of_a_dataset_hold_for_the_columns_that_they_concern() {
    let text = "pipeline: p\ndatasets:\n  d:\n    key: id\n    \
                csv: {null: [NA, x], quoted_null: true, empty: text, trim: true, time_zone: utc, decimal: ',', thousands: '.'}\n    \
                columns:\n      id: integer\n      a: text\n      b: {type: numeric, decimal: '.', thousands: ','}\n      \
                c: {type: timestamptz, null: y, quoted_null: false, trim: false, time_zone: europe/berlin}\n";
    let manifest = valid(text);
    let readings: Vec<_> = manifest.datasets[0].columns.iter().map(|column| &column.reading).collect();
    let [id, a, b, c] = readings[..] else { panic!("there are four columns") };
    assert_eq!((id.nulls.len(), id.quoted_null, id.trim, id.empty_is_text), (2, true, true, false));
    assert_eq!((id.decimal, id.thousands), (',', Some('.')));
    assert_eq!((a.trim, a.empty_is_text, a.decimal, &a.time_zone), (false, true, '.', &None));
    assert_eq!((b.decimal, b.thousands), ('.', Some(',')));
    assert_eq!((&c.nulls[..], c.quoted_null, c.trim), (&["y".to_owned()][..], false, false));
    assert_eq!(c.time_zone.as_ref().map(|zone| zone.name()), Some("Europe/Berlin"));
}

#[test]
fn a_zone_of_the_dataset_concerns_only_columns_that_need_one() {
    let text = "{pipeline: p, datasets: {d: {key: id, csv: {time_zone: UTC}, columns: {id: integer, a: date, \
                b: {type: date, default: now}, c: timestamp, e: timestamptz}}}}";
    let manifest = valid(text);
    let columns = &manifest.datasets[0].columns;
    let has_zone: Vec<bool> = columns.iter().map(|column| column.reading.time_zone.is_some()).collect();
    assert_eq!(has_zone, [false, false, true, false, true]);
}

#[test]
fn defaults_are_kept_as_postgres_reads_them() {
    let default = |text: &str| reading(text).default;
    let constant = |text: &str| Some(DefaultValue::Constant(text.to_owned()));
    assert_eq!(default("{type: integer, default: 7.0}"), constant("7"));
    assert_eq!(
        default("{type: timestamptz, default: \"2021-07-27 18:02:08 Europe/Berlin\"}"),
        constant("2021-07-27T16:02:08Z")
    );
    assert_eq!(default("{type: date, default: now}"), Some(DefaultValue::Now));
    assert_eq!(default("{type: text, default: table}"), Some(DefaultValue::Table));
}

#[test]
fn settings_that_do_not_fit_the_type_are_faults() {
    for (text, fault) in [
        ("{type: integer, format: epoch_s}", "format is for dates and times, not for integer"),
        ("{type: text, decimal: ','}", "decimal is for numbers, not for text"),
        ("{type: date, accounting: true}", "accounting is for numbers, not for date"),
        ("{type: text, true: [a]}", "true is for boolean, not for text"),
        ("{type: uuid, empty: text}", "empty is for text and varchar, not for uuid"),
        ("{type: date, time_zone: UTC}", "time_zone is for timestamptz and default: now, not for date"),
    ] {
        assert_fault(text, &format!("{fault}; remove it, or change the column's type"));
    }
}

#[test]
fn values_of_settings_that_mean_nothing_are_faults() {
    for (text, message) in [
        (
            "{type: timestamptz, time_zone: Mars/Base}",
            "\"Mars/Base\" is no time zone; write a name of the IANA database, like America/Bogota, Europe/Berlin or UTC",
        ),
        (
            "{type: numeric, decimal: ',,'}",
            "decimal must be one character, not \",,\"; write one that is no letter, digit or sign: \",\" or \".\"",
        ),
        (
            "{type: numeric, thousands: '-'}",
            "thousands must be one character, not \"-\"; write one that is no letter, digit or sign: \",\" or \".\"",
        ),
        (
            "{type: numeric, thousands: '.'}",
            "decimal and thousands are both \".\"; say the other one: decimal: \",\"",
        ),
        (
            "{type: numeric, decimal: ',', thousands: ','}",
            "decimal and thousands are both \",\"; choose another for one of them",
        ),
        (
            "{type: numeric, strip: '5'}",
            "\"5\" cannot be stripped; strip what is no digit, sign or mark of a number, like \"$€%\" or [EUR, USD]",
        ),
        ("{type: text, null: [a, a]}", "\"a\" is listed twice; remove one of them"),
        (
            "{type: text, null: []}",
            "expected the text that means missing or a list of 1 to 64, found 0; write \"[a, b]\"",
        ),
        (
            "{type: text, empty: yes}",
            "empty must be null or text; write null, or text where an empty field in quotes is an empty text",
        ),
        (
            "{type: boolean, true: [x], false: [X]}",
            "\"x\" is true and false; remove it from one of the lists",
        ),
        (
            "{type: boolean, true: [x], false: ['']}",
            "an empty field is a missing value, and no word; write \"default: false\" for missing values",
        ),
        (
            "{type: integer, default: x}",
            "the default cannot be \"x\": v is not an integer; write a value of the type integer as Postgres reads it, or table",
        ),
        (
            "{type: integer, default: now}",
            "the default cannot be \"now\": v is not an integer; write a value of the type integer as Postgres reads it, or table",
        ),
        (
            "{type: integer, max: 5, default: 7}",
            "the default cannot be \"7\": v is above 5; write a value of the type integer as Postgres reads it, or table",
        ),
        (
            "{type: date, default: 27/07/2021}",
            "the default cannot be \"27/07/2021\": v is not a date, YYYY-MM-DD; write a value of the type date as Postgres reads it, now, or table",
        ),
    ] {
        assert_fault(text, message);
    }
}

#[test]
fn a_format_says_all_parts_of_its_type_and_no_others() {
    for (kind, format, message) in [
        ("date", "%d/%m", "\"%d/%m\" lacks the year, %Y or %y; a date needs it; add it"),
        ("date", "%Y", "\"%Y\" lacks the month and the day, like %m and %d; a date needs it; add it"),
        (
            "timestamp",
            "%d/%m/%Y %M",
            "\"%d/%m/%Y %M\" lacks the hour, %H or %I; a timestamp needs it; add it",
        ),
        (
            "date",
            "%d/%m/%C%y",
            "\"%C\" is no part of a format; parts are %Y %y %m %b %B %d %j %H %I %p %M %S %f %z %Z and the like; %% is a percent sign",
        ),
        ("time", "%I:%M", "\"%I:%M\" lacks %p, which tells morning from evening; a time needs it; add it"),
        (
            "time",
            "%H:%M %p",
            "\"%H:%M %p\" lacks %I, the hour that %p belongs to; %H is one of 24; a time needs it; add it",
        ),
        (
            "time",
            "%d %H:%M",
            "\"%d %H:%M\" has a day, and the type is time; remove the day, or choose the type timestamp",
        ),
        (
            "date",
            "%d/%m/%Y %H:%M",
            "\"%d/%m/%Y %H:%M\" has a time, which a date would lose, and the type is date; choose the type timestamp; \
             where the time is always midnight, write it out: 00:00:00",
        ),
        (
            "timestamp",
            "%Y%m%dT%H%M%S%z",
            "\"%Y%m%dT%H%M%S%z\" has an offset or a zone, which the type would lose, and the type is timestamp; \
             choose the type timestamptz",
        ),
        ("time", "epoch_s", "epoch_s is an instant, not a time of day; choose another type or format"),
        ("date", "%d/%m/%s", "\"%s\" is no part of a format here; write \"format: epoch_s\""),
        (
            "date",
            "%d/%m/%E",
            "\"%E\" is no part of a format; parts are %Y %y %m %b %B %d %j %H %I %p %M %S %f %z %Z and the like; %% is a percent sign",
        ),
        ("date", "epoch", "\"epoch\" is no format; did you mean \"epoch_s\"?"),
        (
            "date",
            "dd/mm/yyyy",
            "\"dd/mm/yyyy\" is no format; write its parts as strptime does, like \"%d/%m/%Y\", or one of epoch_s, epoch_ms, epoch_us, epoch_ns, excel",
        ),
    ] {
        assert_fault(&format!("{{type: {kind}, format: \"{format}\"}}"), message);
    }
}

#[test]
fn two_formats_that_read_one_text_differently_are_a_fault_that_shows_it() {
    for (kind, formats, message) in [
        (
            "date",
            "[\"%d/%m/%Y\", \"%m/%d/%Y\"]",
            "\"03/02/2001\" is 2001-02-03 by \"%d/%m/%Y\", and 2001-03-02 by \"%m/%d/%Y\"",
        ),
        (
            "date",
            "[\"%d.%m.%y\", \"%y.%m.%d\"]",
            "\"03.02.01\" is 2001-02-03 by \"%d.%m.%y\", and 2003-02-01 by \"%y.%m.%d\"",
        ),
        (
            "date",
            "\"%Y-%d-%m\"",
            "\"2001-03-02\" is 2001-02-03 by \"%Y-%d-%m\", and 2001-03-02 by ISO 8601, which is read besides",
        ),
        ("date", "[epoch_s, excel]", "\"86400\" is 1970-01-02 by \"epoch_s\", and 2136-07-20 by \"excel\""),
    ] {
        let hint = "a column's formats must not read one text differently; remove one of them";
        assert_fault(&format!("{{type: {kind}, format: {formats}}}"), &format!("{message}; {hint}"));
    }
}

#[test]
fn formats_that_agree_wherever_both_read_a_text_are_no_fault() {
    for (kind, formats) in [
        ("date", "[\"%d/%m/%Y\", \"%d/%m/%y\", \"%d-%b-%Y\", \"%d %B %Y\"]"),
        ("date", "[\"%d/%m/%Y\", excel]"),
        ("timestamptz", "[epoch_s, epoch_ms, epoch_us, epoch_ns]"),
        ("timestamp", "[\"%Y-%m-%d %H:%M:%S\", \"%d/%m/%Y %I:%M %p\", \"%d/%m/%Y %H:%M\"]"),
        ("time", "[\"%H:%M\", \"%I:%M %p\"]"),
    ] {
        valid(&column(&format!("{{type: {kind}, format: {formats}}}")));
    }
}

#[test]
fn a_key_has_no_default() {
    let text =
        "pipeline: p\ndatasets:\n  d:\n    key: id\n    columns:\n      id: {type: integer, default: 1}\n";
    let fault =
        "6:27: the key \"id\" has a default; rows with the same key would be one row; remove \"default\"";
    assert_faults(text, &[fault]);
}
