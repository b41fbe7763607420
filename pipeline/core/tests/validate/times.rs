//! Dates and times: the forms that Postgres reads without ambiguity, formats, and zones.

use proptest::prelude::*;
use regex::Regex;
use tidegate_core::manifest::Kind;
use tidegate_core::spelling::same_key;

use super::{assert_fields, read, validator, validator_of};

#[test]
fn what_postgres_reads_without_ambiguity_is_read_and_written_in_iso_8601() {
    let day = "2021-07-27";
    assert_fields(
        "date",
        &[
            ("2021-7-5", "2021-07-05"),
            ("20210727", day),
            ("2021/07/27", day),
            ("2021/7/27", day),
            ("2021-07-27 00:00:00", day),
            ("2021-07-27T00:00", day),
            ("2021-07-27T00:00:00Z", day),
            ("2021-07-27 00:00:00.000 +0200", day),
            ("infinity", "infinity"),
            ("-Infinity", "-Infinity"),
            ("2021-07-27 16:02:08", "v has a time other than midnight, which a date would lose"),
            ("2021-2-30", "v is not a date, YYYY-MM-DD"),
            ("2021-07/27", "v is not a date, YYYY-MM-DD"),
            ("202107271", "v is not a date, YYYY-MM-DD"),
        ],
    );
    let at = "2021-07-27T16:02:08Z";
    assert_fields(
        "timestamptz",
        &[
            ("2021-07-27 16:02:08 +0000", at),
            ("2021-07-27 16:02:08 UTC", at),
            ("2021-07-27 16:02:08 gmt", at),
            ("2021/7/27 16:02:08 Z", at),
            ("2021-07-27 18:02:08 +02:00", at),
            ("2021-07-27 18:02:08 Europe/Berlin", at),
            ("2021-07-27 11:02:08 america/bogota", at),
            ("2021-7-27 16:02:08", at),
            ("2021-07-27 16:02:08", "2021-07-27 16:02:08"),
            ("-infinity", "-infinity"),
            ("2021-07-27", "v is not a timestamp, YYYY-MM-DDTHH:MM:SSZ; 'format: \"%Y-%m-%d\"' reads it"),
            ("2021-07-27 16:02:08 EST", "v is not a timestamp, YYYY-MM-DDTHH:MM:SSZ"),
            ("2021-07-27 16:02:08 Mars/Base", "v is not a timestamp, YYYY-MM-DDTHH:MM:SSZ"),
            ("2021-07-27 16:02:08 ", "v is not a timestamp, YYYY-MM-DDTHH:MM:SSZ; 'trim: true' reads it"),
        ],
    );
    assert_fields(
        "timestamp",
        &[
            ("2021-7-5 16:02", "2021-07-05T16:02:00"),
            ("20210727 16:02:08.5", "2021-07-27T16:02:08.5"),
            ("2021-07-27", "2021-07-27T00:00:00"),
            ("2021/7/5", "2021-07-05T00:00:00"),
            ("2021-07-27 16:02:08 UTC", "v is not a timestamp without offset, YYYY-MM-DDTHH:MM:SS"),
        ],
    );
}

#[test]
fn an_infinite_value_is_beyond_every_bound() {
    assert_fields("{type: date, max: 2030-01-01}", &[("infinity", "v is above 2030-01-01")]);
    assert_fields(
        "{type: timestamptz, min: 2020-01-01T00:00:00Z}",
        &[("-infinity", "v is below 2020-01-01T00:00:00Z")],
    );
}

