//! Where the values of columns come from: what the manifest may say, and the values that come from the file.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_core::manifest::{ColumnsUnknown, HeaderMatch, Origin};
use tidegate_core::shape::Shape;

use super::{manifest, parse};

/// The messages and hints of the faults, without their places.
fn faults(csv: &str, columns: &str) -> Vec<String> {
    let faults = parse(csv, columns).expect_err("the manifest has faults");
    let text = |fault: &tidegate_core::manifest::Fault| {
        format!("{}; {}", fault.message, fault.hint.as_deref().unwrap_or_default())
    };
    faults.as_slice().iter().map(text).collect()
}

#[test]
fn what_is_left_out_is_loose_refused_and_the_columns_own() {
    let manifest = manifest("header: true", "id: integer");
    let csv = &manifest.datasets[0].csv;
    assert_eq!((csv.header_match, csv.columns_unknown), (HeaderMatch::Loose, ColumnsUnknown::Refuse));
    assert!(matches!(manifest.datasets[0].columns[0].origin, Origin::Own));
}

#[test]
fn a_number_in_quotes_is_a_name() {
    let named = manifest("header: true", "id: {type: integer, from: '2021'}");
    assert!(matches!(&named.datasets[0].columns[0].origin, Origin::Names(names) if *names == ["2021"]));
    let numbered = manifest("", "id: {type: integer, from: 1}");
    assert!(matches!(numbered.datasets[0].columns[0].origin, Origin::Number(1)));
}

#[test]
fn origins_that_do_not_fit_are_faults() {
    let own = "a value has one origin; remove one of them";
    for (csv, columns, expected) in [
        (
            "header: true",
            "id: {type: integer, from: 2}",
            "the files of people have a header, so no field is number 2; write the name that it has there; in quotes if that is \"2\"",
        ),
        (
            "",
            "id: {type: integer, from: x}",
            "the files of people have no header, so no field has a name; write the number of the field, from 1, or set \"csv: {header: true}\"",
        ),
        (
            "",
            "id: {type: integer, from: 0}",
            "the number of a field is from 1 to 10000, not 0; the first field is 1; write a name of digits in quotes",
        ),
        (
            "",
            "id: {type: integer, from: 1}, name: text",
            "name has no number, but other columns of people have one; write the number of its field, from 1: \"from: 3\"",
        ),
        (
            "",
            "id: {type: integer, from: 1}, name: {type: text, from: 1}",
            "name and id both come from field 1; give each column a field of its own",
        ),
        (
            "",
            "id: {type: integer, from: 1}, name: {type: text, from: 3}",
            "no column comes from field 2; add one, or set \"columns_unknown: ignore\" in csv to leave such fields out",
        ),
        (
            "header: true",
            "id: {type: integer, from: x}, name: {type: text, from: [a, x]}",
            "name and id both come from \"x\"; give each column a name of its own in the header",
        ),
        (
            "header: true",
            "id: integer, name: {type: text, from: id}",
            "name and id both come from \"id\"; give each column a name of its own in the header",
        ),
        (
            "header: true",
            "id: {type: integer, from: []}",
            "expected the names of a field, found an empty list; write \"from: [First Name, Name]\"",
        ),
        (
            "",
            "id: integer, year: {type: text, from_path: '\\d+'}",
            "from_path has 0 groups; put what is the value in parentheses, as in \"year=(\\\\d+)\"; write (?: ) around the rest",
        ),
        (
            "",
            "id: integer, year: {type: text, from_path: '(\\d+)-(\\d+)'}",
            "from_path has 2 groups; put what is the value in parentheses, as in \"year=(\\\\d+)\"; write (?: ) around the rest",
        ),
        (
            "header: true",
            "id: integer, year: {type: text, from: x, from_path: '(x)'}",
            &format!("from and from_path are both given; {own}"),
        ),
        (
            "",
            "id: integer, year: {type: text, from_file: name, from_path: '(x)'}",
            &format!("from_path and from_file are both given; {own}"),
        ),
        (
            "",
            "id: {type: integer, generated: {start: 1}, from_path: '(x)'}, a: text",
            &format!("from_path and generated are both given; {own}"),
        ),
        (
            "",
            "id: integer, file: {type: integer, from_file: name}",
            "a column of type integer does not hold the name of a file; choose text or varchar",
        ),
        (
            "",
            "id: integer, at: {type: time, from_file: modified}",
            "a column of type time does not hold the time of a file; choose timestamptz, timestamp, date or text",
        ),
        (
            "",
            "id: integer, at: {type: date, from_file: modifed}",
            "\"modifed\" is no fact of a file; did you mean \"modified\"?",
        ),
        (
            "",
            "id: {type: text, from_file: name}",
            "no column of people comes from the lines of its files; name at least one that does",
        ),
        (
            "header_match: strict",
            "id: integer",
            "\"strict\" is no way to compare names; known are exact, loose",
        ),
        (
            "columns_unknown: ignored",
            "id: integer",
            "\"ignored\" is no way with unknown columns; did you mean \"ignore\"?",
        ),
    ] {
        assert_eq!(faults(csv, columns), [expected], "{csv} {columns}");
    }
    let broken = faults("", "id: integer, year: {type: text, from_path: '('}");
    assert!(broken[0].starts_with("\"(\" is no regular expression"), "{broken:?}");
}

