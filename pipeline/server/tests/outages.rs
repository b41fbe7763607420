//! Postgres down, slow or out of reach: it is waited for, and said, and nothing is lost or doubled. What no
//! waiting heals ends a run with what to do.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::company;
use crate::home::{Home, Running, until};
use crate::kills::{Dice, number};
use crate::load::{self, LINES, Load, accounted};
use crate::proxy::{AtCommit, Proxy, Way};
use crate::server::OwnServer;

/// How often a connection is cut in one test.
const CUTS: u64 = 20;
/// How long Postgres is away, unless `TIDEGATE_OUTAGE_SECONDS` says otherwise.
const OUTAGE_SECONDS: u64 = 10;
/// Longer than a session may be silent before it is looked upon as lost.
const LONG_STATEMENT: Duration = Duration::from_secs(25);
/// A run that is told to stop has this long while Postgres is out of reach.
const STOPS_WITHIN: Duration = Duration::from_secs(40);
/// For the test of what goes on meanwhile: large enough that a file does not fit in.
const MAX_LAG_BYTES: u64 = 3 * 1024 * 1024;
const MANY_LINES: usize = 300_000;
/// Sessions that wait for a lock.
const WAITS: &str =
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
/// Sessions in whose transaction nothing happens.
const IN_TRANSACTION: &str = "select count(*) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'";

/// A company whose command comes to its database by a proxy.
async fn proxied(manifest: &str) -> (Home, Proxy) {
    let home = company::with_manifest(manifest).await;
    let proxy = Proxy::new(&home.url).await;
    let url = proxy.url(&home.url);
    (home.by_way_of(url), proxy)
}

/// The same with files dropped and something committed by a run that goes on.
async fn under_load(files: usize) -> (Home, Proxy, Load, Running) {
    let (home, proxy) = proxied(&load::manifest()).await;
    let mut load = Load::new(files, LINES);
    load.drop_parents(&home);
    load.drop_employees(&home, files);
    let running = home.spawn("run --until-idle");
    until("something is committed", async || accounted(&home).await > 0).await;
    (home, proxy, load, running)
}

#[tokio::test]
async fn a_run_that_starts_before_its_postgres_waits_for_it_and_says_so() {
    let mut server = OwnServer::start().await;
    let home = company::furnished(Home::on(server.url(), &load::manifest()));
    let mut load = Load::new(1, LINES);
    load.drop_parents(&home);
    load.drop_employees(&home, 1);
    server.stop().await;
    let mut running = home.spawn("run --until-idle");
    running.says("cannot connect to Postgres").await;
    running.says("retry_in_ms").await;
    server.start_again().await;
    running.ended().await.succeeded();
    load.assert_as_if_undisturbed(&home).await;
    server.stop().await;
}

#[tokio::test]
async fn a_commit_that_is_cut_off_is_neither_lost_nor_doubled() {
    let (home, proxy) = proxied(&load::manifest()).await;
    let mut load = Load::new(4, LINES);
    load.drop_parents(&home);
    let mut running = home.spawn("run");
    running.says("running").await;
    for cut in 0..CUTS {
        load.drop_employees(&home, 1);
        proxy.at_next_commit(if cut % 2 == 0 { AtCommit::LoseAnswer } else { AtCommit::Forget });
        until("a commit is cut off", async || proxy.has_struck()).await;
        let floor = accounted(&home).await;
        load.drop_employees(&home, 1);
        until("it goes on", async || accounted(&home).await > floor).await;
    }
    until("all is in", async || home.names_in("landing") == ["done"]).await;
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded().saying(&["works again"]);
    load.assert_as_if_undisturbed(&home).await;
}

/// Lines that wait, and the one file of those they wait for.
async fn waiting() -> (Home, Proxy) {
    let (home, proxy) = proxied(&load::manifest()).await;
    let mut load = Load::new(1, LINES);
    load.drop_parents(&home);
    load.drop_employees(&home, 1);
    home.ingest().await;
    load.drop_late_parents(&home).await;
    (home, proxy)
}

