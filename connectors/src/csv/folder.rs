//! Which files are in the landing folder, and which may be taken.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_core::contract::Error;
use tidegate_core::manifest::Manifest;
use tidegate_core::record::partition_of;
use tokio::time::Instant;

use super::done::DONE;
use super::file::Stamp;
use super::pending::Pending;

/// How long a scan is good for.
const SCAN_EVERY: Duration = Duration::from_millis(200);

/// A file that stands still and may be taken.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) dataset: usize,
    pub(super) stamp: Stamp,
}

/// The landing folder as the last scan found it.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Which files are ours, where several share the folder.
    pub(super) partitions: Option<(Vec<u32>, u32)>,
    scanned: Option<Instant>,
    ready: VecDeque<Candidate>,
    /// Files of `done/` that are to be read once more, before all others.
    taken_back: VecDeque<Candidate>,
    /// Whether a file is still being written, or may be.
    pub(super) unsettled: bool,
    /// Since when files stand as they do.
    observed: HashMap<PathBuf, (Stamp, Instant)>,
    /// Entries that are no business of ours, which was said.
    ignored: HashSet<PathBuf>,
    /// Files that match a dataset but cannot be taken, with the reason.
    refused: BTreeMap<PathBuf, String>,
    /// Refused files that are not looked at again until they change.
    left: HashMap<PathBuf, Stamp>,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            partitions: None,
            scanned: None,
            ready: VecDeque::new(),
            taken_back: VecDeque::new(),
            unsettled: false,
            observed: HashMap::new(),
            ignored: HashSet::new(),
            refused: BTreeMap::new(),
            left: HashMap::new(),
        }
    }

    pub(super) fn refused(&self) -> &BTreeMap<PathBuf, String> {
        &self.refused
    }

    pub(super) fn take_back(&mut self, candidate: Candidate) {
        self.taken_back.push_back(candidate);
    }

    /// The next file to take, after a scan if the last one is too old.
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
        let mut ready = Vec::new();
        self.unsettled = false;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let path = entry.path();
            if let Some(candidate) = self.candidate(&entry, manifest)? {
                let stamp = candidate.stamp;
                if pending.get(path.as_path()) != Some(&&stamp) && self.left.get(&path) != Some(&stamp) {
                    match self.is_settled(&path, stamp, manifest.settle) {
                        true => ready.push(candidate),
                        false => self.unsettled = true,
                    }
                }
            }
            present.insert(path);
        }
        ready.sort_by(|a, b| {
            let rank = |c: &Candidate| (manifest.datasets[c.dataset].depth, c.stamp.modified);
            rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name))
        });
        self.ready = ready.into();
        self.observed.retain(|path, _| present.contains(path));
        self.ignored.retain(|path| present.contains(path));
        self.refused.retain(|path, _| present.contains(path));
        self.left.retain(|path, _| present.contains(path));
        Ok(())
    }

    /// The entry as a file of a dataset, if it is one.
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
                self.ignore(&path, "it is a folder; files are taken from the landing folder alone");
            }
            return Ok(None);
        }
        if !metadata.is_file() {
            self.ignore(&path, "it is a link or no regular file; put the file itself there");
            return Ok(None);
        }
        let name = file_name.to_str();
        let Some((name, (dataset, _))) = name.and_then(|name| Some((name, manifest.dataset_of_file(name)?)))
        else {
            self.ignore(
                &path,
                "its name matches the 'files' of no dataset; rename it or change the manifest",
            );
            return Ok(None);
        };
        let candidate = Candidate { name: name.to_owned(), dataset, stamp: Stamp::of(&metadata), path };
        Ok(self.is_ours(&candidate.name).then_some(candidate))
    }

    /// Whether a file is ours to take. Its name alone decides, so that all who share the folder agree.
    fn is_ours(&self, name: &str) -> bool {
        self.partitions.as_ref().is_none_or(|(ours, of)| ours.contains(&partition_of(name.as_bytes(), *of)))
    }

    /// Whether a file has stood still for `settle`.
    fn is_settled(&mut self, path: &Path, stamp: Stamp, settle: Duration) -> bool {
        let now = Instant::now();
        let since = match self.observed.get(path) {
            Some((observed, since)) if observed.looks_like(&stamp) => *since,
            _ => {
                self.observed.insert(path.to_owned(), (stamp, now));
                now
            }
        };
        let (seconds, nanoseconds) = stamp.modified;
        let modified = u64::try_from(seconds).map_or(UNIX_EPOCH, |seconds| {
            let since_1970 = Duration::new(seconds, nanoseconds as u32);
            UNIX_EPOCH.checked_add(since_1970).unwrap_or_else(SystemTime::now)
        });
        // A time in the future tells nothing.
        let rested = SystemTime::now().duration_since(modified).unwrap_or_default();
        rested >= settle || now.duration_since(since) >= settle
    }

    fn ignore(&mut self, path: &Path, why: &str) {
        if self.ignored.insert(path.to_owned()) {
            tracing::warn!("'{}' is left alone: {why}", path.display());
        }
    }

    /// Notes that a file cannot be taken: with `stamp` until it changes, else until the next scan.
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
    }
}
