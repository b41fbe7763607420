//! [`Failure`]: why a command failed, with its exit code.

/// Why a command failed, with its exit code.
#[derive(Debug)]
pub struct Failure {
    /// 1: the work failed. 2: the command line or the manifest is faulty. 3: too many dead letters. 4: files were left
    /// in the landing folder. 5: every line of a file was rejected.
    pub code: u8,
    /// What happened and what to do.
    pub message: String,
}

impl Failure {
    /// A failure of the work itself, with code 1.
    pub fn new(message: impl std::fmt::Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// A fault in the user's input, with code 2.
    pub fn usage(message: impl std::fmt::Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            // Many messages already name their cause.
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        Self::new(message)
    }
}
