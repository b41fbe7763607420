//! The journal: the sources that Postgres has registered, noted beside the topics.
//!
//! A position on a topic names a line only while Postgres knows the source of that number. A Postgres that was restored
//! to an earlier moment does not know it, and would give the number to another file. Therefore every registration is
//! noted in the data directory, in `sources.jsonl`, one event a line. **A source is in the journal before any line of
//! it is on a topic.** The next start compares the journal with Postgres (see [`crate::recover`]) and rewrites it.
//!
//! Clients may send millions of requests, each a source. If topics are embedded, the journal forgets complete requests
//! except the latest. Therefore neither the journal nor the work of a start grows with the number of requests.

mod registry;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tidegate_core::contract::Error;
use tidegate_core::failpoint::Failpoint;
use tidegate_store::{RegisteredSource, SourceKind};
use tokio::sync::Mutex;
use tracing::warn;

use crate::Failure;
use crate::data_dir::private_file;

pub use registry::JournaledRegistry;

/// A source in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub source: u64,
    /// The dataset it belongs to.
    pub dataset: String,
    /// What kind of input it is.
    pub kind: SourceKind,
    /// Its name.
    pub name: String,
    /// The identity of the source.
    #[serde(with = "hex")]
    pub identity: Vec<u8>,
    /// Its size in bytes.
    pub bytes: Option<u64>,
    /// BLAKE3 of its content, if it was registered through this journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Of a file: the fingerprint that all deliveries of the same content under the same name share; empty if the source
    /// has none.
    #[serde(default, with = "hex", skip_serializing_if = "Vec::is_empty")]
    pub fingerprint: Vec<u8>,
    /// The first generated key of its lines, if they need some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_key: Option<i64>,
    /// How many lines it has, once it was read to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Whether every line is accounted for.
    #[serde(default)]
    pub complete: bool,
}

impl Entry {
    /// The fingerprint that a file of this source must have. If the source was noted before version 8 of the schema,
    /// its identity is the fingerprint.
    pub fn fingerprint(&self) -> &[u8] {
        if self.fingerprint.is_empty() { &self.identity } else { &self.fingerprint }
    }

    fn is_file(&self) -> bool {
        self.kind == SourceKind::File
    }
}

impl From<&RegisteredSource> for Entry {
    fn from(registered: &RegisteredSource) -> Self {
        let RegisteredSource {
            source,
            dataset,
            kind,
            name,
            identity,
            bytes,
            lines,
            complete,
            fingerprint,
            first_key,
            ..
        } = registered.clone();
        let (content, fingerprint) = (None, fingerprint.unwrap_or_default());
        Self {
            source,
            dataset,
            kind,
            name,
            identity,
            bytes,
            content,
            fingerprint,
            first_key,
            lines,
            complete,
        }
    }
}

/// A complete source that is no file is forgotten once its number is this far below the largest.
const REQUESTS_KEPT: u64 = 100_000;
/// The journal is rewritten after this many appended lines.
const LINES_MORE_MAX: usize = 400_000;

/// The content of a journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    /// Sources by their numbers.
    pub entries: BTreeMap<u64, Entry>,
    /// Complete sources up to this number may have been forgotten.
    pub forgotten: u64,
}

impl Notes {
    /// Forgets complete sources that are no files, except the latest. No client needs their lines any more.
    fn forget(&mut self) {
        let Some((last, _)) = self.entries.last_key_value() else { return };
        let last = last.saturating_sub(REQUESTS_KEPT);
        let before = self.entries.len();
        let is_old = |entry: &Entry| entry.source <= last && entry.complete && !entry.is_file();
        self.entries.retain(|_, entry| !is_old(entry));
        if self.entries.len() < before {
            self.forgotten = self.forgotten.max(last);
        }
    }
}

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum JournalLine {
    Forgotten { up_to: u64 },
    Registered(Entry),
    Finished { source: u64, lines: u64 },
    Completed { source: u64 },
}

/// The journal of a running pipeline.
#[derive(Debug)]
pub struct Journal {
    open: Arc<Mutex<Open>>,
    /// The largest number in the journal.
    largest: AtomicU64,
}

