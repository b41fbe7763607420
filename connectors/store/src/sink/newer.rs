//! The newer lines that hold the rows of replayed lines. Such a replayed line is accepted, and changes nothing.

use std::collections::HashMap;

use deadpool_postgres::Transaction;
use tidegate_core::position::Position;
use tidegate_postgres::PgError;
use tokio_postgres::types::ToSql;

use super::batch::{BatchRow, RowBatch, Verdicts};
use crate::statement;
use crate::store::Store;

/// For each replayed line whose row a newer line holds, the newer line.
pub(crate) type NewerLines = HashMap<Position, Position>;

/// Looks up the rows of the replayed lines of a batch that are accepted. The rows of the batch must have been
/// written.
pub(crate) async fn rows(
    tx: &Transaction<'_>,
    store: &Store,
    batch: &RowBatch,
    verdicts: &[Verdicts],
) -> Result<NewerLines, PgError> {
    let mut newer = NewerLines::new();
    let is_replayed = |row: &BatchRow| {
        batch.letter_of(row).and_then(|letter| letter.stored).is_some_and(|stored| stored.claim.is_some())
    };
    for (dataset, (rows, verdicts)) in batch.rows.iter().zip(verdicts).enumerate() {
        let accepted = verdicts.accepted.iter().map(|row| &rows.lines[*row as usize]);
        let replayed: Vec<&BatchRow> = accepted.filter(|row| is_replayed(row)).collect();
        let table = &store.tables()[dataset];
        // Without a key no line replaces the row of another.
        if replayed.is_empty() || table.is_keyless {
            continue;
        }
        let keys = rows.columns(replayed.iter().copied(), &store.manifest().datasets[dataset].key);
        let sql = format!(
            "select wanted.i, held._source, held._line from unnest({}) with ordinality as wanted ({}, i) \
             join {} as held on {}",
            table.key.parameters(1),
            table.key.numbered(),
            table.name,
            table.key.is_text("held", "wanted")
        );
        let parameters: Vec<&(dyn ToSql + Sync)> = keys.iter().map(|column| column as _).collect();
        for row in statement::query(tx, &sql, &parameters).await? {
            let replayed = replayed[row.get::<_, i64>(0) as usize - 1].position;
            let (source, line): (i64, i64) = (row.get(1), row.get(2));
            // A row without a position belongs to another application, and is older than every line.
            if let (Ok(source), Ok(line)) = (u64::try_from(source), u64::try_from(line))
                && Position::new(source, line) > replayed
            {
                newer.insert(replayed, Position::new(source, line));
            }
        }
    }
    Ok(newer)
}
