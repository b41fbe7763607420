//! Receipts: the fates of a source's lines, in numbers and line by line.

use std::time::SystemTime;

use tidegate_core::ledger::{CHUNK_LINES, Effects, Fate, chunk_of};
use tidegate_core::split::SkippedLines;
use tidegate_postgres::{Database, PgError, schema};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use crate::source_kind::SourceKind;
use crate::statement::{self, Columns, bigints};
use crate::store::Store;
use crate::totals::effects;
use crate::{ledger, registry};

/// The receipt of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The number of the source.
    pub source: u64,
    /// The name of its dataset.
    pub dataset: String,
    /// The kind of input.
    pub kind: SourceKind,
    /// The name that users see.
    pub name: String,
    /// The size in bytes.
    pub bytes: Option<u64>,
    /// The number of lines, once the source was read to its end.
    pub lines: Option<u64>,
    /// The number of lines of each fate, in the order of [`Fate::ALL`].
    pub fates: [u64; 4],
    /// The effects of the accepted lines.
    pub effects: Effects,
    /// The number of accepted lines whose key another line of the source has too, so that they inserted no row.
    pub repeated: u64,
    /// The number of lines that are no records, by the rule that skips them, if that is known.
    pub skipped: Option<SkippedLines>,
    /// When the source was registered.
    pub registered_at: SystemTime,
    /// When every line was found accounted for.
    pub completed_at: Option<SystemTime>,
}

impl Receipt {
    /// The number of lines in flight; `None` while the number of lines is not known.
    pub fn in_flight(&self) -> Option<u64> {
        Some(self.lines?.saturating_sub(self.fates.iter().sum()))
    }

    /// Returns whether every line was found accounted for.
    pub fn complete(&self) -> bool {
        self.completed_at.is_some()
    }
}

/// The fate of a line, and the reasons against it as Postgres stores them.
#[derive(Clone, Debug, PartialEq)]
pub struct LineFate {
    /// The number of the line, from 1.
    pub line: u64,
    /// The fate; `None` while the line is in flight.
    pub fate: Option<Fate>,
    /// The reasons, a JSON array; `None` of a line that is accepted or in flight.
    pub reasons: Option<serde_json::Value>,
}

/// Returns the receipts of sources, the newest first.
pub async fn of_sources(database: &Database, sources: &[u64]) -> Result<Vec<Receipt>, PgError> {
    select(database, Some(bigints(sources)), None, None, i64::MAX).await
}

/// Returns the newest receipts, of a dataset or of all; with `before`, those of sources with a smaller number.
pub async fn list(
    database: &Database,
    dataset: Option<&str>,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Receipt>, PgError> {
    select(database, None, dataset, before.map(|source| source as i64), i64::from(limit)).await
}

/// Returns all receipts, the oldest first. Fails if no pipeline has run on the database.
pub async fn all(database: &Database) -> Result<Vec<Receipt>, PgError> {
    drop(schema::prepared_connection(database).await?);
    let mut receipts = list(database, None, None, u32::MAX).await?;
    receipts.reverse();
    Ok(receipts)
}

async fn select(
    database: &Database,
    sources: Option<Vec<i64>>,
    dataset: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Receipt>, PgError> {
    let connection = database.connection().await?;
    let sql = include_str!("../../../sql/queries/receipts.sql");
    let rows = statement::query(&connection, sql, &[&sources, &dataset, &before, &limit]).await?;
    Ok(rows.iter().map(receipt).collect::<Result<_, _>>()?)
}

/// Returns those of the given sources whose every line is accounted for, and marks them complete. If another process
/// holds the leases, returns those that it has marked complete.
pub async fn accounted(store: &Store, sources: &[u64]) -> Result<Vec<u64>, PgError> {
    let sql = include_str!("../../../sql/queries/accounted_sources.sql");
    let rows = statement::query(&store.connection().await?, sql, &[&bigints(sources)]).await?;
    let (marked, unmarked): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.get(1));
    let [mut complete, unmarked]: [Vec<u64>; 2] =
        [marked, unmarked].map(|rows| rows.iter().map(|row| row.number(0)).collect());
    if !unmarked.is_empty() {
        match registry::complete(store, &unmarked).await {
            Err(PgError::LeaseLost(_)) => {}
            marked => complete.extend(marked?),
        }
    }
    Ok(complete)
}

/// Returns those of the given sources that have lines, all of them rejected, each with its name.
pub async fn wholly_rejected(database: &Database, sources: &[u64]) -> Result<Vec<(u64, String)>, PgError> {
    let sql = include_str!("../../../sql/queries/wholly_rejected.sql");
    let rows = database.connection().await?.query(sql, &[&bigints(sources)]).await?;
    Ok(rows.iter().map(|row| (row.number(0), row.get(1))).collect())
}

/// Returns the sources that lack lines and are marked as awaiting their files.
pub async fn awaited_sources(database: &Database) -> Result<Vec<u64>, PgError> {
    let sql = "select source from tidegate.sources where awaited and completed_at is null";
    let rows = database.connection().await?.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.number(0)).collect())
}

