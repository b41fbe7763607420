//! `tidegate verify --deep`: files against what became of their lines.

use super::{a_move, assert_finds, copy_of_lived_in, count_of, found, letter, lived_in, set};
use crate::company;
use crate::home::Home;

fn with_triggers(sql: &str) -> String {
    format!("set session_replication_role = origin; {sql}; set session_replication_role = replica")
}

fn reasons(code: &str) -> String {
    format!("'[{{\"code\": \"{code}\", \"column\": null, \"message\": \"\", \"value\": \"\"}}]'")
}

mod a_file_is_held_against_what_became_of_its_lines {
    use super::*;

    tidegate_testing::rows! { and_tells:
        a_row_that_others_changed: ("update departments set department = 'Renamed' where id = 1", &["files note:1:1 changed by others: its row has other values"]),
        a_row_that_others_deleted: (&with_triggers("delete from hired_employees where id = 1"), &["files note:3:1 changed by others: its row is gone"]),
        a_row_that_another_writer_holds: ("update departments set _source = -1, _line = -1 where id = 2", &["files note:1:2 changed by others: another writer holds its row"]),
        a_row_of_an_older_line: ("update hired_employees set _line = 2 where id = 2", &[
                "files 3:6 the row of its key is that of the older line 3:2",
                "files note:3:2 changed by others: its row has other values",
            ]),
        an_accepted_line_that_breaks_the_rules: (&format!(
                "delete from tidegate.dead_letters where source = 3 and line = 3; update tidegate.ledger \
                 set accepted = {}, accepted_count = 6, inserted_count = 5, rejected = '', rejected_count = 0 \
                 where source = 3",
                set(&[1, 2, 3, 5, 6, 7])
            ), &["files 3:3 is accepted, but it breaks missing_value"]),
        a_rejected_line_that_keeps_the_rules: (&format!(
                "{}; insert into tidegate.dead_letters (source, line, dataset, stage, status, text, reasons, shape) \
                 select 3, 1, 'hired_employees', 'transform', 'rejected', '1,Ada,2021-03-01T00:00:00Z,1,1', {}, shape \
                 from tidegate.sources where source = 3; \
                 update tidegate.ledger set accepted = {}, accepted_count = 4, superseded_count = 0, \
                 repeated_count = 0, rejected = {}, rejected_count = 2 where source = 3",
                with_triggers("delete from hired_employees where id = 1"),
                reasons("missing_value"),
                set(&[2, 5, 6, 7]),
                set(&[1, 3])
            ), &["files 3:1 is rejected for missing_value, but it keeps the rules"]),
        a_rejected_text_that_was_changed: (&letter("text = 'other'", 3), &["files 3:3 its dead letter holds another text"]),
        a_waiting_text_that_was_changed: (&letter("text = 'other'", 4), &["files 3:4 its dead letter holds another text"]),
        a_healed_text_that_was_changed: (&letter("text = 'other'", 7), &["files 3:7 its dead letter holds another text"]),
        a_line_that_another_stage_let_wait: (&letter("stage = 'sink'", 4), &[]),
        a_rejected_line_with_another_reason: (&letter(&format!("reasons = {}", reasons("too_long")), 3), &["files 3:3 is rejected for too_long, but it breaks missing_value"]),
        a_text_that_was_edited_and_replayed: (&(letter("status = 'replayed', text = 'edited'", 7) + ";" + &a_move(7, "waiting", Some("accepted"))), &["files note 1"]),
        a_text_that_is_edited_and_claimed: (&(letter("status = 'claimed', text = 'edited'", 3) + ";" + &a_move(3, "rejected", None)), &["files note 1"]),
        a_text_that_was_edited_and_refused: (&letter("attempt = 1, text = 'edited', reasons = '[]'", 3), &["files note 1"]),
        a_source_with_more_lines_than_its_file: ("update tidegate.sources set lines = 8 where source = 3", &["ledger 3:8 lacks this line", "files 3 the file has 7 lines, the source 8"]),
        a_source_with_other_lines_that_are_no_records: ("update tidegate.sources set skipped = '{\"comment\": 2}' where source = 3", &["files 3 the file has skipped lines: none; the source: comment 2"]),
        a_source_whose_skipped_lines_were_not_counted: ("update tidegate.sources set skipped = null", &[]),
    }

    async fn and_tells(sql: &str, expected: &[&str]) {
        let home = copy_of_lived_in().await;
        home.query(sql).await;
        assert_finds(&home, "verify --deep", sql, expected).await;
    }
}

