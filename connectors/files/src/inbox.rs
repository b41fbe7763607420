//! Sources that entered over HTTP or from a backup: registered already, and waiting for their lines to be emitted.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tidegate_core::shape::Shape;
use tokio::sync::Notify;

use crate::GeneratedKeys;

/// A registered source. Its lines are kept, in Postgres or in the spool, until the ledger accounts for every one of
/// them.
#[derive(Clone, Debug)]
pub struct EnteredSource {
    /// The source's number.
    pub source: u64,
    /// The index of the source's dataset.
    pub dataset: usize,
    /// The source's name, for display.
    pub name: String,
    /// The shape with which its text was registered; `None` if it was not stored then.
    pub shape: Option<Arc<Shape>>,
    /// Where its lines are.
    pub body: Body,
}

/// A source whose file in `done/` is read once more, as a new source.
#[derive(Clone, Debug)]
pub struct QueuedReload {
    /// The number of the reload.
    pub reload: u64,
    /// The source that is read again.
    pub old_source: u64,
    /// The index of the source's dataset.
    pub dataset: usize,
    /// The name of the source's file.
    pub name: String,
    /// BLAKE3 of the file's content, if known.
    pub content: Option<Vec<u8>>,
    /// The file's size, if known.
    pub bytes: Option<u64>,
    /// How many keys were generated for the source's lines, one for each line; `None` if none were.
    pub generated_keys: Option<u64>,
    /// The new source, if it is registered already.
    pub source: Option<u64>,
}

/// Where the lines of a source are.
#[derive(Clone, Debug)]
pub enum Body {
    /// In memory: without a header, in the columns and the dialect of the source's shape, or of the manifest if it
    /// has none. No line is longer than `max_record_bytes`.
    Lines(Bytes),
    /// In a file of the spool, which is removed when every line is accounted for.
    File {
        /// The path of the file.
        path: PathBuf,
        /// BLAKE3 of the content that was sent.
        content: [u8; 32],
        /// Whether its lines may have been read before, in part.
        known: bool,
        /// The number of lines, if known.
        lines: Option<u64>,
        /// The keys of lines that lack one.
        keys: Option<GeneratedKeys>,
    },
}

impl EnteredSource {
    /// Returns how much memory the source's lines take, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        match &self.body {
            Body::Lines(text) => text.len() as u64,
            Body::File { .. } => 0,
        }
    }
}

/// The queue from the tasks that register sources to the landing folder, which emits all lines of a process.
#[derive(Debug, Default)]
pub struct Inbox {
    queues: Mutex<Queues>,
    bytes: AtomicU64,
    queued: Notify,
}

#[derive(Debug, Default)]
struct Queues {
    sources: VecDeque<EnteredSource>,
    reloads: VecDeque<QueuedReload>,
    /// The numbers of all reloads that were queued: each is queued once.
    known_reloads: HashSet<u64>,
}

impl Inbox {
    /// Queues a reload, unless it was queued before.
    pub fn push_reload(&self, again: QueuedReload) {
        let mut queues = self.queues();
        if queues.known_reloads.insert(again.reload) {
            queues.reloads.push_back(again);
            self.queued.notify_one();
        }
    }

    /// Takes the next reload.
    pub(super) fn next_reload(&self) -> Option<QueuedReload> {
        self.queues().reloads.pop_front()
    }

    /// Puts a reload back, to be tried again.
    pub(super) fn retry_reload(&self, again: QueuedReload) {
        self.queues().reloads.push_front(again);
    }

    /// Queues a source that is registered and in the journal.
    pub fn push(&self, entered: EnteredSource) {
        self.bytes.fetch_add(entered.bytes(), Ordering::Relaxed);
        self.requeue(entered);
        self.queued.notify_one();
    }

    /// Returns how many bytes of lines are in memory that are not accounted for yet.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Drops everything that is queued: the source that takes over begins anew, with all that is not complete.
    pub fn clear(&self) {
        *self.queues() = Queues::default();
        self.bytes.store(0, Ordering::Relaxed);
    }

    pub(super) fn is_empty(&self) -> bool {
        let queues = self.queues();
        queues.sources.is_empty() && queues.reloads.is_empty()
    }

    /// Takes the next source whose lines are in memory, if it is of the dataset `of` or no dataset is given. Drops those
    /// of stopped datasets: Postgres keeps their lines for the next run.
    pub(super) fn next_lines(&self, stopped: &BTreeSet<usize>, of: Option<usize>) -> Option<EnteredSource> {
        let queue = &mut self.queues().sources;
        queue.retain(|entered| {
            let stays = !stopped.contains(&entered.dataset);
            if !stays {
                self.settle(entered);
            }
            stays
        });
        let found = queue.iter().position(|entered| matches!(entered.body, Body::Lines(_)))?;
        if of.is_some_and(|of| of != queue[found].dataset) { None } else { queue.remove(found) }
    }

    /// Takes the next source whose lines are in a file.
    pub(super) fn next_file(&self) -> Option<EnteredSource> {
        let queue = &mut self.queues().sources;
        let found = queue.iter().position(|entered| matches!(entered.body, Body::File { .. }))?;
        queue.remove(found)
    }

    /// Queues a source again whose lines were emitted before.
    pub(super) fn requeue(&self, entered: EnteredSource) {
        self.queues().sources.push_back(entered);
    }

    /// Notes that every line of a source is accounted for.
    pub(super) fn settle(&self, entered: &EnteredSource) {
        let less = |bytes: u64| Some(bytes.saturating_sub(entered.bytes()));
        let _ = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Resolves when something has been queued.
    pub(super) async fn rung(&self) {
        self.queued.notified().await;
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        // No operation under the lock can leave the queues in an inconsistent state.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
