//! What is said of a header that does not fit.

use super::header;

#[track_caller]
fn assert_faults(csv: &str, columns: &str, names: &[&str], expected: &[&str]) {
    assert_eq!(header(csv, columns, names).unwrap_err(), expected, "{names:?}");
}

const LEAVES_OUT: &str = "'columns_unknown: ignore' in 'csv' of 'people' leaves such fields out";

#[test]
fn unknown_and_absent_names_are_named_with_the_setting_that_helps() {
    assert_faults(
        "",
        "id: integer, name: text, town: {type: text, optional: true}",
        &["id", "nmae", "x"],
        &[
            "the header names the column 'nmae', which 'people' does not have, did you mean 'name'?",
            "the header names the column 'x', which 'people' does not have",
            LEAVES_OUT,
            "the header lacks the required column 'name'; if it has another name there, write that with 'from:' in the column",
            "the header lacks the optional column 'town', which would become null in rows that have a value there; add it to \
             the file, or allow that: set 'columns_absent: null' in 'csv' of 'people'",
        ],
    );
    assert_faults(
        "columns_absent: 'null'",
        "id: integer, name: text, town: {type: text, optional: true}",
        &["id", "Vorname"],
        &[
            "the header names the column 'Vorname', which 'people' does not have",
            LEAVES_OUT,
            "the header lacks the required column 'name'; if 'Vorname' is it, write 'from: \"Vorname\"' in the column",
        ],
    );
}

#[test]
fn a_name_that_fits_two_columns_is_never_guessed() {
    assert_faults(
        "columns_unknown: ignore",
        "id: integer, first_name: text, firstname: text",
        &["id", "First Name"],
        &[
            "the name 'First Name' fits the columns 'first_name' and 'firstname': say which with 'from: \"First Name\"' in \
           that column, or set 'header_match: exact' in 'csv'",
        ],
    );
}

#[test]
fn two_names_that_fit_one_column_are_never_guessed() {
    assert_faults(
        "columns_unknown: ignore",
        "id: integer, first_name: text",
        &["First Name", "id", "first-name"],
        &[
            "the names 'First Name' and 'first-name' fit the same column, 'first_name': say which with 'from: \"First Name\"' \
           in it, or set 'header_match: exact' in 'csv'",
        ],
    );
    assert_faults(
        "",
        "id: integer, name: {type: text, from: [a, b]}",
        &["a", "b", "id"],
        &["the names 'a' and 'b' are both in 'from' of the column 'name': keep there the one that is meant"],
    );
    let twice = ["the header names the column 'id' twice"];
    assert_faults("columns_unknown: ignore", "id: integer", &["id", "x", " id"], &twice);
    assert_faults("", "id: integer", &["id", "id", "id"], &["the header names the column 'id' 3 times"]);
}

#[test]
fn a_name_that_comes_from_the_file_and_a_field_without_a_name_say_so() {
    assert_faults(
        "",
        "id: integer, year: {type: integer, from_path: '(\\d+)'}",
        &["", "id", "Year"],
        &[
            "field 1 of the header has no name: if a column is meant, write 'from: \"\"' in it",
            "the header names 'Year', but the column 'year' comes from the file and not from its lines",
            LEAVES_OUT,
        ],
    );
}

#[test]
fn many_unknown_names_are_not_all_listed() {
    let others: Vec<String> = (0..50).map(|number| format!("other {number}")).collect();
    let names: Vec<&str> = others.iter().map(String::as_str).chain(["id"]).collect();
    let faults = header("", "id: integer", &names).unwrap_err();
    assert_eq!(faults.len(), 21);
    assert!(faults[20].starts_with("30 more fields are unknown"), "{}", faults[20]);
}

#[test]
fn names_of_a_file_cannot_move_the_cursor() {
    let faults = header("", "id: integer", &["id", "\u{1b}[31mx\u{202e}"]).unwrap_err();
    assert!(faults[0].contains("'\\u{1b}[31mx\\u{202e}'"), "{faults:?}");
}
