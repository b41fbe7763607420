//! A line under the rules of a dataset: accepted in its canonical form, or refused with reasons; and the
//! other forms in which bytes travel.

use std::sync::LazyLock;
use std::time::SystemTime;

use tidegate_core::dead_letter::{DeadLetter, Event, Stage};
use tidegate_core::manifest::Manifest;
use tidegate_core::position::Position;
use tidegate_core::record::{Batch, Line};
use tidegate_core::shape::Form;
use tidegate_core::split::Fields;
use tidegate_core::syntax::Dialect;
use tidegate_core::validate::{Scratch, Validator};

use super::{ITERATIONS, TEST_TIME, in_words};

/// One dataset for each type, with rules where the type takes some; then all in one, in another dialect.
static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
    let columns = [
        "{type: smallint, min: -9}",
        "{type: integer, one_of: [1, 2]}",
        "bigint",
        "{type: \"numeric(5,2)\", max: 99.5}",
        "numeric",
        "real",
        "{type: double, min: 1e-300}",
        "boolean",
        "{type: text, pattern: \"^a\", min_length: 1}",
        "varchar(3)",
        "{type: date, min: 2000-01-01}",
        "time",
        "timestamp",
        "{type: timestamptz, max: \"2030-01-01T00:00:00Z\"}",
        "uuid",
        "jsonb",
    ];
    let mut text = "pipeline: p\ndatasets:\n".to_owned();
    for (i, column) in columns.iter().enumerate() {
        text.push_str(&format!("  d{i}: {{key: id, columns: {{id: text, v: {column}}}}}\n"));
    }
    let csv = "csv: {delimiter: ';', quote: \"'\", null: NA}";
    text.push_str(&format!("  all:\n    key: c2\n    {csv}\n    columns:\n"));
    for (i, column) in columns.iter().enumerate() {
        text.push_str(&format!("      c{i}: {column}\n"));
    }
    Manifest::parse(&text, &|_| None).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
});

const WORDS: [&str; 40] = [
    ",",
    ";",
    "\"",
    "'",
    "\"\"",
    "\r",
    "\n",
    "0",
    "1",
    "9",
    "-",
    "+",
    ".",
    "e",
    "E",
    "a",
    "é",
    "NA",
    "true",
    "2021-07-27",
    "T",
    " ",
    "16:02:08",
    "Z",
    "+05:30",
    "{",
    "}",
    "[",
    "]",
    ":",
    "\\u0000",
    "\\",
    "null",
    "99999999999999999999",
    "00000000",
    "123e4567-e89b-12d3-a456-426614174000",
    "\0",
    "\u{feff}",
    "a,1,",
    "%",
];

#[test]
fn line() {
    let mut scratch = Scratch::default();
    let validators: Vec<_> =
        MANIFEST.datasets.iter().map(|d| (d, Validator::new(d), Validator::of(d, Form::Canonical))).collect();
    bolero::check!().with_iterations(ITERATIONS).with_test_time(TEST_TIME).for_each(|input: &[u8]| {
        let Some(([dataset, how], bytes)) = input.split_first_chunk::<2>() else { return };
        let (dataset, validator, canonical) = &validators[*dataset as usize % validators.len()];
        let text = in_words(how & 0x80 != 0, bytes, &WORDS);
        validator.write_key(Position::new(1, 1), &text, &mut Vec::new());
        let reasons = match validator.check(&text, &mut scratch) {
            Ok(row) => {
                assert_canonical(row.canonical, dataset.columns.len(), canonical);
                Vec::new()
            }
            Err(reasons) => {
                assert!(!reasons.is_empty());
                let is_known = |name: &String| dataset.columns.iter().any(|column| column.name == *name);
                assert!(reasons.iter().all(|reason| reason.column.as_ref().is_none_or(is_known)));
                reasons
            }
        };
        let position = Position::new(3, 117);
        let letter = DeadLetter::new(
            Event::Rejected,
            Stage::Transform,
            position,
            &dataset.name,
            &text,
            reasons,
            SystemTime::UNIX_EPOCH,
        );
        let mut json = Vec::new();
        letter.write(&mut json);
        assert_eq!(DeadLetter::parse(&json).expect("it was written"), letter);
        assert_travels(&text, *how);
    });
}

/// Postgres reads what is written here as it stands, and so does whoever checks it again.
fn assert_canonical(line: &[u8], columns: usize, canonical: &Validator) {
    let mut scratch = Scratch::default();
    let again = canonical.check(line, &mut scratch).expect("what is accepted is accepted again");
    assert_eq!(again.canonical, line);
    let mut fields = Fields::default();
    fields.split(line, &Dialect::STANDARD).expect("a canonical line has no open quote");
    let row = [b"0,", line].concat(); // as it stands in a row for `copy`
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&row[..]);
    let records: Vec<_> = reader.byte_records().map(|record| record.expect("any bytes are CSV")).collect();
    assert_eq!((records.len(), fields.len()), (1, columns));
    assert!((0..columns).all(|i| records[0].get(i + 1) == Some(fields.get(i, line))), "{records:?}");
}

/// Whatever the bytes are, they can be read as what travels, and come back as they went.
fn assert_travels(bytes: &[u8], count: u8) {
    if let Some(line) = Line::parse(bytes) {
        let mut value = Vec::new();
        line.write(&mut value);
        assert_eq!(Line::parse(&value), Some(line));
    }
    if let Ok(batch) = Batch::from_bytes(bytes.to_vec(), u32::from(count % 4)) {
        assert_eq!((batch.iter().count(), batch.as_bytes()), (batch.len(), bytes));
    }
    let _ = DeadLetter::parse(bytes);
}
