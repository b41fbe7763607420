//! The landing folder as a source of lines.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::contract::{Error, Intake, Polled, Source};
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Manifest;
use tidegate_core::validate::Validator;

use super::done::move_to_done;
use super::file::{self, BLOCK_BYTES, Identity, Opened, Stamp};
use super::folder::{Candidate, Folder};
use super::inbox::{Body, Entered, Inbox};
use super::passed::Passed;
use super::pending::{Pending, Read};
use super::reading::{Content, Progress, Reading, Unfit, give_lines};
use super::registry::{Arrival, Registry};

/// The landing folder of a pipeline: gives out the lines of the files that are put there.
///
/// Files are taken one at a time, parents before children, and only when they stand still. **A file is
/// moved to `done/` only when the ledger accounts for every line of it**; until then it is where missing
/// lines are read again. What cannot be taken is left alone, said once, and listed in
/// [`Landing::refused`].
#[derive(Debug)]
pub struct Landing<R> {
    manifest: Arc<Manifest>,
    validators: Vec<Validator>,
    registry: R,
    /// Of each source, the last line that is on its raw topic.
    already_sent: HashMap<u64, u64>,
    /// How much of a file is read at once.
    block_bytes: usize,
    folder: Folder,
    inbox: Arc<Inbox>,
    state: State,
    pending: Pending,
}

#[derive(Debug)]
enum State {
    /// No file is open.
    Watching,
    /// A file is hashed and its header read.
    Registering(Box<Taken>),
    /// A file gives out its lines.
    Reading(Box<Reading>),
}

/// A file that has no number yet.
#[derive(Debug)]
struct Taken {
    content: Content,
    identity: Identity,
}

