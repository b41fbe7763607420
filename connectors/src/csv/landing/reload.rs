//! Files that give out lines once more: because the ledger lacks some, for a reload, or because they were written to.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tidegate_core::contract::Error;
use tidegate_core::failpoint::Failpoint;

use super::{Landing, State};
use crate::csv::done::{done_path, is_done, share_done};
use crate::csv::file::{self, Opened};
use crate::csv::inbox::Again;
use crate::csv::passed::Passed;
use crate::csv::pending::Read;
use crate::csv::reading::{Content, Reading, Unfit};
use crate::csv::registry::{Registry, Role};

impl<R: Registry> Landing<R> {
    /// Opens a file whose lines are on no topic any more and not all in the ledger, to give out these.
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
            let content = match reopen(&self.folder.path, read) {
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

    /// Opens and hashes the file of the next source that is to be read again. `false` if there is none.
    pub(super) async fn take_reload(&mut self) -> Result<bool, Error> {
        while let Some(again) = self.inbox.next_reload() {
            if !self.folder.is_ours(&again.name) || self.stopped.contains(&again.dataset) {
                continue;
            }
            let opened = match self.reopen_done(&again).await {
                Ok(opened) => {
                    let taken = self.taken(opened, Role::Reload(again.reload)).await?;
                    taken.map_err(io::Error::from)
                }
                Err(error) => Err(error),
            };
            match opened {
                Ok(taken) => {
                    self.state = State::Registering(Box::new(taken));
                    return Ok(true);
                }
                Err(error) => {
                    let Again { reload, old_source, name, .. } = &again;
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

    /// The file in `done/` of a source that is to be read again, which must be the one that was read.
    async fn reopen_done(&self, again: &Again) -> io::Result<Opened> {
        let folder = &self.folder.path;
        let own = again.source.map(|source| done_path(folder, source, &again.name));
        let path = own.filter(|path| path.exists());
        let path = path.unwrap_or_else(|| done_path(folder, again.old_source, &again.name));
        let opened = Opened::open(&path, &again.name, again.dataset).await?;
        let is_same = match &again.content {
            Some(content) => opened.content.as_bytes()[..] == content[..],
            None => again.bytes.is_none_or(|bytes| bytes == opened.stamp.size),
        };
        if is_same { Ok(opened) } else { Err(io::Error::other("it is not what was read")) }
    }

    /// Looks whether files of `done/` have become longer or shorter since they were read.
    pub(super) async fn look_for_rewritten(&mut self) -> Result<(), Error> {
        let mut rewritten = self.put_away.rewritten();
        while !self.put_away.is_looked_through() {
            let (folder, manifest) = (&self.folder.path, &self.manifest);
            rewritten.extend(self.put_away.rewritten_earlier(folder, manifest, &self.registry).await?);
        }
        for (moved, stamp) in rewritten {
            self.folder.note_rewritten(moved, stamp);
        }
        Ok(())
    }
}

/// Gives the file that a source is read from once more to the new source too.
pub(super) async fn share(folder: &Path, opened: &mut Opened, source: u64) -> Result<(), Error> {
    let failed = |error: &io::Error| {
        let path = done_path(folder, source, &opened.name);
        Error::retry(format!("cannot make '{}': {error}; it is tried again", path.display()))
    };
    let path =
        share_done(folder, &opened.path, &opened.name, source).await.map_err(|error| failed(&error))?;
    Failpoint::ReloadShared.pass()?;
    // A second name is a change, though not of the content.
    let stamp = opened.stat().map_err(|error| failed(&error))?;
    if stamp.looks_like(&opened.stamp) {
        opened.stamp = stamp;
    }
    opened.path = path;
    Ok(())
}

/// Opens a file that was read, if it is still the same.
fn reopen(folder: &Path, read: &Read) -> io::Result<Option<Opened>> {
    let (file, stamp) = file::open(&read.file.path)?;
    let opened = Opened {
        path: read.file.path.clone(),
        name: read.file.name.clone(),
        dataset: read.file.dataset,
        file: Arc::new(file),
        stamp,
        content: read.file.content,
        has_odd_quotes: false,
        spooled: read.file.spooled,
        keys: read.file.keys.clone(),
        shape: read.file.shape.clone(),
    };
    // A file of done/ may get another name there.
    let is_same =
        stamp == read.file.stamp || (is_done(folder, &read.file.path) && stamp.looks_like(&read.file.stamp));
    Ok((read.whole && is_same).then_some(opened))
}
