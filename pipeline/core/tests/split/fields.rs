//! Records to fields, in every dialect.

use tidegate_core::split::Fields;
use tidegate_core::syntax::{Delimiter, Dialect, Syntax, Width};

#[test]
fn fields_are_divided_at_delimiters_outside_quotes() {
    let mut fields = Fields::default();
    for (text, expected) in [
        ("", &[("", false)][..]),
        (",", &[("", false), ("", false)]),
        ("1,abcdefgh,,", &[("1", false), ("abcdefgh", false), ("", false), ("", false)]),
        ("\"\",\"a,b\"", &[("", true), ("a,b", true)]),
        ("\"a\"\"b\",c\"d\"", &[("a\"b", true), ("c\"d\"", false)]),
    ] {
        fields.split(text.as_bytes(), &Dialect::STANDARD).unwrap();
        let found: Vec<_> =
            (0..fields.len()).map(|i| (fields.get(i, text.as_bytes()), fields.is_literal(i))).collect();
        let expected: Vec<_> = expected.iter().map(|(field, quoted)| (field.as_bytes(), *quoted)).collect();
        assert_eq!(found, expected, "{text}");
    }
    let unclosed = fields.split(b"1,\"a\"\"", &Dialect::STANDARD).unwrap_err();
    assert_eq!(unclosed.field, 2);
    let astray = fields.split(b"\"a\",\"b\"x", &Dialect::STANDARD).unwrap_err();
    assert!(astray.to_string().starts_with("the quote that opens field 2 closes before the field ends"));
}

#[test]
fn a_quote_behind_a_blank_begins_no_value() {
    let mut fields = Fields::default();
    for text in ["1, \"Ann\"", "1,\t\"Ann\",2", "1,  \"Ann"] {
        let padded = fields.split(text.as_bytes(), &Dialect::STANDARD).unwrap_err();
        assert_eq!(padded.field, 2, "{text}");
        assert!(
            padded.to_string().starts_with("the quote that opens field 2 stands behind a blank"),
            "{padded}"
        );
    }
    for text in ["1, a \"b\"", "1,\" \"\"a\"\"\"", "1,5\" pipe"] {
        fields.split(text.as_bytes(), &Dialect::STANDARD).unwrap();
    }
    fields.split(b"1, \"a\"", &Syntax::of_bytes(b',', b'\'').dialect).unwrap();
}

/// The fields of a record: each as a text, and whether it is literal. An error is its message.
fn fields(text: &str, dialect: &Dialect) -> Result<Vec<(String, bool)>, String> {
    let mut fields = Fields::default();
    fields.split(text.as_bytes(), dialect).map_err(|error| error.to_string())?;
    let text_of = |i| String::from_utf8(fields.get(i, text.as_bytes()).to_vec()).unwrap();
    Ok((0..fields.len()).map(|i| (text_of(i), fields.is_literal(i))).collect())
}

/// Asserts the fields of records. A field that begins with `!` is literal.
#[track_caller]
fn assert_fields(dialect: &Dialect, cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        let field = |field: &&str| match field.strip_prefix('!') {
            Some(literal) => (literal.to_owned(), true),
            None => ((*field).to_owned(), false),
        };
        let expected: Vec<_> = expected.iter().map(field).collect();
        assert_eq!(fields(text, dialect), Ok(expected), "{text:?}");
    }
}

fn of_text(delimiter: &str) -> Dialect {
    Dialect { delimiter: Delimiter::Text(delimiter.to_owned()), ..Dialect::STANDARD }
}

#[test]
fn a_delimiter_may_have_several_bytes() {
    assert_fields(
        &of_text("||"),
        &[
            ("", &[""]),
            ("1||Ann", &["1", "Ann"]),
            ("||", &["", ""]),
            ("1|2||a|||b", &["1|2", "a", "|b"]),
            ("\"a||b\"||\"c\"\"\"", &["!a||b", "!c\""]),
            ("x|\"y\"||2", &["x|\"y\"", "2"]),
        ],
    );
    assert_fields(&of_text("→"), &[("1→é→", &["1", "é", ""]), ("\"→\"→2", &["!→", "2"])]);
    assert!(fields("\"a\"|\"b\"", &of_text("||")).unwrap_err().contains("closes before the field ends"));
}