#[tokio::test]
async fn each_line_of_a_file_is_held_against_what_became_of_it() {
    let home = lived_in().await;
    let rows = home.run("verify --deep --format json").await.succeeded().rows();
    assert_eq!(found(&rows), ["rows note 2 -"], "{rows:#?}");
    for (count, message) in [
        (4, "files of done/"),
        (12, "lines of theirs"),
        (8, "accepted lines that stand in their row"),
        (1, "accepted lines whose row is a newer line's"),
    ] {
        assert_eq!(count_of(&rows, message), count, "{message}: {rows:#?}");
    }
    let done = |name: &str| home.path("landing/done").join(name);
    let jobs = std::fs::read(done("2-jobs.csv")).unwrap();
    // As long as it was: what is written behind the end of a file is a violation.
    std::fs::write(done("2-jobs.csv"), jobs.to_ascii_uppercase()).unwrap();
    let edited = ["files note:2 'jobs.csv' is not compared: its content is not what was registered"];
    assert_finds(&home, "verify --deep", "an edited file", &edited).await;
    std::fs::write(done("2-jobs.csv"), jobs).unwrap();
    assert_finds(&home, "verify --deep", "the file is as it was", &[]).await;
    std::fs::rename(done("2-jobs.csv"), done("jobs.csv")).unwrap();
    let renamed = ["files note 1", "files note:- 'jobs.csv' is in done/, but of no source"];
    assert_finds(&home, "verify --deep", "a file that is elsewhere", &renamed).await;
}

#[tokio::test]
async fn values_are_compared_as_postgres_means_them() {
    let manifest = "\
pipeline: types
stable_for: 10ms
max_record_bytes: 1KiB
datasets:
  all_types:
    key: id
    csv: {delimiter: ';', quote: \"'\", null: none, header: true}
    columns:
      id: {type: 'numeric(10,2)'}
      word: {type: 'varchar(10)', optional: true}
      note: {type: text, optional: true}
      small: {type: smallint, optional: true}
      big: {type: bigint, optional: true}
      ratio: {type: real, optional: true}
      exact: {type: double, optional: true}
      day: {type: date, optional: true}
      hour: {type: time, optional: true}
      local: {type: timestamp, optional: true}
      instant: {type: timestamptz, optional: true}
      truth: {type: boolean, optional: true}
      code: {type: uuid, optional: true}
      extra: {type: jsonb, optional: true}
      boss: {type: 'numeric(10,2)', optional: true, references: all_types}
";
    let home = Home::new(manifest).await;
    let header = "word;id;note;small;big;ratio;exact;day;hour;local;instant;truth;code;extra;boss\n";
    let mut file = header.as_bytes().to_vec();
    let long = "x".repeat(2000);
    for line in [
        "a;1;'it''s; \"so\"\nand so';+07;-9;0.1;1e2;2021-03-04;04:05;2021-03-04T05:06:07;2021-03-04T05:06:07.5+02:00;yes;\
         A0EEBC999C0B4EF8BB6D6BB9BD380A11;{\"b\": 1, \"a\": [1.50]};none",
        "none;1.50;'none';;;;;;;;;off;;;1.0",
        "a;1.5;;;;;;;;;;;;;01.00",
        "too long a word;2;;;;;;;;;;;;;",
        "x;2;'open;;;;;;;;;;;;",
        "x;3;;;;;;;;;;;;;99",
        "x;4;;;",
        "refused;5;;;;;;;;;;;;;",
        long.as_str(),
    ] {
        file.extend_from_slice(line.as_bytes());
        file.push(b'\n');
    }
    file.extend_from_slice(b"x;6;\xff;;;;;;;;;;;;\nx;7;a\0b;;;;;;;;;;;;\n");
    home.drop("all_types_none.csv", header);
    home.ingest().await;
    home.query("alter table all_types add check (word <> 'refused')").await;
    home.drop("all_types.csv", file);
    home.ingest().await;
    let fates = "select accepted_count, rejected_count, waiting_count from tidegate.ledger where source = 2";
    assert_eq!(home.query(fates).await, ["3|7|1"], "{:?}", home.dead_letters().await);
    let rows = home.run("verify --deep --format json").await.succeeded().rows();
    assert_eq!(found(&rows), [""; 0], "{rows:#?}");
    assert_eq!(count_of(&rows, "lines of theirs"), 11);
    assert_eq!(count_of(&rows, "accepted lines that stand in their row"), 2);
    assert_eq!(count_of(&rows, "accepted lines whose row is a newer line's"), 1);
    home.query("update all_types set extra = '{\"a\": [1.5], \"b\": 2}' where id = 1").await;
    assert_finds(&home, "verify --deep", "a changed document", &["files note:2:1 other values"]).await;
}

#[tokio::test]
async fn a_file_that_came_again_behind_a_source_closed_early_is_compared() {
    let home = company::home().await;
    let file = "1,Sales\n2,Legal\n3,Late\n";
    home.drop("departments.csv", file);
    home.ingest().await;
    // As if the file had changed behind its second line.
    home.query(&format!(
        "delete from departments where id = 3; update tidegate.sources set lines = 2; \
         update tidegate.ledger set accepted = {}, accepted_count = 2, inserted_count = 2",
        set(&[1, 2])
    ))
    .await;
    std::fs::remove_file(home.path("landing/done/1-departments.csv")).unwrap();
    home.drop("departments.csv", file);
    home.ingest().await;
    assert_eq!(home.names_in("landing/done"), ["2-departments.csv"]);
    let rows = home.run("verify --deep --format json").await.succeeded().rows();
    assert_eq!(found(&rows), ["files note 1 -"], "{rows:#?}");
    assert_eq!(count_of(&rows, "accepted lines that stand in their row"), 3);
}
