//! Topics: ordered, durable logs of records, which the stages of a pipeline read and write.
//!
//! ```text
//!   source ──append──▶ raw-<dataset> ──read──▶ transform ──append──▶ accepted-<dataset> ──read──▶ sink
//! ```
//!
//! A topic has partitions, and a partition is a log: every record gets the next [`Offset`]. Records move
//! in [`Batch`]es. A reader asks for the batch at its offset and goes on at [`Fetched::next`]; at the end it
//! [`wait`](Topics::wait)s. The log knows nothing of its readers: where each of them stands is stored in
//! Postgres, in the transaction that applies what it read, and handed back to [`Topics::create`] at the next
//! start.
//!
//! There is **one semantics: at-least-once, ordered within a partition, durable when acknowledged**. The
//! ledger drops duplicates, so no topic needs more.
//!
//! # Layout
//!
//! - [`Topics`] is the contract that every kind of topic keeps.
//! - [`embedded`] is the default: segment files in a directory, in this process.
//! - [`fluvio`] is a cluster, where the manifest names one.
//! - [`broker`] is whichever of the two the manifest chose.
//! - [`memory`] is for simulations and tests.
//! - [`conformance`] is the suite that every implementation passes.

use std::future::Future;

use tidegate_core::record::Batch;

pub mod conformance;
pub mod embedded;
pub mod fluvio;
mod broker;
pub mod memory;
mod error;

pub use self::fluvio::Fluvio;
pub use broker::Broker;
pub use embedded::Embedded;
pub use error::{Error, ErrorKind};
pub use memory::Memory;

/// The number of a record in its partition, from 0.
///
/// Offsets only grow, but not always by one: where a log has lost records, numbers are left out.
pub type Offset = u64;

/// The largest batch that can be appended: 256 MiB.
pub const MAX_BATCH_BYTES: usize = 256 << 20;

/// The longest name of a topic, in characters.
pub const MAX_NAME_LEN: usize = 63;

/// What an append promises when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The batch survives the end of this process, but perhaps not a power failure.
    Buffered,
    /// The batch, and every batch that this process appended to the partition before it, is on disk.
    Synced,
}

/// What a reader got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The records. Empty only where offsets were left out and nothing follows them yet.
    pub batch: Batch,
    /// The offset of the first record: the one asked for, or a later one where offsets were left out.
    pub base: Offset,
    /// The offset to read next.
    pub next: Offset,
}

/// Topics, of whatever kind.
///
/// # Contract
///
/// - **Order.** The batches of a partition are read in the order in which their appends returned, and
///   the records of a batch follow each other without another's between them.
/// - **In front of it all, or nothing behind.** An append that has failed may have taken effect, as a whole or up
///   to some record; after it the next append may be tried, and what is tried again comes behind. So does an append
///   whose future is dropped.
/// - **At least once.** A topic may hold a batch twice, if its writer was told of an error that was none.
/// - **Readers are free.** Any number of them reads, each from any offset, and none changes the log.
/// - **Errors name their place.** A reader whose offset is gone gets [`ErrorKind::BehindStart`] or
///   [`ErrorKind::Corrupt`], with the offset at which it may go on; nothing is skipped silently but
///   what [`Topics::create`] was told to leave out.
///
/// All methods but `list` and `create` fail with [`ErrorKind::UnknownTopic`] if the partition was not
/// created, and all with [`ErrorKind::Io`].
pub trait Topics: Send + Sync + 'static {
    /// Creates the partition, and the topic, if missing. Gives the offset at which a reader that wants to
    /// read `next` goes on: that, the start where records before it are gone, or the end where the log ends
    /// before it.
    ///
    /// A log ends before `next` if it has lost its unsynced tail in a power failure, or is new. Where it can,
    /// it leaves the offsets between out, so that none is given out twice, and readers that stand in such a gap
    /// go on behind it. Where it cannot, a reader must go on at the offset given, or it misses records.
    ///
    /// Fails with [`ErrorKind::InvalidName`] unless the name is 1 to [`MAX_NAME_LEN`] of `a-z`, `0-9` and
    /// `-`, with no `-` at either end; and with [`ErrorKind::Full`].
    fn create(
        &self,
        topic: &str,
        partition: u32,
        next: Offset,
    ) -> impl Future<Output = Result<Offset, Error>> + Send;

    /// The names of the topics, in alphabetical order.
    fn list(&self) -> impl Future<Output = Result<Vec<String>, Error>> + Send;

    /// Appends the batch and gives the offset of its first record. An empty batch changes nothing and
    /// gives the end.
    ///
    /// Fails with [`ErrorKind::Full`], or [`ErrorKind::TooLarge`] beyond [`MAX_BATCH_BYTES`].
    fn append(
        &self,
        topic: &str,
        partition: u32,
        batch: &Batch,
        durability: Durability,
    ) -> impl Future<Output = Result<Offset, Error>> + Send;

    /// The records from `from` to the end of the stored batch that holds it; `None` at the end.
    ///
    /// If the offset was left out (see [`Topics::create`]), the next batch; and if there is none yet, an
    /// empty one whose `next` is the end.
    ///
    /// Fails with [`ErrorKind::BehindStart`], [`ErrorKind::BeyondEnd`] or [`ErrorKind::Corrupt`].
    fn read(
        &self,
        topic: &str,
        partition: u32,
        from: Offset,
    ) -> impl Future<Output = Result<Option<Fetched>, Error>> + Send;

    /// Waits until the end is larger than `beyond`, and gives the end. It may be dropped at any time.
    ///
    /// Where the log ends before `beyond`, because it has lost records, it may give that end at once; a read tells.
    fn wait(
        &self,
        topic: &str,
        partition: u32,
        beyond: Offset,
    ) -> impl Future<Output = Result<Offset, Error>> + Send;

    /// The smallest offset that may be read.
    fn start(&self, topic: &str, partition: u32) -> impl Future<Output = Result<Offset, Error>> + Send;

    /// The offset that the next record gets.
    fn end(&self, topic: &str, partition: u32) -> impl Future<Output = Result<Offset, Error>> + Send;

    /// About how many bytes are stored at `offset` and beyond: 0 at the end, and more before it wherever
    /// there are records. A measure for back-pressure.
    fn bytes_after(
        &self,
        topic: &str,
        partition: u32,
        offset: Offset,
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Allows to drop what lies before `before`. How much of it is dropped, and when, is open; what is at
    /// `before` and beyond stays.
    fn trim(
        &self,
        topic: &str,
        partition: u32,
        before: Offset,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Refuses a name of a topic that Fluvio would refuse.
pub fn check_name(topic: &str) -> Result<(), Error> {
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
    Err(Error::new(ErrorKind::InvalidName, message))
}
