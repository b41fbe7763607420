//! The totals of the ledger over all sources, for monitoring.

use tidegate_core::ledger::Effects;
use tidegate_postgres::{Database, PgError, schema};
use tokio_postgres::Row;

use crate::source_kind::SourceKind;
use crate::statement::Columns;

/// The totals of the sources of one dataset, kind and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerTotal {
    /// The dataset.
    pub dataset: String,
    /// `file`, `upload`, `request` or `restore`.
    pub kind: SourceKind,
    /// Whether every line is accounted for.
    pub complete: bool,
    /// The number of sources.
    pub sources: i64,
    /// The numbers of accepted, rejected, waiting and discarded lines.
    pub fates: [i64; 4],
    /// The effects of the accepted lines.
    pub effects: Effects,
    /// The number of lines that the ledger lacks, of sources that were read to their end.
    pub in_flight: i64,
}

/// Returns the totals of the ledger, by dataset, kind and state of the sources. Fails if no run has prepared the
/// database.
pub async fn read(database: &Database) -> Result<Vec<LedgerTotal>, PgError> {
    let connection = schema::prepared_connection(database).await?;
    let rows = connection.query(include_str!("../../../sql/queries/ledger_totals.sql"), &[]).await?;
    let total = |row: &Row| {
        Ok(LedgerTotal {
            dataset: row.get("dataset"),
            kind: row.try_get("kind")?,
            complete: row.get("complete"),
            sources: row.get("sources"),
            fates: ["accepted", "rejected", "waiting", "discarded"].map(|fate| row.get(fate)),
            effects: effects(row),
            in_flight: row.get("in_flight"),
        })
    };
    rows.iter().map(total).collect()
}

pub(super) fn effects(row: &Row) -> Effects {
    Effects {
        inserted: row.number("inserted"),
        updated: row.number("updated"),
        superseded: row.number("superseded"),
        uncounted: row.number("uncounted"),
    }
}