#[test]
fn a_format_reads_what_strptime_reads() {
    let cases = [
        ("date", "%d/%m/%Y", "27/07/2021", "2021-07-27"),
        ("date", "%d/%m/%Y", "7/7/2021", "2021-07-07"),
        ("date", "%m/%d/%y", "07/27/21", "2021-07-27"),
        ("date", "%m/%d/%y", "07/27/69", "1969-07-27"),
        ("date", "%d-%b-%Y", "27-JUL-2021", "2021-07-27"),
        ("date", "%B %d, %Y", "july 27, 2021", "2021-07-27"),
        ("date", "%Y%j", "2021208", "2021-07-27"),
        ("date", "%d/%m/%Y 00:00", "27/07/2021 00:00", "2021-07-27"),
        ("time", "%I:%M %p", "4:02 PM", "16:02:00"),
        ("time", "%H%M%S", "160208", "16:02:08"),
        ("timestamp", "%d/%m/%Y %I:%M:%S %p", "27/07/2021 04:02:08 pm", "2021-07-27T16:02:08"),
        ("timestamp", "%d/%m/%Y", "27/07/2021", "2021-07-27T00:00:00"),
        ("timestamptz", "%Y-%m-%d", "2021-07-27", "2021-07-27T00:00:00Z"),
        ("timestamp", "%Y%m%d%H%M%S", "20210727160208", "2021-07-27T16:02:08"),
        ("timestamp", "%d.%m.%Y %H:%M:%S.%f", "27.07.2021 16:02:08.25", "2021-07-27T16:02:08.25"),
        ("timestamptz", "%d/%b/%Y:%H:%M:%S %z", "27/Jul/2021:18:02:08 +0200", "2021-07-27T16:02:08Z"),
        ("timestamptz", "%d/%b/%Y:%H:%M:%S %z", "27/Jul/2021:18:02:08 +02:00", "2021-07-27T16:02:08Z"),
        ("timestamptz", "%a %b %d %H:%M:%S %Z %Y", "Tue Jul 27 16:02:08 UTC 2021", "2021-07-27T16:02:08Z"),
        ("timestamptz", "%d/%m/%Y %H:%M %Z", "27/07/2021 18:02 Europe/Berlin", "2021-07-27T16:02:00Z"),
        ("timestamptz", "%d/%m/%Y %H:%M", "27/07/2021 16:02", "2021-07-27T16:02:00Z"),
    ];
    for (kind, format, field, expected) in cases {
        let column = format!("{{type: {kind}, format: \"{format}\"}}");
        assert_eq!(
            read(&validator_of(&column), &format!("1,\"{field}\"")),
            format!("1,{expected}"),
            "{format}"
        );
    }
}

#[test]
fn numbers_that_adjoin_have_all_their_digits() {
    for (kind, format, read_so, refused) in [
        ("time", "%H%M", ("0130", "01:30:00"), ["130", "100", "517"]),
        ("date", "%d%m%y", ("111221", "2021-12-11"), ["11121", "1112", "1112021"]),
        ("date", "%Y%m%d", ("20210702", "2021-07-02"), ["2021072", "2021112", "202107021"]),
        ("date", "%d %m %Y", ("1 2 2021", "2021-02-01"), ["12 2021", "1 22021", "122021"]),
        (
            "timestamp",
            "%Y%m%d%H%M%S%f",
            ("202107021602085", "2021-07-02T16:02:08.5"),
            ["20210702160208", "202172", "x"],
        ),
        ("date", "%d/%m/%y", ("1/2/21", "2021-02-01"), ["1/2/5", "1/2/", "1/2/2021"]),
        ("date", "%G-W%V-%u", ("2021-W30-2", "2021-07-27"), ["21-W30-2", "2021-W302", "W30-2"]),
    ] {
        let validator = validator_of(&format!("{{type: {kind}, format: \"{format}\"}}"));
        assert_eq!(read(&validator, &format!("1,{}", read_so.0)), format!("1,{}", read_so.1), "{format}");
        for text in refused {
            let said = read(&validator, &format!("1,{text}"));
            assert!(said.starts_with("v is not"), "{format} reads {text} as {said}");
        }
    }
}

#[test]
fn besides_its_formats_a_column_reads_iso_8601_and_nothing_else() {
    assert_fields(
        "{type: date, format: [\"%d/%m/%Y\", \"%d.%m.%y\"]}",
        &[
            ("27/07/2021", "2021-07-27"),
            ("27.07.21", "2021-07-27"),
            ("2021-07-27", "2021-07-27"),
            ("30/02/2021", "v is not a date, YYYY-MM-DD"),
        ],
    );
    let validator = validator_of("{type: date, format: \"%d/%m/%Y\"}");
    for field in ["2021-7-5", "20210727", "2021/07/27", "27/07/21", "27/07/2021 ", "x"] {
        assert!(read(&validator, &format!("1,{field}")).starts_with("v is not a date"), "{field}");
    }
    assert_eq!(read(&validator, "1,27/07/0021"), "1,0021-07-27", "a year in all its digits is meant");
}

