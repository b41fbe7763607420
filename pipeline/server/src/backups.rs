//! `tidegate backup`, and backups on a schedule beside a run.

use std::time::{Duration, Instant, SystemTime};

use tidegate_connectors::avro::{self, Backup, Folder, Options, describe};
use tidegate_connectors::postgres::Postgres;
use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_core::manifest;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use uuid::Uuid;

use crate::cli::{BackupArguments, Format, Global};
use crate::settings::Settings;
use crate::{Failure, output, watch};

/// How long the command waits for another backup to the same folder.
const BUSY_MAX: Duration = Duration::from_secs(60);
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How often it is looked whether the time has come, and how soon a failed backup is tried again.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Where backups are written to, if the manifest does not say.
const FOLDER: &str = "backups";

/// The pipeline's folder of backups.
pub(crate) fn folder(settings: &Settings) -> Folder {
    let to = settings.manifest.backup.as_ref().map(|backup| backup.to.clone());
    Folder::new(settings.folder.join(to.unwrap_or_else(|| FOLDER.into())))
}

/// How backups are compressed, if nobody says otherwise.
pub(crate) fn codec(settings: &Settings) -> manifest::Codec {
    settings.manifest.backup.as_ref().map(|backup| backup.codec).unwrap_or_default()
}

/// `tidegate backup`.
///
/// # Errors
///
/// If the database cannot be read, or the disk does not take it.
pub async fn command(global: &Global, arguments: &BackupArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let postgres = settings.database(Uuid::nil())?;
    let folder = arguments.to.as_ref().map_or_else(|| folder(&settings), Folder::new);
    let codec = arguments.codec.map_or_else(|| codec(&settings), Into::into);
    let options = Options { datasets: arguments.datasets.clone(), codec, keyed: None };
    let begun = Instant::now();
    let taking = async {
        loop {
            match avro::backup(&postgres, &folder, &options).await {
                Err(avro::Error::Busy(_)) if begun.elapsed() < BUSY_MAX => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                taken => return taken,
            }
        }
    };
    let backup = watch::during("backing up", taking).await?.summary();
    let path = folder.path().join(&backup.id);
    match arguments.format {
        Format::Json => {
            let mut json = serde_json::to_value(&backup)?;
            json["path"] = path.display().to_string().into();
            output::print(&format!("{}\n", serde_json::to_string_pretty(&json)?))
        }
        format => output::write(&relation(&backup), format).await,
    }?;
    if arguments.format == Format::Table {
        output::print(&format!("backed up to {}\n", path.display()))?;
    }
    Ok(())
}

fn relation(backup: &Backup) -> Relation {
    let number = |name| Column::new(name, ColumnKind::Number);
    let columns = vec![
        Column::new("dataset", ColumnKind::Text),
        number("rows"),
        number("bytes"),
        Column::new("file", ColumnKind::Text),
        Column::new("blake3", ColumnKind::Text),
    ];
    let rows = backup.datasets.iter().map(|written| {
        let numbers = [written.rows, written.bytes].map(|number| Some(number.to_string()));
        let texts = [&written.file, &written.blake3].map(|text| Some(text.clone()));
        [Some(written.name.clone())].into_iter().chain(numbers).chain(texts).collect()
    });
    Relation { columns, rows: rows.collect() }
}

/// Takes backups when their time has come, until it is dropped. That one fails is said, and no fault of the run.
pub(crate) struct Schedule(JoinHandle<()>);

impl Drop for Schedule {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Schedule {
    /// Begins, if the manifest asks for backups.
    pub(crate) fn start(settings: &Settings, postgres: &Postgres) -> Option<Self> {
        let backup = settings.manifest.backup.clone()?;
        let (folder, postgres) = (folder(settings), postgres.clone());
        Some(Self(tokio::spawn(keep_time(backup, folder, postgres))))
    }
}

async fn keep_time(schedule: manifest::Backup, folder: Folder, postgres: Postgres) {
    let options = Options { codec: schedule.codec, ..Options::default() };
    let keep = schedule.keep as usize;
    let mut last = Instant::now();
    loop {
        let left = match since_last(&folder).await {
            // One from the future is none: the clock was set back.
            Some(age) => schedule.every.saturating_sub(age.max(last.elapsed())),
            None => Duration::ZERO,
        };
        if !left.is_zero() {
            tokio::time::sleep(left.min(LOOK_EVERY_MAX)).await;
            continue;
        }
        let begun = Instant::now();
        match avro::backup(&postgres, &folder, &options).await {
            Ok(backup) => {
                last = begun;
                let ms = begun.elapsed().as_millis() as u64;
                info!(backup = backup.id, ms, "backed up");
            }
            Err(error) => {
                let pause = RETRY_AFTER.min(schedule.every);
                warn!(retry_in_s = pause.as_secs_f64(), "no backup was made: {error}");
                tokio::time::sleep(pause).await;
                continue;
            }
        }
        let old = folder.clone();
        let pruned = tokio::task::spawn_blocking(move || old.prune(keep)).await;
        match pruned {
            Ok(Ok(old)) => old.iter().for_each(|backup| info!(backup, "removed, as too old to be kept")),
            Ok(Err(error)) => warn!("old backups were not removed: {error}"),
            Err(error) => warn!("old backups were not removed: {error}"),
        }
    }
}

/// How long ago the last backup of everything began; `None` if there is none.
async fn since_last(folder: &Folder) -> Option<Duration> {
    let folder = folder.clone();
    let last = tokio::task::spawn_blocking(move || {
        let whole = |id: &String| {
            let backup = describe(&folder.path().join(id)).ok().flatten();
            backup.filter(|backup| !backup.state.is_empty()).map(|backup| backup.taken_at)
        };
        folder.names().ok()?.iter().find_map(whole)
    });
    let last = humantime::parse_rfc3339(&last.await.ok()??).ok()?;
    Some(SystemTime::now().duration_since(last).unwrap_or_default())
}
