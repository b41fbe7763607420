//! For each dialect, a writer and the reader are inverse, however the bytes are cut; and what holds for any bytes.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use tidegate_core::split::Fields;
use tidegate_core::syntax::{Delimiter, Dialect, Syntax, Width};

use super::writer::{Value, writable, write_record};
use super::{Piece, reference, split_dialect, split_file};

/// Any dialect, of marks that the words of [`words`] hold.
pub(super) fn dialect() -> impl Strategy<Value = Dialect> {
    let delimiter = prop_oneof![
        3 => prop::sample::select(&b",;|\t"[..]).prop_map(Delimiter::Byte),
        3 => prop::sample::select(vec!["||", ";|;", "→", ",|"]).prop_map(|text| Delimiter::Text(text.into())),
        2 => Just(Delimiter::Whitespace),
        1 => Just(Delimiter::Widths(vec![Width { from: 1, to: 4 }, Width { from: 5, to: 12 }])),
    ];
    let quote = prop::option::of(prop::sample::select(&b"\"'"[..]));
    let escape = prop::option::of(prop::sample::select(&b"\\^"[..]));
    (delimiter, quote, escape, any::<bool>(), any::<bool>()).prop_map(
        |(delimiter, quote, escape, c_escapes, trim)| {
            let is_fixed = matches!(delimiter, Delimiter::Widths(_));
            let trim = trim && !is_fixed && delimiter != Delimiter::Whitespace;
            Dialect {
                delimiter,
                quote: quote.filter(|_| !is_fixed),
                escape: escape.filter(|_| !is_fixed),
                c_escapes: c_escapes && escape.is_some() && !is_fixed,
                trim,
            }
        },
    )
}

/// Bytes that are mostly what the dialects are made of.
pub(super) fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "\"", "'", ",", ";", "|", "||", ";|;", "→", "\t", " ", "\\", "^", "\n", "\r\n", "\r", "\n", "a", "b",
        "n", "x41", "\\\n", "\\\r\n", "\"\"", "\",", "#", "sep=;\n", "\u{feff}", "é", "\0",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat().into_bytes())
}