#[test]
fn numbers_since_1970_are_read_in_their_unit() {
    let at = "2021-07-27T16:02:08Z";
    assert_fields(
        "{type: timestamptz, format: epoch_s}",
        &[
            ("1627401728", at),
            ("1627401728.25", "2021-07-27T16:02:08.25Z"),
            ("-1.5", "1969-12-31T23:59:58.5Z"),
            (
                "1627401728000",
                "v is not a timestamp, YYYY-MM-DDTHH:MM:SSZ; 'format: [epoch_s, epoch_ms]' reads it",
            ),
            ("1e9", "v is not a timestamp, YYYY-MM-DDTHH:MM:SSZ"),
        ],
    );
    assert_fields("{type: timestamptz, format: epoch_ms}", &[("1627401728000", at), ("1627401728000.0", at)]);
    assert_fields("{type: timestamp, format: epoch_us}", &[("1627401728000000", "2021-07-27T16:02:08")]);
    assert_fields("{type: timestamptz, format: epoch_ns}", &[("1627401728000000000", at)]);
    assert_fields(
        "{type: date, format: epoch_s}",
        &[
            ("1627344000", "2021-07-27"),
            ("1627401728", "v has a time other than midnight, which a date would lose"),
        ],
    );
}

#[test]
fn where_a_column_has_several_units_the_number_of_digits_decides() {
    let at = "2021-07-27T16:02:08Z";
    let validator = validator_of("{type: timestamptz, format: [epoch_s, epoch_ms, epoch_us, epoch_ns]}");
    for field in ["1627401728", "1627401728000", "1627401728000000", "1627401728000000000"] {
        assert_eq!(read(&validator, &format!("1,{field}")), format!("1,{at}"));
    }
}

#[test]
fn the_numbers_of_a_spreadsheet_are_days_and_their_fraction_is_the_time() {
    assert_fields(
        "{type: date, format: excel}",
        &[
            ("44404", "2021-07-27"),
            ("44404.0", "2021-07-27"),
            ("61", "1900-03-01"),
            ("44404.5", "v has a time other than midnight, which a date would lose"),
            ("60", "v is not a date, YYYY-MM-DD"),
            ("2958466", "v is not within the years 1 to 5874897"),
        ],
    );
    assert_fields("{type: timestamp, format: excel}", &[("44404.6681481481", "2021-07-27T16:02:08")]);
    assert_fields(
        "{type: time, format: excel}",
        &[("0.75", "18:00:00"), ("1.75", "v is not a time of day, HH:MM:SS")],
    );
    assert_fields(
        "{type: timestamptz, format: excel, time_zone: America/Bogota}",
        &[("44404.5", "2021-07-27T17:00:00Z")],
    );
}

#[test]
fn a_time_without_offset_is_local_in_the_zone_of_the_column_or_the_dataset() {
    assert_fields(
        "{type: timestamptz, time_zone: America/Bogota}",
        &[
            ("2021-07-27 11:02:08", "2021-07-27T16:02:08Z"),
            ("2021-7-27 11:02:08", "2021-07-27T16:02:08Z"),
            ("2021-07-27T16:02:08Z", "2021-07-27T16:02:08Z"),
            ("2021-07-27T18:02:08+02:00", "2021-07-27T16:02:08Z"),
            ("infinity", "infinity"),
        ],
    );
    let columns =
        "    columns: {id: integer, a: timestamptz, b: timestamp, c: {type: timestamptz, time_zone: UTC}}\n";
    let all = validator(&format!("    csv: {{time_zone: Europe/Berlin}}\n{columns}"));
    let line = "1,2021-07-27 18:02:08,2021-07-27 18:02:08,2021-07-27 18:02:08";
    assert_eq!(read(&all, line), "1,2021-07-27T16:02:08Z,2021-07-27 18:02:08,2021-07-27T18:02:08Z");
}

