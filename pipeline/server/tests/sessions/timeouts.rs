//! Timeouts of the role: batches become smaller until they fit, and what does not fit says which setting it is.

use super::Role;
use crate::home::{Home, skipped};

const MANIFEST: &str = "\
pipeline: slow
stable_for: 10ms
datasets:
  things:
    key: id
    columns: {id: integer, name: text}
  parts:
    key: id
    columns: {id: integer, thing: {type: integer, references: things}}
";

const TIMEOUT: &str = "statement_timeout = '300ms'";

/// A home with empty tables, run by a role of its own.
async fn home(manifest: &str) -> (Home, Role) {
    let home = Home::embedded(manifest).await;
    let role = Role::owner(&home).await;
    let home = home.by_way_of(role.url.clone());
    home.ingest().await;
    (home, role)
}

/// Lets each row of a table take its time.
async fn slow_down(home: &Home, table: &str, seconds_a_row: f64) {
    home.query(&format!(
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep({seconds_a_row}); \
         return new; end $$; \
         create trigger slow before insert on {table} for each row execute function slow()"
    ))
    .await;
}

/// A batch that takes longer than the role has by a setting is committed in parts.
async fn is_committed_in_parts(setting: &str, home: &Home, role: &Role) {
    slow_down(home, "things", 0.001).await;
    role.set(home, &format!("{setting} = '300ms'")).await;
    let lines: String = (0..3000).map(|id| format!("{id},name {id}\n")).collect();
    let bad: String = (0..10).map(|id| format!("x{id},no number\n")).collect();
    home.drop("things_1.csv", format!("{lines}{bad}"));
    home.ingest().await.saying(&["fewer lines are committed at once", setting]);
    assert_eq!(home.query("select count(*), count(distinct xmin::text) > 4 from things").await, ["3000|t"]);
    home.run("verify --deep").await.succeeded();
    let sources = home.sources().await;
    assert_eq!((&sources[0]["accepted"], &sources[0]["rejected"]), (&3000.into(), &10.into()), "{sources:?}");
}

#[tokio::test]
async fn a_batch_with_a_statement_that_takes_too_long_is_committed_in_parts() {
    let (home, role) = home(MANIFEST).await;
    is_committed_in_parts("statement_timeout", &home, &role).await;
}

#[tokio::test]
async fn a_batch_with_a_transaction_that_takes_too_long_is_committed_in_parts() {
    let (home, role) = home(MANIFEST).await;
    if home.query("select 1 from pg_settings where name = 'transaction_timeout'").await.is_empty() {
        return skipped(
            "transactions that take too long",
            "only Postgres 17 and newer have a transaction_timeout",
        );
    }
    is_committed_in_parts("transaction_timeout", &home, &role).await;
}

#[tokio::test]
async fn waiting_lines_heal_in_parts_too() {
    let (home, role) = home(MANIFEST).await;
    let lines: String = (0..1500).map(|id| format!("{id},1\n")).collect();
    home.drop("parts_1.csv", lines);
    home.ingest().await;
    slow_down(&home, "parts", 0.001).await;
    role.set(&home, TIMEOUT).await;
    home.drop("things_1.csv", "1,one\n");
    home.ingest().await.saying(&["fewer lines are committed at once"]);
    assert_eq!(home.query("select count(*) from parts").await, ["1500"]);
    let letters = "select status, count(*) from tidegate.dead_letters group by 1";
    assert_eq!(home.query(letters).await, ["healed|1500"]);
    home.run("verify --deep").await.succeeded();
}

#[tokio::test]
async fn a_start_waits_for_a_lock_however_long_the_role_would() {
    let (home, role) = home(MANIFEST).await;
    std::fs::create_dir_all(home.path("sql/views")).unwrap();
    std::fs::write(home.path("sql/views/names.sql"), "select name, count(*) as n from things group by 1")
        .unwrap();
    role.set(&home, "lock_timeout = '20ms'").await;
    let other = home.session().await;
    other.batch_execute("begin; lock table things in access exclusive mode").await.unwrap();
    home.drop("things_1.csv", "1,one\n");
    let mut run = home.spawn("run --until-idle");
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(!run.has_ended(), "{}", run.said());
    other.batch_execute("commit").await.unwrap();
    run.ended().await.succeeded();
    assert_eq!(home.query("select * from names").await, ["one|1"]);
}

#[tokio::test]
async fn a_line_that_takes_too_long_alone_says_which_setting_it_is() {
    let (home, role) = home(MANIFEST).await;
    slow_down(&home, "things", 2.0).await;
    role.set(&home, TIMEOUT).await;
    home.drop("things_1.csv", "1,one\n");
    let mut run = home.spawn("run --until-idle");
    run.says("the setting statement_timeout ended it").await;
    home.query("alter table things disable trigger slow").await;
    run.ended().await.succeeded().saying(&["works again"]);
    assert_eq!(home.query("select id from things").await, ["1"]);
}

#[tokio::test]
async fn lines_that_wait_for_each_other_heal_together_whatever_the_timeout() {
    let manifest = "pipeline: pairs\nstable_for: 10ms\ndatasets:\n  pairs:\n    key: id\n    columns: {id: integer, \
                    other: {type: integer, references: pairs}}\n";
    let (home, role) = home(manifest).await;
    let twin = |id: i32| if id % 2 == 0 { id + 1 } else { id - 1 };
    let line = |id: i32| format!("{id},{}\n", twin(id));
    // Each waits for one of the other file.
    home.drop("pairs_1.csv", (0..600).filter(|id| id % 2 == 0).map(line).collect::<String>());
    home.ingest().await;
    assert_eq!(home.query("select count(*) from pairs").await, ["0"]);
    slow_down(&home, "pairs", 0.001).await;
    role.set(&home, TIMEOUT).await;
    home.drop("pairs_2.csv", (0..600).filter(|id| id % 2 == 1).map(line).collect::<String>());
    home.ingest().await;
    assert_eq!(home.query("select count(*) from pairs").await, ["600"]);
    home.run("verify").await.succeeded();
}
