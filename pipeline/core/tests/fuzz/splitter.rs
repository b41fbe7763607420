//! The splitter, and the fields of what it gives: any bytes, dialect and limit, however they arrive.

use std::hint::black_box;

use tidegate_core::split::{Dialect, Fields};

use super::{ITERATIONS, TEST_TIME, in_words};
use crate::split::{Piece, reference, split_dialect};

const DIALECTS: [Dialect; 4] = [
    Dialect::STANDARD,
    Dialect { delimiter: b';', quote: b'\'' },
    Dialect { delimiter: b'\t', quote: b'"' },
    Dialect { delimiter: b'"', quote: b',' },
];

const WORDS: [&str; 16] = [
    "\"", ",", "\n", "\r\n", "a", "\"\"", "\",\"", "\"\n", "\r", ",\"", "\",", "'", ";", "\u{feff}", "\0",
    "é",
];

#[test]
fn splitter() {
    bolero::check!().with_iterations(ITERATIONS).with_test_time(TEST_TIME).for_each(|input: &[u8]| {
        let Some(([how, limit, a, b], bytes)) = input.split_first_chunk::<4>() else { return };
        let dialect = DIALECTS[*how as usize % DIALECTS.len()];
        let text = in_words(how & 0x80 != 0, bytes, &WORDS);
        let sizes = [1 + *a as usize, 1 + *b as usize];
        let pieces = split_dialect(dialect, &text, *limit as usize, &sizes);
        assert_eq!(pieces, reference::split(dialect, &text, *limit as usize));
        let mut fields = Fields::default();
        for piece in &pieces {
            let Piece::Record(_, record) = piece else { continue };
            if fields.split(record, dialect).is_ok() {
                assert!(!fields.is_empty());
                (0..fields.len()).for_each(|i| {
                    black_box((fields.get(i, record), fields.is_quoted(i)));
                });
            }
        }
    });
}
