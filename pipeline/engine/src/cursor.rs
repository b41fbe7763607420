//! A reader of one topic.

use futures_util::future::select_all;
use tidegate_core::contract::{Consumed, Error};
use tidegate_core::record::Batch;
use tidegate_topics::{ErrorKind, Offset, Topics};
use tracing::warn;

use crate::PARTITION;

/// Where a reader stands on a topic.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    pub(crate) topic: String,
    pub(crate) next: Offset,
}

impl Cursor {
    pub(crate) fn new(topic: String, next: Offset) -> Self {
        Self { topic, next }
    }

    /// The next batch, or `None` at the end of the topic.
    ///
    /// What is damaged or gone is passed over, with a warning that names the gap: its lines are missing in
    /// the ledger, so their source gives them out again.
    pub(crate) async fn read(&mut self, topics: &impl Topics) -> Result<Option<Batch>, Error> {
        loop {
            match topics.read(&self.topic, PARTITION, self.next).await {
                Ok(None) => return Ok(None),
                Ok(Some(fetched)) => {
                    self.next = fetched.next;
                    if !fetched.batch.is_empty() {
                        return Ok(Some(fetched.batch));
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::Corrupt { resume_at: next } | ErrorKind::BehindStart { start: next } => {
                        warn!(%error, topic = self.topic, from = self.next, to = next, "passed over a gap");
                        self.next = next;
                    }
                    _ => return Err(topics_error(error)),
                },
            }
        }
    }

    pub(crate) fn consumed(&self) -> Consumed {
        Consumed { topic: self.topic.clone(), partition: PARTITION, next: self.next }
    }
}

/// Resolves when there is something to read for one of the cursors.
pub(crate) async fn any_readable(topics: &impl Topics, cursors: impl Iterator<Item = &Cursor>) {
    let waits = cursors.map(|cursor| Box::pin(topics.wait(&cursor.topic, PARTITION, cursor.next)));
    // An error shows again, with what to do, at the read that follows.
    let _ = select_all(waits).await;
}

/// What an error of the topics means to a stage.
pub(crate) fn topics_error(error: tidegate_topics::Error) -> Error {
    Error { retry: error.retryable(), message: error.to_string() }
}
