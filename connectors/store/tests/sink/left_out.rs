//! Rows that triggers leave out, or store elsewhere; and what accepted lines are counted to have done then.

use tidegate_core::contract::Tally;
use tidegate_core::ledger::Effects;

use super::fixture::{Fixture, delivery};

const NOTES: &str = "\
pipeline: p
datasets:
  notes:
    key: id
    columns: {id: integer, note: text}
";

/// Accepted lines: inserted, updated, superseded.
fn effects([inserted, updated, superseded]: [u64; 3]) -> Effects {
    Effects { inserted, updated, superseded, uncounted: 0 }
}

async fn trigger(fixture: &Fixture, when: &str, body: &str) {
    let sql = format!(
        "create function theirs() returns trigger language plpgsql as $$ begin {body} end $$; \
         create trigger theirs {when} on notes for each row execute function theirs()"
    );
    fixture.execute(&sql).await;
}

#[tokio::test]
async fn a_row_that_a_trigger_leaves_out_is_a_dead_letter_that_names_the_table() {
    let fixture = Fixture::new(NOTES).await;
    fixture.execute("create table tried (id integer)").await;
    let body = "insert into tried values (new.id); if new.note = 'out' then return null; end if; return new;";
    trigger(&fixture, "before insert", body).await;
    let lines = [(0, 1, 1, "1,in"), (0, 1, 2, "2,out"), (0, 1, 3, "3,in")];
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    let expected = Tally { accepted: 2, rejected: 1, effects: effects([2, 0, 0]), ..Tally::default() };
    assert_eq!(applied.tallies[0], expected);
    assert_eq!(fixture.letters().await, ["1:2 rejected left_out"]);
    let said = fixture.query("select reasons -> 0 ->> 'message' from tidegate.dead_letters").await;
    assert!(said[0].contains("a trigger of the table \"public\".\"notes\" left the row out"), "{said:?}");
    assert_eq!(fixture.query("select id from tried order by 1").await, ["1", "3"], "what it did is undone");
}

#[tokio::test]
async fn all_rows_may_be_left_out_one_by_one() {
    let fixture = Fixture::new(NOTES).await;
    trigger(&fixture, "before insert", "return null;").await;
    let lines: Vec<_> = (1..=30).map(|line| (0, 1, line, "1,x")).collect();
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!(applied.tallies[0], Tally { rejected: 30, ..Tally::default() });
}

#[tokio::test]
async fn a_line_that_a_newer_one_supersedes_is_not_taken_for_left_out() {
    let fixture = Fixture::new(NOTES).await;
    trigger(&fixture, "before insert or update", "return new;").await;
    fixture.apply(&delivery(&[(0, 5, 1, "1,newer")])).await.unwrap();
    let lines = [(0, 1, 1, "1,older"), (0, 1, 2, "2,a"), (0, 1, 3, "2,b")];
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    let expected = Tally { accepted: 3, effects: effects([1, 0, 2]), ..Tally::default() };
    assert_eq!(applied.tallies[0], expected);
}

/// As tables were partitioned before Postgres could: the parent shows the row of its child.
#[tokio::test]
async fn a_row_that_a_trigger_stores_in_a_child_is_accepted() {
    let fixture = Fixture::new(NOTES).await;
    fixture.execute("create table notes_low (primary key (id)) inherits (notes)").await;
    trigger(&fixture, "before insert", "insert into notes_low select new.*; return null;").await;
    let applied = fixture.apply(&delivery(&[(0, 1, 1, "1,a"), (0, 1, 2, "2,b")])).await.unwrap();
    let expected = Tally { accepted: 2, effects: effects([2, 0, 0]), ..Tally::default() };
    assert_eq!(applied.tallies[0], expected);
    assert_eq!(fixture.query("select note from only notes_low order by id").await, ["a", "b"]);
    let older = fixture.apply(&delivery(&[(0, 2, 1, "3,c"), (0, 2, 2, "2,again")])).await.unwrap();
    assert_eq!((older.tallies[0].accepted, older.tallies[0].rejected), (1, 1), "the child refuses the key");
}

#[tokio::test]
async fn rows_of_a_partitioned_table_are_counted() {
    let fixture = Fixture::new(NOTES).await;
    fixture
        .execute(
            "drop table notes; create table notes (id integer primary key, note text not null, \
             _source bigint not null default -1, _line bigint not null default -1) partition by range (id); \
             create table notes_1 partition of notes for values from (0) to (100); \
             create table notes_2 (note text not null, _line bigint not null default -1, id integer not null, \
             _source bigint not null default -1); \
             alter table notes attach partition notes_2 for values from (100) to (200)",
        )
        .await;
    let lines = [(0, 1, 1, "1,a"), (0, 1, 2, "101,b"), (0, 1, 3, "101,c")];
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    let expected = Tally { accepted: 3, effects: effects([2, 0, 1]), ..Tally::default() };
    assert_eq!(applied.tallies[0], expected);
    let applied = fixture.apply(&delivery(&[(0, 1, 4, "201,none"), (0, 1, 5, "1,z")])).await.unwrap();
    let expected = Tally { accepted: 1, rejected: 1, effects: effects([0, 1, 0]), ..Tally::default() };
    assert_eq!(applied.tallies[0], expected, "no partition has room for one");
    let applied = fixture.apply(&delivery(&[(0, 2, 1, "101,d"), (0, 2, 2, "102,e")])).await.unwrap();
    assert_eq!(applied.tallies[0].effects, effects([1, 1, 0]));
}

#[tokio::test]
async fn lines_that_repeat_a_key_of_their_source_are_counted() {
    let fixture = Fixture::new(NOTES).await;
    let repeated = "select coalesce(sum(repeated_count), 0)::bigint from tidegate.ledger where source = 2";
    fixture.apply(&delivery(&[(0, 1, 1, "1,a"), (0, 1, 2, "2,b")])).await.unwrap();
    // A later delivery of another source repeats nothing.
    fixture.apply(&delivery(&[(0, 2, 1, "1,c"), (0, 2, 2, "2,d"), (0, 2, 3, "3,e")])).await.unwrap();
    assert_eq!(fixture.query(repeated).await, ["0"]);
    fixture.apply(&delivery(&[(0, 2, 4, "3,f"), (0, 2, 5, "4,g"), (0, 2, 6, "4,h")])).await.unwrap();
    assert_eq!(fixture.query(repeated).await, ["2"]);
}

/// A key that a trigger rewrites is written under what it makes of it.
#[tokio::test]
async fn a_trigger_may_change_the_row() {
    let fixture = Fixture::new(NOTES).await;
    trigger(&fixture, "before insert", "new.id := new.id + 100; return new;").await;
    let lines = [(0, 1, 1, "1,a"), (0, 1, 2, "2,b"), (0, 1, 3, "2,c")];
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!(applied.tallies[0].accepted, 3);
    assert_eq!(fixture.query("select note from notes order by id").await, ["a", "c"]);
}