#[test]
fn a_local_time_that_is_missing_or_there_twice_says_so() {
    assert_fields(
        "{type: timestamptz, time_zone: Europe/Berlin, format: \"%d.%m.%Y %H:%M\"}",
        &[
            ("28.03.2021 01:59", "2021-03-28T00:59:00Z"),
            (
                "28.03.2021 02:30",
                "v does not exist in Europe/Berlin, where the clock is put forward over this time",
            ),
            ("28.03.2021 03:00", "2021-03-28T01:00:00Z"),
            (
                "31.10.2021 02:30",
                "v is there twice in Europe/Berlin, where the clock is put back: 2021-10-31T00:30:00Z or \
                 2021-10-31T01:30:00Z; write the time with its offset",
            ),
            ("2021-10-31 02:30:00+02:00", "2021-10-31T00:30:00Z"),
        ],
    );
    assert_fields(
        "timestamptz",
        &[(
            "2021-03-28 02:30:00 Europe/Berlin",
            "v does not exist in Europe/Berlin, where the clock is put forward over this time",
        )],
    );
}

/// What a column of a type accepts without settings, as far as its form goes.
fn form(kind: &str) -> Regex {
    const DAY: &str = r"(\d{4,}-\d\d?-\d\d?|\d{4,}/\d\d?/\d\d?|\d{8})";
    const TIME: &str = r"[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?";
    const OFFSET: &str = r"( ?([Zz]|[+-]\d\d(:?\d\d)?)| (?i:utc|gmt|europe/berlin))";
    const MIDNIGHT: &str = r"[Tt ]00:00(:00(\.0{1,9})?)?";
    let form = match kind {
        "date" => format!("{DAY}({MIDNIGHT}{OFFSET}?)?"),
        "timestamp" => format!("{DAY}({TIME})?"),
        _ => format!("{DAY}{TIME}{OFFSET}?"),
    };
    Regex::new(&format!("^({form}|-?(?i:infinity))$")).expect("the form is a regular expression")
}

/// Parts of dates and times in any order.
fn parts() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "2021",
        "-",
        "/",
        "7",
        "07",
        "27",
        "0",
        " ",
        "T",
        "16:02",
        "00:00",
        ":00",
        ":08",
        ".0",
        ".5",
        "Z",
        "+02",
        ":30",
        "UTC",
        "gmt",
        "Europe/Berlin",
        "EST",
        "infinity",
        "20210727",
        "2021-07-27",
        "x",
    ]);
    prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat())
}

/// Offsets behind a time, each with its strict form.
const OFFSETS: [(&str, &str); 8] = [
    ("", ""),
    ("Z", "Z"),
    (" UTC", "Z"),
    (" gmt", "Z"),
    (" +0000", "+00"),
    (" -05:30", "-05:30"),
    ("+02", "+02:00"),
    (" America/Bogota", "-05:00"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn without_settings_only_the_documented_forms_are_accepted(
        text in parts(),
        kind in prop::sample::select(vec!["date", "timestamp", "timestamptz"]),
    ) {
        let validator = validator_of(kind);
        let canonical = read(&validator, &format!("1,{text}"));
        if canonical.starts_with("1,") {
            prop_assert!(form(kind).is_match(&text), "{} is accepted", text);
            prop_assert_eq!(read(&validator, &canonical), canonical, "what is written is its own form");
        }
    }

    #[test]
    fn a_day_and_a_time_are_the_same_in_all_forms(
        (year, month, day) in (1995..9999, 1..=12, 1..=28),
        time in "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,9})?)?",
        (style, offset) in (0..4, prop::sample::select(&OFFSETS[..])),
    ) {
        let strict = format!("{year:04}-{month:02}-{day:02}");
        let text = match style {
            0 => format!("{year}-{month}-{day}"),
            1 => format!("{year}/{month:02}/{day:02}"),
            2 => format!("{year}{month:02}{day:02}"),
            _ => strict.clone(),
        };
        let value = |kind: &str, text: &str| {
            let line = read(&validator_of(kind), &format!("1,{text}"));
            line.strip_prefix("1,").unwrap_or_else(|| panic!("{text}: {line}")).to_owned()
        };
        prop_assert_eq!(value("date", &text), &strict[..]);
        prop_assert_eq!(value("date", &format!("{text}T00:00{}", offset.0)), &strict[..]);
        for (kind, name, offset) in [(Kind::Timestamp, "timestamp", ("", "")), (Kind::Timestamptz, "timestamptz", offset)] {
            let written = value(name, &format!("{text} {time}{}", offset.0));
            let expected = value(name, &format!("{strict}T{time}{}", offset.1));
            prop_assert!(same_key(kind, written.as_bytes(), expected.as_bytes()), "{} is {}", written, expected);
        }
    }
}
