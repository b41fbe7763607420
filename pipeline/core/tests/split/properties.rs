//! What holds for any input.

use proptest::prelude::*;
use tidegate_core::split::{Fields, Splitter, Step, write_field};
use tidegate_core::syntax::{Dialect, Syntax};

use super::{Piece, reference, split, split_dialect, split_in_chunks};

/// Bytes that are mostly what the grammar is made of.
fn grammar() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(&b"\",\n\r\"\n"[..]),
        3 => prop::sample::select(&b"abc;'\0\xef\xbb\xbf"[..]),
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..200)
}

/// Any delimiter of one byte and any quote that a manifest may choose.
fn marks() -> impl Strategy<Value = (u8, u8)> {
    let byte = || prop_oneof![prop::sample::select(&b",;\t|\"'"[..]), 1..128_u8];
    (byte(), byte()).prop_filter("two characters that end no line", |(delimiter, quote)| {
        delimiter != quote && [delimiter, quote].iter().all(|byte| !matches!(byte, b'\r' | b'\n'))
    })
}

/// A value, and whether it is quoted where it need not be.
type Field = (Vec<u8>, bool);

/// What a program may write: rows of values, each row's line ending, and whether the file begins with a byte
/// order mark and ends with a line ending. Values are made of what the grammar is made of.
#[derive(Clone, Debug)]
struct Wellformed {
    marks: (u8, u8),
    mark: bool,
    rows: Vec<(Vec<Field>, &'static str)>,
    ends: bool,
}

fn wellformed() -> impl Strategy<Value = Wellformed> {
    let rows = |(delimiter, quote): (u8, u8)| {
        let byte = prop_oneof![
            3 => prop::sample::select(vec![delimiter, quote, b'\n', b'\r', b' ', 0, 0xff]),
            4 => prop::sample::select(&b"abc0\xc3\xa9,;"[..]),
        ];
        let value = prop_oneof![
            4 => prop::collection::vec(byte, 0..6),
            1 => Just(b"\r\n".to_vec()),
            1 => Just(vec![quote, quote]),
        ];
        let row = prop::collection::vec((value, any::<bool>()), 1..5);
        let ending = prop::sample::select(vec!["\n", "\r\n", "\n\n", "\r\n\n", "\n\r\n"]);
        (Just((delimiter, quote)), prop::collection::vec((row, ending), 0..12), any::<bool>(), any::<bool>())
    };
    marks().prop_flat_map(rows).prop_map(|(marks, rows, mark, ends)| Wellformed { marks, mark, rows, ends })
}

impl Wellformed {
    fn write(&self) -> Vec<u8> {
        let mut file = if self.mark { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
        for (i, (row, ending)) in self.rows.iter().enumerate() {
            for (k, field) in row.iter().enumerate() {
                if k > 0 {
                    file.push(self.marks.0);
                }
                self.write_field(field, row.len() == 1, &mut file);
            }
            if i + 1 < self.rows.len() || self.ends {
                file.extend(ending.as_bytes());
            }
        }
        file
    }

    /// Quoted where it must be: a lone field that is empty would be a blank line, and a carriage return
    /// ends a record for the `csv` crate.
    fn write_field(&self, (value, quoted): &Field, alone: bool, file: &mut Vec<u8>) {
        let (delimiter, quote) = self.marks;
        let must = value.iter().any(|byte| [delimiter, b'\r', b'\n'].contains(byte))
            || value.first() == Some(&quote)
            || value.trim_ascii_start().first() == Some(&quote) // behind a blank it is refused
            || value.starts_with(b"\xef") // of a byte order mark
            || (alone && value.is_empty());
        if !must && !quoted {
            return file.extend(value);
        }
        file.push(quote);
        for byte in value {
            file.extend(std::iter::repeat_n(*byte, if *byte == quote { 2 } else { 1 }));
        }
        file.push(quote);
    }

    fn values(&self) -> Vec<Vec<Vec<u8>>> {
        let row = |row: &[Field]| row.iter().map(|(value, _)| value.clone()).collect();
        self.rows.iter().map(|(fields, _)| row(fields)).collect()
    }
}

/// The records as the `csv` crate reads them.
fn read((delimiter, quote): (u8, u8), file: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quote(quote)
        .flexible(true)
        .has_headers(false)
        .from_reader(file);
    reader
        .byte_records()
        .map(|record| record.expect("any bytes are CSV").iter().map(<[u8]>::to_vec).collect())
        .collect()
}

/// Whether this is nothing but LF and CRLF.
fn is_line_endings(bytes: &[u8]) -> bool {
    bytes.is_empty()
        || bytes.strip_suffix(b"\n").is_some_and(|lines| {
            lines.split(|byte| *byte == b'\n').all(|line| line.is_empty() || line == b"\r")
        })
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
    fn pieces_are_those_of_the_reference(
        (delimiter, quote) in marks(),
        input in grammar(),
        limit in 0_usize..40,
        size in 1_usize..60,
    ) {
        // The grammar is of the standard dialect.
        for dialect in [Dialect::STANDARD, Syntax::of_bytes(delimiter, quote).dialect] {
            let expected = reference::split(&dialect, &input, limit);
            prop_assert_eq!(split_dialect(&dialect, &input, limit, &[size]), expected);
        }
    }

    #[test]
    fn between_the_texts_of_pieces_stand_line_endings_alone(input in grammar(), limit in 0_usize..40) {
        let mut splitter = Splitter::of_records(&Dialect::STANDARD, limit);
        let mut at = if input.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let mut consumed_before = 0;
        loop {
            let rest = &input[consumed_before..];
            let (text, consumed) = match splitter.next(rest, true) {
                Step::Record { text, consumed } => {
                    let text = consumed_before + text.start..consumed_before + text.end;
                    prop_assert!(!text.is_empty() && text.len() <= limit);
                    (text, consumed)
                }
                Step::TooLong { record, consumed } => {
                    let passed = &rest[..consumed];
                    let line = passed.strip_suffix(b"\n").map_or(passed, |line| line.strip_suffix(b"\r").unwrap_or(line));
                    let end = consumed_before + line.len();
                    let text = end - record.length as usize..end;
                    prop_assert!(text.len() > limit);
                    prop_assert_eq!(record.hash, blake3::hash(&input[text.clone()]));
                    prop_assert_eq!(&record.prefix, &input[text.clone()], "the input is short");
                    (text, consumed)
                }
                Step::End => break,
                Step::More { .. } => return Err(TestCaseError::fail("asks for more at the end")),
            };
            prop_assert!(is_line_endings(&input[at..text.start]), "{:?}", &input[at..text.start]);
            at = text.end;
            consumed_before += consumed;
        }
        prop_assert!(is_line_endings(&input[at..]), "{:?}", &input[at..]);
    }

    #[test]
    fn what_is_well_formed_is_read_as_written_and_as_the_csv_crate_does(
        file in wellformed(),
        size in 1_usize..60,
    ) {
        let written = file.write();
        let mut fields = Fields::default();
        let mut found = Vec::new();
        let dialect = Syntax::of_bytes(file.marks.0, file.marks.1).dialect;
        for piece in split_dialect(&dialect, &written, 1000, &[size]) {
            let Piece::Record(_, text) = piece else { panic!("{piece:?}") };
            fields.split(&text, &dialect).unwrap();
            found.push((0..fields.len()).map(|i| fields.get(i, &text).to_vec()).collect::<Vec<_>>());
        }
        prop_assert_eq!(&found, &read(file.marks, &written));
        prop_assert_eq!(found, file.values());
    }

    #[test]
    fn fields_of_any_bytes_are_divided_without_panic(text in grammar(), delimiter in 1_u8..9) {
        let mut fields = Fields::default();
        for delimiter in [b',', delimiter] {
            let dialect = Syntax::of_bytes(delimiter, b'"').dialect;
            if fields.split(&text, &dialect).is_ok() && fields.is_plain() {
                let found: Vec<_> = (0..fields.len()).map(|i| fields.get(i, &text)).collect();
                let expected: Vec<_> = text.split(|byte| *byte == delimiter).collect();
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
        fields.split(&text, &Dialect::STANDARD).unwrap();
        let found: Vec<_> = (0..fields.len()).map(|i| fields.get(i, &text)).collect();
        prop_assert_eq!(found, values);
    }
}
