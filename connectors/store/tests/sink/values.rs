//! A canonical line means to Postgres what it means here, whatever its fields hold.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tidegate_core::split::write_field;

use super::fixture::{Fixture, delivery};

const MANIFEST: &str =
    "pipeline: p\ndatasets:\n  notes:\n    key: id\n    columns: {id: integer, note: text}\n";

/// How rows are written: straight into the table; through a staging table, because another application holds
/// one of the keys; or one by one, because a check refuses one of them.
const WAYS: [&str; 3] = ["copied", "staged", "one by one"];

fn notes() -> impl Strategy<Value = Vec<String>> {
    let part = prop_oneof![
        3 => prop::sample::select(
            vec!["\"", "\"\"", ",", "\n", "\r", "\r\n", "\\.", "\n\\.\n", "\\", "\\N", "NULL", "'", " ", "\t", "\u{feff}"]
        ).prop_map(str::to_owned),
        2 => "[a-cé]{1,3}",
        1 => prop::char::any().prop_filter("text holds no NUL", |c| *c != '\0').prop_map(String::from),
    ];
    let note = prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat());
    prop::collection::vec(note, 1..80)
}

#[test]
fn whatever_a_field_holds_arrives_as_it_was() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fixture = runtime.block_on(Fixture::new(MANIFEST));
    runtime.block_on(fixture.execute("alter table notes add check (id > 0)"));
    let config = Config { cases: 60, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
    let run = |(notes, way): (Vec<String>, &str)| {
        let arrived = runtime.block_on(write(&fixture, &notes, way));
        prop_assert_eq!(arrived, notes);
        Ok(())
    };
    let cases = (notes(), prop::sample::select(&WAYS[..]));
    TestRunner::new(config).run(&cases, run).unwrap_or_else(|failure| panic!("{failure}"));
}

async fn write(fixture: &Fixture, notes: &[String], way: &str) -> Vec<String> {
    fixture.execute("truncate notes, tidegate.ledger, tidegate.dead_letters").await;
    let line = |id: i64, note: &str| {
        let mut text = format!("{id},").into_bytes();
        write_field(note.as_bytes(), &mut text);
        String::from_utf8(text).unwrap()
    };
    let mut texts: Vec<String> = (1..).zip(notes).map(|(id, note)| line(id, note)).collect();
    match way {
        "copied" => {}
        "staged" => fixture.execute("insert into notes values (1, 'theirs')").await,
        _ => texts.push(line(-1, "refused")),
    }
    let lines: Vec<_> = (1..).zip(&texts).map(|(number, text)| (0, 1, number, text.as_str())).collect();
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!(applied.tallies[0].accepted, notes.len() as u64);
    fixture.query("select note from notes order by id").await
}
