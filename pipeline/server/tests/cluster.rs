//! Topics on a cluster: stages that run alone and share partitions, on a real one, which
//! `TIDEGATE_TEST_FLUVIO=host:port` names by its controller.
//!
//! ```text
//! TIDEGATE_TEST_FLUVIO=127.0.0.1:9003 cargo test -p tidegate --test main -- cluster:: --nocapture
//! ```

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::company;
use crate::home::{Home, Running, cluster, on_cluster, until};
use crate::http::{HTTP, Service};
use crate::kills::{Dice, number};
use crate::load::{self, Load, accounted};

/// How many kills of each stage, unless `TIDEGATE_KILLS` says otherwise.
const KILLS: u64 = 10;
/// Files of employees with rows of their own.
const FILES: usize = 60;

/// A home of the company whose topics have so many partitions on the cluster; `None`, and said, if there is none.
async fn home(test: &str, manifest: &str, partitions: u32) -> Option<Home> {
    let endpoint = cluster(test)?;
    Some(company::furnished(Home::new(&on_cluster(manifest, &endpoint, partitions)).await))
}

/// How the partitions of a stage are shared: one text for each instance.
async fn shares(home: &Home, stage: &str) -> Vec<String> {
    let members = home.run("status --format json").await.succeeded().rows();
    let its = members.iter().filter(|member| member["stage"] == stage);
    its.map(|member| member["partitions"].as_str().unwrap().to_owned()).collect()
}

async fn until_shared(home: &Home, stage: &str, expected: &[&str]) {
    until(&format!("the {stage} is shared as {expected:?}"), async || shares(home, stage).await == expected)
        .await;
}

async fn until_all_is_in(home: &Home) {
    until("all is in", async || home.names_in("landing") == ["done"]).await;
    let waiting = "select count(*) + 1 from tidegate.dead_letters where status = 'waiting'";
    until("all is healed", async || home.count(waiting).await == 1).await;
}

async fn stop(stages: Vec<Running>) {
    for stage in stages {
        stage.signal(Signal::SIGTERM);
        stage.ended().await.succeeded();
    }
}

#[tokio::test]
async fn a_cluster_gives_what_embedded_topics_give() {
    let Some(there) = home("a_cluster_gives_what_embedded_topics_give", company::MANIFEST, 4).await else {
        return;
    };
    let here = company::embedded(company::MANIFEST).await;
    for home in [&here, &there] {
        company::drop_example(home);
        home.ingest().await;
        home.run("verify --deep").await.succeeded();
        company::assert_accounted(home).await;
    }
    company::assert_same("embedded and cluster", &load::state(&here).await, &load::state(&there).await);
    assert_eq!(here.names_in("landing/done"), there.names_in("landing/done"));
    // A second run finds nothing to do.
    assert!(there.ingest().await.stdout.contains("\n0 lines in"));
}

#[tokio::test]
async fn instances_share_partitions_and_a_dead_ones_are_taken_over() {
    const TEST: &str = "instances_share_partitions_and_a_dead_ones_are_taken_over";
    let Some(home) = home(TEST, &load::manifest(), 4).await else { return };
    let first = home.spawn("sink");
    until_shared(&home, "sink", &["0,1,2,3"]).await;
    let mut second = home.spawn("sink");
    until_shared(&home, "sink", &["0,1", "2,3"]).await;
    home.run("status --ready sink").await.succeeded();
    home.run("status --ready transform").await.failed_with(1).saying(&["no instance of the transform runs"]);
    home.run("status --alive transform").await.failed_with(1);
    let pinned = home.spawn("sink --partitions 1-2");
    until_shared(&home, "sink", &["0", "3", "1,2"]).await;
    second.kill().await;
    until_shared(&home, "sink", &["0,3", "1,2"]).await;
    stop(vec![pinned]).await;
    until_shared(&home, "sink", &["0,1,2,3"]).await;
    stop(vec![first]).await;
    assert!(shares(&home, "sink").await.is_empty());
    home.run("sink --partitions 4").await.failed_with(2).saying(&["no partition 4: the topics have 4"]);
    // Who has no partition waits for one, and ends when told to.
    let all = home.spawn("transform --partitions 0-3");
    until_shared(&home, "transform", &["0,1,2,3"]).await;
    let mut idle = home.spawn("transform");
    until_shared(&home, "transform", &["0,1,2,3", ""]).await;
    assert!(!idle.has_ended());
    stop(vec![idle, all]).await;
}

