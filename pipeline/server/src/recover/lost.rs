//! What Postgres lacks: to tell it again, to show, to complain of.

use std::collections::HashMap;
use std::path::PathBuf;

use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_connectors::postgres::{Registered, SourceKind};
use tidegate_core::manifest::Manifest;

use crate::Failure;
use crate::journal::Entry;

/// A source of which Postgres lacks something.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    pub(super) entry: Entry,
    /// Whether it is registered; then only lines are missing.
    pub(super) is_registered: bool,
    /// Whether another source has its number meanwhile.
    pub(super) is_taken: bool,
    /// How many lines the ledger lacks, if that is known.
    pub(super) lines: Option<u64>,
    pub(super) found: Found,
}

/// What still holds the lines of a source.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    Landing(PathBuf),
    Done(PathBuf),
    /// All of them or some.
    Topics,
    Nowhere,
}

/// What Postgres lacks.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// In the order of their numbers.
    pub(super) lost: Vec<Lost>,
    /// Numbers of which nothing is known: first and last of each row of them.
    pub(super) unknown: Vec<(u64, u64)>,
}

impl Findings {
    /// What to tell Postgres again, in this order: who can have its number goes first, so that nobody takes it.
    pub(super) fn registrations(&self) -> Vec<Registered> {
        let mut lost: Vec<&Lost> = self.lost.iter().collect();
        lost.sort_by_key(|lost| (lost.is_taken, lost.entry.source));
        let registered = lost.into_iter().map(|lost| {
            let is_file = lost.entry.kind == SourceKind::File.as_str();
            let fingerprint = is_file.then(|| lost.entry.fingerprint().to_vec());
            let Entry { source, dataset, kind, name, identity, bytes, lines, .. } = lost.entry.clone();
            let (complete, held) = (false, 0);
            Registered { source, dataset, kind, name, identity, bytes, lines, complete, held, fingerprint }
        });
        registered.collect()
    }

    /// The files of `done/` to read once more, each for its source as that is `registered` now.
    pub(super) fn done_files(
        &self,
        manifest: &Manifest,
        registered: &[Registered],
    ) -> Vec<(u64, PathBuf, String, usize)> {
        let registered = by_identity(registered);
        let files = self.lost.iter().filter_map(|lost| {
            let Found::Done(path) = &lost.found else { return None };
            let (dataset, _) = manifest.dataset(&lost.entry.dataset)?;
            let source = registered.get(&lost.entry.identity[..])?.source;
            Some((source, path.clone(), lost.entry.name.clone(), dataset))
        });
        files.collect()
    }

    pub(super) fn in_words(&self) -> String {
        match self.lost.len() {
            0 => "Postgres lacks nothing that was ingested".to_owned(),
            count => format!("Postgres lacks {count} sources or lines of them; nothing was changed"),
        }
    }

    /// The list to show: before recovering, or with how things are `now`.
    pub(super) fn relation(&self, now: Option<&[Registered]>) -> Relation {
        let mut columns = vec![
            Column::new("source", ColumnKind::Number),
            Column::new("now", ColumnKind::Number),
            Column::new("dataset", ColumnKind::Text),
            Column::new("name", ColumnKind::Text),
            Column::new("registered", ColumnKind::Boolean),
            Column::new("lacking", ColumnKind::Number),
            Column::new("from", ColumnKind::Text),
        ];
        columns.extend(now.map(|_| Column::new("still_lacking", ColumnKind::Number)));
        columns.push(Column::new("content", ColumnKind::Text));
        let is_over = now.is_some();
        let now = by_identity(now.unwrap_or_default());
        let rows = self.lost.iter().map(|lost| {
            let Entry { source, dataset, name, content, .. } = &lost.entry;
            let registered = now.get(&lost.entry.identity[..]).copied();
            let renumbered = if lost.is_taken { None } else { Some(*source) };
            let number = registered.map_or(renumbered, |registered| Some(registered.source));
            let from = match &lost.found {
                Found::Landing(path) | Found::Done(path) => path.display().to_string(),
                Found::Topics => "topics".to_owned(),
                Found::Nowhere => "nowhere".to_owned(),
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

    /// Fails if something is missing for good.
    pub(super) fn assert_recovered(&self, now: &[Registered]) -> Result<(), Failure> {
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

fn by_identity(registered: &[Registered]) -> HashMap<&[u8], &Registered> {
    registered.iter().map(|registered| (&registered.identity[..], registered)).collect()
}

/// How many lines of a source the ledger lacks, if that is known.
fn lacking(registered: &Registered) -> Option<u64> {
    if registered.complete { Some(0) } else { Some(registered.lines?.saturating_sub(registered.held)) }
}
