//! Getting locks without standing in anybody's way, and trying statements.

use std::collections::BTreeSet;
use std::time::Duration;

use deadpool_postgres::Transaction;
use tidegate_core::manifest::Manifest;
use tokio_postgres::error::SqlState;
use tracing::warn;

use super::super::Error;
use super::super::error::{Kind, postgres_kind};
use super::super::table::TableSql;

/// How long one try for locks waits. So short that hardly anybody who waits for us meanwhile finds a deadlock: he looks
/// once, a second after he began to wait.
const LOCK_TIMEOUT: &str = "20ms";
/// How long others have the relations to themselves between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// So many tries with what is locked already; then all of it is given back, and begun again.
const LOCK_TRIES: u32 = 100;

/// Lets nobody else write to tables until the end of the transaction; their readers go on.
pub(super) async fn lock_out_writers(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    datasets: &BTreeSet<usize>,
) -> Result<(), Error> {
    if datasets.is_empty() {
        return Ok(());
    }
    let tables = datasets.iter().map(|dataset| TableSql::new(&manifest.datasets[*dataset]).name);
    let tables = tables.collect::<Vec<_>>().join(", ");
    let lock = format!("lock table {tables} in share row exclusive mode");
    let mut tries = Tries::begin(tx, "write to the tables").await?;
    while let Err(error) = tx.batch_execute(&lock).await {
        tries.again(error.into()).await?;
    }
    tries.end().await
}

/// Many short tries at what needs locks, which are given back between them: whoever uses what we want is not kept
/// waiting behind us.
pub(super) struct Tries<'a> {
    tx: &'a Transaction<'a>,
    whom: &'static str,
    done: u32,
}

impl<'a> Tries<'a> {
    pub(super) async fn begin(tx: &'a Transaction<'a>, whom: &'static str) -> Result<Self, Error> {
        tx.batch_execute(&format!("set local lock_timeout = '{LOCK_TIMEOUT}'; savepoint tidegate_tries"))
            .await?;
        Ok(Self { tx, whom, done: 0 })
    }

    /// Gets ready for another try, if it was a lock that failed this one.
    pub(super) async fn again(&mut self, error: Error) -> Result<(), Error> {
        self.done += 1;
        if !is_locked(&error) || self.done >= LOCK_TRIES {
            return Err(error);
        }
        if self.done == 10 {
            warn!("waiting for transactions that {}", self.whom);
        }
        let back = "rollback to savepoint tidegate_tries; release savepoint tidegate_tries";
        self.tx.batch_execute(back).await?;
        tokio::time::sleep(LOCK_PAUSE).await;
        self.tx.batch_execute("savepoint tidegate_tries").await?;
        Ok(())
    }

    pub(super) async fn end(self) -> Result<(), Error> {
        // As `end_with_us` has left it.
        let end = "release savepoint tidegate_tries; set local lock_timeout = 0";
        Ok(self.tx.batch_execute(end).await?)
    }
}

fn is_locked(error: &Error) -> bool {
    matches!(error, Error::Postgres(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
}

/// Executes a statement that may fail; its error, with nothing done. Not an error that passes: that is nothing
/// about the statement.
pub(super) async fn savepoint(
    tx: &Transaction<'_>,
    sql: &str,
) -> Result<Option<tokio_postgres::Error>, Error> {
    tx.batch_execute("savepoint tidegate_attempt").await?;
    let result = tx.batch_execute(sql).await;
    if let Err(error) = result {
        if matches!(postgres_kind(&error), Kind::Passing | Kind::TooLong | Kind::Conflict) {
            return Err(error.into());
        }
        tx.batch_execute("rollback to savepoint tidegate_attempt; release savepoint tidegate_attempt")
            .await?;
        return Ok(Some(error));
    }
    tx.batch_execute("release savepoint tidegate_attempt").await?;
    Ok(None)
}