#[tokio::test]
async fn the_answer_to_any_commit_of_a_run_may_be_lost() {
    let (undisturbed, _proxy) = waiting().await;
    undisturbed.ingest().await;
    let expected = load::state(&undisturbed).await;
    for passed in 0.. {
        let (home, proxy) = waiting().await;
        proxy.at_commit(passed, AtCommit::LoseAnswer);
        let outcome = home.ingest().await;
        company::assert_same(
            &format!("{passed} commits, and one lost: {}", outcome.stderr),
            &load::state(&home).await,
            &expected,
        );
        assert_eq!(home.names_in("landing"), ["done"], "{passed} commits, and one lost: {}", outcome.stderr);
        if !proxy.has_struck() {
            assert!(passed >= 5, "{passed} commits are too few for a run");
            break;
        }
    }
}

#[tokio::test]
async fn connections_that_are_cut_at_random_are_made_again() {
    let mut dice = Dice::new();
    eprintln!("TIDEGATE_SEED={}", dice.0);
    let (home, proxy) = proxied(&load::manifest()).await;
    let mut load = Load::new(4, LINES);
    load.drop_parents(&home);
    let running = home.spawn("run");
    for _ in 0..CUTS {
        let floor = accounted(&home).await;
        load.drop_employees(&home, 1);
        until("it goes on", async || accounted(&home).await > floor).await;
        load.drop_employees(&home, 1);
        tokio::time::sleep(dice.fraction(Duration::from_millis(200))).await;
        proxy.cut();
    }
    assert!(proxy.connections() > CUTS, "only {} connections: the cuts met none", proxy.connections());
    until("all is in", async || home.names_in("landing") == ["done"]).await;
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
    load.assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn sources_go_on_until_they_lag_too_far_while_postgres_is_away() {
    let manifest = load::manifest().replace("64KiB", &format!("{MAX_LAG_BYTES}"));
    let (home, proxy) = proxied(&manifest).await;
    let mut load = Load::new(1, MANY_LINES);
    load.drop_parents(&home);
    let mut running = home.spawn("run");
    until("the parents are in", async || home.names_in("landing") == ["done"]).await;
    let before = bytes_on_topics(&home).await;
    load.drop_employees(&home, 1);
    running.says("file=landing/hired_employees-000000.csv").await;
    proxy.set(Way::Refused);
    until("the topics grow", async || bytes_on_topics(&home).await > before + MAX_LAG_BYTES).await;
    running.says("cannot connect to Postgres").await;
    let mut last = 0;
    until("the topics stand still", async || {
        let then = std::mem::replace(&mut last, bytes_on_topics(&home).await);
        tokio::time::sleep(Duration::from_secs(1)).await; // what goes on shows
        last == then
    })
    .await;
    let there = accounted(&home).await;
    assert!(there < MANY_LINES as u64, "Postgres was not away");
    // What is on a raw topic and transformed is on an accepted one too.
    let file = std::fs::metadata(home.path("landing/hired_employees-000000.csv")).unwrap().len();
    assert!(last < file, "of {file} bytes {last} are on the topics: nothing held the source back");
    let seconds = number("TIDEGATE_OUTAGE_SECONDS").unwrap_or(OUTAGE_SECONDS);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    assert_eq!((bytes_on_topics(&home).await, accounted(&home).await), (last, there));
    proxy.set(Way::Open);
    until("all is in", async || home.names_in("landing") == ["done"]).await;
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded().saying(&["works again"]);
    load.assert_as_if_undisturbed(&home).await;
}

async fn bytes_on_topics(home: &Home) -> u64 {
    let topics = home.run("topic list --format json").await.succeeded().rows();
    topics.iter().map(|topic| topic["bytes"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn connections_that_are_swallowed_are_given_up_and_made_again() {
    let (home, proxy, mut load, mut running) = under_load(20).await;
    proxy.set(Way::Swallowing);
    running.says("Postgres has not answered for").await;
    proxy.set(Way::Open);
    // Those that were swallowed from stay dead, and what they began in Postgres holds its locks.
    let began = proxy.connections();
    let outcome = running.ended().await.succeeded();
    assert!(proxy.connections() > began, "{}", outcome.stderr);
    load.assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn a_postgres_that_swallows_everything_for_long_is_waited_for() {
    let ((home, proxy), mut load) = (proxied(&load::manifest()).await, Load::new(1, LINES));
    load.drop_parents(&home);
    home.ingest().await;
    let other = home.session().await;
    other.batch_execute("begin; lock table hired_employees in share mode").await.unwrap();
    load.drop_employees(&home, 1);
    let mut running = home.spawn("run --until-idle");
    until("a transaction waits for the lock", async || home.count(WAITS).await > 0).await;
    proxy.set(Way::Swallowing);
    other.batch_execute("rollback").await.unwrap();
    // It goes on in Postgres, holds what it has locked, and waits for a client that has given it up.
    running.says("cannot connect to Postgres in time").await;
    until("all are given up, and more", async || {
        running.said().matches("Postgres has not answered for").count() > 6
    })
    .await;
    assert!(home.count(IN_TRANSACTION).await > 0, "nobody in Postgres waits for anybody");
    proxy.set(Way::Open);
    running.ended().await.succeeded().saying(&["works again"]);
    load.assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn a_statement_that_takes_long_is_not_cut_off() {
    let (home, mut load) = (company::with_manifest(&load::manifest()).await, Load::new(1, LINES));
    load.drop_parents(&home);
    home.ingest().await;
    let other = home.session().await;
    other.batch_execute("begin; lock table hired_employees in share mode").await.unwrap();
    load.drop_employees(&home, 1);
    let running = home.spawn("run --until-idle");
    until("it waits for the lock", async || home.count(WAITS).await > 0).await;
    tokio::time::sleep(LONG_STATEMENT).await;
    other.batch_execute("rollback").await.unwrap();
    let outcome = running.ended().await.succeeded();
    assert!(!outcome.stderr.contains("failed"), "{}", outcome.stderr);
    load.assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn a_postgres_that_is_slow_or_hangs_for_a_while_is_no_failure() {
    let (home, proxy, mut load, running) = under_load(10).await;
    proxy.set(Way::Held);
    tokio::time::sleep(Duration::from_secs(5)).await;
    proxy.set(Way::Slow(Duration::from_millis(5)));
    let outcome = running.ended().await.succeeded();
    assert!(!outcome.stderr.contains("failed"), "{}", outcome.stderr);
    load.assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn a_run_that_is_told_to_stop_while_postgres_is_out_of_reach_ends_soon() {
    for way in [Way::Refused, Way::Swallowing] {
        let (home, proxy, mut load, mut running) = under_load(20).await;
        proxy.set(way);
        let word = if way == Way::Refused { "cannot connect" } else { "has not answered" };
        running.says(word).await;
        running.signal(Signal::SIGTERM);
        let told = Instant::now();
        let outcome = running.ended().await.failed_with(1);
        eprintln!(
            "{way:?}: ended after {:?}: {}",
            told.elapsed(),
            outcome.stderr.lines().last().unwrap_or_default()
        );
        assert!(told.elapsed() < STOPS_WITHIN, "{way:?}: {:?}\n{}", told.elapsed(), outcome.stderr);
        proxy.set(Way::Open);
        home.ingest().await;
        load.assert_as_if_undisturbed(&home).await;
    }
}

#[tokio::test]
async fn a_run_that_is_told_to_stop_while_postgres_is_just_coming_back_tells_what_it_did() {
    let (home, proxy, mut load, mut running) = under_load(20).await;
    proxy.set(Way::Refused);
    running.says("cannot connect").await;
    running.signal(Signal::SIGTERM);
    running.says("waiting: ").await; // it has ended, and asks for its summary
    proxy.set(Way::Open);
    let summary = running.ended().await.succeeded().stdout;
    assert!(summary.contains("new dead letters"), "{summary}");
    home.ingest().await;
    load.assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn a_run_that_starts_while_postgres_is_out_of_reach_can_be_stopped() {
    for way in [Way::Refused, Way::Swallowing] {
        let (home, proxy) = proxied(company::MANIFEST).await;
        proxy.set(way);
        let mut running = home.spawn("run");
        running.says("cannot connect to Postgres").await;
        running.signal(Signal::SIGTERM);
        let told = Instant::now();
        running.ended().await.failed_with(1).saying(&["stopped before Postgres had answered"]);
        assert!(told.elapsed() < STOPS_WITHIN, "{way:?}: {:?}", told.elapsed());
    }
}

#[tokio::test]
async fn what_no_waiting_heals_ends_a_run_with_what_to_do() {
    let mut server = OwnServer::start().await;
    let admin = Home::on(server.url(), company::MANIFEST);
    admin.query("create role app login password 'right'").await;
    let as_app = |database: &str, password: &str| {
        let host = server.url().rsplit(['@', '/']).nth(1).unwrap().to_owned();
        format!("postgres://app:{password}@{host}/{database}")
    };
    let missing = company::furnished(Home::on(as_app("nowhere", "right"), company::MANIFEST));
    missing.run("run").await.failed_with(1).saying(&["\"nowhere\" does not exist", "create the database"]);
    let refused = company::furnished(Home::on(as_app("postgres", "wrong"), company::MANIFEST));
    let words = ["password authentication failed for user \"app\"", "check the user and the password"];
    refused.run("run").await.failed_with(1).saying(&words);

    let grant = "grant it to the role";
    for (i, (change, words)) in [
        ("alter table hired_employees drop column name", ["column name is missing", "change the table"]),
        ("drop table hired_employees cascade", ["table \"public\".\"hired_employees\"", "is gone"]),
        ("revoke insert on hired_employees from app", ["permission denied for table hired_employees", grant]),
        ("revoke all on tidegate.ledger from app", ["permission denied for table ledger", grant]),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("db{i}");
        admin.query(&format!("create database {name} owner app")).await;
        let home = company::furnished(Home::on(as_app(&name, "right"), company::MANIFEST));
        company::drop_example(&home);
        let mut running = home.spawn("run");
        until("all is in", async || home.names_in("landing") == ["done"]).await;
        home.query(change).await;
        home.drop("hired_employees-2.csv", "900001,Ann,2021-01-01T00:00:00Z,1,1\n");
        running.says("reading a file").await;
        if !change.contains("tidegate.") {
            // What concerns one table stops its dataset alone.
            running.says("dataset 'hired_employees' has stopped").await;
            running.signal(Signal::SIGTERM);
        }
        running.ended().await.failed_with(1).saying(&words);
        assert_eq!(home.names_in("landing"), ["done", "hired_employees-2.csv"], "{change}");
    }

    admin.query("create database gone owner app").await;
    let home = company::furnished(Home::on(as_app("gone", "right"), company::MANIFEST));
    let mut running = home.spawn("run");
    running.says("running").await;
    admin.query("drop database gone with (force)").await;
    running.ended().await.failed_with(1).saying(&["\"gone\" does not exist", "create the database"]);

    admin.query("create database locked owner app").await;
    let home = company::furnished(Home::on(as_app("locked", "right"), company::MANIFEST));
    let mut running = home.spawn("run");
    running.says("running").await;
    admin.query("alter role app password 'another'").await;
    // Again and again: a session may just have been let in, and not be listed yet.
    let terminate = "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'locked'";
    until("no session is left to go on with", async || {
        admin.query(terminate).await;
        running.has_ended()
    })
    .await;
    running.ended().await.failed_with(1).saying(&["password authentication failed", "check the user"]);
    server.stop().await;
}
