//! The landing folder as a source of lines.

mod entered;
mod new_file;
mod reload;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::contract::{Error, PollAnswer, Source, SourceBatch};
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Manifest;
use tidegate_core::registry::Registry;
use tidegate_core::validate::Validators;

use crate::content::Content;
use crate::done::{MovedFile, done_path, is_done, move_to_done};
use crate::file::{BLOCK_BYTES, Stamp};
use crate::folder::{Candidate, LandingFolder};
use crate::inbox::Inbox;
use crate::pending::{Pending, PendingFile};
use crate::put_away::PutAway;
use crate::reading::{NextLines, Reading};
use crate::resume_point::ResumePoint;
use crate::writers::Writers;
use new_file::NewFile;

/// The landing folder of a pipeline: emits the lines of the files that are put there.
///
/// Files are taken one at a time, parents before children, and only if they stand still. **A file is moved to `done/`
/// only when the ledger accounts for every line of it**. Until then missing lines are read again from it. A file that
/// cannot be taken stays in the folder, is logged once, and is listed in [`Landing::refused`].
#[derive(Debug)]
pub struct Landing<R> {
    manifest: Arc<Manifest>,
    validators: Vec<Validators>,
    registry: R,
    /// For each source, the last line that is on its raw topic.
    already_sent: HashMap<u64, u64>,
    /// How many bytes of a file are read at once.
    block_bytes: usize,
    folder: LandingFolder,
    put_away: PutAway,
    inbox: Arc<Inbox>,
    phase: Phase,
    pending: Pending,
    passed_over: Vec<PassedOver>,
    complete: Vec<u64>,
    /// The datasets whose lines are not emitted any more.
    stopped: BTreeSet<usize>,
}

/// A file that was not read, because it is the one that was last read under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The file's name.
    pub name: String,
    /// The source that was read from it.
    pub source: u64,
}

#[derive(Debug)]
enum Phase {
    /// No file is open.
    Watching,
    /// A file is hashed and its header is read.
    Registering(Box<NewFile>),
    /// A file emits its lines.
    Reading(Box<Reading>),
}

