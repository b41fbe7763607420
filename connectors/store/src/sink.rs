//! The sink: a delivery, and everything else that writes rows, in transactions that hold the leases.
//!
//! # Layout
//!
//! * `batch`: a delivery or stored dead letters as rows and letters. `commit`: a batch in one transaction, or in parts.
//!   `transaction`: one transaction, whose steps follow.
//! * `letters`: locks stored dead letters, and writes them. `references`: references as sets. `absent_columns`: columns
//!   that the sources of a batch do not have.
//! * `direct_copy` (with `copy` and `view_delta`) and `staged_upsert`: the two ways to write rows.
//! * `newer`: the newer lines that hold the rows of replayed lines. `settle`: the fate of each line.
//! * `heal`: waiting lines whose references exist now. [`make_moves`]: the requested moves of dead letters.

mod batch;
mod commit;
mod transaction;
mod letters;
mod references;
mod absent_columns;
mod copy;
mod direct_copy;
mod view_delta;
mod staged_upsert;
mod newer;
mod settle;
mod heal;
pub mod make_moves;

use std::collections::BTreeMap;

use tidegate_core::contract::{self, CommitReport, Delivery, Sink};
use tidegate_postgres::error::PgErrorKind;
use tidegate_postgres::session::end_with_us;
use tidegate_postgres::{Database, PgError, TransactionMode};

use crate::store::Store;
use crate::upkeep;
use batch::BatchReader;

pub use batch::RowBatch;
pub use copy::begin_copy;

impl Sink for Store {
    type Batch = RowBatch;

    fn read(&self, delivery: &Delivery) -> RowBatch {
        BatchReader::new(self.manifest(), &self.inner.validators).delivery(delivery)
    }

    async fn apply(&self, batch: &RowBatch) -> Result<CommitReport, contract::Error> {
        Ok(commit::commit(self, batch).await?.applied)
    }

    /// **Requested moves are made here too**, so that every holder of the leases makes them, however it runs.
    async fn heal(&self) -> Result<u64, contract::Error> {
        make_moves::make_requested(self).await?;
        Ok(heal::waiting(self).await?)
    }

    async fn tidy(&self) -> Result<(), contract::Error> {
        Ok(upkeep::fold_views(self).await?)
    }

    fn stopped(&self) -> BTreeMap<usize, String> {
        self.inner.sink.stopped().clone()
    }

    async fn keys(
        &self,
        dataset: usize,
        limit: usize,
        mut learn: impl FnMut(&[u8]) + Send,
    ) -> Result<bool, contract::Error> {
        match keys(self, dataset, limit, &mut learn).await {
            // The table is gone or may not be read. `false` tells the caller that not all keys are known.
            Err(error) if error.kind() == PgErrorKind::Row => Ok(false),
            told => Ok(told?),
        }
    }
}

async fn keys(
    database: &Database,
    dataset: usize,
    limit: usize,
    learn: &mut (impl FnMut(&[u8]) + Send),
) -> Result<bool, PgError> {
    let table = &database.tables()[dataset];
    let sql = format!("select {} from {} as held limit {}", table.key.text_of("held"), table.name, limit + 1);
    let mut connection = database.connection().await?;
    let tx = database.begin(&mut connection, TransactionMode::Read).await?;
    end_with_us(&tx).await?;
    let portal = tx.bind(&sql, &[]).await?;
    let mut found = 0;
    loop {
        let rows = tx.query_portal(&portal, 10_000).await?;
        if rows.is_empty() || found > limit {
            return Ok(found <= limit);
        }
        found += rows.len();
        rows.iter().for_each(|row| learn(row.get::<_, &str>(0).as_bytes()));
    }
}
