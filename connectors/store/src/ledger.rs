//! The ledger inside one transaction: read early, entered in memory, locked and written last.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use deadpool_postgres::{GenericClient, Transaction};
use tidegate_core::ledger::{Chunk, Fate, chunk_of};
use tidegate_core::position::Position;
use tidegate_postgres::PgError;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use crate::statement::{self, Columns};

/// The chunks that a batch touches, with what the batch does to them.
pub(super) struct LedgerUpdate {
    chunks: BTreeMap<(u64, u64), Change>,
}

#[derive(Default)]
struct Change {
    /// The chunk as the transaction read it first.
    held: Chunk,
    /// The new lines of the batch.
    entered: Chunk,
    /// The lines of the batch that move from one set to another.
    settled: Vec<(u64, Fate, Fate)>,
    /// The rows that the accepted lines of the batch wrote.
    writes: Writes,
}

/// The numbers of rows that accepted lines wrote. Accepted lines that wrote none are superseded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Writes {
    pub(super) inserted: u64,
    pub(super) updated: u64,
    /// Lines whose key another line of their own source had before or has now. None of them inserted a row.
    pub(super) repeated: u64,
}

/// The rows that the lines of a batch wrote, by source and chunk.
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
    /// Adds rows written by lines of the chunk that covers `position`.
    pub(super) fn add(&mut self, position: Position, writes: Writes) {
        *self.0.entry(key_of(position)).or_default() += writes;
    }

    /// Returns whether no chunk has more rows written than it has `lines`.
    pub(super) fn fits(&self, lines: &Self) -> bool {
        let sent = |chunk| lines.0.get(chunk).map_or(0, |lines| lines.inserted);
        self.0.iter().all(|(chunk, writes)| writes.inserted + writes.updated <= sent(chunk))
    }

    pub(super) fn total(&self) -> Writes {
        let mut total = Writes::default();
        self.0.values().for_each(|writes| total += *writes);
        total
    }

    fn insert_run(&mut self, run: Option<((u64, u64), u64)>) {
        if let Some((chunk, inserted)) = run {
            self.0.entry(chunk).or_default().inserted += inserted;
        }
    }
}

impl FromIterator<Position> for ChunkWrites {
    /// Counts lines each of which inserted a row.
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

impl LedgerUpdate {
    pub(super) async fn read(
        tx: &Transaction<'_>,
        positions: impl Iterator<Item = Position>,
    ) -> Result<Self, PgError> {
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
        let sql = include_str!("../../../sql/queries/read_ledger.sql");
        for row in statement::query(tx, sql, &[&sources, &numbers]).await? {
            if let Some(change) = draft.chunks.get_mut(&row_key(&row)) {
                change.held = decode(&row)?;
            }
        }
        Ok(draft)
    }

    /// Enters a new line as accepted; [`LedgerUpdate::mark`] may change that. `false` if the ledger, or the batch
    /// itself, holds the line already.
    pub(super) fn enter(&mut self, position: Position) -> bool {
        let Some(change) = self.chunks.get_mut(&key_of(position)) else { return false };
        change.held.fate(position.line).is_none() && change.entered.enter(position.line, Fate::Accepted)
    }

    /// Sets the final fate of a line that was entered.
    pub(super) fn mark(&mut self, position: Position, fate: Fate) {
        if let Some(change) = self.chunks.get_mut(&key_of(position))
            && fate != Fate::Accepted
        {
            change.entered.shift(position.line, Fate::Accepted, fate);
        }
    }

    /// The fate of a line before this transaction.
    pub(super) fn fate(&self, position: Position) -> Option<Fate> {
        self.chunks.get(&key_of(position))?.held.fate(position.line)
    }

    /// Moves a line from one set to another, if the sets differ.
    pub(super) fn settle(&mut self, position: Position, from: Fate, to: Fate) {
        if let Some(change) = self.chunks.get_mut(&key_of(position))
            && from != to
        {
            change.settled.push((position.line, from, to));
        }
    }

    /// Notes the rows that the accepted lines wrote.
    pub(super) fn wrote(&mut self, writes: &ChunkWrites) {
        for (chunk, writes) in &writes.0 {
            if let Some(change) = self.chunks.get_mut(chunk) {
                change.writes += *writes;
            }
        }
    }

    /// Locks the chunks in order, reads them again, and writes them.
    ///
    /// **The last step before the commit.** If a line of the batch has received a fate from another transaction
    /// meanwhile, nothing may be committed: [`PgError::LedgerChanged`].
    pub(super) async fn write(mut self, tx: &Transaction<'_>) -> Result<(), PgError> {
        self.chunks.retain(|_, change| !change.entered.is_empty() || !change.settled.is_empty());
        let (sources, numbers) = self.keys();
        let open = tx.prepare_cached(include_str!("../../../sql/queries/open_ledger.sql")).await?;
        tx.execute(&open, &[&sources, &numbers]).await.map_err(|error| {
            match (error.code(), sources.last()) {
                (Some(&SqlState::FOREIGN_KEY_VIOLATION), Some(last)) => PgError::SourceLost(*last as u64),
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
                return Err(PgError::LedgerChanged);
            }
            for (line, from, to) in change.settled {
                if !chunk.shift(line, from, to) {
                    return Err(PgError::LedgerChanged);
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
        if self.chunks.is_empty() { Ok(()) } else { Err(PgError::LedgerChanged) }
    }

    fn keys(&self) -> (Vec<i64>, Vec<i64>) {
        self.chunks.keys().map(|(source, chunk)| (*source as i64, *chunk as i64)).unzip()
    }
}

/// Returns how many of the `accepted` lines wrote no row. Fails if more rows were written than lines accepted.
pub(super) fn superseded(accepted: u64, Writes { inserted, updated, .. }: Writes) -> Result<u64, PgError> {
    accepted.checked_sub(inserted + updated).ok_or_else(|| {
        PgError::halt(format!(
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
    (row.number(0), row.number(1))
}

/// Returns the chunk that covers `line` of a source.
pub(super) async fn chunk(client: &impl GenericClient, source: u64, line: u64) -> Result<Chunk, PgError> {
    let keys: (Vec<i64>, Vec<i64>) = (vec![source as i64], vec![chunk_of(line) as i64]);
    let sql = include_str!("../../../sql/queries/read_ledger.sql");
    let row = client.query_opt(sql, &[&keys.0, &keys.1]).await?;
    row.map_or_else(|| Ok(Chunk::default()), |row| decode(&row))
}

/// The chunk in columns 2 to 5 of a row.
pub(super) fn decode(row: &Row) -> Result<Chunk, PgError> {
    Chunk::decode(sets(row))
        .map_err(|error| PgError::halt(format!("{error}; restore tidegate.ledger from a backup")))
}

/// The stored sets of a chunk, in columns 2 to 5 of a row.
pub fn sets(row: &Row) -> [&[u8]; 4] {
    [row.get(2), row.get(3), row.get(4), row.get(5)]
}
