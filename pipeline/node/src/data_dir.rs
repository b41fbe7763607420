//! The data directory: topics and the node's identity. Only one process at a time has it open.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tidegate_core::failpoint::Failpoint;
use tidegate_store::Holder;
use tracing::warn;
use uuid::Uuid;

use crate::Failure;

/// The data directory of a running pipeline. Dropping it releases its lock.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: NodeIdentity,
    lock: File,
    /// The process that takes over from another one, until [`DataDir::bind`] has done that.
    takes_over: Option<Holder>,
}

/// The content of the file `identity`. A process that starts again on the same data directory is the same owner of
/// leases, so it gets its leases back at once.
#[derive(Debug, Serialize, Deserialize)]
struct NodeIdentity {
    pipeline: String,
    owner: Uuid,
    /// The pipeline's identity in the database whose lines are on the topics.
    #[serde(default)]
    database: Option<Uuid>,
    /// The form of the lines on the topics: see [`DataDir::bind`].
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
    /// Opens the data directory of `pipeline` for process `me`; creates it if it is missing.
    ///
    /// If another process has it open, `take_over` leaves that process its lock and its topics, which it may go on
    /// writing. This process then uses new topics under a new identity. Nothing of that is on disk before
    /// [`DataDir::bind`], so a process that fails before then disturbs no other.
    ///
    /// Fails if another process has it open and `take_over` is not set, or it belongs to another pipeline.
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

    /// The identity of this node as an owner of leases.
    pub fn owner(&self) -> Uuid {
        self.identity.owner
    }

    /// Makes this process the owner of the data directory. Ties the topics to a database, and to the form in which the
    /// manifest turns records into lines. Fails if the topics belong to another database, where their positions name
    /// other lines.
    ///
    /// If the form has changed, the lines on the topics could be misread. They are dropped. The ledger lacks them, so
    /// they are read again from the files.
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

    /// Removes the topics of processes that were taken over, once those can no longer commit. A process that still
    /// writes there causes more work for the next start, but no harm.
    pub fn remove_others_topics(&self) {
        for entry in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().starts_with("topics") && *name != *self.identity.topics {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Fails if the topics are tied to another database.
    pub fn assert_of(&self, database: Uuid) -> Result<(), Failure> {
        if self.identity.database.is_some_and(|known| known != database) {
            return Err(Failure::new(format!(
                "the data directory '{}' belongs to another database, or this one was made anew; use another \
                 --data-dir, or remove this one (files in the landing folder are read again)",
                self.path.display()
            )));
        }
        Ok(())
    }

    /// The path of the journal of sources.
    pub fn journal(&self) -> PathBuf {
        self.path.join("sources.jsonl")
    }

    /// The path of the data directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the topics.
    pub fn topics(&self) -> PathBuf {
        self.path.join(&self.identity.topics)
    }
}

/// The path of the topics in a data directory that another process may have open.
pub fn topics(data_dir: &Path) -> PathBuf {
    data_dir
        .join(read_identity(data_dir).ok().flatten().map_or_else(first_topics, |identity| identity.topics))
}

/// Replaces a lock file that another process has locked with a new one, locked by this process.
fn replace_lock(path: &Path, me: &Holder) -> std::io::Result<File> {
    let aside = path.join("lock.new");
    let mut lock = private_file(&aside)?;
    lock.try_lock()?;
    sign(&mut lock, me)?;
    std::fs::rename(aside, path.join("lock"))?;
    Ok(lock)
}

/// Writes into a lock file which process holds it.
fn sign(lock: &mut File, me: &Holder) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    let _ = writeln!(lock, "{me}"); // on a full disk the holder has no name
    Ok(())
}

fn read_or_make_identity(path: &Path, pipeline: &str) -> Result<NodeIdentity, Failure> {
    if let Some(identity) = read_identity(path)? {
        return Ok(identity);
    }
    let identity = NodeIdentity {
        pipeline: pipeline.to_owned(),
        owner: Uuid::new_v4(),
        database: None,
        form: None,
        topics: first_topics(),
    };
    write_identity(path, &identity)?;
    Ok(identity)
}

/// Reads the identity; `None` if there is none yet.
fn read_identity(path: &Path) -> Result<Option<NodeIdentity>, Failure> {
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

/// Writes the identity aside and renames it, so that a crash or a full disk leaves the old one intact.
fn write_identity(path: &Path, identity: &NodeIdentity) -> Result<(), Failure> {
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
        let _ = std::fs::remove_file(&aside); // removes a file written in part
        Failure::new(tidegate_topics::TopicError::io(format!("cannot write '{}'", file.display()), error))
    })
}

/// Opens a file that only its owner can read; creates it if it is missing.
pub(crate) fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Creates a folder that only its owner can enter, with its parents.
pub fn private_dir(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
