//! Which fields mean a missing value, and what blanks around a value are.

use tidegate_core::manifest::Manifest;
use tidegate_core::shape::Form;
use tidegate_core::validate::Validator;

use super::{assert_fields, read, validator};

#[test]
fn each_text_of_a_list_means_missing_and_in_quotes_only_if_so_said() {
    assert_fields(
        "{type: integer, optional: true, null: [NA, \"-\", NULL]}",
        &[
            ("NA", ""),
            ("-", ""),
            ("NULL", ""),
            ("", ""),
            ("7", "7"),
            ("\"NA\"", "v is not an integer; 'quoted_null: true' takes it for a missing value"),
        ],
    );
    let quoted = "{type: integer, optional: true, null: NA, quoted_null: true}";
    assert_fields(
        quoted,
        &[
            ("\"NA\"", ""),
            ("NA", ""),
            ("na", "v is not an integer; 'null: [NA, na]' takes it for a missing value"),
        ],
    );
}

#[test]
fn a_column_has_its_own_null_markers_in_place_of_the_datasets() {
    let columns = "    columns: {id: integer, a: {type: text, optional: true}, b: {type: text, null: x, optional: true}}\n";
    let validator = validator(&format!("    csv: {{null: [NA, NULL]}}\n{columns}"));
    assert_eq!(read(&validator, "1,NA,NA"), "1,,NA");
    assert_eq!(read(&validator, "1,NULL,x"), "1,,");
    assert_eq!(read(&validator, "1,x,\"x\""), "1,x,x");
}

#[test]
fn an_empty_field_in_quotes_is_an_empty_text_if_so_said() {
    let text = "{type: text, optional: true, empty: text}";
    assert_fields(text, &[("\"\"", "\"\""), ("", ""), ("a", "a")]);
    assert_fields("{type: text, empty: text}", &[("\"\"", "\"\""), ("", "v is required")]);
    assert_fields(
        "{type: text, empty: text, min_length: 1}",
        &[("\"\"", "v has 0 characters, at least 1 are required")],
    );
    let columns =
        "    columns: {id: integer, a: {type: text, optional: true}, b: {type: integer, optional: true}}\n";
    let all = validator(&format!("    csv: {{empty: text}}\n{columns}"));
    assert_eq!(read(&all, "1,\"\",\"\""), "1,\"\",", "only a text may be empty");
}

#[test]
fn in_canonical_text_nothing_is_missing_and_two_quotes_are_an_empty_text() {
    let text = "pipeline: p\ndatasets: {d: {key: id, csv: {delimiter: ';', null: NA, decimal: ','}, columns: {id: integer, \
                a: {type: text, optional: true, trim: true}, b: {type: numeric, optional: true}, \
                c: {type: boolean, true: [Y], false: [N], optional: true}}}}";
    let manifest = Manifest::parse(text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    let canonical = Validator::of(&manifest.datasets[0], Form::Canonical);
    for line in ["1,\"\",1.5,true", "1,,,", "1,NA,-2,f", "1, a ,1e3,"] {
        assert_eq!(read(&canonical, line), line, "settings of files do not apply");
    }
    assert_eq!(read(&canonical, "1,a,\"1,5\","), "b is not a number");
    assert_eq!(read(&canonical, "1,a,,Y"), "1,a,,Y", "Postgres reads it");
}

#[test]
fn blanks_around_a_value_are_dropped_if_so_said() {
    assert_fields(
        "{type: integer, trim: true}",
        &[(" 7\t", "7"), ("7", "7"), ("\" 7\"", "7"), ("  ", "v is required")],
    );
    assert_fields(
        "{type: text, optional: true, trim: true, null: NA}",
        &[(" a b ", "a b"), ("\" a\"", "a"), (" NA ", ""), ("\" \"", "")],
    );
    let columns = "    columns: {id: integer, a: text, b: integer}\n";
    let all = validator(&format!("    csv: {{trim: true}}\n{columns}"));
    assert_eq!(read(&all, "1,\" a\",\" 7 \""), "1, a,7", "a text is not trimmed inside quotes");
}

#[test]
fn a_line_that_needs_no_rewriting_is_the_same_bytes() {
    use tidegate_core::validate::Scratch;
    let columns = "    columns: {id: integer, a: {type: numeric, optional: true}}\n";
    let validator = validator(&format!("    csv: {{null: NA, trim: true}}\n{columns}"));
    let mut scratch = Scratch::default();
    let row = validator.check(b"1,2.50", &mut scratch).expect("the line is valid");
    assert_eq!(row.canonical, b"1,2.50");
    let text = b"1,";
    let row = validator.check(text, &mut scratch).expect("the line is valid");
    assert!(std::ptr::eq(row.canonical, &text[..]));
}
