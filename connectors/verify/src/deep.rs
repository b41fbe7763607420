//! The check `files`: reads the files in `done/` again, and compares each line with its fate.
//!
//! The code that read the files first splits and checks them again, under the manifest as it is now. So lines that a
//! changed rule judges otherwise are found too.
//!
//! * A line that breaks a rule is rejected or discarded. Its dead letter holds the exact line and the same codes.
//! * A line that keeps the rules is accepted, waits, was discarded, or was refused by Postgres. If it has a dead
//!   letter, the letter holds the line.
//! * The row of an accepted line's key is not older than the line.
//! * If the row with the line's position has other values, if the row is gone, or if another application holds it,
//!   the row was changed outside Tidegate. That is a note, and so is a file that is gone or has other content than
//!   was registered.
//! * A replayed line may have been edited, so its text is not compared.
//!
//! A file is read by the names that its columns had when it was registered, and a dead letter by the names of its own
//! shape. Both are mapped by name to the columns of today. If the rules were others at that time, lines may have been
//! judged otherwise than they would be now.

mod line;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tidegate_core::contract::SourceBatch;
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::DefaultValue;
use tidegate_core::registry::identity_behind;
use tidegate_core::shape::{self, Shape};
use tidegate_core::split::{Fields, SkippedLines};
use tidegate_core::syntax::Dialect;
use tidegate_core::transform::Transform;
use tidegate_files::{DONE, NextLines, OpenFile, Reading, open_done, parse_done_name};
use tidegate_postgres::PgError;
use tidegate_store::{Store, shapes};
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};

use crate::audit::{Audit, at};
use crate::check::Check;
use crate::rows::chunk_key;
use crate::stream::{LedgerChunks, Stream};
use line::{Expected, StoredLetter, fault};

const NAME: &str = "files";
/// The number of file names that are looked up at once.
const NAMES: usize = 1_000;

/// A complete source that was a file.
struct DoneSource {
    number: i64,
    dataset: usize,
    name: String,
    lines: Option<i64>,
    identity: Vec<u8>,
    fingerprint: Vec<u8>,
    /// The shape of its text when it was registered.
    shape: Option<Arc<Shape>>,
    /// How many of its lines are no records, if that was counted.
    skipped: Option<SkippedLines>,
    /// The first generated key of its lines, if it has some.
    first_key: Option<i64>,
}

/// The counts of the check.
#[derive(Default)]
struct FileCounts {
    files: u64,
    lines: u64,
    /// Accepted lines that hold the row of their key.
    rows: u64,
    /// Accepted lines whose row a newer line holds.
    superseded: u64,
    replayed: u64,
    gone: u64,
    other_rules: u64,
}

/// The state of the check.
struct Deep<'a> {
    audit: &'a Audit<'a>,
    store: &'a Store,
    transform: Transform,
    chunks: LedgerChunks<'a>,
    /// The fingerprint of the rules of each dataset.
    rules: Vec<String>,
    counts: FileCounts,
    check: Check,
}

/// Runs the check `files`, within the snapshot.
pub(super) async fn check(audit: &Audit<'_>, store: &Store, landing: &Path) -> Result<Check, PgError> {
    let sql = include_str!("../../../sql/queries/audit_complete_files.sql");
    let mut sources = Stream::open(audit, NAME, sql, &[]).await?;
    let mut transform = Transform::new(store.manifest().clone(), 0);
    // The sink alone decides whether references exist.
    (0..audit.tables.len()).for_each(|dataset| transform.known_keys().give_up(dataset));
    let chunks = LedgerChunks::open(audit, NAME, None).await?;
    let (counts, check) = (FileCounts::default(), Check::new(NAME));
    let manifest = audit.manifest;
    let rules = manifest.datasets.iter().map(|dataset| shape::rules(manifest, dataset)).collect();
    let mut deep = Deep { audit, store, transform, chunks, rules, counts, check };
    while let Some(row) = sources.next().await? {
        // The check `registry` notes the datasets that the manifest does not have.
        let Some((dataset, _)) = audit.manifest.dataset(row.get(1)) else { continue };
        let (number, name, lines) = (row.get(0), row.get(2), row.get(3));
        let (identity, fingerprint) = (row.get(4), row.get(5));
        let (shape, first_key) = (shapes::find(store, row.get(6)).await?, row.get(8));
        let skipped = row.get::<_, Option<Json<_>>>(7).map(|Json(skipped)| skipped);
        let source =
            DoneSource { number, dataset, name, lines, identity, fingerprint, shape, skipped, first_key };
        if let Some(why) = deep.compare(landing, &source).await? {
            deep.check.note(number.to_string(), format!("'{}' is not compared: {why}", source.name));
        }
    }
    let Deep { counts, mut check, .. } = deep;
    check.checked(counts.files, "files of done/, read again");
    check.checked(counts.lines, "lines of theirs");
    check.checked(counts.rows, "accepted lines that stand in their row as they came");
    check.checked(counts.superseded, "accepted lines whose row is a newer line's");
    check.counted(counts.replayed, "lines were replayed, perhaps edited: their text is not compared");
    let other_rules = "lines were judged by other rules of the manifest: only what they hold is compared";
    check.counted(counts.other_rules, other_rules);
    check.counted(counts.gone, "complete files are not in done/: not compared");
    Ok(check)
}

