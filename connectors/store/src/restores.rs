//! Restores that were asked for: the requesting process stores them, and the running pipeline takes them up.

use serde::{Deserialize, Serialize};
use tidegate_postgres::listener::notify;
use tidegate_postgres::{Database, PgError, TransactionMode};
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::idempotency::{self, IdempotencyKey, KeyUse, Resource};
use crate::leases;
use crate::statement::bigints;
use crate::store::Store;
use crate::tasks::TaskState;

/// A requested restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// The identity of the restore.
    pub id: Uuid,
    /// The name of the backup, if it is in the pipeline's own folder.
    pub backup: Option<String>,
    /// The files that are restored, in this order.
    pub files: Vec<RestoreFile>,
    /// The name of the requester.
    pub asked_by: String,
    /// When it was asked for, by Postgres's clock, RFC 3339 in UTC.
    pub asked_at: String,
    /// The state of the restore.
    pub state: TaskState,
    /// The reason of the failure.
    pub error: Option<String>,
    /// The numbers of the sources that the files have become, in the order of the files.
    pub sources: Vec<u64>,
}

/// A file of a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreFile {
    /// The dataset whose rows it holds.
    pub dataset: String,
    /// Its absolute path.
    pub path: String,
    /// The number of its rows.
    pub rows: u64,
    /// BLAKE3 of the file as it was when it was checked, in hexadecimal digits.
    pub blake3: String,
}

/// Returns whether rows of a dataset without a key, by its index, may be in its table already, or on their way there
/// from another restore. Restored rows would then stand beside them, because no key makes them replace each other.
pub async fn may_double(database: &Database, dataset: usize) -> Result<bool, PgError> {
    let definition = &database.manifest().datasets[dataset];
    if !definition.is_keyless() {
        return Ok(false);
    }
    let sql = format!(
        "select exists (select from {}) or exists (select from tidegate.sources \
         where dataset = $1 and kind = 'restore' and completed_at is null)",
        database.tables()[dataset].name
    );
    Ok(database.connection().await?.query_one(&sql, &[&definition.name]).await?.get(0))
}

/// Asks for a restore. If an earlier request with the same `idempotency_key` has asked for one, its identity is
/// returned and nothing is asked for.
pub async fn ask(
    database: &Database,
    id: Uuid,
    backup: Option<&str>,
    files: &[RestoreFile],
    asked_by: &str,
    idempotency_key: Option<&IdempotencyKey>,
) -> Result<KeyUse<Uuid>, PgError> {
    let mut connection = database.connection().await?;
    let tx = database.begin(&mut connection, TransactionMode::Write).await?;
    let before = idempotency::claim(idempotency_key, &tx, Resource::Restore).await?;
    if before != KeyUse::New {
        return Ok(before);
    }
    idempotency::record(idempotency_key, &tx, Resource::Restore, &id).await?;
    let sql = include_str!("../../../sql/queries/ask_for_restore.sql");
    tx.execute(sql, &[&id, &backup, &Json(files), &asked_by]).await?;
    notify(&tx).await?;
    tx.commit().await?;
    Ok(KeyUse::New)
}

/// Returns the identity of the restore that a request has asked for before.
pub async fn of_request(
    database: &Database,
    idempotency_key: &IdempotencyKey,
) -> Result<KeyUse<Uuid>, PgError> {
    idempotency_key.find(&database.connection().await?, Resource::Restore).await
}

/// Returns the restores that wait for the pipeline, the oldest first.
pub async fn open(database: &Database) -> Result<Vec<Restore>, PgError> {
    select(database, None).await
}

/// Returns a restore by its identity.
pub async fn find(database: &Database, id: Uuid) -> Result<Option<Restore>, PgError> {
    Ok(select(database, Some(id)).await?.pop())
}

async fn select(database: &Database, id: Option<Uuid>) -> Result<Vec<Restore>, PgError> {
    let sql = include_str!("../../../sql/queries/restores.sql");
    let rows = database.connection().await?.query(sql, &[&id]).await?;
    let restore = |row: &tokio_postgres::Row| {
        let Json(files) = row.get("files");
        Ok(Restore {
            id: row.get("id"),
            backup: row.get("backup"),
            files,
            asked_by: row.get("asked_by"),
            asked_at: row.get("asked_at"),
            state: row.try_get("state")?,
            error: row.get("error"),
            sources: row.get::<_, Vec<i64>>("sources").into_iter().map(|source| source as u64).collect(),
        })
    };
    rows.iter().map(restore).collect()
}

/// Notes that the files of a restore have become these sources. Fails if another process has taken the leases over.
pub async fn entered(store: &Store, id: Uuid, sources: &[u64]) -> Result<(), PgError> {
    let sql = "update tidegate.restores set state = 'entered', sources = $2, entered_at = clock_timestamp() \
               where id = $1 and state = 'asked'";
    leases::execute(store, sql, &[&id, &bigints(sources)]).await?;
    Ok(())
}

/// Notes why a restore is refused, and as `sources` the sources that its files had become before.
pub async fn failed(store: &Store, id: Uuid, error: &str, sources: &[u64]) -> Result<(), PgError> {
    let sql = "update tidegate.restores set state = 'failed', error = $2, sources = $3 \
               where id = $1 and state = 'asked'";
    leases::execute(store, sql, &[&id, &error, &bigints(sources)]).await?;
    Ok(())
}
