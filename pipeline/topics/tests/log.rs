//! A log in a directory of its own, and what tests do with it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tidegate_core::record::Batch;
use tidegate_topics::embedded::EmbeddedOptions;
use tidegate_topics::{Durability, Embedded, ErrorKind, Offset, TopicError, Topics};

/// The one topic of most tests.
pub(crate) const TOPIC: &str = "company-raw-jobs";

/// A directory for a log, which goes when the test ends.
pub(crate) struct TempLog {
    directory: TempDir,
}

impl TempLog {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Opens the log with segments of the default size.
    pub(crate) fn open(&self) -> Embedded {
        open(self.path(), EmbeddedOptions::default().segment_bytes)
    }

    /// Opens the log so that each batch is followed by a new segment.
    pub(crate) fn open_with_a_segment_a_batch(&self) -> Embedded {
        open(self.path(), 1)
    }

    /// The segments of [`TOPIC`], in order.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let directory = self.path().join(TOPIC).join("0");
        let mut paths: Vec<_> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

pub(crate) fn open(directory: &Path, segment_bytes: u64) -> Embedded {
    Embedded::open(directory, EmbeddedOptions { segment_bytes }).unwrap()
}

pub(crate) fn batch(values: &[&str]) -> Batch {
    let mut batch = Batch::default();
    for value in values {
        batch.push(b"key", value.as_bytes());
    }
    batch
}

/// Creates [`TOPIC`], if it is missing, and appends batches to it; gives the last base offset.
pub(crate) async fn append(log: &Embedded, batches: &[&[&str]]) -> Offset {
    log.create(TOPIC, 0, 0).await.unwrap();
    let mut base = 0;
    for values in batches {
        base = log.append(TOPIC, 0, &batch(values), Durability::Buffered).await.unwrap();
    }
    base
}

/// All values from the offset on, up to the end or an error.
pub(crate) async fn values_from(log: &Embedded, mut from: Offset) -> (Vec<String>, Option<TopicError>) {
    let mut values = Vec::new();
    loop {
        match log.read(TOPIC, 0, from).await {
            Ok(Some(fetched)) => {
                assert!(fetched.next > from);
                from = fetched.next;
                values.extend(fetched.batch.iter().map(|r| String::from_utf8(r.value.to_vec()).unwrap()));
            }
            Ok(None) => return (values, None),
            Err(error) => return (values, Some(error)),
        }
    }
}

/// All values, if none is damaged.
pub(crate) async fn values(log: &Embedded) -> Vec<String> {
    let start = log.start(TOPIC, 0).await.unwrap();
    let (values, error) = values_from(log, start).await;
    assert!(error.is_none(), "{error:?} after {values:?}");
    values
}

/// Where reading may go on, after an error that names `file`.
pub(crate) fn resume_at(error: Option<TopicError>, file: &Path) -> Offset {
    let error = error.expect("the damage is noticed");
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    assert!(error.to_string().contains(TOPIC), "{error}");
    match error.kind() {
        ErrorKind::Corrupt { resume_at } => resume_at,
        kind => panic!("{kind:?}: {error}"),
    }
}