impl<R: Registry> Source for Landing<R> {
    async fn poll(&mut self, drained: bool) -> Result<Polled, Error> {
        loop {
            // Between the blocks of a file, however long that is.
            if let Some(intake) = self.give_requests() {
                return Ok(Polled::Intake(intake));
            }
            match &self.state {
                State::Reading(_) => {
                    if let Some(intake) = self.read().await? {
                        return Ok(Polled::Intake(intake));
                    }
                }
                State::Registering(_) => self.register().await?,
                State::Watching => {
                    let asked = self.put_away().await?;
                    let goes_on = (asked && drained && self.read_again())
                        || self.take_spooled()
                        || self.take_next().await?;
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        let is_idle = self.pending.is_empty() && !self.folder.unsettled && self.inbox.is_empty();
        Ok(if is_idle { Polled::Idle } else { Polled::Waiting })
    }

    async fn ready(&self) {
        self.inbox.rung().await;
    }
}

impl<R: Registry> Landing<R> {
    /// The landing folder at `folder`, which is made if it is missing. `already_sent` tells, for each
    /// source, the largest line found on its raw topic: the source goes on behind it.
    pub fn new(
        folder: PathBuf,
        manifest: Arc<Manifest>,
        registry: R,
        already_sent: HashMap<u64, u64>,
    ) -> Self {
        Self {
            validators: manifest.datasets.iter().map(Validator::new).collect(),
            manifest,
            registry,
            already_sent,
            block_bytes: BLOCK_BYTES,
            folder: Folder::new(folder),
            inbox: Arc::default(),
            state: State::Watching,
            pending: Pending::default(),
        }
    }

    /// Reads so much of a file at once, at least 1 byte, and gives out at most about twice as much, in place
    /// of 1 and 2 MiB.
    pub fn with_block_bytes(mut self, block_bytes: usize) -> Self {
        self.block_bytes = block_bytes.max(1);
        self
    }

    /// Takes only the files whose names fall to `partitions`, of so many: others take the rest.
    pub fn sharing(mut self, partitions: Vec<u32>, of: u32) -> Self {
        self.folder.partitions = Some((partitions, of));
        self
    }

    /// Gives out the lines of what comes into `inbox` as well, requests before anything else.
    pub fn with_inbox(mut self, inbox: Arc<Inbox>) -> Self {
        self.inbox = inbox;
        self
    }

    /// The files that belong to a dataset but cannot be taken, with the reason.
    pub fn refused(&self) -> &BTreeMap<PathBuf, String> {
        self.folder.refused()
    }

    /// Gives out the lines of a file in `done/` once more, those that the ledger lacks. `name` is the one it
    /// was dropped under, and `dataset` the index of what it was dropped for.
    pub fn take_back(&mut self, path: PathBuf, name: String, dataset: usize) {
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) => {
                let stamp = Stamp::of(&metadata);
                self.folder.take_back(Candidate { path, name, dataset, stamp });
            }
            Err(error) => tracing::warn!("'{}' cannot be read again: {error}", path.display()),
        }
    }

    /// Moves files whose every line is accounted for to `done/`. Tells whether the registry was asked.
    async fn put_away(&mut self) -> Result<bool, Error> {
        let Some(complete) = self.pending.take_complete(&self.registry).await? else { return Ok(false) };
        complete.requests.iter().for_each(|entered| self.inbox.settle(entered));
        for (source, read) in complete.files {
            self.already_sent.remove(&source);
            if read.whole {
                let Read { file, lines, .. } = &read;
                tracing::info!(source, lines, file = %file.path.display(), "every line is accounted for");
                if file.spooled {
                    remove_spooled(&file.path);
                } else {
                    self.finish_file(&file.path, &file.name, source, &file.stamp);
                }
                Failpoint::FilePutAway.pass()?;
            }
        }
        Ok(true)
    }

    fn finish_file(&mut self, path: &Path, name: &str, source: u64, stamp: &Stamp) {
        match move_to_done(&self.folder.path, path, name, source, stamp) {
            Ok(true) => self.folder.admit(path),
            Ok(false) => tracing::debug!(source, "the file is gone or another; it stays where it is"),
            Err(error) => {
                let reason = format!(
                    "every line is accounted for, but it cannot be moved to done/: {error}; move it away by hand"
                );
                self.folder.refuse(path, Some(*stamp), reason);
            }
        }
    }

    /// Opens a file whose lines are on no topic any more and not all in the ledger, to give out these.
    fn read_again(&mut self) -> bool {
        for entered in self.pending.requests_again() {
            self.inbox.requeue(entered);
        }
        while let Some(source) = self.pending.next_again() {
            let Some(read) = self.pending.get(source) else { return false };
            let lines = read.lines;
            if read.is_hopeless() {
                let reason = "it does not become complete, though the ledger lacks none of its lines; compare the \
                              source in tidegate.sources with its lines in tidegate.ledger";
                self.folder.refuse(&read.file.path, Some(read.file.stamp), reason.to_owned());
                self.pending.remove(source);
                continue;
            }
            let content = match reopen(read) {
                Ok(Some(opened)) => match Content::start(opened, &self.manifest, self.block_bytes) {
                    Ok(content) => Ok(content),
                    Err(Unfit::Failed(_)) => continue, // it rests, and is tried again
                    Err(_) => Err("its file has changed"),
                },
                Ok(None) => Err("its file has changed or is gone"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err("its file is gone"),
                Err(error) => {
                    tracing::warn!(source, "'{}' cannot be read again: {error}", read.file.path.display());
                    continue;
                }
            };
            match content {
                Ok(content) => {
                    tracing::info!(source, "lines are missing from the ledger and read again");
                    let reading = Reading::new(source, content, Passed::up_to(0), lines);
                    self.state = State::Reading(Box::new(reading));
                    return true;
                }
                Err(why) => {
                    let path = read.file.path.display();
                    tracing::warn!(
                        source,
                        "'{path}' has lines that are missing from the ledger, and {why}; the source stays \
                         incomplete: put the file of that content there again, or send it again under its key"
                    );
                    self.pending.remove(source);
                }
            }
        }
        false
    }

    /// The lines of requests that have come, of one dataset and not many more than an intake holds.
    fn give_requests(&mut self) -> Option<Intake> {
        let first = self.inbox.next_lines()?;
        let mut intake = Intake { dataset: first.dataset, ..Intake::default() };
        let mut next = Some(first);
        while let Some(entered) = next {
            let Body::Lines(text) = &entered.body else { break };
            let dataset = &self.manifest.datasets[entered.dataset];
            let validator = &self.validators[entered.dataset];
            let lines = (entered.source, &text[..]);
            give_lines(lines, dataset, validator, self.manifest.max_record_bytes, &mut intake);
            self.pending.add_request(entered);
            next = (intake.records.as_bytes().len() < self.block_bytes)
                .then(|| self.inbox.next_lines())
                .flatten();
            if next.as_ref().is_some_and(|entered| entered.dataset != intake.dataset) {
                next.take().into_iter().for_each(|entered| self.inbox.push_front(entered));
            }
        }
        Some(intake)
    }

    /// Opens the next file of the spool. `false` if there is none.
    fn take_spooled(&mut self) -> bool {
        while let Some(entered) = self.inbox.next_file() {
            let Entered { source, dataset, name, body } = entered;
            let Body::File { path, content, known, lines, keys } = body else { continue };
            let opened = Opened::spooled(path.clone(), name, dataset, content);
            let content = opened.map_err(Unfit::Failed).and_then(|opened| {
                Content::start(Opened { keys, ..opened }, &self.manifest, self.block_bytes)
            });
            match content {
                Ok(content) => {
                    let sent_to = self.already_sent.get(&source).copied().unwrap_or(0);
                    let passed = if known { Passed::up_to(sent_to) } else { Passed::none() };
                    let reading = Reading::new(source, content, passed, lines.unwrap_or(0).max(sent_to));
                    self.state = State::Reading(Box::new(reading));
                    return true;
                }
                Err(unfit) => {
                    let (path, error) = (path.display(), io::Error::from(unfit));
                    tracing::error!(
                        source,
                        "'{path}' in the spool cannot be read: {error}; the source stays incomplete: send it again under \
                         its key"
                    );
                }
            }
        }
        false
    }

    /// Opens and hashes the next file that may be taken. `false` if there is none.
    async fn take_next(&mut self) -> Result<bool, Error> {
        while let Some(candidate) = self.folder.next(&self.manifest, &self.pending)? {
            match self.take(&candidate).await {
                Ok(taken) => {
                    self.folder.admit(&candidate.path);
                    self.state = State::Registering(Box::new(taken));
                    return Ok(true);
                }
                Err(Unfit::Changed) => self.folder.unsettled = true,
                Err(Unfit::Refused(reason)) => {
                    self.folder.refuse(&candidate.path, Some(candidate.stamp), reason);
                }
                Err(Unfit::Failed(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(Unfit::Failed(error)) => {
                    let reason = format!("it cannot be read: {error}; check its permissions");
                    self.folder.refuse(&candidate.path, None, reason);
                }
            }
        }
        Ok(false)
    }

    async fn take(&self, candidate: &Candidate) -> Result<Taken, Unfit> {
        let (file, stamp) = file::open(&candidate.path).map_err(Unfit::Failed)?;
        if stamp != candidate.stamp {
            return Err(Unfit::Changed);
        }
        let Candidate { path, name, dataset, .. } = candidate.clone();
        let opened = Opened::hashed((file, stamp), path, name, dataset).await.map_err(Unfit::Failed)?;
        let opened = opened.ok_or(Unfit::Changed)?;
        let identity = opened.identity(&self.manifest);
        Ok(Taken { identity, content: Content::start(opened, &self.manifest, self.block_bytes)? })
    }

    /// Gives the file that was taken its number, and opens it for reading.
    async fn register(&mut self) -> Result<(), Error> {
        let State::Registering(taken) = &mut self.state else { return Ok(()) };
        let opened = taken.content.opened.clone();
        if opened.stat().ok() != Some(opened.stamp) {
            self.folder.unsettled = true;
            self.state = State::Watching;
            return Ok(());
        }
        let arrival = Arrival {
            dataset: &self.manifest.datasets[opened.dataset].name,
            name: &opened.name,
            identity: &taken.identity,
            content: opened.content.as_bytes(),
            bytes: opened.stamp.size,
        };
        let registration = self.registry.register(arrival).await?;
        let source = registration.source;
        if !registration.complete {
            let sent_to = self.already_sent.get(&source).copied().unwrap_or(0);
            // Of what was never read before nothing has been given out: the ledger need not be asked.
            let passed = if registration.known { Passed::up_to(sent_to) } else { Passed::none() };
            tracing::info!(source, file = %opened.path.display(), bytes = opened.stamp.size, "reading a file");
            let lines_min = registration.lines.unwrap_or(0).max(sent_to);
            let registered = std::mem::replace(&mut self.state, State::Watching);
            if let State::Registering(taken) = registered {
                let reading = Reading::new(source, taken.content, passed, lines_min);
                self.state = State::Reading(Box::new(reading));
            }
            return Ok(());
        }
        match Content::count(opened.clone(), &self.manifest, self.block_bytes).await {
            // The source was closed early because the file changed, and now its first content is back,
            // with lines that never entered: it is a source of its own.
            Ok(Some(lines)) if registration.lines != Some(lines) => {
                taken.identity = file::identity_behind(&taken.identity, source);
                return Ok(());
            }
            Ok(Some(lines)) => {
                tracing::info!(source, lines, file = %opened.path.display(), "the file was ingested before");
                self.pending.remove(source);
                self.finish_file(&opened.path, &opened.name, source, &opened.stamp);
            }
            Ok(None) | Err(Unfit::Changed) => self.folder.unsettled = true,
            Err(Unfit::Refused(reason)) => self.folder.refuse(&opened.path, Some(opened.stamp), reason),
            Err(Unfit::Failed(error)) => {
                self.folder.refuse(&opened.path, None, format!("it cannot be read: {error}; check the disk"));
            }
        }
        self.state = State::Watching;
        Ok(())
    }

    /// The next lines of the file that is being read; `None` if it has no more.
    async fn read(&mut self) -> Result<Option<Intake>, Error> {
        let State::Reading(reading) = &mut self.state else { return Ok(None) };
        let validator = &self.validators[reading.opened().dataset];
        let (lines, whole) = match reading.next(&self.manifest, validator, &self.registry).await? {
            Progress::Lines(intake) => return Ok(Some(intake)),
            Progress::Ended { lines, whole } => (lines, whole),
        };
        let source = reading.source;
        self.registry.finish(source, lines).await?;
        if !whole {
            let path = reading.opened().path.display();
            tracing::warn!(
                source,
                lines,
                "'{path}' changed while it was read: the source ends at its last line sent, and the new content is \
                 a new source"
            );
            self.folder.unsettled = true;
        }
        self.pending.add(source, reading.opened(), lines, whole, reading.given);
        // The lines are on the topic: who asked for this poll has put them there.
        self.already_sent.insert(source, lines);
        self.state = State::Watching;
        Ok(None)
    }
}

/// Removes a file of the spool that is not needed any more.
pub fn remove_spooled(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("'{}' is not needed any more and cannot be removed: {error}", path.display());
        }
        _ => {}
    }
}

/// Opens a file that was read, if it is still the same.
fn reopen(read: &Read) -> io::Result<Option<Opened>> {
    let (file, stamp) = file::open(&read.file.path)?;
    let opened = Opened {
        path: read.file.path.clone(),
        name: read.file.name.clone(),
        dataset: read.file.dataset,
        file: Arc::new(file),
        stamp,
        content: read.file.content,
        spooled: read.file.spooled,
        keys: read.file.keys.clone(),
    };
    Ok((read.whole && stamp == read.file.stamp).then_some(opened))
}
