//! How far the stages of this process have come, shared between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_core::contract::{CommitReport, ConsumerOffset};
use tidegate_core::dead_letter::Stage;
use tidegate_topics::Offset;
use tokio::sync::Notify;

use crate::counts::Counts;
use crate::offsets::PublishedOffsets;

/// How far the stages have come.
#[derive(Debug)]
pub(crate) struct Progress {
    offsets: Arc<PublishedOffsets>,
    /// How many rounds of healing were asked for, and up to which of them a finished round has answered.
    healing_wanted: AtomicU64,
    healing_done: AtomicU64,
    counts: Arc<Counts>,
    changed: Notify,
}

impl Progress {
    pub(crate) fn new(
        counts: Arc<Counts>,
        processed: Vec<ConsumerOffset>,
        delivered: Vec<ConsumerOffset>,
    ) -> Self {
        Self {
            offsets: Arc::new(PublishedOffsets::new(processed, delivered)),
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

    /// The counts of this process, for metrics and status.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Registers a stage that this process runs now, so that its progress is visible in the counts.
    pub(crate) fn show(&self, stage: Stage) {
        self.counts.watch(&self.offsets, stage);
    }

    /// Publishes the position of one of the transform's cursors, given by its index.
    pub(crate) fn process(&self, cursor: usize, next: Offset) {
        self.offsets.process(cursor, next);
    }

    /// Publishes a commit. Healing is asked for before the offsets are published, so that a reader of both
    /// misses no round.
    ///
    /// `consumed` holds the sink's cursors in their order.
    pub(crate) fn deliver(&self, applied: &CommitReport, consumed: &[ConsumerOffset]) {
        self.counts.commit(applied);
        if applied.may_heal {
            self.want_healing();
        }
        self.delivered(consumed);
    }

    /// Publishes the sink's cursors, in the order of [`Progress::deliver`].
    pub(crate) fn delivered(&self, consumed: &[ConsumerOffset]) {
        self.offsets.deliver(consumed);
        self.changed.notify_waiters();
    }

    /// Whether a round of healing was asked for and has not been finished.
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

    /// Notes that a round of healing has finished. It answers every request up to `wanted`.
    pub(crate) fn healed(&self, wanted: u64) {
        self.healing_done.store(wanted, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// The offsets of the transform's and the sink's readers, in the order of the stream.
    pub(crate) fn readers(&self) -> Vec<ConsumerOffset> {
        [Stage::Transform, Stage::Sink].map(|stage| self.offsets.of(stage)).concat()
    }
}
