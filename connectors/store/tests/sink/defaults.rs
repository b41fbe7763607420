//! Columns whose missing values are left to the table's own default.

use tidegate_testing::postgres;

use super::fixture::{Fixture, delivery, fates};

const STAFF: &str = "\
pipeline: p
datasets:
  staff:
    key: id
    columns:
      id: integer
      country: {type: text, default: table}
      boss: {type: integer, optional: true, references: staff}
";
const STAFF_INDEX: usize = 0;

/// A fresh database whose table has a default, for a column that must not be null.
async fn staff() -> Fixture {
    let fixture = Fixture::unprepared(&postgres::database().await, STAFF).await;
    fixture
        .execute(
            "create table staff (id integer primary key, country text not null default 'CO', \
             boss integer references staff, _source bigint not null default -1, \
             _line bigint not null default -1)",
        )
        .await;
    fixture.prepare(&[]).await;
    fixture.add_sources().await;
    fixture
}

async fn rows(fixture: &Fixture) -> Vec<String> {
    fixture.query("select concat_ws(' ', id, country, boss) from staff order by id").await
}

#[tokio::test]
async fn a_default_takes_the_place_of_a_missing_value_in_new_and_in_existing_rows() {
    let fixture = staff().await;
    let first = [(STAFF_INDEX, 1, 1, "1,,"), (STAFF_INDEX, 1, 2, "2,PE,")];
    fixture.apply(&delivery(&first)).await.unwrap();
    assert_eq!(rows(&fixture).await, ["1 CO", "2 PE"]);
    fixture.apply(&delivery(&[(STAFF_INDEX, 2, 1, "2,,")])).await.unwrap();
    assert_eq!(rows(&fixture).await, ["1 CO", "2 CO"]);
}

/// Rows with the default and rows without it are written one group after the other.
#[tokio::test]
async fn rows_may_reference_rows_of_their_batch_that_the_table_fills_in() {
    let fixture = staff().await;
    let lines = [
        (STAFF_INDEX, 1, 1, "1,PE,2"),
        (STAFF_INDEX, 1, 2, "2,,3"),
        (STAFF_INDEX, 1, 3, "3,EC,4"),
        (STAFF_INDEX, 1, 4, "4,,"),
    ];
    fixture.apply(&delivery(&lines)).await.unwrap();
    assert_eq!(fixture.letters().await, Vec::<String>::new());
    assert_eq!(fates(&fixture.sink, 1).await[0], 4);
    assert_eq!(rows(&fixture).await, ["1 PE 2", "2 CO 3", "3 EC 4", "4 CO"]);
}
