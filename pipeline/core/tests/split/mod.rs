//! Splitting: every case of the grammar, and whatever else bytes can be.

mod cases;
mod dialects;
mod fields;
mod lines;
mod properties;
pub(crate) mod reference;
mod writer;

use std::time::{Duration, Instant};

use tidegate_core::split::{Fields, PREFIX_BYTES, SkippedLines, Splitter, Step, TooLong};
use tidegate_core::syntax::{Dialect, Syntax};

/// What a splitter gives out, with the physical line at which it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Record(u64, Vec<u8>),
    TooLong(u64, TooLong),
}

/// Splits `input` by a dialect alone. It arrives in chunks of these sizes, again and again.
pub(crate) fn split_dialect(dialect: &Dialect, input: &[u8], limit: usize, sizes: &[usize]) -> Vec<Piece> {
    split_all(Splitter::of_records(dialect, limit), input, limit, sizes).0
}

/// Splits `input` as a file of this syntax, whose first line may name the delimiter, and which arrives in chunks.
/// Returns the lines that are no records too.
pub(crate) fn split_file(
    syntax: &Syntax,
    input: &[u8],
    limit: usize,
    sizes: &[usize],
) -> (Vec<Piece>, SkippedLines) {
    let syntax = Syntax { sep_line: true, ..syntax.clone() };
    split_all(Splitter::new(&syntax, limit), input, limit, sizes)
}

fn split_all(
    mut splitter: Splitter,
    input: &[u8],
    limit: usize,
    sizes: &[usize],
) -> (Vec<Piece>, SkippedLines) {
    let (mut pieces, mut buffer, mut arrived) = (Vec::new(), Vec::new(), 0);
    for size in sizes.iter().cycle() {
        let end = (arrived + size).min(input.len());
        buffer.extend_from_slice(&input[arrived..end]);
        arrived = end;
        let mut at = 0;
        loop {
            match splitter.next(&buffer[at..], arrived == input.len()) {
                Step::Record { text, consumed } => {
                    assert!(text.end <= consumed && consumed > 0, "a record is passed");
                    pieces.push(Piece::Record(splitter.physical_line(), buffer[at..][text].to_vec()));
                    at += consumed;
                }
                Step::TooLong { record, consumed } => {
                    pieces.push(Piece::TooLong(splitter.physical_line(), record));
                    at += consumed;
                }
                Step::More { consumed } => {
                    assert!(arrived < input.len(), "asks for more at the end of {:?}", &buffer[at..]);
                    at += consumed;
                    break;
                }
                Step::End => {
                    let skipped = splitter.skipped();
                    assert_eq!(splitter.next(&buffer[at..], true), Step::End);
                    assert_eq!(splitter.skipped(), skipped, "nothing is counted twice");
                    let lines = physical_lines(input);
                    assert_eq!(pieces.len() as u64 + skipped.total(), lines, "{skipped:?} in {input:?}");
                    assert_eq!(splitter.physical_lines(), lines);
                    return (pieces, skipped);
                }
            }
        }
        buffer.drain(..at);
        assert!(buffer.len() <= limit.max(16) + 2, "more than a record of the limit has to be kept");
    }
    unreachable!("there is a size")
}

/// The number of lines of a file, of which the last may have no line end.
fn physical_lines(input: &[u8]) -> u64 {
    let text = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let ends = text.iter().filter(|byte| **byte == b'\n').count();
    (ends + usize::from(text.last().is_some_and(|last| *last != b'\n'))) as u64
}

fn split_in_chunks(input: &[u8], limit: usize, sizes: &[usize]) -> Vec<Piece> {
    split_dialect(&Dialect::STANDARD, input, limit, sizes)
}

fn split(input: &[u8], limit: usize) -> Vec<Piece> {
    split_in_chunks(input, limit, &[input.len().max(1)])
}

fn too_long(line: u64, bytes: &[u8]) -> Piece {
    let prefix = bytes[..bytes.len().min(PREFIX_BYTES)].to_vec();
    Piece::TooLong(line, TooLong { prefix, length: bytes.len() as u64, hash: blake3::hash(bytes) })
}

/// Splits at once and byte by byte.
fn assert_records(input: &str, limit: usize, expected: &[(u64, &str)]) {
    let expected: Vec<_> =
        expected.iter().map(|(line, text)| Piece::Record(*line, text.as_bytes().to_vec())).collect();
    assert_eq!(split(input.as_bytes(), limit), expected, "{input:?} at once");
    assert_eq!(split_in_chunks(input.as_bytes(), limit, &[1]), expected, "{input:?} byte by byte");
}

