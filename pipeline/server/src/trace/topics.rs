//! Where lines are on the topics.

use std::collections::{BTreeSet, HashMap};

use tidegate_core::dead_letter::DeadLetter;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::position::Position;
use tidegate_core::record::{Line, Record};
use tidegate_topics::{ErrorKind, Fetched, Offset, Topics};
use tracing::warn;

use crate::Failure;
use crate::settings::Settings;
use crate::show::Snapshot;

/// A record of a line.
#[derive(Clone, Debug)]
pub(crate) struct OnTopic {
    pub(crate) stage: TopicStage,
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    /// When the record was made, if it says so.
    pub(crate) at: Option<String>,
    /// The line, as it stands on the topic.
    pub(crate) text: Option<Vec<u8>>,
}

/// What a topic carries; in the order in which a line passes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TopicStage {
    /// Lines as they arrived, for the transform.
    Raw,
    /// Canonical lines, for the sink.
    Accepted,
    /// Dead letters, for the sink.
    DeadLetters,
}

/// The topics of a dataset.
pub(crate) fn of_dataset(manifest: &Manifest, dataset: &Dataset) -> [(TopicStage, String); 3] {
    [
        (TopicStage::Raw, manifest.raw_topic(dataset)),
        (TopicStage::Accepted, manifest.accepted_topic(dataset)),
        (TopicStage::DeadLetters, manifest.dead_letters_topic()),
    ]
}

/// Looks for the lines `wanted` on `topics`.
pub(crate) async fn find(
    settings: &Settings,
    topics: &[(TopicStage, String)],
    wanted: &BTreeSet<Position>,
) -> Result<HashMap<Position, Vec<OnTopic>>, Failure> {
    let names: Vec<String> = topics.iter().map(|(_, name)| name.clone()).collect();
    let snapshot = Snapshot::take(settings, &names).await?;
    let mut found: HashMap<Position, Vec<OnTopic>> = HashMap::new();
    for (stage, topic) in topics.iter().filter(|(_, topic)| snapshot.topics.contains(topic)) {
        for partition in snapshot.partitions.clone() {
            let mut next = snapshot.log.start(topic, partition).await?;
            while let Some(fetched) = read_on(&snapshot.log, topic, partition, &mut next).await? {
                for (offset, record) in (fetched.base..).zip(fetched.batch.iter()) {
                    let Some((position, at, text)) = read(*stage, record, wanted) else { continue };
                    let (stage, topic) = (*stage, topic.clone());
                    found.entry(position).or_default().push(OnTopic {
                        stage,
                        topic,
                        partition,
                        offset,
                        at,
                        text,
                    });
                }
            }
        }
    }
    Ok(found)
}

/// The records at `next`, which it moves behind them; `None` at the end. Passes over gaps, with a warning.
pub(crate) async fn read_on(
    log: &impl Topics,
    topic: &str,
    partition: u32,
    next: &mut Offset,
) -> Result<Option<Fetched>, Failure> {
    loop {
        match log.read(topic, partition, *next).await {
            Ok(Some(fetched)) => {
                *next = fetched.next;
                return Ok(Some(fetched));
            }
            Ok(None) => return Ok(None),
            Err(error) => match error.kind() {
                ErrorKind::Corrupt { resume_at: to } | ErrorKind::BehindStart { start: to } => {
                    warn!(%error, topic, partition, from = *next, to, "passed over a gap");
                    *next = to;
                }
                _ => return Err(error.into()),
            },
        }
    }
}

/// The position, time and text of a record, if it is of a line that is wanted.
fn read(
    stage: TopicStage,
    record: Record<'_>,
    wanted: &BTreeSet<Position>,
) -> Option<(Position, Option<String>, Option<Vec<u8>>)> {
    if stage == TopicStage::DeadLetters {
        let letter =
            DeadLetter::parse(record.value).ok().filter(|letter| wanted.contains(&letter.position()))?;
        let text = letter.text.as_deref().map(|text| text.as_bytes().to_vec());
        return Some((letter.position(), Some(letter.at), text));
    }
    let line = Line::parse(record.value).filter(|line| wanted.contains(&line.position))?;
    Some((line.position, None, Some(line.text.to_vec())))
}
