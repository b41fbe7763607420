//! Commits a batch in one transaction, or in parts.

use tidegate_postgres::{Database, PgError};

use super::batch::RowBatch;
use super::transaction::{self, CommitOutcome};
use crate::store::Store;

impl CommitOutcome {
    fn add(&mut self, more: Self) {
        let Self { applied, left } = more;
        self.left += left;
        self.applied.add(applied);
    }
}

/// Applies a batch in one transaction. If a timeout of the role ends that, the batch is applied in smaller ones, one
/// after another; the last has the readers' offsets. Nothing is lost or doubled if the process stops between them:
/// the ledger has the lines that are delivered again.
pub(super) async fn commit(store: &Store, batch: &RowBatch) -> Result<CommitOutcome, PgError> {
    let mut parts = Vec::new();
    if let Some(all) = commit_or_halve(store, batch, stays_whole(store, batch), &mut parts).await? {
        return Ok(all);
    }
    let mut outcome = CommitOutcome::default();
    while let Some(part) = parts.pop() {
        if let Some(more) = commit_or_halve(store, &part, false, &mut parts).await? {
            outcome.add(more);
        }
    }
    Ok(outcome)
}

/// Applies a batch in one transaction. If that takes too long, pushes its halves to `parts` and returns `None`, unless
/// the batch is to stay whole.
async fn commit_or_halve(
    store: &Store,
    batch: &RowBatch,
    is_whole: bool,
    parts: &mut Vec<RowBatch>,
) -> Result<Option<CommitOutcome>, PgError> {
    let (pace, lines) = (&store.inner.sink.pace, batch.len());
    if !is_whole && !pace.fits(lines) && halve(store, batch, parts) {
        return Ok(None);
    }
    match transaction::commit_at_once(store, batch, is_whole).await {
        Ok(outcome) => {
            pace.fitted(lines);
            Ok(Some(outcome))
        }
        Err(error) if !is_whole && pace.failed(lines, &error) && halve(store, batch, parts) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Pushes the halves of a batch to a stack, the first on top. `false` if the batch is a single line.
fn halve(store: &Store, batch: &RowBatch, parts: &mut Vec<RowBatch>) -> bool {
    let Some((first, second)) = batch.halves(&store.inner.validators) else { return false };
    parts.extend([second, first]);
    true
}

/// Returns whether stored lines of a batch may wait for each other. Such lines must be committed together, because
/// none of them heals without the others.
fn stays_whole(database: &Database, batch: &RowBatch) -> bool {
    let mut datasets = batch.rows.iter().zip(&database.manifest().datasets);
    datasets.any(|(rows, dataset)| {
        dataset.references_own_table()
            && rows.lines.iter().any(|row| batch.letter_of(row).is_some_and(|letter| letter.stored.is_some()))
    })
}
