//! One opener at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::{Error, ErrorKind};

/// A directory that is taken by this process. Its end, however it comes, gives it free.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the directory, or fails with [`ErrorKind::InUse`].
    pub(super) fn take(directory: &Path) -> Result<Self, Error> {
        let path = directory.join("lock");
        let failed = |error| Error::io(format!("cannot lock '{}'", path.display()), error);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "the topics in '{}' are in use by another process; stop it, or choose another directory",
                    directory.display()
                );
                Err(Error::new(ErrorKind::InUse, message))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // To close the file is not enough: a child that is just being started may hold a copy of it.
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "the lock goes when the file is closed");
        }
    }
}
