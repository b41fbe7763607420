//! `csv`: how the bytes of files become records and fields.

use tidegate_core::manifest::Csv;
use tidegate_core::shape::Shape;
use tidegate_core::syntax::{Delimiter, Dialect, Pattern, Syntax, Width};

use super::faults::assert_faults;
use super::valid;

/// The settings of a dataset with these in `csv`.
fn csv(settings: &str) -> Csv {
    let text = format!(
        "pipeline: p\ndatasets:\n  jobs:\n    csv: {{{settings}}}\n    key: id\n    columns: {{id: integer}}\n"
    );
    valid(&text).datasets[0].csv.clone()
}

#[track_caller]
fn assert_dialect(settings: &str, expected: &Dialect) {
    assert_eq!(csv(settings).syntax, Syntax::of_dialect(expected.clone()), "{settings}");
}

/// Asserts the faults of a dataset with these settings, which begin in line 4 at column 11.
#[track_caller]
fn assert_csv_faults(settings: &str, expected: &[&str]) {
    let text = format!(
        "pipeline: p\ndatasets:\n  jobs:\n    csv: {{{settings}}}\n    key: id\n    columns: {{id: integer}}\n"
    );
    assert_faults(&text, expected);
}

#[test]
fn a_delimiter_is_a_character_a_text_or_whitespace() {
    let of = |delimiter| Dialect { delimiter, ..Dialect::STANDARD };
    assert_dialect(r#"delimiter: "\t""#, &of(Delimiter::Byte(b'\t')));
    assert_dialect(r#"delimiter: "\x01""#, &of(Delimiter::Byte(1)));
    assert_dialect(r#"delimiter: "||""#, &of(Delimiter::Text("||".into())));
    assert_dialect("delimiter: →", &of(Delimiter::Text("→".into())));
    assert_dialect("delimiter: whitespace", &of(Delimiter::Whitespace));
}

#[test]
fn quotes_escapes_and_trimming_are_chosen() {
    let standard = Dialect::STANDARD;
    assert_dialect("quote: none", &Dialect { quote: None, ..standard.clone() });
    let escape = Some(b'\\');
    assert_dialect(r#"escape: "\\""#, &Dialect { escape, ..standard.clone() });
    assert_dialect("escapes: c", &Dialect { escape, c_escapes: true, ..standard.clone() });
    let caret = Dialect { escape: Some(b'^'), c_escapes: true, ..standard.clone() };
    assert_dialect(r#"escapes: c, escape: "^""#, &caret);
    assert_dialect("trim: true", &Dialect { trim: true, ..standard.clone() });
    assert_dialect("trim: false, short_rows: reject", &standard);
}

#[test]
fn lines_that_are_no_records_are_described() {
    let syntax = csv(r##"header: true, skip_lines: 3, comment: "#", skip: "^\\(", record: "^D\\|""##).syntax;
    let pattern = |text| Pattern::new(text).unwrap();
    let expected = Syntax {
        header: true,
        skip_lines: 3,
        comment: Some("#".into()),
        skip: vec![pattern("^\\(")],
        record: Some(pattern("^D\\|")),
        ..Syntax::default()
    };
    assert_eq!(syntax, expected);
    assert_eq!(csv("skip: [^a, b$]").syntax.skip, [pattern("^a"), pattern("b$")]);
    let syntax = csv("trailing_delimiter: true, short_rows: pad").syntax;
    assert_eq!(syntax, Syntax { trailing_delimiter: true, pads: true, ..Syntax::default() });
}

#[test]
fn columns_with_places_make_lines_of_fixed_width() {
    let manifest = valid(
        "pipeline: p\ndatasets:\n  jobs:\n    csv: {header: true, comment: '*'}\n    key: id\n    columns:\n      \
         id: {type: integer, at: 1..4}\n      name: {type: text, at: 5 .. 14}\n      flag: {type: text, at: 3}\n",
    );
    let widths = [(1, 4), (5, 14), (3, 3)].map(|(from, to)| Width { from, to }).to_vec();
    let dialect = Dialect { delimiter: Delimiter::Widths(widths), quote: None, ..Dialect::STANDARD };
    let expected = Syntax { header: true, comment: Some("*".into()), ..Syntax::of_dialect(dialect) };
    assert_eq!(manifest.datasets[0].csv.syntax, expected);
}

#[test]
fn columns_without_a_field_need_no_place_and_a_place_is_the_only_origin() {
    let manifest = valid(
        "pipeline: p\ndatasets:\n  jobs:\n    key: id\n    columns:\n      file: {type: text, from_file: name}\n      \
         id: {type: integer, at: 1..4}\n      name: {type: text, at: 5..14}\n",
    );
    let dataset = &manifest.datasets[0];
    let shape = Shape::of_file(&manifest, dataset, dataset.csv.syntax.clone());
    assert_eq!(shape.columns, ["id", "name"]);
    let mut out = Vec::new();
    let mut mapping = shape.mapped(dataset).with_values([(0, "jobs.txt".to_owned())]);
    mapping.write(b"0007Clerk", None, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "jobs.txt,0007,Clerk");
    let two =
        "has a place in the line, \"at\", and another origin; a value has one origin; remove one of them";
    assert_faults(
        "pipeline: p\ndatasets:\n  jobs:\n    key: a\n    columns:\n      a: {type: text, at: 1..3, from: 2}\n      \
         b: {type: text, at: 4..6, from: 1}\n      c: {type: text, from_file: name, at: 7..9}\n",
        &[&format!("6:33: a {two}"), &format!("7:33: b {two}"), &format!("8:23: c {two}")],
    );
}

#[test]
fn faulty_places_of_columns_are_named() {
    let text = "pipeline: p\ndatasets:\n  jobs:\n    csv: {quote: \"'\", short_rows: pad}\n    key: id\n    columns:\n      \
                id: {type: integer, at: 1..4}\n      name: text\n      a: {type: text, at: 0..4}\n      b: {type: text, at: 9..4}\n";
    let hint = "write \"1..10\" for the first ten; a line has at most 16777216";
    assert_faults(
        text,
        &[
            "4:11: quote means nothing where columns have \"at\"; remove it, or \"at\" in all columns",
            "4:23: short_rows means nothing where columns have \"at\"; remove it, or \"at\" in all columns",
            "7:27: id has \"at\", but these columns have none: name, a, b; give each column its place in the line, or none",
            &format!("9:27: at must be a range of characters, not \"0..4\"; {hint}"),
            &format!("10:27: at must be a range of characters, not \"9..4\"; {hint}"),
        ],
    );
}

#[test]
fn values_that_no_setting_takes_are_faults() {
    let character = "write one that ends no line, in double quotes: \";\" or \"\\t\"";
    assert_csv_faults(
        "escape: '||', escapes: d, trim: 1, skip_lines: 0, short_rows: maybe",
        &[
            &format!("4:19: escape must be one ASCII character, not \"||\"; {character}"),
            "4:34: escapes must be c, not \"d\"; write c if \"\\n\" means a line feed; leave it out if it means the letter n",
            "4:43: trim must be true or false, not \"1\"; write true or false",
            "4:58: skip_lines must be a number from 1 to 1000000, not \"0\"; write a whole number",
            "4:73: short_rows must be reject or pad, not \"maybe\"; write reject, or pad where the missing last fields of a line are missing values",
        ],
    );
    assert_csv_faults(
        "comment: '', skip: ['(', a], record: '['",
        &[
            "4:20: comment must have 1 to 64 bytes and no line end, not \"\"; write how such lines begin: \"#\"",
            "4:31: \"(\" is no regular expression: unclosed group; the syntax is that of the Rust crate regex",
            "4:48: \"[\" is no regular expression: unclosed character class; the syntax is that of the Rust crate regex",
        ],
    );
    assert_csv_faults(
        "skip: []",
        &["4:17: skip has 0 regular expressions; write 1 to 32; \"a|b\" matches what a or b matches"],
    );
    let long = "delimiter must have 1 to 16 bytes and no line end, not \"12345678901234567\"; write it in double quotes: \";\", \
                \"\\t\" or \"||\"; for runs of blanks write whitespace";
    assert_csv_faults("delimiter: '12345678901234567'", &[&format!("4:22: {long}")]);
}

#[test]
fn settings_that_contradict_each_other_are_faults() {
    let same = "choose another for one of them";
    for (settings, expected) in [
        ("quote: ','", format!("4:11: delimiter and quote are the same; {same}")),
        ("escape: ','", format!("4:11: delimiter and escape are the same; {same}")),
        ("escape: '\"'", "4:11: quote and escape are the same; remove escape: a quote is doubled anyway".into()),
        (
            "delimiter: '|\"|'",
            "4:11: the delimiter holds the quote; choose another quote, or \"quote: none\"".into(),
        ),
        ("delimiter: '|^', escape: '^'", "4:28: the delimiter holds the escape; choose another escape".into()),
        (
            "delimiter: whitespace, quote: ' '",
            format!("4:34: the quote is whitespace, as the delimiter is; {same}"),
        ),
        (
            "comment: '\"#'",
            "4:11: comment begins with the quote, as records may; choose another quote, or \"quote: none\"; or use skip \
             instead"
                .into(),
        ),
        (
            "delimiter: '#|', comment: '#'",
            "4:28: a line whose first field is empty would be a comment; choose a comment that does not begin as the \
             delimiter does; or use skip"
                .into(),
        ),
        (
            "delimiter: whitespace, trim: true",
            "4:34: whitespace as the delimiter leaves blanks out already; remove trim; or write \"delimiter: \
             whitespace\", or a delimiter without blanks"
                .into(),
        ),
        (
            "delimiter: ' | ', trim: true",
            "4:29: the delimiter holds blanks, and trim leaves blanks out; remove trim; or write \"delimiter: \
             whitespace\", or a delimiter without blanks"
                .into(),
        ),
        (
            "delimiter: whitespace, trailing_delimiter: true",
            "4:34: blanks at the end of a line divide nothing where the delimiter is whitespace; remove \
             trailing_delimiter"
                .into(),
        ),
    ] {
        assert_csv_faults(settings, &[&expected]);
    }
    assert_dialect(
        "delimiter: \"\\t\", trim: true",
        &Dialect { delimiter: Delimiter::Byte(b'\t'), trim: true, ..Dialect::STANDARD },
    );
}
