//! Backups that clients have asked for and that are not there yet: how far they are, and why one has failed. They live as
//! long as the process that takes them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tidegate_connectors::postgres::Keyed;

/// So many that have failed are remembered.
const FAILED_MAX: usize = 100;

/// What is being taken, and what has failed, the oldest first.
#[derive(Default)]
pub(crate) struct Taking(Mutex<VecDeque<Attempt>>);

/// A backup that is not there yet.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// The name that it will have.
    pub(super) id: String,
    /// How it is compressed.
    pub(super) codec: &'static str,
    /// How the request named itself, if it did.
    pub(super) keyed: Option<Keyed>,
    /// When it began.
    pub(super) begun_at: SystemTime,
    /// Why it has failed; `None` while it is being taken.
    pub(super) error: Option<String>,
}

impl Taking {
    /// Notes that one has begun.
    pub(super) fn begin(&self, attempt: Attempt) {
        self.attempts().push_back(attempt);
    }

    /// Notes that one is there.
    pub(super) fn taken(&self, id: &str) {
        self.attempts().retain(|attempt| attempt.id != id);
    }

    /// Notes why one will not be there.
    pub(super) fn failed(&self, id: &str, error: String) {
        let mut attempts = self.attempts();
        if let Some(attempt) = attempts.iter_mut().rfind(|attempt| attempt.id == id) {
            attempt.error = Some(error);
        }
        let has_failed = |attempt: &Attempt| attempt.error.is_some();
        if attempts.iter().filter(|attempt| has_failed(attempt)).count() > FAILED_MAX
            && let Some(oldest) = attempts.iter().position(has_failed)
        {
            attempts.remove(oldest);
        }
    }

    /// The last one of that name.
    pub(super) fn of(&self, id: &str) -> Option<Attempt> {
        self.attempts().iter().rfind(|attempt| attempt.id == id).cloned()
    }

    /// The one that is being taken for a request of that name.
    pub(super) fn of_request(&self, identity: &[u8; 32]) -> Option<Attempt> {
        let is_it = |attempt: &&Attempt| {
            attempt.error.is_none() && attempt.keyed.is_some_and(|keyed| keyed.identity == *identity)
        };
        self.attempts().iter().find(is_it).cloned()
    }

    fn attempts(&self) -> MutexGuard<'_, VecDeque<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
