//! The names of a header, and the columns that they belong to.

mod faults;
mod origins;
mod properties;

use tidegate_core::header::{Header, columns_named, names_all};
use tidegate_core::manifest::{Faults, Manifest};

/// A manifest with one dataset, `people`, with these settings of `csv` and these columns.
pub(crate) fn parse(csv: &str, columns: &str) -> Result<Manifest, Faults> {
    let text = format!(
        "pipeline: test\ndatasets:\n  people:\n    key: id\n    csv: {{{csv}}}\n    columns: {{{columns}}}\n"
    );
    Manifest::parse(&text, &|_| None)
}

pub(crate) fn manifest(csv: &str, columns: &str) -> Manifest {
    parse(csv, columns).unwrap_or_else(|faults| panic!("{faults}"))
}

fn names(header: &[&str]) -> Vec<String> {
    header.iter().map(|name| (*name).to_owned()).collect()
}

/// Matches a header with a dataset whose files have headers.
fn header(csv: &str, columns: &str, header: &[&str]) -> Result<Header, Vec<String>> {
    let manifest = manifest(&format!("header: true, {csv}"), columns);
    Header::of(&names(header), &manifest.datasets[0])
}

/// The names that the fields of a header get.
#[track_caller]
fn matched(csv: &str, columns: &str, names: &[&str]) -> Vec<String> {
    header(csv, columns, names).unwrap_or_else(|faults| panic!("{faults:?}")).columns
}

const PEOPLE: &str = "id: integer, first_name: text, e_mail: text, año: integer";

#[test]
fn names_that_differ_in_case_blanks_punctuation_and_accents_are_the_columns() {
    for names in [
        ["id", "first_name", "e_mail", "año"],
        ["ID", "First Name", "E-Mail", "AÑO"],
        [" Id ", "FIRST.NAME", "email", "ano"],
        ["i d", "\tfirstName", "E mail:", "an\u{303}o"],
    ] {
        assert_eq!(matched("", PEOPLE, &names), ["id", "first_name", "e_mail", "año"], "{names:?}");
    }
}

#[test]
fn exact_names_differ_in_blanks_around_them_alone() {
    let exact = "header_match: exact";
    assert_eq!(matched(exact, "id: integer, name: text", &[" id", "name\t"]), ["id", "name"]);
    let faults = header(exact, "id: integer, name: text", &["id", "Name"]).unwrap_err();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[0].contains("'Name'") && faults[2].contains("required column 'name'"), "{faults:?}");
}

#[test]
fn a_column_takes_the_field_that_it_names() {
    let columns = "id: {type: integer, from: Nr}, name: {type: text, from: [First Name, Vorname]}";
    for names in
        [["Nr", "First Name"], ["Nr", "Vorname"], ["NR.", "VORNAME"], ["id", "name"], ["Id", "first-name"]]
    {
        assert_eq!(matched("", columns, &names), ["id", "name"], "{names:?}");
    }
}

#[test]
fn the_name_that_a_column_takes_goes_before_its_own() {
    let columns = "id: integer, name: {type: text, from: Nombre}";
    let csv = "columns_unknown: ignore";
    // The field that is left must not be taken for the column by its name.
    assert_eq!(matched(csv, columns, &["name", "id", "Nombre"]), ["", "id", "name"]);
    let swapped = "id: integer, a: {type: text, from: b}, b: {type: text, from: a}";
    assert_eq!(matched("", swapped, &["id", "a", "b"]), ["id", "b", "a"]);
}

#[test]
fn an_exact_name_goes_before_a_loose_one() {
    let columns = "id: integer, ID: integer";
    assert_eq!(matched("", columns, &["ID", "id"]), ["ID", "id"]);
    let csv = "columns_unknown: ignore";
    assert_eq!(matched(csv, "id: integer", &["Id", "id"]), ["Id", "id"]);
}

#[test]
fn an_unnamed_first_column_has_the_empty_name() {
    let columns = "id: {type: integer, from: ''}, name: text";
    assert_eq!(matched("", columns, &["", "name"]), ["id", "name"]);
    assert_eq!(matched("", columns, &["name", ""]), ["name", "id"]);
    let with_delimiter = header("", columns, &["", "name", ""]).unwrap();
    assert_eq!((with_delimiter.columns, with_delimiter.trailing_delimiter), (names(&["id", "name"]), true));
}

#[test]
fn an_empty_last_name_is_a_delimiter_at_the_end() {
    for last in ["", "  "] {
        let header = header("", "id: integer, name: text", &["id", "name", last]).unwrap();
        assert_eq!((header.columns, header.trailing_delimiter), (names(&["id", "name"]), true));
    }
    let header = header("", "id: integer, name: text", &["id", "name"]).unwrap();
    assert!(!header.trailing_delimiter);
}

#[test]
fn fields_without_a_column_are_left_out_if_the_manifest_says_so() {
    let csv = "columns_unknown: ignore";
    let names = ["x", "id", "", "y", "NAME", "x", "z"];
    assert_eq!(matched(csv, "id: integer, name: text", &names), ["", "id", "", "y", "name", "", "z"]);
}

#[test]
fn columns_that_come_from_the_file_are_neither_absent_nor_in_a_header() {
    let columns =
        "id: integer, year: {type: integer, from_path: '(\\d+)'}, file: {type: text, from_file: name}";
    assert_eq!(matched("", columns, &["id"]), ["id"]);
    assert_eq!(matched("columns_unknown: ignore", columns, &["Year", "id", "year"]), ["Year", "id", ""]);
}

#[test]
fn a_line_of_names_is_recognised() {
    let manifest = manifest("", PEOPLE);
    let people = &manifest.datasets[0];
    assert!(names_all(&names(&["E-Mail", "AÑO", "Id", "First Name"]), people));
    for other in [
        &["id", "first_name", "e_mail"][..],
        &["id", "first_name", "e_mail", "año", "x"],
        &["1", "Ann", "a@b.c", "1999"],
    ] {
        assert!(!names_all(&names(other), people), "{other:?}");
    }
    assert_eq!(columns_named(&names(&["id", "x", "Año", "ID"]), people), 2);
}
