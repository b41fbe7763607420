//! The files of `done/`, read again, line by line against what became of them.
//!
//! Files are split and checked by the code that did it first, and under the manifest as it is now: what a
//! changed rule says otherwise is found as well.
//!
//! * A line that breaks a rule is rejected or discarded. Its dead letter holds the exact line and the same
//!   codes.
//! * A line that keeps the rules is accepted, waits, was discarded, or was refused by Postgres. Its dead
//!   letter, if it is one, holds the line.
//! * The row of an accepted line's key is not older than the line.
//! * A row that has the line's position but other values, one that is gone, and one that another writer
//!   holds were changed by others. That is a note, and so is a file that is gone or has another content
//!   than was registered.
//! * What was replayed may have been edited, so its text is not compared.
//!
//! A file is read by the names that its columns had when it was registered, a dead letter by those of its own, and
//! both are put into the columns of today by name. Where the rules were others then, lines may have been judged
//! otherwise than they would be now.

mod line;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tidegate_core::contract::Intake;
use tidegate_core::ledger::Fate;
use tidegate_core::shape::{self, Shape};
use tidegate_core::split::{Dialect, Fields};
use tidegate_core::transform::Transform;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::super::{Error, Postgres, shapes};
use super::rows::chunk_key;
use super::stream::{Chunks, Stream};
use super::{Audit, Check, Verdict, at};
use crate::csv::again::{self, Again, Done, Next, identity_behind};
use crate::csv::parse_done_name;
use line::{Expected, Letter, fault};

const NAME: &str = "files";
/// How many names of files are looked up at once.
const NAMES: usize = 1_000;

/// A complete source that was a file.
struct Source {
    number: i64,
    dataset: usize,
    name: String,
    lines: Option<i64>,
    identity: Vec<u8>,
    fingerprint: Vec<u8>,
    /// How it was read when it was registered.
    shape: Option<Arc<Shape>>,
}

impl Source {
    /// Whether the rules of its dataset are those of then. If not, what became of its lines then says nothing about what
    /// would become of them now.
    fn is_under_rules(&self, rules: &[String]) -> bool {
        self.shape.as_ref().is_some_and(|shape| shape.rules == rules[self.dataset])
    }
}

/// What became of accepted lines, counted.
#[derive(Default)]
struct Seen {
    files: u64,
    lines: u64,
    /// Accepted lines whose row they are.
    rows: u64,
    /// Accepted lines whose key has a newer row.
    superseded: u64,
    /// Lines that were replayed.
    replayed: u64,
    /// Sources whose file is not in `done/`.
    gone: u64,
    /// Lines that were judged by other rules than the manifest has now.
    other_rules: u64,
}

/// One audit of the files.
struct Deep<'a> {
    audit: &'a Audit<'a>,
    postgres: &'a Postgres,
    transform: Transform,
    chunks: Chunks<'a>,
    /// What tells the rules of each dataset from others.
    rules: Vec<String>,
    seen: Seen,
    check: Check,
}

/// The check `files`, within the snapshot.
pub(super) async fn check(audit: &Audit<'_>, postgres: &Postgres, landing: &Path) -> Result<Check, Error> {
    let sql = include_str!("../../../../sql/queries/audit_complete_files.sql");
    let mut sources = Stream::open(audit, NAME, sql, &[]).await?;
    let mut transform = Transform::new(postgres.inner.manifest.clone(), 0);
    // Whether references exist the sink has decided.
    (0..audit.tables.len()).for_each(|dataset| transform.known_keys().give_up(dataset));
    let chunks = Chunks::open(audit, NAME, None).await?;
    let (seen, check) = (Seen::default(), Check::new(NAME));
    let manifest = audit.manifest;
    let rules = manifest.datasets.iter().map(|dataset| shape::rules(manifest, dataset)).collect();
    let mut deep = Deep { audit, postgres, transform, chunks, rules, seen, check };
    while let Some(row) = sources.next().await? {
        // Of other datasets the check of the registry tells.
        if let Some((dataset, _)) = audit.manifest.dataset(row.get(1)) {
            let (number, name, lines) = (row.get(0), row.get(2), row.get(3));
            let (identity, fingerprint) = (row.get(4), row.get(5));
            let shape = postgres.shape(row.get(6)).await?;
            let source = Source { number, dataset, name, lines, identity, fingerprint, shape };
            deep.file(landing, &source).await?;
        }
    }
    let Deep { seen, mut check, .. } = deep;
    check.checked(seen.files, "files of done/, read again");
    check.checked(seen.lines, "lines of theirs");
    check.checked(seen.rows, "accepted lines that stand in their row as they came");
    check.checked(seen.superseded, "accepted lines whose row is a newer line's");
    check.counted(seen.replayed, "lines were replayed, perhaps edited: their text is not compared");
    check.counted(
        seen.other_rules,
        "lines were judged by other rules of the manifest: only what they hold is compared",
    );
    check.counted(seen.gone, "complete files are not in done/: not compared");
    Ok(check)
}

