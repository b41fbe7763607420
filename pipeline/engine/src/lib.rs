//! The stages of Tidegate. Start here to read: [`ingest`] → [`process`] → [`deliver`].
//!
//! ```text
//! Source ─▶ ingest ─▶ raw-<dataset> ─▶ process ─▶ accepted-<dataset> ─┐
//!                │                        └─────▶ dead-letters ───────┼─▶ deliver ─▶ Sink
//!                └──────────────────────────────▶ dead-letters ───────┘
//! ```
//!
//! Each stage is a loop that reads in one sitting. They share topics and a [`Progress`], nothing else, and
//! know the world outside by the contracts of `tidegate_core::contract` alone. Whatever a stage does twice
//! after a crash, the ledger drops; so each flushes its outputs before it notes how far it has read.

mod counts;
mod cursor;
pub mod deliver;
pub mod ingest;
mod patience;
pub mod process;
mod progress;
mod standing;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::future::try_join_all;
use tidegate_core::contract::{Consumed, Error, Offsets, Sink, Source};
use tidegate_core::dead_letter::Stage;
use tidegate_core::manifest::Manifest;
use tidegate_core::record::Line;
use tidegate_core::shape;
use tidegate_topics::Topics;
use tokio_util::sync::CancellationToken;

pub use counts::{Counts, Flow, Lag, SecondsByStage};
use cursor::{Cursor, topics_error};
use deliver::Deliver;
pub use deliver::HEAL_EVERY;
use ingest::Ingest;
use patience::persist;
use process::Process;
pub use process::READER as TRANSFORM_READER;
use progress::Progress;
use standing::{Shared, Standing, readers};

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Never: until it is stopped.
    Stopped,
    /// When all that entered is accounted for and healed.
    Idle,
}

/// The stages of a pipeline for some of its partitions. Topics are open, and readers know where to go on.
pub struct Pipeline<T, S> {
    manifest: Arc<Manifest>,
    topics: Arc<T>,
    sink: Arc<S>,
    partitions: Vec<u32>,
    /// By dataset, and of each for every one of the partitions; so are the accepted ones.
    raw: Vec<Cursor>,
    accepted: Vec<Cursor>,
    dead_letters: Vec<Cursor>,
    progress: Arc<Progress>,
}

impl<T: Topics, S: Sink + Offsets> Pipeline<T, S> {
    /// Creates what is missing of `partitions`, each with its end no earlier than where its reader goes on, if
    /// the topics can do that. What is done is counted in `counts`.
    ///
    /// # Errors
    ///
    /// If the topics or the offsets cannot be had.
    pub async fn open(
        manifest: Arc<Manifest>,
        topics: Arc<T>,
        sink: Arc<S>,
        partitions: Vec<u32>,
        counts: Arc<Counts>,
    ) -> Result<Self, Error> {
        let mut cursors = Vec::new();
        for Consumed { topic, partition, next } in readers(&manifest, &*sink).await? {
            if partitions.contains(&partition) {
                let next = topics.create(&topic, partition, next).await.map_err(topics_error)?;
                // What was taken before makes room on a disk that is full.
                topics.trim(&topic, partition, next).await.map_err(topics_error)?;
                cursors.push(Cursor { topic, partition, next });
            }
        }
        let dead_letters = cursors.split_off(2 * manifest.datasets.len() * partitions.len());
        let accepted = cursors.split_off(cursors.len() / 2);
        let (raw, delivered) = (cursors, accepted.iter().chain(&dead_letters));
        let progress = Arc::new(Progress::new(counts, raw.iter(), delivered));
        Ok(Self { manifest, topics, sink, partitions, raw, accepted, dead_letters, progress })
    }

    /// Runs all stages, which nobody else does at the time, until idle or until `stop` is cancelled: each then
    /// ends with the batch in hand.
    ///
    /// # Errors
    ///
    /// The first error that no retry heals, after all stages have ended.
    pub async fn run(
        self,
        source: &mut impl Source,
        until: Until,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let stop = stop.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let ingest = Ingest {
            source,
            manifest: self.manifest.clone(),
            topics: self.topics.clone(),
            progress: self.progress.clone(),
            others: Standing::<S>::Here(self.progress.clone()),
            stop: stop.clone(),
        };
        Stage::ALL.into_iter().for_each(|stage| self.progress.show(stage));
        // Each stage has a task of its own: one that waits or computes does not hold up the others.
        let process = tokio::spawn(self.process(&stop, Vec::new()).run());
        let deliver = tokio::spawn(self.deliver(&stop, false).run());
        let stages = async {
            let ended = ingest.run(until).await;
            stop.cancel();
            ended
        };
        let (ingested, processed, delivered) = tokio::join!(stages, ended(process), ended(deliver));
        ingested.and(processed).and(delivered)
    }

    /// Runs the first stage alone. Others run the stages behind it, and Postgres tells how far they are.
    ///
    /// # Errors
    ///
    /// An error that no retry heals.
    pub async fn source(
        self,
        source: &mut impl Source,
        until: Until,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let Self { manifest, topics, sink, progress, .. } = self;
        progress.show(Stage::Source);
        let others =
            Standing::Shared(Shared { manifest: manifest.clone(), sink, known: None, moved_at: None });
        let ingest = Ingest { source, manifest, topics, progress, others, stop: stop.clone() };
        ingest.run(until).await
    }

    /// Runs the transform alone, for the partitions of this pipeline.
    ///
    /// # Errors
    ///
    /// An error that no retry heals.
    pub async fn transform(self, stop: &CancellationToken) -> Result<(), Error> {
        let Some(others) = persist!("opening the topics", stop, self.others().await)? else { return Ok(()) };
        let stop = stop.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        self.progress.show(Stage::Transform);
        ended(tokio::spawn(self.process(&stop, others).run())).await
    }

