//! The third stage: delivers accepted records and dead letters to the sink, one transaction a batch.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::contract::{CommitReport, ConsumerOffset, Delivery, Error, Sink};
use tidegate_core::dead_letter::Stage;
use tidegate_core::failpoint::Failpoint;
use tidegate_topics::Topics;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::partition::{any_readable, read, topics_error};
use crate::progress::Progress;
use crate::retry::persist;

/// A delivery takes no further batches of rows, or of dead letters, once it has reached these sizes.
const ROWS_BYTES: usize = 4 * 1024 * 1024;
const LETTERS_BYTES: usize = 2 * 1024 * 1024;
/// How often healing is tried at the latest: another application may have written the references that lines wait
/// for.
pub const HEAL_EVERY: Duration = Duration::from_secs(30);
/// While there is work, healing and upkeep take at most one part in `UPKEEP_SHARE` of the stage's time.
const UPKEEP_SHARE: u32 = 10;
const UPKEEP_PAUSE_MIN: Duration = Duration::from_secs(1);

pub(crate) struct Deliver<T, S> {
    pub(crate) topics: Arc<T>,
    pub(crate) sink: Arc<S>,
    /// One cursor for each dataset and owned partition, ordered by dataset, then partition.
    pub(crate) accepted: Vec<ConsumerOffset>,
    /// One cursor for each owned partition.
    pub(crate) dead_letters: Vec<ConsumerOffset>,
    pub(crate) progress: Arc<Progress>,
    /// Whether other processes run the stages before this one.
    pub(crate) is_alone: bool,
    pub(crate) stop: CancellationToken,
}

impl<T: Topics, S: Sink> Deliver<T, S> {
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let _stop_others = self.stop.clone().drop_guard();
        let mut upkeep = Upkeep { took: Duration::ZERO, ended: None };
        let mut next = self.gather().await?;
        while !self.stop.is_cancelled() {
            let idle = next.is_none();
            if let Some(delivery) = next.take() {
                // The next delivery is read while this one is committed.
                let applying = tokio::spawn(apply(
                    self.sink.clone(),
                    delivery.batch,
                    self.progress.clone(),
                    self.stop.clone(),
                ));
                tokio::task::yield_now().await; // so that `apply` starts before `gather`
                next = self.gather().await?;
                let applied = applying.await.map_err(|error| {
                    Error::halt(format!("writing to Postgres ended unexpectedly: {error}"))
                })?;
                let Some(applied) = applied? else { break };
                self.look_for_stopped()?;
                self.committed(&applied, &delivery.consumed).await?;
                self.progress.counts().batch(Stage::Sink, delivery.begun.elapsed());
            }
            if next.is_none() {
                next = self.gather().await?;
            }
            let idle = idle && next.is_none();
            if idle {
                self.progress.delivered(&self.consumed()); // a read may have skipped a gap
            }
            if upkeep.is_due(idle, self.progress.heal_pending()) {
                let begun = Instant::now();
                self.heal_and_tidy().await?;
                upkeep = Upkeep { took: begun.elapsed(), ended: Some(Instant::now()) };
            } else if idle {
                tokio::select! {
                    biased;
                    () = any_readable(&*self.topics, self.cursors()) => {}
                    () = tokio::time::sleep(HEAL_EVERY) => self.progress.want_healing(),
                    () = self.stop.cancelled() => {}
                }
            }
        }
        Ok(())
    }

    /// The next delivery, parents first, up to the size limits. `None` if there is nothing to deliver.
    async fn gather(&mut self) -> Result<Option<NextDelivery<S::Batch>>, Error> {
        let begun = Instant::now();
        let mut delivery = Delivery::default();
        let mut room = ROWS_BYTES;
        let partitions = self.dead_letters.len();
        for (i, cursor) in self.accepted.iter_mut().enumerate() {
            while room > 0 {
                let Some(batch) = read(cursor, &*self.topics, &self.stop).await? else { break };
                room = room.saturating_sub(batch.as_bytes().len());
                delivery.rows.push((i / partitions, batch));
            }
        }
        let mut room = LETTERS_BYTES;
        for cursor in &mut self.dead_letters {
            while room > 0 {
                let Some(batch) = read(cursor, &*self.topics, &self.stop).await? else { break };
                room = room.saturating_sub(batch.as_bytes().len());
                delivery.dead_letters.push(batch);
            }
        }
        if delivery.rows.is_empty() && delivery.dead_letters.is_empty() {
            return Ok(None);
        }
        delivery.consumed = self.consumed();
        let batch = self.sink.read(&delivery);
        Ok(Some(NextDelivery { batch, consumed: delivery.consumed, begun }))
    }

    fn cursors(&self) -> impl Iterator<Item = &ConsumerOffset> {
        self.accepted.iter().chain(&self.dead_letters)
    }

    fn consumed(&self) -> Vec<ConsumerOffset> {
        self.cursors().cloned().collect()
    }

    /// Publishes a commit, and lets the topics drop the records that it consumed.
    async fn committed(&self, applied: &CommitReport, consumed: &[ConsumerOffset]) -> Result<(), Error> {
        self.progress.deliver(applied, consumed);
        Failpoint::CommitPublished.pass()?;
        for ConsumerOffset { topic, partition, next } in consumed {
            self.topics.trim(topic, *partition, *next).await.map_err(topics_error)?;
        }
        Ok(())
    }

    /// Publishes which datasets have stopped. This must precede publishing the offsets: the source must not
    /// read again the lines of these datasets that the ledger lacks.
    fn look_for_stopped(&self) -> Result<(), Error> {
        let stopped = self.sink.stopped();
        match stopped.values().next() {
            // The source runs in another process, and would give these lines out again for ever.
            Some(message) if self.is_alone => Err(Error::halt(message.clone())),
            _ => {
                self.progress.counts().stop(stopped);
                Ok(())
            }
        }
    }

    async fn heal_and_tidy(&self) -> Result<(), Error> {
        // Read before healing: a commit from here on asks for another round.
        let wanted = self.progress.healing_wanted();
        let healed: Option<u64> = persist!("healing", &self.stop, self.sink.heal().await)?;
        if healed.is_some() {
            self.progress.healed(wanted);
        }
        self.look_for_stopped()?;
        if let Some(lines) = healed.filter(|lines| *lines > 0) {
            self.progress.counts().heal(lines);
            info!(lines, "waiting lines found their references");
        }
        persist!("upkeep", &self.stop, self.sink.tidy().await)?;
        Ok(())
    }
}

