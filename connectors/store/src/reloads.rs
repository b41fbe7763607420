//! Reloads: sources that are read once more. The requesting process stores the request, and the running pipeline
//! reads.

use deadpool_postgres::Transaction;
use tidegate_postgres::listener::notify;
use tidegate_postgres::{Database, PgError, TransactionMode};
use tokio_postgres::Row;

use crate::idempotency::{self, IdempotencyKey, KeyUse, Resource};
use crate::leases;
use crate::source_kind::SourceKind;
use crate::statement::{self, Columns};
use crate::store::Store;
use crate::tasks::TaskState;

/// A source that is read once more, as a new source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reload {
    /// The number of the reload.
    pub reload: u64,
    /// The number of the source that is read again.
    pub old_source: u64,
    /// The dataset of that source.
    pub dataset: String,
    /// The kind of input that it was.
    pub kind: SourceKind,
    /// The name of its file.
    pub name: String,
    /// BLAKE3 of its content, if it is known.
    pub content: Option<Vec<u8>>,
    /// Its size in bytes.
    pub bytes: Option<u64>,
    /// How many keys were generated for its lines, one for each line; `None` if none were.
    pub generated_keys: Option<u64>,
    /// The name of the requester.
    pub asked_by: String,
    /// When it was asked for, by Postgres's clock, RFC 3339 in UTC.
    pub asked_at: String,
    /// The state of the reload.
    pub state: TaskState,
    /// The reason why it was refused.
    pub error: Option<String>,
    /// The number of the new source.
    pub source: Option<u64>,
}

/// Asks for a source to be read again. Returns the number of the reload; `None` if there is no such source. If an
/// earlier request with the same `idempotency_key` has asked for one, returns the number of that reload.
pub async fn ask(
    database: &Database,
    source: u64,
    asked_by: &str,
    idempotency_key: Option<&IdempotencyKey>,
) -> Result<KeyUse<Option<u64>>, PgError> {
    let mut connection = database.connection().await?;
    let tx = database.begin(&mut connection, TransactionMode::Write).await?;
    match idempotency::claim::<i64>(idempotency_key, &tx, Resource::Reload).await? {
        KeyUse::New => {}
        KeyUse::Known(reload) => return Ok(KeyUse::Known(Some(reload as u64))),
        KeyUse::Reused => return Ok(KeyUse::Reused),
    }
    let sql = include_str!("../../../sql/queries/ask_for_reload.sql");
    let Some(row) = tx.query_opt(sql, &[&(source as i64), &asked_by]).await? else {
        return Ok(KeyUse::Known(None));
    };
    let reload: i64 = row.get(0);
    idempotency::record(idempotency_key, &tx, Resource::Reload, &reload).await?;
    notify(&tx).await?;
    tx.commit().await?;
    Ok(KeyUse::Known(Some(reload as u64)))
}

/// Returns the reloads that the pipeline has to work on, in the order in which they were asked for: those that wait
/// for it, and those whose new source is not complete.
pub async fn open(database: &Database) -> Result<Vec<Reload>, PgError> {
    select(database, None).await
}

/// Returns a reload by its number.
pub async fn find(database: &Database, number: u64) -> Result<Option<Reload>, PgError> {
    Ok(select(database, Some(number as i64)).await?.pop())
}

async fn select(database: &Database, number: Option<i64>) -> Result<Vec<Reload>, PgError> {
    let sql = include_str!("../../../sql/queries/reloads.sql");
    let rows = statement::query(&database.connection().await?, sql, &[&number]).await?;
    let reload = |row: &Row| {
        Ok(Reload {
            reload: row.number("reload"),
            old_source: row.number("old_source"),
            dataset: row.get("dataset"),
            kind: row.try_get("kind")?,
            name: row.get("name"),
            content: row.get("content"),
            bytes: row.number_opt("bytes"),
            generated_keys: row.number_opt("generated_keys"),
            asked_by: row.get("asked_by"),
            asked_at: row.get("asked_at"),
            state: row.try_get("state")?,
            error: row.get("error"),
            source: row.number_opt("source"),
        })
    };
    rows.iter().map(reload).collect()
}

/// Notes why a source cannot be read again. Fails if another process has taken the leases over.
pub async fn refuse(store: &Store, reload: u64, error: &str) -> Result<(), PgError> {
    let sql =
        "update tidegate.reloads set state = 'failed', error = $2 where reload = $1 and state = 'asked'";
    leases::execute(store, sql, &[&(reload as i64), &error]).await?;
    Ok(())
}

/// Returns the new source of a reload, if it is registered.
pub(super) async fn entered(tx: &Transaction<'_>, reload: u64) -> Result<Option<i64>, PgError> {
    let sql = "select source from tidegate.reloads where reload = $1";
    let row = tx.query_opt(sql, &[&(reload as i64)]).await?;
    Ok(row.and_then(|row| row.get(0)))
}

/// Notes the new source of a reload, in the transaction that registers it.
pub(super) async fn enter(tx: &Transaction<'_>, reload: u64, source: u64) -> Result<(), PgError> {
    let sql = "update tidegate.reloads set state = 'entered', source = $2, entered_at = clock_timestamp() \
               where reload = $1 and state = 'asked'";
    match tx.execute(sql, &[&(reload as i64), &(source as i64)]).await? {
        1 => Ok(()),
        _ => Err(PgError::halt(format!("the reload {reload} is not asked for any more"))),
    }
}
