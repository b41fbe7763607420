//! Files that come again, and sources that are read again.

use std::io::Write;

use nix::sys::signal::Signal;
use serde_json::json;
use tidegate_core::failpoint::Failpoint;

use crate::home::{Home, Running, until};

const MANIFEST: &str = "pipeline: prices
stable_for: 10ms
datasets:
  prices:
    key: id
    csv: {header: true}
    columns: {id: integer, price: {type: integer, max: 100}}
";
const TEN: &str = "id,price\n1,10\n";
const TWELVE: &str = "id,price\n1,12\n";

async fn home() -> Home {
    Home::embedded(MANIFEST).await
}

/// A home into which these contents were dropped under one name, one after the other.
async fn after(contents: &[&str]) -> Home {
    let home = home().await;
    for content in contents {
        home.drop("prices.csv", content);
        home.ingest().await;
    }
    home
}

async fn prices(home: &Home) -> Vec<String> {
    home.query("select id, price, _source from prices order by id").await
}

#[tokio::test]
async fn a_price_that_goes_up_and_down_again_is_what_came_last() {
    let home = after(&[TEN, TWELVE, TEN]).await;
    assert_eq!(prices(&home).await, ["1|10|3"]);
    assert_eq!(home.names_in("landing/done"), ["1-prices.csv", "2-prices.csv", "3-prices.csv"]);
    // Once more, and it was the last.
    home.drop("prices.csv", TEN);
    let outcome = home.ingest().await;
    for text in ["'prices.csv' was passed over", "'tidegate sources reload 3' reads it again"] {
        assert!(outcome.stdout.contains(text), "{}", outcome.stdout);
    }
    home.drop("prices.csv", TEN);
    let summary = home.run("run --until-idle --format json").await.succeeded().json();
    assert_eq!(summary["passed_over"], json!([{"file": "prices.csv", "source": 3}]));
    assert_eq!(home.count("select count(*) from tidegate.sources").await, 3);
    home.run("verify --deep").await.succeeded();
    let story = home.run("trace prices.csv:1").await.succeeded();
    assert!(story.stdout.contains("done/3-prices.csv"), "{}", story.stdout);
}

mod a_delivery_that_is_interrupted {
    use super::*;

    tidegate_testing::rows! { is_one_source:
        source_registered: (Failpoint::SourceRegistered),
        source_journaled: (Failpoint::SourceJournaled),
        intake_appended: (Failpoint::IntakeAppended),
        batch_committed: (Failpoint::BatchCommitted),
        source_completed: (Failpoint::SourceCompleted),
        file_put_away: (Failpoint::FilePutAway),
    }

    async fn is_one_source(point: Failpoint) {
        for action in ["abort", "error"] {
            let home = after(&[TEN, TWELVE]).await;
            home.drop("prices.csv", TEN);
            let mut command = home.command(["run", "--until-idle"]);
            command.env("TIDEGATE_FAILPOINT", format!("{}={action}@1", point.as_str()));
            Running::start(command).ended().await;
            home.ingest().await;
            assert_eq!(prices(&home).await, ["1|10|3"], "{action}");
            assert_eq!(home.count("select count(*) from tidegate.sources").await, 3, "{action}");
            home.run("verify --deep").await.succeeded();
        }
    }
}

