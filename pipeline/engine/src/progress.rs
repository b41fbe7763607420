//! How far the stages have come, for each other and for whoever watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_core::contract::{Applied, Consumed, Error, Tally};
use tidegate_topics::{Offset, Topics};
use tokio::sync::Notify;

use crate::PARTITION;
use crate::cursor::{Cursor, topics_error};

/// How far the stages have come. Offsets are published only after what they stand for is durable enough:
/// of the transform when its outputs are on their topics, of the sink when it has committed.
#[derive(Debug)]
pub struct Progress {
    processed: Vec<AtomicU64>,
    delivered_rows: Vec<AtomicU64>,
    letters_delivered: AtomicU64,
    /// How often healing was asked for, and which of these a finished round has answered.
    healing_wanted: AtomicU64,
    healing_done: AtomicU64,
    entered: AtomicU64,
    /// By dataset, what this run has committed.
    tallies: Mutex<Vec<Tally>>,
    changed: Notify,
}

impl Progress {
    pub(crate) fn new(raw: &[Cursor], accepted: &[Cursor], dead_letters: &Cursor) -> Self {
        let offsets = |cursors: &[Cursor]| cursors.iter().map(|cursor| AtomicU64::new(cursor.next)).collect();
        Self {
            processed: offsets(raw),
            delivered_rows: offsets(accepted),
            letters_delivered: AtomicU64::new(dead_letters.next),
            healing_wanted: AtomicU64::new(1),
            healing_done: AtomicU64::new(0),
            entered: AtomicU64::new(0),
            tallies: Mutex::new(vec![Tally::default(); raw.len()]),
            changed: Notify::new(),
        }
    }

    /// How many lines entered in this run.
    pub fn entered(&self) -> u64 {
        self.entered.load(Ordering::Relaxed)
    }

    /// What was committed of each dataset in this run.
    pub fn tallies(&self) -> Vec<Tally> {
        self.locked_tallies().clone()
    }

    fn locked_tallies(&self) -> MutexGuard<'_, Vec<Tally>> {
        // Numbers to look at: half an addition by a stage that panicked does no harm.
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves at the next change.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn enter(&self, lines: usize) {
        self.entered.fetch_add(lines as u64, Ordering::Relaxed);
    }

    pub(crate) fn process(&self, dataset: usize, next: Offset) {
        self.processed[dataset].store(next, Ordering::Release);
    }

    /// Publishes a commit. Whether healing is due is known before the offsets are.
    ///
    /// `consumed` names the accepted topics in the order of their datasets, then `dead-letters`.
    pub(crate) fn deliver(&self, applied: &Applied, consumed: &[Consumed]) {
        for (sum, tally) in self.locked_tallies().iter_mut().zip(&applied.tallies) {
            sum.accepted += tally.accepted;
            sum.rejected += tally.rejected;
            sum.waiting += tally.waiting;
            sum.duplicates += tally.duplicates;
        }
        if applied.may_heal {
            self.want_healing();
        }
        self.delivered(consumed);
    }

    /// Publishes how far the sink's readers are, in the order of [`Progress::deliver`].
    pub(crate) fn delivered(&self, consumed: &[Consumed]) {
        let delivered = self.delivered_rows.iter().chain([&self.letters_delivered]);
        for (delivered, consumed) in delivered.zip(consumed) {
            delivered.store(consumed.next, Ordering::Release);
        }
        self.changed.notify_waiters();
    }

    /// Whether waiting lines may be healed by what was committed.
    pub(crate) fn heal_pending(&self) -> bool {
        self.healing_wanted() != self.healing_done.load(Ordering::Acquire)
    }

    /// Asks for a round of healing.
    pub(crate) fn want_healing(&self) {
        self.healing_wanted.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn healing_wanted(&self) -> u64 {
        self.healing_wanted.load(Ordering::Acquire)
    }

    /// Notes that a round of healing has answered all that was wanted before it.
    pub(crate) fn healed(&self, wanted: u64) {
        self.healing_done.store(wanted, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Whether every line on the topics has passed the sink. Asked by the stage that feeds the raw topics,
    /// so that these stand still meanwhile; then the stages are asked in the order of the stream.
    pub(crate) async fn drained(&self, topics: &impl Topics, names: &Names<'_>) -> Result<bool, Error> {
        for (topic, processed) in names.raw.iter().zip(&self.processed) {
            if processed.load(Ordering::Acquire) < end(topics, topic).await? {
                return Ok(false);
            }
        }
        for (topic, delivered) in names.accepted.iter().zip(&self.delivered_rows) {
            if delivered.load(Ordering::Acquire) < end(topics, topic).await? {
                return Ok(false);
            }
        }
        Ok(self.letters_delivered.load(Ordering::Acquire) >= end(topics, names.dead_letters).await?)
    }

    /// About how many bytes stand on the topics that the sink has not committed.
    pub(crate) async fn lag_bytes(&self, topics: &impl Topics, names: &Names<'_>) -> Result<u64, Error> {
        let raw = names.raw.iter().zip(&self.processed);
        let accepted = names.accepted.iter().zip(&self.delivered_rows);
        let mut lag = 0;
        for (topic, next) in raw.chain(accepted) {
            lag += bytes_after(topics, topic, next.load(Ordering::Acquire)).await?;
        }
        let letters = self.letters_delivered.load(Ordering::Acquire);
        Ok(lag + bytes_after(topics, names.dead_letters, letters).await?)
    }
}

/// The names of a pipeline's topics.
pub(crate) struct Names<'a> {
    pub(crate) raw: &'a [String],
    pub(crate) accepted: &'a [String],
    pub(crate) dead_letters: &'a str,
}

async fn end(topics: &impl Topics, topic: &str) -> Result<Offset, Error> {
    topics.end(topic, PARTITION).await.map_err(topics_error)
}

async fn bytes_after(topics: &impl Topics, topic: &str, next: Offset) -> Result<u64, Error> {
    topics.bytes_after(topic, PARTITION, next).await.map_err(topics_error)
}
