//! The data directory: topics, and who we are. One process at a time has it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_connectors::postgres::Holder;
use tidegate_core::failpoint::Failpoint;
use tracing::warn;
use uuid::Uuid;

use crate::Failure;

/// The data directory of a running pipeline; free again when it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    lock: File,
    /// Who takes the place of another process, until that is done.
    takes_over: Option<Holder>,
}

/// What the file `identity` says. Whoever comes back on the same data directory is the same owner of
/// leases, so that it retakes them at once.
#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    pipeline: String,
    owner: Uuid,
    /// The pipeline's identity in the database whose lines are on the topics.
    #[serde(default)]
    database: Option<Uuid>,
    /// In what form the lines are on the topics: see [`DataDir::bind`].
    #[serde(default)]
    form: Option<String>,
    /// The folder of the topics, in the data directory.
    #[serde(default = "first_topics")]
    topics: String,
}

fn first_topics() -> String {
    "topics".to_owned()
}

impl DataDir {
    /// Opens the data directory of `pipeline` for process `me`; makes it if it is missing.
    ///
    /// If another process has it, `take_over` leaves that process its lock and its topics, which may go on being
    /// written to, and begins with new ones under a new identity. Nothing of that is on disk before
    /// [`DataDir::bind`], so that a process which does not get that far disturbs nobody.
    ///
    /// # Errors
    ///
    /// If another process has it and is not to be taken over, or it is another pipeline's.
    pub fn open(path: &Path, pipeline: &str, me: &Holder, take_over: bool) -> Result<Self, Failure> {
        let failed = |what: &str, error: std::io::Error| {
            Failure::new(format!("cannot {what} the data directory '{}': {error}", path.display()))
        };
        private_dir(path).map_err(|error| failed("create", error))?;
        let mut lock = private_file(&path.join("lock")).map_err(|error| failed("lock", error))?;
        let is_held = match lock.try_lock() {
            Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
            tried => tried.is_err(),
        };
        if is_held && !take_over {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            return Err(Failure::new(format!(
                "{} has the data directory '{}' open; stop it, take over with 'tidegate run --take-over', or use \
                 another --data-dir",
                if holder.is_empty() { "another process" } else { holder.trim() },
                path.display()
            )));
        }
        let mut identity = read_or_make_identity(path, pipeline)?;
        if identity.pipeline != pipeline {
            return Err(Failure::new(format!(
                "the data directory '{}' is of the pipeline '{}', the manifest is of '{pipeline}'; use another \
                 --data-dir",
                path.display(),
                identity.pipeline
            )));
        }
        if is_held {
            identity.owner = Uuid::new_v4();
            identity.topics = format!("topics-{}", identity.owner.simple());
        } else {
            sign(&mut lock, me).map_err(|error| failed("lock", error))?;
        }
        Ok(Self { path: path.to_owned(), identity, lock, takes_over: is_held.then(|| me.clone()) })
    }

    /// Who we are: the owner of leases.
    pub fn owner(&self) -> Uuid {
        self.identity.owner
    }

    /// Makes the data directory ours. Ties the topics to a database, and to the form in which the manifest makes lines of records.
    ///
    /// Where the form has changed, what is on the topics could be read wrongly. It is dropped; the ledger
    /// lacks it, and it is read again from the files.
    ///
    /// # Errors
    ///
    /// If the topics hold lines of another database: their positions mean other lines there.
    pub fn bind(&mut self, database: Uuid, form: String) -> Result<(), Failure> {
        self.assert_of(database)?;
        let takes_over = self.takes_over.take();
        if let Some(me) = &takes_over {
            self.lock = replace_lock(&self.path, me)?;
        }
        let changed = self.identity.form.as_ref().is_some_and(|known| *known != form);
        if changed && self.topics().exists() {
            warn!("the datasets have changed: what was in flight is read again from the files");
            std::fs::remove_dir_all(self.topics())?;
        }
        let is_new = (self.identity.database, self.identity.form.as_deref()) != (Some(database), Some(&form));
        self.identity.database = Some(database);
        self.identity.form = Some(form);
        if is_new || takes_over.is_some() { write_identity(&self.path, &self.identity) } else { Ok(()) }
    }

    /// Removes the topics of processes that were taken over, once they can commit nothing. One that still writes
    /// there makes more work for the next start, and no harm.
    pub fn remove_others_topics(&self) {
        for entry in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("topics") && *name != *self.identity.topics {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Refuses another database than the one that the topics are tied to.
    pub(crate) fn assert_of(&self, database: Uuid) -> Result<(), Failure> {
        if self.identity.database.is_some_and(|known| known != database) {
            return Err(Failure::new(format!(
                "the data directory '{}' belongs to another database, or this one was made anew; use another \
                 --data-dir, or remove this one (files in the landing folder are read again)",
                self.path.display()
            )));
        }
        Ok(())
    }

    /// Where the journal of sources is.
    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("sources.jsonl")
    }

    /// Where the data directory is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the topics are.
    pub fn topics(&self) -> PathBuf {
        self.path.join(&self.identity.topics)
    }
}

/// Where the topics of a data directory are, which another process may have open.
pub fn topics(data_dir: &Path) -> PathBuf {
    data_dir
        .join(read_identity(data_dir).ok().flatten().map_or_else(first_topics, |identity| identity.topics))
}

/// Puts a locked file in the place of one that another process has locked.
fn replace_lock(path: &Path, me: &Holder) -> std::io::Result<File> {
    let aside = path.join("lock.new");
    let mut lock = private_file(&aside)?;
    lock.try_lock()?;
    sign(&mut lock, me)?;
    std::fs::rename(aside, path.join("lock"))?;
    Ok(lock)
}

/// Says in a lock who holds it.
fn sign(lock: &mut File, me: &Holder) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    let _ = writeln!(lock, "{me}"); // on a full disk nobody is named
    Ok(())
}

fn read_or_make_identity(path: &Path, pipeline: &str) -> Result<Identity, Failure> {
    if let Some(identity) = read_identity(path)? {
        return Ok(identity);
    }
    let identity = Identity {
        pipeline: pipeline.to_owned(),
        owner: Uuid::new_v4(),
        database: None,
        form: None,
        topics: first_topics(),
    };
    write_identity(path, &identity)?;
    Ok(identity)
}

/// `None` where there is none yet.
fn read_identity(path: &Path) -> Result<Option<Identity>, Failure> {
    let file = path.join("identity");
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(format!(
            "cannot read '{}': {error}; restore it, or remove the data directory (files in the landing folder are \
             read again)",
            file.display()
        ))
    };
    match std::fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&error)),
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| unreadable(&error)),
    }
}

/// Written aside and renamed, so that a crash or a full disk leaves the old one as it is.
fn write_identity(path: &Path, identity: &Identity) -> Result<(), Failure> {
    let (aside, file) = (path.join("identity.new"), path.join("identity"));
    let text = serde_json::to_vec(identity)?;
    let write = || {
        let mut new = private_file(&aside)?;
        new.set_len(0)?;
        new.write_all(&text)?;
        new.sync_all()?;
        Failpoint::IdentityWritten.pass()?;
        std::fs::rename(&aside, &file)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&aside); // what was written of it
        Failure::new(tidegate_topics::Error::io(format!("cannot write '{}'", file.display()), error))
    })
}

/// Opens a file that nobody else can read; makes it if it is missing.
pub(crate) fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Creates a folder that nobody else can enter, with its parents.
pub(crate) fn private_dir(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
