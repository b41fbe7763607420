//! The third stage: accepted records and dead letters to the sink, a transaction a batch.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::contract::{Applied, Consumed, Delivery, Error, Sink};
use tidegate_core::dead_letter::Stage;
use tidegate_core::failpoint::Failpoint;
use tidegate_topics::Topics;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::cursor::{Cursor, any_readable, read, topics_error};
use crate::patience::persist;
use crate::progress::Progress;

/// A delivery takes in no more batches of rows, and of dead letters, beyond these sizes.
const ROWS_BYTES: usize = 4 * 1024 * 1024;
const LETTERS_BYTES: usize = 2 * 1024 * 1024;
/// Waiting lines may find references that another application wrote: how often that is looked for.
pub const HEAL_EVERY: Duration = Duration::from_secs(30);
/// Healing and upkeep may take at most one part in so many of the stage's time while there is work.
const UPKEEP_SHARE: u32 = 10;
const UPKEEP_PAUSE_MIN: Duration = Duration::from_secs(1);

pub(crate) struct Deliver<T, S> {
    pub(crate) topics: Arc<T>,
    pub(crate) sink: Arc<S>,
    /// By dataset, and of each a cursor for every partition that is ours.
    pub(crate) accepted: Vec<Cursor>,
    /// Of each partition that is ours.
    pub(crate) dead_letters: Vec<Cursor>,
    pub(crate) progress: Arc<Progress>,
    /// Whether other processes run the stages before this one.
    pub(crate) is_alone: bool,
    pub(crate) stop: CancellationToken,
}

impl<T: Topics, S: Sink> Deliver<T, S> {
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let _stop_others = self.stop.clone().drop_guard();
        let mut upkeep = Upkeep::new();
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
                tokio::task::yield_now().await; // or it would wait for this thread
                next = self.gather().await?;
                let Some(applied) = applying.await.map_err(unexpected)?? else { break };
                self.look_for_stopped()?;
                self.committed(&applied, &delivery.consumed).await?;
                self.progress.counts().batch(Stage::Sink, delivery.begun.elapsed());
            }
            if next.is_none() {
                next = self.gather().await?;
            }
            let idle = idle && next.is_none();
            if idle {
                self.progress.delivered(&self.consumed()); // a gap may have been passed over
            }
            if upkeep.is_due(idle, self.progress.heal_pending()) {
                upkeep.begin();
                self.heal_and_tidy().await?;
                upkeep.end();
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

    /// What there is to deliver, parents first, up to a limit; `None` if there is nothing.
    async fn gather(&mut self) -> Result<Option<Prepared<S::Batch>>, Error> {
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
        Ok(Some(Prepared { batch, consumed: delivery.consumed, begun }))
    }

    fn cursors(&self) -> impl Iterator<Item = &Cursor> {
        self.accepted.iter().chain(&self.dead_letters)
    }

    fn consumed(&self) -> Vec<Consumed> {
        self.cursors().map(Cursor::consumed).collect()
    }

    /// Makes a commit known, and lets the topics drop what it has taken.
    async fn committed(&self, applied: &Applied, consumed: &[Consumed]) -> Result<(), Error> {
        self.progress.deliver(applied, consumed);
        Failpoint::CommitPublished.pass()?;
        for Consumed { topic, partition, next } in consumed {
            self.topics.trim(topic, *partition, *next).await.map_err(topics_error)?;
        }
        Ok(())
    }

    /// Makes known which datasets have stopped, before the offsets are: what the ledger lacks of them is not to be read
    /// again.
    fn look_for_stopped(&self) -> Result<(), Error> {
        let stopped = self.sink.stopped();
        match stopped.values().next() {
            // The source is elsewhere, and would give their lines out for ever.
            Some(message) if self.is_alone => Err(Error::halt(message.clone())),
            _ => {
                self.progress.counts().stop(stopped);
                Ok(())
            }
        }
    }

    async fn heal_and_tidy(&self) -> Result<(), Error> {
        // Noted first: what is committed from now on asks for another round.
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

/// A delivery that is ready to be applied.
struct Prepared<B> {
    batch: B,
    consumed: Vec<Consumed>,
    /// When its records were first looked for.
    begun: Instant,
}

/// Commits a batch, however long that takes. `None` if the run was stopped before.
async fn apply<S: Sink>(
    sink: Arc<S>,
    batch: S::Batch,
    progress: Arc<Progress>,
    stop: CancellationToken,
) -> Result<Option<Applied>, Error> {
    let mut failed = false;
    let applied: Result<Option<Applied>, Error> = persist!("writing to Postgres", &stop, {
        let begun = Instant::now();
        let applied = sink.apply(&batch).await;
        match &applied {
            Ok(_) => progress.counts().transaction(begun.elapsed()),
            Err(_) => failed = true,
        }
        applied
    });
    // A try whose answer was lost may have been committed, and the next one finds its lines to be duplicates,
    // which heal nothing.
    Ok(applied?.map(|applied| Applied { may_heal: applied.may_heal || failed, ..applied }))
}

fn unexpected(error: tokio::task::JoinError) -> Error {
    Error::halt(format!("writing to Postgres ended unexpectedly: {error}"))
}

/// When healing and upkeep are due.
struct Upkeep {
    begun: Instant,
    took: Duration,
    ended: Option<Instant>,
}

impl Upkeep {
    fn new() -> Self {
        Self { begun: Instant::now(), took: Duration::ZERO, ended: None }
    }

    /// At once where nothing else is to do and healing is pending; else now and then.
    fn is_due(&self, idle: bool, heal_pending: bool) -> bool {
        let Some(ended) = self.ended else { return true };
        let pause = (self.took * UPKEEP_SHARE).clamp(UPKEEP_PAUSE_MIN, HEAL_EVERY);
        if idle { heal_pending } else { ended.elapsed() > pause }
    }

    fn begin(&mut self) {
        self.begun = Instant::now();
    }

    fn end(&mut self) {
        self.took = self.begun.elapsed();
        self.ended = Some(Instant::now());
    }
}
