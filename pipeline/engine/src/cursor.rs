//! A reader of one partition of a topic.

use futures_util::future::select_all;
use tidegate_core::contract::{Consumed, Error};
use tidegate_core::record::Batch;
use tidegate_topics::{ErrorKind, Offset, Topics};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::patience::persist;

/// Where a reader stands on a partition of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) next: Offset,
}

impl Cursor {
    /// The next batch, or `None` at the end of the partition.
    ///
    /// What is damaged or gone is passed over, with a warning that names the gap: its lines are missing in
    /// the ledger, so their source gives them out again. So it is where a topic has lost its end: who stays
    /// behind it would miss what comes under the same offsets.
    pub(crate) async fn read(&mut self, topics: &impl Topics) -> Result<Option<Batch>, Error> {
        loop {
            match topics.read(&self.topic, self.partition, self.next).await {
                Ok(None) => return Ok(None),
                Ok(Some(fetched)) => {
                    self.next = fetched.next;
                    if !fetched.batch.is_empty() {
                        return Ok(Some(fetched.batch));
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::Corrupt { resume_at: next }
                    | ErrorKind::BehindStart { start: next }
                    | ErrorKind::BeyondEnd { end: next } => {
                        let Self { topic, partition, next: from } = &*self;
                        warn!(%error, topic, partition, from, to = next, "passed over a gap");
                        self.next = next;
                    }
                    _ => return Err(topics_error(error)),
                },
            }
        }
    }

    pub(crate) fn consumed(&self) -> Consumed {
        Consumed { topic: self.topic.clone(), partition: self.partition, next: self.next }
    }
}

/// The next batch; a topic that cannot be read is waited for. `None` at the end of the partition, and if the run was
/// stopped.
pub(crate) async fn read(
    cursor: &mut Cursor,
    topics: &impl Topics,
    stop: &CancellationToken,
) -> Result<Option<Batch>, Error> {
    Ok(persist!("reading a topic", stop, cursor.read(topics).await)?.flatten())
}

/// Resolves when there is something to read for one of the cursors.
pub(crate) async fn any_readable(topics: &impl Topics, cursors: impl Iterator<Item = &Cursor>) {
    let waits = cursors.map(|cursor| Box::pin(topics.wait(&cursor.topic, cursor.partition, cursor.next)));
    // An error shows again, with what to do, at the read that follows.
    let _ = select_all(waits).await;
}

/// What an error of the topics means to a stage.
pub(crate) fn topics_error(error: tidegate_topics::Error) -> Error {
    Error { retry: error.retryable(), message: error.to_string() }
}
