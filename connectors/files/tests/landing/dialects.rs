//! How files are written, as `init` finds it.

use tidegate_core::manifest::starter::Sample;
use tidegate_core::syntax::{Delimiter, Syntax, Width};

use super::infer::inferred;

fn names(sample: &Sample) -> Vec<&str> {
    sample.columns.iter().map(|column| column.name.as_str()).collect()
}

fn skips(syntax: &Syntax) -> Vec<&str> {
    syntax.skip.iter().map(|pattern| pattern.as_str()).collect()
}

#[tokio::test]
async fn a_delimiter_of_several_characters_is_found_where_its_characters_stand_nowhere_else() {
    let sample = inferred("id||name||x\n1||Ann||\n2||Bob||y\n").await;
    assert_eq!(sample.layout.syntax.dialect.delimiter, Delimiter::Text("||".into()));
    assert_eq!((names(&sample), sample.rows), (vec!["id", "name", "x"], 2));
    let single = inferred("id|x|name\n1||Ann\n2||Bob\n").await;
    assert_eq!(single.layout.delimiter(), b'|', "an empty field is no delimiter");
    let url = inferred("id,url\n1,a::b\n2,c::d\n").await;
    assert_eq!(url.layout.delimiter(), b',', "the header has no ::");
    assert_eq!(inferred("id^name\n1^Ann\n2^Bob\n").await.layout.delimiter(), b'^');
}

#[tokio::test]
async fn runs_of_blanks_are_a_delimiter_if_nothing_else_is() {
    let sample = inferred("id   name  n\n1    Ann   5\n22   Bob   7\n").await;
    assert_eq!(sample.layout.syntax.dialect.delimiter, Delimiter::Whitespace);
    assert_eq!(names(&sample), ["id", "name", "n"]);
    let prose = inferred("Ann Lee\nBob Ray\nCy Fox\n").await;
    assert_eq!(prose.columns.len(), 1, "no field is a number or a time");
}

#[tokio::test]
async fn fields_of_fixed_width_get_their_places_and_that_is_doubted() {
    let short = inferred("0001Ann       20210727\n0002Bob       20210728\n").await;
    assert_eq!(short.columns.len(), 3, "digits before letters are a field of their own");
    let sample = inferred("0001Ann Lee   20210727\n0002Bobby     20210728\n").await;
    let widths = [(1, 4), (5, 14), (15, 22)].map(|(from, to)| Width { from, to });
    assert_eq!(sample.layout.syntax.dialect.delimiter, Delimiter::Widths(widths.to_vec()));
    assert!(sample.layout.doubts.iter().any(|doubt| doubt.contains("check each 'at'")), "{sample:?}");
}

#[tokio::test]
async fn a_backslash_before_quotes_is_an_escape_and_one_before_other_text_is_not() {
    let escaped = inferred("id,name\n1,\"say \\\"hi\\\", ok\"\n2,\"C:\\\\dir\"\n").await;
    assert_eq!(escaped.layout.syntax.dialect.escape, Some(b'\\'));
    assert_eq!((names(&escaped), escaped.rows, escaped.ragged), (vec!["id", "name"], 2, 0));
    let path = inferred("id,path\n1,\"C:\\dir\\\"\n2,\"D:\\\"\n").await;
    assert_eq!((path.layout.syntax.dialect.escape, path.rows), (None, 2), "a path may end in a backslash");
    let copy = inferred("1\tA\\tB\n2\t\\N\n3\tl1\\nl2\n4\tback\\\\slash\n").await;
    let dialect = &copy.layout.syntax.dialect;
    assert_eq!((dialect.quote, dialect.escape, dialect.c_escapes), (None, Some(b'\\'), true));
}

#[tokio::test]
async fn blanks_around_fields_mean_nothing_where_they_are_common() {
    for text in ["id, name\n1, \"Ann, Jr\"\n2, \"Bob\"\n", "id, name\n 1 , Ann \n2,Bob  \n"] {
        let sample = inferred(text).await;
        assert!(sample.layout.syntax.dialect.trim, "{text}");
        assert_eq!((names(&sample), sample.rows), (vec!["id", "name"], 2));
    }
    let seldom: String = (1..50).map(|id| format!("{id},Ann\n")).collect();
    assert!(!inferred(format!("id,name\n{seldom}50, Bob\n")).await.layout.syntax.dialect.trim);
}

