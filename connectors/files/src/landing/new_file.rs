//! A file that is new, or that is read again: it is opened, registered as a source, and then read or passed over.

use std::io;
use std::path::Path;

use tidegate_core::contract::Error;
use tidegate_core::manifest::Manifest;
use tidegate_core::registry::{Arrival, ArrivalRole, Identity, KeysNeeded, Registration, Registry};
use tidegate_core::shape::Shape;

use super::{Landing, PassedOver, Phase, note, reload};
use crate::content::{Content, FileFault};
use crate::done::is_done;
use crate::file::{OpenFile, Stamp};
use crate::folder::Candidate;
use crate::header::{FIRST_LINE_OF_NAMES, names_the_columns};

/// A file that is not registered yet.
#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) content: Content,
    fingerprint: Identity,
    role: ArrivalRole,
    /// The generated keys that its lines need.
    pub(super) keys: Option<KeysNeeded>,
}

impl NewFile {
    /// Returns whether the file is as it was taken. In `done/` it may have got another name.
    fn is_unchanged(&self) -> bool {
        let opened = &self.content.opened;
        let Ok(now) = opened.stat() else { return false };
        match self.role {
            ArrivalRole::Reload(_) => now.looks_like(&opened.stamp),
            _ => now == opened.stamp,
        }
    }

    fn arrival<'a>(&'a self, manifest: &'a Manifest) -> Arrival<'a> {
        let opened = &self.content.opened;
        Arrival {
            dataset: &manifest.datasets[opened.dataset].name,
            name: &opened.name,
            fingerprint: &self.fingerprint,
            content: opened.content.as_bytes(),
            bytes: opened.stamp.size,
            role: self.role,
            shape: &self.content.shape,
            keys: self.keys,
        }
    }
}

impl<R: Registry> Landing<R> {
    /// Opens and hashes the next file that may be taken. Returns `false` if there is none.
    pub(super) async fn take_next(&mut self) -> Result<bool, Error> {
        while let Some(candidate) = self.folder.next(&self.manifest, &self.pending)? {
            if self.stopped.contains(&candidate.dataset) {
                continue;
            }
            let role = candidate.lost.map_or(ArrivalRole::Delivery, ArrivalRole::Lost);
            let taken = match self.open(&candidate).await {
                Ok(opened) => self.examine(opened, role).await?,
                Err(unfit) => Err(unfit),
            };
            match taken {
                Ok(taken) => {
                    self.folder.admit(&candidate.path);
                    self.phase = Phase::Registering(Box::new(taken));
                    return Ok(true);
                }
                Err(unfit) => self.leave(&candidate.path, candidate.stamp, unfit),
            }
        }
        Ok(false)
    }

    /// Leaves a file that cannot be read where it is.
    fn leave(&mut self, path: &Path, stamp: Stamp, unfit: FileFault) {
        match unfit {
            FileFault::Changed => self.folder.unsettled = true,
            FileFault::Refused(reason) => self.folder.refuse(path, Some(stamp), reason),
            FileFault::Failed(error) if error.kind() == io::ErrorKind::NotFound => {}
            FileFault::Failed(error) => {
                let reason = format!("it cannot be read: {error}; check its permissions and the disk");
                self.folder.refuse(path, None, reason);
            }
        }
    }

    async fn open(&mut self, candidate: &Candidate) -> Result<OpenFile, FileFault> {
        let Candidate { path, name, dataset, stamp, lost } = candidate.clone();
        let quote = self.manifest.datasets[dataset].csv.syntax.dialect.quote;
        let opened = OpenFile::hashed(path, name, dataset, quote, Some(stamp)).await?;
        let opened = opened.ok_or(FileFault::Changed)?;
        if lost.is_none() {
            self.assert_meant(&opened)?;
        }
        if opened.has_odd_quotes
            && lost.is_none()
            && !self.folder.stillness.may_end_openly(&candidate.path, self.manifest.stable_for)
        {
            return Err(FileFault::Changed);
        }
        Ok(opened)
    }

    /// Refuses a new file that is not text. Warns if its first line holds the column names, though the dataset's
    /// files have no header.
    fn assert_meant(&self, opened: &OpenFile) -> Result<(), FileFault> {
        if let Some(nature) = opened.no_text(&self.manifest)? {
            return Err(FileFault::Refused(nature.to_string()));
        }
        if names_the_columns(&opened.path, opened.dataset, &self.manifest)? {
            tracing::warn!("'{}': {FIRST_LINE_OF_NAMES}", opened.path.display());
        }
        Ok(())
    }

