//! The third stage: accepted records and dead letters to the sink, a transaction a batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::contract::{Delivery, Error, Sink};
use tidegate_topics::Topics;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::PARTITION;
use crate::cursor::{Cursor, any_readable, topics_error};
use crate::patience::persist;
use crate::progress::Progress;

/// The name under which the sink keeps its offsets.
pub(crate) const READER: &str = "sink";
/// A delivery takes in no more batches beyond this size.
const DELIVERY_BYTES: usize = 6 * 1024 * 1024;
/// Waiting lines may find references that another application wrote: how often that is looked for.
const HEAL_EVERY: Duration = Duration::from_secs(30);
/// Healing and upkeep may take at most one part in so many of the stage's time while there is work.
const UPKEEP_SHARE: u32 = 10;
const UPKEEP_PAUSE_MIN: Duration = Duration::from_secs(1);

pub(crate) struct Deliver<T, S> {
    pub(crate) topics: Arc<T>,
    pub(crate) sink: Arc<S>,
    pub(crate) accepted: Vec<Cursor>,
    pub(crate) dead_letters: Cursor,
    pub(crate) progress: Arc<Progress>,
    pub(crate) stop: CancellationToken,
}

impl<T: Topics, S: Sink> Deliver<T, S> {
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let _stop_others = self.stop.clone().drop_guard();
        let mut upkeep = Upkeep::new();
        while !self.stop.is_cancelled() {
            let delivery = self.gather().await?;
            let idle = delivery.consumed.is_empty();
            if !idle && !self.apply(&delivery).await? {
                break;
            }
            if upkeep.is_due(idle, self.progress.heal_pending()) {
                upkeep.begin();
                self.heal_and_tidy().await?;
                upkeep.end();
            } else if idle {
                tokio::select! {
                    () = any_readable(&*self.topics, self.accepted.iter().chain([&self.dead_letters])) => {}
                    () = tokio::time::sleep(HEAL_EVERY) => self.progress.set_heal_pending(true),
                    () = self.stop.cancelled() => {}
                }
            }
        }
        Ok(())
    }

    /// What there is to deliver, parents first, up to a limit.
    async fn gather(&mut self) -> Result<Delivery, Error> {
        let mut delivery = Delivery::default();
        let mut room = DELIVERY_BYTES;
        for (dataset, cursor) in self.accepted.iter_mut().enumerate() {
            while room > 0 {
                let Some(batch) = cursor.read(&*self.topics).await? else { break };
                room = room.saturating_sub(batch.as_bytes().len());
                delivery.rows.push((dataset, batch));
            }
        }
        while room > 0 {
            let Some(batch) = self.dead_letters.read(&*self.topics).await? else { break };
            room = room.saturating_sub(batch.as_bytes().len());
            delivery.dead_letters.push(batch);
        }
        if !delivery.rows.is_empty() || !delivery.dead_letters.is_empty() {
            let cursors = self.accepted.iter().chain([&self.dead_letters]);
            delivery.consumed = cursors.map(Cursor::consumed).collect();
        }
        Ok(delivery)
    }

    /// Commits a delivery, however long that takes. `false` if the run was stopped before.
    async fn apply(&self, delivery: &Delivery) -> Result<bool, Error> {
        let Some(applied) = persist!("writing to Postgres", &self.stop, self.sink.apply(delivery).await)? else {
            return Ok(false);
        };
        self.progress.deliver(&applied, &self.accepted, &self.dead_letters);
        for consumed in &delivery.consumed {
            self.topics.trim(&consumed.topic, PARTITION, consumed.next).await.map_err(topics_error)?;
        }
        Ok(true)
    }

    async fn heal_and_tidy(&self) -> Result<(), Error> {
        // Cleared first: what is committed from now on asks for another round.
        self.progress.set_heal_pending(false);
        let healed: Option<u64> = persist!("healing", &self.stop, self.sink.heal().await)?;
        if let Some(lines) = healed.filter(|lines| *lines > 0) {
            info!(lines, "waiting lines found their references");
        }
        persist!("upkeep", &self.stop, self.sink.tidy().await)?;
        Ok(())
    }
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
        let pause = (self.took * UPKEEP_SHARE).max(UPKEEP_PAUSE_MIN);
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
