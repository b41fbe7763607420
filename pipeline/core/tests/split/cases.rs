//! Files as programs write them, each with the settings that read it.

use tidegate_core::manifest::Manifest;
use tidegate_core::split::{Fields, Splitter, Step};
use tidegate_core::syntax::Syntax;

/// The rows of a file, the header among them, and what is skipped, as JSON.
fn read(csv: &str, columns: &str, file: &str) -> (Vec<Vec<String>>, String) {
    let text = format!("pipeline: p\ndatasets:\n  t:\n    csv: {csv}\n    key: id\n    columns: {columns}\n");
    let manifest = Manifest::parse(&text, &|_| None).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    let syntax = Syntax { sep_line: true, ..manifest.datasets[0].csv.syntax.clone() };
    let mut splitter = Splitter::new(&syntax, manifest.max_record_bytes);
    let (mut rest, mut fields, mut rows) = (file.as_bytes(), Fields::default(), Vec::new());
    while let Step::Record { text, consumed } = splitter.next(rest, true) {
        let text = &rest[text];
        fields.split(text, splitter.dialect()).unwrap_or_else(|error| panic!("{error}"));
        let value = |i| String::from_utf8(fields.get(i, text).to_vec()).unwrap();
        rows.push((0..fields.len()).map(value).collect());
        rest = &rest[consumed..];
    }
    (rows, serde_json::to_string(&splitter.skipped()).unwrap())
}

/// Asserts the values of a file with the columns `id` and `name`.
#[track_caller]
fn assert_rows(csv: &str, file: &str, rows: &[[&str; 2]], skipped: &str) {
    let found = read(csv, "{id: integer, name: text}", file);
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
    assert_eq!(found, (rows, skipped.to_owned()), "{csv}\n{file}");
}

#[test]
fn a_delimiter_of_two_bars() {
    let file = "id||name\n1||Ann|e\n2||\"B||b\"\n";
    let rows = [["id", "name"], ["1", "Ann|e"], ["2", "B||b"]];
    assert_rows(r#"{header: true, delimiter: "||"}"#, file, &rows, "{}");
}

#[test]
fn an_export_of_mysql_with_backslashes() {
    let file = "\"1\",\"say \\\"hi\\\"\"\n\"2\",\"C:\\\\dir\"\n3,two\\\nlines\n4,\\N\n";
    let rows = [["1", "say \"hi\""], ["2", "C:\\dir"], ["3", "two\nlines"], ["4", "\\N"]];
    assert_rows(r#"{escape: "\\", null: "\\N"}"#, file, &rows, r#"{"continuation":1}"#);
}

#[test]
fn the_text_format_of_postgres() {
    let file = "1\ta\\tb\\nc\n2\t\\N\n3\t\"5\\\\\"\n\\.\n";
    let rows = [["1", "a\tb\nc"], ["2", "\\N"], ["3", "\"5\\\""]];
    let csv = r#"{delimiter: "\t", quote: none, escapes: c, null: "\\N", skip: "^\\\\\\.$"}"#;
    assert_rows(csv, file, &rows, r#"{"pattern":1}"#);
}

#[test]
fn blanks_before_quotes_and_padded_values() {
    let rows = [["id", "name"], ["1", "Ann, Jr"], ["2", "Bob"]];
    assert_rows("{header: true, trim: true}", "id,name\n1, \"Ann, Jr\"\n2, \"Bob\"\n", &rows, "{}");
    let rows = [["id", "name"], ["1", "Ann"]];
    assert_rows("{header: true, trim: true}", "id  ,name      \n1   ,Ann       \n", &rows, "{}");
}

#[test]
fn a_footer_with_the_count_of_rows() {
    let file = "id,name\n1,Ann\n2,Bob\n\n(2 rows)\n";
    let rows = [["id", "name"], ["1", "Ann"], ["2", "Bob"]];
    let csv = r#"{header: true, skip: "^\\(\\d+ rows?\\)$"}"#;
    assert_rows(csv, file, &rows, r#"{"blank":1,"pattern":1}"#);
}

#[test]
fn a_title_before_the_header() {
    let file = "Monthly \"report\nproduced 2021-07-27\n\nid,name\n1,Ann\n";
    let rows = [["id", "name"], ["1", "Ann"]];
    assert_rows("{header: true, skip_lines: 3}", file, &rows, r#"{"before_header":3}"#);
}

#[test]
fn a_line_that_tells_excel_the_delimiter() {
    let rows = [["id", "name"], ["1", "Ann,e"]];
    assert_rows("{header: true}", "\u{feff}sep=;\r\nid;name\r\n1;Ann,e\r\n", &rows, r#"{"sep":1}"#);
}

#[test]
fn lines_of_fixed_width() {
    let columns =
        "{id: {type: integer, at: 1..4}, name: {type: text, at: 5..14}, day: {type: date, at: 15..22}}";
    let (rows, skipped) = read("{}", columns, "0001Ann       20210727\n0002Zoë \"Z    20210728\n0003Al\n");
    assert_eq!(rows, [["0001", "Ann", "20210727"], ["0002", "Zoë \"Z", "20210728"], ["0003", "Al", ""]]);
    assert_eq!(skipped, "{}");
}

#[test]
fn records_of_several_kinds_in_one_file() {
    let columns = "{kind: text, id: integer, amount: text}";
    let file = "H|CLIENTS|202504\nD|1|1.234,56\nD|2|12,00\nT|2\n";
    let (rows, skipped) = read(r#"{delimiter: "|", record: "^D\\|"}"#, columns, file);
    assert_eq!(rows, [["D", "1", "1.234,56"], ["D", "2", "12,00"]]);
    assert_eq!(skipped, r#"{"other_kind":2}"#);
}
