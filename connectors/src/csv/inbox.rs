//! What entered over HTTP or from a backup: registered already, and waiting for its lines to be given out.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tidegate_core::shape::Shape;
use tokio::sync::Notify;

use super::GeneratedKeys;

/// A source that is registered. Its lines are kept until the ledger accounts for every one of them: by Postgres,
/// or in the spool.
#[derive(Clone, Debug)]
pub struct Entered {
    /// Its number.
    pub source: u64,
    /// The index of its dataset.
    pub dataset: usize,
    /// What people know it by.
    pub name: String,
    /// How its text was read when it was registered; `None` for one that comes now.
    pub shape: Option<Arc<Shape>>,
    /// Where its lines are.
    pub body: Body,
}

/// A source that is to be read once more, as a new one, from its file in `done/`.
#[derive(Clone, Debug)]
pub struct Again {
    /// The number of the reload.
    pub reload: u64,
    /// What is read again.
    pub old_source: u64,
    /// The index of its dataset.
    pub dataset: usize,
    /// The name of its file.
    pub name: String,
    /// BLAKE3 of its content, where that is known.
    pub content: Option<Vec<u8>>,
    /// Its size.
    pub bytes: Option<u64>,
    /// What it has become, if it has a number already.
    pub source: Option<u64>,
}

/// Where the lines of a source are.
#[derive(Clone, Debug)]
pub enum Body {
    /// Here: without a header, in the columns and the dialect that its shape says, or else the manifest. None is longer
    /// than `max_record_bytes`.
    Lines(Bytes),
    /// In a file of the spool, which is removed in the end.
    File {
        /// Where it is.
        path: PathBuf,
        /// BLAKE3 of what was sent.
        content: [u8; 32],
        /// Whether it was read before, as far as that came.
        known: bool,
        /// How many lines it has, if that is known.
        lines: Option<u64>,
        /// What keys are made of for lines that lack one.
        keys: Option<GeneratedKeys>,
    },
}

impl Entered {
    /// How much memory its lines take.
    pub(super) fn bytes(&self) -> u64 {
        match &self.body {
            Body::Lines(text) => text.len() as u64,
            Body::File { .. } => 0,
        }
    }
}

/// The way from whoever registers to the landing folder's source, which gives out all lines of a process.
#[derive(Debug, Default)]
pub struct Inbox {
    queue: Mutex<VecDeque<Entered>>,
    reloads: Mutex<Reloads>,
    bytes: AtomicU64,
    bell: Notify,
}

/// Reloads, each of which is handed over once.
#[derive(Debug, Default)]
struct Reloads {
    queue: VecDeque<Again>,
    handed_over: HashSet<u64>,
}

impl Inbox {
    /// Hands over a reload, unless that was done before.
    pub fn push_reload(&self, again: Again) {
        let mut reloads = self.reloads();
        if reloads.handed_over.insert(again.reload) {
            reloads.queue.push_back(again);
            self.bell.notify_one();
        }
    }

    /// The next reload.
    pub(super) fn next_reload(&self) -> Option<Again> {
        self.reloads().queue.pop_front()
    }

    /// Takes a reload back, to be done once more.
    pub(super) fn retry_reload(&self, again: Again) {
        self.reloads().queue.push_front(again);
    }

    /// Hands over a source that is registered and in the journal.
    pub fn push(&self, entered: Entered) {
        self.bytes.fetch_add(entered.bytes(), Ordering::Relaxed);
        self.queue().push_back(entered);
        self.bell.notify_one();
    }

    /// How many bytes of lines are here that are not accounted for yet.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Forgets all that is queued: whoever gives lines out begins anew, with all that is not complete.
    pub fn clear(&self) {
        self.queue().clear();
        *self.reloads() = Reloads::default();
        self.bytes.store(0, Ordering::Relaxed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue().is_empty() && self.reloads().queue.is_empty()
    }

    /// The next source whose lines are here. Those of datasets that have stopped are forgotten: they are kept where
    /// the next run finds them.
    pub(super) fn next_lines(&self, stopped: &BTreeSet<usize>) -> Option<Entered> {
        let mut queue = self.queue();
        queue.retain(|entered| {
            let stays = !stopped.contains(&entered.dataset);
            if !stays {
                self.settle(entered);
            }
            stays
        });
        let found = queue.iter().position(|entered| matches!(entered.body, Body::Lines(_)))?;
        queue.remove(found)
    }

    /// The next source whose lines are in a file.
    pub(super) fn next_file(&self) -> Option<Entered> {
        let mut queue = self.queue();
        let found = queue.iter().position(|entered| matches!(entered.body, Body::File { .. }))?;
        queue.remove(found)
    }

    /// Takes back what was queued before, to be given out once more.
    pub(super) fn requeue(&self, entered: Entered) {
        self.queue().push_back(entered);
    }

    /// Takes back what was taken out and not given out.
    pub(super) fn push_front(&self, entered: Entered) {
        self.queue().push_front(entered);
    }

    /// Notes that every line of a source is accounted for.
    pub(super) fn settle(&self, entered: &Entered) {
        let less = |bytes: u64| Some(bytes.saturating_sub(entered.bytes()));
        let _ = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Resolves when something was pushed.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    fn reloads(&self) -> MutexGuard<'_, Reloads> {
        self.reloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Entered>> {
        // Nothing that is done under the lock can stop half-way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
