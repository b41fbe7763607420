//! Takes locks in short tries, so that no other session has to wait long.

use std::collections::BTreeSet;
use std::time::Duration;

use deadpool_postgres::Transaction;
use tidegate_core::manifest::Manifest;
use tidegate_postgres::PgError;
use tidegate_postgres::table::table_name;
use tokio_postgres::error::SqlState;
use tracing::warn;

/// How long one try for locks waits. The time is so short that a session that waits for this one hardly ever finds a
/// deadlock: it looks for one once, a second after its wait began.
const LOCK_TIMEOUT: &str = "20ms";
/// How long other sessions have the relations to themselves between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// The maximum number of tries in a transaction. After the last one the transaction fails, which releases all its
/// locks, and is begun again.
const LOCK_TRIES: u32 = 100;

/// Locks tables against writers until the end of the transaction. Readers go on.
pub(super) async fn lock_out_writers(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    datasets: &BTreeSet<usize>,
) -> Result<(), PgError> {
    if datasets.is_empty() {
        return Ok(());
    }
    let tables = datasets.iter().map(|dataset| table_name(&manifest.datasets[*dataset]));
    let tables = tables.collect::<Vec<_>>().join(", ");
    let lock = format!("lock table {tables} in share row exclusive mode");
    let mut tries = Tries::begin(tx, "write to the tables").await?;
    while let Err(error) = tx.batch_execute(&lock).await {
        tries.again(error.into()).await?;
    }
    tries.end().await
}

/// Many short tries of statements that need locks. The locks are released between the tries, so that other users of
/// the relations do not wait behind this transaction.
pub(super) struct Tries<'a> {
    tx: &'a Transaction<'a>,
    whom: &'static str,
    done: u32,
}

impl<'a> Tries<'a> {
    pub(super) async fn begin(tx: &'a Transaction<'a>, whom: &'static str) -> Result<Self, PgError> {
        tx.batch_execute(&format!("set local lock_timeout = '{LOCK_TIMEOUT}'; savepoint tidegate_tries"))
            .await?;
        Ok(Self { tx, whom, done: 0 })
    }

    /// Prepares another try, if the last one failed for a lock.
    pub(super) async fn again(&mut self, error: PgError) -> Result<(), PgError> {
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

    pub(super) async fn end(self) -> Result<(), PgError> {
        // `end_with_us` has set it so.
        let end = "release savepoint tidegate_tries; set local lock_timeout = 0";
        Ok(self.tx.batch_execute(end).await?)
    }
}

fn is_locked(error: &PgError) -> bool {
    matches!(error, PgError::Postgres(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
}
