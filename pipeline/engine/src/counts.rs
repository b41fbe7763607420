//! What a process has done, for whoever watches it.
//!
//! Counted a batch at a time, and the reasons of dead letters when they are committed: what a stage does for each of
//! its lines it does without looking here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tidegate_core::contract::{Applied, Consumed, Error, Tally};
use tidegate_core::dead_letter::{Code, Stage};
use tidegate_topics::Topics;

use crate::cursor::topics_error;
use crate::progress::{Progress, lag_bytes};

/// What a process has done since it started, and how far the stages are that it runs now.
#[derive(Debug)]
pub struct Counts {
    entered: AtomicU64,
    healed: AtomicU64,
    /// By dataset, what this run has committed.
    tallies: Mutex<Vec<Tally>>,
    /// By dataset, what went through the source and the transform.
    flows: Mutex<Vec<[Flow; 2]>>,
    /// By dataset and reason, the dead letters that this run has committed.
    reasons: Mutex<BTreeMap<(usize, Code), u64>>,
    batch_seconds: SecondsByStage,
    commit_seconds: Histogram,
    /// The datasets whose lines the sink leaves alone, and why.
    stopped: Mutex<BTreeMap<usize, String>>,
    /// The stages that run now, on some partitions each. What has ended is gone.
    running: Mutex<Vec<(Weak<Progress>, Stage)>>,
}

/// How long something took, by stage.
pub type SecondsByStage = Family<[(&'static str, &'static str); 1], Histogram, fn() -> Histogram>;

/// Lines of one dataset through one stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Lines that it has taken.
    pub lines_in: u64,
    /// Lines that it has passed on, but for dead letters.
    pub lines_out: u64,
}

/// What stands before a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Records.
    pub records: u64,
    /// About how many bytes they have.
    pub bytes: u64,
}

impl Default for Counts {
    fn default() -> Self {
        // From a quarter of a millisecond to half a minute; what takes longer waits for something.
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_25, 2.0, 18));
        Self {
            entered: AtomicU64::default(),
            healed: AtomicU64::default(),
            tallies: Mutex::default(),
            flows: Mutex::default(),
            reasons: Mutex::default(),
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

    /// How many waiting lines left the waiting set in this run.
    pub fn healed(&self) -> u64 {
        self.healed.load(Ordering::Relaxed)
    }

    /// What was committed of each dataset in this run.
    pub fn tallies(&self) -> Vec<Tally> {
        locked(&self.tallies).clone()
    }

    /// What went through a stage in this run, by dataset: as many as had a line so far.
    pub fn flows(&self, stage: Stage) -> Vec<Flow> {
        match stage {
            Stage::Source | Stage::Transform => {
                locked(&self.flows).iter().map(|flows| flows[stage as usize]).collect()
            }
            Stage::Sink => locked(&self.tallies).iter().map(through_sink).collect(),
        }
    }

    /// The dead letters that were committed in this run, by dataset and reason. One with two reasons counts for
    /// both.
    pub fn reasons(&self) -> BTreeMap<(usize, Code), u64> {
        locked(&self.reasons).clone()
    }

    /// The datasets that get no row into their tables, each with what happened and what to do.
    pub fn stopped(&self) -> BTreeMap<usize, String> {
        locked(&self.stopped).clone()
    }

    pub(crate) fn stop(&self, datasets: BTreeMap<usize, String>) {
        *locked(&self.stopped) = datasets;
    }

    /// How long a stage had each of its batches in hand, waits for what was down included.
    pub fn batch_seconds(&self) -> SecondsByStage {
        self.batch_seconds.clone()
    }

    /// How long each transaction of the sink took that was committed.
    pub fn commit_seconds(&self) -> Histogram {
        self.commit_seconds.clone()
    }

    /// What stands before the stages that this process runs now, on the partitions that it runs them for.
    ///
    /// # Errors
    ///
    /// If the topics cannot be had.
    pub async fn lags(&self, topics: &impl Topics) -> Result<BTreeMap<Stage, Lag>, Error> {
        let mut lags = BTreeMap::new();
        for (stage, readers) in self.readers() {
            let lag: &mut Lag = lags.entry(stage).or_default();
            lag.bytes += lag_bytes(topics, &readers).await?;
            for Consumed { topic, partition, next } in &readers {
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

    fn readers(&self) -> Vec<(Stage, Vec<Consumed>)> {
        let readers = |(progress, stage): (Arc<Progress>, Stage)| (stage, progress.marks_of(stage));
        self.living().into_iter().filter(|(_, stage)| *stage != Stage::Source).map(readers).collect()
    }

    fn living(&self) -> Vec<(Arc<Progress>, Stage)> {
        let living = |(progress, stage): &(Weak<Progress>, Stage)| Some((progress.upgrade()?, *stage));
        locked(&self.running).iter().filter_map(living).collect()
    }

    pub(crate) fn watch(&self, progress: &Arc<Progress>, stage: Stage) {
        let mut running = locked(&self.running);
        running.retain(|(progress, _)| progress.strong_count() > 0);
        running.push((Arc::downgrade(progress), stage));
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

    /// Notes how long a stage had a batch in hand.
    pub(crate) fn batch(&self, stage: Stage, took: Duration) {
        self.batch_seconds.get_or_create_owned(&[("stage", stage.as_str())]).observe(took.as_secs_f64());
    }

    pub(crate) fn transaction(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn heal(&self, lines: u64) {
        self.healed.fetch_add(lines, Ordering::Relaxed);
    }

    pub(crate) fn commit(&self, applied: &Applied) {
        let mut sums = locked(&self.tallies);
        let datasets = sums.len().max(applied.tallies.len());
        sums.resize(datasets, Tally::default());
        for (sum, tally) in sums.iter_mut().zip(&applied.tallies) {
            sum.accepted += tally.accepted;
            sum.effects += tally.effects;
            sum.rejected += tally.rejected;
            sum.waiting += tally.waiting;
            sum.duplicates += tally.duplicates;
        }
        drop(sums);
        if applied.reasons.is_empty() {
            return;
        }
        let mut reasons = locked(&self.reasons);
        for (of, letters) in &applied.reasons {
            *reasons.entry(*of).or_default() += letters;
        }
    }
}

/// Every line that the sink takes gets one fate, or had it already.
fn through_sink(tally: &Tally) -> Flow {
    let Tally { accepted, rejected, waiting, duplicates, .. } = *tally;
    Flow { lines_in: accepted + rejected + waiting + duplicates, lines_out: accepted }
}

fn locked<T>(counts: &Mutex<T>) -> MutexGuard<'_, T> {
    // Numbers to look at: half an addition by a stage that panicked does no harm.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}
