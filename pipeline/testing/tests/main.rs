//! What tests share is itself what it says.

#![allow(clippy::unwrap_used)] // the whole crate is tests; the lint knows only `#[test]` functions

use tidegate_core::manifest::Manifest;
use tidegate_testing::company;

#[test]
fn the_manifest_of_tests_has_the_datasets_of_the_example() {
    let datasets = |text: &str| format!("{:#?}", Manifest::parse(text, &|_| None).unwrap().datasets);
    let example = include_str!("../../../examples/company/tidegate.yaml");
    assert_eq!(datasets(company::MANIFEST), datasets(example));
}

#[test]
fn each_table_of_the_example_has_a_file() {
    let lines = company::TABLES.map(|table| company::file(table).lines().count());
    assert_eq!(lines, [12, 183, 2001], "one name holds a line break");
}

#[cfg(feature = "postgres")]
mod postgres {
    use tidegate_testing::postgres;
    use tokio_postgres::NoTls;

    async fn tell(url: &str, sql: &str) {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
        drop(client);
        driver.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_copy_has_what_its_original_had_and_changes_alone() {
        let original = postgres::database().await;
        tell(&original, "create table mine as select 1 as n").await;
        let (one, other) = tokio::join!(postgres::copy_of(&original), postgres::copy_of(&original));
        tell(&one, "drop table mine").await;
        tell(&other, "insert into mine values (2)").await;
        tell(&original, "drop table mine").await;
    }
}
