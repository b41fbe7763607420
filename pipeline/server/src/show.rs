//! Commands that look into a pipeline: sources, topics.

use std::ops::Range;
use std::path::Path;

use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_topics::{Broker, Topics};
use uuid::Uuid;

use crate::cli::{
    Format, GenerateArguments, Global, SourcesArguments, SourcesCommand, TopicArguments, TopicCommand,
};
use crate::settings::Settings;
use crate::{Failure, data_dir, generate, output, reloads};

/// `tidegate sources`.
///
/// # Errors
///
/// If the database cannot be asked, or a source cannot be read again.
pub async fn sources(global: &Global, arguments: &SourcesArguments) -> Result<(), Failure> {
    if let Some(SourcesCommand::Reload(reload)) = &arguments.command {
        return reloads::command(global, reload, arguments.format).await;
    }
    let postgres = Settings::load(global)?.database(Uuid::nil())?;
    let sources = postgres.sources().await?;
    let shown = if arguments.format == Format::Table { sources.without_zeros("uncounted") } else { sources };
    output::write(&shown, arguments.format).await
}

/// `tidegate topic`.
///
/// # Errors
///
/// If there is no such topic, or it cannot be read.
pub async fn topic(global: &Global, arguments: &TopicArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let relation = match &arguments.command {
        Some(TopicCommand::Read { name, partition, from, limit }) => {
            read_topic(&settings, name, *partition, *from, *limit).await?
        }
        Some(TopicCommand::List) | None => list_topics(&settings).await?,
    };
    output::write(&relation, arguments.format).await
}

/// Some topics to read from: those of a cluster, or a copy of embedded ones, which are a running pipeline's alone.
pub(crate) struct Snapshot {
    pub(crate) log: Broker,
    /// Those that are there, in alphabetical order.
    pub(crate) topics: Vec<String>,
    /// Of each topic.
    pub(crate) partitions: Range<u32>,
    _directory: tempfile::TempDir,
}

impl Snapshot {
    /// Takes those of `topics` that are there.
    pub(crate) async fn take(settings: &Settings, topics: &[String]) -> Result<Self, Failure> {
        let directory = data_dir::topics(&settings.data_dir);
        let copy = tempfile::tempdir()?;
        if settings.manifest.fluvio.is_none() {
            for topic in topics {
                let from = directory.join(topic);
                if from.is_dir() {
                    copy_folder(&from, &copy.path().join(topic))?;
                }
            }
        }
        // What is being appended at the moment looks like a torn tail; the copy alone is cut.
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
            return Err(error.into()); // one that is not found was trimmed meanwhile
        }
    }
    Ok(())
}

async fn list_topics(settings: &Settings) -> Result<Relation, Failure> {
    let Snapshot { log, topics, partitions, _directory } =
        Snapshot::take(settings, &settings.manifest.topics()).await?;
    let columns = vec![
        Column::new("topic", ColumnKind::Text),
        Column::new("partition", ColumnKind::Number),
        Column::new("start", ColumnKind::Number),
        Column::new("end", ColumnKind::Number),
        Column::new("bytes", ColumnKind::Number),
    ];
    let mut rows = Vec::new();
    for topic in topics {
        for partition in partitions.clone() {
            let start = log.start(&topic, partition).await?;
            let end = log.end(&topic, partition).await?;
            let bytes = log.bytes_after(&topic, partition, start).await?;
            let numbers = [u64::from(partition), start, end, bytes].map(|number| Some(number.to_string()));
            rows.push([Some(topic.clone())].into_iter().chain(numbers).collect());
        }
    }
    Ok(Relation { columns, rows })
}

async fn read_topic(
    settings: &Settings,
    topic: &str,
    partition: Option<u32>,
    from: Option<u64>,
    limit: usize,
) -> Result<Relation, Failure> {
    let Snapshot { log, partitions, _directory, .. } = Snapshot::take(settings, &[topic.to_owned()]).await?;
    let columns = vec![
        Column::new("partition", ColumnKind::Number),
        Column::new("offset", ColumnKind::Number),
        Column::new("key", ColumnKind::Text),
        Column::new("value", ColumnKind::Text),
    ];
    let mut rows = Vec::new();
    for partition in partition.map_or(partitions, |one| one..one.saturating_add(1)) {
        let start = log.start(topic, partition).await?;
        let mut next = from.unwrap_or(start).max(start);
        while rows.len() < limit {
            let Some(fetched) = log.read(topic, partition, next).await? else { break };
            next = fetched.next;
            for (offset, record) in (fetched.base..).zip(fetched.batch.iter()).take(limit - rows.len()) {
                let text = |bytes| Some(String::from_utf8_lossy(bytes).into_owned());
                let (partition, offset) = (Some(partition.to_string()), Some(offset.to_string()));
                rows.push(vec![partition, offset, text(record.key), text(record.value)]);
            }
        }
    }
    Ok(Relation { columns, rows })
}

/// `tidegate generate`.
///
/// # Errors
///
/// If the files cannot be written.
pub fn generate(arguments: &GenerateArguments) -> Result<(), Failure> {
    let options = generate::Options {
        employees: arguments.employees,
        rejects_percent: arguments.rejects_percent,
        seed: arguments.seed,
        ..generate::Options::default()
    };
    std::fs::create_dir_all(&arguments.to)?;
    Ok(generate::company(&arguments.to, &options)?)
}
