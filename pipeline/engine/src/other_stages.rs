//! How far the transform and the sink have come, for the stage that feeds the topics.

use std::sync::Arc;
use std::time::Duration;

use tidegate_core::contract::{ConsumerOffset, Error, Offsets, SINK_READER, Sink, TRANSFORM_READER};
use tidegate_core::manifest::{Engine, Manifest};
use tidegate_topics::Topics;
use tokio::time::Instant;

use crate::offsets::{is_drained, lag_bytes};
use crate::progress::Progress;

/// How long a transform that does not store its offsets may hold lines. Arroyo emits at its checkpoints, and
/// restarts when a worker has died.
const KEPT_MAX: Duration = Duration::from_secs(60);
/// How long stored offsets of stages in other processes are reused before they are read again.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Where transform and sink run, and therefore where their offsets are found.
pub(crate) enum OtherStages<S> {
    /// In this process, for all partitions: their progress is shared memory.
    Here(Arc<Progress>),
    /// In this process or others, any number of them: their offsets are in Postgres.
    Shared(SharedProgress<S>),
}

pub(crate) struct SharedProgress<S> {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) sink: Arc<S>,
    pub(crate) stored: Option<StoredOffsets>,
    /// When a reader's offset last changed, or a line was last sent.
    pub(crate) moved_at: Option<Instant>,
}

/// The offsets that were read last, when they were read, and what was computed from them since.
pub(crate) struct StoredOffsets {
    asked: Instant,
    /// The stored offset of each reader on each partition, in the order of the stream.
    readers: Vec<ConsumerOffset>,
    lag_bytes: Option<u64>,
    /// Whether a reader was found before its end. It then stays `true` until the offsets are read again.
    is_behind: bool,
}

impl<S: Sink + Offsets> OtherStages<S> {
    /// About how many bytes on the topics the sink has not committed.
    pub(crate) async fn lag_bytes(&mut self, topics: &impl Topics) -> Result<u64, Error> {
        match self {
            Self::Here(progress) => lag_bytes(topics, &progress.readers()).await,
            Self::Shared(shared) => {
                let stored = shared.lately().await?;
                if let Some(lag_bytes) = stored.lag_bytes {
                    return Ok(lag_bytes);
                }
                let lag_bytes = lag_bytes(topics, &stored.readers).await?;
                stored.lag_bytes = Some(lag_bytes);
                Ok(lag_bytes)
            }
        }
    }

    /// Whether every line on the topics has passed the sink.
    pub(crate) async fn drained(&mut self, topics: &impl Topics) -> Result<bool, Error> {
        match self {
            Self::Here(progress) => is_drained(topics, &progress.readers()).await,
            Self::Shared(shared) => {
                let stored = shared.lately().await?;
                // The ends are read anew each time: this stage's own appends move them.
                stored.is_behind = stored.is_behind || !is_drained(topics, &stored.readers).await?;
                Ok(!stored.is_behind)
            }
        }
    }

    /// Whether lines that have not passed the sink are on no topic any more, given that all topics are drained.
    /// `false` while Arroyo's transform may still hold them.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Here(_) => true,
            Self::Shared(shared) => {
                shared.manifest.engine() == Engine::Tidegate
                    || shared.moved_at.is_some_and(|moved| moved.elapsed() > KEPT_MAX)
            }
        }
    }

    /// Whether nothing is left to heal, given that all topics are drained.
    pub(crate) async fn is_healed(&self) -> Result<bool, Error> {
        match self {
            Self::Here(progress) => Ok(!progress.heal_pending()),
            Self::Shared(shared) => Ok(shared.sink.heal().await? == 0),
        }
    }

    /// Notes that lines were appended.
    pub(crate) fn sent(&mut self) {
        if let Self::Shared(shared) = self {
            shared.moved_at = Some(Instant::now());
        }
    }

    /// Resolves when the answers may have changed.
    pub(crate) async fn changed(&self) {
        match self {
            Self::Here(progress) => progress.changed().await,
            Self::Shared(_) => tokio::time::sleep(ASK_EVERY).await,
        }
    }
}

impl<S: Sink + Offsets> SharedProgress<S> {
    /// The readers' offsets, at most [`ASK_EVERY`] old.
    async fn lately(&mut self) -> Result<&mut StoredOffsets, Error> {
        let stored = match self.stored.take() {
            Some(stored) if stored.asked.elapsed() < ASK_EVERY => stored,
            before => {
                let mut readers = readers(&self.manifest, &*self.sink).await?;
                if self.manifest.engine() == Engine::Arroyo {
                    // Arroyo keeps the transform's offsets to itself.
                    readers.drain(..self.manifest.datasets.len() * self.manifest.partitions() as usize);
                }
                if before.is_none_or(|before| before.readers != readers) {
                    self.moved_at = Some(Instant::now());
                }
                StoredOffsets { asked: Instant::now(), readers, lag_bytes: None, is_behind: false }
            }
        };
        Ok(self.stored.insert(stored))
    }
}

/// The stored offset of each reader on each partition of each topic, in the order of the stream; 0 where none
/// is stored.
pub(crate) async fn readers(
    manifest: &Manifest,
    offsets: &impl Offsets,
) -> Result<Vec<ConsumerOffset>, Error> {
    let mut stored = offsets.offsets(TRANSFORM_READER).await?;
    stored.extend(offsets.offsets(SINK_READER).await?);
    let partitions = 0..manifest.partitions();
    let places = manifest.topics().into_iter().flat_map(|topic| {
        partitions.clone().map(move |partition| ConsumerOffset { topic: topic.clone(), partition, next: 0 })
    });
    let mut places: Vec<ConsumerOffset> = places.collect();
    for place in &mut places {
        let is_its =
            |stored: &&ConsumerOffset| stored.topic == place.topic && stored.partition == place.partition;
        place.next = stored.iter().find(is_its).map_or(0, |stored| stored.next);
    }
    Ok(places)
}