/// A journal that is open for appending.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    /// The offset of the next line, in bytes.
    end: u64,
    forgets: bool,
    /// How many more lines are appended before the journal is rewritten.
    lines_left: usize,
}

impl Open {
    fn append(&mut self, events: &[JournalLine], durable: bool) -> std::io::Result<()> {
        let bytes: Vec<u8> = events.iter().flat_map(line).collect();
        self.file.set_len(self.end)?; // removes what a failed append has left, such as on a full disk
        self.file.write_all_at(&bytes, self.end)?;
        if durable {
            self.file.sync_data()?;
        }
        self.end += bytes.len() as u64;
        self.lines_left = self.lines_left.saturating_sub(events.len());
        if self.lines_left == 0 {
            self.lines_left = LINES_MORE_MAX;
            if let Err(failure) = self.shorten() {
                warn!("the journal is not shortened: {}", failure.message);
            }
        }
        Ok(())
    }

    /// Rewrites the journal without repeated or forgotten entries. If that fails, the journal stays valid as it is.
    fn shorten(&mut self) -> Result<(), Failure> {
        let gone = || Failure::new(format!("the journal '{}' is gone", self.path.display()));
        let notes = Journal::read(&self.path, self.forgets)?.ok_or_else(gone)?;
        let (file, end) = write_aside(&self.path, notes)?;
        // A process that has taken over has put its own journal there.
        let (ours, there) = (self.file.metadata()?, std::fs::metadata(&self.path)?);
        if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
            return Err(gone());
        }
        put_into_place(&self.path)?;
        (self.file, self.end) = (file, end);
        sync_folder(&self.path)
    }
}

impl Journal {
    /// Reads the journal at `path`; `None` if there is none. Each line is read by itself, and a line torn by a crash is
    /// left out. With `forgets`, complete sources that are no files are left out as well, except the latest.
    pub fn read(path: &Path, forgets: bool) -> Result<Option<Notes>, Failure> {
        let failed = |error| Failure::new(format!("cannot read the journal '{}': {error}", path.display()));
        let mut lines = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => BufReader::new(opened.map_err(failed)?),
        };
        let mut notes = Notes::default();
        let mut line = Vec::new();
        let mut forget_at = 2 * REQUESTS_KEPT as usize;
        while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            match serde_json::from_slice(&line) {
                Ok(JournalLine::Forgotten { up_to }) => notes.forgotten = up_to,
                Ok(JournalLine::Registered(entry)) => {
                    notes.entries.insert(entry.source, entry);
                }
                Ok(JournalLine::Finished { source, lines }) => {
                    notes.entries.entry(source).and_modify(|entry| entry.lines = Some(lines));
                }
                Ok(JournalLine::Completed { source }) => {
                    notes.entries.entry(source).and_modify(|entry| entry.complete = true);
                }
                Err(_) => warn!(journal = %path.display(), "a line that is not whole was left out"),
            }
            line.clear();
            if forgets && notes.entries.len() > forget_at {
                notes.forget();
                forget_at = 2 * (notes.entries.len() + REQUESTS_KEPT as usize);
            }
        }
        if forgets {
            notes.forget();
        }
        Ok(Some(notes))
    }

    /// Writes a journal of `notes` and opens it. The former journal stays in place until the new one is on disk.
    pub fn write(path: &Path, notes: Notes, forgets: bool) -> Result<Self, Failure> {
        let largest = notes.entries.last_key_value().map_or(0, |(source, _)| *source);
        let (file, end) = write_aside(path, notes)?;
        put_into_place(path)?;
        sync_folder(path)?;
        Ok(Self::new(path, file, end, forgets, largest))
    }

    /// Opens a journal that cannot be rewritten at the moment. Appends continue after its last whole line.
    pub fn reopen(path: &Path, noted: &Notes, forgets: bool) -> Result<Self, Failure> {
        let file = private_file(path)?;
        let mut lines = BufReader::new(&file);
        let (mut end, mut line) = (0, Vec::new());
        while lines.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            end += line.len() as u64;
            line.clear();
        }
        let largest = noted.entries.last_key_value().map_or(0, |(source, _)| *source);
        Ok(Self::new(path, file, end, forgets, largest))
    }

    fn new(path: &Path, file: File, end: u64, forgets: bool, largest: u64) -> Self {
        let open = Open { path: path.to_owned(), file, end, forgets, lines_left: LINES_MORE_MAX };
        Self { open: Arc::new(Mutex::new(open)), largest: AtomicU64::new(largest) }
    }

    /// Appends events. If `durable`, they are on disk when this returns. An append that has begun runs to its end, even
    /// if the caller drops the future.
    async fn note(&self, events: Vec<JournalLine>, durable: bool) -> Result<(), Error> {
        let mut open = self.open.clone().lock_owned().await;
        let path = open.path.display().to_string();
        let written = tokio::task::spawn_blocking(move || open.append(&events, durable)).await;
        written.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped))).map_err(|error| {
            Error::retry(format!(
                "cannot write the journal '{path}': {error}; make room, reading goes on when it can"
            ))
        })
    }

    /// Appends durably the sources up to number `largest`.
    async fn note_registered(&self, events: Vec<JournalLine>, largest: u64) -> Result<(), Error> {
        self.note(events, true).await?;
        self.largest.store(largest, Ordering::Release);
        Ok(Failpoint::SourceJournaled.pass()?)
    }

    fn largest(&self) -> u64 {
        self.largest.load(Ordering::Acquire)
    }
}

