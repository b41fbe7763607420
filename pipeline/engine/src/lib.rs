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

mod cursor;
pub mod deliver;
pub mod ingest;
mod patience;
pub mod process;
mod progress;

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_core::contract::{Error, Offsets, SINK_READER, Sink, Source};
use tidegate_core::manifest::Manifest;
use tidegate_core::record::Line;
use tidegate_topics::Topics;
use tokio_util::sync::CancellationToken;

use cursor::{Cursor, topics_error};
use deliver::Deliver;
pub use deliver::HEAL_EVERY;
use ingest::Ingest;
use process::Process;
pub use progress::Progress;

/// The partition of every embedded topic.
const PARTITION: u32 = 0;

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Never: until it is stopped.
    Stopped,
    /// When all that entered is accounted for and healed.
    Idle,
}

/// A pipeline whose topics are open and whose readers know where to go on.
pub struct Pipeline<T, S> {
    manifest: Arc<Manifest>,
    topics: Arc<T>,
    sink: Arc<S>,
    raw: Vec<Cursor>,
    accepted: Vec<Cursor>,
    dead_letters: Cursor,
    progress: Arc<Progress>,
}

impl<T: Topics, S: Sink + Offsets> Pipeline<T, S> {
    /// Creates the topics that are missing, each with its end no earlier than where its reader goes on.
    ///
    /// # Errors
    ///
    /// If the topics or the offsets cannot be had.
    pub async fn open(manifest: Arc<Manifest>, topics: Arc<T>, sink: Arc<S>) -> Result<Self, Error> {
        let transform = sink.offsets(process::READER).await?;
        let delivered = sink.offsets(SINK_READER).await?;
        let mut cursors = Vec::new();
        for topic in manifest.topics() {
            let stored = transform.iter().chain(&delivered).find(|consumed| consumed.topic == topic);
            let next = stored.map_or(0, |consumed| consumed.next);
            topics.create(&topic, PARTITION, next).await.map_err(topics_error)?;
            // What was taken before makes room on a disk that is full.
            topics.trim(&topic, PARTITION, next).await.map_err(topics_error)?;
            let start = topics.start(&topic, PARTITION).await.map_err(topics_error)?;
            cursors.push(Cursor::new(topic, next.max(start)));
        }
        let datasets = manifest.datasets.len();
        let dead_letters = cursors.remove(2 * datasets);
        let accepted = cursors.split_off(datasets);
        let progress = Arc::new(Progress::new(&cursors, &accepted, &dead_letters));
        Ok(Self { manifest, topics, sink, raw: cursors, accepted, dead_letters, progress })
    }

    /// The numbers of a run, to watch it.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// For each source that stands on a raw topic, its largest line there: where it goes on.
    ///
    /// # Errors
    ///
    /// If the topics cannot be read.
    pub async fn already_sent(&self) -> Result<HashMap<u64, u64>, Error> {
        let mut largest = HashMap::new();
        for cursor in &self.raw {
            let start = self.topics.start(&cursor.topic, PARTITION).await.map_err(topics_error)?;
            let mut cursor = Cursor::new(cursor.topic.clone(), start);
            while let Some(batch) = cursor.read(&*self.topics).await? {
                for line in batch.iter().filter_map(|record| Line::parse(record.value)) {
                    let line_max = largest.entry(line.position.source).or_insert(0);
                    *line_max = line.position.line.max(*line_max);
                }
            }
        }
        Ok(largest)
    }

    /// Runs all stages, until idle or until `stop` is cancelled: each then ends with the batch in hand.
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
        let Self { manifest, topics, sink, raw, accepted, dead_letters, progress } = self;
        let stop = stop.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let raw_topics: Vec<String> = raw.iter().map(|cursor| cursor.topic.clone()).collect();
        let accepted_topics: Vec<String> = accepted.iter().map(|cursor| cursor.topic.clone()).collect();
        let ingest = Ingest {
            source,
            topics: topics.clone(),
            raw_topics: raw_topics.clone(),
            accepted_topics: accepted_topics.clone(),
            dead_letters_topic: dead_letters.topic.clone(),
            progress: progress.clone(),
            max_lag_bytes: manifest.max_lag_bytes,
            stop: stop.clone(),
        };
        let process = Process {
            manifest: manifest.clone(),
            topics: topics.clone(),
            sink: sink.clone(),
            raw,
            accepted_topics,
            dead_letters_topic: dead_letters.topic.clone(),
            progress: progress.clone(),
            stop: stop.clone(),
        };
        let deliver = Deliver { topics, sink, accepted, dead_letters, progress, stop: stop.clone() };
        // Each stage has a task of its own: one that waits or computes does not hold up the others.
        let process = tokio::spawn(process.run());
        let deliver = tokio::spawn(deliver.run());
        let stages = async {
            let ended = ingest.run(until).await;
            stop.cancel();
            ended
        };
        let (ingested, processed, delivered) = tokio::join!(stages, ended(process), ended(deliver));
        ingested.and(processed).and(delivered)
    }
}

async fn ended(stage: tokio::task::JoinHandle<Result<(), Error>>) -> Result<(), Error> {
    match stage.await {
        Ok(result) => result,
        Err(error) => Err(Error::halt(format!("a stage ended unexpectedly: {error}"))),
    }
}