/// Returns the sources of the manifest's datasets whose lines are not all accounted for, each with its name, without
/// those of `except`.
pub async fn incomplete_sources(database: &Database, except: &[u64]) -> Result<Vec<(u64, String)>, PgError> {
    let datasets: Vec<&str> =
        database.manifest().datasets.iter().map(|dataset| dataset.name.as_str()).collect();
    let sql = include_str!("../../../sql/queries/incomplete_sources.sql");
    let rows = database.connection().await?.query(sql, &[&datasets, &bigints(except)]).await?;
    Ok(rows.iter().map(|row| (row.number(0), row.get(1))).collect())
}

/// Returns the fates of the first lines of a source, at most `limit`. `lines` is the number of its lines.
pub async fn line_fates(
    database: &Database,
    source: u64,
    lines: u64,
    limit: u64,
) -> Result<Vec<LineFate>, PgError> {
    let connection = database.connection().await?;
    let last = lines.min(limit);
    let chunks: Vec<i64> = (0..=chunk_of(last.max(1)) as i64).collect();
    let sources = vec![source as i64; chunks.len()];
    let sql = include_str!("../../../sql/queries/read_ledger.sql");
    let mut fates: Vec<LineFate> =
        (1..=last).map(|line| LineFate { line, fate: None, reasons: None }).collect();
    for row in statement::query(&connection, sql, &[&sources, &chunks]).await? {
        let chunk = ledger::decode(&row)?;
        let first = row.number(1) * CHUNK_LINES;
        for fate in fates.iter_mut().skip(first as usize).take(CHUNK_LINES as usize) {
            fate.fate = chunk.fate(fate.line);
        }
    }
    let sql = "select line, reasons from tidegate.dead_letters where source = $1 and line <= $2";
    for row in statement::query(&connection, sql, &[&(source as i64), &(last as i64)]).await? {
        if let Some(fate) = fates.get_mut(row.number(0) as usize - 1)
            && fate.fate.is_some_and(|fate| fate != Fate::Accepted)
        {
            fate.reasons = Some(row.get::<_, Json<_>>(1).0);
        }
    }
    Ok(fates)
}

fn receipt(row: &Row) -> Result<Receipt, tokio_postgres::Error> {
    Ok(Receipt {
        source: row.number("source"),
        dataset: row.get("dataset"),
        kind: row.try_get("kind")?,
        name: row.get("name"),
        bytes: row.number_opt("bytes"),
        lines: row.number_opt("lines"),
        fates: ["accepted", "rejected", "waiting", "discarded"].map(|fate| row.number(fate)),
        effects: effects(row),
        repeated: row.number("repeated"),
        skipped: row.try_get::<_, Option<Json<_>>>("skipped")?.map(|Json(skipped)| skipped),
        registered_at: row.get("registered_at"),
        completed_at: row.get("completed_at"),
    })
}
