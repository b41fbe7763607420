//! The first stage: lines from a source onto the raw topics.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::contract::{Error, Intake, Polled, Source};
use tidegate_core::failpoint::Failpoint;
use tidegate_core::record::Batch;
use tidegate_topics::{Durability, Topics};
use tokio_util::sync::CancellationToken;

use crate::cursor::topics_error;
use crate::patience::persist;
use crate::progress::{Names, Progress};
use crate::{PARTITION, Until};

/// How long nothing is asked of a source that had nothing, unless something changes.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Ingest<'a, T, S> {
    pub(crate) source: &'a mut S,
    pub(crate) topics: Arc<T>,
    pub(crate) raw_topics: Vec<String>,
    pub(crate) accepted_topics: Vec<String>,
    pub(crate) dead_letters_topic: String,
    pub(crate) progress: Arc<Progress>,
    pub(crate) max_lag_bytes: u64,
    pub(crate) stop: CancellationToken,
}

impl<T: Topics, S: Source> Ingest<'_, T, S> {
    /// Runs until the source is idle, if that is wanted, or until the run is stopped.
    pub(crate) async fn run(self, until: Until) -> Result<(), Error> {
        while !self.stop.is_cancelled() {
            if self.lag_bytes().await? > self.max_lag_bytes {
                self.pause().await;
                continue;
            }
            let drained = self.drained().await?;
            match persist!("reading the sources", &self.stop, self.source.poll(drained).await)? {
                None => break,
                Some(Polled::Intake(intake)) => {
                    self.append(&intake).await?;
                    // A stage that was woken by this one may wait for its thread.
                    tokio::task::yield_now().await;
                }
                Some(Polled::Waiting) => self.pause().await,
                Some(Polled::Idle) => {
                    let done = drained && !self.progress.heal_pending();
                    if done && until == Until::Idle {
                        break;
                    }
                    self.pause().await;
                }
            }
        }
        Ok(())
    }

    /// Appends what entered; a full disk is waited for. Nothing is answered on it, so nothing is fsynced:
    /// a file is moved away only when the ledger holds its lines, and what a power failure takes from a
    /// topic is read again.
    async fn append(&self, intake: &Intake) -> Result<(), Error> {
        let outputs = [
            (&self.raw_topics[intake.dataset], &intake.records, Failpoint::RawAppended),
            (&self.dead_letters_topic, &intake.dead_letters, Failpoint::IntakeAppended),
        ];
        for (topic, batch, done) in outputs {
            append(&*self.topics, topic, batch, &self.stop).await?;
            done.pass()?;
        }
        self.progress.enter(intake.records.len() + intake.dead_letters.len());
        Ok(())
    }

    async fn pause(&self) {
        tokio::select! {
            biased;
            () = self.progress.changed() => {}
            () = tokio::time::sleep(PAUSE) => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn drained(&self) -> Result<bool, Error> {
        self.progress.drained(&*self.topics, &self.names()).await
    }

    async fn lag_bytes(&self) -> Result<u64, Error> {
        self.progress.lag_bytes(&*self.topics, &self.names()).await
    }

    fn names(&self) -> Names<'_> {
        Names {
            raw: &self.raw_topics,
            accepted: &self.accepted_topics,
            dead_letters: &self.dead_letters_topic,
        }
    }
}

/// Appends a batch, if it holds anything; waits while the topic has no room. `false` if the run was stopped
/// before the topic had it.
pub(crate) async fn append(
    topics: &impl Topics,
    topic: &str,
    batch: &Batch,
    stop: &CancellationToken,
) -> Result<bool, Error> {
    if batch.is_empty() {
        return Ok(true);
    }
    let appended: Result<_, Error> = persist!(
        "appending to a topic",
        stop,
        topics.append(topic, PARTITION, batch, Durability::Buffered).await.map_err(topics_error)
    );
    Ok(appended?.is_some())
}
