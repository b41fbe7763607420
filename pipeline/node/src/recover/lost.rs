//! What Postgres lacks, as registrations, as a table and as an error.

use std::collections::HashMap;
use std::path::PathBuf;

use tidegate_core::manifest::Manifest;
use tidegate_postgres::relation::{Column, ColumnKind, Relation};
use tidegate_store::{RegisteredSource, SourceKind};

use crate::Failure;
use crate::journal::Entry;

/// A source that Postgres lacks, or whose lines it lacks.
#[derive(Clone, Debug)]
pub(super) struct LostSource {
    pub(super) entry: Entry,
    /// Whether the source is registered; then only lines are missing.
    pub(super) is_registered: bool,
    /// Whether another source has its number by now.
    pub(super) is_taken: bool,
    /// How many lines the ledger lacks, if that is known.
    pub(super) lines: Option<u64>,
    pub(super) location: LineLocation,
}

/// The place that still holds the lines of a source.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LineLocation {
    Landing(PathBuf),
    Done(PathBuf),
    /// All of the lines or some.
    Topics,
    Nowhere,
}

/// Everything that Postgres lacks.
#[derive(Debug, Default)]
pub struct Findings {
    /// In the order of source numbers.
    pub(super) lost: Vec<LostSource>,
    /// Unknown source numbers, as ranges: first and last.
    pub(super) unknown: Vec<(u64, u64)>,
}

impl Findings {
    /// The sources to register again. Sources whose numbers are free come first, so that no other source takes their
    /// numbers.
    pub(super) fn registrations(&self) -> Vec<RegisteredSource> {
        let mut lost: Vec<&LostSource> = self.lost.iter().collect();
        lost.sort_by_key(|lost| (lost.is_taken, lost.entry.source));
        let registered = lost.into_iter().map(|lost| {
            let is_file = lost.entry.kind == SourceKind::File;
            let fingerprint = is_file.then(|| lost.entry.fingerprint().to_vec());
            let Entry { source, dataset, kind, name, identity, bytes, first_key, lines, .. } =
                lost.entry.clone();
            let (complete, held) = (false, 0);
            RegisteredSource {
                source,
                dataset,
                kind,
                name,
                identity,
                bytes,
                lines,
                complete,
                held,
                fingerprint,
                first_key,
            }
        });
        registered.collect()
    }

    /// The files of `done/` to read once more, each with the number under which its source is `registered` now.
    pub(super) fn done_files(
        &self,
        manifest: &Manifest,
        registered: &[RegisteredSource],
    ) -> Vec<(u64, PathBuf, String, usize)> {
        let registered = by_identity(registered);
        let files = self.lost.iter().filter_map(|lost| {
            let LineLocation::Done(path) = &lost.location else { return None };
            let (dataset, _) = manifest.dataset(&lost.entry.dataset)?;
            let source = registered.get(&lost.entry.identity[..])?.source;
            Some((source, path.clone(), lost.entry.name.clone(), dataset))
        });
        files.collect()
    }

    /// A line that says how much is missing.
    pub fn in_words(&self) -> String {
        match self.lost.len() {
            0 => "Postgres lacks nothing that was ingested".to_owned(),
            count => format!("Postgres lacks {count} sources or lines of them; nothing was changed"),
        }
    }

    /// The table of what is missing: before a recovery, or with the sources as they are `now`.
    pub fn relation(&self, now: Option<&[RegisteredSource]>) -> Relation {
        let number = |name| Column::new(name, ColumnKind::Number);
        let text = |name| Column::new(name, ColumnKind::Text);
        let mut columns = vec![number("source"), number("now"), text("dataset"), text("name")];
        columns.push(Column::new("registered", ColumnKind::Boolean));
        columns.extend([number("lacking"), text("from")]);
        columns.extend(now.map(|_| number("still_lacking")));
        columns.push(text("content"));
        let is_over = now.is_some();
        let now = by_identity(now.unwrap_or_default());
        let rows = self.lost.iter().map(|lost| {
            let Entry { source, dataset, name, content, .. } = &lost.entry;
            let registered = now.get(&lost.entry.identity[..]).copied();
            let renumbered = if lost.is_taken { None } else { Some(*source) };
            let number = registered.map_or(renumbered, |registered| Some(registered.source));
            let from = match &lost.location {
                LineLocation::Landing(path) | LineLocation::Done(path) => path.display().to_string(),
                LineLocation::Topics => "topics".to_owned(),
                LineLocation::Nowhere => "nowhere".to_owned(),
            };
            let text = |number: u64| number.to_string();
            let mut row = vec![
                Some(text(*source)),
                number.map(text),
                Some(dataset.clone()),
                Some(name.clone()),
                Some(lost.is_registered.to_string()),
                lost.lines.map(text),
                Some(from),
            ];
            row.extend(is_over.then(|| registered.and_then(lacking).map(text)));
            row.push(content.clone());
            row
        });
        Relation { rows: rows.collect(), columns }
    }

    /// Fails if lines or sources are missing for good.
    pub fn assert_recovered(&self, now: &[RegisteredSource]) -> Result<(), Failure> {
        let now = by_identity(now);
        let incomplete = self.lost.iter().filter_map(|lost| {
            let registered = now.get(&lost.entry.identity[..]).filter(|registered| !registered.complete)?;
            let lines = lacking(registered).map_or("lines".to_owned(), |lines| format!("{lines} lines"));
            Some(format!("{} '{}' ({lines})", registered.source, registered.name))
        });
        let incomplete: Vec<_> = incomplete.collect();
        let mut missing = Vec::new();
        if !incomplete.is_empty() {
            missing.push(format!(
                "{} sources lack lines that neither a file nor a topic holds: {}; look in backups for files of \
                 these names, with the content listed (BLAKE3), and put them into the landing folder: 'tidegate \
                 run' reads them under their numbers, which stay theirs, and goes on without them until then",
                incomplete.len(),
                incomplete.join(", ")
            ));
        }
        if !self.unknown.is_empty() {
            let numbers = self.unknown.iter().map(|(first, last)| match last - first {
                0 => first.to_string(),
                _ => format!("{first} to {last}"),
            });
            let numbers: Vec<_> = numbers.collect();
            missing.push(format!(
                "nothing is known any more of the sources that had the numbers {}; a file of theirs that is in the \
                 landing folder was taken under a new number",
                numbers.join(", ")
            ));
        }
        if missing.is_empty() { Ok(()) } else { Err(Failure::new(missing.join("; "))) }
    }
}

fn by_identity(registered: &[RegisteredSource]) -> HashMap<&[u8], &RegisteredSource> {
    registered.iter().map(|registered| (&registered.identity[..], registered)).collect()
}

/// How many lines of a source the ledger lacks, if that is known.
fn lacking(registered: &RegisteredSource) -> Option<u64> {
    if registered.complete { Some(0) } else { Some(registered.lines?.saturating_sub(registered.held)) }
}
