//! An empty database as it was.

use super::{assert_sound, back_up, ingested, path_of, run};
use crate::company;
use crate::home::Home;
use crate::load;

async fn with_all_fates() -> Home {
    let home = ingested().await;
    home.drop(
        "hired_employees-more.csv",
        "900001,Ann,2021-01-01T00:00:00Z,999,1\n900002,,x,1,1\n900003,Bob,2021-01-01T00:00:00Z,1,999\n",
    );
    home.ingest().await;
    home.run("dead-letters discard --note enough --reason invalid_timestamp").await.succeeded();
    home
}

#[tokio::test]
async fn an_empty_database_becomes_what_it_was() {
    let home = with_all_fates().await;
    let (before, identity) =
        (load::state(&home).await, home.query("select identity from tidegate.pipeline").await);
    let path = path_of(&home, &back_up(&home, "").await);
    let other = company::embedded(company::MANIFEST).await;
    let outcome = run(&other, &["restore", "--exact", path.to_str().unwrap()]).await.succeeded();
    assert!(outcome.stdout.contains("up to source 4"), "{}", outcome.stdout);
    company::assert_same("restored", &load::state(&other).await, &before);
    assert_eq!(other.query("select identity from tidegate.pipeline").await, identity);
    other.run("verify").await.succeeded();
    other.run("view verify").await.succeeded();
    // What was read is known, what comes is new, and what waited is healed.
    company::drop_example(&other);
    other.ingest().await;
    assert_eq!(other.query("select count(*) from tidegate.sources").await, ["4"]);
    other.drop("departments-more.csv", "999,Late\n");
    other.ingest().await;
    assert_eq!(other.query("select name from hired_employees where id = 900001").await, ["Ann"]);
    assert_eq!(other.query("select max(source) from tidegate.sources").await, ["5"]);
    assert_sound(&other).await;
}

#[tokio::test]
async fn what_is_in_the_way_is_named_and_a_running_pipeline_is_not_disturbed() {
    let home = ingested().await;
    let backup = back_up(&home, "").await;
    let path = path_of(&home, &backup);
    let path = path.to_str().unwrap();
    let before = load::state(&home).await;
    let said = run(&home, &["restore", "--exact", path]).await.failed_with(1).stderr;
    for table in [
        "\"public\".\"departments\" has",
        "\"public\".\"hired_employees\" has more than 1000 rows",
        "tidegate.\"sources\" has 3 rows",
    ] {
        assert!(said.contains(table), "{table} is not in: {said}");
    }
    company::assert_same("refused", &load::state(&home).await, &before);
    let other = company::embedded(company::MANIFEST).await;
    let mut running = other.spawn("run");
    running.says("running").await;
    // By another data directory, as from another machine.
    let said =
        run(&other, &["restore", "--exact", path, "--data-dir", "elsewhere"]).await.failed_with(1).stderr;
    assert!(said.contains("runs this pipeline already"), "{said}");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.ended().await.succeeded();
    run(&other, &["restore", "--exact", path]).await.succeeded();
    // Its data directory is of the database as it was before.
    other.run("run --until-idle").await.failed_with(1).saying(&["another database"]);
    other.run("run --until-idle --data-dir new").await.succeeded();
}

#[tokio::test]
async fn what_came_after_the_backup_is_brought_back_by_recover() {
    let home = ingested().await;
    let path = path_of(&home, &back_up(&home, "").await);
    home.drop("departments-more.csv", "999,Late\n");
    home.ingest().await;
    let after = load::state(&home).await;
    // The database is lost, and made anew, empty; the data directory and the landing folder are as they were.
    home.query(
        "drop schema tidegate cascade; drop table hired_employees, jobs, departments cascade; \
         drop view if exists departments_above_mean, hires_by_quarter, hires_by_department",
    )
    .await;
    run(&home, &["restore", "--exact", path.to_str().unwrap()]).await.succeeded();
    home.run("recover").await.succeeded();
    home.ingest().await;
    company::assert_same("recovered", &load::state(&home).await, &after);
    assert_sound(&home).await;
}
