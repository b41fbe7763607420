//! Columns that come from the number of a field, or from the file itself.

use std::fs::{self, File};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tidegate_core::registry::{Arrival, ArrivalRole, Registry};
use tidegate_core::shape::{Form, Shape};
use tidegate_files::{Body, EnteredSource, Inbox};

use super::Bench;

const MANIFEST: &str = r"
pipeline: test
stable_for: 0s
datasets:
  sales:
    key: id
    csv: {header: true, null: NA}
    columns:
      file: {type: text, from_file: name}
      id: integer
      year: {type: integer, from_path: 'y(\d+)'}
      at: {type: timestamptz, from_file: modified}
";

#[tokio::test]
async fn values_of_the_file_are_in_each_of_its_lines() {
    let mut bench = Bench::with(MANIFEST);
    let path = bench.drop_file("sales-y2021.csv", "ID\n1\n2\n");
    let modified = UNIX_EPOCH + Duration::from_secs(1_627_401_728);
    File::options().append(true).open(path).unwrap().set_modified(modified).unwrap();
    bench.read(1).await;
    let row = |id| format!("sales-y2021.csv,{id},2021,2021-07-27T16:02:08.000000Z");
    assert_eq!(bench.texts(), [row(1), row(2)]);
    assert_eq!(bench.memory.source(1).shape.columns, ["id"]);
    // The file keeps its time in done/.
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["1-sales-y2021.csv"]);
}

#[tokio::test]
async fn a_file_whose_name_lacks_a_value_is_refused_until_it_has_another_name() {
    let mut bench = Bench::with(MANIFEST);
    let path = bench.drop_file("sales-2021.csv", "id\n1\n");
    bench.idle().await;
    let refused = &bench.landing.refused()[&path];
    assert!(refused.contains("'sales-2021.csv'") && refused.contains("from_path: \"y(\\d+)\""), "{refused}");
    assert!(bench.memory.sources().is_empty());
    fs::rename(&path, bench.path("sales-y2022.csv")).unwrap();
    bench.read(1).await;
    assert!(bench.texts()[0].starts_with("sales-y2022.csv,1,2022,"));
}

#[tokio::test]
async fn numbers_place_the_columns_of_files_without_a_header() {
    let mut bench = Bench::with(
        "
pipeline: test
stable_for: 0s
datasets:
  sales:
    key: id
    csv: {columns_unknown: ignore}
    columns: {id: {type: integer, from: 3}, name: {type: text, from: 1}}
",
    );
    bench.drop_file("sales.csv", "Ann,x,1\nBob,x,2,more\nCid,x\n");
    bench.read(1).await;
    assert_eq!((bench.texts(), bench.keys.clone()), (vec!["1,Ann", "2,Bob"], vec!["1".into(), "2".into()]));
    assert_eq!(bench.codes(), ["wrong_column_count"]);
}

/// A source that entered over HTTP, under this name.
async fn entered(bench: &Bench, name: &str, shape: Option<&Shape>, body: Body) -> EnteredSource {
    let dataset = &bench.manifest.datasets[0];
    let own = Shape::of_file(&bench.manifest, dataset, dataset.csv.syntax.clone());
    let arrival = Arrival {
        dataset: &dataset.name,
        name,
        fingerprint: &[1; 32],
        content: &[2; 32],
        bytes: 5,
        role: ArrivalRole::Delivery,
        keys: None,
        shape: shape.unwrap_or(&own),
    };
    let source = bench.memory.register(arrival).await.unwrap().source;
    EnteredSource { source, dataset: 0, name: name.to_owned(), shape: shape.cloned().map(Arc::new), body }
}

#[tokio::test]
async fn an_upload_has_the_values_of_its_name_and_of_the_time_it_came() {
    let mut bench = Bench::with(MANIFEST);
    let inbox = Arc::new(Inbox::default());
    bench.hand_over(inbox.clone());
    let path = bench.dir.path().join("spooled");
    fs::write(&path, "id\n1\n").unwrap();
    let modified = UNIX_EPOCH + Duration::from_secs(1_627_401_728);
    File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
    let content = *blake3::hash(b"id\n1\n").as_bytes();
    let body = Body::File { path, content, known: false, lines: None, keys: None };
    inbox.push(entered(&bench, "y1999", None, body).await);
    bench.read(1).await;
    assert_eq!(bench.texts(), ["y1999,1,1999,2021-07-27T16:02:08.000000Z"]);
}

#[tokio::test]
async fn rows_of_a_request_give_all_columns_themselves() {
    let mut bench = Bench::with(MANIFEST);
    let inbox = Arc::new(Inbox::default());
    bench.hand_over(inbox.clone());
    let shape = Shape::in_form(&bench.manifest, &bench.manifest.datasets[0], Form::Mapped);
    let body = Body::Lines("f,1,2020,2021-07-27T16:02:08Z\n".into());
    inbox.push(entered(&bench, "a key", Some(&shape), body).await);
    bench.poll_until(false, |bench, _| !bench.lines.is_empty()).await;
    assert_eq!(bench.texts(), ["f,1,2020,2021-07-27T16:02:08Z"]);
}
