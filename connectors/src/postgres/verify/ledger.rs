//! The registry and the ledger, side by side.

use std::ops::RangeInclusive;

use tidegate_core::ledger::{CHUNK_LINES, Chunk, Effects, Fate};
use tokio_postgres::Row;

use super::super::Error;
use super::stream::{Chunks, Entry, Stream};
use super::{Audit, Check, at};

/// A source as the registry has it.
struct Source {
    number: i64,
    lines: Option<u64>,
    complete: bool,
}

/// What was seen of all sources.
#[derive(Default)]
struct Seen {
    sources: u64,
    /// Lines with a fate.
    lines: u64,
    /// Lines without one, of sources that were read to their end.
    in_flight: u64,
    /// Sources that were not.
    unread: u64,
}

impl Audit<'_> {
    /// The checks `registry` and `ledger`.
    pub(super) async fn ledger(&self) -> Result<(Check, Check), Error> {
        let (mut registry, mut check) = (Check::new("registry"), Check::new("ledger"));
        let sql = include_str!("../../../../sql/queries/audit_sources.sql");
        let mut sources = Stream::open(self, check.name, sql, &[]).await?;
        let mut chunks = Chunks::open(self, check.name, None).await?;
        let mut seen = Seen::default();
        let mut last = 0;
        while let Some(row) = sources.next().await? {
            let source = self.source(&row, last, &mut registry);
            last = source.number;
            seen.sources += 1;
            unregistered(&mut chunks, last, &mut check).await?;
            source_chunks(&mut chunks, &source, &mut seen, &mut check).await?;
        }
        unregistered(&mut chunks, i64::MAX, &mut check).await?;
        registry.checked(seen.sources, "sources");
        check.checked(seen.lines, "lines with a fate");
        check.counted(seen.in_flight, "lines in flight");
        check.counted(seen.unread, "sources not read to their end");
        Ok((registry, check))
    }

    /// Looks at what the registry says of the source that comes after `last`.
    fn source(&self, row: &Row, last: i64, check: &mut Check) -> Source {
        let (number, dataset): (i64, &str) = (row.get(0), row.get(1));
        let lines: Option<i64> = row.get(2);
        let source = Source { number, lines: lines.map(|lines| lines as u64), complete: row.get(3) };
        match number - last - 1 {
            0 => {}
            // What Postgres has lost, and 'tidegate recover' could not bring back.
            1 => check.note((last + 1).to_string(), "no source has this number any more"),
            missing => {
                let message =
                    format!("no source has this number any more, nor the {} behind it", missing - 1);
                check.note((last + 1).to_string(), message);
            }
        }
        if self.manifest.dataset(dataset).is_none() {
            check
                .note(number.to_string(), format!("its dataset '{dataset}' is not in the manifest any more"));
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

/// Passes the chunks of sources before `source`, which the registry does not have.
async fn unregistered(chunks: &mut Chunks<'_>, source: i64, check: &mut Check) -> Result<(), Error> {
    while chunks.key().is_some_and(|(of, _)| of < source) {
        if let Some(entry) = chunks.take().await? {
            let line = entry.number as u64 * CHUNK_LINES + 1;
            check
                .violation(at(entry.source, line), "the ledger has lines of a source that is not registered");
        }
    }
    Ok(())
}

/// Looks at all chunks of one source.
async fn source_chunks(
    chunks: &mut Chunks<'_>,
    source: &Source,
    seen: &mut Seen,
    check: &mut Check,
) -> Result<(), Error> {
    let mut held = 0;
    let mut number = 0;
    while chunks.key().is_some_and(|(of, _)| of == source.number) {
        let Some(entry) = chunks.take().await? else { break };
        let found = entry.number as u64;
        absent(source, number, found, check);
        held += match &entry.chunk {
            Ok(chunk) => one_chunk(source, &entry, chunk, check),
            Err(error) => {
                check.violation(at(source.number, found * CHUNK_LINES + 1), error.to_string());
                entry.counts.iter().sum::<i64>() as u64
            }
        };
        number = found + 1;
    }
    absent(source, number, u64::MAX, check);
    seen.lines += held;
    match source.lines {
        Some(lines) if !source.complete => seen.in_flight += lines.saturating_sub(held),
        Some(_) => {}
        None => seen.unread += 1,
    }
    Ok(())
}

/// Of a complete source: the lines of the chunks from `number` to before `found`, which are not there.
fn absent(source: &Source, number: u64, found: u64, check: &mut Check) {
    let Some(lines) = source.lines.filter(|_| source.complete) else { return };
    let first = number * CHUNK_LINES + 1;
    let last = found.saturating_mul(CHUNK_LINES).min(lines);
    if first <= last {
        hole(source, &(first..=last), check);
    }
}

fn hole(source: &Source, lines: &RangeInclusive<u64>, check: &mut Check) {
    let count = lines.end() - lines.start() + 1;
    let message = match count {
        1 => "the source is complete, but the ledger lacks this line".to_owned(),
        _ => {
            format!("the source is complete, but the ledger lacks this line and the {} behind it", count - 1)
        }
    };
    check.violation(at(source.number, lines.start()), message);
}

/// Looks at one chunk; gives how many lines it has.
fn one_chunk(source: &Source, entry: &Entry, chunk: &Chunk, check: &mut Check) -> u64 {
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
            let message =
                format!("is {}, but the last line of its {} is {last}", fate.as_str(), whole(last, end));
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

/// Each accepted line did one thing, and those that repeat a key of their source inserted no row.
fn effects(source: &Source, entry: &Entry, accepted: u64, check: &mut Check) {
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

fn whole(last: u64, end: u64) -> &'static str {
    if last < end { "source" } else { "chunk" }
}
