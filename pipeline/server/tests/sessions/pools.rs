//! Behind a pooler a process of the server is nobody's for long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::manifest::Manifest;
use tidegate_postgres::Database;
use tidegate_postgres::listener::Listener;

use super::pooler::{Mode, Pooler};
use crate::company;
use crate::home::{Home, until};

/// As long as this a session must be silent before the watchdog gives it up, with a look more.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(22);

/// A client of the same pooler that does what takes it a while, again and again; the process that answers it.
async fn stranger(url: &str) -> Result<i32, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let driver = tokio::spawn(connection);
    let rows = client.simple_query("begin; select pg_backend_pid(); select pg_sleep(1); commit").await?;
    drop(client);
    let _ = driver.await;
    let pid = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(|pid| pid.parse().unwrap()),
        _ => None,
    });
    Ok(pid.unwrap())
}

/// Lets strangers work beside a pipeline that watches an empty folder, for longer than its sessions may rest. None of
/// theirs is ended.
async fn assert_strangers_go_on(home: Home, pooler: &Pooler) {
    let url = pooler.url(&home.url);
    let home = home.by_way_of(url.clone());
    company::drop_example(&home);
    home.ingest().await;
    let mut run = home.spawn("run");
    let begun = Instant::now();
    home.drop("jobs_2.csv", "9001,another\n");
    until("the run works", async || home.count("select count(*) from jobs where id = 9001").await == 1).await;
    while begun.elapsed() < GIVEN_UP_AFTER {
        let strangers = (0..4).map(|_| stranger(&url));
        for stranger in futures_util::future::join_all(strangers).await {
            stranger
                .unwrap_or_else(|error| panic!("a stranger's session was ended: {error:?}\n{}", run.said()));
        }
    }
    home.drop("jobs_3.csv", "9002,one more\n");
    until("the run goes on", async || home.count("select count(*) from jobs where id = 9002").await == 1)
        .await;
    assert!(!run.has_ended());
    run.kill().await;
}

#[tokio::test]
async fn no_stranger_is_ended_where_sessions_are_handed_on_when_a_client_leaves() {
    let home = company::embedded(company::MANIFEST).await;
    let Some(pooler) = Pooler::start("strangers", &home.url, Mode::Session, &[]).await else { return };
    assert_strangers_go_on(home, &pooler).await;
}

#[tokio::test]
async fn no_stranger_is_ended_where_sessions_are_handed_on_with_each_transaction() {
    let home = company::embedded(company::MANIFEST).await;
    let settings = ["max_prepared_statements = 200"];
    let Some(pooler) = Pooler::start("strangers", &home.url, Mode::Transaction, &settings).await else {
        return;
    };
    assert_strangers_go_on(home, &pooler).await;
}

#[tokio::test]
async fn six_sessions_of_a_pooler_are_enough() {
    let home = company::embedded(company::MANIFEST).await;
    let few = ["default_pool_size = 6"];
    let Some(pooler) = Pooler::start("few sessions", &home.url, Mode::Session, &few).await else { return };
    let url = pooler.url(&home.url);
    let home = home.by_way_of(url);
    company::drop_example(&home);
    let begun = Instant::now();
    let outcome = home.ingest().await;
    assert!(!outcome.stderr.contains("has not answered"), "{}", outcome.stderr);
    assert!(begun.elapsed() < GIVEN_UP_AFTER);
    company::assert_accounted(&home).await;
}

#[tokio::test]
async fn the_whole_company_enters_by_way_of_a_pooler() {
    for (mode, settings) in
        [(Mode::Session, &[][..]), (Mode::Transaction, &["max_prepared_statements = 200"])]
    {
        let home = company::embedded(company::MANIFEST).await;
        let Some(pooler) = Pooler::start("the company", &home.url, mode, settings).await else { continue };
        let url = pooler.url(&home.url);
        let home = home.by_way_of(url);
        company::drop_example(&home);
        home.ingest().await;
        company::assert_accounted(&home).await;
        company::assert_views_hold(&home).await;
        home.run("verify").await.succeeded();
        home.run("backup").await.succeeded();
        home.run("check").await.succeeded();
    }
}

/// Behind a pooler no session listens, and no notification arrives: tasks must not wait for one.
#[tokio::test]
async fn tasks_poll_behind_a_pooler() {
    let home = company::embedded(company::MANIFEST).await;
    let Some(pooler) = Pooler::start("polling", &home.url, Mode::Session, &[]).await else { return };
    let manifest = Manifest::parse(company::MANIFEST, &|_| None).unwrap();
    let database = Database::new(&pooler.url(&home.url), Arc::new(manifest)).unwrap();
    let listener = Listener::start(&database);
    let mut notifications = listener.notifications();
    tokio::time::sleep(Duration::from_secs(1)).await; // time in which it would begin to listen
    let looks = async {
        for _ in 0..3 {
            notifications.next(None).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), looks).await.unwrap();
}
