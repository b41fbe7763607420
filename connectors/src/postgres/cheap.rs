//! The cheap way to write rows: `copy` straight into the table, with its triggers off.
//!
//! Under `session_replication_role = replica` neither foreign keys nor views cost a trigger call. That is
//! sound only because the sink has checked the references of the rows and holds the rows referenced, and
//! because it brings the views up to date itself, by the rows of this transaction alone. Where the table
//! has a trigger, foreign key or policy that is not Tidegate's, the way is closed: see
//! [`obstacles`](super::table::obstacles). A key that exists, or a row that Postgres refuses, fails the
//! copy, and the batch is applied anew the [`ordinary`](super::ordinary) way.

use bytes::{Bytes, BytesMut};
use deadpool_postgres::Transaction;
use futures_util::SinkExt;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::split::{Dialect, Fields};

use super::Error;
use super::batch::{Row, Rows};
use super::table::{TableSql, obstacles};
use super::views::Maintained;

/// How many rows are tried for a key that exists already, before a copy is begun in vain.
const SAMPLE_ROWS: usize = 32;
/// Pages that others may have added to the table but not filled, and that this copy may fill.
const MARGIN_PAGES: i64 = 64;
const COPY_MESSAGE_BYTES: usize = 256 * 1024;

/// Writes the rows in the cheap way; `false`, and nothing done, where it is closed or would fail.
pub(super) async fn write(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    dataset: &Dataset,
    table: &TableSql,
    (rows, accepted): (&Rows, &[u32]),
    views: &[&Maintained],
) -> Result<bool, Error> {
    // Held to the commit: nobody adds a trigger or a foreign key meanwhile.
    tx.batch_execute(&format!("lock table {} in row exclusive mode", table.name)).await?;
    if !obstacles(tx, manifest, dataset).await?.is_empty() {
        return Ok(false);
    }
    let keys = |rows_wanted: usize| sample_keys(dataset, rows, accepted, rows_wanted);
    if any_key_exists(tx, table, &keys(SAMPLE_ROWS)).await? {
        return Ok(false);
    }
    // Sorting is what grouping by hash is to avoid; the planner guesses too few rows to see that.
    tx.batch_execute("set local session_replication_role = replica; set local enable_sort = off").await?;
    let pages: i64 = tx
        .query_one(
            "select pg_relation_size(to_regclass($1)) / current_setting('block_size')::bigint",
            &[&table.name],
        )
        .await?
        .get(0);
    copy(tx, &table.name, &table.copy_columns(), rows, accepted).await?;
    if !views.is_empty() {
        let first_page = (pages - MARGIN_PAGES).max(0);
        let by_page = format!("ctid >= '({first_page},0)'::tid and xmin = pg_current_xact_id()::xid");
        let sql = format!("select count(*) from {} where {by_page}", table.name);
        let found: i64 = tx.query_one(&sql, &[]).await?.get(0);
        if found == accepted.len() as i64 {
            for view in views {
                tx.execute(&view.add(&format!("select * from {} where {by_page}", table.name)), &[]).await?;
            }
        } else {
            // Some rows went into free space elsewhere in the table: find them by their keys.
            let by_key = format!(
                "select * from {} where {} = any($1::text[]::{}[]) and xmin = pg_current_xact_id()::xid",
                table.name, table.key, table.key_type
            );
            let keys = keys(usize::MAX);
            let sql = format!("select count(*) from ({by_key}) as found");
            let found: i64 = tx.query_one(&sql, &[&keys]).await?.get(0);
            if found != accepted.len() as i64 {
                return Err(Error::halt(format!(
                    "{found} of {} rows just copied into {} were found again: this is a bug, please report it",
                    accepted.len(),
                    table.name
                )));
            }
            for view in views {
                tx.execute(&view.add(&by_key), &[&keys]).await?;
            }
        }
    }
    tx.batch_execute("set local session_replication_role = origin; set local enable_sort = on").await?;
    Ok(true)
}

/// Sends rows to a table by `copy`.
pub(super) async fn copy(
    tx: &Transaction<'_>,
    table: &str,
    columns: &str,
    rows: &Rows,
    accepted: &[u32],
) -> Result<(), Error> {
    let sink = tx.copy_in::<_, Bytes>(&format!("copy {table} ({columns}) from stdin (format csv)")).await?;
    tokio::pin!(sink);
    if accepted.len() == rows.lines.len() {
        let mut text = rows.text.clone();
        while !text.is_empty() {
            let message = text.split_to(text.len().min(COPY_MESSAGE_BYTES));
            sink.send(message).await?;
        }
    } else {
        let mut message = BytesMut::with_capacity(COPY_MESSAGE_BYTES);
        for row in accepted {
            let text = rows.copy_text(&rows.lines[*row as usize]);
            if message.len() + text.len() > COPY_MESSAGE_BYTES && !message.is_empty() {
                sink.send(message.split().freeze()).await?;
            }
            message.extend_from_slice(&text);
        }
        sink.send(message.freeze()).await?;
    }
    sink.as_mut().finish().await?;
    Ok(())
}

fn sample_keys(dataset: &Dataset, rows: &Rows, accepted: &[u32], wanted: usize) -> Vec<String> {
    let step = (accepted.len() / wanted).max(1);
    let mut fields = Fields::default();
    let mut key = |row: &Row| {
        let text = rows.canonical(row);
        fields.split(text, Dialect::STANDARD).expect("a canonical line has no open quote");
        String::from_utf8_lossy(fields.get(dataset.key, text)).into_owned()
    };
    accepted.iter().step_by(step).map(|row| key(&rows.lines[*row as usize])).collect()
}

async fn any_key_exists(tx: &Transaction<'_>, table: &TableSql, keys: &[String]) -> Result<bool, Error> {
    let sql = format!(
        "select exists (select from {} where {} = any($1::text[]::{}[]))",
        table.name, table.key, table.key_type
    );
    let statement = tx.prepare_cached(&sql).await?;
    Ok(tx.query_one(&statement, &[&keys]).await?.get(0))
}
