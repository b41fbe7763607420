//! Topics as segment files in a directory.
//!
//! ```text
//! <directory>/lock
//! <directory>/<topic>/<partition>/00000000000000000000.log    the base offset, and frames
//! ```
//!
//! A partition is a row of segments. Appends go to the last one, the active one, behind the part that is
//! published; when it has reached [`Options::segment_bytes`] a new one is begun. Readers see the published
//! part only, check the checksum of every batch they read, and need no lock while they read.
//!
//! At open only the last segment is checked, and cut off at the first batch that is not whole: a process
//! that was killed has left no other damage. Older segments are checked as they are read. A batch that is
//! damaged there is an error that says where to go on; so is a segment that is missing, unless the next one
//! says that offsets were left out.
//!
//! Reads and writes go to the page cache and are done in place; an fsync is left to a thread that may block.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tidegate_core::record::Batch;

use crate::{Durability, Error, ErrorKind, Fetched, Offset, Topics, check_name};
use lock::Lock;
use partition::{Partition, place};
use segment::{Recovered, Segment};
use writer::{Writer, sync_directory};

mod writer;
mod partition;
mod segment;
mod frame;
mod lock;

/// How an embedded log is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// The size at which a segment is followed by the next. Space is freed by whole segments.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20 }
    }
}

/// Topics in a directory, for this process alone. Cheap to clone; the last clone gives the directory free.
///
/// Appends that reach a file size limit (`ulimit -f`) fail with [`ErrorKind::Full`] only in a process that
/// ignores `SIGXFSZ`; otherwise the signal ends it, as any other crash would.
#[derive(Clone, Debug)]
pub struct Embedded {
    log: Arc<Log>,
}

#[derive(Debug)]
struct Log {
    directory: PathBuf,
    options: Options,
    lock: Arc<Lock>,
    topics: RwLock<BTreeMap<String, BTreeMap<u32, Handle>>>,
    /// Held by who creates a topic.
    creating: Mutex<()>,
}

/// The two sides of a partition.
#[derive(Clone, Debug)]
struct Handle {
    partition: Arc<Partition>,
    writer: Arc<tokio::sync::Mutex<Writer>>,
}

impl Embedded {
    /// Opens the log in the directory, and makes it if it is missing.
    ///
    /// Fails with [`ErrorKind::InUse`] while another process, or another handle, has it open, and with
    /// [`ErrorKind::Io`].
    pub fn open(directory: &Path, options: Options) -> Result<Self, Error> {
        let failed = |error| Error::io(format!("cannot open the topics in '{}'", directory.display()), error);
        private_directory(directory).map_err(failed)?;
        let lock = Arc::new(Lock::take(directory)?);
        let mut topics = BTreeMap::new();
        for topic in names(directory).map_err(failed)? {
            if check_name(&topic).is_err() {
                tracing::debug!(directory = %directory.display(), name = topic, "no topic, left alone");
                continue;
            }
            let mut partitions = BTreeMap::new();
            for name in names(&directory.join(&topic)).map_err(failed)? {
                let Ok(number) = name.parse() else { continue };
                let path = directory.join(&topic).join(name);
                if let Some(handle) = open_partition((topic.clone(), number), path, &options, &lock)? {
                    partitions.insert(number, handle);
                }
            }
            if !partitions.is_empty() {
                topics.insert(topic, partitions);
            }
        }
        let directory = directory.to_owned();
        let log = Log { directory, options, lock, topics: RwLock::new(topics), creating: Mutex::new(()) };
        Ok(Self { log: Arc::new(log) })
    }
}

impl Topics for Embedded {
    async fn create(&self, topic: &str, partition: u32, next: Offset) -> Result<Offset, Error> {
        check_name(topic)?;
        if self.log.handle(topic, partition).is_err() {
            let (log, topic) = (Arc::clone(&self.log), topic.to_owned());
            blocking(move || log.create(topic, partition, next)).await?;
        }
        let handle = self.log.handle(topic, partition)?;
        let mut writer = handle.writer.lock_owned().await;
        blocking(move || writer.leave_out(next)).await?;
        Ok(next.max(handle.partition.start()))
    }

    async fn list(&self) -> Result<Vec<String>, Error> {
        Ok(self.log.topics.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect())
    }

    async fn append(
        &self,
        topic: &str,
        partition: u32,
        batch: &Batch,
        durability: Durability,
    ) -> Result<Offset, Error> {
        let handle = self.log.handle(topic, partition)?;
        if batch.is_empty() {
            return Ok(handle.partition.end());
        }
        let mut writer = handle.writer.lock_owned().await;
        let base = writer.write(batch)?;
        if durability == Durability::Synced {
            // The writer goes along, so that an append whose future is dropped takes effect as a whole.
            return blocking(move || {
                writer.sync()?;
                writer.publish();
                Ok(base)
            })
            .await;
        }
        writer.publish();
        Ok(base)
    }

