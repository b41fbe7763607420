//! Topics as segment files in a directory.
//!
//! ```text
//! <directory>/lock
//! <directory>/<topic>/<partition>/00000000000000000000.log    the base offset, and frames
//! ```
//!
//! A partition is a sequence of segments. Appends go to the last one, the active one, after its published part. When
//! the active segment has reached [`EmbeddedOptions::segment_bytes`], a new one is created. Readers see the published part
//! only, check the checksum of every batch that they read, and take no lock while they read.
//!
//! At open only the last segment is checked, and truncated at the first batch that is not whole: a process that was
//! killed leaves no other damage. Older segments are checked when they are read. A damaged batch there is an error
//! with the offset at which to continue. A missing segment is such an error too, unless the next one says that
//! offsets were left out.
//!
//! Reads and writes go to the page cache and run on the calling thread. An fsync runs on a thread that may block.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tidegate_core::record::Batch;

use crate::place::place;
use crate::{Durability, FetchResult, Offset, TopicError, Topics, check_name};
use lock::Lock;
use partition::Partition;
use segment::{Segment, Segments};
use writer::{Writer, sync_directory};

mod writer;
mod partition;
mod segment;
mod frame;
mod lock;

/// The settings of an embedded log.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The size at which a segment is followed by the next. Space is freed by whole segments.
    pub segment_bytes: u64,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20 }
    }
}

/// Topics in a directory, for this process alone. Cheap to clone. The last clone releases the directory.
///
/// If the process ignores `SIGXFSZ`, an append that reaches the file size limit (`ulimit -f`) fails with
/// [`ErrorKind::Full`](crate::ErrorKind::Full). Otherwise the signal ends the process, like any other crash.
#[derive(Clone, Debug)]
pub struct Embedded {
    log: Arc<Log>,
}

#[derive(Debug)]
struct Log {
    directory: PathBuf,
    options: EmbeddedOptions,
    lock: Arc<Lock>,
    topics: RwLock<BTreeMap<String, BTreeMap<u32, Handle>>>,
    /// Held while a topic is created.
    creating: Mutex<()>,
}

/// The reader's and the writer's side of a partition.
#[derive(Clone, Debug)]
struct Handle {
    partition: Arc<Partition>,
    writer: Arc<tokio::sync::Mutex<Writer>>,
}

