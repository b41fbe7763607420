//! The folder of backups: `<folder>/<time>/<dataset>.avro`, with what each backup is in its `manifest.json`.
//!
//! **What is under a name of its own is whole.** A backup is written aside, in a hidden folder, and renamed when all
//! of it is on disk. Who writes one holds the lock of the folder, so what it finds half written nobody is writing.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use blake3::Hash;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidegate_core::failpoint::Failpoint;
use uuid::Uuid;

use super::Error;
use super::file::{Written, sync};
use crate::postgres::Keyed;

/// What is beside the files of a backup.
pub(super) const DESCRIPTION: &str = "manifest.json";
/// Where Tidegate's own tables are, within a backup.
pub(super) const STATE: &str = "_tidegate";
/// The form of a backup.
const FORMAT: u32 = 1;
const LOCK: &str = ".lock";
const PREFIX: &str = ".backup-";
const SUFFIX: &str = ".partial";

/// What a backup is, as its `manifest.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// 1.
    pub format: u32,
    /// Its name: when it was taken, `20261121T203000Z`.
    pub id: String,
    /// The pipeline.
    pub pipeline: String,
    /// The pipeline's identity in its database.
    pub identity: Uuid,
    /// The moment of the snapshot, by Postgres's clock.
    pub taken_at: String,
    /// The largest number of a source at that moment; 0 if there was none.
    pub largest_source: u64,
    /// How blocks are compressed.
    pub codec: String,
    /// The request that asked for it, if that named itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<RequestId>,
    /// The version of Tidegate that wrote it.
    pub tidegate: String,
    /// The version of Tidegate's own schema in the database.
    pub schema: i32,
    /// The datasets' tables.
    pub datasets: Vec<Written>,
    /// Tidegate's own tables, where all datasets were backed up: what `restore --exact` needs.
    #[serde(default)]
    pub state: Vec<Written>,
    /// Tidegate's own sequences, and the last number that each has given.
    #[serde(default)]
    pub sequences: BTreeMap<String, i64>,
}

/// A request that named itself, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RequestId {
    /// What makes it one and the same.
    identity: String,
    /// BLAKE3 of what was sent.
    content: String,
}

impl RequestId {
    pub(super) fn of(keyed: &Keyed) -> Self {
        let [identity, content] = [keyed.identity, keyed.content].map(|hash| Hash::from(hash).to_string());
        Self { identity, content }
    }
}

impl Backup {
    pub(super) const FORMAT: u32 = FORMAT;

    /// The same for people and clients: without the checksums of blocks.
    pub fn summary(mut self) -> Self {
        for written in self.datasets.iter_mut().chain(&mut self.state) {
            written.blocks.clear();
        }
        self
    }
}