#[tokio::test]
async fn what_is_pushed_to_instances_that_share_a_pipeline_enters_once() {
    const TEST: &str = "what_is_pushed_to_instances_that_share_a_pipeline_enters_once";
    const EMPLOYEES: u64 = 5_000;
    const DEPARTMENTS: &str = "/v1/datasets/departments/rows?wait=true&timeout_seconds=30";
    let Some(home) = home(TEST, &format!("{HTTP}{}", company::MANIFEST), 4).await else { return };
    let mut first = Service::of(home.spawn("run --data-dir one")).await;
    let second = Service::of(home.spawn("run --data-dir other")).await;
    until_shared(&home, "source", &["0,1", "2,3"]).await;
    let key = [("idempotency-key", "k")];
    let rows = json!({"rows": [{"id": 1, "department": "Sales"}]}).to_string();
    let push = async |service: &Service| {
        let mut pushed = None;
        until("rows are taken in", async || {
            let answer = service.post(DEPARTMENTS, "application/json", &key, rows.clone()).await;
            pushed = (answer.status != 503).then(|| answer.with_status(200).json());
            pushed.is_some()
        })
        .await;
        pushed.unwrap()["source"].as_u64().unwrap()
    };
    // Whoever is asked, it is one request.
    let source = push(&first).await;
    assert_eq!(push(&second).await, source);
    let employees: String =
        (1..=EMPLOYEES).map(|id| format!("{id},E{id},2021-07-27T16:02:08Z,1,1\n")).collect();
    let path = "/v1/datasets/hired_employees/rows";
    for service in [&first, &second] {
        service.post(path, "text/csv", &[], employees.clone()).await.with_status(202);
    }
    // What the dead one has in its spool enters when it is back.
    first.running.kill().await;
    assert_eq!(push(&second).await, source);
    let jobs = json!({"rows": [{"id": 1, "job": "Clerk"}]});
    second.post_json("/v1/datasets/jobs/rows", &jobs).await.with_status(202);
    let first = Service::of(home.spawn("run --data-dir one")).await;
    let accepted = "select sum(accepted_count)::bigint from tidegate.ledger";
    let all = 2 + 2 * EMPLOYEES;
    until("all is accepted", async || home.count(accepted).await == all).await;
    let backup = second.post_json("/v1/backups", &json!({})).await.with_status(201).json();
    let restore = json!({"backup": backup["id"]});
    let restore = second.post_json("/v1/restores", &restore).await.with_status(202);
    let path = restore.headers["location"].to_str().unwrap();
    until("the restore is done", async || first.get(path).await.json()["state"] == "done").await;
    let open = "select count(*) from tidegate.sources where completed_at is null";
    until("all is complete", async || home.count(open).await == 0).await;
    stop(vec![first.running, second.running]).await;
    assert_eq!(home.count("select count(*) from hired_employees").await, EMPLOYEES);
    assert_eq!(home.count(accepted).await, all + 2 + EMPLOYEES);
    home.run("verify").await.succeeded();
    company::assert_accounted(&home).await;
}

