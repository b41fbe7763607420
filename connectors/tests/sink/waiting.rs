//! Lines whose references do not exist yet, and their healing.

use std::time::SystemTime;

use tidegate_core::contract::{Delivery, Sink, Tally};
use tidegate_core::dead_letter::{Code, DeadLetter, Event, Reason, Stage};
use tidegate_core::position::Position;
use tidegate_core::record::Batch;

use super::fixture::{COMPANY, Fixture, delivery};

const EMPLOYEE: &str = "7,Ada,2021-02-03T04:05:06Z,1,2";

fn letter(event: Event, line: u64, text: &str) -> Delivery {
    let reason = Reason::new(Code::UnknownReference, Some("department_id"), "unknown", b"1");
    let made = (event, Stage::Transform);
    let position = Position::new(9, line);
    let letter =
        DeadLetter::new(made, position, "hired_employees", text.as_bytes(), vec![reason], SystemTime::now());
    let mut batch = Batch::default();
    batch.push_with(b"", |out| letter.write(out));
    Delivery { dead_letters: vec![batch], ..Delivery::default() }
}

#[tokio::test]
async fn a_line_waits_for_its_references_and_heals_at_its_own_position() {
    let fixture = Fixture::new(COMPANY).await;
    let applied = fixture.apply(&delivery(&[(2, 9, 1, EMPLOYEE)])).await.unwrap();
    assert_eq!(applied.tallies[2], Tally { waiting: 1, ..Tally::default() });
    assert_eq!(fixture.letters().await, ["9:1 waiting unknown_reference+unknown_reference"]);
    assert_eq!(fixture.sink.heal().await.unwrap(), 0);
    fixture.apply(&delivery(&[(0, 10, 1, "1,Sales")])).await.unwrap();
    assert_eq!(fixture.sink.heal().await.unwrap(), 0, "the job is still missing");
    assert_eq!(fixture.sink.counts(9).await.unwrap(), [0, 0, 1, 0]);
    // Whoever writes the parent.
    fixture.execute("insert into jobs (id, job) values (2, 'Clerk')").await;
    assert_eq!(fixture.sink.heal().await.unwrap(), 1);
    assert_eq!(fixture.rows("hired_employees").await, ["7,Ada,\"2021-02-03 04:05:06+00\",1,2,9,1"]);
    assert_eq!(fixture.sink.counts(9).await.unwrap(), [1, 0, 0, 0]);
    assert!(fixture.letters().await[0].starts_with("9:1 healed"));
    let again = fixture.apply(&delivery(&[(2, 9, 1, EMPLOYEE)])).await.unwrap();
    assert_eq!(again.tallies[2].duplicates, 1);
}

#[tokio::test]
async fn the_sink_decides_references_whatever_the_transform_thought() {
    let fixture = Fixture::new(COMPANY).await;
    fixture
        .execute("insert into departments values (1, 'Sales'); insert into jobs values (2, 'Clerk')")
        .await;
    let applied = fixture.apply(&letter(Event::Waiting, 1, EMPLOYEE)).await.unwrap();
    assert_eq!(applied.tallies[2], Tally { accepted: 1, ..Tally::default() });
    assert_eq!(fixture.rows("hired_employees").await.len(), 1);
    assert!(fixture.letters().await.is_empty());
}

#[tokio::test]
async fn parents_and_children_of_one_batch_need_no_detour() {
    let fixture = Fixture::new(COMPANY).await;
    let lines = [(2, 3, 1, EMPLOYEE), (0, 1, 1, "1,Sales"), (1, 2, 1, "2,Clerk")];
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!(applied.tallies.iter().map(|tally| tally.accepted).sum::<u64>(), 3);
}

