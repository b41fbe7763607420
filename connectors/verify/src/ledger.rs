//! The checks `registry` and `ledger`, which read both relations side by side.

use std::ops::RangeInclusive;

use tidegate_core::ledger::{CHUNK_LINES, Chunk, Effects, Fate};
use tidegate_postgres::PgError;
use tokio_postgres::Row;

use crate::audit::{Audit, at};
use crate::check::Check;
use crate::stream::{LedgerChunks, StoredChunk, Stream};

/// A registered source.
struct LedgerSource {
    number: i64,
    lines: Option<u64>,
    complete: bool,
}

impl Audit<'_> {
    /// Runs the checks `registry` and `ledger`.
    pub(super) async fn ledger(&self) -> Result<[Check; 2], PgError> {
        let (mut registry, mut check) = (Check::new("registry"), Check::new("ledger"));
        let sql = include_str!("../../../sql/queries/audit_sources.sql");
        let mut sources = Stream::open(self, check.name, sql, &[]).await?;
        let mut chunks = LedgerChunks::open(self, check.name, None).await?;
        let (mut lines, mut in_flight, mut unread) = (0, 0, 0);
        let mut last = 0;
        while let Some(row) = sources.next().await? {
            let source = self.source(&row, last, &mut registry);
            last = source.number;
            unregistered(&mut chunks, last, &mut check).await?;
            let held = source_chunks(&mut chunks, &source, &mut check).await?;
            lines += held;
            match source.lines {
                Some(lines) if !source.complete => in_flight += lines.saturating_sub(held),
                Some(_) => {}
                None => unread += 1,
            }
        }
        unregistered(&mut chunks, i64::MAX, &mut check).await?;
        registry.checked(sources.rows, "sources");
        check.checked(lines, "lines with a fate");
        check.counted(in_flight, "lines in flight");
        check.counted(unread, "sources not read to their end");
        Ok([registry, check])
    }

    /// Checks the registration of the source that comes after the number `last`.
    fn source(&self, row: &Row, last: i64, check: &mut Check) -> LedgerSource {
        let (number, dataset): (i64, &str) = (row.get(0), row.get(1));
        let lines = row.get::<_, Option<i64>>(2).map(|lines| lines as u64);
        let source = LedgerSource { number, lines, complete: row.get(3) };
        // Postgres has lost these sources, and `tidegate recover` could not bring them back.
        let missing = number - last - 1;
        if missing > 0 {
            let more =
                if missing > 1 { format!(", nor the {} behind it", missing - 1) } else { String::new() };
            check.note((last + 1).to_string(), format!("no source has this number any more{more}"));
        }
        if self.manifest.dataset(dataset).is_none() {
            let message = format!("its dataset '{dataset}' is not in the manifest any more");
            check.note(number.to_string(), message);
        }
        if row.get("strange") {
            check.violation(number.to_string(), "its shape is that of another dataset's lines");
        }
        if source.complete && source.lines.is_none() {
            check.violation(number.to_string(), "it is complete, but not how many lines it has is known");
        }
        source
    }
}

/// Reports the chunks of sources before `source`, which are not registered.
async fn unregistered(chunks: &mut LedgerChunks<'_>, source: i64, check: &mut Check) -> Result<(), PgError> {
    while chunks.key().is_some_and(|(of, _)| of < source) {
        if let Some(entry) = chunks.take().await? {
            let at = at(entry.source, entry.number as u64 * CHUNK_LINES + 1);
            check.violation(at, "the ledger has lines of a source that is not registered");
        }
    }
    Ok(())
}

