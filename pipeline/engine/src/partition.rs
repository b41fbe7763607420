//! One partition of a topic, as the stages use it: a cursor that reads on, and appends.

use futures_util::future::select_all;
use tidegate_core::contract::{ConsumerOffset, Error};
use tidegate_core::record::Batch;
use tidegate_topics::{Durability, ErrorKind, FetchResult, Topics};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::retry::persist;

/// Reads the next batch that is not empty, and moves the cursor behind it. `None` at the end of the partition.
///
/// Records that are damaged or gone are skipped, with a warning that names the gap. The ledger lacks their
/// lines, so their source gives them out again. If a topic has lost its end, the cursor goes back to the
/// new end: beyond it, the cursor would miss the records that get the same offsets later.
pub async fn read_on(
    cursor: &mut ConsumerOffset,
    topics: &impl Topics,
) -> Result<Option<FetchResult>, Error> {
    loop {
        match topics.read(&cursor.topic, cursor.partition, cursor.next).await {
            Ok(None) => return Ok(None),
            Ok(Some(fetched)) => {
                cursor.next = fetched.next;
                if !fetched.batch.is_empty() {
                    return Ok(Some(fetched));
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::Corrupt { resume_at: next }
                | ErrorKind::BehindStart { start: next }
                | ErrorKind::BeyondEnd { end: next } => {
                    let ConsumerOffset { topic, partition, next: from } = &*cursor;
                    warn!(%error, topic, partition, from, to = next, "passed over a gap");
                    cursor.next = next;
                }
                _ => return Err(topics_error(error)),
            },
        }
    }
}

/// The next batch. If the topic cannot be read, the read is retried. `None` at the end of the partition, or if
/// the run was stopped.
pub(crate) async fn read(
    cursor: &mut ConsumerOffset,
    topics: &impl Topics,
    stop: &CancellationToken,
) -> Result<Option<Batch>, Error> {
    let fetched = persist!("reading a topic", stop, read_on(cursor, topics).await)?;
    Ok(fetched.flatten().map(|fetched| fetched.batch))
}

/// Resolves when one of the cursors has something to read.
pub(crate) async fn any_readable(topics: &impl Topics, cursors: impl Iterator<Item = &ConsumerOffset>) {
    let waits = cursors.map(|cursor| Box::pin(topics.wait(&cursor.topic, cursor.partition, cursor.next)));
    // The read that follows meets the same error, and handles it.
    let _ = select_all(waits).await;
}

/// Turns an error of the topics into one of the stage.
pub(crate) fn topics_error(error: tidegate_topics::TopicError) -> Error {
    Error { retry: error.retryable(), message: error.to_string() }
}

/// Appends a batch unless it is empty. If the topic is full, the append is retried. Returns `false` if the run
/// was stopped before the append succeeded.
pub(crate) async fn append(
    topics: &impl Topics,
    topic: &str,
    partition: u32,
    batch: &Batch,
    stop: &CancellationToken,
) -> Result<bool, Error> {
    if batch.is_empty() {
        return Ok(true);
    }
    let appended: Result<_, Error> = persist!(
        "appending to a topic",
        stop,
        topics.append(topic, partition, batch, Durability::Buffered).await.map_err(topics_error)
    );
    Ok(appended?.is_some())
}
