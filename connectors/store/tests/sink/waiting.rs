//! Lines whose references do not exist yet, and their healing.

use tidegate_core::contract::Sink;
use tidegate_testing::company;
use tidegate_testing::store::take_leases;

use super::fixture::{Fixture, delivery, fates};

const EMPLOYEE: &str = "7,Ada,2021-02-03T04:05:06Z,1,2";

#[tokio::test]
async fn a_line_that_the_sink_set_aside_heals_whatever_the_dialect_of_its_dataset() {
    let manifest = "pipeline: p\ndatasets:\n  people:\n    key: id\n    csv: {delimiter: \";\", quote: \"'\", null: none}\n    columns:\n      id: integer\n      name: text\n      boss: {type: integer, references: people, optional: true}\n";
    let fixture = Fixture::new(manifest).await;
    // As the transform writes it: standard quotes, nulls empty.
    fixture.apply(&delivery(&[(0, 1, 1, "2,\"a, 'b'; none\",1"), (0, 1, 2, "3,none,1")])).await.unwrap();
    assert_eq!(fates(&fixture.sink, 1).await, [0, 0, 2, 0]);
    fixture.execute("insert into people values (1, 'boss', null)").await;
    assert_eq!(fixture.sink.heal().await.unwrap(), 2);
    let names = fixture.query("select name from people where id > 1 order by id").await;
    assert_eq!(names, ["a, 'b'; none", "none"]);
}

#[tokio::test]
async fn a_waiting_line_that_breaks_a_rule_of_the_manifest_as_it_is_now_is_rejected() {
    let fixture = Fixture::new(company::MANIFEST).await;
    fixture.apply(&delivery(&[(2, 9, 1, EMPLOYEE)])).await.unwrap();
    fixture.execute("insert into departments values (1, 'a'); insert into jobs values (2, 'b')").await;
    let stricter = company::MANIFEST.replace("name: text", "name: {type: text, min_length: 5}");
    let stricter = fixture.of_manifest(&stricter);
    take_leases(&stricter).await;
    assert_eq!(stricter.heal().await.unwrap(), 1);
    assert_eq!(fixture.letters().await, ["9:1 rejected too_short"]);
    assert_eq!(fates(&fixture.sink, 9).await, [0, 1, 0, 0]);
}
