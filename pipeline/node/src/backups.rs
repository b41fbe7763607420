//! Backups on a schedule beside a run.

use std::time::{Duration, Instant, SystemTime};

use tidegate_avro::{BackupOptions, Folder, describe};
use tidegate_core::manifest;
use tidegate_store::Store;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::settings::Settings;

/// The longest pause between two checks of the schedule, and the pause before a failed backup is retried.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The folder of backups, if the manifest names none.
const FOLDER: &str = "backups";

/// The pipeline's folder of backups.
pub fn folder(settings: &Settings) -> Folder {
    let to = settings.manifest.backup.as_ref().map(|backup| backup.to.clone());
    Folder::new(settings.folder.join(to.unwrap_or_else(|| FOLDER.into())))
}

/// The compression of backups: the manifest's, or the default.
pub fn codec(settings: &Settings) -> manifest::Codec {
    settings.manifest.backup.as_ref().map(|backup| backup.codec).unwrap_or_default()
}

/// Takes backups on the manifest's schedule until the handle is dropped; `None` if the manifest has no schedule. A
/// backup that fails is logged and does not fail the run.
pub(crate) fn start(settings: &Settings, store: &Store) -> Option<AbortOnDropHandle<()>> {
    let backup = settings.manifest.backup.clone()?;
    Some(AbortOnDropHandle::new(tokio::spawn(keep_time(backup, folder(settings), store.clone()))))
}

async fn keep_time(schedule: manifest::BackupSchedule, folder: Folder, store: Store) {
    let options = BackupOptions { codec: schedule.codec, ..BackupOptions::default() };
    let keep = schedule.keep as usize;
    let mut last = Instant::now();
    loop {
        let left = match since_last(&folder).await {
            // If the clock was set back, the last backup may lie in the future. Its age is zero then, and the time that
            // this process has measured counts.
            Some(age) => schedule.every.saturating_sub(age.max(last.elapsed())),
            None => Duration::ZERO,
        };
        if !left.is_zero() {
            tokio::time::sleep(left.min(LOOK_EVERY_MAX)).await;
            continue;
        }
        let begun = Instant::now();
        match tidegate_avro::backup(&store, &folder, &options).await {
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
        match tokio::task::spawn_blocking(move || old.prune(keep)).await {
            Ok(Ok(old)) => old.iter().for_each(|backup| info!(backup, "removed, as too old to be kept")),
            Ok(Err(error)) => warn!("old backups were not removed: {error}"),
            Err(error) => warn!("old backups were not removed: {error}"),
        }
    }
}

/// The time since the last full backup began; `None` if there is none.
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
