//! The stages of a pipeline for some of its partitions, wired together.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::future::try_join_all;
use tidegate_core::contract::{ConsumerOffset, Error, Offsets, Sink, Source};
use tidegate_core::dead_letter::Stage;
use tidegate_core::manifest::Manifest;
use tidegate_core::record::Line;
use tidegate_core::shape;
use tidegate_topics::Topics;
use tokio_util::sync::CancellationToken;

use crate::counts::Counts;
use crate::deliver::Deliver;
use crate::ingest::{Ingest, Until};
use crate::other_stages::{OtherStages, SharedProgress, readers};
use crate::partition::{read_on, topics_error};
use crate::process::Process;
use crate::progress::Progress;
use crate::retry::persist;

/// The stages of a pipeline for some of its partitions. The topics are open, and each cursor stands at its
/// resume point.
pub struct Pipeline<T, S> {
    manifest: Arc<Manifest>,
    topics: Arc<T>,
    sink: Arc<S>,
    partitions: Vec<u32>,
    /// One cursor for each dataset and partition, ordered by dataset, then partition; `accepted` likewise.
    raw: Vec<ConsumerOffset>,
    accepted: Vec<ConsumerOffset>,
    dead_letters: Vec<ConsumerOffset>,
    progress: Arc<Progress>,
}

impl<T: Topics, S: Sink + Offsets> Pipeline<T, S> {
    /// Creates missing topics of `partitions`. Where the backend can, a new partition starts at or after its
    /// reader's stored offset. The work of the stages is counted in `counts`.
    pub async fn open(
        manifest: Arc<Manifest>,
        topics: Arc<T>,
        sink: Arc<S>,
        partitions: Vec<u32>,
        counts: Arc<Counts>,
    ) -> Result<Self, Error> {
        let mut cursors = Vec::new();
        for mut cursor in readers(&manifest, &*sink).await? {
            if partitions.contains(&cursor.partition) {
                create(&*topics, &mut cursor).await?;
                // Trim what was consumed before: it makes room on a full disk.
                let ConsumerOffset { topic, partition, next } = &cursor;
                topics.trim(topic, *partition, *next).await.map_err(topics_error)?;
                cursors.push(cursor);
            }
        }
        let dead_letters = cursors.split_off(2 * manifest.datasets.len() * partitions.len());
        let accepted = cursors.split_off(cursors.len() / 2);
        let (raw, delivered) = (cursors, [&accepted[..], &dead_letters].concat());
        let progress = Arc::new(Progress::new(counts, raw.clone(), delivered));
        Ok(Self { manifest, topics, sink, partitions, raw, accepted, dead_letters, progress })
    }

