//! What a process has done: the numbers behind metrics and status.
//!
//! Stages count once a batch, and the reasons of dead letters once a commit. Nothing is counted per line.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tidegate_core::contract::{CommitReport, ConsumerOffset, Error, Tally};
use tidegate_core::dead_letter::{Code, Stage};
use tidegate_topics::Topics;

use crate::offsets::{PublishedOffsets, lag_bytes, locked};
use crate::partition::topics_error;

/// What a process has done since it started, and the offsets of the stages that it runs now.
#[derive(Debug)]
pub struct Counts {
    entered: AtomicU64,
    healed: AtomicU64,
    /// What this run has committed.
    committed: Mutex<CommitReport>,
    /// By dataset, what went through the source and the transform.
    flows: Mutex<Vec<[Flow; 2]>>,
    batch_seconds: SecondsByStage,
    commit_seconds: Histogram,
    /// The datasets that the sink has stopped writing, with the reason.
    stopped: Mutex<BTreeMap<usize, String>>,
    /// The stages that run now, each on some partitions. A stage that has ended is dropped.
    running: Mutex<Vec<(Weak<PublishedOffsets>, Stage)>>,
}

/// How long something took, by stage.
pub type SecondsByStage = Family<[(&'static str, &'static str); 1], Histogram, fn() -> Histogram>;

/// Lines of one dataset through one stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Lines that the stage has read.
    pub lines_in: u64,
    /// Lines that the stage has passed on, dead letters excluded.
    pub lines_out: u64,
}

/// The consumer lag of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Records.
    pub records: u64,
    /// Their size in bytes, approximately.
    pub bytes: u64,
}

impl Default for Counts {
    fn default() -> Self {
        // From 0.25 ms to half a minute. What takes longer waits for something.
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_25, 2.0, 18));
        Self {
            entered: AtomicU64::default(),
            healed: AtomicU64::default(),
            committed: Mutex::default(),
            flows: Mutex::default(),
            batch_seconds: SecondsByStage::new_with_constructor(seconds),
            commit_seconds: seconds(),
            stopped: Mutex::default(),
            running: Mutex::default(),
        }
    }
}

impl Counts {
    /// How many lines entered in this run.
    pub fn entered(&self) -> u64 {
        self.entered.load(Ordering::Relaxed)
    }

    /// How many lines left the waiting set in this run.
    pub fn healed(&self) -> u64 {
        self.healed.load(Ordering::Relaxed)
    }

    /// What was committed in this run, by dataset.
    pub fn tallies(&self) -> Vec<Tally> {
        locked(&self.committed).tallies.clone()
    }

    /// What went through a stage in this run, by dataset. Datasets after the last one that had a line are left
    /// out.
    pub fn flows(&self, stage: Stage) -> Vec<Flow> {
        match stage {
            Stage::Source | Stage::Transform => {
                locked(&self.flows).iter().map(|flows| flows[stage as usize]).collect()
            }
            Stage::Sink => locked(&self.committed).tallies.iter().map(through_sink).collect(),
        }
    }

    /// The dead letters that were committed in this run, by dataset and reason. A dead letter with two reasons
    /// counts for both.
    pub fn reasons(&self) -> BTreeMap<(usize, Code), u64> {
        locked(&self.committed).reasons.clone()
    }

    /// The datasets that the sink has stopped writing, each with what happened and what to do.
    pub fn stopped(&self) -> BTreeMap<usize, String> {
        locked(&self.stopped).clone()
    }

    pub(crate) fn stop(&self, datasets: BTreeMap<usize, String>) {
        *locked(&self.stopped) = datasets;
    }

    /// How long each stage took for a batch, retries included.
    pub fn batch_seconds(&self) -> SecondsByStage {
        self.batch_seconds.clone()
    }

    /// How long each committed transaction of the sink took.
    pub fn commit_seconds(&self) -> Histogram {
        self.commit_seconds.clone()
    }

    /// The consumer lags of the stages that this process runs now, on the partitions that it runs them for.
    pub async fn lags(&self, topics: &impl Topics) -> Result<BTreeMap<Stage, Lag>, Error> {
        let mut lags = BTreeMap::new();
        for (offsets, stage) in self.living().into_iter().filter(|(_, stage)| *stage != Stage::Source) {
            let readers = offsets.of(stage);
            let lag: &mut Lag = lags.entry(stage).or_default();
            lag.bytes += lag_bytes(topics, &readers).await?;
            for ConsumerOffset { topic, partition, next } in &readers {
                let end = topics.end(topic, *partition).await.map_err(topics_error)?;
                lag.records += end.saturating_sub(*next);
            }
        }
        Ok(lags)
    }

    /// The stages that this process runs now.
    pub fn running(&self) -> Vec<Stage> {
        let mut stages: Vec<Stage> = self.living().into_iter().map(|(_, stage)| stage).collect();
        stages.sort_unstable();
        stages.dedup();
        stages
    }

    fn living(&self) -> Vec<(Arc<PublishedOffsets>, Stage)> {
        let living = |(offsets, stage): &(Weak<PublishedOffsets>, Stage)| Some((offsets.upgrade()?, *stage));
        locked(&self.running).iter().filter_map(living).collect()
    }

    pub(crate) fn watch(&self, offsets: &Arc<PublishedOffsets>, stage: Stage) {
        let mut running = locked(&self.running);
        running.retain(|(offsets, _)| offsets.strong_count() > 0);
        running.push((Arc::downgrade(offsets), stage));
    }

    /// Counts lines of a dataset that went through the source or the transform in one batch.
    pub(crate) fn pass(&self, stage: Stage, dataset: usize, flow: Flow, took: Duration) {
        if stage == Stage::Source {
            self.entered.fetch_add(flow.lines_in, Ordering::Relaxed);
        }
        self.batch(stage, took);
        let mut flows = locked(&self.flows);
        let datasets = flows.len().max(dataset + 1);
        flows.resize(datasets, Default::default());
        let sum = &mut flows[dataset][stage as usize];
        sum.lines_in += flow.lines_in;
        sum.lines_out += flow.lines_out;
    }

    /// Notes how long a stage took for a batch.
    pub(crate) fn batch(&self, stage: Stage, took: Duration) {
        self.batch_seconds.get_or_create_owned(&[("stage", stage.as_str())]).observe(took.as_secs_f64());
    }

    pub(crate) fn transaction(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn heal(&self, lines: u64) {
        self.healed.fetch_add(lines, Ordering::Relaxed);
    }

    pub(crate) fn commit(&self, applied: &CommitReport) {
        locked(&self.committed).add(applied.clone());
    }
}

/// Every line that reaches the sink gets one fate now, or is a duplicate that had one.
fn through_sink(tally: &Tally) -> Flow {
    let Tally { accepted, rejected, waiting, duplicates, .. } = *tally;
    Flow { lines_in: accepted + rejected + waiting + duplicates, lines_out: accepted }
}
