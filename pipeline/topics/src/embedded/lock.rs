//! The lock of a log's directory: one opener at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::{ErrorKind, TopicError};

/// A directory that this process has locked. Dropping the lock, or any end of the process, releases it.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Locks the directory, or fails with [`ErrorKind::InUse`].
    pub(super) fn take(directory: &Path) -> Result<Self, TopicError> {
        let path = directory.join("lock");
        let failed = |error| TopicError::io(format!("cannot lock '{}'", path.display()), error);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "the topics in '{}' are in use by another process; stop it, or choose another directory",
                    directory.display()
                );
                Err(TopicError::new(ErrorKind::InUse, message))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that is being started may hold a copy of it.
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "the lock goes when the file is closed");
        }
    }
}
