//! Query results that are read page by page, so that memory does not grow with their size.

use tidegate_core::ledger::{CHUNK_LINES, Chunk, Fate};
use tidegate_postgres::PgError;
use tidegate_store::ledger;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Portal, Row};

use crate::audit::Audit;

/// The number of rows in a page. Pages of the ledger have fewer, because its rows are large.
const PAGE_ROWS: i32 = 10_000;
const LEDGER_ROWS: i32 = 32;
/// The largest number of a chunk whose lines have numbers that fit into an `i64`.
const CHUNK_MAX: i64 = i64::MAX / CHUNK_LINES as i64;

/// The rows of a query, in order.
pub(super) struct Stream<'a> {
    audit: &'a Audit<'a>,
    check: &'static str,
    portal: Portal,
    page_rows: i32,
    page: std::vec::IntoIter<Row>,
    /// The number of rows read so far.
    pub(super) rows: u64,
}

impl<'a> Stream<'a> {
    pub(super) async fn open(
        audit: &'a Audit<'a>,
        check: &'static str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Self, PgError> {
        let portal = audit.tx.bind(sql, parameters).await?;
        let page = Vec::new().into_iter();
        Ok(Self { audit, check, portal, page_rows: PAGE_ROWS, page, rows: 0 })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Row>, PgError> {
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
pub(super) struct LedgerChunks<'a> {
    stream: Stream<'a>,
    next: Option<StoredChunk>,
}

/// One stored chunk.
pub(super) struct StoredChunk {
    pub(super) source: i64,
    pub(super) number: i64,
    /// The sets, or the reason why they cannot be read.
    pub(super) chunk: Result<Chunk, String>,
    /// The number of lines in each set, as the row states it.
    pub(super) counts: [i64; 4],
    /// The effects of the accepted lines, as the row states them: in the order of
    /// [`Effects::NAMES`](tidegate_core::ledger::Effects::NAMES), then the number of lines that repeat a key.
    pub(super) effects: [i64; 5],
}

impl StoredChunk {
    /// The number of lines that may have written a row, according to the counts.
    pub(super) fn writers(&self) -> i64 {
        let [inserted, updated, _, uncounted, _] = self.effects;
        inserted + updated + uncounted
    }
}

impl<'a> LedgerChunks<'a> {
    /// Opens the chunks of the sources of some datasets, or of all sources.
    pub(super) async fn open(
        audit: &'a Audit<'a>,
        check: &'static str,
        datasets: Option<&[&str]>,
    ) -> Result<Self, PgError> {
        let sql = include_str!("../../../sql/queries/audit_ledger.sql");
        let mut stream = Stream::open(audit, check, sql, &[&datasets]).await?;
        stream.page_rows = LEDGER_ROWS;
        let mut chunks = Self { stream, next: None };
        chunks.advance().await?;
        Ok(chunks)
    }

    /// Returns the key of the next chunk: source and number.
    pub(super) fn key(&self) -> Option<(i64, i64)> {
        self.next.as_ref().map(|entry| (entry.source, entry.number))
    }

    /// Returns the next chunk.
    pub(super) async fn take(&mut self) -> Result<Option<StoredChunk>, PgError> {
        let entry = self.next.take();
        self.advance().await?;
        Ok(entry)
    }

    /// Returns the chunk of a key, if there is one. Callers must ask for keys in ascending order.
    pub(super) async fn seek(&mut self, key: (i64, i64)) -> Result<Option<&StoredChunk>, PgError> {
        while self.key().is_some_and(|next| next < key) {
            self.advance().await?;
        }
        Ok(self.next.as_ref().filter(|entry| (entry.source, entry.number) == key))
    }

    async fn advance(&mut self) -> Result<(), PgError> {
        self.next = self.stream.next().await?.map(|row| {
            let number: i64 = row.get(1);
            let chunk = match Chunk::decode_overlapping(ledger::sets(&row)) {
                _ if number > CHUNK_MAX => Err(format!("no line is in the chunk {number}")),
                chunk => chunk.map_err(|error| error.to_string()),
            };
            let counts = Fate::ALL.map(|fate| i64::from(row.get::<_, i32>(6 + fate as usize)));
            let effects = [10, 11, 12, 13, 14].map(|i| i64::from(row.get::<_, i32>(i)));
            StoredChunk { source: row.get(0), number: number.min(CHUNK_MAX), chunk, counts, effects }
        });
        Ok(())
    }
}
