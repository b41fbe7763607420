//! Errors of single rows, whatever their SQLSTATE, and errors of a whole table.

use tidegate_core::contract::Sink;
use tidegate_testing::store::take_leases;

use super::fixture::{Fixture, delivery, fates};

const NOTES: &str = "\
pipeline: p
datasets:
  notes:
    key: id
    columns: {id: integer, note: text}
  others:
    key: id
    columns: {id: integer, name: text}
";

/// A trigger on notes that raises each of some SQLSTATEs for a note of that text.
async fn raising(fixture: &Fixture) {
    fixture
        .execute(
            "create function raising() returns trigger language plpgsql as \
             $$ begin \
             if new.note = 'assert' then assert false, 'no'; end if; \
             if new.note = 'none' then select id into strict new.id from notes where false; end if; \
             if length(new.note) = 5 then raise exception 'no, %', new.id using errcode = new.note; end if; \
             return new; end $$; \
             create trigger raising before insert on notes for each row execute function raising()",
        )
        .await;
}

#[tokio::test]
async fn a_row_is_refused_alone_whatever_its_sqlstate() {
    let fixture = Fixture::new(NOTES).await;
    raising(&fixture).await;
    let notes = [
        "ok", "45000", "P0002", "42501", "XX000", "none", "assert", "0A000", "42P01", "27000", "28000",
        "28P01", "3D000", "F0000", "ok",
    ];
    let texts: Vec<String> = (1..).zip(notes).map(|(id, note)| format!("{id},{note}")).collect();
    let lines: Vec<_> = (1..).zip(&texts).map(|(line, text)| (0, 1, line, text.as_str())).collect();
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!((applied.tallies[0].accepted, applied.tallies[0].rejected), (2, 13));
    assert_eq!(fixture.rows("notes").await, ["1,ok,1,1", "15,ok,1,15"]);
    let said =
        "select reasons -> 0 ->> 'message' from tidegate.dead_letters where line in (2, 6) order by line";
    let no_rows = "Postgres refused the row: query returned no rows";
    assert_eq!(fixture.query(said).await, ["Postgres refused the row: no, 2", no_rows]);
    assert!(fixture.sink.stopped().is_empty());
}

#[tokio::test]
async fn a_policy_refuses_single_rows() {
    let fixture = Fixture::new(NOTES).await;
    fixture
        .execute(
            "create role guarded; grant all on schema tidegate, public to guarded; \
             grant all on all tables in schema tidegate, public to guarded; \
             grant all on all sequences in schema tidegate to guarded; \
             alter table notes enable row level security; \
             create policy p on notes for all to guarded using (true) with check (note <> 'secret')",
        )
        .await;
    let sink = fixture.of_role("guarded");
    take_leases(&sink).await;
    let lines = [(0, 1, 1, "1,fine"), (0, 1, 2, "2,secret"), (0, 1, 3, "3,fine")];
    let applied = sink.apply(&sink.read(&delivery(&lines))).await.unwrap();
    assert_eq!((applied.tallies[0].accepted, applied.tallies[0].rejected), (2, 1));
    let said = fixture.query("select reasons -> 0 ->> 'message' from tidegate.dead_letters").await;
    assert!(said[0].contains("row-level security policy"), "{said:?}");
    fixture.execute("drop owned by guarded; drop role guarded").await;
}

#[tokio::test]
async fn what_an_error_of_the_transaction_leaves_behind_is_no_dead_letter() {
    let fixture = Fixture::new(NOTES).await;
    raising(&fixture).await;
    for state in ["40001", "53100", "57014", "55P03"] {
        let line = format!("1,{state}");
        let applied = fixture.apply(&delivery(&[(0, 1, 1, &line), (0, 1, 2, "2,ok")])).await;
        let error = applied.expect_err(state);
        assert!(error.message.contains(state), "{error}");
        assert_eq!(fixture.letters().await, [""; 0], "{state}");
    }
}

