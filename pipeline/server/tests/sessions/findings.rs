//! What `check` finds is so, once, and what it advises can be done.

use super::Role;
use crate::company;
use crate::home::Home;
use crate::server::OwnServer;

#[tokio::test]
async fn a_server_that_does_not_answer_says_why_once() {
    let home = company::home().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let told = home.run(&format!("check --format csv --database-url postgres://me@{free}/db")).await;
    let told = told.failed_with(1).stdout;
    assert_eq!(told.matches("refused").count(), 1, "{told}");
}

#[tokio::test]
async fn a_role_that_only_reads_is_found_and_a_run_says_it() {
    let home = company::embedded(company::MANIFEST).await;
    let role = Role::owner(&home).await;
    let home = home.by_way_of(role.url.clone());
    home.ingest().await;
    role.set(&home, "default_transaction_read_only = on").await;
    let told = home.run("check --format csv").await.failed_with(1).stdout;
    assert!(told.contains("default_transaction_read_only"), "{told}");
    // It waits, as for a standby that is being promoted, and says for what.
    let mut run = home.spawn("run --until-idle");
    run.says("target_session_attrs=read-write").await;
    run.kill().await;
}

#[tokio::test]
async fn a_standby_is_found_and_a_run_goes_on_when_it_is_promoted() {
    let mut server = OwnServer::start().await;
    let home = company::furnished(Home::on(server.url(), company::MANIFEST));
    home.ingest().await;
    server.demote().await;
    let told = home.run("check --format csv").await.failed_with(1).stdout;
    assert!(told.contains("it is a standby, which only reads"), "{told}");
    home.drop("departments_1.csv", "1,Sales\n");
    let mut run = home.spawn("run --until-idle");
    run.says("is it a standby?").await;
    home.query("select pg_promote()").await;
    run.ended().await.succeeded();
    assert_eq!(home.query("select id, department from departments").await, ["1|Sales"]);
    server.stop().await;
}

const KEYED: &str = "\
pipeline: keyed
datasets:
  parts:
    key: id
    columns: {id: integer, day: date}
  pieces:
    key: id
    columns: {id: integer, part: {type: integer, references: parts}}
";

#[tokio::test]
async fn no_key_is_advised_that_postgres_cannot_make() {
    let home = Home::embedded(KEYED).await;
    home.query(
        "create table parts (id integer not null, day date not null, _source bigint not null default -1, \
         _line bigint not null default -1, primary key (id, day)) partition by range (day); \
         create table parts_1 partition of parts default; \
         create table pieces (piece integer primary key, id integer not null, part integer not null, \
         _source bigint not null default -1, _line bigint not null default -1)",
    )
    .await;
    let told = home.run("check --format csv").await.failed_with(1).stdout;
    for text in [
        "Postgres can make none on \"\"public\"\".\"\"parts\"\", which is partitioned by RANGE (day)",
        "Postgres can make none until \"\"id\"\" is a key of \"\"public\"\".\"\"parts\"\"",
        "has another primary key: alter table \"\"public\"\".\"\"pieces\"\" add unique (\"\"id\"\")",
    ] {
        assert!(told.contains(text), "'{text}' is not in:\n{told}");
    }
    assert!(!told.contains("add primary key"), "{told}");
    // What is advised can be done.
    home.query("alter table pieces add unique (id)").await;
    assert!(
        !home
            .run("check --format csv")
            .await
            .stdout
            .contains("column id is no key, and \"\"public\"\".\"\"pieces")
    );
}
