//! Files that were read and whose lines are not all accounted for yet.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::contract::Error;
use tidegate_core::shape::Shape;
use tokio::time::Instant;

use super::file::{Opened, Stamp};
use super::inbox::Entered;
use super::{GeneratedKeys, Registry};

/// How often the registry is asked, at most and at least.
const ASK_EVERY: Duration = Duration::from_millis(20);
const ASK_EVERY_MAX: Duration = Duration::from_secs(1);
/// About how many requests at once.
const ASK_MAX: usize = 256;

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
    pub(super) spooled: bool,
    pub(super) keys: Option<GeneratedKeys>,
    pub(super) shape: Option<Arc<Shape>>,
}

impl From<&Opened> for Closed {
    fn from(opened: &Opened) -> Self {
        let Opened { path, name, dataset, stamp, content, spooled, keys, shape, .. } = opened.clone();
        Self { path, name, dataset, stamp, content, spooled, keys, shape }
    }
}

/// Of each source that is not complete.
#[derive(Debug, Default)]
pub(super) struct Pending {
    sources: BTreeMap<u64, Read>,
    /// Requests whose lines were given out from memory.
    requests: BTreeMap<u64, Given>,
    asked: Option<Instant>,
    /// How long nothing is asked after that: asking costs by what is asked for, and must not hold up reading.
    pause: Duration,
    /// The requests that were asked about last.
    turn: Vec<u64>,
}

/// A request whose lines were given out.
#[derive(Debug)]
struct Given {
    entered: Entered,
    /// When they may be given out again.
    again_at: Instant,
    rest: Duration,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.requests.is_empty()
    }

    /// The files that stay where they are until all of theirs is accounted for, as they were.
    pub(super) fn files(&self) -> HashMap<&Path, &Stamp> {
        let whole = self.sources.values().filter(|read| read.whole && !read.file.spooled);
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

    /// Notes that the lines of a request were given out.
    pub(super) fn add_request(&mut self, entered: Entered) {
        let now = Instant::now();
        let rest = self.requests.get(&entered.source).map_or(Duration::ZERO, |given| given.rest);
        let again_at = now + rest;
        self.requests.insert(entered.source, Given { entered, again_at, rest });
    }

    /// The requests to give out again now, where lines are on no topic any more: of those that were asked about just
    /// now.
    pub(super) fn requests_again(&mut self) -> Vec<Entered> {
        let now = Instant::now();
        let mut again = Vec::new();
        for source in &self.turn {
            let Some(given) = self.requests.get_mut(source).filter(|given| given.again_at <= now) else {
                continue;
            };
            given.rest = rested(given.rest);
            given.again_at = now + given.rest;
            again.push(given.entered.clone());
        }
        again
    }

    /// Forgets the sources of a dataset. Gives the requests among them.
    pub(super) fn stop(&mut self, dataset: usize) -> Vec<Entered> {
        self.sources.retain(|_, read| read.file.dataset != dataset);
        let its = |given: &Given| given.entered.dataset == dataset;
        let stopped: Vec<Entered> =
            self.requests.values().filter(|given| its(given)).map(|given| given.entered.clone()).collect();
        self.requests.retain(|_, given| !its(given));
        stopped
    }

    pub(super) fn remove(&mut self, source: u64) -> Option<Read> {
        self.sources.remove(&source)
    }

    /// Asks which sources are complete, and takes them out. `None` if that was asked just now.
    pub(super) async fn take_complete(
        &mut self,
        registry: &impl Registry,
    ) -> Result<Option<Complete>, Error> {
        if self.is_empty() || self.asked.is_some_and(|asked| asked.elapsed() < self.pause) {
            return Ok(None);
        }
        let begun = Instant::now();
        // Behind the last turn, or from the first.
        let next = self.turn.last().map_or(0, |last| last + 1);
        let (behind, before) = (self.requests.range(next..), self.requests.range(..next));
        self.turn = behind.chain(before).map(|(source, _)| *source).take(ASK_MAX).collect();
        let sources: Vec<u64> = self.sources.keys().chain(&self.turn).copied().collect();
        let mut complete = Complete::default();
        for source in registry.complete(&sources).await? {
            complete.requests.extend(self.requests.remove(&source).map(|given| given.entered));
            complete.files.extend(self.remove(source).map(|read| (source, read)));
        }
        self.asked = Some(Instant::now());
        self.pause = (4 * begun.elapsed()).clamp(ASK_EVERY, ASK_EVERY_MAX);
        Ok(Some(complete))
    }

    /// The first source to read again now, where lines are on no topic any more.
    pub(super) fn next_again(&mut self) -> Option<u64> {
        let now = Instant::now();
        let (source, read) = self.sources.iter_mut().find(|(_, read)| read.again_at <= now)?;
        read.rest = rested(read.rest);
        read.again_at = now + read.rest;
        Some(*source)
    }

    pub(super) fn get(&self, source: u64) -> Option<&Read> {
        self.sources.get(&source)
    }
}

/// What has become complete.
#[derive(Debug, Default)]
pub(super) struct Complete {
    pub(super) files: Vec<(u64, Read)>,
    pub(super) requests: Vec<Entered>,
}

/// How long to rest the next time.
fn rested(rest: Duration) -> Duration {
    if rest.is_zero() { REST } else { (rest * 2).min(REST_MAX) }
}

impl Read {
    /// Whether reading it again was in vain so often that it need not be tried any more.
    pub(super) fn is_hopeless(&self) -> bool {
        self.in_vain > 1
    }
}