#[test]
fn runs_of_blanks_and_tabs_divide_fields_and_none_at_the_ends() {
    let dialect = Dialect { delimiter: Delimiter::Whitespace, ..Dialect::STANDARD };
    assert_fields(
        &dialect,
        &[
            ("", &[]),
            (" \t ", &[]),
            ("1 2", &["1", "2"]),
            ("  1 \t 2  ", &["1", "2"]),
            (" \"a  b\"\t\"\" c ", &["!a  b", "!", "c"]),
            ("a\"b 2", &["a\"b", "2"]),
        ],
    );
    let escaping = Dialect { escape: Some(b'\\'), ..dialect };
    assert_fields(&escaping, &[(r"a\ b  \\ c", &["!a b", r"!\", "c"])]);
}

#[test]
fn fields_of_fixed_width_have_their_places_in_the_line() {
    let widths = [(1, 4), (5, 14), (15, 22), (1, 2)].map(|(from, to)| Width { from, to });
    let dialect = Dialect { delimiter: Delimiter::Widths(widths.to_vec()), quote: None, ..Dialect::STANDARD };
    assert_fields(
        &dialect,
        &[
            ("0001Ann       20210727", &["0001", "Ann", "20210727", "00"]),
            ("  7 Zoë \"Z\"   20210728 and more", &["7", "Zoë \"Z\"", "20210728", ""]),
            ("ééé", &["ééé", "", "", "éé"]),
            ("0001An", &["0001", "An", "", "00"]),
            ("", &["", "", "", ""]),
        ],
    );
}

#[test]
fn without_a_quote_quotes_are_data() {
    let dialect = Dialect { quote: None, ..Dialect::STANDARD };
    assert_fields(&dialect, &[("\"a,b\", \"c", &["\"a", "b\"", " \"c"])]);
    let tabs = Dialect { delimiter: Delimiter::Byte(b'\t'), ..dialect };
    assert_fields(&tabs, &[("5\" pipe\t\"\t", &["5\" pipe", "\"", "!"])]);
}

#[test]
fn an_escape_takes_its_meaning_from_the_next_byte() {
    let dialect = Dialect { escape: Some(b'\\'), ..Dialect::STANDARD };
    assert_fields(
        &dialect,
        &[
            (r#"1,"say \"hi\"""#, &["1", r#"!say "hi""#]),
            (r#"1,"say ""hi"", \\""#, &["1", r#"!say "hi", \"#]),
            (r"a\,b,\n,c\\", &["!a,b", "!n", r"!c\"]),
            (r#"\"a,b"#, &[r#"!"a"#, "b"]),
            ("a\\\nb,\"c\\\nd\"", &["!a\nb", "!c\nd"]),
            ("a\\\r\nb,2", &["!a\r\nb", "2"]),
            (r"\N,\NULL,x\N", &[r"\N", "!NULL", "!xN"]),
        ],
    );
    let dangling = "nothing stands behind the escape that ends field 2: what it belongs to is cut off, or is a line that is too \
                    long; double the escape if it is a part of the value";
    for text in [r"1,a\", r"1,\", r"1,a\\\"] {
        assert_eq!(fields(text, &dialect).unwrap_err(), dangling, "{text}");
    }
    for unclosed in [r#"1,"a\""#, r#"1,"a\"#] {
        assert!(fields(unclosed, &dialect).unwrap_err().contains("field 2 never closes"), "{unclosed}");
    }
    assert!(fields(r#""a"\,b"#, &dialect).unwrap_err().contains("closes before the field ends"));
}

#[test]
fn letters_behind_an_escape_mean_what_they_mean_in_c() {
    let (tab, escape) = (Delimiter::Byte(b'\t'), Some(b'\\'));
    let dialect = Dialect { delimiter: tab, escape, c_escapes: true, ..Dialect::STANDARD };
    assert_fields(
        &dialect,
        &[
            (r"\N	\\N	a\tb\nc", &[r"\N", r"!\N", "!a\tb\nc"]),
            (r"\r\b\f\v\\\q\é", &["!\r\u{8}\u{c}\u{b}\\qé"]),
            (r"\x41\x4\x4G\xg\101\60\4777\8", &["!A\u{4}\u{4}GxgA0'778"]),
            (r"\xc3\xa9 \303\251	\	2", &["!é é", "!\t2"]),
            (r#""\x22\x09"	"\\""#, &["!\"\t", r"!\"]),
        ],
    );
    let nul = "an escape in field 2 makes a NUL, which Postgres cannot store; remove it, or leave 'escapes: c' out of \
               'csv' if it is meant as it stands";
    for text in [r"1	\0", r"1	a\x00b", r#"1	"\000""#] {
        assert_eq!(fields(text, &dialect).unwrap_err(), nul, "{text}");
    }
    let not_utf8 = "the escapes in field 1 make bytes that are not UTF-8; write the characters themselves, or their \
                    bytes in UTF-8";
    for text in [r"\xe9", r"é\xc3", r#""\351t""#] {
        assert_eq!(fields(text, &dialect).unwrap_err(), not_utf8, "{text}");
    }
}

#[test]
fn trimming_leaves_out_blanks_around_fields_and_around_their_quotes() {
    let dialect = Dialect { trim: true, ..Dialect::STANDARD };
    assert_fields(
        &dialect,
        &[
            ("1, \"Ann, Jr\"", &["1", "!Ann, Jr"]),
            (" 1 ,\t\" Bob \"  , x y ,", &["1", "! Bob ", "x y", ""]),
            ("  ,", &["", ""]),
            ("1 , 5\" pipe ", &["1", "5\" pipe"]),
        ],
    );
    assert!(fields("1, \"a\" b", &dialect).unwrap_err().contains("closes before the field ends"));
    let tabs = Dialect { delimiter: Delimiter::Byte(b'\t'), ..dialect.clone() };
    assert_fields(&tabs, &[(" 1 \t \"a\" \t\t ", &["1", "!a", "", ""])]);
    let escaping = Dialect { escape: Some(b'\\'), ..dialect.clone() };
    assert_fields(&escaping, &[(r" a\  , \ b , c\\ ", &["!a ", "! b", r"!c\"])]);
    let texts = Dialect { delimiter: Delimiter::Text("||".into()), ..dialect };
    assert_fields(&texts, &[("1 || \"a||b\" ||", &["1", "!a||b", ""])]);
}

#[test]
fn a_padded_quote_names_the_setting_that_helps() {
    let expected = "the quote that opens field 2 stands behind a blank, which makes it a part of the value; if blanks \
                    around fields mean nothing, set 'trim: true' in 'csv', or write the field in quotes with each quote \
                    inside doubled";
    assert_eq!(fields("1, \"Ann\"", &Dialect::STANDARD).unwrap_err(), expected);
    assert_eq!(fields("1|| \"Ann\"", &of_text("||")).unwrap_err(), expected);
}