fn not_written(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(format!("cannot write the journal '{}': {error}", path.display()))
}

/// Writes a journal to a file beside the one at `path` and syncs it. Returns the file and its length in bytes.
fn write_aside(path: &Path, notes: Notes) -> Result<(File, u64), Failure> {
    let aside = path.with_extension("new");
    (|| {
        // Always a new file: a process that was taken over may still be writing to the old one.
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = private_file(&aside)?;
        let mut writer = BufWriter::new(&file);
        let forgotten = (notes.forgotten > 0).then_some(JournalLine::Forgotten { up_to: notes.forgotten });
        for event in forgotten.into_iter().chain(notes.entries.into_values().map(JournalLine::Registered)) {
            writer.write_all(&line(&event))?;
        }
        writer.flush()?;
        drop(writer);
        file.sync_all()?;
        Failpoint::JournalWritten.pass()?;
        let end = file.metadata()?.len();
        Ok((file, end))
    })()
    .map_err(|error| {
        let _ = std::fs::remove_file(&aside); // the disk may be full
        not_written(path)(error)
    })
}

/// Renames the file that was written aside to the journal's name.
fn put_into_place(path: &Path) -> Result<(), Failure> {
    std::fs::rename(path.with_extension("new"), path).map_err(not_written(path))
}

fn sync_folder(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(not_written(path))
}