    /// Runs all stages until the run is idle or `stop` is cancelled. On `stop`, each stage ends after its
    /// current batch. Returns the first error that is not retried, after all stages have ended. The caller must
    /// be the only runner of this pipeline.
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
            others: OtherStages::<S>::Here(self.progress.clone()),
            stop: stop.clone(),
        };
        Stage::ALL.into_iter().for_each(|stage| self.progress.show(stage));
        // Each stage has its own task: one that waits or computes does not hold up the others.
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

    /// Runs the first stage alone. Other processes run the later stages, and their progress is read from
    /// Postgres.
    pub async fn source(
        self,
        source: &mut impl Source,
        until: Until,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let Self { manifest, topics, sink, progress, .. } = self;
        progress.show(Stage::Source);
        let others = OtherStages::Shared(SharedProgress {
            manifest: manifest.clone(),
            sink,
            stored: None,
            moved_at: None,
        });
        let ingest = Ingest { source, manifest, topics, progress, others, stop: stop.clone() };
        ingest.run(until).await
    }

    /// Runs the transform alone, for the partitions of this pipeline.
    pub async fn transform(self, stop: &CancellationToken) -> Result<(), Error> {
        let Some(others) = persist!("opening the topics", stop, self.others().await)? else { return Ok(()) };
        let stop = stop.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        self.progress.show(Stage::Transform);
        ended(tokio::spawn(self.process(&stop, others).run())).await
    }

    /// The resume points of the sinks of other partitions on the accepted topics, each with the index of its
    /// dataset.
    async fn others(&self) -> Result<Vec<(usize, ConsumerOffset)>, Error> {
        let mut others = Vec::new();
        for mut cursor in readers(&self.manifest, &*self.sink).await? {
            let is_its = |dataset: &_| self.manifest.accepted_topic(dataset) == cursor.topic;
            let Some(dataset) = self.manifest.datasets.iter().position(is_its) else { continue };
            if !self.partitions.contains(&cursor.partition) {
                create(&*self.topics, &mut cursor).await?;
                others.push((dataset, cursor));
            }
        }
        Ok(others)
    }

    /// Runs the sink alone, for the partitions of this pipeline.
    pub async fn sink(self, stop: &CancellationToken) -> Result<(), Error> {
        let stop = stop.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        self.progress.show(Stage::Sink);
        ended(tokio::spawn(self.deliver(&stop, true).run())).await
    }

    fn process(&self, stop: &CancellationToken, others: Vec<(usize, ConsumerOffset)>) -> Process<T, S> {
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

/// Creates all missing topics with all partitions. Returns the end of each partition.
pub async fn create_all(manifest: &Manifest, topics: &impl Topics) -> Result<Vec<ConsumerOffset>, Error> {
    let create = async |topic: String| {
        let mut ends = Vec::new();
        for partition in 0..manifest.partitions() {
            topics.create(&topic, partition, 0).await?;
            let next = topics.end(&topic, partition).await?;
            ends.push(ConsumerOffset { topic: topic.clone(), partition, next });
        }
        Ok(ends)
    };
    // Topics are created concurrently: a cluster takes a while for each.
    let ends = try_join_all(manifest.topics().into_iter().map(create)).await.map_err(topics_error)?;
    Ok(ends.concat())
}

/// The consumer lag of a stage on `partitions`, in records. `None` for the source, which reads no topic.
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
    for ConsumerOffset { topic, partition, next } in
        its.iter().filter(|its| partitions.contains(&its.partition))
    {
        lag += topics.end(topic, *partition).await.map_err(topics_error)?.saturating_sub(*next);
    }
    Ok(Some(lag))
}

/// The resume point of each source that has lines on a raw topic beyond the transform's offsets: the line up to
/// which no line is missing there. It is the minimum over the partitions of the largest line found on each. A
/// resume point only saves work: the ledger decides which lines are missing.
pub async fn already_sent(
    manifest: &Manifest,
    topics: &impl Topics,
    offsets: &impl Offsets,
) -> Result<HashMap<u64, u64>, Error> {
    let partitions = manifest.partitions() as usize;
    let mut largest: HashMap<u64, Vec<u64>> = HashMap::new();
    let raw = manifest.datasets.len() * partitions;
    for (i, mut cursor) in readers(manifest, offsets).await?.into_iter().take(raw).enumerate() {
        let own = shape::fingerprints(&manifest.datasets[i / partitions]);
        create(topics, &mut cursor).await?;
        while let Some(fetched) = read_on(&mut cursor, topics).await? {
            let lines = fetched.batch.iter().filter_map(|record| Line::parse(record.value));
            for line in lines.filter(|line| shape::form_of(line.fingerprint, &own).is_some()) {
                let lines = largest.entry(line.position.source).or_insert_with(|| vec![0; partitions]);
                let line_max = &mut lines[cursor.partition as usize];
                *line_max = line.position.line.max(*line_max);
            }
        }
    }
    Ok(largest.into_iter().map(|(source, lines)| (source, lines.into_iter().min().unwrap_or(0))).collect())
}

/// Creates the partition of a cursor if it is missing, and moves the cursor to where its reader starts.
async fn create(topics: &impl Topics, cursor: &mut ConsumerOffset) -> Result<(), Error> {
    cursor.next = topics.create(&cursor.topic, cursor.partition, cursor.next).await.map_err(topics_error)?;
    Ok(())
}

async fn ended(stage: tokio::task::JoinHandle<Result<(), Error>>) -> Result<(), Error> {
    match stage.await {
        Ok(result) => result,
        Err(error) => Err(Error::halt(format!("a stage ended unexpectedly: {error}"))),
    }
}
