//! Files that were read and whose lines are not all accounted for yet.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::contract::Error;
use tidegate_core::registry::Registry;
use tidegate_core::shape::Shape;
use tokio::time::Instant;

use crate::GeneratedKeys;
use crate::file::{OpenFile, Stamp};
use crate::inbox::EnteredSource;

/// How often the registry is asked: the shortest and the longest pause.
const ASK_EVERY: Duration = Duration::from_millis(20);
const ASK_EVERY_MAX: Duration = Duration::from_secs(1);
/// The maximum number of requests that are asked about at once.
const ASK_MAX: usize = 256;

/// How long a file rests that was read again and still lacks lines: the first and the longest rest.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(60);

/// A file that was read.
#[derive(Debug)]
pub(super) struct PendingFile {
    pub(super) file: ClosedFile,
    pub(super) lines: u64,
    /// Whether it was read to its end. If not, it changed, and there is no file to read again or to move.
    pub(super) whole: bool,
    retry: Retry,
    /// How many times it was read again without finding a line that the ledger lacks.
    in_vain: u32,
}

/// What remains of an [`OpenFile`] without its descriptor.
#[derive(Clone, Debug)]
pub(super) struct ClosedFile {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) dataset: usize,
    pub(super) stamp: Stamp,
    pub(super) content: blake3::Hash,
    pub(super) spooled: bool,
    pub(super) keys: Option<GeneratedKeys>,
    pub(super) shape: Option<Arc<Shape>>,
}

impl From<&OpenFile> for ClosedFile {
    fn from(opened: &OpenFile) -> Self {
        let OpenFile { path, name, dataset, stamp, content, spooled, keys, shape, .. } = opened.clone();
        Self { path, name, dataset, stamp, content, spooled, keys, shape }
    }
}

/// The sources that are not complete.
#[derive(Debug, Default)]
pub(super) struct Pending {
    sources: BTreeMap<u64, PendingFile>,
    /// Requests whose lines were emitted from memory.
    requests: BTreeMap<u64, PendingRequest>,
    asked: Option<Instant>,
    /// How long to wait until the registry is asked again. The cost of asking grows with the number of sources, and
    /// asking must not hold up reading.
    pause: Duration,
    /// The requests that the registry was last asked about.
    turn: Vec<u64>,
}

/// A request whose lines were emitted.
#[derive(Debug)]
struct PendingRequest {
    entered: EnteredSource,
    retry: Retry,
}

/// When the lines of a source may be emitted again, and how long they rested before.
#[derive(Debug)]
struct Retry {
    at: Instant,
    rest: Duration,
}

impl Retry {
    fn after(rest: Duration) -> Self {
        Self { at: Instant::now() + rest, rest }
    }

    /// Returns whether the lines may be emitted again now. If so, they rest for longer from now on.
    fn is_due(&mut self) -> bool {
        let is_due = self.at <= Instant::now();
        if is_due {
            *self = Self::after(if self.rest.is_zero() { REST } else { (self.rest * 2).min(REST_MAX) });
        }
        is_due
    }
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.requests.is_empty()
    }

    /// Returns the files that stay in their place until their lines are accounted for, with the stamps they were read
    /// with.
    pub(super) fn files(&self) -> HashMap<&Path, &Stamp> {
        let whole = self.sources.values().filter(|read| read.whole && !read.file.spooled);
        whole.map(|read| (read.file.path.as_path(), &read.file.stamp)).collect()
    }

    /// Notes that a file was read, and that `given` lines were emitted this time.
    pub(super) fn add(&mut self, source: u64, file: &OpenFile, lines: u64, whole: bool, given: u64) {
        let read = self.sources.entry(source).or_insert_with(|| PendingFile {
            file: file.into(),
            lines,
            whole,
            retry: Retry::after(Duration::ZERO),
            in_vain: 0,
        });
        read.in_vain = if given == 0 { read.in_vain + 1 } else { 0 };
        (read.file, read.lines, read.whole) = (file.into(), lines, whole);
    }

    /// Notes that the lines of a request were emitted.
    pub(super) fn add_request(&mut self, entered: EnteredSource) {
        let rest = self.requests.get(&entered.source).map_or(Duration::ZERO, |given| given.retry.rest);
        self.requests.insert(entered.source, PendingRequest { entered, retry: Retry::after(rest) });
    }

    /// Returns the requests to emit again now, once their lines are on no topic any more: among those that the
    /// registry was just asked about.
    pub(super) fn requests_again(&mut self) -> Vec<EnteredSource> {
        let again = |source| {
            let given = self.requests.get_mut(source)?;
            given.retry.is_due().then(|| given.entered.clone())
        };
        self.turn.iter().filter_map(again).collect()
    }

    /// Drops the sources of a dataset. Returns the requests among them.
    pub(super) fn stop(&mut self, dataset: usize) -> Vec<EnteredSource> {
        self.sources.retain(|_, read| read.file.dataset != dataset);
        let stopped = self.requests.extract_if(.., |_, given| given.entered.dataset == dataset);
        stopped.map(|(_, given)| given.entered).collect()
    }

    pub(super) fn remove(&mut self, source: u64) -> Option<PendingFile> {
        self.sources.remove(&source)
    }

    /// Asks the registry which sources are complete, and takes them out. Returns `None` if the registry was asked
    /// just now.
    pub(super) async fn take_complete(
        &mut self,
        registry: &impl Registry,
    ) -> Result<Option<CompleteSources>, Error> {
        if self.is_empty() || self.asked.is_some_and(|asked| asked.elapsed() < self.pause) {
            return Ok(None);
        }
        let begun = Instant::now();
        // From after the last turn, then from the first.
        let next = self.turn.last().map_or(0, |last| last + 1);
        let (behind, before) = (self.requests.range(next..), self.requests.range(..next));
        self.turn = behind.chain(before).map(|(source, _)| *source).take(ASK_MAX).collect();
        let sources: Vec<u64> = self.sources.keys().chain(&self.turn).copied().collect();
        let mut complete = CompleteSources::default();
        for source in registry.complete(&sources).await? {
            complete.requests.extend(self.requests.remove(&source).map(|given| given.entered));
            complete.files.extend(self.remove(source).map(|read| (source, read)));
        }
        self.asked = Some(Instant::now());
        self.pause = (4 * begun.elapsed()).clamp(ASK_EVERY, ASK_EVERY_MAX);
        Ok(Some(complete))
    }

    /// Returns the first source to read again now, once its lines are on no topic any more.
    pub(super) fn next_again(&mut self) -> Option<u64> {
        self.sources.iter_mut().find_map(|(source, read)| read.retry.is_due().then_some(*source))
    }

    pub(super) fn get(&self, source: u64) -> Option<&PendingFile> {
        self.sources.get(&source)
    }
}

#[derive(Debug, Default)]
pub(super) struct CompleteSources {
    pub(super) files: Vec<(u64, PendingFile)>,
    pub(super) requests: Vec<EnteredSource>,
}

impl PendingFile {
    /// Returns whether the file was read again in vain so often that it need not be tried again.
    pub(super) fn is_hopeless(&self) -> bool {
        self.in_vain > 1
    }
}