/// Reads what is beside the files of a backup; `None` if `folder` is no backup.
///
/// # Errors
///
/// If it cannot be read, or is of a later version.
pub fn describe(folder: &Path) -> Result<Option<Backup>, Error> {
    let path = folder.join(DESCRIPTION);
    let text = match std::fs::read(&path) {
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(None);
        }
        read => read.map_err(Error::io("read", &path))?,
    };
    let damaged = |error: serde_json::Error| {
        Error::refused(format!("'{}' is no description of a backup: {error}", path.display()))
    };
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(damaged)?;
    match value["format"].as_u64() {
        Some(format) if format > u64::from(FORMAT) => Err(Error::refused(format!(
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
    /// The folder at `path`, which need not be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the backups, the newest first.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let entries = match std::fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(Error::io("read the folder", &self.path))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("read the folder", &self.path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_id(&name) && entry.path().join(DESCRIPTION).is_file() {
                names.push(name);
            }
        }
        names.sort_by(|a, b| order_of(b).cmp(&order_of(a)));
        Ok(names)
    }

    /// What a backup is. Only names of backups are looked for, never paths.
    ///
    /// # Errors
    ///
    /// If there is no backup of that name, or it cannot be read.
    pub fn backup(&self, id: &str) -> Result<Backup, Error> {
        let unknown = || {
            Error::Unknown(format!("there is no backup '{}' in '{}'", id.escape_debug(), self.path.display()))
        };
        if !is_id(id) {
            return Err(unknown());
        }
        describe(&self.path.join(id))?.ok_or_else(unknown)
    }

    /// The backup that a request has asked for before, if it is kept still.
    pub(super) fn of_request(&self, keyed: &Keyed) -> Result<Option<Backup>, Error> {
        let wanted = RequestId::of(keyed);
        for name in self.names()? {
            // One that cannot be read is none of ours.
            let Ok(Some(backup)) = describe(&self.path.join(name)) else { continue };
            match &backup.request {
                Some(request) if *request == wanted => return Ok(Some(backup)),
                Some(request) if request.identity == wanted.identity => return Err(Error::KeyReused),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The file of a dataset in a backup, opened, with what the backup says of it.
    ///
    /// # Errors
    ///
    /// As [`Folder::backup`], and if the dataset is not in it.
    pub fn open(&self, id: &str, dataset: &str) -> Result<(File, Written), Error> {
        let backup = self.backup(id)?;
        let written =
            backup.datasets.into_iter().find(|written| written.name == dataset).ok_or_else(|| {
                Error::Unknown(format!("the backup '{id}' has no dataset '{}'", dataset.escape_debug()))
            })?;
        let path = self.path.join(id).join(file_in_backup(&written)?);
        Ok((File::open(&path).map_err(Error::io("open", &path))?, written))
    }

    /// Removes all backups but the newest `keep` of everything and the newest `keep` of some datasets. Gives the names
    /// of those that went.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read, a backup cannot be removed, or another one is being written.
    pub fn prune(&self, keep: usize) -> Result<Vec<String>, Error> {
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
            // Out of sight first, so that nobody finds half of it.
            let aside = self.path.join(format!("{PREFIX}{name}{SUFFIX}"));
            std::fs::rename(&path, &aside).map_err(Error::io("remove", &path))?;
            Failpoint::BackupHidden.pass()?;
            std::fs::remove_dir_all(&aside).map_err(Error::io("remove", &aside))?;
        }
        Ok(old)
    }

    /// Begins a backup: locks the folder, and removes what a killed one has left.
    pub(super) fn begin(&self) -> Result<Draft, Error> {
        let lock = self.lock()?;
        for entry in std::fs::read_dir(&self.path).map_err(Error::io("read the folder", &self.path))? {
            let entry = entry.map_err(Error::io("read the folder", &self.path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
                let path = entry.path();
                std::fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
            }
        }
        let mut aside = tempfile::Builder::new();
        let aside = aside
            .prefix(PREFIX)
            .suffix(SUFFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&self.path);
        let aside = aside.map_err(Error::io("create a folder in", &self.path))?;
        Ok(Draft { folder: self.path.clone(), aside, _lock: lock })
    }

    /// Locks the folder; makes it if it is missing. It is free again when the file is dropped.
    fn lock(&self) -> Result<File, Error> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        created.map_err(Error::io("create the folder", &self.path))?;
        let path = self.path.join(LOCK);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let lock = lock.map_err(Error::io("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(Error::Busy(format!(
                "another backup is being written to '{}'; try again when it is done",
                self.path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        }
    }
}

/// A backup that is being written, out of sight. It is removed when this is dropped before its end.
pub(super) struct Draft {
    folder: PathBuf,
    aside: TempDir,
    _lock: File,
}

impl Draft {
    /// Where its files are written.
    pub(super) fn path(&self) -> &Path {
        self.aside.path()
    }

    /// The name of a backup of that time, which is free as long as the folder is locked. Of two that were taken in the
    /// same second the later one has a number behind the time.
    pub(super) fn free_name(&self, time: &str) -> String {
        let numbered = (2..).map(|number| format!("{time}-{number}"));
        let mut names = std::iter::once(time.to_owned()).chain(numbered);
        names.find(|name| !self.folder.join(name).exists()).unwrap_or_default()
    }

    /// Writes down what it is, and puts it under its name once all of it is on disk.
    pub(super) fn publish(
        self,
        backup: Backup,
        passed: impl Fn() -> Result<(), Error>,
    ) -> Result<Backup, Error> {
        let path = self.path().join(DESCRIPTION);
        let mut text =
            serde_json::to_vec_pretty(&backup).map_err(|error| Error::refused(error.to_string()))?;
        text.push(b'\n');
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let written = file.as_mut().map_err(|error| std::io::Error::from(error.kind()));
        written.and_then(|file| std::io::Write::write_all(file, &text)).map_err(Error::io("write", &path))?;
        for written in backup.datasets.iter().chain(&backup.state) {
            sync(&self.path().join(&written.file))?;
        }
        for path in [path, self.path().join(STATE), self.path().to_owned()] {
            if path.exists() {
                sync(&path)?;
            }
        }
        passed()?;
        let target = self.folder.join(&backup.id);
        std::fs::rename(self.path(), &target).map_err(Error::io("write", &target))?;
        let _ = self.aside.keep(); // it is no longer there
        sync(&self.folder)?;
        Ok(backup)
    }
}

/// The file of a table within a backup: one of its own, whatever the description says.
pub(super) fn file_in_backup(written: &Written) -> Result<&Path, Error> {
    let path = Path::new(&written.file);
    let is_plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if is_plain && path.components().count() <= 2 {
        Ok(path)
    } else {
        Err(Error::refused(format!("'{}' is no file of a backup", written.file.escape_debug())))
    }
}

/// Whether it is the name of a backup: `20261121T203000Z`, or with `-2` behind it.
fn is_id(name: &str) -> bool {
    let (time, number) = name.split_once('-').unwrap_or((name, "2"));
    let time = time.as_bytes();
    let is_digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    time.len() == 16
        && is_digits(&time[..8])
        && time[8] == b'T'
        && is_digits(&time[9..15])
        && time[15] == b'Z'
        && (1..=6).contains(&number.len())
        && is_digits(number.as_bytes())
}

/// What orders names of backups: the time, then the number.
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
