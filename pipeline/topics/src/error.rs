//! What can go wrong with a topic.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::Offset;

/// Why a topic could not do what it was asked.
///
/// It prints what happened, to which topic, partition and offset, with the error of the operating system if
/// there was one, and what to do; [`source`](StdError::source) gives that error.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The topic, or the partition of it, was not created.
    UnknownTopic,
    /// The offset asked for is before the start of the log: what lies between was trimmed or lost.
    BehindStart {
        /// The first offset that can be read.
        start: Offset,
    },
    /// The offset asked for is beyond the end: it was given out by a log that has lost its tail.
    BeyondEnd {
        /// The offset that the next record gets.
        end: Offset,
    },
    /// What is stored at the offset does not match its checksum, or is missing.
    Corrupt {
        /// Where reading may go on. Larger than the offset that was asked for.
        resume_at: Offset,
    },
    /// No space is left, or a file has reached the largest size allowed.
    Full,
    /// Another process, or another handle in this one, has the log open.
    InUse,
    /// The name of a topic breaks Fluvio's rule.
    InvalidName,
    /// The batch is larger than [`MAX_BATCH_BYTES`](crate::MAX_BATCH_BYTES).
    TooLarge,
    /// What is there cannot do what the manifest says: a topic has another number of partitions, or the
    /// client's configuration names no cluster.
    Unfit,
    /// The operating system refused, for the reason in the source; or a cluster was not reached.
    Io,
}

impl Error {
    /// An error that has no cause below it. `message` is lowercase and says what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// An error of the operating system; [`ErrorKind::Full`] or [`ErrorKind::Io`].
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

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later, when somebody has made room or repaired the machine.
    pub fn retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Full | ErrorKind::Io)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        }
    }
}
