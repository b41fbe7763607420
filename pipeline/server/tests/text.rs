//! From bytes to records: quotes, line ends, headers, and what is no text.

use serde_json::Value;

use crate::home::Home;

const MANIFEST: &str = "\
pipeline: texts
stable_for: 10ms
datasets:
  notes: {key: id, columns: {id: integer, note: {type: text, optional: true}}}
  headed:
    key: id
    csv: {header: true, columns_absent: null}
    columns: {id: integer, a: text, b: {type: text, optional: true}}
  japanese: {key: id, csv: {encoding: shift_jis}, columns: {id: integer, note: {type: text, optional: true}}}
  marked: {key: id, csv: {delimiter: ';', quote: \"'\", 'null': 'NULL'}, columns: {id: integer, note: {type: text, optional: true}}}
";

/// Ingests one file and gives the home, and the rows of `notes` with what is no graph as an escape.
async fn notes_of(bytes: impl AsRef<[u8]>) -> (Home, Vec<String>) {
    let home = Home::new(MANIFEST).await;
    home.drop("notes.csv", bytes);
    home.ingest().await;
    let rows = home.query("select id, note from notes order by id").await;
    let rows = rows.iter().map(|row| row.replace('\r', "\\r").replace('\n', "\\n"));
    (home, rows.collect())
}

/// The only dead letter, whole, and its only reason.
async fn only_letter(home: &Home) -> (Value, Value) {
    let letters = home.query("select to_jsonb(letter) from tidegate.dead_letters as letter").await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter: Value = serde_json::from_str(&letters[0]).unwrap();
    let reasons = letter["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 1, "{letter}");
    (letter.clone(), reasons[0].clone())
}

#[tokio::test]
async fn commas_quotes_and_line_ends_go_through_in_quotes() {
    let (home, rows) = notes_of(
        "1,\"a, b\"\n2,\"say \"\"hi\"\"\"\n3,\"two\nlines\"\r\n4,\"crlf\r\nin it\"\r\n5,\"\"\n6,\n7,it's\n8,a\"b\n",
    )
    .await;
    assert_eq!(
        rows,
        [
            "1|a, b",
            "2|say \"hi\"",
            "3|two\\nlines",
            "4|crlf\\r\\nin it",
            "5|null",
            "6|null",
            "7|it's",
            "8|a\"b"
        ]
    );
    assert!(home.dead_letters().await.is_empty());
}

#[tokio::test]
async fn line_ends_marks_and_blank_lines_are_no_data() {
    let (home, rows) = notes_of("\u{feff}1,crlf\r\n\r\n\n2,lf\n3,no end").await;
    assert_eq!(rows, ["1|crlf", "2|lf", "3|no end"]);
    assert_eq!(home.query("select _line from notes order by id").await, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_lone_carriage_return_is_data() {
    let (_, rows) = notes_of("1,a\rb\n2,c\r\r\n3,\r\n").await;
    assert_eq!(rows, ["1|a\\rb", "2|c\\r", "3|null"]);
}

#[tokio::test]
async fn what_copy_would_take_for_its_own_marks_is_data() {
    let (home, rows) = notes_of("1,\\.\n2,\"a\n\\.\nb\"\n3,\\N\n4,\\n\n5,\"\\\"\n6,NULL\n").await;
    assert_eq!(rows, ["1|\\.", "2|a\\n\\.\\nb", "3|\\N", "4|\\n", "5|\\", "6|NULL"]);
    assert!(home.dead_letters().await.is_empty());
}

#[tokio::test]
async fn an_empty_file_is_a_source_without_lines() {
    let (home, rows) = notes_of("").await;
    assert!(rows.is_empty());
    let source = &home.sources().await[0];
    assert_eq!((&source["lines"], &source["complete"]), (&0.into(), &true.into()), "{source}");
    assert_eq!(home.names_in("landing/done"), ["1-notes.csv"]);
    home.drop("headed.csv", "");
    home.drop("notes-2.csv", "\u{feff}\r\n\n");
    home.ingest().await;
    assert_eq!(home.names_in("landing"), ["done"]);
}

#[tokio::test]
async fn a_quote_that_never_closes_costs_one_physical_line() {
    let (home, rows) = notes_of("1,fine\n2,\"never closed\n3,fine\n4,fine\n").await;
    assert_eq!(rows, ["1|fine", "3|fine", "4|fine"]);
    let (letter, reason) = only_letter(&home).await;
    assert_eq!(reason["code"], "invalid_character");
    assert_eq!(letter["text"], "2,\"never closed");
    assert_eq!(letter["line"], 2);
}

#[tokio::test]
async fn a_quote_that_never_closes_in_a_long_file_costs_one_physical_line() {
    let tail: String = (3..=60_000).map(|id| format!("{id},a note of some length\n")).collect();
    let (home, _) = notes_of(format!("1,fine\n2,\"never closed\n{tail}")).await;
    assert_eq!(home.query("select count(*), sum(id) from notes").await, ["59999|1800029998"]);
    let (letter, _) = only_letter(&home).await;
    assert_eq!(letter["text"], "2,\"never closed");
}

#[tokio::test]
async fn a_line_that_is_not_utf8_is_kept_as_bytes() {
    let (home, rows) = notes_of(b"1,fine\n2,caf\xe9\n3,fine\n").await;
    assert_eq!(rows, ["1|fine", "3|fine"]);
    let (letter, reason) = only_letter(&home).await;
    assert_eq!(reason["code"], "invalid_utf8");
    assert_eq!((&letter["text"], &letter["stage"]), (&Value::Null, &"source".into()));
    let bytes = "select encode(decode(bytes, 'base64'), 'escape') from tidegate.dead_letters";
    assert_eq!(home.query(bytes).await, ["2,caf\\351"]);
}

#[tokio::test]
async fn a_file_in_another_encoding_is_loaded_and_its_malformed_line_is_kept_as_bytes() {
    let home = Home::new(MANIFEST).await;
    home.drop("japanese.csv", b"1,\x83A\n2,\x83A\xfd\n3,\x83\x5c\n");
    home.ingest().await;
    assert_eq!(home.query("select id, note from japanese order by id").await, ["1|ア", "3|ソ"]);
    let (letter, reason) = only_letter(&home).await;
    assert_eq!((&reason["code"], &letter["text"]), (&"invalid_encoding".into(), &Value::Null));
    let bytes = "select encode(decode(bytes, 'base64'), 'hex') from tidegate.dead_letters";
    assert_eq!(home.query(bytes).await, ["322c8341fd"]);
    home.run("verify --deep").await.succeeded();
}

#[tokio::test]
async fn a_line_with_a_nul_is_kept_as_bytes() {
    let (home, rows) = notes_of(b"1,fine\n2,a\0b\n3,fine\n").await;
    assert_eq!(rows, ["1|fine", "3|fine"]);
    let (letter, reason) = only_letter(&home).await;
    assert_eq!(reason["code"], "invalid_character");
    assert_eq!(letter["text"], Value::Null);
    let bytes = "select encode(decode(bytes, 'base64'), 'escape') from tidegate.dead_letters";
    assert_eq!(home.query(bytes).await, ["2,a\\000b"]);
}

#[tokio::test]
async fn a_record_that_is_too_long_is_kept_as_its_beginning_and_length() {
    let long = "x".repeat(2 << 20);
    let (home, rows) = notes_of(format!("1,fine\n2,{long}\n3,fine\n")).await;
    assert_eq!(rows, ["1|fine", "3|fine"]);
    let (letter, reason) = only_letter(&home).await;
    assert_eq!(reason["code"], "record_too_long");
    assert_eq!(letter["length"], (2 << 20) + 2);
    assert_eq!(letter["blake3"].as_str().map(str::len), Some(64), "{letter}");
    let kept = letter["text"].as_str().unwrap();
    assert!(kept.starts_with("2,xxx") && kept.len() < 4096, "{} bytes are kept", kept.len());
}

#[tokio::test]
async fn a_record_just_within_the_limit_is_stored_whole() {
    let note = "ä".repeat(500_000);
    let (home, _) = notes_of(format!("1,{note}\n")).await;
    assert_eq!(home.query("select length(note) from notes").await, ["500000"]);
}

#[tokio::test]
async fn a_header_may_name_the_columns_in_any_order() {
    let home = Home::new(MANIFEST).await;
    home.drop("headed-1.csv", "\u{feff}b,id,a\r\nb1,1,\"a,1\"\r\n,2,a2\r\n");
    home.drop("headed-2.csv", "a,id\na3,3\n\"a\n4\",4\n");
    home.drop("headed-3.csv", "id,a,b\n5,a5\n6,a6,b6\n");
    home.ingest().await;
    assert_eq!(
        home.query("select id, a, b, _source, _line from headed order by id").await,
        ["1|a,1|b1|1|1", "2|a2|null|1|2", "3|a3|null|2|1", "4|a\n4|null|2|2", "6|a6|b6|3|2"],
        "a header is not a line"
    );
    let (letter, reason) = only_letter(&home).await;
    assert_eq!((&letter["source"], &letter["line"]), (&3.into(), &1.into()));
    assert_eq!(reason["code"], "wrong_column_count");
}

#[tokio::test]
async fn a_file_whose_header_does_not_fit_stays_and_gives_exit_code_4() {
    let home = Home::new(MANIFEST).await;
    home.drop("headed.csv", "id,ab,b\n1,a,b\n");
    home.run("run --until-idle").await.failed_with(4).saying(&["headed.csv", "line 1", "'ab'", "'a'"]);
    assert_eq!(home.names_in("landing"), ["headed.csv"]);
    assert!(home.sources().await.is_empty());
}

#[tokio::test]
async fn a_file_that_is_dropped_without_its_keys_gets_generated_ones() {
    let home = Home::new(
        "pipeline: p\ndatasets:\n  things:\n    key: id\n    csv: {header: true}\n    \
         columns: {id: {type: bigint, generated: {start: 1000}}, name: text}\n",
    )
    .await;
    home.drop("things.csv", "name\na\nb\n");
    home.ingest().await;
    assert_eq!(home.query("select id, name from things order by id").await, ["1000|a", "1001|b"]);
}

#[tokio::test]
async fn another_dialect_is_read_by_its_own_marks() {
    let home = Home::new(MANIFEST).await;
    home.drop("marked.csv", "1;a,b\n2;'a;b'\n3;'it''s'\n4;NULL\n5;'NULL'\n6;\"q\"\n");
    home.ingest().await;
    assert_eq!(
        home.query("select id, note is null, note from marked order by id").await,
        ["1|f|a,b", "2|f|a;b", "3|f|it's", "4|t|null", "5|f|NULL", "6|f|\"q\""]
    );
}