/// A delivery that the sink has read and can apply.
struct NextDelivery<B> {
    batch: B,
    consumed: Vec<ConsumerOffset>,
    /// When the stage began to gather its records.
    begun: Instant,
}

/// Commits a batch, with retries for as long as that takes. `None` if the run was stopped before the commit.
async fn apply<S: Sink>(
    sink: Arc<S>,
    batch: S::Batch,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> Result<Option<CommitReport>, Error> {
    let mut failed = false;
    let applied: Result<Option<CommitReport>, Error> = persist!("writing to Postgres", &stop, {
        let begun = Instant::now();
        let applied = sink.apply(&batch).await;
        match &applied {
            Ok(_) => progress.counts().transaction(begun.elapsed()),
            Err(_) => failed = true,
        }
        applied
    });
    // An attempt that failed may have been committed, if only its answer was lost. The retry then finds
    // duplicates, which heal nothing, so healing is asked for after every failure.
    Ok(applied?.map(|applied| CommitReport { may_heal: applied.may_heal || failed, ..applied }))
}

/// The last round of healing and upkeep: how long it took, and when it ended.
struct Upkeep {
    took: Duration,
    ended: Option<Instant>,
}

impl Upkeep {
    /// Whether the next round is due. If the stage is idle: at once when healing is pending. Otherwise after a
    /// pause that grows with the time that the last round took.
    fn is_due(&self, idle: bool, heal_pending: bool) -> bool {
        let Some(ended) = self.ended else { return true };
        let pause = (self.took * UPKEEP_SHARE).clamp(UPKEEP_PAUSE_MIN, HEAL_EVERY);
        if idle { heal_pending } else { ended.elapsed() > pause }
    }
}