/// Checks all chunks of one source. Returns the number of its lines that have a fate.
async fn source_chunks(
    chunks: &mut LedgerChunks<'_>,
    source: &LedgerSource,
    check: &mut Check,
) -> Result<u64, PgError> {
    let mut held = 0;
    let mut number = 0;
    while chunks.key().is_some_and(|(of, _)| of == source.number) {
        let Some(entry) = chunks.take().await? else { break };
        let found = entry.number as u64;
        absent(source, number, found, check);
        held += match &entry.chunk {
            Ok(chunk) => one_chunk(source, &entry, chunk, check),
            Err(error) => {
                check.violation(at(source.number, found * CHUNK_LINES + 1), error.as_str());
                entry.counts.iter().sum::<i64>() as u64
            }
        };
        number = found + 1;
    }
    absent(source, number, u64::MAX, check);
    Ok(held)
}

/// Reports, for a complete source, the lines of the missing chunks from `number` up to but without `found`.
fn absent(source: &LedgerSource, number: u64, found: u64, check: &mut Check) {
    let Some(lines) = source.lines.filter(|_| source.complete) else { return };
    let first = number * CHUNK_LINES + 1;
    let last = found.saturating_mul(CHUNK_LINES).min(lines);
    if first <= last {
        hole(source, &(first..=last), check);
    }
}

fn hole(source: &LedgerSource, lines: &RangeInclusive<u64>, check: &mut Check) {
    let behind = lines.end() - lines.start();
    let more = if behind > 0 { format!(" and the {behind} behind it") } else { String::new() };
    let message = format!("the source is complete, but the ledger lacks this line{more}");
    check.violation(at(source.number, lines.start()), message);
}

/// Checks one chunk. Returns the number of its lines.
fn one_chunk(source: &LedgerSource, entry: &StoredChunk, chunk: &Chunk, check: &mut Check) -> u64 {
    let number = entry.number as u64;
    let end = (number + 1) * CHUNK_LINES;
    let last = source.lines.map_or(end, |lines| lines.min(end));
    for fate in Fate::ALL {
        let (counted, stored) = (chunk.count(fate), entry.counts[fate as usize]);
        if counted as i64 != stored {
            let message =
                format!("{} has {counted} lines in this chunk, but {stored} are counted", fate.as_str());
            check.violation(at(source.number, number * CHUNK_LINES + 1), message);
        }
        for line in chunk.lines(number, fate).filter(|line| *line > last) {
            let whole = if last < end { "source" } else { "chunk" };
            let message = format!("is {}, but the last line of its {whole} is {last}", fate.as_str());
            check.violation(at(source.number, line), message);
        }
    }
    effects(source, entry, chunk.count(Fate::Accepted), check);
    for line in chunk.overlaps(number) {
        let sets = Fate::ALL.into_iter().filter(|fate| chunk.lines(number, *fate).any(|held| held == line));
        let sets: Vec<&str> = sets.map(Fate::as_str).collect();
        check.violation(at(source.number, line), format!("is in more than one set: {}", sets.join(", ")));
    }
    if source.complete && source.lines.is_some() && number * CHUNK_LINES < last {
        chunk.holes(number, last).iter().for_each(|lines| hole(source, lines, check));
    }
    chunk.total()
}

/// Checks that each accepted line had one effect, and that lines which repeat a key of their source inserted no row.
fn effects(source: &LedgerSource, entry: &StoredChunk, accepted: u64, check: &mut Check) {
    let at = at(source.number, entry.number as u64 * CHUNK_LINES + 1);
    let [inserted, updated, superseded, uncounted, repeated] = entry.effects;
    if entry.effects[..4].iter().sum::<i64>() != accepted as i64
        || entry.effects.iter().any(|lines| *lines < 0)
    {
        let each = Effects::NAMES.iter().zip(entry.effects).map(|(name, lines)| format!("{lines} {name}"));
        let each = each.collect::<Vec<_>>().join(", ");
        check.violation(at, format!("has {accepted} accepted lines in this chunk, but counts {each}"));
    } else if repeated > updated + superseded {
        let message = format!(
            "counts {repeated} accepted lines that repeat a key, but {} that inserted no row",
            accepted as i64 - inserted - uncounted
        );
        check.violation(at, message);
    }
}
