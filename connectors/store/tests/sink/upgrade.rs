//! A database of an earlier version, brought forward.

use tidegate_testing::postgres;

/// What a version without these counts left.
const BEFORE: [&str; 6] = [
    include_str!("../../../../sql/migrations/V1__registry_ledger_dead_letters.sql"),
    include_str!("../../../../sql/migrations/V2__views_of_one_query.sql"),
    include_str!("../../../../sql/migrations/V3__stages_that_share_partitions.sql"),
    include_str!("../../../../sql/migrations/V4__requests.sql"),
    include_str!("../../../../sql/migrations/V5__moves.sql"),
    include_str!("../../../../sql/migrations/V6__restores.sql"),
];
const COUNTS: &str = include_str!("../../../../sql/migrations/V9__effects_of_accepted_lines.sql");

#[tokio::test]
async fn what_was_accepted_before_it_was_counted_is_uncounted() {
    let url = postgres::database().await;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for sql in BEFORE {
        client.batch_execute(sql).await.unwrap();
    }
    client
        .batch_execute(
            "insert into tidegate.sources (source, dataset, kind, name, identity) values (1, 'a', 'file', 'a', 'a'); \
             insert into tidegate.ledger (source, chunk, accepted_count, rejected_count) values (1, 0, 7, 2), (1, 1, 0, 1)",
        )
        .await
        .unwrap();
    client.batch_execute(COUNTS).await.unwrap();
    let sql = "select concat_ws(' ', accepted_count, uncounted_count, inserted_count, updated_count, \
               superseded_count, repeated_count) from tidegate.ledger order by chunk";
    let rows = client.query(sql, &[]).await.unwrap();
    let counts: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(counts, ["7 7 0 0 0 0", "0 0 0 0 0 0"]);
}
