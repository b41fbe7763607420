//! Files with a record of column names.

use tidegate_core::shape::Form;
use tidegate_core::validate::{Scratch, Validators};

use super::Bench;

const MANIFEST: &str = "
pipeline: test
stable_for: 0s
datasets:
  people:
    key: id
    columns: {id: integer, name: text, town: {type: text, optional: true}}
    csv: {header: true, null: 'NULL', delimiter: ';', columns_absent: null}
";

#[tokio::test]
async fn a_header_in_the_manifests_order_lets_lines_pass_as_they_are() {
    let mut bench = Bench::with(MANIFEST);
    bench.drop_file("people.csv", "\u{feff}id;name;town\r\n1;\"Ann\";NULL\r\n2;x\r\n");
    bench.read(1).await;
    assert_eq!((bench.texts(), bench.numbers()), (vec!["1;\"Ann\";NULL", "2;x"], vec![1, 2]));
}

#[tokio::test]
async fn lines_are_put_in_the_manifests_order_and_mean_the_same() {
    let mut bench = Bench::with(MANIFEST);
    bench.drop_file("people.csv", "town;id;name\nNULL;1;\"a;\"\"b\"\"\"\n\"NULL\";2;c\"d\n;3;\"plain\"\n");
    bench.read(1).await;
    assert_eq!(bench.texts(), ["1,\"a;\"\"b\"\"\",NULL", "2,\"c\"\"d\",\"NULL\"", "3,\"plain\","]);
    assert_eq!(bench.keys, ["1", "2", "3"]);
    let validators = Validators::new(&bench.manifest.datasets[0]);
    let mut scratch = Scratch::default();
    let canonical: Vec<_> = bench
        .texts()
        .iter()
        .map(|text| {
            let row = validators.of(Form::Mapped).check(text.as_bytes(), &mut scratch).unwrap();
            String::from_utf8(row.canonical.to_vec()).unwrap()
        })
        .collect();
    assert_eq!(canonical, ["1,\"a;\"\"b\"\"\",", "2,\"c\"\"d\",NULL", "3,plain,"]);
}

#[tokio::test]
async fn optional_columns_may_be_missing() {
    let mut bench = Bench::with(MANIFEST);
    bench.drop_file("people.csv", "name;id\nAnn;1\n");
    bench.read(1).await;
    assert_eq!(bench.texts(), ["1,Ann,"]);
}

#[tokio::test]
async fn a_header_without_an_optional_column_is_refused_unless_that_is_allowed() {
    let mut bench = Bench::with(&MANIFEST.replace(", columns_absent: null", ""));
    let path = bench.drop_file("people.csv", "name;id\nAnn;1\n");
    bench.idle().await;
    let refused = &bench.landing.refused()[&path];
    assert!(refused.contains("lacks the optional column 'town'") && refused.contains("columns_absent: null"));
    assert!(bench.memory.sources().is_empty());
}

#[tokio::test]
async fn lines_that_do_not_fit_the_header_are_dead_letters() {
    let mut bench = Bench::with(MANIFEST);
    bench.drop_file("people.csv", "name;id\nAnn;1;2\nBob;2\n\"open;3\n");
    bench.read(1).await;
    assert_eq!((bench.texts(), bench.numbers()), (vec!["2,Bob,"], vec![2]));
    assert_eq!(bench.codes(), ["wrong_column_count", "invalid_character"]);
    let message = &bench.letters[0]["reasons"][0]["message"];
    assert_eq!(message, "record 1 (physical line 2): the line has 3 fields, the header has 2");
    assert_eq!(bench.letters[0]["text"], "Ann;1;2");
}

#[tokio::test]
async fn a_header_that_does_not_fit_refuses_the_file_until_it_changes() {
    let mut bench = Bench::with(MANIFEST);
    let path = bench.drop_file("people.csv", "\nid;nmae;id\n1;Ann;2\n");
    bench.idle().await;
    assert_eq!(
        bench.landing.refused()[&path],
        "line 2: the header names the column 'id' twice; the header names the column 'nmae', which 'people' does not have, \
         did you mean 'name'?; 'columns_unknown: ignore' in 'csv' of 'people' leaves such fields out; the header lacks the \
         required column 'name'; if 'nmae' is it, write 'from: \"nmae\"' in the column"
    );
    assert!(bench.memory.sources().is_empty());
    bench.drop_file("people.csv", "id;name\n1;Ann\n");
    bench.read(1).await;
    assert_eq!(bench.texts(), ["1,Ann,"]);
    assert!(bench.landing.refused().is_empty());
}

#[tokio::test]
async fn a_file_with_nothing_but_a_header_or_without_one_has_no_lines() {
    let mut bench = Bench::with(MANIFEST);
    bench.drop_file("people_a.csv", "id;name");
    bench.drop_file("people_b.csv", "");
    bench.idle().await;
    assert_eq!(bench.done(), ["1-people_a.csv", "2-people_b.csv"]);
}
