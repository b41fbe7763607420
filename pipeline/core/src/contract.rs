//! What the engine asks of the world outside. Connectors keep these contracts; the engine knows no more.

use std::collections::BTreeMap;
use std::future::Future;

use crate::dead_letter::{Code, Reason};
use crate::ledger::Effects;
use crate::record::Batch;

/// Why something outside did not work, and whether it is worth trying again.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Whether the same call may work later: a server that is down, a full disk, a serialization failure.
    pub retry: bool,
    /// What happened and what to do, with its causes.
    pub message: String,
}

impl Applied {
    /// Counts a dead letter of a dataset that was written newly.
    pub fn count(&mut self, dataset: usize, reasons: &[Reason]) {
        for reason in reasons {
            *self.reasons.entry((dataset, reason.code)).or_default() += 1;
        }
    }
}

impl Error {
    /// An error that may pass.
    pub fn retry(message: impl Into<String>) -> Self {
        Self { retry: true, message: message.into() }
    }

    /// An error that no retry heals.
    pub fn halt(message: impl Into<String>) -> Self {
        Self { retry: false, message: message.into() }
    }
}

/// Lines that entered, on their way to the topics.
#[derive(Debug, Default)]
pub struct Intake {
    /// The index of the dataset they are meant for.
    pub dataset: usize,
    /// For its raw topic.
    pub records: Batch,
    /// For `dead-letters`: what is too long or no text.
    pub dead_letters: Batch,
}

/// What a [`Source`] has now.
#[derive(Debug)]
pub enum Polled {
    /// Lines. The engine keeps them until the topics have them, and asks again only then.
    Intake(Intake),
    /// Nothing now, but lines that are still in flight, or a file that is not ready.
    Waiting,
    /// Nothing at all: every line that ever entered is accounted for.
    Idle,
}

/// Gives out the lines of its inputs, each with its position, each at least once.
pub trait Source: Send {
    /// The next lines, or why there are none.
    ///
    /// `drained` tells that every line given out so far has passed the sink. What the ledger lacks then
    /// is on no topic any more, and the source gives it out again.
    fn poll(&mut self, drained: bool) -> impl Future<Output = Result<Polled, Error>> + Send;

    /// Gives out no more lines of a dataset, and waits for none of them: the sink can write none. They stay what they
    /// are until the next run.
    fn stop(&mut self, dataset: usize);

    /// Resolves when something has come since the last poll. A source that does not know is asked now and then
    /// all the same.
    fn ready(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// How far a reader has read: its next offset on a partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset to read next.
    pub next: u64,
}

/// The name under which a sink keeps its offsets, in the transaction of what it commits.
pub const SINK_READER: &str = "sink";

/// Where the readers' offsets are kept.
pub trait Offsets: Send + Sync + 'static {
    /// How far `reader` has read on each partition that it has read from.
    fn offsets(&self, reader: &str) -> impl Future<Output = Result<Vec<Consumed>, Error>> + Send;

    /// Notes how far `reader` has read.
    fn store(&self, reader: &str, consumed: &[Consumed]) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Records for the sink, with how far its readers are behind them. Applied whole or not at all.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Accepted records, by the index of their dataset.
    pub rows: Vec<(usize, Batch)>,
    /// Dead letters.
    pub dead_letters: Vec<Batch>,
    /// Noted in the same transaction.
    pub consumed: Vec<Consumed>,
}

/// How many lines of a dataset had which fate, newly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines accepted.
    pub accepted: u64,
    /// What these did to their table: each of them one thing.
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
pub struct Applied {
    /// By dataset.
    pub tallies: Vec<Tally>,
    /// How many dead letters were written newly, by dataset and reason. One with two reasons counts for both.
    pub reasons: BTreeMap<(usize, Code), u64>,
    /// Whether waiting lines may have found their references by it.
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

impl Applied {
    /// Adds what another commit of the same delivery changed.
    pub fn add(&mut self, more: Self) {
        let Self { tallies, reasons, may_heal } = more;
        self.tallies.resize(self.tallies.len().max(tallies.len()), Tally::default());
        self.tallies.iter_mut().zip(tallies).for_each(|(tally, more)| tally.add(more));
        reasons.into_iter().for_each(|(reason, lines)| *self.reasons.entry(reason).or_default() += lines);
        self.may_heal |= may_heal;
    }
}

/// Applies deliveries. However often and in whatever order the same lines are delivered, the outcome is
/// the same. A delivery is committed at once, or in parts of which each line is in one; how far readers are is
/// committed with the last.
pub trait Sink: Send + Sync + 'static {
    /// A delivery as the sink works on it.
    type Batch: Send + Sync + 'static;

    /// Does with a delivery what needs no database, while the database is busy with the one before.
    fn read(&self, delivery: &Delivery) -> Self::Batch;

    /// Applies a delivery: in one transaction, or in several where that takes longer than the database allows.
    fn apply(&self, batch: &Self::Batch) -> impl Future<Output = Result<Applied, Error>> + Send;

    /// Accepts waiting lines whose references exist now. Gives how many left the waiting set.
    fn heal(&self) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Upkeep that no line waits for, such as folding the changes of views.
    fn tidy(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// The datasets that get no row into their tables, each with what happened and what to do. Their lines stay in
    /// flight, and those of others go on.
    fn stopped(&self) -> BTreeMap<usize, String> {
        BTreeMap::new()
    }

    /// Gives the keys of a dataset's rows, as text, to `learn`, up to `limit` of them.
    /// `false` if there are more.
    fn keys(
        &self,
        dataset: usize,
        limit: usize,
        learn: impl FnMut(&[u8]) + Send,
    ) -> impl Future<Output = Result<bool, Error>> + Send;
}
