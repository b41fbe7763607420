//! The first stage: appends the lines of a source to the raw topics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tidegate_core::contract::{Error, Offsets, PollAnswer, Sink, Source, SourceBatch};
use tidegate_core::dead_letter::Stage;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Manifest;
use tidegate_core::record::Batch;
use tidegate_topics::Topics;
use tokio_util::sync::CancellationToken;

use crate::counts::Flow;
use crate::other_stages::OtherStages;
use crate::partition::append;
use crate::progress::Progress;
use crate::retry::persist;

/// How long to wait before a source that had no lines is polled again, unless something changes.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Ingest<'a, I, T, S> {
    pub(crate) source: &'a mut I,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) topics: Arc<T>,
    pub(crate) progress: Arc<Progress>,
    /// How far the later stages have come.
    pub(crate) others: OtherStages<S>,
    pub(crate) stop: CancellationToken,
}

impl<I: Source, T: Topics, S: Sink + Offsets> Ingest<'_, I, T, S> {
    /// Runs until the run is stopped or, if `until` says so, until the source is idle.
    pub(crate) async fn run(mut self, until: Until) -> Result<(), Error> {
        while !self.stop.is_cancelled() {
            let lag_bytes = persist!(
                "asking how far the sink is",
                &self.stop,
                self.others.lag_bytes(&*self.topics).await
            )?;
            if lag_bytes.is_none_or(|bytes| bytes > self.manifest.max_lag_bytes) {
                self.pause().await;
                continue;
            }
            let drained =
                persist!("asking how far the sink is", &self.stop, self.others.drained(&*self.topics).await)?;
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
                Some(PollAnswer::SourceBatch(batch)) => {
                    self.append(&batch).await?;
                    // Lets a stage that this append has woken use the thread.
                    tokio::task::yield_now().await;
                }
                Some(PollAnswer::Waiting) => self.pause().await,
                Some(PollAnswer::Idle) => {
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

    /// Appends what entered. If the disk is full, the append is retried. Nothing is fsynced, because nothing is
    /// acknowledged here: a file is moved away only when the ledger holds its lines, and lines that a topic
    /// loses in a power failure are read again.
    async fn append(&mut self, batch: &SourceBatch) -> Result<(), Error> {
        let begun = Instant::now();
        let raw_topic = self.manifest.raw_topic(&self.manifest.datasets[batch.dataset]);
        let outputs = [
            (raw_topic, &batch.records, Failpoint::RawAppended),
            (self.manifest.dead_letters_topic(), &batch.dead_letters, Failpoint::IntakeAppended),
        ];
        for (topic, batch, done) in outputs {
            self.distribute(&topic, batch).await?;
            done.pass()?;
        }
        self.others.sent();
        let lines_out = batch.records.len() as u64;
        let flow = Flow { lines_in: lines_out + batch.dead_letters.len() as u64, lines_out };
        self.progress.counts().pass(Stage::Source, batch.dataset, flow, begun.elapsed());
        Ok(())
    }

    /// Appends a batch, each record to the partition of its key.
    async fn distribute(&self, topic: &str, batch: &Batch) -> Result<(), Error> {
        let partitions = self.manifest.partitions();
        if partitions == 1 {
            return append(&*self.topics, topic, 0, batch, &self.stop).await.map(drop);
        }
        let batches = batch.split(partitions);
        let appends =
            (0..).zip(&batches).map(|(p, batch)| append(&*self.topics, topic, p, batch, &self.stop));
        try_join_all(appends).await.map(drop)
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
}

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Only when it is stopped.
    Stopped,
    /// When every line that entered is accounted for and nothing is left to heal.
    Idle,
}
