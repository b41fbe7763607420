//! Results that are read page by page, so that their size does not matter.

use tidegate_core::ledger::{CHUNK_LINES, Chunk, Fate};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Portal, Row};

use super::super::{Error, ledger};
use super::Audit;

/// How many rows a page has; of the ledger, whose rows are large.
const PAGE_ROWS: i32 = 10_000;
const LEDGER_ROWS: i32 = 32;
/// The last chunk whose lines have numbers.
const CHUNK_MAX: i64 = i64::MAX / CHUNK_LINES as i64;

/// The rows of a query, one after the other.
pub(super) struct Stream<'a> {
    audit: &'a Audit<'a>,
    check: &'static str,
    portal: Portal,
    page_rows: i32,
    page: std::vec::IntoIter<Row>,
    /// How many rows have come.
    pub(super) rows: u64,
}

impl<'a> Stream<'a> {
    pub(super) async fn open(
        audit: &'a Audit<'a>,
        check: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Self, Error> {
        let portal = audit.tx.bind(sql, parameters).await?;
        let page = Vec::new().into_iter();
        Ok(Self { audit, check, portal, page_rows: PAGE_ROWS, page, rows: 0 })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Row>, Error> {
        if self.page.len() == 0 {
            let page = self.audit.tx.query_portal(&self.portal, self.page_rows).await?;
            self.rows += page.len() as u64;
            (self.audit.watch)(self.check, self.rows);
            self.page = page.into_iter();
        }
        Ok(self.page.next())
    }
}

/// The ledger, chunk by chunk, in order.
pub(super) struct Chunks<'a> {
    stream: Stream<'a>,
    next: Option<Entry>,
}

/// One chunk as it is stored.
pub(super) struct Entry {
    pub(super) source: i64,
    pub(super) number: i64,
    /// The sets, or why they cannot be read.
    pub(super) chunk: Result<Chunk, Error>,
    /// How many lines the row says that each set has.
    pub(super) counts: [i64; 4],
    /// What it says that the accepted lines did: in the order of [`Effects::NAMES`], then how many of them repeat a
    /// key.
    pub(super) effects: [i64; 5],
}

impl Entry {
    /// The chunk, if it can be read.
    pub(super) fn sets(&self) -> Option<&Chunk> {
        self.chunk.as_ref().ok()
    }

    /// How many lines may have written a row, as they are counted.
    pub(super) fn writers(&self) -> i64 {
        let [inserted, updated, _, uncounted, _] = self.effects;
        inserted + updated + uncounted
    }
}

impl<'a> Chunks<'a> {
    /// The chunks of the sources of a dataset, or of all.
    pub(super) async fn open(
        audit: &'a Audit<'a>,
        check: &'static str,
        dataset: Option<&str>,
    ) -> Result<Self, Error> {
        let sql = include_str!("../../../../sql/queries/audit_ledger.sql");
        let mut stream = Stream::open(audit, check, sql, &[&dataset]).await?;
        stream.page_rows = LEDGER_ROWS;
        let mut chunks = Self { stream, next: None };
        chunks.advance().await?;
        Ok(chunks)
    }

    /// The key of the chunk that comes next.
    pub(super) fn key(&self) -> Option<(i64, i64)> {
        self.next.as_ref().map(|entry| (entry.source, entry.number))
    }

    /// The next chunk.
    pub(super) async fn take(&mut self) -> Result<Option<Entry>, Error> {
        let entry = self.next.take();
        self.advance().await?;
        Ok(entry)
    }

    /// The chunk of that key, if there is one. Keys must be asked for in order.
    pub(super) async fn seek(&mut self, key: (i64, i64)) -> Result<Option<&Entry>, Error> {
        while self.key().is_some_and(|next| next < key) {
            self.advance().await?;
        }
        Ok(self.next.as_ref().filter(|entry| (entry.source, entry.number) == key))
    }

    async fn advance(&mut self) -> Result<(), Error> {
        self.next = self.stream.next().await?.map(|row| {
            let number: i64 = row.get(1);
            let chunk = match number <= CHUNK_MAX {
                true => Chunk::decode_overlapping(ledger::sets(&row))
                    .map_err(|error| Error::halt(error.to_string())),
                false => Err(Error::halt(format!("no line is in the chunk {number}"))),
            };
            let counts = Fate::ALL.map(|fate| i64::from(row.get::<_, i32>(6 + fate as usize)));
            let effects = [10, 11, 12, 13, 14].map(|i| i64::from(row.get::<_, i32>(i)));
            Entry { source: row.get(0), number: number.min(CHUNK_MAX), chunk, counts, effects }
        });
        Ok(())
    }
}
