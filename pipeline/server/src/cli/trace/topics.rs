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
    /// The fingerprint of the text: see [`fingerprint`](tidegate_core::shape::fingerprint).
    pub(crate) fingerprint: u32,
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
                    let place = (*stage, topic.as_str(), partition, offset);
                    if let Some((position, record)) = read(place, record, wanted) {
                        found.entry(position).or_default().push(record);
                    }
                }
            }
        }
    }
    Ok(found)
}

/// The record at a place, with the position of its line; `None` if its line is not wanted.
fn read(
    (stage, topic, partition, offset): (TopicStage, &str, u32, u64),
    record: Record<'_>,
    wanted: &BTreeSet<Position>,
) -> Option<(Position, TopicRecord)> {
    let (position, at, fingerprint, text) = if stage == TopicStage::DeadLetters {
        let letter = DeadLetter::parse(record.value).ok()?;
        let text = letter.text.as_deref().map(|text| text.as_bytes().to_vec());
        (letter.position(), Some(letter.at), letter.fingerprint, text)
    } else {
        let line = Line::parse(record.value)?;
        (line.position, None, line.fingerprint, Some(line.text.to_vec()))
    };
    let topic = topic.to_owned();
    let record = TopicRecord { stage, topic, partition, offset, at, fingerprint, text };
    wanted.contains(&position).then_some((position, record))
}
