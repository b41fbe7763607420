//! How many lines of a source are no records.

use tidegate_core::registry::Registry;
use tidegate_core::split::SkippedLines;
use tidegate_store::receipts;

use super::fixture::Fixture;

const NOTES: &str = "pipeline: p\ndatasets:\n  notes:\n    key: id\n    columns: {id: integer}\n";

#[tokio::test]
async fn the_counts_of_a_source_are_in_its_receipt_and_stay_if_they_are_not_known_later() {
    let fixture = Fixture::new(NOTES).await;
    let skipped =
        async |source: u64| receipts::of_sources(&fixture.sink, &[source]).await.unwrap().remove(0).skipped;
    assert_eq!(skipped(1).await, None);
    let counts = SkippedLines { header: 3, blank: 2, ..SkippedLines::default() };
    fixture.sink.finish(1, 7, Some(&counts)).await.unwrap();
    fixture.sink.finish(2, 7, Some(&SkippedLines::default())).await.unwrap();
    assert_eq!(skipped(1).await, Some(counts));
    assert_eq!(skipped(2).await, Some(SkippedLines::default()));
    fixture.sink.finish(1, 6, None).await.unwrap();
    assert_eq!(skipped(1).await, Some(counts));
    let stored = fixture.query("select skipped from tidegate.sources where source < 4 order by source").await;
    assert_eq!(stored, ["{\"blank\": 2, \"header\": 3}", "{}", "null"]);
}
