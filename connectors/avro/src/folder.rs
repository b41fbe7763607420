//! The folder of backups: `<folder>/<time>/<dataset>.avro`, and `manifest.json` with the description of each backup.
//!
//! **A backup under its own name is complete.** A backup is written in a hidden folder, and renamed when all of it is
//! on disk. Its writer holds the lock of the folder, so no other process is writing a
//! half-written backup that the writer finds.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, DirEntry, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use blake3::Hash;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidegate_core::failpoint::Failpoint;
use tidegate_store::IdempotencyKey;
use uuid::Uuid;

use crate::AvroError;
use crate::file::{TableFile, sync};

/// The file that describes a backup, beside its other files.
pub(super) const DESCRIPTION: &str = "manifest.json";
/// The folder of Tidegate's own tables, within a backup.
pub(super) const STATE: &str = "_tidegate";
/// The version of the format of a backup.
pub(super) const FORMAT: u32 = 1;
const LOCK: &str = ".lock";
const PREFIX: &str = ".backup-";
const SUFFIX: &str = ".partial";

/// The description of a backup, as in its `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The version of the format: 1.
    pub format: u32,
    /// The backup's name, from the time when it was taken: `20261121T203000Z`.
    pub id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The pipeline's identity in its database.
    pub identity: Uuid,
    /// The time of the snapshot, by Postgres's clock.
    pub taken_at: String,
    /// The largest number of a source in the snapshot; 0 if there was none.
    pub largest_source: u64,
    /// How blocks are compressed.
    pub codec: String,
    /// The request for the backup, if it had an idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<RequestId>,
    /// The version of Tidegate that wrote it.
    pub tidegate: String,
    /// The version of Tidegate's own schema in the database.
    pub schema: i32,
    /// The datasets' tables.
    pub datasets: Vec<TableFile>,
    /// Tidegate's own tables, if all datasets were backed up. `restore --exact` needs them.
    #[serde(default)]
    pub state: Vec<TableFile>,
    /// Tidegate's own sequences, with the last number of each.
    #[serde(default)]
    pub sequences: BTreeMap<String, i64>,
}

/// A request with an idempotency key, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RequestId {
    /// The hash that identifies the request.
    identity: String,
    /// BLAKE3 of the request's content.
    content: String,
}

impl RequestId {
    pub(super) fn of(idempotency_key: &IdempotencyKey) -> Self {
        let [identity, content] =
            [idempotency_key.identity, idempotency_key.content].map(|hash| Hash::from(hash).to_string());
        Self { identity, content }
    }
}

impl Backup {
    /// Returns the description without the checksums of blocks, for users and clients.
    pub fn summary(mut self) -> Self {
        for written in self.datasets.iter_mut().chain(&mut self.state) {
            written.blocks.clear();
        }
        self
    }
}

/// Reads the description of the backup in `folder`; `None` if the folder has none. Fails if the description is of a
/// later version.
pub fn describe(folder: &Path) -> Result<Option<Backup>, AvroError> {
    let path = folder.join(DESCRIPTION);
    let text = match std::fs::read(&path) {
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(None);
        }
        read => read.map_err(AvroError::io("read", &path))?,
    };
    let damaged = |error: serde_json::Error| {
        AvroError::refused(format!("'{}' is no description of a backup: {error}", path.display()))
    };
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(damaged)?;
    match value["format"].as_u64() {
        Some(format) if format > u64::from(FORMAT) => Err(AvroError::refused(format!(
            "'{}' is of a later version of Tidegate: its format is {format}, this version reads {FORMAT}",
            path.display()
        ))),
        _ => serde_json::from_value(value).map(Some).map_err(damaged),
    }
}