/// Notes the files in `done/` that belong to no source. Runs outside the snapshot: a file may have come since, but
/// its source was registered before.
pub(super) async fn strangers(store: &Store, landing: &Path, check: &mut Check) -> Result<(), PgError> {
    let Ok(entries) = std::fs::read_dir(landing.join(DONE)) else { return Ok(()) };
    let mut entries = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let connection = store.connection().await?;
    loop {
        let names: Vec<String> = entries.by_ref().take(NAMES).collect();
        if names.is_empty() {
            return Ok(());
        }
        let claims = names.iter().map(|name| parse_done_name(name).unwrap_or_default());
        let claims: (Vec<i64>, Vec<&str>) = claims.map(|(source, name)| (source as i64, name)).unzip();
        let sql = include_str!("../../../sql/queries/audit_strangers.sql");
        for row in connection.query(sql, &[&claims.0, &claims.1]).await? {
            let name = &names[row.get::<_, i64>(0) as usize - 1];
            check.note(None, format!("'{name}' is in done/, but of no source"));
        }
    }
}

impl Deep<'_> {
    /// Compares a file. If it could not be compared, or not to its end, returns the reason.
    async fn compare(&mut self, landing: &Path, source: &DoneSource) -> Result<Option<String>, PgError> {
        let number = source.number as u64;
        let opening = open_done(landing, number, &source.name, source.dataset, source.shape.clone());
        let opened = match self.audit.meanwhile(opening).await? {
            Ok(Some(opened)) => opened,
            Ok(None) => {
                self.counts.gone += 1;
                return Ok(None);
            }
            Err(error) => return Ok(Some(error.to_string())),
        };
        if !self.is_registered(&opened, source).await? {
            let why = "its content is not what was registered, or is divided into lines in another way now";
            return Ok(Some(why.to_owned()));
        }
        let opened = opened.with_keys(self.audit.manifest, source.first_key);
        match Reading::again(number, opened, self.audit.manifest) {
            Ok(mut reading) => self.lines(source, &mut reading).await,
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    /// Returns whether the content of a file is that of its source.
    async fn is_registered(&self, opened: &OpenFile, source: &DoneSource) -> Result<bool, PgError> {
        let mut identity = opened.fingerprint(self.audit.manifest);
        if identity[..] == source.fingerprint[..] {
            return Ok(true);
        }
        let sql = "select source from tidegate.sources where identity = $1";
        while identity[..] != source.identity[..] {
            // Before version 8 of the schema, a file that came again after its source was closed early got an
            // identity derived from that source.
            let Some(row) = self.audit.tx.query_opt(sql, &[&&identity[..]]).await? else { return Ok(false) };
            identity = identity_behind(&identity, row.get::<_, i64>(0) as u64);
        }
        Ok(true)
    }

    async fn lines(&mut self, source: &DoneSource, reading: &mut Reading) -> Result<Option<String>, PgError> {
        self.counts.files += 1;
        let lacked = shapes::lacks(reading.shape(), self.audit.manifest, source.dataset);
        let validators = self.store.validators(source.dataset);
        loop {
            let next = reading.next(self.audit.manifest, validators, self.store);
            let next = self.audit.meanwhile(next).await?;
            match next.map_err(|error| PgError::halt(error.message))? {
                NextLines::Lines(batch) => {
                    self.batch(source, &batch, &lacked).await?;
                    (self.audit.watch)(NAME, self.counts.lines);
                }
                NextLines::Ended { whole: false, .. } => {
                    return Ok(Some("it changed while it was compared".to_owned()));
                }
                NextLines::Ended { lines, skipped, .. } => {
                    if source.lines != Some(lines as i64) {
                        let registered = source.lines.unwrap_or_default();
                        let message = format!("the file has {lines} lines, the source {registered}");
                        self.check.violation(source.number.to_string(), message);
                    }
                    if let Some(registered) = source.skipped.as_ref().filter(|counts| **counts != skipped) {
                        let message =
                            format!("the file has skipped lines: {skipped}; the source: {registered}");
                        self.check.violation(source.number.to_string(), message);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Compares some lines of a source with their fates, dead letters and rows.
    async fn batch(
        &mut self,
        source: &DoneSource,
        batch: &SourceBatch,
        lacked: &[usize],
    ) -> Result<(), PgError> {
        let outcome = self.transform.apply(source.dataset, &batch.records, SystemTime::now());
        let expected = line::expected(batch, &outcome);
        let letters = self.letters(source, &expected).await?;
        let of_letters = letters.values().map(|letter| letter.get("shape"));
        let shapes = shapes::by_number(self.store, of_letters).await?;
        // Under other rules than when it was registered, the fates of its lines do not tell how they are judged now.
        let rules = &self.rules[source.dataset];
        let under_rules = source.shape.as_ref().is_some_and(|shape| shape.rules == *rules);
        let mut accepted = Vec::new();
        for (line, expected) in &expected {
            self.counts.lines += 1;
            let key = chunk_key(source.number, *line as i64);
            let fate = self.chunks.seek(key).await?.and_then(|entry| entry.chunk.as_ref().ok()?.fate(*line));
            // Lines that the ledger lacks, or has without a dead letter, are reported by other checks.
            let Some(fate) = fate else { continue };
            let letter = letters.get(&(*line as i64)).map(|row| {
                let shape = row.get::<_, Option<i64>>("shape").and_then(|shape| shapes.get(&shape));
                let validators = self.store.validators(source.dataset);
                let dataset = &self.audit.manifest.datasets[source.dataset];
                StoredLetter::new(row, shape.map(|shape| &**shape), dataset, validators)
            });
            let same_rules = under_rules && letter.as_ref().is_none_or(|letter| letter.is_under_rules(rules));
            self.counts.other_rules += u64::from(!same_rules);
            if letter.as_ref().is_some_and(StoredLetter::is_replayed) {
                self.counts.replayed += 1;
            } else if let Some(fault) = fault(expected, fate, letter.as_ref(), same_rules) {
                self.check.violation(at(source.number, line), fault);
            } else if let (Expected::Good { canonical, .. }, Fate::Accepted) = (expected, fate) {
                accepted.push((*line, *canonical));
            }
        }
        self.rows(source, &accepted, lacked).await
    }

    /// Returns the dead letters among some lines, by line.
    async fn letters(
        &self,
        source: &DoneSource,
        expected: &[(u64, Expected<'_>)],
    ) -> Result<HashMap<i64, Row>, PgError> {
        let (Some((first, _)), Some((last, _))) = (expected.first(), expected.last()) else {
            return Ok(HashMap::new());
        };
        let sql = include_str!("../../../sql/queries/audit_letters_of_lines.sql");
        let statement = self.audit.tx.prepare_cached(sql).await?;
        let (first, last) = (*first as i64, *last as i64);
        let rows = self.audit.tx.query(&statement, &[&source.number, &first, &last]).await?;
        Ok(rows.into_iter().map(|row| (row.get(0), row)).collect())
    }

    /// Compares accepted lines with the rows of their keys.
    async fn rows(
        &mut self,
        source: &DoneSource,
        accepted: &[(u64, &[u8])],
        lacked: &[usize],
    ) -> Result<(), PgError> {
        if accepted.is_empty() {
            return Ok(());
        }
        let width = self.audit.tables[source.dataset].columns.len();
        let mut lines = Vec::with_capacity(accepted.len());
        let mut values: Vec<Vec<Option<String>>> = vec![Vec::with_capacity(accepted.len()); width];
        let mut fields = Fields::default();
        for (line, canonical) in accepted {
            // A canonical line was written by `split::write_field`, which closes every quote.
            fields.split(canonical, &Dialect::STANDARD).expect("a canonical line has no open quote");
            lines.push(*line as i64);
            for (column, values) in values.iter_mut().enumerate() {
                let value = String::from_utf8_lossy(fields.get(column, canonical));
                let is_present = !value.is_empty() || fields.is_literal(column);
                values.push(is_present.then(|| value.into_owned()));
            }
        }
        let statement = self.audit.tx.prepare_cached(&self.rows_statement(source.dataset, lacked)).await?;
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&source.number, &lines];
        parameters.extend(values.iter().map(|values| values as &(dyn ToSql + Sync)));
        for row in self.audit.tx.query(&statement, &parameters).await? {
            self.row(source, &row);
        }
        Ok(())
    }

    /// The query for the rows of the keys of lines. `$1` is the source of the lines, `$2` their numbers, and the
    /// other parameters are the texts of each column. Each key is looked up in the index: `limit` keeps Postgres from
    /// reading the whole table for some thousand lines. Values that are not the line's are not compared: those of columns
    /// that the source lacked, a missing value that the table's default replaces, and the time of an earlier validation.
    fn rows_statement(&self, dataset: usize, lacked: &[usize]) -> String {
        let table = &self.audit.tables[dataset];
        let columns = &self.audit.manifest.datasets[dataset].columns;
        let texts: Vec<String> = (0..columns.len()).map(|i| format!("${}::text[]", i + 3)).collect();
        let names: Vec<String> = (0..columns.len()).map(|i| format!("value_{i}")).collect();
        let compared = columns.iter().zip(&table.columns).zip(&names).enumerate();
        let compared = compared.filter(|(i, _)| !lacked.contains(i));
        let same = compared.filter_map(|(_, ((column, name), value))| {
            let is_same = format!("held.{name} is not distinct from given.{value}::{}", column.kind.sql());
            match column.reading.default {
                Some(DefaultValue::Now) => None,
                Some(DefaultValue::Table) => Some(format!("(given.{value} is null or {is_same})")),
                Some(DefaultValue::Constant(_)) | None => Some(is_same),
            }
        });
        let same: Vec<String> = ["true".to_owned()].into_iter().chain(same).collect();
        format!(
            "select given.line, held._source, held._line, \
             case when (held._source, held._line) = ($1, given.line) then {} end \
             from unnest($2::bigint[], {}) as given (line, {}) {}",
            same.join(" and "),
            texts.join(", "),
            names.join(", "),
            self.joined_rows(dataset, &names),
        )
    }

    /// The clause that joins each line with the row of its key. Without a key that is the line's own row, for which the
    /// table may have no index.
    fn joined_rows(&self, dataset: usize, names: &[String]) -> String {
        let table = &self.audit.tables[dataset];
        if table.is_keyless {
            return format!(
                "left join {} as held on held._source = $1 and held._line = given.line",
                table.name
            );
        }
        let key = self.audit.manifest.datasets[dataset].key.iter();
        let values: Vec<String> = key.map(|column| format!("given.{}", names[*column])).collect();
        format!(
            "left join lateral (select * from {} as of_key where {} limit 1) as held on true",
            table.name,
            table.key.is("of_key", &values)
        )
    }

    /// Compares an accepted line with the row of its key.
    fn row(&mut self, source: &DoneSource, row: &Row) {
        let line: i64 = row.get(0);
        let held: Option<(i64, i64)> = row.get::<_, Option<i64>>(1).zip(row.get(2));
        let changed = match held {
            None => "its row is gone",
            Some((-1, _)) => "another writer holds its row",
            Some(held) if held > (source.number, line) => return self.counts.superseded += 1,
            Some((of, older)) if (of, older) < (source.number, line) => {
                let message =
                    format!("it is accepted, but the row of its key is that of the older line {of}:{older}");
                return self.check.violation(at(source.number, line), message);
            }
            Some(_) if row.get::<_, Option<bool>>(3) == Some(true) => return self.counts.rows += 1,
            Some(_) => "its row has other values now",
        };
        self.check.note(at(source.number, line), format!("changed by others: {changed}"));
    }
}