/// Values for records, each record's line end, and their dialect.
fn records() -> impl Strategy<Value = (Dialect, Vec<(Vec<Value>, &'static str)>)> {
    let byte = prop_oneof![
        4 => prop::sample::select(&b"\"',;|\t \\^\n\rab"[..]),
        2 => prop::sample::select(&b"nNtx0\xe2\x86\x92\xef\xbb\xbf"[..]),
    ];
    let value = (prop::collection::vec(byte, 0..6), any::<bool>());
    let record = prop::collection::vec(value, 1..5);
    let end = prop::sample::select(vec!["\n", "\r\n", "\n\n"]);
    (dialect(), prop::collection::vec((record, end), 0..10)).prop_map(|(dialect, mut records)| {
        for (values, _) in &mut records {
            if let Delimiter::Widths(widths) = &dialect.delimiter {
                values.resize(widths.len(), (b"y".to_vec(), false));
            }
            for (i, (value, _)) in values.iter_mut().enumerate() {
                *value = writable(std::mem::take(value), &dialect, [4, 8][i % 2]);
            }
            if dialect.quote.is_none() && values[0].0.is_empty() {
                values[0].0.push(b'x'); // a line of nothing is no record
            }
        }
        (dialect, records)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_is_written_in_a_dialect_is_read_as_it_was((dialect, records) in records(), size in 1_usize..40) {
        let mut file = Vec::new();
        for (values, end) in &records {
            write_record(values, &dialect, &mut file);
            file.extend(end.as_bytes());
        }
        let pieces = split_dialect(&dialect, &file, 1000, &[size]);
        let mut fields = Fields::default();
        let mut found = Vec::new();
        for piece in &pieces {
            let Piece::Record(_, text) = piece else { panic!("{piece:?}") };
            fields.split(text, &dialect).unwrap();
            found.push((0..fields.len()).map(|i| fields.get(i, text).to_vec()).collect::<Vec<_>>());
        }
        let values = |values: &[Value]| values.iter().map(|(value, _)| value.clone()).collect::<Vec<_>>();
        let expected: Vec<_> = records.iter().map(|(record, _)| values(record)).collect();
        prop_assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(&file));
    }

    #[test]
    fn pieces_of_any_dialect_are_those_of_the_reference(
        dialect in dialect(),
        input in words(),
        limit in 0_usize..60,
        size in 1_usize..60,
    ) {
        let expected = reference::split(&dialect, &input, limit);
        prop_assert_eq!(split_dialect(&dialect, &input, limit, &[size]), expected);
    }

    #[test]
    fn the_quotes_of_a_record_of_several_lines_close(dialect in dialect(), input in words(), limit in 0_usize..60) {
        let dialect = Dialect { escape: None, c_escapes: false, ..dialect };
        let mut fields = Fields::default();
        for piece in split_dialect(&dialect, &input, limit, &[9]) {
            let Piece::Record(_, text) = piece else { continue };
            // A CR that ends the file behind a quote may be the beginning of a CRLF.
            let is_whole = text.last() != Some(&b'\r');
            if is_whole && text.contains(&b'\n') && let Err(error) = fields.split(&text, &dialect) {
                prop_assert!(error.to_string().contains("stands behind a blank"), "{}", error);
            }
        }
    }

    #[test]
    fn escapes_in_quotes_and_comments_are_those_of_the_csv_crate(
        rows in prop::collection::vec(prop::collection::vec("[ab\\\\\"',#\n ]{0,5}", 1..4), 0..8),
        doubles in any::<bool>(),
    ) {
        let dialect = Dialect { escape: Some(b'\\'), ..Dialect::STANDARD };
        let mut file = String::new();
        for row in &rows {
            file.push_str("# don't \"\n");
            let quoted = |value: &String| {
                let value = value.replace('\\', "\\\\");
                format!("\"{}\"", if doubles { value.replace('"', "\"\"") } else { value.replace('"', "\\\"") })
            };
            file.push_str(&row.iter().map(quoted).collect::<Vec<_>>().join(","));
            file.push('\n');
        }
        let syntax = Syntax { comment: Some("#".into()), ..Syntax::of_dialect(dialect.clone()) };
        let (pieces, skipped) = split_file(&syntax, file.as_bytes(), 1000, &[7]);
        prop_assert_eq!(skipped.comment, rows.len() as u64);
        let mut reader = csv::ReaderBuilder::new()
            .escape(Some(b'\\'))
            .comment(Some(b'#'))
            .has_headers(false)
            .flexible(true)
            .from_reader(file.as_bytes());
        let expected: Vec<Vec<Vec<u8>>> =
            reader.byte_records().map(|r| r.unwrap().iter().map(<[u8]>::to_vec).collect()).collect();
        let mut fields = Fields::default();
        let mut found = Vec::new();
        for piece in &pieces {
            let Piece::Record(_, text) = piece else { panic!("{piece:?}") };
            fields.split(text, &dialect).unwrap();
            found.push((0..fields.len()).map(|i| fields.get(i, text).to_vec()).collect::<Vec<_>>());
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn trimmed_fields_are_those_of_the_csv_crate(rows in prop::collection::vec("[ab \t]{1,4}(,[ab \t]{0,4}){1,3}", 0..6)) {
        let dialect = Dialect { trim: true, ..Dialect::STANDARD };
        let file = rows.join("\n");
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).has_headers(false).flexible(true).from_reader(file.as_bytes());
        let expected: Vec<Vec<Vec<u8>>> =
            reader.byte_records().map(|r| r.unwrap().iter().map(<[u8]>::to_vec).collect()).collect();
        let mut fields = Fields::default();
        for (row, expected) in rows.iter().zip(expected) {
            fields.split(row.as_bytes(), &dialect).unwrap();
            let found: Vec<_> = (0..fields.len()).map(|i| fields.get(i, row.as_bytes()).to_vec()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

/// Records that are given out, as texts.
fn texts(dialect: &Dialect, input: &str, limit: usize) -> Vec<(u64, String)> {
    let pieces = split_dialect(dialect, input.as_bytes(), limit, &[input.len().max(1)]);
    assert_eq!(pieces, split_dialect(dialect, input.as_bytes(), limit, &[1]), "{input:?}");
    let text = |piece: Piece| match piece {
        Piece::Record(line, text) => (line, String::from_utf8(text).unwrap()),
        Piece::TooLong(line, record) => (line, format!("{} bytes", record.length)),
    };
    pieces.into_iter().map(text).collect()
}

#[test]
fn a_line_end_behind_an_escape_is_data() {
    let dialect = Dialect { escape: Some(b'\\'), ..Dialect::STANDARD };
    for (input, expected) in [
        ("1,a\\\nb\n2\n", &[(1, "1,a\\\nb"), (3, "2")][..]),
        ("1,a\\\r\nb\r\n2", &[(1, "1,a\\\r\nb"), (3, "2")]),
        ("1,a\\\\\n2\n", &[(1, "1,a\\\\"), (2, "2")]),
        ("1,\"a\\\"\n\"\n2\n", &[(1, "1,\"a\\\"\n\""), (3, "2")]),
        ("a\\\n", &[(1, "a\\\n")]),
        ("a\\", &[(1, "a\\")]),
        ("1,\"a\\\n2\n3\n", &[(1, "1,\"a\\\n2"), (3, "3")]),
    ] {
        let expected: Vec<_> = expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
        assert_eq!(texts(&dialect, input, 100), expected, "{input:?}");
    }
}

#[test]
fn escapes_do_not_join_lines_that_together_pass_the_limit() {
    let dialect = Dialect { escape: Some(b'\\'), ..Dialect::STANDARD };
    let found = texts(&dialect, "a,b\\\nc,d\\\ne\nf\\\ng\n", 8);
    let expected = [(1, "a,b\\"), (2, "c,d\\"), (3, "e"), (4, "f\\\ng")];
    assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
}

#[test]
fn without_quotes_and_escapes_each_line_is_a_record() {
    let quoteless = Dialect { quote: None, ..Dialect::STANDARD };
    let fixed = Dialect { delimiter: Delimiter::Widths(vec![Width { from: 1, to: 2 }]), ..Dialect::STANDARD };
    for dialect in [quoteless, fixed] {
        let expected = [(1, "1,\"a"), (2, "b\"\\"), (3, "3")].map(|(line, text)| (line, text.to_owned()));
        assert_eq!(texts(&dialect, "1,\"a\nb\"\\\n3", 100), expected);
    }
}

#[test]
fn lines_that_escapes_and_quotes_seem_to_join_are_not_each_followed_to_the_limit() {
    const LIMIT: usize = 1 << 20;
    let started = Instant::now();
    let dialect = Dialect { escape: Some(b'\\'), ..Dialect::STANDARD };
    let blanks = Dialect { trim: true, escape: Some(b'\\'), ..Dialect::STANDARD };
    let texts = Dialect { delimiter: Delimiter::Text("||".into()), ..dialect.clone() };
    for (dialect, first, line) in [
        (&dialect, "", "a\\\n"),
        (&dialect, "", "\"a\\\n"),
        (&dialect, "x,\"\n", "a\",\"b\\\n\n"),
        (&dialect, "x,\"\n", "a\",\"\\\"\n"),
        (&blanks, "x,\"\n", "a\" , \"b\n"),
        (&texts, "x||\"\n", "a\"||\"b\n"),
        (&texts, "x||\"\n", "a\"||\"\\\nb\n"),
    ] {
        let input = [first.as_bytes(), &line.as_bytes().repeat(3 * LIMIT / line.len())].concat();
        let pieces = split_dialect(dialect, &input, LIMIT, &[1 << 16]);
        assert!(pieces.len() > 100_000, "{line:?} gives {} records", pieces.len());
    }
    let taken = started.elapsed();
    assert!(taken < Duration::from_secs(60), "took {taken:?}; followed to the limit it would be an hour");
}
