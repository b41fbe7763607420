//! The contract of topics, whatever their implementation.

use std::future::Future;

use tidegate_core::record::Batch;

use crate::error::{ErrorKind, TopicError};
use crate::place::Offset;

/// The largest batch that can be appended: 256 MiB.
pub const MAX_BATCH_BYTES: usize = 256 << 20;

/// The longest name of a topic, in characters.
pub const MAX_NAME_LEN: usize = 63;

/// What a successful append guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The batch survives the end of this process, but perhaps not a power failure.
    Buffered,
    /// The batch, and every batch that this process appended to the partition before it, is on disk.
    Synced,
}

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchResult {
    /// The records. Empty only if offsets were left out and no record follows them yet.
    pub batch: Batch,
    /// The offset of the first record. It is the offset that was read, or a later one if offsets were left out.
    pub base: Offset,
    /// The offset to read next.
    pub next: Offset,
}

/// Topics of any implementation.
///
/// # Contract
///
/// - **Order.** The batches of a partition are read in the order in which their appends returned. The records of a
///   batch are consecutive, with no other records between them.
/// - **Failed appends.** A failed append may have been applied in full, in part (a prefix), or not at all. A retry is
///   appended after it. The same holds for an append whose future is dropped.
/// - **At least once.** A topic may hold a batch twice, if its writer got an error although the append succeeded.
/// - **Readers are free.** Any number of readers may read, each from any offset. Reading does not change the log.
/// - **Errors name their place.** A reader whose offset is gone gets [`ErrorKind::BehindStart`] or
///   [`ErrorKind::Corrupt`], with the offset at which it may continue. Nothing is skipped silently, except the
///   offsets that [`Topics::create`] was told to leave out.
///
/// All methods but `list` and `create` fail with [`ErrorKind::UnknownTopic`] if the partition was not created. All
/// methods may fail with [`ErrorKind::Io`].
pub trait Topics: Send + Sync + 'static {
    /// Creates the partition, and the topic, if missing. Returns the offset at which a reader whose next offset is
    /// `next` must continue. It is `next`, or the start if the records before the start are gone, or the end if the
    /// log ends before `next`.
    ///
    /// A log ends before `next` if it is new, or has lost its unsynced tail in a power failure. Where the backend
    /// can, it leaves out the offsets between, so that no offset is given out twice. Readers at a left-out offset
    /// then continue after the gap. Where the backend cannot, a reader must continue at the returned offset, or it
    /// misses records.
    ///
    /// Fails with [`ErrorKind::InvalidName`] unless the name is 1 to [`MAX_NAME_LEN`] of `a-z`, `0-9` and `-`, with
    /// no `-` at either end; and with [`ErrorKind::Full`].
    fn create(
        &self,
        topic: &str,
        partition: u32,
        next: Offset,
    ) -> impl Future<Output = Result<Offset, TopicError>> + Send;

    /// The names of the topics, in alphabetical order.
    fn list(&self) -> impl Future<Output = Result<Vec<String>, TopicError>> + Send;

    /// Appends the batch and returns the offset of its first record. An empty batch changes nothing and returns the
    /// end.
    ///
    /// Fails with [`ErrorKind::Full`], or [`ErrorKind::TooLarge`] beyond [`MAX_BATCH_BYTES`].
    fn append(
        &self,
        topic: &str,
        partition: u32,
        batch: &Batch,
        durability: Durability,
    ) -> impl Future<Output = Result<Offset, TopicError>> + Send;

    /// The records from `from` to the end of the stored batch that holds it. `None` at the end.
    ///
    /// If the offset was left out (see [`Topics::create`]), the next batch. If there is none yet, an empty batch
    /// whose `next` is the end.
    ///
    /// Fails with [`ErrorKind::BehindStart`], [`ErrorKind::BeyondEnd`] or [`ErrorKind::Corrupt`].
    fn read(
        &self,
        topic: &str,
        partition: u32,
        from: Offset,
    ) -> impl Future<Output = Result<Option<FetchResult>, TopicError>> + Send;

    /// Waits until the end is larger than `beyond`, and returns the end. The future may be dropped at any time.
    ///
    /// If the log has lost records and ends before `beyond`, this may return that end at once. A read then returns
    /// the error.
    fn wait(
        &self,
        topic: &str,
        partition: u32,
        beyond: Offset,
    ) -> impl Future<Output = Result<Offset, TopicError>> + Send;

    /// The smallest offset that can be read.
    fn start(&self, topic: &str, partition: u32) -> impl Future<Output = Result<Offset, TopicError>> + Send;

    /// The offset that the next record gets.
    fn end(&self, topic: &str, partition: u32) -> impl Future<Output = Result<Offset, TopicError>> + Send;

    /// About how many bytes are stored from `offset` on, for back-pressure: 0 at the end, and more than 0 if a record
    /// follows.
    fn bytes_after(
        &self,
        topic: &str,
        partition: u32,
        offset: Offset,
    ) -> impl Future<Output = Result<u64, TopicError>> + Send;

    /// Permits the log to drop records before the offset `before`. How many it drops, and when, is not specified.
    /// Records from `before` on stay.
    fn trim(
        &self,
        topic: &str,
        partition: u32,
        before: Offset,
    ) -> impl Future<Output = Result<(), TopicError>> + Send;
}

/// Refuses a topic name that Fluvio would refuse.
pub fn check_name(topic: &str) -> Result<(), TopicError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let valid = !topic.is_empty()
        && topic.len() <= MAX_NAME_LEN
        && topic.chars().all(allowed)
        && !topic.starts_with('-')
        && !topic.ends_with('-');
    if valid {
        return Ok(());
    }
    let message = format!(
        "'{}' cannot be the name of a topic; use 1 to {MAX_NAME_LEN} of a-z, 0-9 and -, with no - at \
         either end",
        topic.escape_debug()
    );
    Err(TopicError::new(ErrorKind::InvalidName, message))
}

/// Refuses a batch that is larger than any topic takes.
pub(crate) fn check_size(topic: &str, batch: &Batch) -> Result<(), TopicError> {
    if batch.as_bytes().len() <= MAX_BATCH_BYTES {
        return Ok(());
    }
    let message = format!("topic '{topic}': the batch is larger than {MAX_BATCH_BYTES} bytes");
    Err(TopicError::new(ErrorKind::TooLarge, message))
}
