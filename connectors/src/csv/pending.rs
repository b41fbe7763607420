//! Files that were read and whose lines are not all accounted for yet.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_core::contract::Error;
use tokio::time::Instant;

use super::Registry;
use super::file::{Opened, Stamp};

/// How often the registry is asked, at most.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// How long a file that was read again, and still lacks lines, rests at first and at most.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(60);

/// A file that was read.
#[derive(Debug)]
pub(super) struct Read {
    /// The file as it was, closed.
    pub(super) file: Closed,
    /// How many lines it has.
    pub(super) lines: u64,
    /// Whether it was read to its end; if not, it changed, and there is no file to read again or to move.
    pub(super) whole: bool,
    /// When it may be read again.
    again_at: Instant,
    rest: Duration,
    /// How often it was read again without finding a line that the ledger lacks.
    in_vain: u32,
}

/// What is kept of an [`Opened`] file, without its descriptor.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) dataset: usize,
    pub(super) stamp: Stamp,
    pub(super) content: blake3::Hash,
}

impl From<&Opened> for Closed {
    fn from(opened: &Opened) -> Self {
        let Opened { path, name, dataset, stamp, content, .. } = opened.clone();
        Self { path, name, dataset, stamp, content }
    }
}

/// Of each source that is not complete.
#[derive(Debug, Default)]
pub(super) struct Pending {
    sources: BTreeMap<u64, Read>,
    asked: Option<Instant>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The files that stay where they are until all of theirs is accounted for, as they were.
    pub(super) fn files(&self) -> HashMap<&Path, &Stamp> {
        let whole = self.sources.values().filter(|read| read.whole);
        whole.map(|read| (read.file.path.as_path(), &read.file.stamp)).collect()
    }

    /// Notes that a file was read. `given` lines were given out, this time.
    pub(super) fn add(&mut self, source: u64, file: &Opened, lines: u64, whole: bool, given: u64) {
        let read = self.sources.entry(source).or_insert_with(|| Read {
            file: file.into(),
            lines,
            whole,
            again_at: Instant::now(),
            rest: Duration::ZERO,
            in_vain: 0,
        });
        read.in_vain = if given == 0 { read.in_vain + 1 } else { 0 };
        (read.file, read.lines, read.whole) = (file.into(), lines, whole);
    }

    pub(super) fn remove(&mut self, source: u64) -> Option<Read> {
        self.sources.remove(&source)
    }

    /// Asks which sources are complete, and takes them out. `None` if that was asked just now.
    pub(super) async fn take_complete(
        &mut self,
        registry: &impl Registry,
    ) -> Result<Option<Vec<(u64, Read)>>, Error> {
        if self.is_empty() || self.asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return Ok(None);
        }
        let sources: Vec<u64> = self.sources.keys().copied().collect();
        let complete = registry.complete(&sources).await?;
        self.asked = Some(Instant::now());
        let complete = complete.into_iter();
        Ok(Some(complete.filter_map(|source| Some((source, self.remove(source)?))).collect()))
    }

    /// The first source to read again now, where lines are on no topic any more.
    pub(super) fn next_again(&mut self) -> Option<u64> {
        let now = Instant::now();
        let (source, read) = self.sources.iter_mut().find(|(_, read)| read.again_at <= now)?;
        read.rest = if read.rest.is_zero() { REST } else { (read.rest * 2).min(REST_MAX) };
        read.again_at = now + read.rest;
        Some(*source)
    }

    pub(super) fn get(&self, source: u64) -> Option<&Read> {
        self.sources.get(&source)
    }
}

impl Read {
    /// Whether reading it again was in vain so often that it need not be tried any more.
    pub(super) fn is_hopeless(&self) -> bool {
        self.in_vain > 1
    }
}
