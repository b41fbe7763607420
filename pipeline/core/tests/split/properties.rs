//! What holds for any input.

use proptest::prelude::*;
use tidegate_core::split::{Dialect, Fields, write_field};

use super::{Piece, split, split_in_chunks};

/// Bytes that are mostly what the grammar is made of.
fn grammar() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(&b"\",\n\r\"\n"[..]),
        3 => prop::sample::select(&b"abc;'\0\xef\xbb\xbf"[..]),
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..200)
}

/// Rows of fields, written quoted where they must be and sometimes where they need not.
fn file() -> impl Strategy<Value = String> {
    let plain = "[a-c é]{0,4}(x\"[a-c]{0,2})?";
    let quoted = "([a-c,\n]|\r\n|\"\"){0,6}".prop_map(|text| format!("\"{text}\""));
    let field = prop_oneof![3 => plain.prop_map(String::from), 1 => quoted];
    let row = prop::collection::vec(field, 1..5).prop_map(|fields| fields.join(","));
    let ending = prop::sample::select(vec!["\n", "\r\n", "\n\n", "\r\n\n"]);
    let rows = prop::collection::vec((row, ending), 0..12);
    (rows, any::<bool>()).prop_map(|(rows, ends)| {
        let text: String = rows.iter().map(|(row, ending)| format!("{row}{ending}")).collect();
        if ends { text } else { text.trim_end_matches(['\r', '\n']).to_owned() }
    })
}

/// The bytes that are left when line feeds, and the carriage returns in front of one, are taken out.
fn without_line_endings(bytes: &[u8]) -> Vec<u8> {
    let mut left = Vec::new();
    for byte in bytes {
        match byte {
            b'\n' => {
                if left.last() == Some(&b'\r') {
                    left.pop();
                }
                left.push(b'\n');
            }
            byte => left.push(*byte),
        }
    }
    left.retain(|byte| *byte != b'\n');
    left
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn chunks_of_any_size_give_the_same_pieces(
        input in grammar(),
        limit in 0_usize..40,
        sizes in prop::collection::vec(1_usize..20, 1..8),
    ) {
        prop_assert_eq!(split_in_chunks(&input, limit, &sizes), split(&input, limit));
    }

    #[test]
    fn every_byte_of_a_line_is_in_exactly_one_piece(input in grammar(), limit in 0_usize..40) {
        let mut found = Vec::new();
        let mut line_before = 0;
        for piece in split(&input, limit) {
            let line = match piece {
                Piece::Record(line, text) => {
                    prop_assert!(text.len() <= limit && !text.is_empty());
                    found.extend_from_slice(&without_line_endings(&text));
                    line
                }
                Piece::TooLong(line, record) => {
                    prop_assert!(record.length > limit as u64);
                    prop_assert_eq!(record.prefix.len() as u64, record.length, "the input is short");
                    prop_assert_eq!(record.hash, blake3::hash(&record.prefix));
                    found.extend_from_slice(&record.prefix);
                    line
                }
            };
            prop_assert!(line > line_before);
            line_before = line;
        }
        let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&input);
        prop_assert_eq!(found, without_line_endings(input));
    }

    #[test]
    fn records_and_fields_are_those_of_the_csv_crate(input in file(), size in 1_usize..30) {
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .has_headers(false)
            .from_reader(input.as_bytes());
        let expected: Vec<Vec<Vec<u8>>> = reader
            .byte_records()
            .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
            .collect();
        let mut fields = Fields::default();
        let mut found = Vec::new();
        for piece in split_in_chunks(input.as_bytes(), 1000, &[size]) {
            let Piece::Record(_, text) = piece else { panic!("{piece:?}") };
            fields.split(&text, Dialect::STANDARD).unwrap();
            found.push((0..fields.len()).map(|i| fields.get(i, &text).to_vec()).collect::<Vec<_>>());
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn fields_of_any_bytes_are_divided_without_panic(text in grammar(), delimiter in 1_u8..9) {
        let mut fields = Fields::default();
        let dialect = Dialect { delimiter, quote: b'"' };
        for dialect in [Dialect::STANDARD, dialect] {
            if fields.split(&text, dialect).is_ok() && fields.is_plain() {
                let found: Vec<_> = (0..fields.len()).map(|i| fields.get(i, &text)).collect();
                let expected: Vec<_> = text.split(|byte| *byte == dialect.delimiter).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_field_that_is_written_reads_as_itself(values in prop::collection::vec(grammar(), 1..5)) {
        let mut text = Vec::new();
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                text.push(b',');
            }
            write_field(value, &mut text);
        }
        let mut fields = Fields::default();
        fields.split(&text, Dialect::STANDARD).unwrap();
        let found: Vec<_> = (0..fields.len()).map(|i| fields.get(i, &text)).collect();
        prop_assert_eq!(found, values);
    }
}
