//! What the engine requires of everything outside. Connectors implement these contracts, and the engine knows nothing
//! else of them.

use std::collections::BTreeMap;
use std::future::Future;

use crate::dead_letter::{Code, Reason};
use crate::ledger::Effects;
use crate::record::Batch;

/// An error of something outside, and whether to retry.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Whether the same call may succeed later, as when a server is down, a disk is full or a serialization fails.
    pub retry: bool,
    /// What happened and what to do, with its causes.
    pub message: String,
}

impl Error {
    /// An error that may pass: the call is retried.
    pub fn retry(message: impl Into<String>) -> Self {
        Self { retry: true, message: message.into() }
    }

    /// A permanent error: the call is not retried.
    pub fn halt(message: impl Into<String>) -> Self {
        Self { retry: false, message: message.into() }
    }
}

/// Lines that entered, on their way to the topics.
#[derive(Debug, Default)]
pub struct SourceBatch {
    /// The index of the dataset that the lines are meant for.
    pub dataset: usize,
    /// For its raw topic.
    pub records: Batch,
    /// For `dead-letters`: lines that are too long or not text.
    pub dead_letters: Batch,
}

/// The answer of a [`Source`] to a poll.
#[derive(Debug)]
pub enum PollAnswer {
    /// Lines. The engine polls again only after it has appended them to the topics.
    SourceBatch(SourceBatch),
    /// No lines now, but lines are still in flight, or a file is not ready.
    Waiting,
    /// No lines, and every line that ever entered is accounted for.
    Idle,
}

/// Gives out the lines of its inputs, each with its position, each at least once.
pub trait Source: Send {
    /// The next lines, or why there are none.
    ///
    /// `drained` says that every line given out so far has passed the sink. A line that the ledger lacks is then on
    /// no topic any more, and the source gives it out again.
    fn poll(&mut self, drained: bool) -> impl Future<Output = Result<PollAnswer, Error>> + Send;

    /// Stops a dataset that the sink cannot write: the source gives out no more of its lines and waits for none of
    /// them. The lines keep their state until the next run.
    fn stop(&mut self, dataset: usize);

    /// Resolves when something has come since the last poll. A source that cannot tell is polled at intervals
    /// instead.
    fn ready(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// How far a reader has read: its next offset on a partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset to read next.
    pub next: u64,
}

/// The name under which the transform stores its offsets.
pub const TRANSFORM_READER: &str = "transform";

/// The name under which a sink stores its offsets, in the transaction that commits its batch.
pub const SINK_READER: &str = "sink";

/// The store of the readers' offsets.
pub trait Offsets: Send + Sync + 'static {
    /// The offsets of `reader`, one for each partition that it has read from.
    fn offsets(&self, reader: &str) -> impl Future<Output = Result<Vec<ConsumerOffset>, Error>> + Send;

    /// Stores the offsets of `reader`.
    fn store(
        &self,
        reader: &str,
        consumed: &[ConsumerOffset],
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Records for the sink, and the offsets of its readers after these records. [`Sink`] says how a delivery is
/// committed.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Accepted records, by the index of their dataset.
    pub rows: Vec<(usize, Batch)>,
    /// Dead letters.
    pub dead_letters: Vec<Batch>,
    /// The offsets, stored with the delivery's last commit.
    pub consumed: Vec<ConsumerOffset>,
}

/// How many lines of a dataset got which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines accepted.
    pub accepted: u64,
    /// The effects of the accepted lines on their table: each line has one.
    pub effects: Effects,
    /// Lines rejected.
    pub rejected: u64,
    /// Lines that wait for a reference.
    pub waiting: u64,
    /// Lines that the ledger held already.
    pub duplicates: u64,
}

/// What a commit changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitReport {
    /// The tallies, by dataset.
    pub tallies: Vec<Tally>,
    /// How many dead letters were written newly, by dataset and reason. A dead letter with two reasons counts for
    /// both.
    pub reasons: BTreeMap<(usize, Code), u64>,
    /// Whether waiting lines may now find their references.
    pub may_heal: bool,
}

impl Tally {
    fn add(&mut self, more: Self) {
        let Self { accepted, effects, rejected, waiting, duplicates } = more;
        self.accepted += accepted;
        self.effects += effects;
        self.rejected += rejected;
        self.waiting += waiting;
        self.duplicates += duplicates;
    }
}

impl CommitReport {
    /// Counts the reasons of a dead letter that was written newly.
    pub fn count(&mut self, dataset: usize, reasons: &[Reason]) {
        for reason in reasons {
            *self.reasons.entry((dataset, reason.code)).or_default() += 1;
        }
    }

    /// Adds the changes of another commit of the same delivery.
    pub fn add(&mut self, more: Self) {
        let Self { tallies, reasons, may_heal } = more;
        self.tallies.resize(self.tallies.len().max(tallies.len()), Tally::default());
        self.tallies.iter_mut().zip(tallies).for_each(|(tally, more)| tally.add(more));
        reasons.into_iter().for_each(|(reason, lines)| *self.reasons.entry(reason).or_default() += lines);
        self.may_heal |= may_heal;
    }
}

/// Applies deliveries. The outcome is the same however often and in whatever order lines are delivered. A delivery is
/// committed in one transaction or in parts. Each line is in one part, and the readers' offsets are committed with
/// the last part.
pub trait Sink: Send + Sync + 'static {
    /// A delivery in the form that the sink works on.
    type Batch: Send + Sync + 'static;

    /// Does the part of the work that needs no database, while the database is busy with the delivery before.
    fn read(&self, delivery: &Delivery) -> Self::Batch;

    /// Applies a delivery: in one transaction, or in several if one would take longer than the database allows.
    fn apply(&self, batch: &Self::Batch) -> impl Future<Output = Result<CommitReport, Error>> + Send;

    /// Accepts waiting lines whose references exist now. Returns how many left the waiting set.
    fn heal(&self) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Does upkeep that no line waits for, such as folding the changes of views.
    fn tidy(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// The datasets that the sink has stopped writing, each with what happened and what to do. Their lines stay in
    /// flight, and the lines of other datasets go on.
    fn stopped(&self) -> BTreeMap<usize, String> {
        BTreeMap::new()
    }

    /// Passes the keys of a dataset's rows, as text, to `learn`, at most `limit` of them. Returns `false` if there
    /// are more.
    fn keys(
        &self,
        dataset: usize,
        limit: usize,
        learn: impl FnMut(&[u8]) + Send,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
}