/// Names the files in `done/` that are of no source. Not within the snapshot: a file may have come since,
/// but its source was registered before.
pub(super) async fn strangers(postgres: &Postgres, landing: &Path, check: &mut Check) -> Result<(), Error> {
    let Ok(entries) = std::fs::read_dir(again::folder(landing)) else { return Ok(()) };
    let mut entries = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let connection = postgres.connection().await?;
    loop {
        let names: Vec<String> = entries.by_ref().take(NAMES).collect();
        if names.is_empty() {
            return Ok(());
        }
        let claims = names.iter().map(|name| parse_done_name(name).unwrap_or_default());
        let claims: (Vec<i64>, Vec<&str>) = claims.map(|(source, name)| (source as i64, name)).unzip();
        let sql = include_str!("../../../../sql/queries/audit_strangers.sql");
        for row in connection.query(sql, &[&claims.0, &claims.1]).await? {
            let name = &names[row.get::<_, i64>(0) as usize - 1];
            check.list(Verdict::Note, None, format!("'{name}' is in done/, but of no source"));
        }
    }
}

impl Deep<'_> {
    async fn file(&mut self, landing: &Path, source: &Source) -> Result<(), Error> {
        if let Some(why) = self.compare(landing, source).await? {
            let message = format!("'{}' is not compared: {why}", source.name);
            self.check.list(Verdict::Note, Some(source.number.to_string()), message);
        }
        Ok(())
    }

    /// Compares a file; gives why it could not, or not to its end.
    async fn compare(&mut self, landing: &Path, source: &Source) -> Result<Option<String>, Error> {
        let number = source.number as u64;
        let opening = Done::open(landing, number, &source.name, source.dataset, source.shape.clone());
        let opened = match self.audit.meanwhile(opening).await? {
            Ok(Some(opened)) => opened,
            Ok(None) => {
                self.seen.gone += 1;
                return Ok(None);
            }
            Err(error) => return Ok(Some(error.to_string())),
        };
        if !self.is_registered(&opened, source).await? {
            let why = "its content is not what was registered, or is divided into lines in another way now";
            return Ok(Some(why.to_owned()));
        }
        match opened.read(number, self.audit.manifest) {
            Ok(mut again) => self.lines(source, &mut again).await,
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    /// Whether the content of a file is that of its source.
    async fn is_registered(&self, opened: &Done, source: &Source) -> Result<bool, Error> {
        let mut identity = opened.fingerprint(self.audit.manifest);
        if identity[..] == source.fingerprint[..] {
            return Ok(true);
        }
        let sql = "select source from tidegate.sources where identity = $1";
        while identity[..] != source.identity[..] {
            // Or, before version 8 of the schema, that of one that was closed early, after which it came again.
            let Some(row) = self.audit.tx.query_opt(sql, &[&&identity[..]]).await? else { return Ok(false) };
            identity = identity_behind(&identity, row.get::<_, i64>(0) as u64);
        }
        Ok(true)
    }

    async fn lines(&mut self, source: &Source, again: &mut Again) -> Result<Option<String>, Error> {
        self.seen.files += 1;
        let lacked = shapes::lacks(again.shape(), self.audit.manifest, source.dataset);
        let validator = &self.postgres.inner.validators.as_given[source.dataset];
        loop {
            let next = again.next(self.audit.manifest, validator, self.postgres);
            let next = self.audit.meanwhile(next).await?;
            match next.map_err(|error| Error::halt(error.message))? {
                Next::Lines(intake) => {
                    self.intake(source, &intake, &lacked).await?;
                    (self.audit.watch)(NAME, self.seen.lines);
                }
                Next::End { changed: true, .. } => {
                    return Ok(Some("it changed while it was compared".to_owned()));
                }
                Next::End { lines, .. } => {
                    if source.lines != Some(lines as i64) {
                        let registered = source.lines.unwrap_or_default();
                        let message = format!("the file has {lines} lines, the source {registered}");
                        self.check.violation(source.number.to_string(), message);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// Compares some lines of a source.
    async fn intake(&mut self, source: &Source, intake: &Intake, lacked: &[usize]) -> Result<(), Error> {
        let outcome = self.transform.apply(source.dataset, &intake.records, SystemTime::now());
        let expected = line::expected(intake, &outcome);
        let letters = self.letters(source, &expected).await?;
        let of_letters = letters.values().map(|letter| letter.get("shape"));
        let shapes = self.postgres.shapes(of_letters).await?;
        let under_rules = source.is_under_rules(&self.rules);
        let mut accepted = Vec::new();
        for (line, expected) in &expected {
            self.seen.lines += 1;
            let key = chunk_key(source.number, *line as i64);
            let fate = self.chunks.seek(key).await?.and_then(|entry| entry.sets()?.fate(*line));
            // What the ledger lacks, or has without a dead letter, other checks have found.
            let Some(fate) = fate else { continue };
            let letter = letters.get(&(*line as i64)).map(|row| {
                let shape = row.get::<_, Option<i64>>("shape").and_then(|shape| shapes.get(&shape));
                Letter::new(row, shape.map(|shape| &**shape), &self.audit.manifest.datasets[source.dataset])
            });
            let same_rules = match &letter {
                Some(letter) => under_rules && letter.is_under_rules(&self.rules[source.dataset]),
                None => under_rules,
            };
            self.seen.other_rules += u64::from(!same_rules);
            if letter.as_ref().is_some_and(Letter::is_replayed) {
                self.seen.replayed += 1;
            } else if let Some(fault) = fault(expected, fate, letter.as_ref(), same_rules) {
                self.check.violation(at(source.number, line), fault);
            } else if let (Expected::Good { canonical, .. }, Fate::Accepted) = (expected, fate) {
                accepted.push((*line, *canonical));
            }
        }
        self.rows(source, &accepted, lacked).await
    }

    /// The dead letters among some lines.
    async fn letters(
        &self,
        source: &Source,
        expected: &[(u64, Expected<'_>)],
    ) -> Result<HashMap<i64, Row>, Error> {
        let (Some((first, _)), Some((last, _))) = (expected.first(), expected.last()) else {
            return Ok(HashMap::new());
        };
        let sql = include_str!("../../../../sql/queries/audit_letters_of_lines.sql");
        let statement = self.audit.tx.prepare_cached(sql).await?;
        let (first, last) = (*first as i64, *last as i64);
        let rows = self.audit.tx.query(&statement, &[&source.number, &first, &last]).await?;
        Ok(rows.into_iter().map(|row| (row.get(0), row)).collect())
    }

    /// Compares accepted lines with the rows of their keys.
    async fn rows(
        &mut self,
        source: &Source,
        accepted: &[(u64, &[u8])],
        lacked: &[usize],
    ) -> Result<(), Error> {
        if accepted.is_empty() {
            return Ok(());
        }
        let width = self.audit.tables[source.dataset].columns.len();
        let mut lines = Vec::with_capacity(accepted.len());
        let mut values: Vec<Vec<Option<String>>> = vec![Vec::with_capacity(accepted.len()); width];
        let mut fields = Fields::default();
        for (line, canonical) in accepted {
            // A canonical line was written by `split::write_field`: its quotes close.
            fields.split(canonical, Dialect::STANDARD).expect("a canonical line has no open quote");
            lines.push(*line as i64);
            for (column, values) in values.iter_mut().enumerate() {
                let value = String::from_utf8_lossy(fields.get(column, canonical));
                values.push((!value.is_empty()).then(|| value.into_owned()));
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

    /// The query for the rows of the keys of lines: `$1` is their source, `$2` their numbers, and then come
    /// the texts of each column. Each key is looked up in its index: `limit` keeps Postgres from reading the
    /// whole table for some thousand lines. Columns that the source lacked are not compared: what is there is the
    /// table's own affair.
    fn rows_statement(&self, dataset: usize, lacked: &[usize]) -> String {
        let table = &self.audit.tables[dataset];
        let columns = &self.audit.manifest.datasets[dataset].columns;
        let texts: Vec<String> = (0..columns.len()).map(|i| format!("${}::text[]", i + 3)).collect();
        let names: Vec<String> = (0..columns.len()).map(|i| format!("value_{i}")).collect();
        let compared = columns.iter().zip(&table.columns).zip(&names).enumerate();
        let compared = compared.filter(|(i, _)| !lacked.contains(i));
        let same = compared.map(|(_, ((column, name), value))| {
            format!("held.{name} is not distinct from given.{value}::{}", column.kind.sql())
        });
        format!(
            "select given.line, held._source, held._line, \
             case when (held._source, held._line) = ($1, given.line) then {} end \
             from unnest($2::bigint[], {}) as given (line, {}) \
             left join lateral ( \
                 select * from {} as of_key where of_key.{} = given.value_{}::{} limit 1 \
             ) as held on true",
            same.collect::<Vec<_>>().join(" and "),
            texts.join(", "),
            names.join(", "),
            table.name,
            table.key,
            self.audit.manifest.datasets[dataset].key,
            table.key_type
        )
    }

    /// Looks at the row of an accepted line's key.
    fn row(&mut self, source: &Source, row: &Row) {
        let line: i64 = row.get(0);
        let held: Option<(i64, i64)> = row.get::<_, Option<i64>>(1).zip(row.get(2));
        let changed = match held {
            None => "its row is gone",
            Some((-1, -1)) => "another writer holds its row",
            Some(held) if held > (source.number, line) => return self.seen.superseded += 1,
            Some((of, older)) if (of, older) < (source.number, line) => {
                let message =
                    format!("it is accepted, but the row of its key is that of the older line {of}:{older}");
                return self.check.violation(at(source.number, line), message);
            }
            Some(_) if row.get::<_, Option<bool>>(3) == Some(true) => return self.seen.rows += 1,
            Some(_) => "its row has other values now",
        };
        let message = format!("changed by others: {changed}");
        self.check.list(Verdict::Note, Some(at(source.number, line)), message);
    }
}
