//! The second stage: the transform, from the raw topics to the accepted topics and `dead-letters`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidegate_core::contract::{ConsumerOffset, Error, Offsets, Sink, TRANSFORM_READER};
use tidegate_core::dead_letter::Stage;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Manifest;
use tidegate_core::references::KnownKeys;
use tidegate_core::transform::Transform;
use tidegate_topics::Topics;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::counts::Flow;
use crate::partition::{any_readable, append, read, topics_error};
use crate::progress::Progress;
use crate::retry::persist;

/// How many keys of referenced datasets are kept in memory, at most: some 40 MiB.
const KEYS_MAX: usize = 2_000_000;
/// How often the offsets are stored. A longer interval costs only repeated work after a crash.
const STORE_EVERY: Duration = Duration::from_millis(500);

pub(crate) struct Process<T, S> {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) topics: Arc<T>,
    pub(crate) sink: Arc<S>,
    /// One cursor for each dataset and owned partition, ordered by dataset, then partition.
    pub(crate) raw: Vec<ConsumerOffset>,
    /// How many partitions this process owns.
    pub(crate) partitions: usize,
    /// The accepted topics' partitions of other processes, each with the index of its dataset.
    pub(crate) others: Vec<(usize, ConsumerOffset)>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) stop: CancellationToken,
}

impl<T: Topics, S: Sink + Offsets> Process<T, S> {
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        // When this stage ends, for whatever reason, the other stages must stop too.
        let _stop_others = self.stop.clone().drop_guard();
        let Some(mut transform) = self.recall().await? else { return Ok(()) };
        let mut stored = self.raw.clone();
        let mut stored_at = Instant::now();
        while !self.stop.is_cancelled() {
            let progressed = self.step(&mut transform).await?;
            tokio::task::yield_now().await; // lets the stage that was woken run
            if (!progressed || stored_at.elapsed() > STORE_EVERY) && stored != self.raw {
                self.store().await?;
                stored = self.raw.clone();
                stored_at = Instant::now();
            }
            if !progressed {
                tokio::select! {
                    biased;
                    () = any_readable(&*self.topics, self.cursors()) => {}
                    () = self.stop.cancelled() => {}
                }
            }
        }
        self.store().await
    }

    /// A transform that knows the keys in Postgres. `None` if the run was stopped meanwhile.
    async fn recall(&self) -> Result<Option<Transform>, Error> {
        let mut transform = Transform::new(self.manifest.clone(), KEYS_MAX);
        for (i, dataset) in self.manifest.datasets.iter().enumerate() {
            let kinds = dataset.key_kinds();
            let known = transform.known_keys();
            if !known.is_wanted(i) {
                continue;
            }
            let learn = |known: &mut KnownKeys, key: &[u8]| known.learn(i, &kinds, key);
            let read: Result<_, Error> = persist!(
                "reading the known keys",
                &self.stop,
                self.sink.keys(i, KEYS_MAX, |key| learn(known, key)).await
            );
            match read? {
                None => return Ok(None),
                Some(true) => {}
                Some(false) => {
                    debug!(dataset = dataset.name, "too many keys to know: the sink decides references");
                    transform.known_keys().give_up(i);
                }
            }
        }
        Ok(Some(transform))
    }

    /// Processes one batch. Returns `false` if there is none. Referenced datasets come first: in a fresh load,
    /// lines then find the keys that they reference and are not sent through `dead-letters` as waiting.
    async fn step(&mut self, transform: &mut Transform) -> Result<bool, Error> {
        self.learn_of_others(transform).await?;
        for i in 0..self.raw.len() {
            let before = self.raw[i].next;
            let Some(batch) = read(&mut self.raw[i], &*self.topics, &self.stop).await? else {
                self.progress.process(i, self.raw[i].next); // a read may have skipped a gap
                continue;
            };
            let begun = Instant::now();
            let dataset = i / self.partitions;
            let outcome = transform.apply(dataset, &batch, SystemTime::now());
            if outcome.foreign > 0 {
                warn!(
                    topic = self.raw[i].topic,
                    records = outcome.foreign,
                    "skipped records of another's making"
                );
            }
            if outcome.other_columns > 0 {
                warn!(
                    topic = self.raw[i].topic,
                    lines = outcome.other_columns,
                    "skipped lines in columns of before; their files are read again"
                );
            }
            let accepted_topic = self.manifest.accepted_topic(&self.manifest.datasets[dataset]);
            let outputs = [
                (accepted_topic, &outcome.accepted, Failpoint::AcceptedAppended),
                (self.manifest.dead_letters_topic(), &outcome.dead_letters, Failpoint::OutputsAppended),
            ];
            for (topic, batch, done) in outputs {
                // All records of a key are on one partition. Outputs go to the partition that the input came
                // from, and only its owner appends to it.
                if !append(&*self.topics, &topic, self.raw[i].partition, batch, &self.stop).await? {
                    // Stopped before the outputs were appended: the input must be read again.
                    self.raw[i].next = before;
                    return Ok(true);
                }
                done.pass()?;
            }
            let flow = Flow { lines_in: batch.len() as u64, lines_out: outcome.accepted.len() as u64 };
            self.progress.counts().pass(Stage::Transform, dataset, flow, begun.elapsed());
            self.progress.process(i, self.raw[i].next);
            return Ok(true);
        }
        Ok(false)
    }

    /// Learns the keys that the transforms of other partitions have accepted, so that lines that reference them
    /// are not sent through `dead-letters` as waiting.
    async fn learn_of_others(&mut self, transform: &mut Transform) -> Result<(), Error> {
        // A dataset whose keys are not wanted is not waited for either.
        let datasets = &self.manifest.datasets;
        self.others.retain(|(dataset, _)| transform.known_keys().is_wanted(datasets[*dataset].of_table));
        for (dataset, cursor) in &mut self.others {
            while let Some(batch) = read(cursor, &*self.topics, &self.stop).await? {
                let (kinds, table) = (datasets[*dataset].key_kinds(), datasets[*dataset].of_table);
                batch.iter().for_each(|record| transform.known_keys().learn(table, &kinds, record.key));
            }
        }
        Ok(())
    }

    /// Stores how far the inputs were read. Their outputs are on their topics by now.
    async fn store(&self) -> Result<(), Error> {
        persist!("storing offsets", &self.stop, self.sink.store(TRANSFORM_READER, &self.raw).await)?;
        Failpoint::OffsetsStored.pass()?;
        for cursor in &self.raw {
            self.topics.trim(&cursor.topic, cursor.partition, cursor.next).await.map_err(topics_error)?;
        }
        Ok(())
    }

    fn cursors(&self) -> impl Iterator<Item = &ConsumerOffset> {
        self.raw.iter().chain(self.others.iter().map(|(_, cursor)| cursor))
    }
}
