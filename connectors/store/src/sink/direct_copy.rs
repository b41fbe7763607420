//! The direct copy: writes rows by `copy` straight into the table, with its triggers off.
//!
//! Under `session_replication_role = replica` neither foreign keys nor views cost a trigger call. Skipping them is
//! sound only because the sink has checked the references of the rows and holds the referenced rows, and because it
//! updates the views itself, from the change that [`view_delta`](super::view_delta) computes beside the copy. If the
//! table has a trigger, foreign key or policy that is not Tidegate's, the direct copy is closed: see [`obstacles`]. A
//! key that exists, or a row that Postgres refuses, fails the copy, and the batch is applied again by
//! [`staged_upsert`](super::staged_upsert).

use std::pin::pin;

use deadpool_postgres::Transaction;
use futures_util::future::{Either, select};
use tidegate_core::manifest::Dataset;
use tidegate_postgres::PgError;
use tidegate_postgres::session::SIGN_OF_LIFE;
use tidegate_postgres::table::TableSql;
use tokio_postgres::types::ToSql;
use tracing::debug;

use super::batch::DatasetRows;
use super::copy::{begin_copy, copy, send};
use super::view_delta::Staging;
use crate::state::DeltaSession;
use crate::store::Store;
use crate::{obstacles, statement};

/// The number of rows whose keys are looked up in the table before a copy is begun, so that a copy that must fail is
/// not begun.
const SAMPLE_ROWS: usize = 32;

/// Writes the rows by direct copy. `false`, with nothing done, if the direct copy is closed or would fail.
pub(super) async fn write(
    tx: &Transaction<'_>,
    store: &Store,
    dataset: usize,
    rows: &DatasetRows,
    accepted: &[u32],
) -> Result<bool, PgError> {
    let (manifest, tables, sink) = (store.manifest(), store.tables(), &store.inner.sink);
    let (definition, table) = (&manifest.datasets[dataset], &tables[dataset]);
    let views: Vec<_> = store.maintained(dataset).collect();
    // Held to the commit: no other session can add a trigger or a foreign key, or alter a column, meanwhile.
    tx.batch_execute(&format!("lock table {} in row exclusive mode", table.name)).await?;
    if !obstacles::find(tx, manifest, definition, &views).await?.is_empty()
        || any_key_exists(tx, table, &sample_keys(definition, rows, accepted)).await?
    {
        return Ok(false);
    }
    let delta_session = match views.is_empty() {
        true => None,
        // If no second session can be opened, the batch takes the staged upsert, which needs none.
        false => match second_session(store).await {
            Ok(session) => Some(session),
            Err(error) => {
                debug!(%error, "there is no second session to compute views in");
                return Ok(false);
            }
        },
    };
    tx.batch_execute("set local session_replication_role = replica").await?;
    let columns = table.copy_columns();
    let copying = copy(tx, &table.name, &columns, rows, accepted);
    if let Some(mut delta_session) = delta_session {
        let staging = Staging::new(tx, definition, table, &views).await?;
        let changes = delta_session.changes(store, &staging, &columns, (rows, accepted), &views);
        let changes = both(tx, copying, changes).await?;
        *sink.delta_session.lock().await = Some(delta_session);
        for (view, changes) in views.iter().zip(changes) {
            let copy = format!(
                "copy {} ({}) from stdin",
                view.store.table(),
                view.store.spec.change_columns().join(", ")
            );
            let mut sink = pin!(begin_copy(tx, &copy).await?);
            send(&mut sink, changes).await?;
            sink.finish().await?;
        }
    } else {
        copying.await?;
    }
    tx.batch_execute("set local session_replication_role = origin").await?;
    Ok(true)
}

async fn second_session(store: &Store) -> Result<DeltaSession, PgError> {
    match store.inner.sink.delta_session.lock().await.take() {
        Some(session) if !session.is_closed() => Ok(session),
        _ => DeltaSession::new(store.connection().await?, store.manifest()).await,
    }
}

/// Runs both futures at once; `first` works in `tx`. If one fails, the other is dropped. If `first` ends before
/// `second`, `tx` sends an empty statement at intervals of [`SIGN_OF_LIFE`], so that the watchdog does not take its
/// session for lost.
async fn both<T>(
    tx: &Transaction<'_>,
    first: impl Future<Output = Result<(), PgError>>,
    second: impl Future<Output = Result<T, PgError>>,
) -> Result<T, PgError> {
    let first = pin!(first);
    let second = pin!(second);
    let mut second = match select(first, second).await {
        Either::Left((first, second)) => {
            first?;
            second
        }
        Either::Right((second, first)) => {
            let second = second?;
            first.await?;
            return Ok(second);
        }
    };
    loop {
        match tokio::time::timeout(SIGN_OF_LIFE, &mut second).await {
            Ok(second) => return second,
            Err(_) => tx.batch_execute("").await?,
        }
    }
}

/// The keys of a sample of rows, spread over the whole batch: the texts of each column of the key.
fn sample_keys(dataset: &Dataset, rows: &DatasetRows, accepted: &[u32]) -> Vec<Vec<String>> {
    let step = (accepted.len() / SAMPLE_ROWS).max(1);
    rows.columns(accepted.iter().step_by(step).map(|row| &rows.lines[*row as usize]), &dataset.key)
}

/// Returns whether the table has a row of one of the keys. Rows without a key are always new.
async fn any_key_exists(
    tx: &Transaction<'_>,
    table: &TableSql,
    keys: &[Vec<String>],
) -> Result<bool, PgError> {
    if table.is_keyless {
        return Ok(false);
    }
    let sql = match &table.key.types[..] {
        [kind] => format!(
            "select exists (select from {} where {} = any($1::text[]::{kind}[]))",
            table.name,
            table.key.list()
        ),
        _ => format!(
            "select exists (select from unnest({}) as wanted ({}) join {} as held on {})",
            table.key.parameters(1),
            table.key.numbered(),
            table.name,
            table.key.is_text("held", "wanted")
        ),
    };
    let parameters: Vec<&(dyn ToSql + Sync)> = keys.iter().map(|column| column as _).collect();
    Ok(statement::query_one(tx, &sql, &parameters).await?.get(0))
}
