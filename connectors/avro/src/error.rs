//! Why a backup or a restore failed.

use std::io::ErrorKind;
use std::path::Path;

use tidegate_core::contract;

/// Why a backup was not written, or a file is not restored.
#[derive(Debug, thiserror::Error)]
pub enum AvroError {
    /// An error of the server or of the connection.
    #[error(transparent)]
    Postgres(#[from] tidegate_postgres::PgError),
    /// An error of the file system.
    #[error("cannot {0}: {1}")]
    Io(String, #[source] std::io::Error),
    /// A failpoint of a test.
    #[error(transparent)]
    Failpoint(#[from] tidegate_core::failpoint::FailpointError),
    /// There is no backup of that name.
    #[error("{0}")]
    Unknown(String),
    /// The idempotency key was used for another request.
    #[error("the key of the request was used for another one")]
    KeyReused,
    /// Another process is writing a backup.
    #[error("{0}")]
    Busy(String),
    /// The input cannot be used, and no retry changes that: what is wrong, where, and what to do.
    #[error("{0}")]
    Refused(String),
}

impl AvroError {
    /// Returns a function that makes an error of a failed operation on a path, for `map_err`.
    pub(super) fn io(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("{what} '{}'", path.display());
        move |error| Self::Io(what, error)
    }

    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }
}

impl From<tokio_postgres::Error> for AvroError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

impl From<AvroError> for contract::Error {
    fn from(error: AvroError) -> Self {
        match error {
            AvroError::Postgres(error) => error.into(),
            AvroError::Failpoint(failed) => failed.into(),
            // A file that is missing or forbidden stays so on a retry.
            AvroError::Io(_, ref cause)
                if [ErrorKind::NotFound, ErrorKind::PermissionDenied].contains(&cause.kind()) =>
            {
                Self::halt(error.to_string())
            }
            AvroError::Io(..) | AvroError::Busy(_) => Self::retry(error.to_string()),
            AvroError::Refused(_) | AvroError::Unknown(_) | AvroError::KeyReused => {
                Self::halt(error.to_string())
            }
        }
    }
}
