//! Each kind of damage, planted and found.

use serde_json::Value;

use super::{a_move, assert_finds, copy_of_lived_in, count_of, found, letter, lived_in, set};
use crate::company;

/// A source that is registered, and of which the ledger has no line.
const A_SOURCE: &str = "insert into tidegate.sources (source, dataset, kind, name, identity) values \
                        (7, 'jobs', 'file', 'later.csv', 'later')";

fn jobs(change: &str) -> String {
    format!("update tidegate.ledger set {change} where source = 2")
}

fn employee(change: &str, id: u64) -> String {
    format!("update hired_employees set {change} where id = {id}")
}

fn a_letter(source: u64, line: u64) -> String {
    format!(
        "insert into tidegate.dead_letters (source, line, dataset, stage, status, reasons) \
         values ({source}, {line}, 'hired_employees', 'sink', 'rejected', '[]')"
    )
}

mod damage_is_found_where_it_is {
    use super::*;

    tidegate_testing::rows! { is_found:
        none: ("select 1", &[]),
        // registry
        a_source_without_lines: (A_SOURCE, &["registry note@5 nor the 1 behind it", "ledger note 1"]),
        a_source_of_a_dataset_that_is_gone: ("update tidegate.sources set dataset = 'gone' where source = 2", &[
                "registry note@2 'gone' is not in the manifest",
                "registry 2 its shape is that of another dataset's lines",
                "rows 2:1 has no such line of jobs",
            ]),
        a_source_whose_end_is_unknown: ("update tidegate.sources set lines = null where source = 2", &["registry 2 not how many lines", "ledger note 1"]),
        // ledger
        a_source_without_a_ledger: ("delete from tidegate.ledger where source = 2", &["ledger 2:1 lacks this line", "rows 2:1 has no such line"]),
        accepted_lines_that_the_ledger_lacks: (&format!(
                "update tidegate.ledger set accepted = {}, accepted_count = 3 where source = 3",
                set(&[1, 5, 7])
            ), &[
                "ledger 3:1 has 3 accepted lines in this chunk, but counts 4 inserted, 0 updated, 1 superseded",
                "ledger 3:2 lacks this line",
                "ledger 3:6 lacks this line",
                "rows 3:6 has no such line",
            ]),
        a_source_that_ends_later: ("update tidegate.sources set lines = 70000 where source = 2", &["ledger 2:2 and the 65534 behind it", "ledger 2:65537 and the 4463 behind it"]),
        a_line_in_two_sets: (&jobs("rejected = accepted, rejected_count = 1"), &["ledger 2:1 more than one set: accepted, rejected", "dead_letters 2:1 it is no dead letter"]),
        a_count_of_lines_that_is_wrong: (&jobs("accepted_count = 5"), &["ledger 2:1 has 1 lines in this chunk, but 5 are counted"]),
        lines_behind_the_last: (&jobs(&format!("accepted = {}, accepted_count = 3", set(&[1, 2, 3]))), &[
                "ledger 2:1 has 3 accepted lines in this chunk, but counts 1 inserted",
                "ledger 2:2 the last line of its source is 1",
                "ledger 2:3 the last line of its source is 1",
            ]),
        a_set_that_cannot_be_read: (&jobs("accepted = '\\xff'"), &["ledger 2:1 cannot be read", "rows 2:1 has no such line"]),
        a_source_that_is_not_registered: ("insert into tidegate.ledger (source, chunk) values (9, 2)", &["ledger 9:131073 not registered"]),
        a_chunk_that_no_line_is_in: ("insert into tidegate.ledger (source, chunk) values (2, 9223372036854775807)", &["ledger 2:9223372036854710273 no line is in the chunk"]),
        too_many_inserted_lines: (&jobs("inserted_count = 2"), &[
                "ledger 2:1 has 1 accepted lines in this chunk, but counts 2 inserted, 0 updated, 0 superseded",
            ]),
        a_negative_count: (&jobs("inserted_count = 0, uncounted_count = 2, updated_count = -1"), &["ledger 2:1 has 1 accepted lines in this chunk, but counts 0 inserted, -1 updated"]),
        too_many_repeated_lines: (&jobs("repeated_count = 1"), &["ledger 2:1 counts 1 accepted lines that repeat a key, but 0 that"]),
        a_row_that_the_ledger_does_not_count: (&jobs("inserted_count = 0, superseded_count = 1"), &["rows 2:1 1 rows of jobs are of lines in this chunk, but the ledger counts 0 that wrote one"]),
        // rows
        a_row_of_a_rejected_line: (&employee("_line = 3", 1), &["rows 3:3 has the line as rejected"]),
        a_row_of_a_waiting_line: (&employee("_line = 4", 1), &["rows 3:4 has the line as waiting"]),
        two_rows_of_a_line: (&employee("_line = 5", 1), &["rows 3:5 more than one row"]),
        a_row_of_a_line_behind_the_last: (&employee("_line = 8", 1), &["rows 3:8 has no such line of hired_employees"]),
        a_row_of_a_line_of_another_dataset: (&employee("_source = 2", 1), &["rows 2:1 has no such line of hired_employees"]),
        a_row_of_an_unknown_source: (&employee("_source = 99", 1), &["rows 99:1 has no such line"]),
        a_row_of_source_0: (&employee("_source = 0, _line = 0", 1), &["rows 0:0 has no such line"]),
        a_row_of_a_negative_source: (&employee("_source = -1", 1), &["rows -1:1 has no such line"]),
        a_row_of_the_lowest_position: (&employee("_source = -9223372036854775808, _line = -9223372036854775808", 1), &["rows -9223372036854775808:-9223372036854775808 has no such line"]),
        // dead letters
        a_rejected_line_without_a_dead_letter: ("delete from tidegate.dead_letters where line = 3 and source = 3", &["dead_letters 3:3 has it as rejected, but it is no dead letter"]),
        a_waiting_line_without_a_dead_letter: ("delete from tidegate.dead_letters where line = 4", &["dead_letters 3:4 has it as waiting, but it is no dead letter"]),
        a_dead_letter_of_an_accepted_line: (&a_letter(3, 1), &["dead_letters 3:1 is rejected, but the ledger has the line as accepted"]),
        a_dead_letter_of_a_line_that_the_ledger_lacks: (&a_letter(3, 8), &["dead_letters 3:8 is rejected, but the ledger does not have the line"]),
        a_dead_letter_of_an_unknown_source: (&a_letter(99, 1), &["dead_letters 99:1 does not have the line"]),
        a_dead_letter_of_source_0: (&a_letter(0, 0), &["dead_letters 0:0 does not have the line"]),
        a_rejected_line_that_waits: (&letter("status = 'waiting'", 3), &["dead_letters 3:3 is waiting, but the ledger has the line as rejected"]),
        a_waiting_line_that_is_rejected: (&letter("status = 'rejected'", 4), &["dead_letters 3:4 is rejected, but the ledger has the line as waiting"]),
        a_rejected_line_that_is_healed: (&letter("status = 'healed'", 3), &["dead_letters 3:3 is healed"]),
        an_accepted_line_that_is_claimed: (&letter("status = 'claimed'", 7), &["dead_letters 3:7 is claimed, but the ledger has the line as accepted"]),
        a_rejected_line_that_is_discarded: (&letter("status = 'discarded'", 3), &["dead_letters 3:3 is discarded"]),
        a_waiting_line_that_is_replayed: (&letter("status = 'replayed'", 4), &["dead_letters 3:4 is replayed"]),
        a_claimed_line_without_a_replay: (&letter("status = 'claimed'", 3), &["dead_letters 3:3 it is claimed, but no replay of it is under way"]),
        a_replay_of_a_line_that_is_not_claimed: (&a_move(3, "rejected", None), &["dead_letters 3:3 a replay of it is under way, but it is not claimed"]),
        a_line_that_was_claimed_when_it_was_rejected: (&(letter("status = 'claimed'", 4) + ";" + &a_move(4, "rejected", None)), &["dead_letters 3:4 it was claimed when it was rejected, which it is not now"]),
        a_replayed_line_without_a_move: (&letter("status = 'replayed'", 7), &["dead_letters 3:7 it is replayed, but no move of it tells so"]),
        a_healed_line_whose_last_move_says_accepted: (&a_move(7, "rejected", Some("accepted")), &["dead_letters 3:7 it is healed, but its last move says accepted"]),
        a_waiting_line_that_awaits_nothing: (&letter("awaits = null", 4), &["dead_letters 3:4 for nothing that could come"]),
        a_dead_letter_of_another_dataset: (&letter("dataset = 'jobs'", 3), &["dead_letters 3:3 another dataset"]),
        // references, as an application without foreign keys may leave them
        a_reference_to_a_row_that_is_gone: ("delete from departments where id = 2", &[
                "references 3:5 hired_employees.department_id is '2'",
                "references 3:6 hired_employees.department_id is '2'",
            ]),
        // views
        a_store_that_counts_too_much: ("update tidegate.view_hires_by_quarter set n = n + 1, s1 = s1 + 1 where s1 = 1", &[
                "views - missing in the store view_hires_by_quarter: (2021,1,1,1,1,0,0,0)",
                "views - too much in the store view_hires_by_quarter: (2021,1,1,2,2,0,0,0)",
                "views - missing in hires_by_quarter: (2021,Sales,Clerk,1,0,0,0)",
                "views - too much in hires_by_quarter: (2021,Sales,Clerk,2,0,0,0)",
                "views - missing in hires_by_department: (2021,1,Sales,1)",
                "views - too much in hires_by_department: (2021,1,Sales,2)",
                "views - too much in departments_above_mean: (2021,1,Sales,2)",
            ]),
        a_group_of_nothing_in_a_store: ("insert into tidegate.view_hires_by_quarter values (1999, 1, 1, 0, 0, 0, 0, 0)", &[]),
    }