#[tokio::test]
async fn what_was_truncated_or_refused_is_read_again_by_a_reload() {
    let home = after(&["id,price\n1,10\n2,1000\n"]).await;
    home.query("truncate prices").await;
    let table = home.run("sources reload 1 --format json").await.succeeded().rows();
    assert_eq!(
        (&table[0]["source"], &table[0]["new_source"], &table[0]["rejected"]),
        (&json!(1), &json!(2), &json!(1))
    );
    assert_eq!(prices(&home).await, ["1|10|2"]);
    // The rule was wrong, and the delimiter is said to be another one: the file is read by what is there now.
    let manifest = std::fs::read_to_string(home.path("tidegate.yaml")).unwrap();
    std::fs::write(home.path("tidegate.yaml"), manifest.replace(", max: 100", "")).unwrap();
    let outcome = home.run("sources reload 1 2").await.succeeded();
    assert!(outcome.stdout.contains("prices.csv"), "{}", outcome.stdout);
    assert_eq!(prices(&home).await, ["1|10|4", "2|1000|4"]);
    assert_eq!(home.names_in("landing/done").len(), 4, "each has its file");
    home.run("verify").await.succeeded();
    // It is the newest now, so it is passed over.
    home.drop("prices.csv", "id,price\n1,10\n2,1000\n");
    home.ingest().await;
    assert_eq!(home.count("select count(*) from tidegate.sources").await, 4);
}

#[tokio::test]
async fn a_running_pipeline_reads_a_source_again() {
    let home = after(&[TEN, TWELVE]).await;
    let mut running = home.spawn("run");
    running.says("running").await;
    home.run("sources reload 1 --by Ann").await.succeeded();
    assert_eq!(prices(&home).await, ["1|10|3"]);
    assert_eq!(home.query("select asked_by, state from tidegate.reloads").await, ["Ann|entered"]);
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
    home.run("verify --deep").await.succeeded();
}

mod a_reload_that_is_interrupted {
    use super::*;

    tidegate_testing::rows! { gives_one_new_source:
        source_registered: (Failpoint::SourceRegistered),
        source_journaled: (Failpoint::SourceJournaled),
        reload_shared: (Failpoint::ReloadShared),
        intake_appended: (Failpoint::IntakeAppended),
        batch_committed: (Failpoint::BatchCommitted),
        source_completed: (Failpoint::SourceCompleted),
        file_put_away: (Failpoint::FilePutAway),
    }

