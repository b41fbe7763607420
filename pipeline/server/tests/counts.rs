//! What accepted lines did, as it is shown; keys that repeat; datasets of which Postgres refuses every row.

use crate::company;

const NO: &str = "create or replace function no() returns trigger language plpgsql as \
                  $$ begin raise exception 'not today' using errcode = 'XX000'; end $$; ";

#[tokio::test]
async fn what_accepted_lines_did_is_shown_for_each_source() {
    let home = company::home().await;
    home.drop("departments.csv", "1,Sales\n2,Legal\n2,Law\nx,Bad\n");
    home.ingest().await;
    home.drop("departments_again.csv", "1,Selling\n3,Late\n");
    let table = home.ingest().await.stdout;
    assert!(table.contains("superseded") && !table.contains("uncounted"), "{table}");
    let told: Vec<String> = home
        .sources()
        .await
        .iter()
        .map(|source| {
            let names = ["accepted", "inserted", "updated", "superseded", "uncounted"];
            names.map(|name| source[name].to_string()).join(" ")
        })
        .collect();
    assert_eq!(told, ["3 2 0 1 0", "2 1 1 0 0"]);
    // As a version left it that did not count.
    home.query(
        "update tidegate.ledger set uncounted_count = accepted_count, inserted_count = 0, updated_count = 0, \
         superseded_count = 0, repeated_count = 0 where source = 1",
    )
    .await;
    assert_eq!(home.sources().await[0]["uncounted"], 3);
    assert!(home.run("sources").await.succeeded().stdout.contains("uncounted"));
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn keys_that_repeat_are_a_warning_that_names_the_key() {
    let home = company::home().await;
    let lines = |from: u32, repeated: u32| -> String {
        let distinct = (from..from + 100).map(|id| format!("{id},Sales\n"));
        let again = (from..from + repeated).map(|id| format!("{id},Again\n"));
        distinct.chain(again).collect()
    };
    home.drop("departments.csv", lines(1, 1));
    let quiet = home.ingest().await;
    assert!(!quiet.stderr.contains("repeat a key"), "{}", quiet.stderr);
    home.drop("departments_more.csv", lines(1001, 2));
    let outcome = home.ingest().await;
    outcome.saying(&[
        "departments_more.csv",
        "2 of 102 accepted lines repeat a key",
        "'id'",
        "'departments'",
    ]);
    // Another file with the same keys repeats none of its own.
    home.drop("departments_later.csv", lines(1, 0));
    let quiet = home.ingest().await;
    assert!(!quiet.stderr.contains("repeat a key"), "{}", quiet.stderr);
}

#[tokio::test]
async fn a_dataset_of_which_every_row_is_refused_ends_the_run_by_name_and_the_others_go_on() {
    let home = company::home().await;
    home.ingest().await;
    home.query(&format!("{NO} create trigger no before insert on jobs for each row execute function no()"))
        .await;
    home.drop("jobs.csv", "1,Clerk\n2,Cook\n3,Carer\n");
    home.drop("departments.csv", "1,Sales\n");
    home.drop("hired_employees.csv", "1,Ada,2021-03-01T00:00:00Z,1,1\n");
    for _ in 0..2 {
        let outcome = home.run("run --until-idle --format json").await.failed_with(1);
        let json = outcome.json();
        assert!(json["datasets_stopped"][0].as_str().unwrap().contains("not today"), "{json}");
        outcome.saying(&["dataset 'jobs' has stopped", "each of 3 rows", "not today (SQLSTATE XX000)"]);
        assert_eq!(home.query("select id from departments").await, ["1"]);
        assert_eq!(
            home.count("select count(*) from tidegate.dead_letters where status = 'waiting'").await,
            1
        );
        assert_eq!(home.names_in("landing"), ["done", "jobs.csv"]);
        home.run("verify").await.succeeded();
    }
    home.query("drop trigger no on jobs").await;
    home.ingest().await;
    assert_eq!(home.query("select id from jobs order by id").await, ["1", "2", "3"]);
    assert_eq!(home.query("select id from hired_employees").await, ["1"]);
    company::assert_accounted(&home).await;
}

#[tokio::test]
async fn a_trigger_that_fails_on_some_rows_costs_these_rows_alone() {
    let home = company::home().await;
    home.ingest().await;
    home.query(&format!(
        "{NO} create trigger no before insert on departments for each row when (new.id = 2) execute function no()"
    ))
    .await;
    home.drop("departments.csv", "1,Sales\n2,Legal\n3,Law\n");
    home.drop("jobs.csv", "1,Clerk\n");
    let outcome = home.run("run --until-idle").await.succeeded();
    assert!(!outcome.stderr.contains("has stopped"), "{}", outcome.stderr);
    assert_eq!(home.query("select id from departments order by id").await, ["1", "3"]);
    let letters = home.dead_letters().await;
    assert!(letters[0]["message"].as_str().unwrap().contains("not today"), "{letters:?}");
}

#[tokio::test]
async fn a_line_that_a_trigger_leaves_out_is_a_dead_letter_and_may_be_replayed() {
    let home = company::home().await;
    home.ingest().await;
    home.query(
        "create function leave_out() returns trigger language plpgsql as \
         $$ begin if new.department = 'Legal' then return null; end if; return new; end $$; \
         create trigger leave_out before insert or update on departments for each row execute function leave_out()",
    )
    .await;
    home.drop("departments.csv", "1,Sales\n2,Legal\n");
    home.ingest().await;
    let letters = home.dead_letters().await;
    assert_eq!((&letters[0]["code"], letters.len()), (&serde_json::json!("left_out"), 1));
    home.run("verify --deep").await.succeeded();
    home.query("drop trigger leave_out on departments").await;
    home.run("dead-letters replay 1:2").await.succeeded();
    home.ingest().await;
    assert_eq!(home.query("select id from departments order by id").await, ["1", "2"]);
    let source = &home.sources().await[0];
    assert_eq!((&source["inserted"], &source["accepted"]), (&serde_json::json!(2), &serde_json::json!(2)));
    home.run("verify").await.succeeded();
}
