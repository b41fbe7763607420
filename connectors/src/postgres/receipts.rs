//! Receipts: what became of a source, and of each of its lines.

use std::time::SystemTime;

use tidegate_core::ledger::{CHUNK_LINES, Effects, Fate, chunk_of};
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::totals::effects;
use super::{Error, Postgres, ledger};

/// What became of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Its number.
    pub source: u64,
    /// The name of its dataset.
    pub dataset: String,
    /// What kind of input it is: `file`, `upload`, `request` or `restore`.
    pub kind: String,
    /// What people know it by.
    pub name: String,
    /// Its size.
    pub bytes: Option<u64>,
    /// How many lines it has, once it was read to its end.
    pub lines: Option<u64>,
    /// How many of them there are of each fate, in the order of [`Fate::ALL`].
    pub fates: [u64; 4],
    /// What the accepted ones did.
    pub effects: Effects,
    /// Accepted lines whose key another line of the source has too, so that they inserted no row.
    pub repeated: u64,
    /// When it got its number.
    pub registered_at: SystemTime,
    /// When it was found that every line is accounted for.
    pub completed_at: Option<SystemTime>,
}

impl Receipt {
    /// How many lines are on their way; `None` while it is not known how many there are.
    pub fn in_flight(&self) -> Option<u64> {
        Some(self.lines?.saturating_sub(self.fates.iter().sum()))
    }

    /// Whether it was found that every line is accounted for.
    pub fn complete(&self) -> bool {
        self.completed_at.is_some()
    }
}

/// What became of a line, in words, and the reasons against it as they are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct LineFate {
    /// Its number.
    pub line: u64,
    /// `None` while it is in flight.
    pub fate: Option<Fate>,
    /// The reasons, a JSON array; `None` of a line that is accepted or in flight.
    pub reasons: Option<serde_json::Value>,
}

impl Postgres {
    /// The receipts of sources, the newest first.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn receipts_of(&self, sources: &[u64]) -> Result<Vec<Receipt>, Error> {
        let sources: Vec<i64> = sources.iter().map(|source| *source as i64).collect();
        self.receipts_where(Some(sources), None, None, i64::MAX).await
    }

    /// The newest receipts, of a dataset or of all, before a source if that is given.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn receipts(
        &self,
        dataset: Option<&str>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Receipt>, Error> {
        self.receipts_where(None, dataset, before.map(|source| source as i64), i64::from(limit)).await
    }

    async fn receipts_where(
        &self,
        sources: Option<Vec<i64>>,
        dataset: Option<&str>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Receipt>, Error> {
        let connection = self.connection().await?;
        let statement = connection.prepare_cached(include_str!("../../../sql/queries/receipts.sql")).await?;
        let rows = connection.query(&statement, &[&sources, &dataset, &before, &limit]).await?;
        Ok(rows.iter().map(receipt).collect())
    }

    /// Of the given sources, those whose every line is accounted for: they are complete when this says so. Where others
    /// hold the leases, those that were found so by them.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn accounted(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        let sources: Vec<i64> = sources.iter().map(|source| *source as i64).collect();
        let connection = self.connection().await?;
        let sql = include_str!("../../../sql/queries/accounted_sources.sql");
        let statement = connection.prepare_cached(sql).await?;
        let rows = connection.query(&statement, &[&sources]).await?;
        drop(connection);
        let of = |marked: bool| {
            let rows = rows.iter().filter(move |row| row.get::<_, bool>(1) == marked);
            rows.map(|row| row.get::<_, i64>(0) as u64)
        };
        let (mut complete, unmarked): (Vec<u64>, Vec<u64>) = (of(true).collect(), of(false).collect());
        if !unmarked.is_empty() {
            match self.complete(&unmarked).await {
                Err(Error::LeaseLost(_)) => {}
                marked => complete.extend(marked?),
            }
        }
        Ok(complete)
    }

    /// Of the given sources those that have lines, every one of which is rejected, with their names.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn wholly_rejected(&self, sources: &[u64]) -> Result<Vec<(u64, String)>, Error> {
        let sources: Vec<i64> = sources.iter().map(|source| *source as i64).collect();
        let sql = include_str!("../../../sql/queries/wholly_rejected.sql");
        let rows = self.connection().await?.query(sql, &[&sources]).await?;
        Ok(rows.iter().map(|row| (row.get::<_, i64>(0) as u64, row.get(1))).collect())
    }

    /// The sources that lack lines and of which it is noted that their files must be brought again.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn awaited_sources(&self) -> Result<Vec<u64>, Error> {
        let sql = "select source from tidegate.sources where awaited and completed_at is null";
        let rows = self.connection().await?.query(sql, &[]).await?;
        Ok(rows.iter().map(|row| row.get::<_, i64>(0) as u64).collect())
    }

    /// The sources of datasets of the manifest whose lines are not all accounted for, with their names; not those of
    /// `except`.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn incomplete_sources(&self, except: &[u64]) -> Result<Vec<(u64, String)>, Error> {
        let datasets: Vec<&str> =
            self.inner.manifest.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
        let except: Vec<i64> = except.iter().map(|source| *source as i64).collect();
        let sql = include_str!("../../../sql/queries/incomplete_sources.sql");
        let rows = self.connection().await?.query(sql, &[&datasets, &except]).await?;
        Ok(rows.iter().map(|row| (row.get::<_, i64>(0) as u64, row.get(1))).collect())
    }

    /// What became of the first lines of a source, at most `limit`.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn line_fates(&self, source: u64, lines: u64, limit: u64) -> Result<Vec<LineFate>, Error> {
        let connection = self.connection().await?;
        let last = lines.min(limit);
        let chunks: Vec<i64> = (0..=chunk_of(last.max(1)) as i64).collect();
        let sources = vec![source as i64; chunks.len()];
        let statement =
            connection.prepare_cached(include_str!("../../../sql/queries/read_ledger.sql")).await?;
        let mut fates: Vec<LineFate> =
            (1..=last).map(|line| LineFate { line, fate: None, reasons: None }).collect();
        for row in connection.query(&statement, &[&sources, &chunks]).await? {
            let chunk = ledger::decode(&row)?;
            let first = row.get::<_, i64>(1) as u64 * CHUNK_LINES;
            for fate in fates.iter_mut().skip(first as usize).take(CHUNK_LINES as usize) {
                fate.fate = chunk.fate(fate.line);
            }
        }
        let sql = "select line, reasons from tidegate.dead_letters where source = $1 and line <= $2";
        let statement = connection.prepare_cached(sql).await?;
        for row in connection.query(&statement, &[&(source as i64), &(last as i64)]).await? {
            let line = row.get::<_, i64>(0) as usize;
            if let Some(fate) = fates.get_mut(line - 1)
                && fate.fate.is_some_and(|fate| fate != Fate::Accepted)
            {
                fate.reasons = Some(row.get::<_, Json<_>>(1).0);
            }
        }
        Ok(fates)
    }
}

fn receipt(row: &Row) -> Receipt {
    let number = |value: i64| value as u64;
    Receipt {
        source: number(row.get(0)),
        dataset: row.get(1),
        kind: row.get(2),
        name: row.get(3),
        bytes: row.get::<_, Option<i64>>(4).map(number),
        lines: row.get::<_, Option<i64>>(5).map(number),
        fates: [6, 7, 8, 9].map(|i| number(row.get(i))),
        effects: effects(row),
        repeated: number(row.get("repeated")),
        registered_at: row.get(10),
        completed_at: row.get(11),
    }
}
