//! A snapshot of the database, for a backup, and what it has besides the tables of datasets.

use std::collections::BTreeMap;

use deadpool_postgres::{ClientWrapper, Transaction};
use tidegate_postgres::{PgError, table};
use tidegate_store::Store;

/// Tidegate's own tables that belong to this database alone: those for the processes that run the pipeline, for the
/// readers' offsets on the topics, and for what is derived from other tables.
const NOT_KEPT: [&str; 8] =
    ["migrations", "pipeline", "leases", "members", "offsets", "views", "view_stores", "view_resets"];

/// One of Tidegate's own tables: its name, and for each column its name, its type, and whether its value may be null.
pub(super) type OwnTable = (String, Vec<(String, String, bool)>);

/// Takes a snapshot, in which nothing changes any more. The tables must fit the manifest.
pub(super) async fn take<'a>(
    store: &Store,
    connection: &'a mut ClientWrapper,
) -> Result<Transaction<'a>, PgError> {
    let manifest = store.manifest();
    let tx = store.begin_snapshot(connection).await?;
    let found: String = tx.query_one("select name from tidegate.pipeline", &[]).await?.get(0);
    if found != manifest.pipeline {
        return Err(PgError::halt(format!(
            "the database holds the pipeline '{found}', the manifest is of '{}'",
            manifest.pipeline
        )));
    }
    table::ensure_unchanged(&tx, manifest).await?;
    Ok(tx)
}

/// Returns Tidegate's own sequences, with the last number of each that has given one.
pub(super) async fn sequences(tx: &Transaction<'_>) -> Result<BTreeMap<String, i64>, PgError> {
    let sql = "select sequencename::text, last_value from pg_sequences \
               where schemaname = 'tidegate' and sequencename <> 'view_changes' and last_value is not null";
    let rows = tx.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Returns Tidegate's own tables that a backup keeps, as this database has them.
pub(super) async fn own_tables(tx: &Transaction<'_>) -> Result<Vec<OwnTable>, PgError> {
    let mut tables: Vec<OwnTable> = Vec::new();
    for row in tx.query(include_str!("../../../sql/queries/own_tables.sql"), &[&&NOT_KEPT[..]]).await? {
        let table: String = row.get("table");
        if tables.last().is_none_or(|(last, _)| *last != table) {
            tables.push((table, Vec::new()));
        }
        if let Some((_, columns)) = tables.last_mut() {
            columns.push((row.get("name"), row.get("type"), row.get("optional")));
        }
    }
    Ok(tables)
}
