//! The journal: what Postgres has said of sources, kept beside the topics.
//!
//! Positions on topics mean lines only as long as Postgres knows whose numbers these are. A Postgres that was
//! restored to an earlier moment does not, and would give the numbers to other files. So what it says is noted
//! in the data directory, in `sources.jsonl`, one event a line; **a source is in the journal before any line
//! of it is on a topic**. The next start compares (see [`crate::recover`]), and writes the journal anew.
//!
//! Clients may send millions of requests, each a source. Where topics are embedded, what is complete of them is
//! forgotten, but for the latest; so the journal, and what a start reads, do not grow with them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tidegate_connectors::csv::{Arrival, Registry};
use tidegate_connectors::postgres::{
    self, Answer, NewSource, Postgres, Registered, Registration, Request, SourceKind, source_identity,
};
use tidegate_core::contract::Error;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::ledger::Chunk;
use tidegate_core::shape::Shape;
use tokio::sync::Mutex;
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
    /// Of a file: what it has in common with other deliveries of the same.
    #[serde(default, with = "hex::optional", skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Vec<u8>>,
    /// How many lines it has, once it was read to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Whether every line was accounted for.
    #[serde(default)]
    pub complete: bool,
}

impl Entry {
    /// What a file must have to be that of the source: where it was noted before version 8 of the schema, that is its
    /// identity.
    pub fn fingerprint(&self) -> &[u8] {
        self.fingerprint.as_deref().unwrap_or(&self.identity)
    }

    fn is_file(&self) -> bool {
        self.kind == SourceKind::File.as_str()
    }
}

impl From<&Registered> for Entry {
    fn from(registered: &Registered) -> Self {
        let Registered { source, dataset, kind, name, identity, bytes, lines, complete, fingerprint, .. } =
            registered.clone();
        Self { source, dataset, kind, name, identity, bytes, content: None, fingerprint, lines, complete }
    }
}

/// So many numbers back sources are remembered that are complete and no files.
const REQUESTS_KEPT: u64 = 100_000;
/// A journal with so many lines more than sources is written anew.
const LINES_MORE_MAX: usize = 400_000;

/// What a journal says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    /// Sources by their numbers.
    pub entries: BTreeMap<u64, Entry>,
    /// Up to this number sources may be forgotten that were complete.
    pub forgotten: u64,
}

impl Notes {
    /// Forgets what is complete and was no file, but for the latest: nobody has its lines any more.
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
enum Event {
    Forgotten { up_to: u64 },
    Registered(Entry),
    Finished { source: u64, lines: u64 },
    Completed { source: u64 },
}

/// The journal of a running pipeline.
#[derive(Debug)]
pub struct Journal {
    open: Arc<Mutex<Open>>,
    /// The largest number noted.
    largest: AtomicU64,
}

/// A journal that is written to.
#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    /// Where the next line goes, in bytes.
    end: u64,
    forgets: bool,
    /// How many lines more come before it is written anew.
    lines_left: usize,
}

impl Open {
    fn new(path: &Path, file: File, end: u64, forgets: bool) -> Self {
        Self { path: path.to_owned(), file, end, forgets, lines_left: LINES_MORE_MAX }
    }