    /// Where the sinks of other partitions stand on the accepted topics, by dataset.
    async fn others(&self) -> Result<Vec<(usize, Cursor)>, Error> {
        let mut others = Vec::new();
        for Consumed { topic, partition, next } in readers(&self.manifest, &*self.sink).await? {
            let is_its = |dataset: &_| self.manifest.accepted_topic(dataset) == topic;
            let Some(dataset) = self.manifest.datasets.iter().position(is_its) else { continue };
            if !self.partitions.contains(&partition) {
                let next = self.topics.create(&topic, partition, next).await.map_err(topics_error)?;
                others.push((dataset, Cursor { topic, partition, next }));
            }
        }
        Ok(others)
    }

    /// Runs the sink alone, for the partitions of this pipeline.
    ///
    /// # Errors
    ///
    /// An error that no retry heals.
    pub async fn sink(self, stop: &CancellationToken) -> Result<(), Error> {
        let stop = stop.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        self.progress.show(Stage::Sink);
        ended(tokio::spawn(self.deliver(&stop, true).run())).await
    }

    fn process(&self, stop: &CancellationToken, others: Vec<(usize, Cursor)>) -> Process<T, S> {
        Process {
            manifest: self.manifest.clone(),
            topics: self.topics.clone(),
            sink: self.sink.clone(),
            raw: self.raw.clone(),
            partitions: self.partitions.len(),
            others,
            progress: self.progress.clone(),
            stop: stop.clone(),
        }
    }

    fn deliver(&self, stop: &CancellationToken, is_alone: bool) -> Deliver<T, S> {
        Deliver {
            is_alone,
            topics: self.topics.clone(),
            sink: self.sink.clone(),
            accepted: self.accepted.clone(),
            dead_letters: self.dead_letters.clone(),
            progress: self.progress.clone(),
            stop: stop.clone(),
        }
    }
}

/// Creates all topics that are missing, with all partitions. Gives where each of them ends.
///
/// # Errors
///
/// If the topics cannot be had.
pub async fn create_all(manifest: &Manifest, topics: &impl Topics) -> Result<Vec<Consumed>, Error> {
    let create = async |topic: String| {
        let mut ends = Vec::new();
        for partition in 0..manifest.partitions() {
            topics.create(&topic, partition, 0).await?;
            let next = topics.end(&topic, partition).await?;
            ends.push(Consumed { topic: topic.clone(), partition, next });
        }
        Ok(ends)
    };
    // A cluster takes a while for each.
    let ends = try_join_all(manifest.topics().into_iter().map(create)).await.map_err(topics_error)?;
    Ok(ends.concat())
}

/// How many records stand on some partitions before the readers of a stage; `None` of the source, which reads no
/// topic.
///
/// # Errors
///
/// If the topics or the offsets cannot be had.
pub async fn lag_records(
    manifest: &Manifest,
    topics: &impl Topics,
    offsets: &impl Offsets,
    stage: Stage,
    partitions: &BTreeSet<u32>,
) -> Result<Option<u64>, Error> {
    let readers = readers(manifest, offsets).await?;
    let (raw, delivered) = readers.split_at(manifest.datasets.len() * manifest.partitions() as usize);
    let its = match stage {
        Stage::Source => return Ok(None),
        Stage::Transform => raw,
        Stage::Sink => delivered,
    };
    let mut lag = 0;
    for Consumed { topic, partition, next } in its.iter().filter(|its| partitions.contains(&its.partition)) {
        lag += topics.end(topic, *partition).await.map_err(topics_error)?.saturating_sub(*next);
    }
    Ok(Some(lag))
}

/// For each source that stands on a raw topic where the transform has not been: the line up to which none is
/// missing there, the smallest over the partitions of the largest found. There it goes on. Work is saved by it, and
/// no more: the ledger decides.
///
/// # Errors
///
/// If the topics or the offsets cannot be had.
pub async fn already_sent(
    manifest: &Manifest,
    topics: &impl Topics,
    offsets: &impl Offsets,
) -> Result<HashMap<u64, u64>, Error> {
    let partitions = manifest.partitions() as usize;
    let mut largest: HashMap<u64, Vec<u64>> = HashMap::new();
    let raw = manifest.datasets.len() * partitions;
    for (i, reader) in readers(manifest, offsets).await?.into_iter().take(raw).enumerate() {
        let Consumed { topic, partition, next } = reader;
        let form = shape::form(&manifest.datasets[i / partitions]);
        let next = topics.create(&topic, partition, next).await.map_err(topics_error)?;
        let mut cursor = Cursor { topic, partition, next };
        while let Some(batch) = cursor.read(topics).await? {
            let lines = batch.iter().filter_map(|record| Line::parse(record.value));
            for line in lines.filter(|line| shape::is_read_in(line.form, form)) {
                let lines = largest.entry(line.position.source).or_insert_with(|| vec![0; partitions]);
                let line_max = &mut lines[partition as usize];
                *line_max = line.position.line.max(*line_max);
            }
        }
    }
    Ok(largest.into_iter().map(|(source, lines)| (source, lines.into_iter().min().unwrap_or(0))).collect())
}

async fn ended(stage: tokio::task::JoinHandle<Result<(), Error>>) -> Result<(), Error> {
    match stage.await {
        Ok(result) => result,
        Err(error) => Err(Error::halt(format!("a stage ended unexpectedly: {error}"))),
    }
}