    /// Reads a file up to its first line, and finds which generated keys its lines need.
    pub(super) async fn examine(
        &self,
        opened: OpenFile,
        role: ArrivalRole,
    ) -> Result<Result<NewFile, FileFault>, Error> {
        let fingerprint = opened.fingerprint(&self.manifest);
        let mut content = self.content(opened.clone());
        // The file may have been registered before, with a header that fitted then, and read in part.
        if let Err(FileFault::Refused(_)) = content
            && !matches!(role, ArrivalRole::Reload(_))
            && let shape @ Some(_) = self.registry.shape(&fingerprint).await?
        {
            content = self.content(OpenFile { shape, ..opened });
        }
        let content = match content {
            Ok(content) => content,
            Err(fault) => return Ok(Err(fault)),
        };
        let opened = content.opened.clone();
        let keys = Content::keys_needed(opened, &self.manifest, self.block_bytes).await;
        Ok(keys.map(|keys| NewFile { fingerprint, role, content, keys }))
    }

    /// Reads a file up to its first line.
    pub(super) fn content(&self, opened: OpenFile) -> Result<Content, FileFault> {
        Content::start(opened, &self.manifest, self.block_bytes)
    }

    /// Registers the file that was taken. Then it is read, or passed over if its lines are all accounted for.
    pub(super) async fn register(&mut self) -> Result<(), Error> {
        let Phase::Registering(taken) = &mut self.phase else { return Ok(()) };
        if !taken.is_unchanged() {
            if let ArrivalRole::Reload(reload) = taken.role {
                let path = taken.content.opened.path.display();
                let why = format!("'{path}' has changed while it was read again");
                self.registry.refuse_reload(reload, &why).await?;
            } else {
                self.folder.unsettled = true;
            }
            self.phase = Phase::Watching;
            return Ok(());
        }
        let registration = self.registry.register(taken.arrival(&self.manifest)).await?;
        if let ArrivalRole::Reload(_) = taken.role {
            reload::share(&self.folder.path, &mut taken.content.opened, registration.source).await?;
        }
        if registration.complete {
            self.pass_over(registration).await;
        } else {
            self.open_registered(registration);
        }
        Ok(())
    }

    /// Opens the file that was registered for reading, by the shape of its first registration.
    fn open_registered(&mut self, registration: Registration) {
        let Phase::Registering(taken) = std::mem::replace(&mut self.phase, Phase::Watching) else { return };
        let Registration { source, lines, known, shape, first_key, .. } = registration;
        let opened = taken.content.opened.clone();
        tracing::info!(source, file = %opened.path.display(), bytes = opened.stamp.size, "reading a file");
        let now = taken.content.shape.clone();
        let is_as_then = |then: &Shape| {
            (&then.null, &then.columns, &then.syntax) == (&now.null, &now.columns, &now.syntax)
        };
        let content = match shape.filter(|then| !is_as_then(then)) {
            None if first_key.is_none() => Ok(taken.content),
            then => {
                let opened = OpenFile { shape: then.or(opened.shape.clone()), ..opened };
                self.content(opened.with_keys(&self.manifest, first_key))
            }
        };
        match content {
            Ok(content) => self.begin_reading(source, content, known, lines),
            Err(fault) => {
                tracing::warn!(source, "the file is read later: {}", io::Error::from(fault));
                self.folder.unsettled = true;
            }
        }
    }

    /// Passes over the file that was registered, because its lines are all accounted for. If the ledger has more or
    /// fewer lines than the file, it is registered once more, as a source of its own.
    async fn pass_over(&mut self, Registration { source, lines: counted, shape, .. }: Registration) {
        let Phase::Registering(taken) = &mut self.phase else { return };
        let opened = taken.content.opened.clone();
        // Its lines are counted as they were numbered then.
        let then = OpenFile { shape, ..opened.clone() };
        match Content::count(then, &self.manifest, self.block_bytes).await {
            // The source was closed early because the file changed, and now its first content is back, with lines
            // that never entered.
            Ok(Some(lines)) if counted != Some(lines) => {
                taken.role = ArrivalRole::Behind(source);
                return;
            }
            Ok(Some(lines)) => {
                tracing::info!(
                    source,
                    lines,
                    file = %opened.path.display(),
                    "the file was ingested before, and is passed over"
                );
                if matches!(taken.role, ArrivalRole::Delivery | ArrivalRole::Behind(_))
                    && !is_done(&self.folder.path, &opened.path)
                {
                    note(&mut self.passed_over, PassedOver { name: opened.name.clone(), source });
                }
                self.pending.remove(source);
                self.finish_file(&opened.path, &opened.name, opened.dataset, source, &opened.stamp);
            }
            Ok(None) => self.folder.unsettled = true,
            Err(unfit) => self.leave(&opened.path, opened.stamp, unfit),
        }
        self.phase = Phase::Watching;
    }
}