    fn append(&mut self, events: &[Event], durable: bool) -> std::io::Result<()> {
        let bytes: Vec<u8> = events.iter().flat_map(line).collect();
        self.file.set_len(self.end)?; // what an earlier try has left, when the disk was full
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

    /// Writes the journal anew, without what is said twice or forgotten. Where that fails it is good as it is.
    fn shorten(&mut self) -> Result<(), Failure> {
        let gone = || Failure::new(format!("the journal '{}' is gone", self.path.display()));
        let notes = Journal::read(&self.path, self.forgets)?.ok_or_else(gone)?;
        let (file, end) = write_aside(&self.path, notes)?;
        // Whoever has taken over has a journal of his own there.
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
    /// What the journal at `path` says; `None` if there is none. Each line stands by itself: one that a crash has torn
    /// is left out. With `forgets` also what is complete and was no file, but for the latest.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
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
                Ok(Event::Forgotten { up_to }) => notes.forgotten = up_to,
                Ok(Event::Registered(entry)) => {
                    notes.entries.insert(entry.source, entry);
                }
                Ok(Event::Finished { source, lines }) => {
                    notes.entries.entry(source).and_modify(|entry| entry.lines = Some(lines));
                }
                Ok(Event::Completed { source }) => {
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

    /// Writes a journal that says this, and opens it. What it replaces is there until all of it is on disk.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(path: &Path, notes: Notes, forgets: bool) -> Result<Self, Failure> {
        let largest = notes.entries.last_key_value().map_or(0, |(source, _)| *source);
        let (file, end) = write_aside(path, notes)?;
        put_into_place(path)?;
        sync_folder(path)?;
        Ok(Self::new(Open::new(path, file, end, forgets), largest))
    }

    /// Opens a journal that cannot be written anew at the moment, to go on where its last whole line ends.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn reopen(path: &Path, noted: &Notes, forgets: bool) -> Result<Self, Failure> {
        let file = private_file(path)?;
        let mut lines = BufReader::new(&file);
        let (mut end, mut line) = (0, Vec::new());
        while lines.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            end += line.len() as u64;
            line.clear();
        }
        let largest = noted.entries.last_key_value().map_or(0, |(source, _)| *source);
        Ok(Self::new(Open::new(path, file, end, forgets), largest))
    }

    fn new(open: Open, largest: u64) -> Self {
        Self { open: Arc::new(Mutex::new(open)), largest: AtomicU64::new(largest) }
    }

    /// Appends events; `durable`: they are on disk when it returns. What has begun ends, though nobody waits for it any
    /// more.
    async fn note(&self, events: Vec<Event>, durable: bool) -> Result<(), Error> {
        let mut open = self.open.clone().lock_owned().await;
        let written = tokio::task::spawn_blocking(move || {
            let written = open.append(&events, durable);
            written.map_err(|error| (error, open.path.display().to_string()))
        });
        let stopped = |stopped| Err((std::io::Error::other(stopped), String::new()));
        written.await.unwrap_or_else(stopped).map_err(|(error, path)| {
            Error::retry(format!(
                "cannot write the journal '{path}': {error}; make room, reading goes on when it can"
            ))
        })
    }

    fn largest(&self) -> u64 {
        self.largest.load(Ordering::Acquire)
    }
}

fn aside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn not_written(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::new(format!("cannot write the journal '{}': {error}", path.display()))
}

