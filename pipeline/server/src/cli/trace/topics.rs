//! The search for lines on the topics.

use std::collections::{BTreeSet, HashMap};

use tidegate_core::contract::ConsumerOffset;
use tidegate_core::dead_letter::DeadLetter;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::position::Position;
use tidegate_core::record::{Line, Record};
use tidegate_engine::read_on;
use tidegate_node::Settings;
use tidegate_topics::Topics;

use crate::Failure;
use crate::cli::topic::TopicSnapshot;

/// A record of a line on a topic.
#[derive(Clone, Debug)]
pub(crate) struct TopicRecord {
    pub(crate) stage: TopicStage,
    pub(crate) topic: String,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    /// When the record was made, if the record says so.
    pub(crate) at: Option<String>,
    /// The text of the line in the record.
    pub(crate) text: Option<Vec<u8>>,
}

/// The content of a topic, in the order in which a line passes the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TopicStage {
    /// Lines as they arrived, for the transform.
    Raw,
    /// Canonical lines, for the sink.
    Accepted,
    /// Dead letters, for the sink.
    DeadLetters,
}

/// The topics that a dataset's lines pass.
pub(crate) fn of_dataset(manifest: &Manifest, dataset: &Dataset) -> [(TopicStage, String); 3] {
    [
        (TopicStage::Raw, manifest.raw_topic(dataset)),
        (TopicStage::Accepted, manifest.accepted_topic(dataset)),
        (TopicStage::DeadLetters, manifest.dead_letters_topic()),
    ]
}

/// Finds the records of the `wanted` lines on `topics`.
pub(crate) async fn find(
    settings: &Settings,
    topics: &BTreeSet<(TopicStage, String)>,
    wanted: &BTreeSet<Position>,
) -> Result<HashMap<Position, Vec<TopicRecord>>, Failure> {
    let names: Vec<String> = topics.iter().map(|(_, name)| name.clone()).collect();
    let snapshot = TopicSnapshot::take(settings, &names).await?;
    let mut found: HashMap<Position, Vec<TopicRecord>> = HashMap::new();
    for (stage, topic) in topics.iter().filter(|(_, topic)| snapshot.topics.contains(topic)) {
        for partition in snapshot.partitions.clone() {
            let next = snapshot.log.start(topic, partition).await?;
            let mut cursor = ConsumerOffset { topic: topic.clone(), partition, next };
            while let Some(fetched) = read_on(&mut cursor, &snapshot.log).await? {
                for (offset, record) in (fetched.base..).zip(fetched.batch.iter()) {
                    let Some((position, at, text)) = read(*stage, record, wanted) else { continue };
                    let (stage, topic) = (*stage, topic.clone());
                    let record = TopicRecord { stage, topic, partition, offset, at, text };
                    found.entry(position).or_default().push(record);
                }
            }
        }
    }
    Ok(found)
}

/// The position, time and text of a record; `None` if its line is not wanted.
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