/// A folder of backups.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Returns the folder at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names of the backups, the newest first; none if the folder is missing.
    pub fn names(&self) -> Result<Vec<String>, AvroError> {
        let mut names = self.entries()?;
        names.retain(|name| is_id(name) && self.path.join(name).join(DESCRIPTION).is_file());
        names.sort_by(|a, b| order_of(b).cmp(&order_of(a)));
        Ok(names)
    }

    /// Returns the names of all that is in the folder; none if the folder is missing.
    fn entries(&self) -> Result<Vec<String>, AvroError> {
        let name = |entry: std::io::Result<DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        match std::fs::read_dir(&self.path).and_then(|entries| entries.map(name).collect()) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            names => names.map_err(AvroError::io("read the folder", &self.path)),
        }
    }

    /// Returns the description of a backup. Only names of backups are looked up, never paths.
    pub fn backup(&self, id: &str) -> Result<Backup, AvroError> {
        let unknown = || {
            AvroError::Unknown(format!(
                "there is no backup '{}' in '{}'",
                id.escape_debug(),
                self.path.display()
            ))
        };
        if !is_id(id) {
            return Err(unknown());
        }
        describe(&self.path.join(id))?.ok_or_else(unknown)
    }

    /// Returns the backup for an earlier request with the same key, if that backup is still kept.
    pub(super) fn of_request(&self, idempotency_key: &IdempotencyKey) -> Result<Option<Backup>, AvroError> {
        let wanted = RequestId::of(idempotency_key);
        for name in self.names()? {
            // A description that cannot be read is not one of Tidegate's.
            let Ok(Some(backup)) = describe(&self.path.join(name)) else { continue };
            match &backup.request {
                Some(request) if *request == wanted => return Ok(Some(backup)),
                Some(request) if request.identity == wanted.identity => return Err(AvroError::KeyReused),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Opens the file of a dataset in a backup. Also returns its description.
    pub fn open(&self, id: &str, dataset: &str) -> Result<(File, TableFile), AvroError> {
        let backup = self.backup(id)?;
        let written =
            backup.datasets.into_iter().find(|written| written.name == dataset).ok_or_else(|| {
                AvroError::Unknown(format!("the backup '{id}' has no dataset '{}'", dataset.escape_debug()))
            })?;
        let path = self.path.join(id).join(file_in_backup(&written)?);
        Ok((File::open(&path).map_err(AvroError::io("open", &path))?, written))
    }

    /// Removes all backups but the newest `keep` of everything and the newest `keep` of some datasets. Returns the
    /// names of those that were removed. Fails if another backup is being written.
    pub fn prune(&self, keep: usize) -> Result<Vec<String>, AvroError> {
        let mut kept = [0; 2];
        let mut old = Vec::new();
        for name in self.names()? {
            let is_whole = describe(&self.path.join(&name))?.is_some_and(|backup| !backup.state.is_empty());
            let kept = &mut kept[usize::from(is_whole)];
            *kept += 1;
            if *kept > keep {
                old.push(name);
            }
        }
        if old.is_empty() {
            return Ok(old);
        }
        let _lock = self.lock()?;
        for name in &old {
            let path = self.path.join(name);
            // Hidden first, so that no reader finds half of it.
            let aside = self.path.join(format!("{PREFIX}{name}{SUFFIX}"));
            std::fs::rename(&path, &aside).map_err(AvroError::io("remove", &path))?;
            Failpoint::BackupHidden.pass()?;
            std::fs::remove_dir_all(&aside).map_err(AvroError::io("remove", &aside))?;
        }
        Ok(old)
    }

    /// Begins a backup: locks the folder, and removes the remains of a backup whose process was killed.
    pub(super) fn begin(&self) -> Result<BackupDraft, AvroError> {
        let lock = self.lock()?;
        let is_remains = |name: &String| name.starts_with(PREFIX) && name.ends_with(SUFFIX);
        for name in self.entries()?.into_iter().filter(is_remains) {
            let path = self.path.join(name);
            std::fs::remove_dir_all(&path).map_err(AvroError::io("remove", &path))?;
        }
        let mut aside = tempfile::Builder::new();
        aside.prefix(PREFIX).suffix(SUFFIX).permissions(Permissions::from_mode(0o700));
        let aside = aside.tempdir_in(&self.path).map_err(AvroError::io("create a folder in", &self.path))?;
        Ok(BackupDraft { folder: self.path.clone(), aside, _lock: lock })
    }

    /// Locks the folder, and creates it if it is missing. Dropping the file releases the lock.
    fn lock(&self) -> Result<File, AvroError> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        created.map_err(AvroError::io("create the folder", &self.path))?;
        let path = self.path.join(LOCK);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(AvroError::io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(AvroError::Busy(format!(
                "another backup is being written to '{}'; try again when it is done",
                self.path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(AvroError::io("lock", &path)(error)),
        }
    }
}

/// A hidden backup that is being written. If the draft is dropped before the end, the backup is removed.
pub(super) struct BackupDraft {
    folder: PathBuf,
    aside: TempDir,
    _lock: File,
}

impl BackupDraft {
    /// Returns the folder that the backup's files are written to.
    pub(super) fn path(&self) -> &Path {
        self.aside.path()
    }

    /// Returns a free name for a backup of that time, which stays free as long as the folder is locked. If two
    /// backups were taken in the same second, the later one has a number after the time.
    pub(super) fn free_name(&self, time: &str) -> String {
        let numbered = (2..).map(|number| format!("{time}-{number}"));
        let mut names = std::iter::once(time.to_owned()).chain(numbered);
        names.find(|name| !self.folder.join(name).exists()).unwrap_or_default()
    }

    /// Writes the description, and renames the backup to its name once all of it is on disk.
    pub(super) fn publish(self, backup: Backup) -> Result<Backup, AvroError> {
        let path = self.path().join(DESCRIPTION);
        let mut text =
            serde_json::to_vec_pretty(&backup).map_err(|error| AvroError::refused(error.to_string()))?;
        text.push(b'\n');
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(&text)).map_err(AvroError::io("write", &path))?;
        for written in backup.datasets.iter().chain(&backup.state) {
            sync(&self.path().join(&written.file))?;
        }
        for path in [path, self.path().join(STATE), self.path().to_owned()] {
            if path.exists() {
                sync(&path)?;
            }
        }
        Failpoint::BackupOnDisk.pass()?;
        let target = self.folder.join(&backup.id);
        std::fs::rename(self.path(), &target).map_err(AvroError::io("write", &target))?;
        let _ = self.aside.keep(); // the folder was renamed
        sync(&self.folder)?;
        Ok(backup)
    }
}

/// Returns the file of a table within a backup's folder. Refuses a path that leads out of the folder.
pub(super) fn file_in_backup(written: &TableFile) -> Result<&Path, AvroError> {
    let path = Path::new(&written.file);
    let is_plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if is_plain && path.components().count() <= 2 {
        Ok(path)
    } else {
        Err(AvroError::refused(format!("'{}' is no file of a backup", written.file.escape_debug())))
    }
}

/// Returns whether a name is one of a backup: `20261121T203000Z`, or with `-2` after it.
fn is_id(name: &str) -> bool {
    let (time, number) = name.split_once('-').unwrap_or((name, "2"));
    let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    form == "00000000T000000Z"
        && (1..=6).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the order of a backup's name: the time, then the number.
fn order_of(name: &str) -> (&str, u32) {
    let (time, number) = name.split_once('-').unwrap_or((name, "1"));
    (time, number.parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_are_names_of_backups() {
        for name in ["20261121T203000Z", "20261121T203000Z-2", "20261121T203000Z-12"] {
            assert!(is_id(name), "{name}");
        }
        for name in
            ["", "..", "20261121T203000", "20261121T203000Z-", "20261121T203000Z-2/..", "2026112aT203000Z"]
        {
            assert!(!is_id(name), "{name}");
        }
        assert!(order_of("20261121T203000Z-10") > order_of("20261121T203000Z-9"));
        assert!(order_of("20261121T203001Z") > order_of("20261121T203000Z-9"));
    }
}
