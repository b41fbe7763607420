//! What the ledger holds of all that ever entered, for who watches a pipeline.

use tidegate_core::ledger::Effects;
use tokio_postgres::Row;

use super::{Error, Postgres};

/// Sources of one dataset, kind and state, and what became of their lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerTotal {
    /// The dataset.
    pub dataset: String,
    /// `file`, `upload`, `request` or `restore`.
    pub kind: String,
    /// Whether every line is accounted for.
    pub complete: bool,
    /// How many sources.
    pub sources: i64,
    /// Lines accepted, rejected, waiting, discarded.
    pub fates: [i64; 4],
    /// What the accepted ones did.
    pub effects: Effects,
    /// Lines that the ledger lacks, of sources that were read to their end.
    pub in_flight: i64,
}

impl Postgres {
    /// What the ledger holds, by dataset, kind and state of the sources.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked, or no run has prepared the database.
    pub async fn ledger_totals(&self) -> Result<Vec<LedgerTotal>, Error> {
        let connection = self.prepared_connection().await?;
        let rows = connection.query(include_str!("../../../sql/queries/ledger_totals.sql"), &[]).await?;
        let totals = rows.iter().map(|row| LedgerTotal {
            dataset: row.get("dataset"),
            kind: row.get("kind"),
            complete: row.get("complete"),
            sources: row.get("sources"),
            fates: ["accepted", "rejected", "waiting", "discarded"].map(|fate| row.get(fate)),
            effects: effects(row),
            in_flight: row.get("in_flight"),
        });
        Ok(totals.collect())
    }
}

/// The effects in the columns of their names.
pub(super) fn effects(row: &Row) -> Effects {
    let lines = |name| row.get::<_, i64>(name) as u64;
    Effects {
        inserted: lines("inserted"),
        updated: lines("updated"),
        superseded: lines("superseded"),
        uncounted: lines("uncounted"),
    }
}
