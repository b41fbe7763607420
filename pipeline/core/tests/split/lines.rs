//! Lines that are no records.

use proptest::prelude::*;
use tidegate_core::split::{SkippedLines, Splitter, Step};
use tidegate_core::syntax::{Delimiter, Dialect, Pattern, Syntax, Width};

use super::dialects::{dialect, words};
use super::{Piece, reference, split_all, split_file};

/// Asserts the records of a file, with their physical lines, and the lines that are none, as JSON.
#[track_caller]
fn assert_lines(syntax: &Syntax, input: &str, records: &[(u64, &str)], skipped: &str) {
    let expected: Vec<_> =
        records.iter().map(|(line, text)| Piece::Record(*line, text.as_bytes().to_vec())).collect();
    for size in [1, 7, input.len().max(1)] {
        let (found, counts) = split_file(syntax, input.as_bytes(), 100, &[size]);
        assert_eq!(found, expected, "{input:?} in chunks of {size}");
        assert_eq!(serde_json::to_string(&counts).unwrap(), skipped, "{input:?} in chunks of {size}");
    }
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

#[test]
fn without_rules_blank_lines_alone_are_no_records() {
    let syntax = Syntax::default();
    assert_lines(
        &syntax,
        "a\n\n\"b\nc\"\n\r\n",
        &[(1, "a"), (3, "\"b\nc\"")],
        r#"{"blank":2,"continuation":1}"#,
    );
    assert_lines(&syntax, "#a\n \n", &[(1, "#a"), (2, " ")], "{}");
    assert_lines(&syntax, "", &[], "{}");
}

#[test]
fn lines_before_the_header_are_skipped_whatever_they_hold() {
    let syntax = Syntax { skip_lines: 3, header: true, ..Syntax::default() };
    let input = "Report \"of\n\n\"2021\nid,name\n1,Ann\n";
    assert_lines(&syntax, input, &[(4, "id,name"), (5, "1,Ann")], r#"{"before_header":3}"#);
    assert_lines(&syntax, "a\nb", &[], r#"{"before_header":2}"#);
}

#[test]
fn comments_open_no_quotes() {
    let syntax = Syntax { comment: Some("#".into()), ..Syntax::default() };
    let input = "# don't \"\n1,a\n#\n2,\"b\n# in quotes\"\n # no\n#";
    let records = [(2, "1,a"), (4, "2,\"b\n# in quotes\""), (6, " # no")];
    assert_lines(&syntax, input, &records, r#"{"comment":3,"continuation":1}"#);
    let syntax = Syntax { comment: Some("--".into()), ..Syntax::default() };
    assert_lines(&syntax, "-\n-- x\n--", &[(1, "-")], r#"{"comment":2}"#);
}

#[test]
fn lines_that_match_a_pattern_are_skipped() {
    let patterns = [r"^\(\d+ rows?\)$", "(?i)^total"];
    let syntax = Syntax { header: true, skip: patterns.map(pattern).to_vec(), ..Syntax::default() };
    let input = "id,v\r\n1,a\r\nTotal,\"\r\n(2 rows)\r\n2,(2 rows)\r\n(1 row)";
    assert_lines(&syntax, input, &[(1, "id,v"), (2, "1,a"), (5, "2,(2 rows)")], r#"{"pattern":3}"#);
}

#[test]
fn lines_of_other_kinds_are_skipped_and_the_header_is_not() {
    let dialect = Syntax::of_bytes(b'|', b'"').dialect;
    let syntax = Syntax { record: Some(pattern(r"^D\|")), ..Syntax::of_dialect(dialect) };
    let input = "H|CLIENTES|3\nD|1|Ann\n\nD|2|\"x\ny\"\nT|2\n";
    let counts = r#"{"blank":1,"other_kind":2,"continuation":1}"#;
    assert_lines(&syntax, input, &[(2, "D|1|Ann"), (4, "D|2|\"x\ny\"")], counts);
    let syntax = Syntax { header: true, comment: Some("#".into()), ..syntax };
    let counts = r#"{"comment":1,"other_kind":1}"#;
    assert_lines(&syntax, "#x\nkind|id\nkind|id\nD|1\n", &[(2, "kind|id"), (4, "D|1")], counts);
}

#[test]
fn a_line_of_blanks_is_blank_where_blanks_around_fields_mean_nothing() {
    let trimmed = Dialect { trim: true, ..Dialect::STANDARD };
    let blanks = Dialect { delimiter: Delimiter::Whitespace, ..Dialect::STANDARD };
    let fixed = Dialect { delimiter: Delimiter::Widths(vec![Width { from: 1, to: 2 }]), ..Dialect::STANDARD };
    for dialect in [trimmed.clone(), blanks, fixed] {
        assert_lines(&Syntax::of_dialect(dialect), " \t\r\n1\n  ", &[(2, "1")], r#"{"blank":2}"#);
    }
    let tabs = Dialect { delimiter: Delimiter::Byte(b'\t'), ..trimmed };
    assert_lines(&Syntax::of_dialect(tabs), "\t\n \n", &[(1, "\t")], r#"{"blank":1}"#);
}

#[test]
fn a_first_line_may_name_the_delimiter() {
    let syntax = Syntax { header: true, sep_line: true, ..Syntax::default() };
    for line in ["sep=;\n", "sep=;\r\n", "SEP=;\n", "\"sep=;\"\n", "\u{feff}sep=;\n", "sep=\t\n"] {
        let input = format!("{line}id;v\n\"1\";x\n");
        assert_lines(&syntax, &input, &[(2, "id;v"), (3, "\"1\";x")], r#"{"sep":1}"#);
        let mut splitter = Splitter::new(&syntax, 100);
        let Step::Record { .. } = splitter.next(input.as_bytes(), true) else { panic!("no record") };
        let delimiter = if line.contains('\t') { b'\t' } else { b';' };
        assert_eq!(splitter.dialect().delimiter, Delimiter::Byte(delimiter));
    }
    assert_lines(&syntax, "sep=;", &[], r#"{"sep":1}"#);
    let others = [
        "sep=",
        "sep=;;\n",
        "sep=\"\n",
        "sep=x\n",
        "id,sep=;\n",
        "\nsep=;\n",
        "\"sep=;\n",
        "\"sep=\n",
        "sep=é\n",
    ];
    for other in others {
        let (_, skipped) = split_file(&syntax, other.as_bytes(), 100, &[1]);
        assert_eq!(skipped.sep, 0, "{other:?}");
    }
    let skipping = Syntax { skip_lines: 2, ..syntax };
    assert_lines(&skipping, "sep=;\nTitle\nid\n", &[(3, "id")], r#"{"before_header":1,"sep":1}"#);
    let of_before = Syntax { sep_line: false, ..skipping };
    let (_, skipped) = split_all(Splitter::new(&of_before, 100), b"sep=;\nTitle\nid\n", 100, &[3]);
    assert_eq!(
        (skipped.sep, skipped.before_header),
        (0, 2),
        "versions that did not know the line have numbered it"
    );
    let mut records = Splitter::of_records(&Dialect::STANDARD, 100);
    assert_eq!(records.next(b"sep=;", true), Step::Record { text: 0..5, consumed: 5 });
}

#[test]
fn the_dialect_is_known_before_the_first_record() {
    let mut splitter = Splitter::new(&Syntax { sep_line: true, ..Syntax::default() }, 100);
    let input = b"sep=|\n1|2\n";
    for length in 0..6 {
        assert_eq!(splitter.next(&input[..length], false), Step::More { consumed: 0 }, "{length}");
    }
    assert_eq!(splitter.next(&input[..6], false), Step::More { consumed: 6 });
    assert_eq!(splitter.dialect().delimiter, Delimiter::Byte(b'|'));
    assert_eq!(splitter.next(&input[6..], true), Step::Record { text: 0..3, consumed: 4 });
    assert_eq!(splitter.physical_line(), 2);
}

#[test]
fn a_header_is_counted_by_its_reader() {
    let mut splitter = Splitter::new(&Syntax { header: true, ..Syntax::default() }, 100);
    let input = b"\"id\nno\"\n1\n";
    let Step::Record { consumed, .. } = splitter.next(input, true) else { panic!("no record") };
    splitter.count_header();
    let Step::Record { consumed: row, .. } = splitter.next(&input[consumed..], true) else {
        panic!("no row")
    };
    assert_eq!(splitter.next(&input[consumed + row..], true), Step::End);
    let expected = SkippedLines { header: 1, continuation: 1, ..SkippedLines::default() };
    assert_eq!((splitter.skipped(), splitter.physical_lines()), (expected, 3));
    let json = serde_json::to_string(&expected).unwrap();
    assert_eq!(json, r#"{"header":1,"continuation":1}"#);
    assert_eq!(serde_json::from_str::<SkippedLines>(&json).unwrap(), expected);
}

#[test]
fn a_skipped_line_may_be_longer_than_the_limit() {
    let long = "x".repeat(5000);
    let syntax = Syntax { skip_lines: 1, comment: Some("#".into()), ..Syntax::default() };
    let input = format!("{long}\n#{long}\r\n1\n#{long}");
    assert_lines(&syntax, &input, &[(3, "1")], r#"{"before_header":1,"comment":2}"#);
}

fn syntax() -> impl Strategy<Value = Syntax> {
    let comment = prop::option::of(prop::sample::select(vec!["#", "a", "#\\"]));
    let patterns = prop::sample::subsequence(vec!["^b", "^$", ";$", "x41"], 0..3);
    let record = prop::option::of(prop::sample::select(vec!["a", "^[^|]", "\\\\$"]));
    (dialect(), any::<bool>(), 0_u32..4, comment, patterns, record).prop_map(
        |(dialect, header, skip_lines, comment, patterns, record)| Syntax {
            header,
            skip_lines: skip_lines.saturating_sub(1),
            comment: comment.map(str::to_owned),
            skip: patterns.into_iter().map(pattern).collect(),
            record: record.map(pattern),
            ..Syntax::of_dialect(dialect)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn lines_of_a_file_are_its_records_and_what_is_skipped_as_the_reference_says(
        syntax in syntax(),
        has_sep_line in any::<bool>(),
        input in words(),
        limit in 0_usize..60,
        size in 1_usize..60,
    ) {
        let input = [if has_sep_line { &b"sep=|\r\n"[..] } else { b"" }, &input].concat();
        let expected = reference::split_file(&syntax, &input, limit);
        prop_assert_eq!(split_file(&syntax, &input, limit, &[size]), expected);
    }

    #[test]
    fn a_syntax_is_read_back_from_its_text(syntax in syntax()) {
        prop_assert_eq!(serde_json::from_str::<Syntax>(&syntax.to_json()).unwrap(), syntax);
    }
}
