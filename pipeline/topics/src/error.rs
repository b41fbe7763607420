//! The errors of topics.

use std::error::Error;
use std::io;

use crate::place::{Offset, place};

/// An error of a topic.
///
/// Its text says what happened, to which topic, partition and offset, and what to do, with the error of the operating
/// system if there was one. [`source`](Error::source) returns that error.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TopicError {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kinds of [`TopicError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The topic, or this partition of it, was not created.
    UnknownTopic,
    /// The offset is before the start of the log: the records between were trimmed or lost.
    BehindStart {
        /// The first offset that can be read.
        start: Offset,
    },
    /// The offset is beyond the end: a log that has lost its tail gave it out.
    BeyondEnd {
        /// The offset that the next record gets.
        end: Offset,
    },
    /// The records at the offset do not match their checksum, or are missing.
    Corrupt {
        /// The offset at which reading may continue. It is larger than the offset that was read.
        resume_at: Offset,
    },
    /// No space is left, or a file has reached the largest allowed size.
    Full,
    /// Another process, or another handle in this one, has the log open.
    InUse,
    /// The name of a topic breaks Fluvio's rule.
    InvalidName,
    /// The batch is larger than [`MAX_BATCH_BYTES`](crate::MAX_BATCH_BYTES).
    TooLarge,
    /// The setup cannot do what the manifest says: a topic has another number of partitions, or the client's
    /// configuration names no cluster.
    Unfit,
    /// The operating system returned the error in the source, or a cluster was not reached.
    Io,
}

impl TopicError {
    /// An error without a source. `message` is lowercase and says what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The topic, or this partition of it, was not created.
    pub(crate) fn unknown(topic: &str, partition: u32) -> Self {
        let message = format!("{} does not exist; create it first", place(topic, partition));
        Self::new(ErrorKind::UnknownTopic, message)
    }

    /// An error of the operating system: [`ErrorKind::Full`] or [`ErrorKind::Io`].
    pub fn io(message: impl Into<String>, source: io::Error) -> Self {
        let (kind, advice) = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (ErrorKind::Full, "; no space is left: free some, or raise the quota")
            }
            io::ErrorKind::FileTooLarge => {
                (ErrorKind::Full, "; the file is as large as it may get: raise the file size limit")
            }
            _ => (ErrorKind::Io, ""),
        };
        let message = format!("{}: {source}{advice}", message.into());
        Self { kind, message, source: Some(Box::new(source)) }
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later, once there is room again or the machine is repaired.
    pub fn retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Full | ErrorKind::Io)
    }
}
