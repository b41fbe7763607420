//! The check `rows`: compares the rows of the datasets' tables with the ledger.

use tidegate_core::ledger::{CHUNK_LINES, Fate};
use tidegate_postgres::PgError;

use crate::audit::{Audit, at};
use crate::check::Check;
use crate::stream::{LedgerChunks, Stream};

impl Audit<'_> {
    /// Runs the check `rows`.
    pub(super) async fn rows(&self) -> Result<Check, PgError> {
        let mut check = Check::new("rows");
        for (first, _) in self.manifest.tables() {
            self.table_rows(first, &mut check).await?;
        }
        Ok(check)
    }

    /// Compares the rows of a table with the ledgers of all its datasets, of which `first` is the first one.
    async fn table_rows(&self, first: usize, check: &mut Check) -> Result<(), PgError> {
        let table = &self.tables[first].name;
        let datasets: Vec<&str> =
            self.manifest.datasets_of_table(first).map(|dataset| dataset.name.as_str()).collect();
        let name = &datasets.join(" and ");
        // Without a key, the position is unique, so other writers number their rows.
        let of_others = match self.tables[first].is_keyless {
            true => "_source = -1",
            false => "(_source = -1 and _line = -1)",
        };
        let sql = format!("select count(*) from {table} where {of_others}");
        let others: i64 = self.tx.query_one(&sql, &[]).await?.get(0);
        let sql = format!("select _source, _line from {table} where not {of_others} order by _source, _line");
        let mut rows = Stream::open(self, check.name, &sql, &[]).await?;
        let mut chunks = LedgerChunks::open(self, check.name, Some(&datasets)).await?;
        let mut last = None;
        let mut held: ChunkRows = None;
        while let Some(row) = rows.next().await? {
            let position @ (source, line): (i64, i64) = (row.get(0), row.get(1));
            if last.replace(position) == Some(position) {
                check.violation(at(source, line), format!("more than one row of {name} has this position"));
                continue;
            }
            let key = chunk_key(source, line);
            let entry = chunks.seek(key).await?;
            let fate = entry.and_then(|entry| entry.chunk.as_ref().ok()?.fate(line as u64));
            match &mut held {
                Some((chunk, rows, _)) if *chunk == key => *rows += 1,
                _ => {
                    let written = entry.map_or(i64::MAX, |entry| entry.writers());
                    more_than_written(name, held.replace((key, 1, written)), check);
                }
            }
            let is = match fate {
                Some(Fate::Accepted) => continue,
                Some(fate) => format!("has the line as {}", fate.as_str()),
                None => format!("has no such line of {name}"),
            };
            check.violation(
                at(source, line),
                format!("a row of {name} has this position, but the ledger {is}"),
            );
        }
        more_than_written(name, held, check);
        check.checked(rows.rows, format!("rows of {name} with a position"));
        check.counted(others as u64, format!("rows of {name} without one: other writers'"));
        Ok(())
    }
}

/// A chunk, the number of rows that belong to its lines, and the number of its lines that are counted to have written
/// one.
type ChunkRows = Option<((i64, i64), i64, i64)>;

fn more_than_written(dataset: &str, held: ChunkRows, check: &mut Check) {
    if let Some(((source, chunk), rows, written)) = held
        && rows > written
    {
        let message = format!(
            "{rows} rows of {dataset} are of lines in this chunk, but the ledger counts {written} that wrote one"
        );
        check.violation(at(source, chunk * CHUNK_LINES as i64 + 1), message);
    }
}

/// Returns the key of the chunk that covers a line, for any number that a row claims. Chunks are numbered from 0, so
/// no chunk covers a number that is no line.
pub(super) fn chunk_key(source: i64, line: i64) -> (i64, i64) {
    (source, line.saturating_sub(1).div_euclid(CHUNK_LINES as i64))
}
