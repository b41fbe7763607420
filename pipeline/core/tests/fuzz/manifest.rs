//! The manifest: any text is read, or refused with faults that stand in it, in a moment.

use std::time::{Duration, Instant};

use tidegate_core::manifest::{Faults, Manifest};
use tidegate_core::split::Splitter;
use tidegate_core::syntax::Delimiter;
use tidegate_core::validate::Validator;

use super::{ITERATIONS, TEST_TIME, in_words};

const TIME_MAX: Duration = Duration::from_secs(20);

#[rustfmt::skip]
const WORDS: [&str; 95] = [
    "\n", "\n  ", "\n    ", "\n      ", "\n        ", " ", ": ", ":", ", ", "{", "}", "[", "]", "- ", "? ", "#",
    "\"", "'", "|", ">", "&a ", "*a", "!!str ", "---", "...", "%YAML 1.2\n", "<<: ", "\t", "\r\n", "~", "null",
    "true", "false", "${HOME}", "${", "$${", "\\x", "é", "\u{feff}", "\u{85}", "\u{2028}", "\0",
    "pipeline: p\n", "datasets:\n", "  d:\n", "    key: id\n", "    columns: {id: integer}\n", "    columns:\n",
    "      id: integer\n", "      v: text\n", "key", "id", "d", "p", "columns", "table: ", "files: ", "csv: ",
    "encoding: ", "delimiter: ", "quote: ", "header: ", "null: ", "type: ", "optional: ", "references: ", "min: ", "max: ",
    "min_length: ", "max_length: ", "pattern: ", "one_of: ", "landing: ", "views: ", "stable_for: ",
    "max_lag_bytes: ", "max_record_bytes: ", "smallint", "bigint", "numeric(12,2)", "double", "boolean",
    "varchar(9)", "date", "timestamptz", "uuid", "jsonb", "2021-07-27T16:02:08Z", "-1e9", "99999999999", "1KiB",
    "500ms", "(a+){9}", "*.csv", "0",
];

/// A manifest to begin with, so that what follows is read deep inside.
const BEGINNING: &str = "pipeline: p\ndatasets:\n  d:\n    key: id\n    columns:\n      id: integer\n";

#[test]
fn manifest() {
    bolero::check!().with_iterations(ITERATIONS).with_test_time(TEST_TIME).for_each(|input: &[u8]| {
        let text = text_of(input);
        let started = Instant::now();
        let read = Manifest::parse(&text, &|name| (name == "HOME").then(|| "jobs".to_owned()));
        assert!(started.elapsed() < TIME_MAX, "read for {:?}", started.elapsed());
        match read {
            Ok(manifest) => assert_sound(&manifest),
            Err(faults) => assert_placed(&faults, &text),
        }
    });
}

/// The manifest that an input stands for.
fn text_of(input: &[u8]) -> String {
    let Some((how, bytes)) = input.split_first() else { return String::new() };
    let mut text = if how & 0x40 != 0 { BEGINNING.to_owned() } else { String::new() };
    text.push_str(&String::from_utf8_lossy(&in_words(how & 0x80 != 0, bytes, &WORDS)));
    text
}

/// What the rest of Tidegate takes for granted.
fn assert_sound(manifest: &Manifest) {
    assert!(!manifest.datasets.is_empty());
    for (index, dataset) in manifest.datasets.iter().enumerate() {
        assert!(dataset.key_columns().all(|column| !column.optional));
        let dialect = &dataset.csv.syntax.dialect;
        assert!(dialect.quote.is_none_or(|quote| dialect.delimiter != Delimiter::Byte(quote)));
        Splitter::new(&dataset.csv.syntax, manifest.max_record_bytes);
        for reference in &dataset.references {
            assert!(reference.dataset <= index, "a dataset stands behind all it references");
            let parent = &manifest.datasets[reference.dataset];
            assert_eq!(reference.columns.len(), reference.to.len());
            for (own, its) in reference.columns.iter().zip(&reference.to) {
                assert_eq!(parent.columns[*its].kind.sql(), dataset.columns[*own].kind.sql());
            }
        }
        Validator::new(dataset);
    }
    let mut topics = manifest.topics();
    let is_topic = |topic: &String| {
        topic.len() <= 63 && topic.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    assert!(topics.iter().all(is_topic), "{topics:?}");
    let count = topics.len();
    topics.sort();
    topics.dedup();
    assert_eq!(topics.len(), count, "each topic has a name of its own");
}

/// Each fault is one line of text, at a place of the manifest or just behind it, in order.
fn assert_placed(faults: &Faults, text: &str) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    // In bytes: of a line in a block scalar the parser counts those.
    let lines: Vec<usize> = text.split(['\n', '\r']).map(str::len).collect();
    let places: Vec<_> = faults.as_slice().iter().map(|fault| (fault.line, fault.column)).collect();
    assert!(places.is_sorted());
    for fault in faults.as_slice() {
        assert!(!fault.message.is_empty());
        assert!(!fault.to_string().chars().any(char::is_control), "{:?}", fault.to_string());
        let length = lines.get(fault.line - 1).copied();
        // The parser looks two characters ahead.
        let is_inside =
            length.is_some_and(|length| fault.column <= length + 2) || fault.line == lines.len() + 1;
        assert!(fault.column >= 1 && is_inside, "{fault} of {text:?}");
    }
}