    async fn gives_one_new_source(point: Failpoint) {
        for action in ["abort", "error"] {
            let home = after(&[TEN, TWELVE]).await;
            let mut command = home.command(["sources", "reload", "1"]);
            command.env("TIDEGATE_FAILPOINT", format!("{}={action}@1", point.as_str()));
            let outcome = Running::start(command).ended().await;
            assert!(outcome.signal.is_some() || outcome.stderr.contains("is armed"), "{outcome:?}");
            home.ingest().await;
            assert_eq!(prices(&home).await, ["1|10|3"], "{action}");
            assert_eq!(home.count("select count(*) from tidegate.sources").await, 3, "{action}");
            let done = ["1-prices.csv", "2-prices.csv", "3-prices.csv"];
            assert_eq!(home.names_in("landing/done"), done, "{action}");
            home.run("verify --deep").await.succeeded();
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_again_says_why() {
    let home = after(&[TEN, TWELVE]).await;
    home.run("sources reload 9").await.failed_with(1).saying(&["there is no source 9"]);
    std::fs::remove_file(home.path("landing/done/1-prices.csv")).unwrap();
    home.run("sources reload 1").await.failed_with(1).saying(&["done/1-prices.csv", "cannot be read again"]);
    std::fs::write(home.path("landing/done/2-prices.csv"), "id,price\n1,99\n").unwrap();
    home.run("sources reload 2").await.failed_with(1).saying(&["done/2-prices.csv", "not what was read"]);
    home.query(
        "insert into tidegate.sources (source, dataset, kind, name, identity, lines, completed_at) \
         values (3, 'prices', 'upload', 'sent', 'x', 0, now())",
    )
    .await;
    let refused = home.run("sources reload 3").await.failed_with(1);
    refused.saying(&["'sent'", "is not a file, its kind is 'upload'", "send it again"]);
    assert_eq!(prices(&home).await, ["1|12|2"]);
}

#[tokio::test]
async fn the_same_name_in_two_datasets_is_two_names() {
    let manifest = "pipeline: two\nstable_for: 10ms\ndatasets:\n  \
        a: {key: id, files: 'x*.csv', columns: {id: integer, n: integer}}\n  \
        b: {key: id, files: 'y*.csv', columns: {id: integer, n: integer}}\n";
    let home = Home::embedded(manifest).await;
    home.drop("x.csv", "1,10\n");
    home.ingest().await;
    std::fs::write(
        home.path("tidegate.yaml"),
        manifest.replace("x*.csv", "z*.csv").replace("y*.csv", "x*.csv"),
    )
    .unwrap();
    home.drop("x.csv", "1,10\n");
    home.ingest().await;
    assert_eq!(home.query("select source, dataset from tidegate.sources order by 1").await, ["1|a", "2|b"]);
    std::fs::write(home.path("tidegate.yaml"), manifest).unwrap();
    home.drop("x.csv", "1,10\n");
    home.ingest().await;
    assert_eq!(
        home.count("select count(*) from tidegate.sources").await,
        2,
        "it came last under its name there"
    );
}

#[tokio::test]
async fn deliveries_of_one_content_are_recovered_under_their_own_numbers() {
    for loses in ["", ".tidegate/sources.jsonl"] {
        let home = after(&[TEN]).await;
        home.back_up("one").await;
        for content in [TWELVE, TEN] {
            home.drop("prices.csv", content);
            home.ingest().await;
        }
        home.run("sources reload 2").await.succeeded();
        home.restore("one").await;
        if !loses.is_empty() {
            std::fs::remove_file(home.path(loses)).unwrap();
        }
        home.run("run --until-idle").await.failed_with(1).saying(&["Postgres is older"]);
        home.run("recover").await.succeeded();
        assert_eq!(prices(&home).await, ["1|12|4"], "without {loses}");
        assert_eq!(
            home.count("select count(*) from tidegate.sources where completed_at is not null").await,
            4
        );
        home.run("verify --deep").await.succeeded();
        home.drop("prices.csv", TWELVE);
        home.ingest().await;
        assert_eq!(home.count("select count(*) from tidegate.sources").await, 4, "it is passed over");
    }
}

#[tokio::test]
async fn what_is_written_to_a_file_after_it_was_moved_is_a_violation_and_then_new_content() {
    let home = home().await;
    home.drop("prices.csv", "id,price\n1,10\n");
    home.ingest().await;
    let done = home.path("landing/done/1-prices.csv");
    std::fs::File::options().append(true).open(&done).unwrap().write_all(b"2,20\n").unwrap();
    let rows = home.run("verify --format json").await.failed_with(1).rows();
    let violation = rows.iter().find(|row| row["result"] == "violation").unwrap();
    assert_eq!((&violation["check"], &violation["position"]), (&json!("done"), &json!("1")));
    assert!(
        violation["message"].as_str().unwrap().contains("done/1-prices.csv' has 19 bytes, and 14 were read")
    );
    home.ingest().await.saying(&["done/1-prices.csv", "a process has written to it after it was moved"]);
    assert_eq!(prices(&home).await, ["1|10|2", "2|20|2"]);
    home.run("verify --deep").await.succeeded();
    // And while it runs.
    let mut running = home.spawn("run");
    running.says("running").await;
    home.drop("prices-2.csv", "id,price\n3,30\n");
    until("it is through", async || home.path("landing/done/3-prices-2.csv").exists()).await;
    let done = home.path("landing/done/3-prices-2.csv");
    std::fs::File::options().append(true).open(&done).unwrap().write_all(b"4,40\n").unwrap();
    until("the rest is in", async || home.count("select count(*) from prices").await == 4).await;
    until("it is put away", async || home.path("landing/done/4-prices-2.csv").exists()).await;
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
    home.run("verify --deep").await.succeeded();
}

#[tokio::test]
async fn what_is_written_over_a_file_after_it_was_moved_is_found_though_it_became_shorter() {
    let home = after(&["id,price\n1,10\n2,20\n"]).await;
    std::fs::write(home.path("landing/done/1-prices.csv"), "id,price\n3,30\n").unwrap();
    let violations = home.run("verify").await.failed_with(1).stdout;
    assert!(violations.contains("has 14 bytes, and 19 were read"), "{violations}");
    home.ingest().await;
    assert_eq!(prices(&home).await, ["1|10|1", "2|20|1", "3|30|2"]);
    home.run("verify --deep").await.succeeded();
}

#[tokio::test]
async fn what_is_written_to_a_file_that_two_sources_share_is_new_content_once() {
    let home = after(&[TEN]).await;
    home.run("sources reload 1").await.succeeded();
    home.ingest().await;
    let done = home.path("landing/done/1-prices.csv");
    std::fs::File::options().append(true).open(&done).unwrap().write_all(b"2,20\n").unwrap();
    home.ingest().await;
    assert_eq!(prices(&home).await, ["1|10|3", "2|20|3"]);
    assert_eq!(home.names_in("landing/done"), ["3-prices.csv"]);
    let outcome = home.ingest().await;
    assert!(!outcome.stderr.contains("is read again") && !outcome.stdout.contains("passed over"));
    home.run("verify --deep").await.succeeded();
}

#[tokio::test]
async fn what_is_written_to_a_file_after_it_was_moved_and_cannot_be_read_is_an_error_that_names_it() {
    let home = after(&[TEN]).await;
    std::fs::write(home.path("landing/done/1-prices.csv"), "id,cost\n1,10\n2,20\n").unwrap();
    home.run("run --until-idle")
        .await
        .failed_with(1)
        .saying(&["done/1-prices.csv", "written to after it was moved"]);
}

#[tokio::test]
async fn a_landing_folder_may_be_called_as_that_of_files_that_are_done() {
    let home = home().await;
    home.drop("prices.csv", TEN);
    std::fs::rename(home.path("landing"), home.path("done")).unwrap();
    home.run("run --until-idle --landing done").await.succeeded();
    std::fs::write(home.path("done/prices.csv"), TEN).unwrap();
    let told = home.run("run --until-idle --landing done").await.succeeded();
    assert!(told.stdout.contains("'prices.csv' was passed over"), "{}", told.stdout);
    std::fs::write(home.path("done/prices.csv"), "id,cost\n1,10\n").unwrap();
    home.run("run --until-idle --landing done").await.failed_with(4);
}

#[tokio::test]
async fn the_name_of_a_file_that_is_passed_over_moves_no_cursor() {
    let home = Home::embedded(&MANIFEST.replace("key: id\n", "key: id\n    files: 'prices*'\n")).await;
    let name = "prices\u{1b}[31m.csv";
    home.drop(name, TEN);
    home.ingest().await;
    home.drop(name, TEN);
    let told = home.ingest().await;
    assert!(told.stdout.contains("'prices\\u{1b}[31m.csv' was passed over"), "{}", told.stdout);
    assert!(!told.stderr.contains('\u{1b}') && !told.stdout.contains('\u{1b}'), "{told:?}");
}

#[tokio::test]
async fn a_writer_that_stalls_in_the_middle_of_a_line_loses_nothing() {
    let home = home().await;
    let mut running = home.spawn("run");
    running.says("running").await;
    let path = home.path("landing/prices.csv");
    let mut writer = std::fs::File::create(&path).unwrap();
    writer.write_all(b"id,price\n1,10\n2,2").unwrap();
    home.drop("prices-2.csv", "id,price\n7,70\n");
    until("the other is through", async || home.path("landing/done/1-prices-2.csv").exists()).await;
    running.says("has it open for writing").await;
    writer.write_all(b"0\n3,30\n").unwrap();
    drop(writer);
    until("it is through", async || home.path("landing/done/2-prices.csv").exists()).await;
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
    assert_eq!(prices(&home).await, ["1|10|2", "2|20|2", "3|30|2", "7|70|1"]);
    assert_eq!(home.count("select count(*) from tidegate.dead_letters").await, 0);
    home.run("verify --deep").await.succeeded();
}
