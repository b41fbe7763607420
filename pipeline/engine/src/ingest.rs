//! The first stage: lines from a source onto the raw topics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tidegate_core::contract::{Error, Intake, Offsets, Polled, Sink, Source};
use tidegate_core::dead_letter::Stage;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Manifest;
use tidegate_core::record::Batch;
use tidegate_topics::{Durability, Topics};
use tokio_util::sync::CancellationToken;

use crate::Until;
use crate::counts::Flow;
use crate::cursor::topics_error;
use crate::patience::persist;
use crate::progress::Progress;
use crate::standing::Standing;

/// How long nothing is asked of a source that had nothing, unless something changes.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Ingest<'a, I, T, S> {
    pub(crate) source: &'a mut I,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) topics: Arc<T>,
    pub(crate) progress: Arc<Progress>,
    /// How far the stages behind this one are.
    pub(crate) others: Standing<S>,
    pub(crate) stop: CancellationToken,
}

impl<I: Source, T: Topics, S: Sink + Offsets> Ingest<'_, I, T, S> {
    /// Runs until the source is idle, if that is wanted, or until the run is stopped.
    pub(crate) async fn run(mut self, until: Until) -> Result<(), Error> {
        while !self.stop.is_cancelled() {
            let lag_bytes = persist!("asking how far the sink is", &self.stop, self.lag_bytes().await)?;
            if lag_bytes.is_none_or(|bytes| bytes > self.manifest.max_lag_bytes) {
                self.pause().await;
                continue;
            }
            let drained = persist!("asking how far the sink is", &self.stop, self.drained().await)?;
            let drained = drained.unwrap_or(false);
            for dataset in self.progress.counts().stopped().into_keys() {
                self.source.stop(dataset);
            }
            match persist!(
                "reading the sources",
                &self.stop,
                self.source.poll(drained && self.others.is_lost()).await
            )? {
                None => break,
                Some(Polled::Intake(intake)) => {
                    self.append(&intake).await?;
                    // A stage that was woken by this one may wait for its thread.
                    tokio::task::yield_now().await;
                }
                Some(Polled::Waiting) => self.pause().await,
                Some(Polled::Idle) => {
                    let done = until == Until::Idle && drained;
                    if done && persist!("healing", &self.stop, self.others.is_healed().await)? == Some(true) {
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
    async fn append(&mut self, intake: &Intake) -> Result<(), Error> {
        let begun = Instant::now();
        let raw_topic = self.manifest.raw_topic(&self.manifest.datasets[intake.dataset]);
        let outputs = [
            (raw_topic, &intake.records, Failpoint::RawAppended),
            (self.manifest.dead_letters_topic(), &intake.dead_letters, Failpoint::IntakeAppended),
        ];
        for (topic, batch, done) in outputs {
            self.distribute(&topic, batch).await?;
            done.pass()?;
        }
        self.others.sent();
        let lines_out = intake.records.len() as u64;
        let flow = Flow { lines_in: lines_out + intake.dead_letters.len() as u64, lines_out };
        self.progress.counts().pass(Stage::Source, intake.dataset, flow, begun.elapsed());
        Ok(())
    }

    /// Appends a batch, each record to the partition of its key.
    async fn distribute(&self, topic: &str, batch: &Batch) -> Result<(), Error> {
        let partitions = self.manifest.partitions();
        if partitions == 1 {
            append(&*self.topics, topic, 0, batch, &self.stop).await?;
            return Ok(());
        }
        let batches = batch.split(partitions);
        let appends =
            (0..).zip(&batches).map(|(p, batch)| append(&*self.topics, topic, p, batch, &self.stop));
        try_join_all(appends).await?;
        Ok(())
    }

    async fn pause(&self) {
        tokio::select! {
            biased;
            () = self.source.ready() => {}
            () = self.others.changed() => {}
            () = tokio::time::sleep(PAUSE) => {}
            () = self.stop.cancelled() => {}
        }
    }

    async fn drained(&mut self) -> Result<bool, Error> {
        self.others.drained(&*self.topics).await
    }

    async fn lag_bytes(&mut self) -> Result<u64, Error> {
        self.others.lag_bytes(&*self.topics).await
    }
}

/// Appends a batch, if it holds anything; waits while the topic has no room. `false` if the run was stopped
/// before the topic had it.
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