#[tokio::test]
async fn apostrophes_are_quotes_where_they_stand_around_fields() {
    let sample = inferred("'id','name'\n'1','Ann, Jr'\n'2','Bob'\n").await;
    assert_eq!((sample.layout.syntax.dialect.quote, names(&sample)), (Some(b'\''), vec!["id", "name"]));
    let names = inferred("id,name\n1,O'Neill\n2,D'Arcy\n").await;
    assert_eq!(names.layout.syntax.dialect.quote, Some(b'"'));
}

#[tokio::test]
async fn last_lines_that_are_no_rows_are_skipped_by_a_pattern() {
    let sample = inferred("id,name\n1,Ann\n2,Bob\n(2 rows)\nTotal,2\n").await;
    assert_eq!(skips(&sample.layout.syntax), ["^\"?Total\\b", "^\\(\\d+ rows\\)$"]);
    assert_eq!((sample.rows, sample.ragged, sample.columns[0].misfits), (2, 0, 0));
    assert!(sample.layout.doubts.iter().any(|doubt| doubt.contains("taken for a sum")));
    assert_eq!(skips(&inferred("id,name\n1,Ann\n2,Totals\n").await.layout.syntax), [] as [&str; 0]);
}

#[tokio::test]
async fn a_table_as_psql_shows_it_is_read() {
    let text = " id | name \n----+------\n  1 | Ann\n  2 | Bob\n(2 rows)\n\n";
    let sample = inferred(text).await;
    let syntax = &sample.layout.syntax;
    assert_eq!((sample.layout.delimiter(), syntax.dialect.trim, syntax.skip.len()), (b'|', true, 2));
    assert_eq!((names(&sample), sample.rows, sample.ragged), (vec!["id", "name"], 2, 0));
}

#[tokio::test]
async fn comments_are_found_and_a_header_that_begins_like_one_is_none() {
    let sample = inferred("# made by x\n# at noon\nid,name\n1,Ann\n# half\n2,Bob\n").await;
    let syntax = &sample.layout.syntax;
    assert_eq!((syntax.comment.as_deref(), syntax.skip_lines), (Some("#"), 0));
    assert_eq!((names(&sample), sample.rows), (vec!["id", "name"], 2));
    let header = inferred("#id,name\n1,Ann\n2,Bob\n").await;
    assert_eq!((header.layout.syntax.comment.as_deref(), names(&header)), (None, vec!["#id", "name"]));
}

#[tokio::test]
async fn rows_among_lines_of_other_kinds_are_told_by_a_pattern() {
    let sample = inferred("H|CLIENTS|202504|3\nD|1|Ann|S|x\nD|2|Bob|N|y\nT|2|12\n").await;
    assert_eq!(sample.layout.syntax.record.as_ref().map(|record| record.as_str()), Some("^D\\|"));
    assert_eq!((sample.rows, sample.header.is_none(), sample.ragged), (2, true, 0));
}

#[tokio::test]
async fn rows_of_another_kind_do_not_hide_the_delimiter() {
    let text = "H|CLIENTS|202504|3\nD|1|Ann|27/04/2025|1.234,56|S\nD|2|Bob|28/04/2025|12,00|N\nT|2|1246,56\n";
    let sample = inferred(text).await;
    assert_eq!((sample.layout.delimiter(), sample.rows, sample.columns.len()), (b'|', 2, 6));
}

#[tokio::test]
async fn an_empty_line_divides_a_title_from_the_table() {
    let sample = inferred("Employees report\nGenerated:,2021-07-27\n\nid,name\n1,Ann\n2,Bob\n").await;
    assert_eq!((sample.layout.syntax.skip_lines, names(&sample), sample.rows), (3, vec!["id", "name"], 2));
    let gap = inferred("id,name\n1,Ann\n\n2,Bob\n3,Cy\n").await;
    assert_eq!((gap.layout.syntax.skip_lines, gap.rows), (0, 3), "an empty line among rows divides nothing");
}

#[tokio::test]
async fn an_encoding_that_no_mark_tells_is_a_setting() {
    let latin = inferred(b"Id;Nombre\n1;Jos\xe9\n2;Mar\xeda\n").await;
    assert_eq!(latin.layout.encoding.as_deref(), Some("windows-1252"));
    assert_eq!(inferred("\u{feff}Id;Nombre\n1;José\n").await.layout.encoding, None);
}