    async fn is_found(sql: &str, expected: &[&str]) {
        let home = copy_of_lived_in().await;
        home.query(sql).await;
        assert_finds(&home, "verify", sql, expected).await;
    }
}

#[tokio::test]
async fn a_view_that_is_replaced_or_missing_is_found() {
    let home = copy_of_lived_in().await;
    home.query(
        "create or replace view departments_above_mean as \
         select 2021 as year, 1 as id, ''::text as department, 1::bigint as hired",
    )
    .await;
    let rows = home.run("verify --format json").await.failed_with(1).rows();
    assert_eq!(found(&rows), ["rows note 2 -", "views violation 1 -", "views violation 1 -"]);
    home.query("drop view departments_above_mean").await;
    let rows = home.run("verify --format json").await.failed_with(1).rows();
    assert_eq!(count_of(&rows, "departments_above_mean is missing"), 1);
}

#[tokio::test]
async fn views_of_every_form_are_compared() {
    let home = company::home().await;
    let view = |name: &str, text: &str| std::fs::write(home.path("sql/views").join(name), text).unwrap();
    view(
        "names_by_year.sql",
        "with named as (select * from hires_by_department)\n\
         select year, json_agg(department order by department) as names from named group by year; -- all\n",
    );
    view("many.sql", "select count(*) from names_by_year -- of years\n");
    view(
        "pay.sql",
        "-- jobs by initial\nselect left(job, 1) as initial, sum(id) / count(*)::numeric as mean from jobs group by 1",
    );
    company::drop_example(&home);
    home.ingest().await;
    home.query("insert into jobs values (9000, 'Zzz'); delete from jobs where id = 9000").await;
    let rows = home.run("verify --format json").await.succeeded().rows();
    assert_eq!(found(&rows), [""; 0], "{rows:#?}");
    for message in ["rows of names_by_year", "rows of many", "groups of the store view_pay", "rows of pay"] {
        assert!(count_of(&rows, message) > 0, "{message}");
    }
    home.query("update tidegate.view_pay set s2 = s2 + 1 where k1 = 'A'").await;
    let rows = home.run("verify --format json").await.failed_with(1).rows();
    assert_eq!(found(&rows), ["views violation 1 -"; 4], "{rows:#?}");
}

