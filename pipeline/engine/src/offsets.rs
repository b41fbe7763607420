//! The offsets that the stages of this process have published.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_core::contract::{ConsumerOffset, Error};
use tidegate_core::dead_letter::Stage;
use tidegate_topics::{Offset, Topics};

use crate::partition::topics_error;

/// The offsets of the readers of this process. The transform publishes an offset after its outputs are on their topics,
/// the sink after its commit.
#[derive(Debug)]
pub(crate) struct PublishedOffsets {
    transform: Mutex<Vec<ConsumerOffset>>,
    sink: Mutex<Vec<ConsumerOffset>>,
}

impl PublishedOffsets {
    pub(crate) fn new(transform: Vec<ConsumerOffset>, sink: Vec<ConsumerOffset>) -> Self {
        Self { transform: Mutex::new(transform), sink: Mutex::new(sink) }
    }

    /// Publishes the position of one of the transform's cursors, given by its index.
    pub(crate) fn process(&self, cursor: usize, next: Offset) {
        locked(&self.transform)[cursor].next = next;
    }

    /// Publishes the sink's cursors, all in their order.
    pub(crate) fn deliver(&self, consumed: &[ConsumerOffset]) {
        locked(&self.sink).clone_from_slice(consumed);
    }

    /// The offsets of a stage's readers. Empty for the source, which reads no topic.
    pub(crate) fn of(&self, stage: Stage) -> Vec<ConsumerOffset> {
        match stage {
            Stage::Source => Vec::new(),
            Stage::Transform => locked(&self.transform).clone(),
            Stage::Sink => locked(&self.sink).clone(),
        }
    }
}

/// Whether `readers`, given in the order of the stream, stand at the ends of their topics. The stage that feeds
/// the raw topics calls this, so its own lines do not move meanwhile. Where other processes feed the raw topics
/// too, the answer is `true` only when they pause.
pub(crate) async fn is_drained(topics: &impl Topics, readers: &[ConsumerOffset]) -> Result<bool, Error> {
    for ConsumerOffset { topic, partition, next } in readers {
        if *next < topics.end(topic, *partition).await.map_err(topics_error)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// About how many bytes on the topics these readers have not read.
pub(crate) async fn lag_bytes(topics: &impl Topics, readers: &[ConsumerOffset]) -> Result<u64, Error> {
    let mut lag = 0;
    for ConsumerOffset { topic, partition, next } in readers {
        lag += topics.bytes_after(topic, *partition, *next).await.map_err(topics_error)?;
    }
    Ok(lag)
}

/// Locks numbers. A half-finished addition by a stage that panicked does no harm.
pub(crate) fn locked<T>(numbers: &Mutex<T>) -> MutexGuard<'_, T> {
    numbers.lock().unwrap_or_else(PoisonError::into_inner)
}