/// Writes a journal beside the one at `path`, onto the disk. Gives it with its length.
fn write_aside(path: &Path, notes: Notes) -> Result<(File, u64), Failure> {
    let aside = aside(path);
    (|| {
        // One of its own: a process that was taken over may be writing to the old one.
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = private_file(&aside)?;
        let mut writer = BufWriter::new(&file);
        let forgotten = (notes.forgotten > 0).then_some(Event::Forgotten { up_to: notes.forgotten });
        for event in forgotten.into_iter().chain(notes.entries.into_values().map(Event::Registered)) {
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

/// Puts what was written aside into the place of the journal.
fn put_into_place(path: &Path) -> Result<(), Failure> {
    std::fs::rename(aside(path), path).map_err(not_written(path))
}

fn sync_folder(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(not_written(path))
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
    /// One registers at a time, so that the journal has the numbers in their order.
    turn: Mutex<()>,
}

impl Journaled {
    /// A journal that has noted what a start needs to know of what Postgres has registered.
    pub fn new(postgres: Postgres, journal: Journal) -> Self {
        Self { postgres, journal, turn: Mutex::default() }
    }

    /// Registers requests, in their order. What is new is in the journal when this returns.
    ///
    /// # Errors
    ///
    /// As [`Postgres::register_requests`]; or the journal cannot be written.
    pub async fn register_requests(&self, requests: &[Request]) -> Result<Vec<Answer>, Error> {
        let _turn = self.turn.lock().await;
        self.assert_not_behind().await?;
        let answers = self.postgres.register_requests(requests).await?;
        self.note_requests(requests, answers.iter().map(Answer::sources)).await?;
        Ok(answers)
    }

    /// The sources that each of these requests has become, if it was registered; they are in the journal when this
    /// returns.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked, or the journal cannot be written.
    pub async fn sources_of(&self, requests: &[Request]) -> Result<Vec<Vec<u64>>, Error> {
        let _turn = self.turn.lock().await;
        let sources = self.postgres.sources_of(requests).await?;
        self.note_requests(requests, sources.iter().map(Vec::as_slice)).await?;
        Ok(sources)
    }

    /// Notes what requests have become, as far as it is not in the journal.
    async fn note_requests<'a>(
        &self,
        requests: &[Request],
        became: impl Iterator<Item = &'a [u64]>,
    ) -> Result<(), Error> {
        let mut events = Vec::new();
        let mut largest = self.journal.largest();
        for (request, sources) in requests.iter().zip(became) {
            for (new, source) in request.sources.iter().zip(sources) {
                if *source > largest {
                    largest = *source;
                    events.push(Event::Registered(entry(*source, request, new)));
                }
            }
        }
        if !events.is_empty() {
            self.journal.note(events, true).await?;
            self.journal.largest.store(largest, Ordering::Release);
            Failpoint::SourceJournaled.pass()?;
        }
        Ok(())
    }

    /// Fails if Postgres is behind the journal: it would give a number out again.
    async fn assert_not_behind(&self) -> Result<(), Error> {
        let (noted, largest) = (self.journal.largest(), self.postgres.largest_source().await?);
        if largest >= noted { Ok(()) } else { Err(postgres::Error::SourceLost(noted).into()) }
    }
}

impl Registry for Journaled {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        let _turn = self.turn.lock().await;
        self.assert_not_behind().await?;
        let registration = Registry::register(&self.postgres, file).await?;
        let Registration { source, lines, complete, known, ref identity, .. } = registration;
        if source > self.journal.largest() {
            let entry = Entry {
                source,
                dataset: file.dataset.to_owned(),
                kind: SourceKind::File.as_str().to_owned(),
                name: file.name.to_owned(),
                identity: identity.clone(),
                bytes: Some(file.bytes),
                content: Some(hex::encode(file.content)),
                fingerprint: Some(file.fingerprint.to_vec()),
                lines,
                complete,
            };
            self.journal.note(vec![Event::Registered(entry)], true).await?;
            self.journal.largest.store(source, Ordering::Release);
            Failpoint::SourceJournaled.pass()?;
        } else if !known {
            return Err(postgres::Error::SourceLost(source).into());
        } else if complete {
            self.journal.note(vec![Event::Completed { source }], true).await?;
        }
        Ok(registration)
    }

    async fn shape(&self, identity: &[u8; 32]) -> Result<Option<Arc<Shape>>, Error> {
        Registry::shape(&self.postgres, identity).await
    }

    async fn finish(&self, source: u64, lines: u64) -> Result<(), Error> {
        Registry::finish(&self.postgres, source, lines).await?;
        self.journal.note(vec![Event::Finished { source, lines }], false).await
    }

    async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        let complete = Registry::complete(&self.postgres, sources).await?;
        if !complete.is_empty() {
            let events = complete.iter().map(|source| Event::Completed { source: *source });
            self.journal.note(events.collect(), true).await?;
        }
        Ok(complete)
    }

    async fn files_read(&self, sources: &[u64]) -> Result<Vec<(u64, String, u64)>, Error> {
        Registry::files_read(&self.postgres, sources).await
    }

    async fn await_file(&self, source: u64) -> Result<(), Error> {
        Registry::await_file(&self.postgres, source).await
    }

    async fn refuse_reload(&self, reload: u64, why: &str) -> Result<(), Error> {
        Registry::refuse_reload(&self.postgres, reload, why).await
    }

    async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, Error> {
        Registry::ledger_chunk(&self.postgres, source, line).await
    }
}

fn entry(source: u64, request: &Request, new: &NewSource) -> Entry {
    Entry {
        source,
        dataset: new.dataset.clone(),
        kind: new.kind.as_str().to_owned(),
        name: new.name.clone(),
        identity: source_identity(&request.identity, &new.dataset).to_vec(),
        bytes: Some(new.bytes),
        content: Some(hex::encode(&request.content)),
        fingerprint: None,
        lines: new.lines,
        complete: false,
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
        decode(&String::deserialize(deserializer)?)
    }

    fn decode<E: Error>(digits: &str) -> Result<Vec<u8>, E> {
        let bytes = digits.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        bytes.collect::<Option<_>>().ok_or_else(|| E::custom("no hexadecimal digits"))
    }

    /// The same of what may be missing.
    pub(super) mod optional {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        pub(in crate::journal) fn serialize<S: Serializer>(
            bytes: &Option<Vec<u8>>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            bytes.as_deref().map(super::encode).serialize(serializer)
        }

        pub(in crate::journal) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Vec<u8>>, D::Error> {
            let digits = Option::<String>::deserialize(deserializer)?;
            digits.map(|digits| super::decode(&digits)).transpose()
        }
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
            fingerprint: Some(vec![1, 2, 3]),
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
        let request = |source| Entry { kind: "request".to_owned(), ..entry(source) };
        let mut longest = 0;
        for first in (1..=REQUESTS).step_by(1_000) {
            let sources = first..first + 1_000;
            // A file among them, and a request that is never complete.
            let registered = sources.clone().map(|source| match source {
                5 => Event::Registered(entry(5)),
                source => Event::Registered(request(source)),
            });
            journal.note(registered.collect(), false).await.unwrap();
            let completed = sources.filter(|source| *source != 7).map(|source| Event::Completed { source });
            journal.note(completed.collect(), false).await.unwrap();
            longest = longest.max(std::fs::metadata(&path).unwrap().len());
        }
        let line_bytes = line(&Event::Registered(request(REQUESTS))).len();
        assert!(longest < (LINES_MORE_MAX * line_bytes) as u64, "{longest} bytes");
        let notes = Journal::read(&path, true).unwrap().unwrap();
        assert_eq!(notes.entries.len() as u64, REQUESTS_KEPT + 2);
        assert_eq!(notes.forgotten, REQUESTS - REQUESTS_KEPT);
        assert_eq!(notes.entries[&5], Entry { complete: true, ..entry(5) });
        assert_eq!((&notes.entries[&7], notes.entries[&REQUESTS].complete), (&request(7), true));
        // Who has put another into its place keeps it.
        let other = Journal::write(&path, notes.clone(), true).unwrap();
        journal.open.lock().await.shorten().unwrap_err();
        other.note(vec![Event::Completed { source: 7 }], true).await.unwrap();
        assert!(!Journal::read(&path, true).unwrap().unwrap().entries.contains_key(&7));
        // And so it stays.
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
        journal.note(vec![Event::Registered(entry(3))], true).await.unwrap();
        journal.note(vec![Event::Finished { source: 3, lines: 7 }], false).await.unwrap();
        journal
            .note(vec![Event::Completed { source: 1 }, Event::Completed { source: 3 }], true)
            .await
            .unwrap();
        let expected = notes([
            Entry { complete: true, ..entry(1) },
            entry(2),
            Entry { complete: true, lines: Some(7), ..entry(3) },
        ]);
        let read = Journal::read(&path, true).unwrap().unwrap();
        assert_eq!(read, expected);
        // Written anew it is the same, one line a source.
        Journal::write(&path, expected, true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
        assert_eq!(Journal::read(&path, true).unwrap().unwrap(), read);
    }

    #[tokio::test]
    async fn a_torn_line_harms_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sources.jsonl");
        let journal = Journal::write(&path, notes([entry(1)]), true).unwrap();
        journal.note(vec![Event::Registered(entry(2))], true).await.unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let read = Journal::read(&path, true).unwrap().unwrap().entries;
            assert!(read.values().all(|read| *read == entry(read.source)), "cut at {length}");
            // A line that lacks its line feed alone is whole.
            assert_eq!(read.len(), whole[..=length].iter().filter(|byte| **byte == b'\n').count());
        }
        // What a try has left that failed in the middle is written over.
        let file = File::options().append(true).open(&path).unwrap();
        std::fs::write(&path, &whole).unwrap();
        (&file).write_all(b"{\"event\":\"regi").unwrap();
        journal.note(vec![Event::Registered(entry(3))], true).await.unwrap();
        assert_eq!(Journal::read(&path, true).unwrap().unwrap().entries.len(), 3);
        // So is what a crash has torn, by one that could not write the journal anew.
        (&file).write_all(b"{\"event\":\"regi").unwrap();
        let reopened = Journal::reopen(&path, &Journal::read(&path, true).unwrap().unwrap(), true).unwrap();
        assert_eq!(reopened.largest(), 3);
        reopened.note(vec![Event::Registered(entry(4))], true).await.unwrap();
        assert_eq!(Journal::read(&path, true).unwrap().unwrap().entries.len(), 4);
    }
}