impl<R: Registry> Source for Landing<R> {
    async fn poll(&mut self, drained: bool) -> Result<PollAnswer, Error> {
        loop {
            // Requests come between the blocks of a file, however long it is.
            if let Some(batch) = self.give_requests() {
                return Ok(PollAnswer::SourceBatch(batch));
            }
            match &self.phase {
                Phase::Reading(_) => {
                    if let Some(batch) = self.read().await? {
                        return Ok(PollAnswer::SourceBatch(batch));
                    }
                }
                Phase::Registering(_) => self.register().await?,
                Phase::Watching => {
                    let asked = self.put_away().await?;
                    let goes_on = (asked && drained && self.read_again().await?)
                        || self.take_spooled()
                        || self.take_reload().await?
                        || self.take_next().await?;
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        self.look_for_rewritten().await?;
        let is_idle = self.pending.is_empty() && !self.folder.unsettled && self.inbox.is_empty();
        Ok(if is_idle { PollAnswer::Idle } else { PollAnswer::Waiting })
    }

    fn stop(&mut self, dataset: usize) {
        if !self.stopped.insert(dataset) {
            return;
        }
        self.pending.stop(dataset).iter().for_each(|entered| self.inbox.settle(entered));
        let open = match &self.phase {
            Phase::Watching => None,
            Phase::Registering(taken) => Some(taken.content.opened.dataset),
            Phase::Reading(reading) => Some(reading.opened().dataset),
        };
        if open == Some(dataset) {
            self.phase = Phase::Watching;
        }
    }

    async fn ready(&self) {
        self.inbox.rung().await;
    }
}

impl<R: Registry> Landing<R> {
    /// Creates the source for the landing folder at `folder`, which is created if it is missing. `already_sent`
    /// holds, for each source, the largest line found on its raw topic. The source resumes after that line.
    pub fn new(
        folder: PathBuf,
        manifest: Arc<Manifest>,
        registry: R,
        already_sent: HashMap<u64, u64>,
    ) -> Self {
        Self {
            validators: manifest.datasets.iter().map(Validators::new).collect(),
            manifest,
            registry,
            already_sent,
            block_bytes: BLOCK_BYTES,
            folder: LandingFolder::new(folder),
            put_away: PutAway::default(),
            inbox: Arc::default(),
            phase: Phase::Watching,
            pending: Pending::default(),
            passed_over: Vec::new(),
            complete: Vec::new(),
            stopped: BTreeSet::new(),
        }
    }

    /// Sets how many bytes of a file are read at once, at least 1, in place of 1 MiB. A batch holds at most about
    /// three times as many, in place of 3 MiB.
    pub fn with_block_bytes(mut self, block_bytes: usize) -> Self {
        self.block_bytes = block_bytes.max(1);
        self
    }

    /// Takes only the files whose names belong to `partitions`, out of `of` partitions: other instances take the
    /// rest.
    pub fn sharing(mut self, partitions: Vec<u32>, of: u32) -> Self {
        self.folder.partitions = Some((partitions, of));
        self
    }

    /// Emits the lines of the sources in `inbox` as well, requests before anything else.
    pub fn with_inbox(mut self, inbox: Arc<Inbox>) -> Self {
        self.inbox = inbox;
        self
    }

    /// Asks `writer`, in place of the system, which process has a file open for writing. The times
    /// at which files were changed are ignored then.
    pub fn with_writers(mut self, writer: impl Fn(&Path) -> Option<String> + Send + Sync + 'static) -> Self {
        self.folder.stillness.writers = Writers::Told(Arc::new(writer));
        self
    }

    /// Returns the files that belong to a dataset but cannot be taken, with the reason.
    pub fn refused(&self) -> &BTreeMap<PathBuf, String> {
        &self.folder.refused
    }

    /// Returns all files that are left in the folder, with the reason: files that are refused, files that a process
    /// has been writing to for too long to wait for, and files that belong to no dataset.
    pub fn left(&self) -> BTreeMap<PathBuf, String> {
        self.folder.left()
    }

    /// Returns whether a file is one of those that were moved to `done/`.
    pub fn is_done(&self, file: &Path) -> bool {
        is_done(&self.folder.path, file)
    }

    /// Returns the first files that were passed over, up to [`LISTED_MAX`].
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// Returns the sources of the files that have become complete, up to [`LISTED_MAX`].
    pub fn complete(&self) -> &[u64] {
        &self.complete
    }

    /// Emits the lines of a file in `done/` that the ledger lacks of `source`. `name` is the name that the file was
    /// delivered under, and `dataset` the index of its dataset.
    pub fn take_back(&mut self, source: u64, path: PathBuf, name: String, dataset: usize) {
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) => {
                let stamp = Stamp::of(&metadata);
                let candidate = Candidate { path, name, dataset, stamp, lost: Some(source) };
                self.folder.taken_back.push_back(candidate);
            }
            Err(error) => tracing::warn!("'{}' cannot be read again: {error}", path.display()),
        }
    }

    /// Moves files whose every line is accounted for to `done/`. Returns whether the registry was asked.
    async fn put_away(&mut self) -> Result<bool, Error> {
        let Some(complete) = self.pending.take_complete(&self.registry).await? else { return Ok(false) };
        complete.requests.iter().for_each(|entered| self.inbox.settle(entered));
        for (source, read) in complete.files {
            self.already_sent.remove(&source);
            if read.whole {
                let PendingFile { file, lines, .. } = &read;
                tracing::info!(source, lines, file = %file.path.display(), "every line is accounted for");
                if file.spooled {
                    remove_spooled(&file.path);
                } else {
                    note(&mut self.complete, source);
                    self.finish_file(&file.path, &file.name, file.dataset, source, &file.stamp);
                }
                Failpoint::FilePutAway.pass()?;
            }
        }
        Ok(true)
    }

    fn finish_file(&mut self, path: &Path, name: &str, dataset: usize, source: u64, stamp: &Stamp) {
        match move_to_done(&self.folder.path, path, name, source, stamp) {
            Ok(true) => {
                self.folder.admit(path);
                let path = done_path(&self.folder.path, source, name);
                self.put_away.add(MovedFile { path, name: name.to_owned(), dataset, bytes: stamp.size });
            }
            Ok(false) => tracing::debug!(source, "the file is gone or another; it stays where it is"),
            Err(error) => {
                let reason = format!(
                    "every line is accounted for, but it cannot be moved to done/: {error}; move it away by hand"
                );
                self.folder.refuse(path, Some(*stamp), reason);
            }
        }
    }

    /// Begins to read a source, which has at least `lines` lines. A source that is registered for the first time has no
    /// line in the ledger, so the ledger need not be asked.
    fn begin_reading(&mut self, source: u64, content: Content, known: bool, lines: Option<u64>) {
        let sent_to = self.already_sent.get(&source).copied().unwrap_or(0);
        let passed = if known { ResumePoint::up_to(sent_to) } else { ResumePoint::none() };
        let reading = Reading::new(source, content, passed, lines.unwrap_or(0).max(sent_to));
        self.phase = Phase::Reading(Box::new(reading));
    }

    /// Returns the next lines of the file that is being read; `None` at its end.
    async fn read(&mut self) -> Result<Option<SourceBatch>, Error> {
        let Phase::Reading(reading) = &mut self.phase else { return Ok(None) };
        let validators = &self.validators[reading.opened().dataset];
        let (lines, whole, skipped) = match reading.next(&self.manifest, validators, &self.registry).await? {
            NextLines::Lines(batch) => return Ok(Some(batch)),
            NextLines::Ended { lines, whole, skipped } => (lines, whole, skipped),
        };
        let source = reading.source;
        self.registry.finish(source, lines, whole.then_some(&skipped)).await?;
        if !whole {
            let path = reading.opened().path.display();
            let dataset = &self.manifest.datasets[reading.opened().dataset];
            let once_more = if dataset.is_keyless() {
                ", whose rows have no key: lines that were sent and are in it are inserted once more"
            } else {
                ""
            };
            tracing::warn!(
                source,
                lines,
                "'{path}' changed while it was read: the source ends at its last line sent, and the new content is \
                 a new source{once_more}"
            );
            self.folder.unsettled = true;
        }
        self.pending.add(source, reading.opened(), lines, whole, reading.given);
        // The lines are on the topic: the engine polls again only when they are there.
        self.already_sent.insert(source, lines);
        self.phase = Phase::Watching;
        Ok(None)
    }
}

/// The maximum number of files in a list.
pub const LISTED_MAX: usize = 100_000;

fn note<T>(list: &mut Vec<T>, it: T) {
    if list.len() < LISTED_MAX {
        list.push(it);
    }
}

/// Removes a file of the spool that is no longer needed.
pub fn remove_spooled(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("'{}' is not needed any more and cannot be removed: {error}", path.display());
        }
        _ => {}
    }
}
