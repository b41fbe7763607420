//! How far the other stages are: what the stage that feeds the topics must know of them.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::contract::{Consumed, Error, Offsets, SINK_READER, Sink};
use tidegate_core::manifest::{Engine, Manifest};
use tidegate_topics::Topics;
use tokio::time::Instant;

use crate::process::READER;
use crate::progress::{Progress, is_drained, lag_bytes};

/// How long a transform that tells nobody how far it is may keep lines: Arroyo gives out at its checkpoints, and
/// starts again when a worker has died.
const KEPT_MAX: Duration = Duration::from_secs(60);
/// How long an answer of Postgres about stages in other processes is good for.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Where transform and sink run, and so who knows how far they are.
pub(crate) enum Standing<S> {
    /// In this process, for all partitions: it is known at once.
    Here(Arc<Progress>),
    /// Here or elsewhere, in any number: their offsets in Postgres tell.
    Shared(Shared<S>),
}

pub(crate) struct Shared<S> {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) sink: Arc<S>,
    pub(crate) known: Option<Known>,
    /// When a reader moved last, or a line was sent.
    pub(crate) moved_at: Option<Instant>,
}

/// The last answer, when it came, and what was found by it since.
pub(crate) struct Known {
    asked: Instant,
    /// Where each reader of each partition stands, in the order of the stream.
    readers: Vec<Consumed>,
    lag_bytes: Option<u64>,
    /// One of them was not at its end: nor is it later, as far as is known.
    is_behind: bool,
}

impl<S: Sink + Offsets> Standing<S> {
    /// About how many bytes stand on the topics that the sink has not committed.
    pub(crate) async fn lag_bytes(&mut self, topics: &impl Topics) -> Result<u64, Error> {
        match self {
            Self::Here(progress) => lag_bytes(topics, &progress.marks()).await,
            Self::Shared(shared) => {
                let known = shared.lately().await?;
                if let Some(lag_bytes) = known.lag_bytes {
                    return Ok(lag_bytes);
                }
                let lag_bytes = lag_bytes(topics, &known.readers).await?;
                known.lag_bytes = Some(lag_bytes);
                Ok(lag_bytes)
            }
        }
    }

    /// Whether every line on the topics has passed the sink.
    pub(crate) async fn drained(&mut self, topics: &impl Topics) -> Result<bool, Error> {
        match self {
            Self::Here(progress) => is_drained(topics, &progress.marks()).await,
            Self::Shared(shared) => {
                let known = shared.lately().await?;
                // The ends are asked anew each time: they are ours to move.
                known.is_behind = known.is_behind || !is_drained(topics, &known.readers).await?;
                Ok(!known.is_behind)
            }
        }
    }

    /// Whether lines that have not passed the sink, though all is drained, are on no topic any more. A transform of
    /// another's making may have them still.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Here(_) => true,
            Self::Shared(shared) => {
                shared.manifest.engine() == Engine::Tidegate
                    || shared.moved_at.is_some_and(|moved| moved.elapsed() > KEPT_MAX)
            }
        }
    }

    /// Whether nothing is left to heal, when all is drained.
    pub(crate) async fn is_healed(&self) -> Result<bool, Error> {
        match self {
            Self::Here(progress) => Ok(!progress.heal_pending()),
            Self::Shared(shared) => Ok(shared.sink.heal().await? == 0),
        }
    }

    /// Notes that lines were sent.
    pub(crate) fn sent(&mut self) {
        if let Self::Shared(shared) = self {
            shared.moved_at = Some(Instant::now());
        }
    }

    /// Resolves when it may be worth asking again.
    pub(crate) async fn changed(&self) {
        match self {
            Self::Here(progress) => progress.changed().await,
            Self::Shared(_) => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}

impl<S: Sink + Offsets> Shared<S> {
    /// Where the readers stand, or stood a moment ago.
    async fn lately(&mut self) -> Result<&mut Known, Error> {
        let known = match self.known.take() {
            Some(known) if known.asked.elapsed() < ASK_EVERY => known,
            before => {
                let mut readers = readers(&self.manifest, &*self.sink).await?;
                if self.manifest.engine() == Engine::Arroyo {
                    // It keeps its offsets to itself.
                    readers.drain(..self.manifest.datasets.len() * self.manifest.partitions() as usize);
                }
                if before.is_none_or(|before| before.readers != readers) {
                    self.moved_at = Some(Instant::now());
                }
                Known { asked: Instant::now(), readers, lag_bytes: None, is_behind: false }
            }
        };
        Ok(self.known.insert(known))
    }
}

/// Where the reader of each partition of each topic stands, as Postgres knows it, in the order of the stream.
pub(crate) async fn readers(manifest: &Manifest, offsets: &impl Offsets) -> Result<Vec<Consumed>, Error> {
    let mut stored = offsets.offsets(READER).await?;
    stored.extend(offsets.offsets(SINK_READER).await?);
    let partitions = 0..manifest.partitions();
    let places = manifest.topics().into_iter().flat_map(|topic| {
        partitions.clone().map(move |partition| Consumed { topic: topic.clone(), partition, next: 0 })
    });
    let mut places: Vec<Consumed> = places.collect();
    for place in &mut places {
        let is_its = |stored: &&Consumed| stored.topic == place.topic && stored.partition == place.partition;
        place.next = stored.iter().find(is_its).map_or(0, |stored| stored.next);
    }
    Ok(places)
}
