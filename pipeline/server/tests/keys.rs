//! Keys and references mean values, not spellings; and rows may reference rows of their own dataset.

use crate::home::Home;

const KEYS: &str = "\
pipeline: keys
stable_for: 10ms
datasets:
  integers: {key: id, columns: {id: integer, note: text}}
  numerics: {key: id, columns: {id: numeric, note: text}}
  uuids: {key: id, columns: {id: uuid, note: text}}
  instants: {key: id, columns: {id: timestamptz, note: text}}
  texts: {key: id, columns: {id: text, note: text}}
  references:
    key: id
    columns:
      id: integer
      i: {type: integer, optional: true, references: integers}
      n: {type: numeric, optional: true, references: numerics}
      u: {type: uuid, optional: true, references: uuids}
      t: {type: timestamptz, optional: true, references: instants}
      x: {type: text, optional: true, references: texts}
";

const UUID: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

#[tokio::test]
async fn keys_that_are_spelled_differently_are_one_row() {
    let home = Home::new(KEYS).await;
    home.drop("integers.csv", "7,a\n007,b\n+7,c\n-0,d\n0,e\n");
    home.drop("numerics.csv", "1,a\n1.0,b\n1e0,c\n01.00,d\n");
    home.drop("uuids.csv", format!("{UUID},a\n{},b\n{},c\n", UUID.to_uppercase(), UUID.replace('-', "")));
    home.drop("instants.csv", "2021-01-01T00:00:00Z,a\n2021-01-01 01:00:00+01:00,b\n2021-01-01T00:00,c\n");
    home.drop("texts.csv", "a,a\n\"a\",b\nA,c\n\" a\",d\n");
    home.ingest().await;
    let rows = async |table: &str| home.query(&format!("select note from {table} order by note")).await;
    assert_eq!(rows("integers").await, ["c", "e"]);
    assert_eq!(rows("numerics").await, ["d"]);
    assert_eq!(rows("uuids").await, ["c"]);
    assert_eq!(rows("instants").await, ["c"]);
    assert_eq!(rows("texts").await, ["b", "c", "d"], "texts are their spelling");
    assert!(home.dead_letters().await.is_empty());
}

#[tokio::test]
async fn references_that_are_spelled_differently_find_their_row() {
    let home = Home::new(KEYS).await;
    home.drop("integers.csv", "007,a\n");
    home.drop("numerics.csv", "1.0,a\n");
    home.drop("uuids.csv", format!("{},a\n", UUID.to_uppercase()));
    home.drop("instants.csv", "2021-01-01 01:00:00+01:00,a\n");
    home.drop("texts.csv", "\"a\",a\n");
    let lines = format!("1,+7,,,,\n2,,1e0,,,\n3,,,{UUID},,\n4,,,,2021-01-01T00:00:00Z,\n5,,,,,a\n6,,,,,A\n");
    home.drop("references-1.csv", &lines);
    home.ingest().await;
    let ids = "select id from \"references\" order by id";
    assert_eq!(home.query(ids).await, ["1", "2", "3", "4", "5"], "while the parents are fresh");
    // The keys are known from Postgres now, in its spelling.
    home.query("truncate \"references\"").await;
    home.drop("references-2.csv", lines);
    home.ingest().await;
    assert_eq!(home.query(ids).await, ["1", "2", "3", "4", "5"], "after a restart");
}

const STAFF: &str = "\
pipeline: staff
stable_for: 10ms
datasets:
  staff:
    key: id
    columns:
      id: integer
      boss: {type: integer, optional: true, references: staff}
";

#[tokio::test]
async fn a_row_may_reference_a_later_line_of_its_own_file() {
    let home = Home::new(STAFF).await;
    let lines: String = (1..3000).map(|id| format!("{id},{}\n", id + 1)).collect();
    home.drop("staff.csv", format!("{lines}3000,\n4000,4001\n"));
    home.ingest().await;
    assert_eq!(home.query("select count(*), max(id) from staff").await, ["3000|3000"]);
    let source = &home.sources().await[0];
    assert_eq!((&source["accepted"], &source["waiting"]), (&3000.into(), &1.into()), "{source}");
}

#[tokio::test]
async fn a_chain_of_references_heals_from_its_end() {
    let home = Home::new(STAFF).await;
    for (name, line) in [("staff-1.csv", "1,2\n"), ("staff-2.csv", "2,3\n"), ("staff-3.csv", "3,4\n")] {
        home.drop(name, line);
        home.ingest().await;
    }
    assert_eq!(home.query("select count(*) from staff").await, ["0"]);
    home.drop("staff-4.csv", "4,4\n");
    home.ingest().await;
    assert_eq!(home.query("select id, _source from staff order by id").await, ["1|1", "2|2", "3|3", "4|4"]);
}

#[tokio::test]
async fn rows_that_reference_each_other_end_alike_in_one_file_and_in_two_runs() {
    let together = Home::new(STAFF).await;
    together.drop("staff.csv", "1,2\n2,1\n");
    together.ingest().await;
    let apart = Home::new(STAFF).await;
    for (name, line) in [("staff-1.csv", "1,2\n"), ("staff-2.csv", "2,1\n")] {
        apart.drop(name, line);
        apart.ingest().await;
    }
    let rows = "select id from staff order by id";
    assert_eq!(together.query(rows).await, apart.query(rows).await);
}
