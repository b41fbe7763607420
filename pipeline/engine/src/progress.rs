//! How far the stages of this process have come, for each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_core::contract::{Applied, Consumed, Error};
use tidegate_core::dead_letter::Stage;
use tidegate_topics::{Offset, Topics};
use tokio::sync::Notify;

use crate::counts::Counts;
use crate::cursor::{Cursor, topics_error};

/// How far the stages have come. Offsets are published only after what they stand for is durable enough:
/// of the transform when its outputs are on their topics, of the sink when it has committed.
#[derive(Debug)]
pub(crate) struct Progress {
    /// In the order of the transform's cursors.
    processed: Vec<Mark>,
    /// In the order of the sink's cursors.
    delivered: Vec<Mark>,
    /// How often healing was asked for, and which of these a finished round has answered.
    healing_wanted: AtomicU64,
    healing_done: AtomicU64,
    counts: Arc<Counts>,
    changed: Notify,
}

/// Up to where a partition is done with.
#[derive(Debug)]
struct Mark {
    topic: String,
    partition: u32,
    next: AtomicU64,
}

impl Mark {
    fn of(cursor: &Cursor) -> Self {
        let Cursor { topic, partition, next } = cursor.clone();
        Self { topic, partition, next: AtomicU64::new(next) }
    }

    fn at(&self) -> Consumed {
        let next = self.next.load(Ordering::Acquire);
        Consumed { topic: self.topic.clone(), partition: self.partition, next }
    }
}

impl Progress {
    pub(crate) fn new<'a>(
        counts: Arc<Counts>,
        processed: impl Iterator<Item = &'a Cursor>,
        delivered: impl Iterator<Item = &'a Cursor>,
    ) -> Self {
        Self {
            processed: processed.map(Mark::of).collect(),
            delivered: delivered.map(Mark::of).collect(),
            healing_wanted: AtomicU64::new(1),
            healing_done: AtomicU64::new(0),
            counts,
            changed: Notify::new(),
        }
    }

    /// Resolves at the next change.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What this process has done, for whoever watches it.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Lets whoever watches see how far a stage is that this process runs now.
    pub(crate) fn show(self: &Arc<Self>, stage: Stage) {
        self.counts.watch(self, stage);
    }

    /// Publishes how far a cursor of the transform is, by its number.
    pub(crate) fn process(&self, cursor: usize, next: Offset) {
        self.processed[cursor].next.store(next, Ordering::Release);
    }

    /// Publishes a commit. Whether healing is due is known before the offsets are.
    ///
    /// `consumed` names the sink's cursors in their order.
    pub(crate) fn deliver(&self, applied: &Applied, consumed: &[Consumed]) {
        self.counts.commit(applied);
        if applied.may_heal {
            self.want_healing();
        }
        self.delivered(consumed);
    }

    /// Publishes how far the sink's cursors are, in the order of [`Progress::deliver`].
    pub(crate) fn delivered(&self, consumed: &[Consumed]) {
        for (delivered, consumed) in self.delivered.iter().zip(consumed) {
            delivered.next.store(consumed.next, Ordering::Release);
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

    /// How far the readers of a stage are; none of the source, which reads no topic.
    pub(crate) fn marks_of(&self, stage: Stage) -> Vec<Consumed> {
        let marks = match stage {
            Stage::Source => return Vec::new(),
            Stage::Transform => &self.processed,
            Stage::Sink => &self.delivered,
        };
        marks.iter().map(Mark::at).collect()
    }

    /// How far transform and sink are, in the order of the stream.
    pub(crate) fn marks(&self) -> Vec<Consumed> {
        self.processed.iter().chain(&self.delivered).map(Mark::at).collect()
    }
}

/// Whether every line on the topics has passed these readers, which stand in the order of the stream. Asked by
/// the stage that feeds the raw topics, so that its own lines stand still meanwhile. Where others feed them too it says
/// so only when they pause.
pub(crate) async fn is_drained(topics: &impl Topics, readers: &[Consumed]) -> Result<bool, Error> {
    for Consumed { topic, partition, next } in readers {
        if *next < topics.end(topic, *partition).await.map_err(topics_error)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// About how many bytes stand on the topics that these readers have not taken.
pub(crate) async fn lag_bytes(topics: &impl Topics, readers: &[Consumed]) -> Result<u64, Error> {
    let mut lag = 0;
    for Consumed { topic, partition, next } in readers {
        lag += topics.bytes_after(topic, *partition, *next).await.map_err(topics_error)?;
    }
    Ok(lag)
}
