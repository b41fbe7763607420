//! A run that watches the landing folder, and waits for what is not there yet.

use std::io::Write;

use nix::sys::signal::Signal;

use crate::company;
use crate::home::until;

#[tokio::test]
async fn a_watching_run_ingests_what_is_dropped_later_and_heals_what_waited() {
    let home = company::home().await;
    home.drop("jobs.csv", "1,Clerk\n");
    let mut running = home.spawn("run");
    running.says("running").await;
    home.drop("hired_employees.csv", "1,Ada,2021-03-01T00:00:00Z,5,1\n");
    let waiting = "select count(*) from tidegate.dead_letters where status = 'waiting'";
    until("the employee waits", async || home.count(waiting).await == 1).await;
    assert_eq!(home.query("select count(*) from hired_employees").await, ["0"]);

    home.drop("departments.csv", "5,Research\n");
    until("the employee is there", async || home.count("select count(*) from hired_employees").await == 1)
        .await;
    until("all files are through", async || home.names_in("landing/done").len() == 3).await;
    let letters = home.query("select status from tidegate.dead_letters").await;
    assert_eq!(letters, ["healed"]);
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
    company::assert_accounted(&home).await;
}

#[tokio::test]
async fn a_file_that_is_still_being_written_is_not_touched() {
    let home = company::home().await;
    let mut writer = std::fs::File::create(home.path("landing/departments.csv")).unwrap();
    writer.write_all(b"1,Half").unwrap();
    home.drop("jobs.csv", "1,Clerk\n");
    let mut running = home.spawn("run");
    running.says("running").await;
    until("the settled file is through", async || home.names_in("landing/done").len() == 1).await;
    assert_eq!(home.query("select name from tidegate.sources").await, ["jobs.csv"]);
    assert_eq!(home.names_in("landing"), ["departments.csv", "done"]);
    writer.write_all(b" and half\n").unwrap();
    drop(writer);
    until("the other is through", async || home.names_in("landing/done").len() == 2).await;
    assert_eq!(home.query("select department from departments").await, ["Half and half"]);
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
}

#[tokio::test]
async fn a_run_waits_for_a_postgres_that_is_away_and_says_so() {
    let home = company::home().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgres://nobody@{free}/nowhere");
    let mut running = home.spawn(&format!("run --until-idle --database-url {url}"));
    running.says("cannot connect to Postgres").await;
    running.says("retry").await;
    assert!(!running.has_ended(), "{}", running.said());
    running.signal(Signal::SIGTERM);
    running.ended().await.failed_with(1).saying(&["stopped before Postgres had answered"]);
}

#[tokio::test]
async fn a_run_begins_when_its_postgres_comes() {
    let home = company::home().await;
    home.drop("departments.csv", "1,One\n");
    let config: tokio_postgres::Config = home.url.parse().unwrap();
    let port = config.get_ports()[0];
    let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = home.url.replacen(&format!(":{port}/"), &format!(":{}/", door.port()), 1);
    assert_ne!(url, home.url, "the url of the tests' server names its port");
    let mut running = home.spawn(&format!("run --until-idle --database-url {url}"));
    running.says("retry").await;
    let listener = tokio::net::TcpListener::bind(door).await.unwrap();
    let forward = tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    running.ended().await.succeeded();
    forward.abort();
    assert_eq!(home.query("select * from departments").await, ["1|One|1|1"]);
}
