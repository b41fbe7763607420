//! Names that SQL or a shell would trip over, and rows that are refused by the thousand.

use crate::home::Home;

const ODD: &str = r#"
pipeline: odd-names
stable_for: 10ms
datasets:
  order:
    key: select
    table: Größe & Co
    files: "order [0-9].txt"
    columns: {select: integer, "From 'here'": text, group: {type: integer, optional: true}, $1: {type: text, optional: true}}
  user:
    key: id
    table: other.user
    columns: {id: integer, "a b": {type: integer, references: order}}
"#;

#[tokio::test]
async fn odd_names_of_tables_columns_and_files_are_names_like_any() {
    let home = Home::new(ODD).await;
    home.query("create schema other").await;
    home.drop("order 1.txt", "1,a,2,b\n2,c,,\n");
    home.drop("user it's \"me\" $(x).csv", "1,1\n2,9\n");
    home.run("check").await.succeeded();
    home.ingest().await;
    assert_eq!(
        home.query(r#"select * from "Größe & Co" order by 1"#).await,
        ["1|a|2|b|1|1", "2|c|null|null|1|2"]
    );
    assert_eq!(home.query(r#"select id, "a b" from other."user""#).await, ["1|1"]);
    assert_eq!(home.names_in("landing/done"), ["1-order 1.txt", "2-user it's \"me\" $(x).csv"]);
    home.query(r#"insert into "Größe & Co" values (9, 'late')"#).await;
    home.ingest().await;
    assert_eq!(home.query(r#"select id from other."user" order by id"#).await, ["1", "2"], "healed");
    home.run("check").await.succeeded();
}

#[tokio::test]
async fn thousands_of_lines_that_a_constraint_refuses_are_all_set_aside() {
    let home = Home::new(
        "pipeline: many\nstable_for: 10ms\ndatasets: {things: {key: id, columns: {id: integer, n: integer}}}\n",
    )
    .await;
    home.ingest().await;
    home.query("alter table things add check (n % 2 = 0)").await;
    let lines: String = (1..=8000).map(|id| format!("{id},{id}\n")).collect();
    home.drop("things.csv", lines);
    home.ingest().await;
    let source = &home.sources().await[0];
    assert_eq!((&source["accepted"], &source["rejected"]), (&4000.into(), &4000.into()), "{source}");
    assert_eq!(home.query("select count(*), sum(id) from things").await, ["4000|16004000"]);
}

#[tokio::test]
async fn a_key_that_is_too_long_for_its_index_is_set_aside() {
    let home =
        Home::new("pipeline: long\nstable_for: 10ms\ndatasets: {texts: {key: id, columns: {id: text}}}\n")
            .await;
    // Incompressible, or Postgres would fit it in.
    let mut state = 1u64;
    let mut letter = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        char::from(b'a' + (state >> 33) as u8 % 26)
    };
    let long: String = (0..20_000).map(|_| letter()).collect();
    home.drop("texts.csv", format!("a\n{long}\nb\n"));
    home.ingest().await;
    assert_eq!(home.query("select id from texts order by id").await, ["a", "b"]);
    let letters = home.query("select line, reasons -> 0 ->> 'code' from tidegate.dead_letters").await;
    assert_eq!(letters, ["2|constraint_violation"]);
}