    async fn read(&self, topic: &str, partition: u32, from: Offset) -> Result<Option<Fetched>, Error> {
        self.log.handle(topic, partition)?.partition.read(from)
    }

    async fn wait(&self, topic: &str, partition: u32, beyond: Offset) -> Result<Offset, Error> {
        Ok(self.log.handle(topic, partition)?.partition.wait(beyond).await)
    }

    async fn start(&self, topic: &str, partition: u32) -> Result<Offset, Error> {
        Ok(self.log.handle(topic, partition)?.partition.start())
    }

    async fn end(&self, topic: &str, partition: u32) -> Result<Offset, Error> {
        Ok(self.log.handle(topic, partition)?.partition.end())
    }

    async fn bytes_after(&self, topic: &str, partition: u32, offset: Offset) -> Result<u64, Error> {
        Ok(self.log.handle(topic, partition)?.partition.bytes_after(offset))
    }

    /// Deletes the segments all of whose records are before the offset; the active one only when an append
    /// finds no room.
    async fn trim(&self, topic: &str, partition: u32, before: Offset) -> Result<(), Error> {
        let mut writer = self.log.handle(topic, partition)?.writer.lock_owned().await;
        blocking(move || writer.trim(before)).await
    }
}

impl Log {
    fn handle(&self, topic: &str, partition: u32) -> Result<Handle, Error> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(topic).and_then(|partitions| partitions.get(&partition)).cloned().ok_or_else(|| {
            let message = format!("{} does not exist; create it first", place(topic, partition));
            Error::new(ErrorKind::UnknownTopic, message)
        })
    }

    /// Makes the partition, beginning at `next`, unless somebody was faster. Blocks.
    fn create(&self, topic: String, partition: u32, next: Offset) -> Result<(), Error> {
        let _creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if self.handle(&topic, partition).is_ok() {
            return Ok(());
        }
        let path = self.directory.join(&topic).join(partition.to_string());
        let (segment, file) = (segment::path(&path, next), self.begin(&topic, &path, next));
        let file = file.map_err(|error| {
            let message = format!("{}: cannot create '{}'", place(&topic, partition), segment.display());
            Error::io(message, error)
        })?;
        let recovered = Recovered { segment: Segment::new(next, 0), file, end: next };
        let names = (topic.clone(), partition);
        let handle = Handle::new(names, path, Vec::new(), recovered, &self.options, &self.lock);
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.entry(topic).or_default().insert(partition, handle);
        Ok(())
    }

    /// Makes the directories and the first segment of a partition, and brings all their names to disk.
    fn begin(&self, topic: &str, path: &Path, base: Offset) -> io::Result<File> {
        private_directory(path)?;
        let file = segment::create(&segment::path(path, base))?;
        for directory in [path, &self.directory.join(topic), &self.directory] {
            sync_directory(directory)?;
        }
        Ok(file)
    }
}

impl Handle {
    fn new(
        names: (String, u32),
        path: PathBuf,
        mut segments: Vec<Segment>,
        last: Recovered,
        options: &Options,
        lock: &Arc<Lock>,
    ) -> Self {
        segments.push(last.segment);
        let file = Arc::new(last.file);
        let partition =
            Arc::new(Partition::new(names, path, segments, Arc::clone(&file), last.end, Arc::clone(lock)));
        let writer = Writer::new(Arc::clone(&partition), file, options.segment_bytes);
        Self { partition, writer: Arc::new(tokio::sync::Mutex::new(writer)) }
    }
}

/// Opens what is in the directory of a partition. `None` if its creation was never finished.
fn open_partition(
    names: (String, u32),
    path: PathBuf,
    options: &Options,
    lock: &Arc<Lock>,
) -> Result<Option<Handle>, Error> {
    let failed =
        |error| Error::io(format!("{}: cannot open '{}'", place(&names.0, names.1), path.display()), error);
    let bases = segment::list(&path).map_err(failed)?;
    let Some((&last, sealed)) = bases.split_last() else { return Ok(None) };
    let sealed = sealed
        .iter()
        .map(|&base| Ok(Segment::new(base, segment::path(&path, base).metadata()?.len())))
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?;
    let last = segment::recover(&segment::path(&path, last), last)?;
    Ok(Some(Handle::new(names, path, sealed, last, options, lock)))
}

/// Makes a directory, and those above it, for this user alone. What exists stays as it is.
fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The names of the directories in a directory.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Runs what may block for long, to its end even if nobody waits for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(Error::io("the runtime has stopped before the work was done", io::Error::other(error)))
        }
    }
}
