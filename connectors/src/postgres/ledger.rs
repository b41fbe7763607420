//! The ledger inside one transaction: read early, entered in memory, locked and written last.

use std::collections::BTreeMap;

use deadpool_postgres::Transaction;
use tidegate_core::ledger::{Chunk, Fate, chunk_of};
use tidegate_core::position::Position;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::Error;

/// The chunks that a batch touches, with what the batch does to them.
pub(super) struct Draft {
    chunks: BTreeMap<(u64, u64), Change>,
}

#[derive(Default)]
struct Change {
    /// As it was when the transaction began to look.
    held: Chunk,
    /// Lines of the batch that are new.
    entered: Chunk,
    /// Lines of the batch that go from one set to another.
    settled: Vec<(u64, Fate, Fate)>,
}

impl Draft {
    /// Reads the chunks that cover `positions`.
    pub(super) async fn read(
        tx: &Transaction<'_>,
        positions: impl Iterator<Item = Position>,
    ) -> Result<Self, Error> {
        let mut chunks = BTreeMap::new();
        let mut last = None;
        for position in positions {
            let key = key_of(position);
            if last != Some(key) {
                chunks.entry(key).or_insert_with(Change::default);
                last = Some(key);
            }
        }
        let mut draft = Self { chunks };
        let (sources, numbers) = draft.keys();
        let statement = tx.prepare_cached(include_str!("../../../sql/queries/read_ledger.sql")).await?;
        for row in tx.query(&statement, &[&sources, &numbers]).await? {
            if let Some(change) = draft.chunks.get_mut(&row_key(&row)) {
                change.held = decode(&row)?;
            }
        }
        Ok(draft)
    }

    /// Enters a new line as accepted, until [`Draft::mark`] says otherwise. `false` if the ledger, or the
    /// batch itself, holds it already.
    pub(super) fn enter(&mut self, position: Position) -> bool {
        let Some(change) = self.chunks.get_mut(&key_of(position)) else { return false };
        change.held.fate(position.line).is_none() && change.entered.enter(position.line, Fate::Accepted)
    }

    /// Gives a line that was entered its real fate.
    pub(super) fn mark(&mut self, position: Position, fate: Fate) {
        if let Some(change) = self.chunks.get_mut(&key_of(position))
            && fate != Fate::Accepted
        {
            change.entered.shift(position.line, Fate::Accepted, fate);
        }
    }

    /// What became of a line before this transaction.
    pub(super) fn fate(&self, position: Position) -> Option<Fate> {
        self.chunks.get(&key_of(position))?.held.fate(position.line)
    }

    /// Moves a line from one set to another, if it is another.
    pub(super) fn settle(&mut self, position: Position, from: Fate, to: Fate) {
        if let Some(change) = self.chunks.get_mut(&key_of(position))
            && from != to
        {
            change.settled.push((position.line, from, to));
        }
    }

    /// Locks the chunks in order, looks again, and writes them.
    ///
    /// **The last step before the commit.** If a line of the batch has got a fate meanwhile, nothing may be
    /// committed: [`Error::LedgerChanged`].
    pub(super) async fn write(mut self, tx: &Transaction<'_>) -> Result<(), Error> {
        self.chunks.retain(|_, change| !change.entered.is_empty() || !change.settled.is_empty());
        let (sources, numbers) = self.keys();
        let open = tx.prepare_cached(include_str!("../../../sql/queries/open_ledger.sql")).await?;
        tx.execute(&open, &[&sources, &numbers]).await.map_err(|error| {
            match (error.code(), sources.last()) {
                (Some(&SqlState::FOREIGN_KEY_VIOLATION), Some(last)) => Error::SourceLost(*last as u64),
                _ => error.into(),
            }
        })?;
        let lock = tx.prepare_cached(include_str!("../../../sql/queries/lock_ledger.sql")).await?;
        let write = tx.prepare_cached(include_str!("../../../sql/queries/write_ledger.sql")).await?;
        for row in tx.query(&lock, &[&sources, &numbers]).await? {
            let key = row_key(&row);
            let Some(change) = self.chunks.remove(&key) else { continue };
            let mut chunk = decode(&row)?;
            if !chunk.absorb(&change.entered) {
                return Err(Error::LedgerChanged);
            }
            for (line, from, to) in change.settled {
                if !chunk.shift(line, from, to) {
                    return Err(Error::LedgerChanged);
                }
            }
            let [accepted, rejected, waiting, discarded] = Fate::ALL.map(|fate| chunk.encode(fate));
            let counts = Fate::ALL.map(|fate| chunk.count(fate) as i32);
            let (source, number) = (key.0 as i64, key.1 as i64);
            tx.execute(
                &write,
                &[
                    &source, &number, &accepted, &rejected, &waiting, &discarded, &counts[0], &counts[1],
                    &counts[2], &counts[3],
                ],
            )
            .await?;
        }
        if self.chunks.is_empty() { Ok(()) } else { Err(Error::LedgerChanged) }
    }

    fn keys(&self) -> (Vec<i64>, Vec<i64>) {
        self.chunks.keys().map(|(source, chunk)| (*source as i64, *chunk as i64)).unzip()
    }
}

fn key_of(position: Position) -> (u64, u64) {
    (position.source, chunk_of(position.line))
}

fn row_key(row: &Row) -> (u64, u64) {
    (row.get::<_, i64>(0) as u64, row.get::<_, i64>(1) as u64)
}

/// The chunk in columns 2 to 5 of a row.
pub(super) fn decode(row: &Row) -> Result<Chunk, Error> {
    Chunk::decode(sets(row))
        .map_err(|error| Error::halt(format!("{error}; restore tidegate.ledger from a backup")))
}

/// The sets of a chunk, as they are stored.
pub(super) fn sets(row: &Row) -> [&[u8]; 4] {
    [row.get(2), row.get(3), row.get(4), row.get(5)]
}
