//! What is accepted, and the canonical line that it becomes.

use proptest::prelude::*;
use tidegate_core::manifest::Reference;
use tidegate_core::position::Position;
use tidegate_core::validate::{Scratch, Validator};

use super::{validator, validator_of};

const OPTIONAL: &str =
    "    columns: {id: integer, a: {type: text, optional: true}, b: {type: integer, optional: true}}\n";

fn canonical(validator: &Validator, text: &str) -> String {
    let mut scratch = Scratch::default();
    let row = validator.check(text.as_bytes(), &mut scratch).unwrap_or_else(|reasons| panic!("{reasons:?}"));
    String::from_utf8(row.canonical.to_vec()).expect("a line that is text stays text")
}

#[test]
fn a_plain_line_comes_back_as_the_same_bytes() {
    let validator = validator_of("text");
    for text in ["1,Harold Vogt", "1,é", "+001, x "] {
        let mut scratch = Scratch::default();
        let row = validator.check(text.as_bytes(), &mut scratch).unwrap();
        assert!(std::ptr::eq(row.canonical, text.as_bytes()), "{text}");
    }
}

#[test]
fn what_is_quoted_needlessly_loses_its_quotes_and_what_ends_a_line_gets_some() {
    let validator = validator_of("text");
    for (text, expected) in [
        ("\"1\",\"a\"", "1,a"),
        ("1,\"a,b\"", "1,\"a,b\""),
        ("1,\"a\"\"b\nc\"", "1,\"a\"\"b\nc\""),
        ("1,a\"b", "1,\"a\"\"b\""),
        ("1,a\rb", "1,\"a\rb\""),
        ("1,a\nb", "1,\"a\nb\""),
    ] {
        assert_eq!(canonical(&validator, text), expected, "{text}");
    }
}

#[test]
fn another_dialect_becomes_the_standard_one() {
    let columns = "    columns: {id: integer, v: text}\n";
    let semicolon = validator(&format!("    csv: {{delimiter: ';'}}\n{columns}"));
    assert_eq!(canonical(&semicolon, "1;a,b"), "1,\"a,b\"");
    assert_eq!(canonical(&semicolon, "1;\"a;b\""), "1,a;b");
    let apostrophe = validator(&format!("    csv: {{quote: \"'\"}}\n{columns}"));
    assert_eq!(canonical(&apostrophe, "1,'it''s, \"so\"'"), "1,\"it's, \"\"so\"\"\"");
    assert_eq!(canonical(&apostrophe, "1,\"a\""), "1,\"\"\"a\"\"\"");
}

#[test]
fn what_is_missing_and_optional_becomes_empty() {
    let plain = validator(OPTIONAL);
    assert_eq!(canonical(&plain, "1,,"), "1,,");
    assert_eq!(canonical(&plain, "1,\"\",2"), "1,,2");
    let null = validator(&format!("    csv: {{null: NA}}\n{OPTIONAL}"));
    assert_eq!(canonical(&null, "1,NA,NA"), "1,,");
    assert_eq!(canonical(&null, "1,\"NA\",3"), "1,NA,3");
    assert_eq!(canonical(&null, "1,NAN,"), "1,NAN,");
}

#[test]
fn a_row_knows_its_key_and_its_values() {
    let null = validator(&format!("    csv: {{null: NA}}\n{OPTIONAL}"));
    let mut scratch = Scratch::default();
    let row = null.check(b"\"7\",NA,3", &mut scratch).unwrap();
    let (position, mut key) = (Position::new(3, 4), Vec::new());
    assert_eq!((row.key(position, &mut key), row.value(0), row.value(1)), (&b"7"[..], Some(&b"7"[..]), None));
    assert_eq!(row.value(2), Some(&b"3"[..]));
    let key_of = |text: &[u8]| {
        let mut key = Vec::new();
        null.write_key(position, text, &mut key);
        key
    };
    assert_eq!((key_of(b"7,x"), key_of(b"")), (b"7".to_vec(), Vec::new()));
}

#[test]
fn references_are_the_columns_that_have_one() {
    let validator =
        validator("    columns: {id: integer, boss: {type: integer, optional: true, references: d}}\n");
    assert_eq!(validator.references(), [Reference { columns: vec![1], dataset: 0, to: vec![0] }]);
}

/// The fields of one record, as the `csv` crate reads them.
fn read(text: &[u8], delimiter: u8) -> Vec<Vec<u8>> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .terminator(csv::Terminator::Any(b'\0')) // one line, whatever it holds
        .from_reader(text);
    let records: Vec<_> = reader.byte_records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 1, "{:?} is one record", String::from_utf8_lossy(text));
    records[0].iter().map(<[u8]>::to_vec).collect()
}

fn text() -> impl Strategy<Value = String> {
    let field = prop_oneof!["[a-bé,;]{0,3}", "\"([a-bé,;\r\n]|\"\"){0,5}\"", "[a\"\r;é]{0,4}"];
    (0..100, prop::collection::vec(field, 1..=3))
        .prop_map(|(id, fields)| format!("{id},{}", fields.join(",")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_accepted_reads_back_as_the_same_fields(text in text(), semicolon in any::<bool>()) {
        let columns = "    columns: {id: integer, a: {type: text, optional: true}, b: {type: text, optional: true}}\n";
        let csv = if semicolon { "    csv: {delimiter: ';'}\n" } else { "" };
        let validator = validator(&format!("{csv}{columns}"));
        let delimiter = if semicolon { b';' } else { b',' };
        let text = if semicolon { text.replacen(',', ";", 1) } else { text };
        let mut scratch = Scratch::default();
        if let Ok(row) = validator.check(text.as_bytes(), &mut scratch) {
            let fields = read(text.as_bytes(), delimiter);
            prop_assert_eq!(&read(row.canonical, b','), &fields);
            for (i, field) in fields.iter().enumerate() {
                prop_assert_eq!(row.value(i).unwrap_or_default(), &field[..]);
            }
            let again = row.canonical.to_vec();
            let standard = super::validator(columns);
            let mut scratch = Scratch::default();
            let twice = standard.check(&again, &mut scratch).unwrap();
            prop_assert_eq!(twice.canonical, &again[..], "a canonical line is its own");
        }
    }

    #[test]
    fn no_bytes_make_checking_panic(text in prop::collection::vec(any::<u8>(), 0..60)) {
        let validator = validator_of("timestamptz");
        let _ = validator.check(&text, &mut Scratch::default());
        validator.write_key(Position::new(1, 1), &text, &mut Vec::new());
    }
}
