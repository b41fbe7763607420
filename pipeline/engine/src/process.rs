//! The second stage: the transform, from the raw topics to the accepted ones and `dead-letters`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidegate_core::contract::{Consumed, Error, Offsets, Sink};
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
use crate::cursor::{Cursor, any_readable, read, topics_error};
use crate::ingest::append;
use crate::patience::persist;
use crate::progress::Progress;

/// The name under which the transform keeps its offsets.
pub const READER: &str = "transform";
/// How many keys of referenced datasets are known, at most: some 40 MiB.
const KEYS_MAX: usize = 2_000_000;
/// How often the offsets are stored. Storing seldom costs repeated work after a crash, and no more.
const STORE_EVERY: Duration = Duration::from_millis(500);

pub(crate) struct Process<T, S> {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) topics: Arc<T>,
    pub(crate) sink: Arc<S>,
    /// By dataset, and of each a cursor for every partition that is ours.
    pub(crate) raw: Vec<Cursor>,
    /// How many partitions are ours.
    pub(crate) partitions: usize,
    /// Where others put accepted rows that are referenced: by dataset.
    pub(crate) others: Vec<(usize, Cursor)>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) stop: CancellationToken,
}

impl<T: Topics, S: Sink + Offsets> Process<T, S> {
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        // When this stage ends, for whatever reason, the others must not go on without it.
        let _stop_others = self.stop.clone().drop_guard();
        let Some(mut transform) = self.recall().await? else { return Ok(()) };
        let mut stored: Vec<Consumed> = self.consumed();
        let mut stored_at = Instant::now();
        while !self.stop.is_cancelled() {
            let progressed = self.step(&mut transform).await?;
            tokio::task::yield_now().await; // to the stage that was woken
            if (!progressed || stored_at.elapsed() > STORE_EVERY) && stored != self.consumed() {
                stored = self.store().await?;
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
        self.store().await?;
        Ok(())
    }

    /// The transform, with the keys that Postgres holds. `None` if the run was stopped meanwhile.
    async fn recall(&self) -> Result<Option<Transform>, Error> {
        let mut transform = Transform::new(self.manifest.clone(), KEYS_MAX);
        for (i, dataset) in self.manifest.datasets.iter().enumerate() {
            let kind = dataset.key_column().kind;
            let known = transform.known_keys();
            if !known.is_wanted(i) {
                continue;
            }
            let learn = |known: &mut KnownKeys, key: &[u8]| known.learn(i, kind, key);
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

    /// Takes one batch on; `false` if there is none. Referenced datasets are asked first, so that a fresh
    /// load does not detour by the dead letters.
    async fn step(&mut self, transform: &mut Transform) -> Result<bool, Error> {
        self.learn_of_others(transform).await?;
        for i in 0..self.raw.len() {
            let before = self.raw[i].next;
            let Some(batch) = read(&mut self.raw[i], &*self.topics, &self.stop).await? else {
                self.progress.process(i, self.raw[i].next); // a gap may have been passed over
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
            if outcome.other_form > 0 {
                warn!(
                    topic = self.raw[i].topic,
                    lines = outcome.other_form,
                    "skipped lines in columns of before; their files are read again"
                );
            }
            let accepted_topic = self.manifest.accepted_topic(&self.manifest.datasets[dataset]);
            let outputs = [
                (accepted_topic, &outcome.accepted, Failpoint::AcceptedAppended),
                (self.manifest.dead_letters_topic(), &outcome.dead_letters, Failpoint::OutputsAppended),
            ];
            for (topic, batch, done) in outputs {
                // One key lands on one partition, so what comes from ours goes there, and nobody else's does.
                if !append(&*self.topics, &topic, self.raw[i].partition, batch, &self.stop).await? {
                    // Stopped before the outputs were flushed: the input must be read again.
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

    /// Learns the keys that the transforms of other partitions have accepted, so that lines which reference them
    /// do not detour by the dead letters.
    async fn learn_of_others(&mut self, transform: &mut Transform) -> Result<(), Error> {
        // What nobody wants to know is not waited for either.
        self.others.retain(|(dataset, _)| transform.known_keys().is_wanted(*dataset));
        for (dataset, cursor) in &mut self.others {
            while let Some(batch) = read(cursor, &*self.topics, &self.stop).await? {
                let kind = self.manifest.datasets[*dataset].key_column().kind;
                batch.iter().for_each(|record| transform.known_keys().learn(*dataset, kind, record.key));
            }
        }
        Ok(())
    }

    /// Stores how far the inputs were read: their outputs are on their topics.
    async fn store(&self) -> Result<Vec<Consumed>, Error> {
        let consumed = self.consumed();
        persist!("storing offsets", &self.stop, self.sink.store(READER, &consumed).await)?;
        Failpoint::OffsetsStored.pass()?;
        for cursor in &self.raw {
            self.topics.trim(&cursor.topic, cursor.partition, cursor.next).await.map_err(topics_error)?;
        }
        Ok(consumed)
    }

    fn cursors(&self) -> impl Iterator<Item = &Cursor> {
        self.raw.iter().chain(self.others.iter().map(|(_, cursor)| cursor))
    }

    fn consumed(&self) -> Vec<Consumed> {
        self.raw.iter().map(Cursor::consumed).collect()
    }
}