#[test]
fn a_record_ends_with_lf_or_crlf_or_the_file() {
    for (input, expected) in [
        ("", &[][..]),
        ("\n", &[]),
        ("\r\n\r\n", &[]),
        ("a,b\nc\n", &[(1, "a,b"), (2, "c")]),
        ("a,b\r\nc", &[(1, "a,b"), (2, "c")]),
        ("a\r\n\n\r\nb\n\n", &[(1, "a"), (4, "b")]),
        (",\n\"\"\n", &[(1, ","), (2, "\"\"")]),
    ] {
        assert_records(input, 100, expected);
    }
}

#[test]
fn a_lone_carriage_return_is_data() {
    for (input, expected) in [
        ("a\rb\nc", &[(1, "a\rb"), (2, "c")][..]),
        ("a\r\r\nb\r", &[(1, "a\r"), (2, "b\r")]),
        ("\r\r\n\r", &[(1, "\r"), (2, "\r")]),
    ] {
        assert_records(input, 100, expected);
    }
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_start_alone() {
    assert_records("\u{feff}a\n\u{feff}b\n", 100, &[(1, "a"), (2, "\u{feff}b")]);
    assert_records("\u{feff}\n\na", 100, &[(3, "a")]);
    assert_records("\u{feff}\"a\nb\"\n", 100, &[(1, "\"a\nb\"")]);
    assert_records("\u{feff}", 100, &[]);
    let cut = [Piece::Record(1, b"\xef\xbb".to_vec())];
    assert_eq!(split_in_chunks(b"\xef\xbb", 100, &[1]), cut);
    // Asked again at the end, it is still no record.
    for text in ["\u{feff}", "\u{feff}\r\n\n"] {
        let mut splitter = Splitter::of_records(&Dialect::STANDARD, 100);
        assert_eq!([(); 3].map(|()| splitter.next(text.as_bytes(), true)), [Step::End, Step::End, Step::End]);
    }
}

#[test]
fn a_quoted_field_may_hold_anything() {
    let quoted = "1,\"a,\"\"b\"\"\r\n\nc\",2\r\n3\n";
    assert_records(quoted, 100, &[(1, "1,\"a,\"\"b\"\"\r\n\nc\",2"), (4, "3")]);
    assert_records("a\"b\nc", 100, &[(1, "a\"b"), (2, "c")]);
}

#[test]
fn another_delimiter_and_quote_mean_what_the_standard_ones_do() {
    let dialect = Syntax::of_bytes(b';', b'\'').dialect;
    let mut splitter = Splitter::of_records(&dialect, 100);
    let input = b"1;'a\n;''\"'\n,\"\n";
    let Step::Record { text, consumed } = splitter.next(input, true) else { panic!("no record") };
    assert_eq!(&input[text.clone()], b"1;'a\n;''\"'");
    let mut fields = Fields::default();
    fields.split(&input[text.clone()], &dialect).unwrap();
    let second = fields.get(1, &input[text]);
    assert_eq!((fields.len(), second, fields.is_literal(1)), (2, &b"a\n;'\""[..], true));
    assert_eq!(splitter.next(&input[consumed..], true), Step::Record { text: 0..2, consumed: 3 });
}

#[test]
fn a_quote_that_never_closes_gives_only_its_first_line() {
    assert_records("1,\"a\n2,b\n3,c", 100, &[(1, "1,\"a"), (2, "2,b"), (3, "3,c")]);
    assert_records("1,\"a\r\n2,b\r\n", 100, &[(1, "1,\"a"), (2, "2,b")]);
    assert_records("0\n1,\"a", 100, &[(1, "0"), (2, "1,\"a")]);
    let rows: Vec<String> = (2..40).map(|n| format!("{n},x")).collect();
    let input = format!("1,\"a\n{}\n", rows.join("\n"));
    let mut expected = vec![(1, "1,\"a")];
    expected.extend((2..).zip(rows.iter().map(String::as_str)));
    assert_records(&input, 20, &expected);
}

#[test]
fn a_quote_that_another_field_closes_gives_only_its_first_line() {
    let expected = [(1, "2,\"never closed"), (2, "3,fine"), (3, "4,\"closed\"")];
    assert_records("2,\"never closed\n3,fine\n4,\"closed\"\n", 100, &expected);
    assert_records("\"a\"x\"\n\"b\"\"", 100, &[(1, "\"a\"x\""), (2, "\"b\"\"")]);
    assert_records("\"a\r\nb\"\rc\n2", 100, &[(1, "\"a"), (2, "b\"\rc"), (3, "2")]);
}

#[test]
fn a_quote_that_closes_past_the_limit_gives_only_its_first_line() {
    assert_records("\"a\nb\nc\"\n2\n", 6, &[(1, "\"a"), (2, "b"), (3, "c\""), (4, "2")]);
    assert_records("\"a\nb\nc\"\n2\n", 7, &[(1, "\"a\nb\nc\""), (4, "2")]);
    assert_records("\"a\nb\nc\"\r\n2\n", 7, &[(1, "\"a\nb\nc\""), (4, "2")]);
    assert_records("\"a\nb\nc\"", 7, &[(1, "\"a\nb\nc\"")]);
}

#[test]
fn lines_that_seem_to_be_one_record_are_not_each_followed_to_the_limit() {
    const LIMIT: usize = 1 << 20;
    let started = Instant::now();
    // Quotes of the first line lead from each line into the next, and each line's own quotes do too.
    for last in ["", "\"x\n", &"\",\"".repeat(LIMIT / 6)] {
        let mut input = b"a,\"b\n".to_vec();
        input.extend(b"a\",\"b\n".repeat(3 * LIMIT / 6));
        input.extend(last.as_bytes());
        let lines = input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let pieces = split_in_chunks(&input, LIMIT, &[1 << 16]);
        assert!(pieces.len() > 400_000);
        let alike = pieces.iter().zip(lines).take(100_000);
        for (piece, line) in alike {
            let Piece::Record(_, text) = piece else { panic!("{piece:?}") };
            assert_eq!(text, line);
        }
    }
    let taken = started.elapsed();
    assert!(taken < Duration::from_secs(60), "took {taken:?}; followed to the limit it would be an hour");
}

#[test]
fn a_record_may_be_as_long_as_the_limit_and_no_longer() {
    for ending in ["\n", "\r\n", ""] {
        for next in ["", "x\n"] {
            if ending.is_empty() && !next.is_empty() {
                continue;
            }
            for (length, text) in [(8, "12345678"), (8, "\"2345,7\""), (9, "123456789"), (9, "\"2345,78\"")] {
                let input = format!("{text}{ending}{next}");
                let first = match length {
                    8 => Piece::Record(1, text.into()),
                    _ => too_long(1, text.as_bytes()),
                };
                let mut expected = vec![first];
                expected.extend((!next.is_empty()).then(|| Piece::Record(2, b"x".to_vec())));
                for size in 1..=input.len() {
                    let pieces = split_in_chunks(input.as_bytes(), 8, &[size]);
                    assert_eq!(pieces, expected, "{input:?} in chunks of {size}");
                }
            }
        }
    }
}

#[test]
fn a_carriage_return_counts_for_the_limit_only_where_it_is_data() {
    for size in 1..12 {
        let pieces = split_in_chunks(b"12345678\r", 8, &[size]);
        assert_eq!(pieces, [too_long(1, b"12345678\r")], "in chunks of {size}");
        let pieces = split_in_chunks(b"1234567890\r\r\n\r\n1", 8, &[size]);
        assert_eq!(pieces, [too_long(1, b"1234567890\r"), Piece::Record(3, b"1".to_vec())]);
    }
}

#[test]
fn a_line_of_two_mebibytes_is_measured_and_not_kept() {
    let mut line: Vec<u8> = (0..2 << 20).map(|i: u32| b'a' + (i % 23) as u8).collect();
    line[1 << 20] = b'\r';
    let mut input = b"1\n".to_vec();
    input.extend_from_slice(&line);
    input.extend_from_slice(b"\r\n2");
    let expected = [Piece::Record(1, b"1".to_vec()), too_long(2, &line), Piece::Record(3, b"2".to_vec())];
    for sizes in [&[1 << 16][..], &[4 << 20], &[(1 << 20) + 1, 1, 2, 3], &[100_003]] {
        let pieces = split_in_chunks(&input, 1 << 20, sizes);
        assert!(pieces == expected, "in chunks of {sizes:?}");
    }
}
