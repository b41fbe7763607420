//! The landing folder as a source of lines.

mod entered;
mod reload;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::contract::{Error, Intake, Polled, Source};
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Manifest;
use tidegate_core::shape::Shape;
use tidegate_core::validate::Validator;

use super::done::{Moved, done_path, is_done, move_to_done};
use super::file::{self, BLOCK_BYTES, Identity, Opened, Stamp};
use super::folder::{Candidate, Folder};
use super::header::{FIRST_LINE_OF_NAMES, names_the_columns};
use super::inbox::Inbox;
use super::passed::Passed;
use super::pending::{Pending, Read};
use super::put_away::PutAway;
use super::reading::{Content, Progress, Reading, Unfit};
use super::registry::{Arrival, Registry, Role};

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
    put_away: PutAway,
    inbox: Arc<Inbox>,
    state: State,
    pending: Pending,
    passed_over: Vec<PassedOver>,
    complete: Vec<u64>,
    /// The datasets whose lines are left alone.
    stopped: BTreeSet<usize>,
}

/// A file that was not read, because it is the one that was read last under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its name.
    pub name: String,
    /// The source that it is.
    pub source: u64,
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
    fingerprint: Identity,
    role: Role,
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
        let is_idle = self.pending.is_empty()
            && !self.folder.unsettled
            && self.put_away.is_looked_through()
            && self.inbox.is_empty();
        Ok(if is_idle { Polled::Idle } else { Polled::Waiting })
    }

    fn stop(&mut self, dataset: usize) {
        if !self.stopped.insert(dataset) {
            return;
        }
        self.pending.stop(dataset).iter().for_each(|entered| self.inbox.settle(entered));
        let open = match &self.state {
            State::Watching => None,
            State::Registering(taken) => Some(taken.content.opened.dataset),
            State::Reading(reading) => Some(reading.opened().dataset),
        };
        if open == Some(dataset) {
            self.state = State::Watching;
        }
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
            put_away: PutAway::default(),
            inbox: Arc::default(),
            state: State::Watching,
            pending: Pending::default(),
            passed_over: Vec::new(),
            complete: Vec::new(),
            stopped: BTreeSet::new(),
        }
    }

    /// Reads so much of a file at once, at least 1 byte, and gives out at most about three times as much, in place
    /// of 1 and 3 MiB.
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

    /// Lets `writer` tell who has a file open for writing, in place of the system; of clocks nothing is known then.
    pub fn with_writers(mut self, writer: impl Fn(&Path) -> Option<String> + Send + Sync + 'static) -> Self {
        self.folder.ask_about_writers(Arc::new(writer));
        self
    }

    /// The files that belong to a dataset but cannot be taken, with the reason.
    pub fn refused(&self) -> &BTreeMap<PathBuf, String> {
        self.folder.refused()
    }

    /// All files that are left in the folder, with the reason: those that are refused, that somebody writes to for too
    /// long to wait for it, and that belong to no dataset.
    pub fn left(&self) -> BTreeMap<PathBuf, String> {
        self.folder.left()
    }

    /// Whether a file is one of those that were moved to `done/`.
    pub fn is_done(&self, file: &Path) -> bool {
        is_done(&self.folder.path, file)
    }

    /// The first files that were passed over, up to [`LISTED_MAX`].
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// The files that have become complete, by their sources, up to [`LISTED_MAX`].
    pub fn complete(&self) -> &[u64] {
        &self.complete
    }

    /// Gives out the lines of a file in `done/` once more, those that the ledger lacks of `source`. `name` is the one it
    /// was dropped under, and `dataset` the index of what it was dropped for.
    pub fn take_back(&mut self, source: u64, path: PathBuf, name: String, dataset: usize) {
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) => {
                let stamp = Stamp::of(&metadata);
                self.folder.take_back(Candidate { path, name, dataset, stamp, lost: Some(source) });
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
                    note(&mut self.complete, source);
                    self.finish_file(&file.path, (&file.name, file.dataset), source, &file.stamp);
                }
                Failpoint::FilePutAway.pass()?;
            }
        }
        Ok(true)
    }

    fn finish_file(&mut self, path: &Path, (name, dataset): (&str, usize), source: u64, stamp: &Stamp) {
        match move_to_done(&self.folder.path, path, name, source, stamp) {
            Ok(true) => {
                self.folder.admit(path);
                let path = done_path(&self.folder.path, source, name);
                self.put_away.add(Moved { path, name: name.to_owned(), dataset, bytes: stamp.size });
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

    /// Opens and hashes the next file that may be taken. `false` if there is none.
    async fn take_next(&mut self) -> Result<bool, Error> {
        while let Some(candidate) = self.folder.next(&self.manifest, &self.pending)? {
            if self.stopped.contains(&candidate.dataset) {
                continue;
            }
            match self.take(&candidate).await? {
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

    async fn take(&mut self, candidate: &Candidate) -> Result<Result<Taken, Unfit>, Error> {
        match self.open(candidate).await {
            Ok(opened) => self.taken(opened, candidate.lost.map_or(Role::Delivery, Role::Lost)).await,
            Err(unfit) => Ok(Err(unfit)),
        }
    }

    async fn open(&mut self, candidate: &Candidate) -> Result<Opened, Unfit> {
        let (file, stamp) = file::open(&candidate.path).map_err(Unfit::Failed)?;
        if stamp != candidate.stamp {
            return Err(Unfit::Changed);
        }
        let Candidate { path, name, dataset, lost, .. } = candidate.clone();
        let how = (dataset, self.manifest.datasets[dataset].csv.quote);
        let opened = Opened::hashed((file, stamp), path, name, how).await.map_err(Unfit::Failed)?;
        let opened = opened.ok_or(Unfit::Changed)?;
        if lost.is_none() {
            self.assert_meant(&opened)?;
        }
        if opened.has_odd_quotes
            && lost.is_none()
            && !self.folder.may_end_openly(&candidate.path, self.manifest.settle)
        {
            return Err(Unfit::Changed);
        }
        Ok(opened)
    }

    /// Refuses a new file that is no text, and warns of one whose first line is a header that nobody expects.
    fn assert_meant(&self, opened: &Opened) -> Result<(), Unfit> {
        if let Some(nature) = opened.no_text(&self.manifest).map_err(Unfit::Failed)? {
            return Err(Unfit::Refused(nature.to_string()));
        }
        if names_the_columns(&opened.path, opened.dataset, &self.manifest).map_err(Unfit::Failed)? {
            tracing::warn!("'{}': {FIRST_LINE_OF_NAMES}", opened.path.display());
        }
        Ok(())
    }

    async fn taken(&self, opened: Opened, role: Role) -> Result<Result<Taken, Unfit>, Error> {
        let fingerprint = opened.fingerprint(&self.manifest);
        let mut content = Content::start(opened.clone(), &self.manifest, self.block_bytes);
        // It may be half in, by a header that fitted then.
        if let Err(Unfit::Refused(_)) = content
            && !matches!(role, Role::Reload(_))
            && let shape @ Some(_) = self.registry.shape(&fingerprint).await?
        {
            content = Content::start(Opened { shape, ..opened }, &self.manifest, self.block_bytes);
        }
        Ok(content.map(|content| Taken { fingerprint, role, content }))
    }

    /// Gives the file that was taken its number, and opens it for reading.
    async fn register(&mut self) -> Result<(), Error> {
        let State::Registering(taken) = &mut self.state else { return Ok(()) };
        let mut opened = taken.content.opened.clone();
        let now = opened.stat().ok();
        if let Role::Reload(reload) = taken.role {
            // Another name in done/ is no change of the content.
            if !now.is_some_and(|now| now.looks_like(&opened.stamp)) {
                let why = format!("'{}' has changed while it was read again", opened.path.display());
                self.registry.refuse_reload(reload, &why).await?;
                self.state = State::Watching;
                return Ok(());
            }
        } else if now != Some(opened.stamp) {
            self.folder.unsettled = true;
            self.state = State::Watching;
            return Ok(());
        }
        let arrival = Arrival {
            dataset: &self.manifest.datasets[opened.dataset].name,
            name: &opened.name,
            fingerprint: &taken.fingerprint,
            content: opened.content.as_bytes(),
            bytes: opened.stamp.size,
            role: taken.role,
            shape: &taken.content.shape,
        };
        let registration = self.registry.register(arrival).await?;
        let source = registration.source;
        if let Role::Reload(_) = taken.role {
            reload::share(&self.folder.path, &mut taken.content.opened, source).await?;
            opened = taken.content.opened.clone();
        }
        if !registration.complete {
            let sent_to = self.already_sent.get(&source).copied().unwrap_or(0);
            // Of what was never read before nothing has been given out: the ledger need not be asked.
            let passed = if registration.known { Passed::up_to(sent_to) } else { Passed::none() };
            tracing::info!(source, file = %opened.path.display(), bytes = opened.stamp.size, "reading a file");
            let lines_min = registration.lines.unwrap_or(0).max(sent_to);
            let registered = std::mem::replace(&mut self.state, State::Watching);
            if let State::Registering(mut taken) = registered {
                let now = taken.content.shape.clone();
                // The names of a header are in the file, and mean what they say.
                let is_as_then =
                    |then: &Shape| then.null == now.null && (then.header || then.columns == now.columns);
                if let Some(shape) = registration.shape.filter(|then| !is_as_then(then)) {
                    let opened = Opened { shape: Some(shape), ..opened };
                    match Content::start(opened, &self.manifest, self.block_bytes) {
                        Ok(content) => taken.content = content,
                        Err(unfit) => {
                            tracing::warn!(source, "the file is read later: {}", io::Error::from(unfit));
                            self.folder.unsettled = true;
                            return Ok(());
                        }
                    }
                }
                let reading = Reading::new(source, taken.content, passed, lines_min);
                self.state = State::Reading(Box::new(reading));
            }
            return Ok(());
        }
        match Content::count(opened.clone(), &self.manifest, self.block_bytes).await {
            // The source was closed early because the file changed, and now its first content is back,
            // with lines that never entered: it is a source of its own.
            Ok(Some(lines)) if registration.lines != Some(lines) => {
                taken.role = Role::Behind(source);
                return Ok(());
            }
            Ok(Some(lines)) => {
                tracing::info!(
                    source,
                    lines,
                    file = %opened.path.display(),
                    "the file was ingested before, and is passed over"
                );
                if matches!(taken.role, Role::Delivery | Role::Behind(_))
                    && !is_done(&self.folder.path, &opened.path)
                {
                    note(&mut self.passed_over, PassedOver { name: opened.name.clone(), source });
                }
                self.pending.remove(source);
                let how = (&opened.name[..], opened.dataset);
                self.finish_file(&opened.path, how, source, &opened.stamp);
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

/// So many files are listed, at most.
pub const LISTED_MAX: usize = 100_000;

fn note<T>(list: &mut Vec<T>, it: T) {
    if list.len() < LISTED_MAX {
        list.push(it);
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
