//! Headers as programs write them, and what is said of one that does not fit.

use std::sync::Arc;

use tidegate_core::manifest::Manifest;

use super::Bench;

/// A manifest with one dataset, `people`, whose files have a header.
fn manifest(csv: &str, columns: &str) -> String {
    format!(
        "pipeline: test\nstable_for: 0s\ndatasets:\n  people:\n    key: id\n    csv: {{header: true{csv}}}\n    \
         columns: {{{columns}}}\n"
    )
}

const PEOPLE: &str = "id: integer, first_name: {type: text, optional: true}";

/// What came of a file: its lines, or why it was refused.
async fn read(csv: &str, columns: &str, content: impl AsRef<[u8]>) -> Result<Vec<String>, String> {
    let mut bench = Bench::with(&manifest(csv, columns));
    let path = bench.drop_file("people.csv", content);
    bench
        .poll_until(false, |bench, _| bench.memory.finished() == 1 || !bench.landing.refused().is_empty())
        .await;
    match bench.landing.refused().get(&path) {
        Some(why) => Err(why.clone()),
        None => Ok(bench.texts().into_iter().map(str::to_owned).collect()),
    }
}

#[tokio::test]
async fn names_as_programs_write_them_are_the_columns() {
    for content in [
        "\u{feff}\"id\",\"first_name\"\r\n1,Ann\r\n",
        "ID,First Name\n1,Ann\n",
        "\"Id\",First-Name \n1,Ann\n",
        "first.name,id\nAnn,1\n",
    ] {
        assert_eq!(read("", PEOPLE, content).await.unwrap(), ["1,Ann"], "{content}");
    }
    let columns = "id: integer, anio: {type: integer, from: Año}, email: text";
    let latin = "id,Año,E-mail\n1,1999,a@b.c\n";
    assert_eq!(read("", columns, latin).await.unwrap(), ["1,1999,a@b.c"]);
}

#[tokio::test]
async fn a_delimiter_that_ends_each_line_is_recognised_by_the_header() {
    let mut bench = Bench::with(&manifest(", delimiter: ';'", PEOPLE));
    bench.drop_file("people.csv", "id;first_name;\n1;Ann;\n2;Bob\n3;Cid;x\n");
    bench.read(1).await;
    assert_eq!((bench.texts(), bench.numbers()), (vec!["1,Ann", "2,Bob"], vec![1, 2]));
    assert_eq!(
        bench.codes(),
        ["wrong_column_count"],
        "what follows the last delimiter is no value of a column"
    );
    assert!(bench.memory.source(1).shape.syntax.trailing_delimiter);
}

#[tokio::test]
async fn fields_that_the_table_does_not_need_are_left_out_if_the_manifest_says_so() {
    let content = "x,id,,FIRST NAME,x\n7,1,8,Ann,9\n";
    assert_eq!(read(", columns_unknown: ignore", PEOPLE, content).await.unwrap(), ["1,Ann"]);
    let refused = read("", PEOPLE, content).await.unwrap_err();
    assert!(refused.contains("'x'") && refused.contains("columns_unknown: ignore"), "{refused}");
}

#[tokio::test]
async fn an_unnamed_first_column_is_read_by_its_empty_name() {
    let columns = "id: {type: integer, from: ''}, a: text";
    assert_eq!(read("", columns, "\"\",\"a\"\n\"1\",x\n\"2\",y\n").await.unwrap(), ["\"1\",x", "\"2\",y"]);
}

#[tokio::test]
async fn a_header_that_is_repeated_is_no_line() {
    let mut bench = Bench::with(&manifest("", PEOPLE));
    bench.drop_file(
        "people.csv",
        "Id,First Name\n1,Ann\nId,First Name\n2,Bob\nid,first name\nId,First Name\n",
    );
    bench.read(1).await;
    assert_eq!((bench.texts(), bench.numbers()), (vec!["1,Ann", "2,Bob", "id,first name"], vec![1, 2, 3]));
    let source = bench.memory.source(1);
    assert_eq!(source.lines, Some(3));
    assert_eq!(source.skipped.unwrap().to_string(), "header 3");
}

#[tokio::test]
async fn a_source_of_before_headers_were_recognised_again_keeps_the_numbers_of_its_lines() {
    let mut bench = Bench::with(&manifest("", PEOPLE));
    let content = "id,first_name\n1,Ann\nid,first_name\n2,Bob\n";
    bench.drop_file("people.csv", content);
    bench.read(1).await;
    assert_eq!(bench.numbers(), [1, 2]);
    bench.memory.change_shape(1, |shape| shape.syntax.repeated_header = false);
    bench.restart(&[]);
    bench.poll_until(false, |bench, _| bench.memory.source(1).lines == Some(3)).await;
    assert_eq!((bench.numbers(), bench.memory.sources().len()), (vec![1, 2, 3], 1));
    bench.account();
    bench.idle().await;
    let path = bench.drop_file("people.csv", content);
    bench.poll_until(true, |_, _| !path.exists()).await;
    assert_eq!(
        (bench.memory.sources().len(), bench.landing.passed_over().len()),
        (1, 1),
        "it is the file of before"
    );
}

#[tokio::test]
async fn a_source_is_read_further_by_the_names_that_it_had() {
    let mut bench = Bench::with(&manifest("", PEOPLE));
    bench.drop_file("people.csv", "First Name,ID\nAnn,1\nBob,2\n");
    bench.read(1).await;
    let exact = manifest(", header_match: exact", PEOPLE);
    bench.manifest = Arc::new(Manifest::parse(&exact, &|_| None).unwrap());
    bench.restart(&[]);
    bench.poll_until(false, |bench, _| bench.lines.len() == 2).await;
    assert_eq!(bench.texts(), ["1,Ann", "2,Bob"]);
    assert!(bench.landing.refused().is_empty());
}

#[tokio::test]
async fn a_header_behind_other_lines_is_found_for_the_message() {
    let content = "Report of May\n\n\nid,First Name\n1,Ann\n";
    let refused = read("", PEOPLE, content).await.unwrap_err();
    assert!(
        refused.starts_with("line 1: line 4 seems to hold the names: set 'skip_lines: 3' in csv"),
        "{refused}"
    );
    let far = format!("{}id,first_name\n1,Ann\n", "x\n".repeat(30));
    let refused = read("", PEOPLE, far).await.unwrap_err();
    assert!(!refused.contains("skip_lines"), "{refused}");
}

#[tokio::test]
async fn a_header_that_another_delimiter_divides_says_which() {
    for (content, delimiter) in [
        ("id;first_name\n1;Ann\n", "\";\""),
        ("id\tFirst Name\tmore\n1\tAnn\tx\n", "\"\\t\""),
        ("\"id\"|\"x\"\n1|2\n", "\"|\""),
    ] {
        let refused = read("", PEOPLE, content).await.unwrap_err();
        assert!(refused.contains(&format!("csv: {{delimiter: {delimiter}}}")), "{refused}");
    }
}

#[tokio::test]
async fn a_header_that_is_not_utf8_says_how_to_name_its_encoding() {
    let refused = read("", PEOPLE, b"id,a\xf1o\n1,2\n").await.unwrap_err();
    assert!(refused.contains("'encoding: windows-1252'"), "{refused}");
}