/// An event as a line of the journal.
fn line(event: &JournalLine) -> Vec<u8> {
    let mut line = serde_json::to_vec(event).expect("texts and numbers always become JSON");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: u64) -> Entry {
        Entry {
            source,
            dataset: "jobs".to_owned(),
            kind: SourceKind::File,
            name: "jobs \"1\".csv".to_owned(),
            identity: vec![0, 171, 255],
            bytes: Some(12),
            content: Some("ab".to_owned()),
            first_key: Some(7),
            fingerprint: vec![1, 2, 3],
            lines: None,
            complete: false,
        }
    }

    fn notes(entries: impl IntoIterator<Item = Entry>) -> Notes {
        let entries = entries.into_iter().map(|entry| (entry.source, entry));
        Notes { entries: entries.collect(), forgotten: 0 }
    }

    #[tokio::test]
    async fn millions_of_requests_are_forgotten_once_they_are_complete() {
        const REQUESTS: u64 = 1_000_000;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources.jsonl");
        let journal = Journal::write(&path, Notes::default(), true).unwrap();
        let request = |source| Entry { kind: SourceKind::Request, ..entry(source) };
        let mut longest = 0;
        for first in (1..=REQUESTS).step_by(1_000) {
            let sources = first..first + 1_000;
            // A file among them, and a request that is never complete.
            let registered = sources.clone().map(|source| match source {
                5 => JournalLine::Registered(entry(5)),
                source => JournalLine::Registered(request(source)),
            });
            journal.note(registered.collect(), false).await.unwrap();
            let completed =
                sources.filter(|source| *source != 7).map(|source| JournalLine::Completed { source });
            journal.note(completed.collect(), false).await.unwrap();
            longest = longest.max(std::fs::metadata(&path).unwrap().len());
        }
        let line_bytes = line(&JournalLine::Registered(request(REQUESTS))).len();
        assert!(longest < (LINES_MORE_MAX * line_bytes) as u64, "{longest} bytes");
        let notes = Journal::read(&path, true).unwrap().unwrap();
        assert_eq!(notes.entries.len() as u64, REQUESTS_KEPT + 2);
        assert_eq!(notes.forgotten, REQUESTS - REQUESTS_KEPT);
        assert_eq!(notes.entries[&5], Entry { complete: true, ..entry(5) });
        assert_eq!((&notes.entries[&7], notes.entries[&REQUESTS].complete), (&request(7), true));
        // A process that has replaced the journal keeps its own.
        let other = Journal::write(&path, notes.clone(), true).unwrap();
        journal.open.lock().await.shorten().unwrap_err();
        other.note(vec![JournalLine::Completed { source: 7 }], true).await.unwrap();
        assert!(!Journal::read(&path, true).unwrap().unwrap().entries.contains_key(&7));
        // Rewriting the journal changes nothing.
        Journal::write(&path, notes.clone(), true).unwrap();
        assert_eq!(Journal::read(&path, true).unwrap().unwrap(), notes);
    }

    #[tokio::test]
    async fn what_is_noted_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources.jsonl");
        assert_eq!(Journal::read(&path, true).unwrap(), None);
        let journal = Journal::write(&path, notes([entry(1), entry(2)]), true).unwrap();
        assert_eq!(journal.largest(), 2);
        journal.note(vec![JournalLine::Registered(entry(3))], true).await.unwrap();
        journal.note(vec![JournalLine::Finished { source: 3, lines: 7 }], false).await.unwrap();
        journal
            .note(vec![JournalLine::Completed { source: 1 }, JournalLine::Completed { source: 3 }], true)
            .await
            .unwrap();
        let expected = notes([
            Entry { complete: true, ..entry(1) },
            entry(2),
            Entry { complete: true, lines: Some(7), ..entry(3) },
        ]);
        let read = Journal::read(&path, true).unwrap().unwrap();
        assert_eq!(read, expected);
        // The rewritten journal says the same, with one line a source.
        Journal::write(&path, expected, true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
        assert_eq!(Journal::read(&path, true).unwrap().unwrap(), read);
    }

    #[tokio::test]
    async fn a_torn_line_harms_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources.jsonl");
        let journal = Journal::write(&path, notes([entry(1)]), true).unwrap();
        journal.note(vec![JournalLine::Registered(entry(2))], true).await.unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let read = Journal::read(&path, true).unwrap().unwrap().entries;
            assert!(read.values().all(|read| *read == entry(read.source)), "cut at {length}");
            // A line that lacks only its line feed is whole.
            assert_eq!(read.len(), whole[..=length].iter().filter(|byte| **byte == b'\n').count());
        }
        // An append overwrites what a failed append has left.
        let file = File::options().append(true).open(&path).unwrap();
        std::fs::write(&path, &whole).unwrap();
        (&file).write_all(b"{\"event\":\"regi").unwrap();
        journal.note(vec![JournalLine::Registered(entry(3))], true).await.unwrap();
        assert_eq!(Journal::read(&path, true).unwrap().unwrap().entries.len(), 3);
        // If the journal could not be rewritten, an append overwrites a line torn by a crash as well.
        (&file).write_all(b"{\"event\":\"regi").unwrap();
        let reopened = Journal::reopen(&path, &Journal::read(&path, true).unwrap().unwrap(), true).unwrap();
        assert_eq!(reopened.largest(), 3);
        reopened.note(vec![JournalLine::Registered(entry(4))], true).await.unwrap();
        assert_eq!(Journal::read(&path, true).unwrap().unwrap().entries.len(), 4);
    }
}