#[tokio::test]
async fn stages_killed_at_any_moment_are_completed_by_others() {
    const TEST: &str = "stages_killed_at_any_moment_are_completed_by_others";
    let Some(home) = home(TEST, &load::manifest(), 4).await else { return };
    let mut dice = Dice::new();
    eprintln!("TIDEGATE_SEED={}", dice.0); // shown if the test fails
    let mut load = Load::new(FILES, load::LINES);
    load.drop_parents(&home);
    load.drop_employees(&home, 3);
    // One source, for with several the order in which files are registered is a matter of chance.
    let commands = ["source", "transform", "transform", "sink", "sink"];
    let mut stages: Vec<Running> = commands.iter().map(|command| home.spawn(command)).collect();
    let kills = number("TIDEGATE_KILLS").unwrap_or(KILLS);
    for round in 0..kills {
        if round == kills / 2 {
            load.drop_late_parents(&home).await;
        }
        load.drop_employees(&home, 2);
        let floor = accounted(&home).await;
        until("something is committed", async || accounted(&home).await > floor).await;
        for victim in [0, 1 + dice.throw(2) as usize, 3 + dice.throw(2) as usize] {
            tokio::time::sleep(dice.fraction(Duration::from_millis(300))).await;
            assert!(!stages[victim].has_ended(), "it ended by itself:\n{}", stages[victim].said());
            stages[victim].kill().await;
            stages[victim] = home.spawn(commands[victim]);
        }
    }
    until_all_is_in(&home).await;
    for stage in &mut stages {
        stage.says("working for partitions").await; // it may have been started a moment ago
    }
    stop(stages).await;
    home.run("verify --deep").await.succeeded();
    load.assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn sources_share_the_landing_folder() {
    let Some(home) = home("sources_share_the_landing_folder", &load::manifest(), 4).await else { return };
    let mut load = Load::new(20, 200);
    let commands = ["source --data-dir one", "source --data-dir two", "transform", "sink"];
    let mut stages: Vec<Running> = commands.iter().map(|command| home.spawn(command)).collect();
    until("both sources have a share", async || {
        shares(&home, "source").await.iter().filter(|share| share.len() == 3).count() == 2
    })
    .await;
    load.drop_parents(&home);
    load.drop_employees(&home, 20);
    until("half is in", async || accounted(&home).await > 2_000).await;
    stages[0].kill().await;
    load.drop_late_parents(&home).await;
    until_all_is_in(&home).await;
    let [first, second] = [0, 1].map(|i| stages[i].said().matches("reading a file").count());
    assert!(first > 0 && second > 0, "both have read files: {first} and {second}");
    stop(stages.split_off(1)).await;
    home.run("verify --deep").await.succeeded();
    company::assert_accounted(&home).await;
    let undisturbed = load.undisturbed().await;
    company::assert_same(
        "two sources and one",
        &company::state(&home).await,
        &company::state(&undisturbed).await,
    );
}

#[tokio::test]
async fn an_instance_that_stood_still_for_longer_than_its_lease_goes_on_with_what_is_left_for_it() {
    const TEST: &str =
        "an_instance_that_stood_still_for_longer_than_its_lease_goes_on_with_what_is_left_for_it";
    let Some(home) = home(TEST, &load::manifest(), 4).await else { return };
    let mut load = Load::new(6, load::LINES);
    load.drop_parents(&home);
    load.drop_employees(&home, 3);
    let (source, transform) = (home.spawn("source"), home.spawn("transform"));
    let first = home.spawn("sink");
    until("something is committed", async || accounted(&home).await > 0).await;
    first.signal(Signal::SIGSTOP);
    let second = home.spawn("sink");
    until_shared(&home, "sink", &["0,1,2,3"]).await;
    load.drop_employees(&home, 3);
    let floor = accounted(&home).await;
    until("the second commits", async || accounted(&home).await > floor).await;
    first.signal(Signal::SIGCONT);
    until("both have a share", async || {
        let shares = shares(&home, "sink").await;
        shares.len() == 2 && shares.iter().all(|share| share.len() == 3)
    })
    .await;
    load.drop_late_parents(&home).await;
    until_all_is_in(&home).await;
    stop(vec![source, transform, first, second]).await;
    home.run("verify --deep").await.succeeded();
    load.assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn instances_with_another_manifest_wait_until_the_others_have_gone() {
    const TEST: &str = "instances_with_another_manifest_wait_until_the_others_have_gone";
    let Some(home) = home(TEST, &load::manifest(), 2).await else { return };
    company::drop_example(&home);
    home.ingest().await;
    let sink = home.spawn("sink");
    until_shared(&home, "sink", &["0,1"]).await;
    let manifest = std::fs::read_to_string(home.path("tidegate.yaml")).unwrap();
    let other = manifest.replace("name: text", "name: {type: text, max_length: 10000}");
    assert_ne!(manifest, other);
    std::fs::write(home.path("tidegate.yaml"), other).unwrap();
    let views = home.path("sql/views/employees.sql");
    std::fs::write(&views, "select count(*) as n from hired_employees\n").unwrap();
    let mut next = home.spawn("sink");
    next.says("runs the sink with another manifest or other views").await;
    assert_eq!(shares(&home, "sink").await, ["0,1"]);
    stop(vec![sink]).await;
    until_shared(&home, "sink", &["0,1"]).await;
    stop(vec![next]).await;
    home.drop("departments-new.csv", "1000,New\n");
    home.ingest().await;
    home.run("verify --deep").await.succeeded();
}

#[tokio::test]
async fn what_another_database_left_on_the_topics_is_passed_over() {
    const TEST: &str = "what_another_database_left_on_the_topics_is_passed_over";
    let Some(before) = home(TEST, company::MANIFEST, 2).await else { return };
    company::drop_example(&before);
    before.ingest().await;
    let manifest = std::fs::read_to_string(before.path("tidegate.yaml")).unwrap();
    let after = company::furnished(Home::new(&manifest).await);
    after.drop("departments.csv", "1,Ours\n");
    after.ingest().await;
    assert_eq!(after.query("select * from departments").await, ["1|Ours|1|1"]);
    assert_eq!(after.query("select count(*) from jobs").await, ["0"]);
    after.run("verify --deep").await.succeeded();
}

#[tokio::test]
async fn a_cluster_that_is_away_is_waited_for() {
    // Nobody listens there.
    let manifest = on_cluster(company::MANIFEST, "127.0.0.1:1", 2);
    let home = company::furnished(Home::new(&manifest).await);
    let checked = home.run("check --format json").await.failed_with(1);
    assert!(checked.stdout.contains("fluvio at 127.0.0.1:1"), "{}", checked.stdout);
    for command in ["run", "source", "transform", "sink"] {
        let mut running = home.spawn(command);
        running.says("fluvio at 127.0.0.1:1").await;
        running.says("retry_in_ms").await;
        assert!(!running.has_ended());
        running.signal(Signal::SIGTERM);
        running.ended().await.failed_with(1);
    }
}

#[tokio::test]
async fn stages_of_embedded_topics_do_not_run_alone() {
    let home = company::embedded(company::MANIFEST).await;
    for command in ["source", "transform", "sink"] {
        let outcome = home.run(command).await.failed_with(2);
        outcome.saying(&["embedded", "topics: {fluvio", "tidegate run"]);
    }
}
