//! The splitter, and the fields of what it gives: any bytes, dialect, rules and limit, however they arrive.

use std::hint::black_box;
use std::sync::LazyLock;

use tidegate_core::split::Fields;
use tidegate_core::syntax::{Delimiter, Dialect, Pattern, Syntax, Width};

use super::{ITERATIONS, TEST_TIME, in_words};
use crate::split::{Piece, reference, split_file};

static SYNTAXES: LazyLock<Vec<Syntax>> = LazyLock::new(|| {
    let escape = Some(b'\\');
    let of = |delimiter: Delimiter| Dialect { delimiter, ..Dialect::STANDARD };
    let text = |text: &str| of(Delimiter::Text(text.to_owned()));
    let widths = vec![Width { from: 1, to: 3 }, Width { from: 2, to: 9 }];
    let dialects = [
        Dialect::STANDARD,
        Syntax::of_bytes(b';', b'\'').dialect,
        Syntax::of_bytes(b'\t', b'"').dialect,
        Syntax::of_bytes(b'"', b',').dialect,
        Dialect { quote: None, ..Dialect::STANDARD },
        Dialect { escape, ..Dialect::STANDARD },
        Dialect { escape, c_escapes: true, ..of(Delimiter::Byte(b'\t')) },
        Dialect { escape, c_escapes: true, quote: None, trim: true, ..Dialect::STANDARD },
        Dialect { trim: true, ..Dialect::STANDARD },
        text("||"),
        Dialect { trim: true, escape, ..text("é") },
        of(Delimiter::Whitespace),
        Dialect { escape, ..of(Delimiter::Whitespace) },
        Dialect { quote: None, ..of(Delimiter::Widths(widths)) },
    ];
    let plain = dialects.map(Syntax::of_dialect);
    let ruled = plain.clone().map(|syntax| Syntax {
        header: true,
        skip_lines: 1,
        comment: Some("#".to_owned()),
        skip: vec![Pattern::new("^a.*;$").unwrap()],
        record: Some(Pattern::new("[^é]").unwrap()),
        ..syntax
    });
    [plain, ruled].concat()
});

const WORDS: [&str; 26] = [
    "\"", ",", "\n", "\r\n", "a", "\"\"", "\",\"", "\"\n", "\r", ",\"", "\",", "'", ";", "\u{feff}", "\0",
    "é", "\\", "\\\n", "\\x4", "\\N", " ", "\t", "|", "||", "#", "sep=",
];

#[test]
fn splitter() {
    bolero::check!().with_iterations(ITERATIONS).with_test_time(TEST_TIME).for_each(|input: &[u8]| {
        let Some(([how, limit, a, b], bytes)) = input.split_first_chunk::<4>() else { return };
        let syntax = &SYNTAXES[*how as usize % SYNTAXES.len()];
        let text = in_words(how & 0x80 != 0, bytes, &WORDS);
        let sizes = [1 + *a as usize, 1 + *b as usize];
        let (pieces, skipped) = split_file(syntax, &text, *limit as usize, &sizes);
        let found = (pieces, skipped);
        assert_eq!(found, reference::split_file(syntax, &text, *limit as usize));
        let mut fields = Fields::default();
        for piece in &found.0 {
            let Piece::Record(_, record) = piece else { continue };
            if fields.split(record, &syntax.dialect).is_ok() {
                (0..fields.len()).for_each(|i| {
                    black_box((fields.get(i, record), fields.is_literal(i)));
                });
            }
        }
    });
}
