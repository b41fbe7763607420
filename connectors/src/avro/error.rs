//! Why a backup or a restore did not work.

use std::io::ErrorKind;
use std::path::Path;

use tidegate_core::contract;

use crate::postgres;

/// Why a backup was not written, or a file is not restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres, or the way there.
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    /// The disk, or the way there.
    #[error("cannot {0}: {1}")]
    Io(String, #[source] std::io::Error),
    /// A test wanted it.
    #[error(transparent)]
    Failpoint(#[from] tidegate_core::failpoint::Failed),
    /// There is no backup of that name.
    #[error("{0}")]
    Unknown(String),
    /// The key of the request names another one.
    #[error("the key of the request was used for another one")]
    KeyReused,
    /// Somebody else is at it.
    #[error("{0}")]
    Busy(String),
    /// What was given cannot be used, and no retry changes that: what is wrong, where, and what to do.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// What could not be done with a path.
    pub(super) fn io(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("{what} '{}'", path.display());
        move |error| Self::Io(what, error)
    }

    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

impl From<Error> for contract::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Postgres(error) => error.into(),
            Error::Failpoint(failed) => failed.into(),
            // What is not there, or not for us, is not there a moment later either.
            Error::Io(_, ref cause)
                if [ErrorKind::NotFound, ErrorKind::PermissionDenied].contains(&cause.kind()) =>
            {
                Self::halt(error.to_string())
            }
            Error::Io(..) | Error::Busy(_) => Self::retry(error.to_string()),
            Error::Refused(_) | Error::Unknown(_) | Error::KeyReused => Self::halt(error.to_string()),
        }
    }
}
