//! The files in the landing folder, and which of them may be taken.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_core::contract::Error;
use tidegate_core::manifest::Manifest;
use tidegate_core::record::partition_of;
use tokio::time::Instant;

use crate::done::{DONE, MovedFile, is_done};
use crate::file::Stamp;
use crate::pending::Pending;
use crate::stillness::{Readiness, Stillness};

/// How long the result of a scan is used.
const SCAN_EVERY: Duration = Duration::from_millis(200);

/// A file that stands still and may be taken.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) dataset: usize,
    pub(super) stamp: Stamp,
    /// The source whose file it is, if lines of that source are lost.
    pub(super) lost: Option<u64>,
}

/// The landing folder as the last scan found it.
#[derive(Debug, Default)]
pub(super) struct LandingFolder {
    pub(super) path: PathBuf,
    /// The partitions whose files this instance takes, and the number of partitions, if several instances share the
    /// folder.
    pub(super) partitions: Option<(Vec<u32>, u32)>,
    scanned: Option<Instant>,
    ready: VecDeque<Candidate>,
    /// Files of `done/` that are read once more, before all others.
    pub(super) taken_back: VecDeque<Candidate>,
    /// Whether a file is still being written, or may be.
    pub(super) unsettled: bool,
    pub(super) stillness: Stillness,
    /// Files of `done/` that are longer or shorter than the content that was read.
    rewritten: BTreeMap<PathBuf, Candidate>,
    /// Entries that are ignored, each logged once, with the reason and whether the entry is a file.
    ignored: BTreeMap<PathBuf, (&'static str, bool)>,
    /// Files that match a dataset but cannot be taken, with the reason.
    pub(super) refused: BTreeMap<PathBuf, String>,
    /// The stamps of refused files, which are not looked at again until they change.
    left: HashMap<PathBuf, Stamp>,
}

impl LandingFolder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }

    /// Returns all files that are not taken, with the reason: files that are refused, files that a process has been
    /// writing to for too long to wait for, and files of no dataset.
    pub(super) fn left(&self) -> BTreeMap<PathBuf, String> {
        let mut left = self.refused.clone();
        left.extend(self.stillness.given_up().map(|(path, why)| (path.clone(), why.to_owned())));
        let files = self.ignored.iter().filter(|(_, (_, is_file))| *is_file);
        left.extend(files.map(|(path, (why, _))| (path.clone(), (*why).to_owned())));
        left
    }

    /// Notes a file of `done/` that is longer or shorter than the content that was read. It is taken as new content
    /// when it stands still.
    pub(super) fn note_rewritten(&mut self, moved: MovedFile, stamp: Stamp) {
        let MovedFile { path, name, dataset, bytes } = moved;
        if self.is_ours(&name) && !self.rewritten.contains_key(&path) {
            tracing::warn!(
                "'{}' has {} bytes, and {} were read: a process has written to it after it was moved; it is read again \
                 as a new source (write files elsewhere, and rename them into the landing folder)",
                path.display(),
                stamp.size,
                bytes
            );
            let candidate = Candidate { path: path.clone(), name, dataset, stamp, lost: None };
            self.rewritten.insert(path, candidate);
            self.unsettled = true;
        }
    }

    /// Returns the next file to take, after a scan if the last one is too old.
    pub(super) fn next(
        &mut self,
        manifest: &Manifest,
        pending: &Pending,
    ) -> Result<Option<Candidate>, Error> {
        if let Some(candidate) = self.taken_back.pop_front() {
            return Ok(Some(candidate));
        }
        if self.scanned.is_none_or(|scanned| scanned.elapsed() >= SCAN_EVERY) {
            self.scan(manifest, pending).map_err(|error| {
                let path = self.path.display();
                Error::retry(format!(
                    "cannot read the landing folder '{path}': {error}; check its permissions"
                ))
            })?;
            self.scanned = Some(Instant::now());
        }
        Ok(self.ready.pop_front())
    }

    fn scan(&mut self, manifest: &Manifest, pending: &Pending) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        let pending = pending.files();
        let mut present = HashSet::new();
        let mut candidates = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            candidates.extend(self.candidate(&entry, manifest)?);
            present.insert(entry.path());
        }
        // The files of `done/` that were written to have other stamps now.
        self.rewritten.retain(|path, candidate| {
            let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file);
            candidate.stamp = metadata.as_ref().map_or(candidate.stamp, Stamp::of);
            metadata.is_some()
        });
        present.extend(self.rewritten.keys().cloned());
        candidates.extend(self.rewritten.values().cloned());
        candidates.retain(|Candidate { path, stamp, .. }| {
            pending.get(path.as_path()) != Some(&stamp) && self.left.get(path) != Some(stamp)
        });
        let found = candidates.len();
        let candidates = self.one_name_each(candidates, &pending);
        let files: Vec<_> = candidates.iter().map(|c| (c.path.as_path(), c.stamp)).collect();
        let verdicts = self.stillness.look(&self.path, &files, manifest.stable_for);
        self.unsettled = verdicts.contains(&Readiness::Waits) || candidates.len() < found;
        let stand_still = candidates.into_iter().zip(verdicts).filter(|(_, v)| *v == Readiness::StandsStill);
        let mut ready: Vec<Candidate> = stand_still.map(|(candidate, _)| candidate).collect();
        ready.sort_by_cached_key(|c| (manifest.datasets[c.dataset].depth, c.stamp.modified, c.name.clone()));
        self.ready = ready.into();
        self.stillness.retain(|path| present.contains(path));
        self.ignored.retain(|path, _| present.contains(path));
        self.refused.retain(|path, _| present.contains(path));
        self.left.retain(|path, _| present.contains(path));
        Ok(())
    }

    /// Returns the entry as a file of a dataset, if it is one.
    fn candidate(&mut self, entry: &DirEntry, manifest: &Manifest) -> io::Result<Option<Candidate>> {
        let (path, file_name) = (entry.path(), entry.file_name());
        if file_name.as_encoded_bytes().starts_with(b".") {
            return Ok(None);
        }
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if metadata.is_dir() {
            if file_name != DONE {
                let why = "it is a folder; files are taken from the landing folder alone";
                self.ignore(&path, why, false);
            }
            return Ok(None);
        }
        if !metadata.is_file() {
            self.ignore(&path, "it is a link or no regular file; put the file itself there", true);
            return Ok(None);
        }
        let name = file_name.to_str();
        let Some((name, (dataset, _))) = name.and_then(|name| Some((name, manifest.dataset_of_file(name)?)))
        else {
            let why = "its name matches the 'files' of no dataset; rename it or change the manifest";
            self.ignore(&path, why, true);
            return Ok(None);
        };
        let candidate =
            Candidate { path, name: name.to_owned(), dataset, stamp: Stamp::of(&metadata), lost: None };
        Ok(self.is_ours(name).then_some(candidate))
    }

    /// Returns whether this instance takes a file. The name alone decides, so that all instances that share the
    /// folder agree.
    pub(super) fn is_ours(&self, name: &str) -> bool {
        self.partitions.as_ref().is_none_or(|(ours, of)| ours.contains(&partition_of(name.as_bytes(), *of)))
    }

    fn ignore(&mut self, path: &Path, why: &'static str, is_file: bool) {
        if self.ignored.insert(path.to_owned(), (why, is_file)).is_none() {
            tracing::warn!("'{}' is left alone: {why}", path.display());
        }
    }

    /// Notes that a file cannot be taken: with `stamp`, until the file changes; without, until the next scan.
    pub(super) fn refuse(&mut self, path: &Path, stamp: Option<Stamp>, reason: String) {
        if let Some(stamp) = stamp {
            self.left.insert(path.to_owned(), stamp);
        }
        if self.refused.get(path) != Some(&reason) {
            let until = if stamp.is_some() { "left alone until it changes" } else { "tried again" };
            tracing::error!("'{}' cannot be taken and is {until}: {reason}", path.display());
            self.refused.insert(path.to_owned(), reason);
        }
    }

    /// Notes that a file was taken.
    pub(super) fn admit(&mut self, path: &Path) {
        self.refused.remove(path);
        self.left.remove(path);
        self.rewritten.remove(path);
    }

    /// Drops candidates in `done/` that are another name of a file that is being read or is about to be read: sources
    /// share a file after a reload. Such a candidate is taken when the lines under the first name are accounted for.
    fn one_name_each(&self, found: Vec<Candidate>, pending: &HashMap<&Path, &Stamp>) -> Vec<Candidate> {
        let is_done = |candidate: &Candidate| is_done(&self.path, &candidate.path);
        let mut kept: Vec<Candidate> = Vec::with_capacity(found.len());
        for candidate in found {
            let others = kept.iter().filter(|other| is_done(other)).map(|other| &other.stamp);
            let is_another_name = is_done(&candidate)
                && pending.values().copied().chain(others).any(|stamp| stamp.is_same_file(&candidate.stamp));
            if !is_another_name {
                kept.push(candidate);
            }
        }
        kept
    }
}