#[tokio::test]
async fn every_status_of_a_dead_letter_has_its_place_in_the_ledger() {
    let home = lived_in().await;
    let moved = "insert into tidegate.moves \
        (source, line, kind, attempt, asked_by, status_before, reasons_before, outcome, done_at)";
    for sql in [
        format!(
            "{moved} select source, line, 'replay', 1, 'ann', status, reasons, null, null \
             from tidegate.dead_letters where source = 3 and line in (3, 4); \
             update tidegate.dead_letters set status = 'claimed' where source = 3 and line in (3, 4)"
        ),
        format!(
            "{moved} values (3, 7, 'replay', 1, 'ann', 'rejected', '[]', 'superseded', now()); \
             update tidegate.dead_letters set status = 'replayed' where source = 3 and line = 7"
        ),
        format!(
            "{moved} values (1, 3, 'discard', 0, 'ann', 'rejected', '[]', 'discarded', now()); \
         update tidegate.dead_letters set status = 'discarded' where source = 1 and line = 3; \
         update tidegate.ledger set discarded = rejected, discarded_count = 1, rejected = '', rejected_count = 0 \
         where source = 1"
        ),
    ] {
        home.query(&sql).await;
        home.run("verify").await.succeeded();
    }
}

#[tokio::test]
async fn only_so_many_violations_are_listed_and_the_others_are_counted() {
    let home = lived_in().await;
    home.query(
        "set session_replication_role = replica; \
         insert into jobs select i, 'x', 2, i from generate_series(100, 149) as i; \
         insert into hired_employees select i, 'x', now(), 77, 1 from generate_series(200, 249) as i; \
         delete from tidegate.view_hires_by_quarter; \
         insert into departments select i, 'd' || i from generate_series(200, 249) as i",
    )
    .await;
    let outcome = home.run("verify --format json").await.failed_with(1);
    let rows = outcome.rows();
    for (check, count) in [("rows", 51), ("references", 50)] {
        let of_check = || rows.iter().filter(|row| row["check"] == check && row["result"] == "violation");
        assert_eq!(of_check().count(), 21, "{rows:#?}");
        assert_eq!(of_check().filter_map(|row| row["count"].as_u64()).sum::<u64>(), count);
    }
    assert_eq!(
        rows.iter().find(|row| row["check"] == "rows" && row["position"] != Value::Null).unwrap()["position"],
        "2:100"
    );
}
