//! Files whose lines are emitted again: because the ledger lacks some, for a reload, or because a process has written
//! to them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tidegate_core::contract::Error;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::registry::{ArrivalRole, KeysNeeded, Registry};

use super::new_file::NewFile;
use super::{Landing, Phase};
use crate::content::FileFault;
use crate::done::{done_path, is_done, share_done};
use crate::file::{self, OpenFile};
use crate::inbox::QueuedReload;
use crate::pending::{ClosedFile, PendingFile};
use crate::reading::Reading;
use crate::resume_point::ResumePoint;

impl<R: Registry> Landing<R> {
    /// Opens a file to emit the lines that the ledger lacks and that are on no topic any more.
    pub(super) async fn read_again(&mut self) -> Result<bool, Error> {
        for entered in self.pending.requests_again() {
            self.inbox.requeue(entered);
        }
        while let Some(source) = self.pending.next_again() {
            let Some(read) = self.pending.get(source) else { return Ok(false) };
            let lines = read.lines;
            if read.is_hopeless() {
                let reason = "it does not become complete, though the ledger lacks none of its lines; compare the \
                              source in tidegate.sources with its lines in tidegate.ledger";
                self.folder.refuse(&read.file.path, Some(read.file.stamp), reason.to_owned());
                self.pending.remove(source);
                continue;
            }
            let content = match reopen(&self.folder.path, read).await {
                Ok(Some(opened)) => match self.content(opened) {
                    Ok(content) => Ok(content),
                    Err(FileFault::Failed(_)) => continue, // it is tried again after its rest
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
                    let reading = Reading::new(source, content, ResumePoint::up_to(0), lines);
                    self.phase = Phase::Reading(Box::new(reading));
                    return Ok(true);
                }
                Err(why) => {
                    self.registry.await_file(source).await?;
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
        Ok(false)
    }

    /// Opens and hashes the file of the next reload. Returns `false` if there is none.
    pub(super) async fn take_reload(&mut self) -> Result<bool, Error> {
        while let Some(again) = self.inbox.next_reload() {
            if !self.folder.is_ours(&again.name) || self.stopped.contains(&again.dataset) {
                continue;
            }
            let taken = match self.reopen_done(&again).await {
                Ok(opened) => {
                    let taken = self.examine(opened, ArrivalRole::Reload(again.reload)).await?;
                    taken.map_err(io::Error::from).and_then(|taken| with_its_keys(taken, &again))
                }
                Err(error) => Err(error),
            };
            match taken {
                Ok(taken) => {
                    self.phase = Phase::Registering(Box::new(taken));
                    return Ok(true);
                }
                Err(error) => {
                    let QueuedReload { reload, old_source, name, .. } = &again;
                    let path = done_path(&self.folder.path, *old_source, name);
                    let why = format!(
                        "'{}' cannot be read again: {error}; drop the file under its name once more, with a change if it \
                         is the one that was read last",
                        path.display()
                    );
                    tracing::warn!(source = old_source, "{why}");
                    if let Err(error) = self.registry.refuse_reload(*reload, &why).await {
                        self.inbox.retry_reload(again);
                        return Err(error);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Opens the file in `done/` of a source that is reloaded. Fails if its content is not the one that was read.
    async fn reopen_done(&self, again: &QueuedReload) -> io::Result<OpenFile> {
        let folder = &self.folder.path;
        let own = again.source.map(|source| done_path(folder, source, &again.name));
        let path = own.filter(|path| path.exists());
        let path = path.unwrap_or_else(|| done_path(folder, again.old_source, &again.name));
        let opened = OpenFile::open(&path, &again.name, again.dataset).await?;
        let is_same = match &again.content {
            Some(content) => opened.content.as_bytes()[..] == content[..],
            None => again.bytes.is_none_or(|bytes| bytes == opened.stamp.size),
        };
        if is_same { Ok(opened) } else { Err(io::Error::other("it is not what was read")) }
    }

    /// Checks whether files of `done/` have become longer or shorter since they were read.
    pub(super) async fn look_for_rewritten(&mut self) -> Result<(), Error> {
        let (folder, manifest) = (&self.folder.path, &self.manifest);
        let rewritten = self.put_away.rewritten(folder, manifest, &self.registry).await?;
        for (moved, stamp) in rewritten {
            let dataset = &manifest.datasets[moved.dataset];
            if dataset.is_keyless() {
                let reason = format!(
                    "it has {} bytes, and {} were read: a process has written to it after it was moved. It is not read \
                     again, because rows of '{}' have no key, and those that are there would be inserted once more: put \
                     what was added into a file of its own",
                    stamp.size, moved.bytes, dataset.name
                );
                self.folder.refuse(&moved.path, Some(stamp), reason);
            } else {
                self.folder.note_rewritten(moved, stamp);
            }
        }
        Ok(())
    }
}

/// Returns a file that is reloaded, if its lines have no more keys than were generated for them: the keys behind those
/// belong to other rows.
fn with_its_keys(taken: NewFile, again: &QueuedReload) -> io::Result<NewFile> {
    match (taken.keys, again.generated_keys) {
        (Some(KeysNeeded::Numbers { lines, .. }), Some(had)) if lines > had && again.source.is_none() => {
            Err(io::Error::other(format!(
                "by the manifest as it is now it has {lines} lines, keys were generated for {had}, and those behind \
                 them belong to other rows"
            )))
        }
        _ => Ok(taken),
    }
}

/// Shares the file of the old source of a reload with the new source, by a second name in `done/`.
pub(super) async fn share(folder: &Path, opened: &mut OpenFile, source: u64) -> Result<(), Error> {
    let failed = |error: &io::Error| {
        let path = done_path(folder, source, &opened.name);
        Error::retry(format!("cannot make '{}': {error}; it is tried again", path.display()))
    };
    let path =
        share_done(folder, &opened.path, &opened.name, source).await.map_err(|error| failed(&error))?;
    Failpoint::ReloadShared.pass()?;
    // A second name changes the stamp, though not the content.
    let stamp = opened.stat().map_err(|error| failed(&error))?;
    if stamp.looks_like(&opened.stamp) {
        opened.stamp = stamp;
    }
    opened.path = path;
    Ok(())
}

/// Opens a file that was read before; `None` if it has changed.
async fn reopen(folder: &Path, read: &PendingFile) -> io::Result<Option<OpenFile>> {
    let (file, stamp) = file::open(&read.file.path)?;
    let file = Arc::new(file);
    let ClosedFile { path, name, dataset, stamp: before, content, spooled, keys, shape } = read.file.clone();
    // A file of done/ may have got another name.
    let mut is_same = stamp == before || (is_done(folder, &path) && stamp.looks_like(&before));
    // A file of the spool is replaced whenever its client sends it again.
    if spooled && !is_same {
        let now = file::hash(file.clone(), stamp.size, None).await?;
        is_same = now.is_some_and(|now| now.content == content);
    }
    let opened = OpenFile::new(path, name, dataset, file, stamp, content)?;
    let opened = OpenFile { spooled, keys, shape, ..opened };
    Ok((read.whole && is_same).then_some(opened))
}