impl Embedded {
    /// Opens the log in the directory, and creates it if it is missing.
    ///
    /// Fails with [`ErrorKind::InUse`](crate::ErrorKind::InUse) while another process, or another handle, has the log
    /// open, and with [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn open(directory: &Path, options: EmbeddedOptions) -> Result<Self, TopicError> {
        let failed =
            |error| TopicError::io(format!("cannot open the topics in '{}'", directory.display()), error);
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
                if let Some(partition) = open_partition(topic.clone(), number, path, &lock)? {
                    partitions.insert(number, Handle::new(partition, options.segment_bytes));
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
    async fn create(&self, topic: &str, partition: u32, next: Offset) -> Result<Offset, TopicError> {
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

    async fn list(&self) -> Result<Vec<String>, TopicError> {
        Ok(self.log.topics.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect())
    }

    async fn append(
        &self,
        topic: &str,
        partition: u32,
        batch: &Batch,
        durability: Durability,
    ) -> Result<Offset, TopicError> {
        let handle = self.log.handle(topic, partition)?;
        if batch.is_empty() {
            return Ok(handle.partition.end());
        }
        let mut writer = handle.writer.lock_owned().await;
        let base = writer.write(batch)?;
        if durability == Durability::Synced {
            // The task owns the writer, so that an append whose future is dropped is applied as a whole.
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

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: Offset,
    ) -> Result<Option<FetchResult>, TopicError> {
        self.log.handle(topic, partition)?.partition.read(from)
    }

    async fn wait(&self, topic: &str, partition: u32, beyond: Offset) -> Result<Offset, TopicError> {
        Ok(self.log.handle(topic, partition)?.partition.wait(beyond).await)
    }

    async fn start(&self, topic: &str, partition: u32) -> Result<Offset, TopicError> {
        Ok(self.log.handle(topic, partition)?.partition.start())
    }

    async fn end(&self, topic: &str, partition: u32) -> Result<Offset, TopicError> {
        Ok(self.log.handle(topic, partition)?.partition.end())
    }

    async fn bytes_after(&self, topic: &str, partition: u32, offset: Offset) -> Result<u64, TopicError> {
        Ok(self.log.handle(topic, partition)?.partition.bytes_after(offset))
    }

    /// Deletes segments whose records are all before the offset. The active segment is deleted only when an append
    /// finds no room.
    async fn trim(&self, topic: &str, partition: u32, before: Offset) -> Result<(), TopicError> {
        let mut writer = self.log.handle(topic, partition)?.writer.lock_owned().await;
        blocking(move || writer.trim(before)).await
    }
}

impl Log {
    fn handle(&self, topic: &str, partition: u32) -> Result<Handle, TopicError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let handle = topics.get(topic).and_then(|partitions| partitions.get(&partition));
        handle.cloned().ok_or_else(|| TopicError::unknown(topic, partition))
    }

    /// Creates the partition, beginning at `next`, unless another task has created it. Blocks.
    fn create(&self, topic: String, partition: u32, next: Offset) -> Result<(), TopicError> {
        let _creating = self.creating.lock().unwrap_or_else(PoisonError::into_inner);
        if self.handle(&topic, partition).is_ok() {
            return Ok(());
        }
        let path = self.directory.join(&topic).join(partition.to_string());
        let (segment, file) = (segment::path(&path, next), self.begin(&topic, &path, next));
        let file = file.map_err(|error| {
            let message = format!("{}: cannot create '{}'", place(&topic, partition), segment.display());
            TopicError::io(message, error)
        })?;
        let segments = Segments { all: vec![Segment::new(next, 0)], active: Arc::new(file), end: next };
        let opened = Partition::new(topic.clone(), partition, path, segments, Arc::clone(&self.lock));
        let handle = Handle::new(opened, self.options.segment_bytes);
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.entry(topic).or_default().insert(partition, handle);
        Ok(())
    }

    /// Creates the directories and the first segment of a partition, and syncs all their names to disk.
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
    fn new(partition: Partition, segment_bytes: u64) -> Self {
        let partition = Arc::new(partition);
        let writer = Writer::new(Arc::clone(&partition), segment_bytes);
        Self { partition, writer: Arc::new(tokio::sync::Mutex::new(writer)) }
    }
}

/// Opens the partition in a directory. `None` if its creation was never finished.
fn open_partition(
    topic: String,
    number: u32,
    path: PathBuf,
    lock: &Arc<Lock>,
) -> Result<Option<Partition>, TopicError> {
    let failed =
        |error| TopicError::io(format!("{}: cannot open '{}'", place(&topic, number), path.display()), error);
    let bases = segment::list(&path).map_err(failed)?;
    let Some((&last, sealed)) = bases.split_last() else { return Ok(None) };
    let sealed: io::Result<Vec<_>> = sealed
        .iter()
        .map(|&base| Ok(Segment::new(base, segment::path(&path, base).metadata()?.len())))
        .collect();
    let segments = segment::recover(sealed.map_err(failed)?, &segment::path(&path, last), last)?;
    Ok(Some(Partition::new(topic, number, path, segments, Arc::clone(lock))))
}

/// Creates a directory and its missing parents, accessible to this user alone. Existing directories are not changed.
fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The names of the directories in a directory.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = directory.read_dir()?.map(|entry| {
        let entry = entry?;
        Ok(if entry.file_type()?.is_dir() { entry.file_name().into_string().ok() } else { None })
    });
    entries.filter_map(Result::transpose).collect()
}

/// Runs work that may block for long. It runs to its end even if the caller's future is dropped.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TopicError> + Send + 'static,
) -> Result<T, TopicError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(TopicError::io("the runtime has stopped before the work was done", io::Error::other(error)))
        }
    }
}
