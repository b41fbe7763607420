//! The journal: what Postgres has said of sources, kept beside the topics.
//!
//! Positions on topics mean lines only as long as Postgres knows whose numbers these are. A Postgres that was
//! restored to an earlier moment does not, and would give the numbers to other files. So what it says is noted
//! in the data directory, in `sources.jsonl`, one event a line; **a source is in the journal before any line
//! of it is on a topic**. The next start compares (see [`crate::recover`]), and writes the journal anew.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tidegate_connectors::csv::{Arrival, Registry};
use tidegate_connectors::postgres::{self, Postgres, Registered, Registration, SourceKind};
use tidegate_core::contract::Error;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::ledger::Chunk;
use tracing::warn;

use crate::Failure;
use crate::data_dir::private_file;

/// A source as the journal knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub source: u64,
    /// The dataset it belongs to.
    pub dataset: String,
    /// What kind of input it is.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What makes it one and the same.
    #[serde(with = "hex")]
    pub identity: Vec<u8>,
    /// Its size.
    pub bytes: Option<u64>,
    /// BLAKE3 of its content, where it was registered by way of this journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// How many lines it has, once it was read to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Whether every line was accounted for.
    #[serde(default)]
    pub complete: bool,
}

impl From<&Registered> for Entry {
    fn from(registered: &Registered) -> Self {
        let Registered { source, dataset, kind, name, identity, bytes, lines, complete, .. } =
            registered.clone();
        Self { source, dataset, kind, name, identity, bytes, content: None, lines, complete }
    }
}

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Registered(Entry),
    Finished { source: u64, lines: u64 },
    Completed { source: u64 },
}

/// The journal of a running pipeline.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Arc<File>,
    /// Where the next line goes, in bytes.
    end: AtomicU64,
    /// The largest number noted.
    largest: AtomicU64,
}

impl Journal {
    /// What the journal at `path` says, by number; `None` if there is none. Each line stands by itself: one
    /// that a crash has torn is left out.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn read(path: &Path) -> Result<Option<BTreeMap<u64, Entry>>, Failure> {
        let failed = |error| Failure::new(format!("cannot read the journal '{}': {error}", path.display()));
        let mut lines = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => BufReader::new(opened.map_err(failed)?),
        };
        let mut entries: BTreeMap<u64, Entry> = BTreeMap::new();
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            match serde_json::from_slice(&line) {
                Ok(Event::Registered(entry)) => {
                    entries.insert(entry.source, entry);
                }
                Ok(Event::Finished { source, lines }) => {
                    entries.entry(source).and_modify(|entry| entry.lines = Some(lines));
                }
                Ok(Event::Completed { source }) => {
                    entries.entry(source).and_modify(|entry| entry.complete = true);
                }
                Err(_) => warn!(journal = %path.display(), "a line that is not whole was left out"),
            }
            line.clear();
        }
        Ok(Some(entries))
    }

    /// Writes a journal of these sources, and opens it. What it replaces is there until all of it is on disk.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(path: &Path, entries: impl IntoIterator<Item = Entry>) -> Result<Self, Failure> {
        let aside = path.with_extension("new");
        let mut largest = 0;
        let file = (|| {
            let file = private_file(&aside)?;
            file.set_len(0)?;
            let mut writer = BufWriter::new(&file);
            for entry in entries {
                largest = largest.max(entry.source);
                writer.write_all(&line(&Event::Registered(entry)))?;
            }
            writer.flush()?;
            drop(writer);
            file.sync_all()?;
            Failpoint::JournalWritten.pass()?;
            std::fs::rename(&aside, path)?;
            File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
            Ok(file)
        })()
        .map_err(|error: std::io::Error| {
            let _ = std::fs::remove_file(&aside); // the disk may be full
            Failure::new(format!("cannot write the journal '{}': {error}", path.display()))
        })?;
        let end = AtomicU64::new(file.metadata()?.len());
        Ok(Self { path: path.to_owned(), file: Arc::new(file), end, largest: AtomicU64::new(largest) })
    }

    /// Opens a journal that cannot be written anew at the moment, to go on where its last whole line ends.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn reopen(path: &Path, noted: &BTreeMap<u64, Entry>) -> Result<Self, Failure> {
        let file = private_file(path)?;
        let mut lines = BufReader::new(&file);
        let (mut end, mut line) = (0, Vec::new());
        while lines.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            end += line.len() as u64;
            line.clear();
        }
        let largest = AtomicU64::new(noted.last_key_value().map_or(0, |(source, _)| *source));
        Ok(Self { path: path.to_owned(), file: Arc::new(file), end: AtomicU64::new(end), largest })
    }

    /// Appends events; `durable`: they are on disk when it returns.
    async fn note(&self, events: &[Event], durable: bool) -> Result<(), Error> {
        let bytes: Vec<u8> = events.iter().flat_map(line).collect();
        let (file, end) = (self.file.clone(), self.end.load(Ordering::Acquire));
        let after = end + bytes.len() as u64;
        let written = tokio::task::spawn_blocking(move || {
            file.set_len(end)?; // what an earlier try has left, when the disk was full
            file.write_all_at(&bytes, end)?;
            if durable { file.sync_data() } else { Ok(()) }
        });
        let written = written.await.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)));
        written.map_err(|error| {
            let path = self.path.display();
            Error::retry(format!(
                "cannot write the journal '{path}': {error}; make room, reading goes on when it can"
            ))
        })?;
        self.end.store(after, Ordering::Release);
        Ok(())
    }

    fn largest(&self) -> u64 {
        self.largest.load(Ordering::Acquire)
    }
}