#[tokio::test]
async fn a_healed_line_does_not_overwrite_a_newer_one() {
    let fixture = Fixture::new(COMPANY).await;
    fixture.apply(&letter(Event::Waiting, 1, EMPLOYEE)).await.unwrap();
    fixture
        .execute(
            "insert into departments values (1, 'Sales'), (3, 'Legal'); insert into jobs values (2, 'Clerk')",
        )
        .await;
    let newer = EMPLOYEE.replace("Ada", "Newer");
    fixture.apply(&delivery(&[(2, 10, 1, &newer)])).await.unwrap();
    assert_eq!(fixture.sink.heal().await.unwrap(), 1);
    assert!(fixture.rows("hired_employees").await[0].starts_with("7,Newer,"));
    assert_eq!(fixture.sink.counts(9).await.unwrap(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_waiting_line_that_postgres_refuses_when_it_heals_is_rejected() {
    let fixture = Fixture::new(COMPANY).await;
    fixture.apply(&delivery(&[(2, 9, 1, EMPLOYEE)])).await.unwrap();
    fixture
        .execute("alter table hired_employees add check (name <> 'Ada'); insert into departments values (1, 'a'); insert into jobs values (2, 'b')")
        .await;
    assert_eq!(fixture.sink.heal().await.unwrap(), 1);
    assert_eq!(fixture.letters().await, ["9:1 rejected constraint_violation"]);
    assert_eq!(fixture.sink.counts(9).await.unwrap(), [0, 1, 0, 0]);
}

#[tokio::test]
async fn references_within_a_dataset_hold_in_any_order() {
    let manifest = "pipeline: p\ndatasets:\n  people:\n    key: id\n    columns:\n      id: integer\n      boss: {type: integer, references: people, optional: true}\n";
    let lines = [
        (0, 1, 1, "3,2"),
        (0, 1, 2, "2,01"),
        (0, 1, 3, "1,"),
        (0, 1, 4, "5,4"),
        (0, 1, 5, "6,5"),
        (0, 1, 6, "7,7"),
    ];
    for size in [6, 1, 2] {
        let fixture = Fixture::new(manifest).await;
        for group in lines.chunks(size) {
            fixture.apply(&delivery(group)).await.unwrap();
        }
        fixture.sink.heal().await.unwrap();
        let ids = fixture.query("select id from people order by id").await;
        assert_eq!(ids, ["1", "2", "3", "7"], "in groups of {size}");
        assert_eq!(fixture.sink.counts(1).await.unwrap(), [4, 0, 2, 0], "in groups of {size}");
    }
}

#[tokio::test]
async fn a_child_of_a_refused_row_of_its_own_dataset_waits() {
    let manifest = "pipeline: p\ndatasets:\n  people:\n    key: id\n    columns:\n      id: integer\n      boss: {type: integer, references: people, optional: true}\n";
    let fixture = Fixture::new(manifest).await;
    fixture.execute("alter table people add check (id <> 1)").await;
    fixture
        .apply(&delivery(&[(0, 1, 1, "2,1"), (0, 1, 2, "1,"), (0, 1, 3, "3,2"), (0, 1, 4, "4,")]))
        .await
        .unwrap();
    assert_eq!(fixture.query("select id from people").await, ["4"]);
    assert_eq!(
        fixture.letters().await,
        [
            "1:1 waiting unknown_reference",
            "1:2 rejected constraint_violation",
            "1:3 waiting unknown_reference",
        ]
    );
}

#[tokio::test]
async fn a_line_that_the_sink_set_aside_heals_whatever_the_dialect_of_its_dataset() {
    let manifest = "pipeline: p\ndatasets:\n  people:\n    key: id\n    csv: {delimiter: \";\", quote: \"'\", null: none}\n    columns:\n      id: integer\n      name: text\n      boss: {type: integer, references: people, optional: true}\n";
    let fixture = Fixture::new(manifest).await;
    // As the transform writes it: standard quotes, nulls empty.
    fixture.apply(&delivery(&[(0, 1, 1, "2,\"a, 'b'; none\",1"), (0, 1, 2, "3,none,1")])).await.unwrap();
    assert_eq!(fixture.sink.counts(1).await.unwrap(), [0, 0, 2, 0]);
    fixture.execute("insert into people values (1, 'boss', null)").await;
    assert_eq!(fixture.sink.heal().await.unwrap(), 2);
    let names = fixture.query("select name from people where id > 1 order by id").await;
    assert_eq!(names, ["a, 'b'; none", "none"]);
}

#[tokio::test]
async fn a_waiting_line_that_breaks_a_rule_of_the_manifest_as_it_is_now_is_rejected() {
    let fixture = Fixture::new(COMPANY).await;
    fixture.apply(&delivery(&[(2, 9, 1, EMPLOYEE)])).await.unwrap();
    fixture.execute("insert into departments values (1, 'a'); insert into jobs values (2, 'b')").await;
    let stricter = COMPANY.replace("name: text", "name: {type: text, min_length: 5}");
    let stricter = fixture.of_manifest(&stricter);
    super::fixture::take_leases(&stricter).await;
    assert_eq!(stricter.heal().await.unwrap(), 1);
    assert_eq!(fixture.letters().await, ["9:1 rejected too_short"]);
    assert_eq!(fixture.sink.counts(9).await.unwrap(), [0, 1, 0, 0]);
}

#[tokio::test]
async fn rows_that_reference_each_other_are_accepted_though_another_row_is_refused() {
    let manifest = "pipeline: p\ndatasets:\n  people:\n    key: id\n    columns:\n      id: integer\n      boss: {type: integer, references: people, optional: true}\n";
    let fixture = Fixture::new(manifest).await;
    fixture.execute("alter table people add check (id <> 9)").await;
    fixture.apply(&delivery(&[(0, 1, 1, "1,2"), (0, 1, 2, "9,"), (0, 1, 3, "2,1")])).await.unwrap();
    assert_eq!(fixture.query("select id from people order by id").await, ["1", "2"]);
    assert_eq!(fixture.letters().await, ["1:2 rejected constraint_violation"]);
}