#[test]
fn a_key_may_come_from_the_file_and_columns_may_swap_their_names() {
    manifest(
        "header: true",
        "id: {type: text, from_file: name}, a: {type: text, from: b}, b: {type: text, from: a}",
    );
    manifest("", "id: {type: integer, from_path: '(\\d+)'}, a: text");
}

#[test]
fn numbers_give_the_fields_of_a_file_without_a_header_their_columns() {
    let fields = |csv: &str, columns: &str| {
        let manifest = manifest(csv, columns);
        let shape = Shape::of_file(&manifest, &manifest.datasets[0], manifest.datasets[0].csv.syntax.clone());
        (shape.columns, shape.syntax.cuts)
    };
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let swapped =
        "id: {type: integer, from: 2}, name: {type: text, from: 1}, y: {type: text, from_path: '(x)'}";
    assert_eq!(fields("", swapped), (texts(&["name", "id"]), false));
    let gaps = "id: {type: integer, from: 4}, name: {type: text, from: 2}";
    assert_eq!(fields("columns_unknown: ignore", gaps), (texts(&["", "name", "", "id"]), true));
    assert_eq!(fields("", "id: integer, name: text"), (texts(&["id", "name"]), false));
    assert_eq!(fields("columns_unknown: ignore", "id: integer"), (texts(&["id"]), true));
    assert_eq!(fields("columns_unknown: ignore, header: true", "id: integer"), (texts(&["id"]), false));
}

#[test]
fn values_come_from_the_name_and_the_time_of_the_file() {
    let manifest = manifest(
        "",
        "id: integer, year: {type: integer, from_path: 'y(\\d+)'}, file: {type: text, from_file: name}, \
         tz: {type: timestamptz, from_file: modified}, ts: {type: timestamp, from_file: modified}, \
         day: {type: date, from_file: modified}, at: {type: text, from_file: modified}",
    );
    let people = &manifest.datasets[0];
    let modified = UNIX_EPOCH + Duration::new(1_627_401_728, 123_456_789);
    let values = people.values_of_file("people-y2021.csv", modified).unwrap();
    let expected = [
        (1, "2021"),
        (2, "people-y2021.csv"),
        (3, "2021-07-27T16:02:08.123456Z"),
        (4, "2021-07-27T16:02:08.123456"),
        (5, "2021-07-27"),
        (6, "2021-07-27T16:02:08.123456Z"),
    ];
    assert_eq!(values, expected.map(|(column, value)| (column, value.to_owned())));
    let fault = people.values_of_file("people-\u{1b}.csv", modified).unwrap_err();
    assert_eq!(
        fault,
        "its name, 'people-\\u{1b}.csv', does not have what the column 'year' takes from it: name the file so that \
         'from_path: \"y(\\d+)\"' matches, or change that"
    );
}

#[test]
fn a_group_that_a_name_lacks_is_a_missing_value_where_the_column_allows_it() {
    let year = |settings: &str| {
        let columns = format!(
            "id: integer, year: {{type: integer, from_path: '^people(?:-y(\\d+))?\\.csv$'{settings}}}"
        );
        let manifest = manifest("", &columns);
        manifest.datasets[0].values_of_file("people.csv", UNIX_EPOCH).map(|mut values| values.remove(0).1)
    };
    assert_eq!(year(", optional: true"), Ok(String::new()));
    assert_eq!(year(", default: 2021"), Ok(String::new()));
    assert!(year("").unwrap_err().starts_with("its name, 'people.csv', does not have what"));
}

#[test]
fn a_time_that_no_calendar_has_is_brought_within_it() {
    let manifest = manifest("", "id: integer, day: {type: date, from_file: modified}");
    let day = |time: SystemTime| manifest.datasets[0].values_of_file("f", time).unwrap().remove(0).1;
    assert_eq!(day(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01");
    assert_eq!(day(UNIX_EPOCH + Duration::from_secs(1 << 40)), "9999-12-31");
}