/// An event as it stands in the journal.
fn line(event: &Event) -> Vec<u8> {
    let mut line = serde_json::to_vec(event).expect("texts and numbers always become JSON");
    line.push(b'\n');
    line
}

/// The registry of Postgres; what it says is noted in the journal first.
pub struct Journaled {
    postgres: Postgres,
    journal: Journal,
}

impl Journaled {
    /// A journal that holds all that Postgres has registered, and nothing else.
    pub fn new(postgres: Postgres, journal: Journal) -> Self {
        Self { postgres, journal }
    }

    /// Fails if Postgres is behind the journal: it would give a number out again.
    async fn assert_not_behind(&self) -> Result<(), Error> {
        let (noted, largest) = (self.journal.largest(), self.postgres.largest_source().await?);
        if largest >= noted { Ok(()) } else { Err(postgres::Error::SourceLost(noted).into()) }
    }
}

impl Registry for Journaled {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        self.assert_not_behind().await?;
        let registration = Registry::register(&self.postgres, file).await?;
        let Registration { source, lines, complete, known } = registration;
        if source > self.journal.largest() {
            let entry = Entry {
                source,
                dataset: file.dataset.to_owned(),
                kind: SourceKind::File.as_str().to_owned(),
                name: file.name.to_owned(),
                identity: file.identity.to_vec(),
                bytes: Some(file.bytes),
                content: Some(hex::encode(file.content)),
                lines,
                complete,
            };
            self.journal.note(&[Event::Registered(entry)], true).await?;
            self.journal.largest.store(source, Ordering::Release);
            Failpoint::SourceJournaled.pass()?;
        } else if !known {
            return Err(postgres::Error::SourceLost(source).into());
        } else if complete {
            self.journal.note(&[Event::Completed { source }], true).await?;
        }
        Ok(registration)
    }

    async fn finish(&self, source: u64, lines: u64) -> Result<(), Error> {
        Registry::finish(&self.postgres, source, lines).await?;
        self.journal.note(&[Event::Finished { source, lines }], false).await
    }

    async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        let complete = Registry::complete(&self.postgres, sources).await?;
        if !complete.is_empty() {
            let events: Vec<_> = complete.iter().map(|source| Event::Completed { source: *source }).collect();
            self.journal.note(&events, true).await?;
        }
        Ok(complete)
    }

    async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, Error> {
        Registry::ledger_chunk(&self.postgres, source, line).await
    }
}

/// Bytes as hexadecimal digits.
pub(crate) mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn encode(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let bytes = digits.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        bytes.collect::<Option<_>>().ok_or_else(|| D::Error::custom("no hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: u64) -> Entry {
        Entry {
            source,
            dataset: "jobs".to_owned(),
            kind: "file".to_owned(),
            name: "jobs \"1\".csv".to_owned(),
            identity: vec![0, 171, 255],
            bytes: Some(12),
            content: Some("ab".to_owned()),
            lines: None,
            complete: false,
        }
    }

    #[tokio::test]
    async fn what_is_noted_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources.jsonl");
        assert_eq!(Journal::read(&path).unwrap(), None);
        let journal = Journal::write(&path, [entry(1), entry(2)]).unwrap();
        assert_eq!(journal.largest(), 2);
        journal.note(&[Event::Registered(entry(3))], true).await.unwrap();
        journal.note(&[Event::Finished { source: 3, lines: 7 }], false).await.unwrap();
        journal.note(&[Event::Completed { source: 1 }, Event::Completed { source: 3 }], true).await.unwrap();
        let expected = [
            Entry { complete: true, ..entry(1) },
            entry(2),
            Entry { complete: true, lines: Some(7), ..entry(3) },
        ];
        let read = Journal::read(&path).unwrap().unwrap();
        assert_eq!(read.values().cloned().collect::<Vec<_>>(), expected);
        // Written anew it is the same, one line a source.
        Journal::write(&path, expected.clone()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
        assert_eq!(Journal::read(&path).unwrap().unwrap(), read);
    }

    #[tokio::test]
    async fn a_torn_line_harms_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources.jsonl");
        let journal = Journal::write(&path, [entry(1)]).unwrap();
        journal.note(&[Event::Registered(entry(2))], true).await.unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let read = Journal::read(&path).unwrap().unwrap();
            assert!(read.values().all(|read| *read == entry(read.source)), "cut at {length}");
            // A line that lacks its line feed alone is whole.
            assert_eq!(read.len(), whole[..=length].iter().filter(|byte| **byte == b'\n').count());
        }
        // What a try has left that failed in the middle is written over.
        let file = File::options().append(true).open(&path).unwrap();
        std::fs::write(&path, &whole).unwrap();
        (&file).write_all(b"{\"event\":\"regi").unwrap();
        journal.note(&[Event::Registered(entry(3))], true).await.unwrap();
        assert_eq!(Journal::read(&path).unwrap().unwrap().len(), 3);
        // So is what a crash has torn, by one that could not write the journal anew.
        (&file).write_all(b"{\"event\":\"regi").unwrap();
        let reopened = Journal::reopen(&path, &Journal::read(&path).unwrap().unwrap()).unwrap();
        assert_eq!(reopened.largest(), 3);
        reopened.note(&[Event::Registered(entry(4))], true).await.unwrap();
        assert_eq!(Journal::read(&path).unwrap().unwrap().len(), 4);
    }
}
