//! Files whose lines lack their keys, where the dataset's keys are generated.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_core::contract::PollAnswer;
use tidegate_core::manifest::Manifest;
use tidegate_files::{Inbox, Lines, QueuedReload};

use super::Bench;

fn manifest(generated: &str, kind: &str, csv: &str) -> String {
    format!(
        "
pipeline: test
stable_for: 0s
datasets:
  people:
    key: id
    columns: {{id: {{type: {kind}, generated: {generated}}}, name: text}}
    csv: {{{csv}}}
"
    )
}

fn numbers(csv: &str) -> String {
    manifest("{start: 100}", "integer", csv)
}

#[tokio::test]
async fn a_file_whose_header_lacks_the_key_gets_a_key_for_each_line() {
    let mut bench = Bench::with(&numbers("header: true"));
    bench.drop_file("people_a.csv", "name\nAnn\nBob\n");
    bench.drop_file("people_b.csv", "name,id\nCid,\nDot,7\nEve,\n");
    bench.read(2).await;
    assert_eq!(bench.texts(), ["100,Ann", "101,Bob", "102,Cid", "7,Dot", "104,Eve"]);
    assert_eq!(bench.keys, ["100", "101", "102", "7", "104"]);
}

#[tokio::test]
async fn a_file_without_a_header_gets_keys_where_the_field_is_empty() {
    let mut bench = Bench::with(&numbers(""));
    bench.drop_file("people.csv", ",Ann\n5,Bob\n\"\",Cid\nDot\n");
    bench.read(1).await;
    assert_eq!(bench.texts(), ["100,Ann", "5,Bob", "102,Cid"]);
    assert_eq!(bench.codes(), ["wrong_column_count"]);
}

#[tokio::test]
async fn a_key_is_generated_wherever_the_column_has_no_value_by_its_settings() {
    let text =
        manifest("{start: 100}, null: [NA, \"-\"], quoted_null: true, trim: true", "integer", "null: x");
    let mut bench = Bench::with(&text);
    bench.drop_file("people.csv", "NA,Ann\n\"-\",Bob\n\" \",Cid\n7,Dot\n\"8\",Eve\n");
    bench.read(1).await;
    assert_eq!(bench.texts(), ["100,Ann", "101,Bob", "102,Cid", "7,Dot", "\"8\",Eve"]);
}

#[tokio::test]
async fn a_file_whose_lines_all_bring_their_keys_takes_none() {
    let mut bench = Bench::with(&numbers("header: true"));
    bench.drop_file("people_a.csv", "id,name\n1,Ann\n\"2\",Bob\nx\n");
    bench.drop_file("people_b.csv", "name\nCid\n");
    bench.read(2).await;
    assert_eq!(bench.memory.source(1).first_key, None);
    assert_eq!(bench.texts(), ["1,Ann", "\"2\",Bob", "x", "100,Cid"], "as they are");
}

#[tokio::test]
async fn a_line_keeps_its_key_when_its_file_is_read_once_more() {
    for (generated, kind) in [("{start: 100}", "integer"), ("uuid", "uuid")] {
        let mut bench = Bench::with(&manifest(generated, kind, "header: true"));
        bench.drop_file("people.csv", "name\nAnn\nBob\nCid\n");
        bench.read(1).await;
        let before: Vec<String> = bench.texts().iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3, "{before:?}");
        bench.restart(&[]);
        bench.poll_out(false).await;
        assert_eq!(bench.texts(), before);
        let first_key = bench.memory.source(1).first_key;
        let path = bench.path("people.csv");
        let mut lines = Lines::open(&path, "people.csv", &bench.manifest, 0, None, first_key).await.unwrap();
        for text in &before {
            let line = lines.next_line().unwrap().expect("a line");
            assert_eq!(line.ordered, Some(text.as_bytes()), "for whoever inspects the file");
        }
    }
}

#[tokio::test]
async fn a_uuid_stays_the_same_when_the_syntax_of_the_file_is_corrected() {
    let bench = Bench::with(&manifest("uuid", "uuid", "header: true"));
    let path = bench.drop_file("people.csv", "name\nAnn\n");
    let key = async |csv: &str| {
        let manifest = Manifest::parse(&manifest("uuid", "uuid", csv), &|_| None).unwrap();
        let mut lines = Lines::open(&path, "people.csv", &manifest, 0, None, Some(7)).await.unwrap();
        let line = lines.next_line().unwrap().expect("a line");
        String::from_utf8_lossy(line.ordered.expect("its columns are known")).into_owned()
    };
    assert_eq!(key("header: true").await, key("header: true, quote: none, encoding: windows-1252").await);
}

#[tokio::test]
async fn a_reload_of_a_file_that_has_more_lines_than_keys_is_refused() {
    let mut bench = Bench::with(&numbers("header: true"));
    let path = bench.drop_file("people.csv", "name\nAnn\nBob\n");
    bench
        .poll_until(true, |bench, polled| {
            bench.account();
            matches!(polled, PollAnswer::Idle) && !path.exists()
        })
        .await;
    let inbox = Arc::new(Inbox::default());
    bench.hand_over(inbox.clone());
    let (name, content, bytes, source) = ("people.csv".to_owned(), None, None, None);
    let again = QueuedReload {
        reload: 1,
        old_source: 1,
        dataset: 0,
        name,
        content,
        bytes,
        generated_keys: Some(1),
        source,
    };
    inbox.push_reload(again.clone());
    bench.poll_until(true, |bench, _| bench.memory.refused(1).is_some()).await;
    let refused = bench.memory.refused(1).unwrap();
    assert!(
        refused.contains("it has 2 lines, keys were generated for 1, and those behind them"),
        "{refused}"
    );
    inbox.push_reload(QueuedReload { reload: 2, generated_keys: Some(2), ..again });
    bench.lines.clear();
    bench.read(2).await;
    assert_eq!(bench.numbers(), [1, 2]);
}
