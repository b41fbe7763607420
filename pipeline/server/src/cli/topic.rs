//! `tidegate topic`.

use std::ops::Range;
use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;
use tidegate_node::Settings;
use tidegate_postgres::relation::ColumnKind::{Number, Text};
use tidegate_postgres::relation::Relation;
use tidegate_topics::{Broker, Topics};

use crate::Failure;
use crate::cli::{Format, Global, output, settings};

/// Flags of `topic`.
#[derive(Debug, Args)]
pub struct TopicArguments {
    /// What to show [default: list]
    #[command(subcommand)]
    pub command: Option<TopicCommand>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t, global = true)]
    pub format: Format,
}

/// What to show of the topics.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// All topics, with their offsets
    List,
    /// The records of a topic
    Read {
        /// The topic
        name: String,
        /// The partition [default: all, one after the other]
        #[arg(long)]
        partition: Option<u32>,
        /// The first offset to show [default: the first there is]
        #[arg(long)]
        from: Option<u64>,
        /// At most so many records
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

/// Runs `tidegate topic`.
pub async fn command(global: &Global, arguments: &TopicArguments) -> Result<(), Failure> {
    let settings = settings::load(global)?;
    let relation = match &arguments.command {
        Some(TopicCommand::Read { name, partition, from, limit }) => {
            read_topic(&settings, name, *partition, *from, *limit).await?
        }
        Some(TopicCommand::List) | None => list_topics(&settings).await?,
    };
    output::write(&relation, arguments.format).await
}

/// Topics to read from: those of a cluster, or a copy of embedded ones, which only the running pipeline may open.
pub(crate) struct TopicSnapshot {
    pub(crate) log: Broker,
    /// The topics that exist, in alphabetical order.
    pub(crate) topics: Vec<String>,
    /// The partitions of each topic.
    pub(crate) partitions: Range<u32>,
    _directory: tempfile::TempDir,
}

impl TopicSnapshot {
    /// Opens those of `topics` that exist.
    pub(crate) async fn take(settings: &Settings, topics: &[String]) -> Result<Self, Failure> {
        let directory = tidegate_node::data_dir::topics(&settings.data_dir);
        let copy = tempfile::tempdir()?;
        if settings.manifest.fluvio.is_none() {
            for topic in topics {
                let from = directory.join(topic);
                if from.is_dir() {
                    copy_folder(&from, &copy.path().join(topic))?;
                }
            }
        }
        // A record that is being appended at the moment looks like a torn tail. Only the copy is cut.
        let log = settings.topics(copy.path())?;
        let mut present = log.list().await?;
        present.retain(|topic| topics.contains(topic));
        Ok(Self { log, topics: present, partitions: 0..settings.manifest.partitions(), _directory: copy })
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if let Err(error) = std::fs::copy(entry.path(), &target)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error.into()); // a segment that is not found was trimmed meanwhile
        }
    }
    Ok(())
}

async fn list_topics(settings: &Settings) -> Result<Relation, Failure> {
    let snapshot = TopicSnapshot::take(settings, &settings.manifest.topics()).await?;
    let mut rows = Vec::new();
    for topic in &snapshot.topics {
        for partition in snapshot.partitions.clone() {
            let start = snapshot.log.start(topic, partition).await?;
            let end = snapshot.log.end(topic, partition).await?;
            let bytes = snapshot.log.bytes_after(topic, partition, start).await?;
            rows.push(json!([topic, partition, start, end, bytes]));
        }
    }
    let columns =
        [("topic", Text), ("partition", Number), ("start", Number), ("end", Number), ("bytes", Number)];
    Ok(output::relation(&columns, rows))
}

async fn read_topic(
    settings: &Settings,
    topic: &str,
    partition: Option<u32>,
    from: Option<u64>,
    limit: usize,
) -> Result<Relation, Failure> {
    let snapshot = TopicSnapshot::take(settings, &[topic.to_owned()]).await?;
    let mut rows = Vec::new();
    for partition in partition.map_or(snapshot.partitions.clone(), |one| one..one.saturating_add(1)) {
        let start = snapshot.log.start(topic, partition).await?;
        let mut next = from.unwrap_or(start).max(start);
        while rows.len() < limit {
            let Some(fetched) = snapshot.log.read(topic, partition, next).await? else { break };
            next = fetched.next;
            for (offset, record) in (fetched.base..).zip(fetched.batch.iter()).take(limit - rows.len()) {
                let [key, value] = [record.key, record.value].map(String::from_utf8_lossy);
                rows.push(json!([partition, offset, key, value]));
            }
        }
    }
    let columns = [("partition", Number), ("offset", Number), ("key", Text), ("value", Text)];
    Ok(output::relation(&columns, rows))
}
