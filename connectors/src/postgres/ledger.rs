//! The ledger inside one transaction: read early, entered in memory, locked and written last.

use std::collections::BTreeMap;
use std::ops::AddAssign;

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
    /// What the lines did that the batch accepts.
    writes: Writes,
}

/// What accepted lines wrote. Those that wrote nothing are superseded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Writes {
    pub(super) inserted: u64,
    pub(super) updated: u64,
    /// Lines whose key another line of their own source had, or has by now: none of them inserted a row.
    pub(super) repeated: u64,
}

/// The same of the lines of a batch, by source and chunk.
#[derive(Debug, Default)]
pub(super) struct ChunkWrites(BTreeMap<(u64, u64), Writes>);

impl AddAssign for Writes {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.repeated += other.repeated;
    }
}

impl ChunkWrites {
    /// Adds what lines of the chunk wrote that covers `position`.
    pub(super) fn add(&mut self, position: Position, writes: Writes) {
        *self.0.entry(key_of(position)).or_default() += writes;
    }

    /// Whether no chunk has more rows written than it has `lines`.
    pub(super) fn fits(&self, lines: &Self) -> bool {
        let sent = |chunk| lines.0.get(chunk).map_or(0, |lines| lines.inserted);
        self.0.iter().all(|(chunk, writes)| writes.inserted + writes.updated <= sent(chunk))
    }

    /// What all of them wrote.
    pub(super) fn total(&self) -> Writes {
        let mut total = Writes::default();
        self.0.values().for_each(|writes| total += *writes);
        total
    }
}

impl FromIterator<Position> for ChunkWrites {
    /// Lines each of which inserted a row.
    fn from_iter<T: IntoIterator<Item = Position>>(lines: T) -> Self {
        let mut all = Self::default();
        let mut run: Option<((u64, u64), u64)> = None;
        for position in lines {
            let key = key_of(position);
            match &mut run {
                Some((chunk, inserted)) if *chunk == key => *inserted += 1,
                _ => {
                    all.insert_run(run.replace((key, 1)));
                }
            }
        }
        all.insert_run(run);
        all
    }
}

impl ChunkWrites {
    fn insert_run(&mut self, run: Option<((u64, u64), u64)>) {
        if let Some((chunk, inserted)) = run {
            self.0.entry(chunk).or_default().inserted += inserted;
        }
    }
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

    /// Notes what the lines wrote that the batch accepts.
    pub(super) fn wrote(&mut self, writes: &ChunkWrites) {
        for (chunk, writes) in &writes.0 {
            if let Some(change) = self.chunks.get_mut(chunk) {
                change.writes += *writes;
            }
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
            let before = chunk.count(Fate::Accepted);
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
            let Writes { inserted, updated, repeated } = change.writes;
            let superseded = superseded(chunk.count(Fate::Accepted) - before, change.writes)?;
            let [inserted, updated, superseded, repeated] =
                [inserted, updated, superseded, repeated].map(|lines| lines as i32);
            tx.execute(
                &write,
                &[
                    &source,
                    &number,
                    &accepted,
                    &rejected,
                    &waiting,
                    &discarded,
                    &counts[0],
                    &counts[1],
                    &counts[2],
                    &counts[3],
                    &inserted,
                    &updated,
                    &superseded,
                    &repeated,
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

/// Of `accepted` lines, those that wrote no row.
pub(super) fn superseded(accepted: u64, Writes { inserted, updated, .. }: Writes) -> Result<u64, Error> {
    accepted.checked_sub(inserted + updated).ok_or_else(|| {
        Error::halt(format!(
            "Postgres reports {} rows written for {accepted} accepted lines; a trigger of the table changes _source or \
             _line: let it leave them as they are",
            inserted + updated
        ))
    })
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
