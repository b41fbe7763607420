//! What all checks share: the snapshot, and what they find.

use std::pin::pin;
use std::time::Duration;

use deadpool_postgres::Transaction;
use tidegate_core::manifest::Manifest;
use tidegate_postgres::PgError;
use tidegate_postgres::table::{self, TableSql};

/// The context of all checks.
pub(crate) struct Audit<'a> {
    pub(crate) tx: &'a Transaction<'a>,
    pub(crate) manifest: &'a Manifest,
    pub(crate) tables: &'a [TableSql],
    pub(crate) watch: &'a Watch<'a>,
}

impl Audit<'_> {
    /// Refuses a database that cannot be compared: that of another pipeline, or one whose tables do not fit.
    pub(crate) async fn is_possible(&self) -> Result<(), PgError> {
        // The checks sort rows by position.
        self.tx.batch_execute("set local work_mem = '64MB'").await?;
        let wanted = &self.manifest.pipeline;
        let name = self.tx.query_opt("select name from tidegate.pipeline", &[]).await?;
        if let Some(name) = name.map(|row| row.get::<_, String>(0)).filter(|name| name != wanted) {
            return Err(PgError::halt(format!(
                "the database holds the pipeline '{name}', the manifest is of '{wanted}'"
            )));
        }
        table::ensure_unchanged(self.tx, self.manifest).await
    }

    /// Runs work that takes long without Postgres, such as hashing a large file, and keeps the snapshot's session
    /// alive.
    pub(crate) async fn meanwhile<T>(&self, work: impl Future<Output = T>) -> Result<T, PgError> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(REST_MAX) => self.tx.batch_execute("select").await?,
            }
        }
    }
}

/// The callback for progress: the name of the check, and how much of it is done.
pub type Watch<'a> = dyn Fn(&'static str, u64) + Sync + 'a;

/// The maximum time that the snapshot's session is idle. The watchdog takes a session that is idle for longer for
/// lost.
pub(crate) const REST_MAX: Duration = Duration::from_secs(3);

/// Returns a position as users see it.
pub(crate) fn at(source: i64, line: impl std::fmt::Display) -> String {
    format!("{source}:{line}")
}
