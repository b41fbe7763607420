//! Commands that look into a pipeline: sources, dead letters, topics.

use std::path::Path;

use tidegate_connectors::postgres::report::{Column, ColumnKind, LetterFilter, Relation};
use tidegate_topics::embedded::Options;
use tidegate_topics::{Embedded, Topics};
use uuid::Uuid;

use crate::cli::{
    FormatArguments, GenerateArguments, Global, LettersArguments, LettersCommand, TopicArguments,
    TopicCommand,
};
use crate::settings::Settings;
use crate::{Failure, data_dir, generate, output};

/// `tidegate sources`.
///
/// # Errors
///
/// If the database cannot be asked.
pub async fn sources(global: &Global, arguments: &FormatArguments) -> Result<(), Failure> {
    let postgres = Settings::load(global)?.database(Uuid::nil())?;
    output::write(&postgres.sources().await?, arguments.format).await
}

/// `tidegate dead-letters`.
///
/// # Errors
///
/// If there is no such dead letter, or the database cannot be asked.
pub async fn dead_letters(global: &Global, arguments: &LettersArguments) -> Result<(), Failure> {
    let postgres = Settings::load(global)?.database(Uuid::nil())?;
    let relation = match &arguments.command {
        Some(LettersCommand::Summary) => postgres.dead_letter_summary().await?,
        Some(LettersCommand::Show { position }) => {
            let letter = postgres.dead_letter(position.source, position.line).await?;
            if letter.rows.is_empty() {
                return Err(Failure::new(format!("line {position} is no dead letter")));
            }
            letter
        }
        Some(LettersCommand::List { dataset, code, status, source, limit }) => {
            let (dataset, code, status) = (dataset.clone(), code.clone(), status.clone());
            let filter = LetterFilter { dataset, code, status, source: *source, limit: *limit };
            postgres.dead_letters(&filter).await?
        }
        None => postgres.dead_letters(&LetterFilter { limit: 1000, ..LetterFilter::default() }).await?,
    };
    output::write(&relation, arguments.format).await
}

/// `tidegate topic`.
///
/// # Errors
///
/// If there is no such topic, or it cannot be read.
pub async fn topic(global: &Global, arguments: &TopicArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let directory = data_dir::topics(&settings.data_dir);
    let relation = match &arguments.command {
        Some(TopicCommand::Read { name, from, limit }) => read_topic(&directory, name, *from, *limit).await?,
        Some(TopicCommand::List) | None => list_topics(&directory, &settings.manifest.topics()).await?,
    };
    output::write(&relation, arguments.format).await
}

/// A copy of some topics to read from. The topics themselves are a running pipeline's alone.
pub(crate) struct Snapshot {
    pub(crate) log: Embedded,
    _directory: tempfile::TempDir,
}

impl Snapshot {
    /// Copies those of `topics` that are there.
    pub(crate) fn take(directory: &Path, topics: &[String]) -> Result<Self, Failure> {
        let copy = tempfile::tempdir()?;
        for topic in topics {
            let from = directory.join(topic);
            if from.is_dir() {
                copy_folder(&from, &copy.path().join(topic))?;
            }
        }
        // What is being appended at the moment looks like a torn tail; the copy alone is cut.
        Ok(Self { log: Embedded::open(copy.path(), Options::default())?, _directory: copy })
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

async fn list_topics(directory: &Path, topics: &[String]) -> Result<Relation, Failure> {
    let snapshot = Snapshot::take(directory, topics)?;
    let columns = vec![
        Column::new("topic", ColumnKind::Text),
        Column::new("start", ColumnKind::Number),
        Column::new("end", ColumnKind::Number),
        Column::new("bytes", ColumnKind::Number),
    ];
    let mut rows = Vec::new();
    for topic in snapshot.log.list().await? {
        let start = snapshot.log.start(&topic, 0).await?;
        let end = snapshot.log.end(&topic, 0).await?;
        let bytes = snapshot.log.bytes_after(&topic, 0, start).await?;
        rows.push(vec![Some(topic), Some(start.to_string()), Some(end.to_string()), Some(bytes.to_string())]);
    }
    Ok(Relation { columns, rows })
}

async fn read_topic(
    directory: &Path,
    topic: &str,
    from: Option<u64>,
    limit: usize,
) -> Result<Relation, Failure> {
    let snapshot = Snapshot::take(directory, &[topic.to_owned()])?;
    let start = snapshot.log.start(topic, 0).await?;
    let mut next = from.unwrap_or(start).max(start);
    let columns = vec![
        Column::new("offset", ColumnKind::Number),
        Column::new("key", ColumnKind::Text),
        Column::new("value", ColumnKind::Text),
    ];
    let mut rows = Vec::new();
    while rows.len() < limit {
        let Some(fetched) = snapshot.log.read(topic, 0, next).await? else { break };
        next = fetched.next;
        for (offset, record) in (fetched.base..).zip(fetched.batch.iter()).take(limit - rows.len()) {
            let text = |bytes| Some(String::from_utf8_lossy(bytes).into_owned());
            rows.push(vec![Some(offset.to_string()), text(record.key), text(record.value)]);
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