/// They are in flight until the next process.
#[tokio::test]
async fn a_dataset_of_which_every_row_is_refused_alike_stops_and_the_others_go_on() {
    let fixture = Fixture::new(NOTES).await;
    raising(&fixture).await;
    let texts: Vec<String> = (1..=100).map(|id| format!("{id},45000")).collect();
    let of_notes = (1..).zip(&texts).map(|(line, text)| (0, 1, line, text.as_str()));
    let lines: Vec<_> = of_notes.chain([(1, 2, 1, "1,other")]).collect();
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!((applied.tallies[0].rejected, applied.tallies[1].accepted), (0, 1));
    assert_eq!(fixture.letters().await, [""; 0]);
    let stopped = fixture.sink.stopped();
    let message = &stopped[&0];
    for part in ["dataset 'notes'", "each of 100 rows", "SQLSTATE 45000", "next run"] {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
    assert!(!message.contains("no, 1"), "a message that differs may repeat values: {message}");
    // Good ones too, until the next process.
    fixture.apply(&delivery(&[(0, 1, 101, "101,ok"), (1, 2, 2, "2,other")])).await.unwrap();
    assert_eq!(fixture.rows("notes").await, [""; 0]);
    assert_eq!(fixture.rows("others").await, ["1,other,2,1", "2,other,2,2"]);
    assert_eq!(fates(&fixture.sink, 1).await, [0; 4]);
    fixture.execute("drop trigger raising on notes; delete from tidegate.leases").await;
    let next = fixture.another_owner();
    take_leases(&next).await;
    next.apply(&next.read(&delivery(&lines))).await.unwrap();
    assert_eq!(fixture.rows("notes").await.len(), 100);
}

#[tokio::test]
async fn a_few_rows_that_are_refused_in_other_words_each_are_in_the_way_of_none_behind_them() {
    let fixture = Fixture::new(NOTES).await;
    raising(&fixture).await;
    let lines = [(0, 1, 1, "1,45000"), (0, 1, 2, "2,45000"), (0, 1, 3, "3,45000")];
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!(applied.tallies[0].rejected, 3);
    fixture.apply(&delivery(&[(0, 1, 4, "4,ok")])).await.unwrap();
    assert_eq!(fixture.rows("notes").await, ["4,ok,1,4"]);
    // In the same words, it is the table.
    fixture.execute("delete from notes").await;
    let next = fixture.another_owner();
    fixture.execute("delete from tidegate.leases").await;
    take_leases(&next).await;
    let alike = [(0, 2, 1, "1,none"), (0, 2, 2, "2,none")];
    next.apply(&next.read(&delivery(&alike))).await.unwrap();
    assert!(next.stopped().contains_key(&0));
}

#[tokio::test]
async fn rows_that_are_refused_for_their_values_never_stop_a_dataset() {
    let fixture = Fixture::new(NOTES).await;
    fixture.execute("alter table notes add check (note <> 'bad')").await;
    let lines: Vec<_> = (1..=20).map(|line| (0, 1, line, "1,bad")).collect();
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!(applied.tallies[0].rejected, 20);
    assert!(fixture.sink.stopped().is_empty());
}

#[tokio::test]
async fn a_few_rows_are_refused_alone_where_others_were_accepted() {
    let fixture = Fixture::new(NOTES).await;
    raising(&fixture).await;
    fixture.apply(&delivery(&[(0, 1, 1, "1,ok")])).await.unwrap();
    let lines = [(0, 1, 2, "2,45000"), (0, 1, 3, "3,45000")];
    let applied = fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!(applied.tallies[0].rejected, 2);
}

#[tokio::test]
async fn what_a_whole_table_lacks_stops_its_dataset_alone() {
    for (change, said) in [
        ("drop table notes", "is gone"),
        ("alter table notes rename column note to remark", "note is missing"),
        ("create rule r as on insert to notes do also notify notes", "ON CONFLICT"),
    ] {
        let fixture = Fixture::new(NOTES).await;
        fixture.execute(change).await;
        let lines = [(0, 1, 1, "1,ok"), (1, 2, 1, "1,other")];
        let applied = fixture.apply(&delivery(&lines)).await.unwrap();
        assert_eq!(applied.tallies[1].accepted, 1, "{change}");
        let stopped = fixture.sink.stopped();
        assert!(stopped[&0].contains(said), "{change}: {stopped:?}");
        assert_eq!(fixture.letters().await, [""; 0], "{change}");
        assert_eq!(fixture.sink.heal().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_privilege_that_is_missing_stops_its_dataset_alone() {
    let fixture = Fixture::new(NOTES).await;
    fixture
        .execute(
            "create role poor; grant all on schema tidegate, public to poor; \
             grant all on all tables in schema tidegate, public to poor; \
             revoke insert on notes from poor",
        )
        .await;
    let sink = fixture.of_role("poor");
    take_leases(&sink).await;
    let lines = [(0, 1, 1, "1,ok"), (1, 2, 1, "1,other")];
    let applied = sink.apply(&sink.read(&delivery(&lines))).await.unwrap();
    assert_eq!((applied.tallies[0].rejected, applied.tallies[1].accepted), (0, 1));
    assert!(sink.stopped()[&0].contains("permission denied for table notes"), "{:?}", sink.stopped());
    fixture.execute("drop owned by poor; drop role poor").await;
}
