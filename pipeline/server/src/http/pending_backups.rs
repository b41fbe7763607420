//! Backups that clients have requested and that are not complete: their progress, and why one failed. They are kept in
//! memory for the life of the process.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tidegate_store::IdempotencyKey;

/// How many failed backups are remembered.
const FAILED_MAX: usize = 100;

/// The backups being taken and those that failed, the oldest first.
#[derive(Default)]
pub(super) struct PendingBackups(Mutex<VecDeque<PendingBackup>>);

/// A backup that is not complete.
#[derive(Clone, Debug)]
pub(super) struct PendingBackup {
    /// The name that it will have.
    pub(super) id: String,
    /// How it is compressed.
    pub(super) codec: &'static str,
    /// The key of the request, if it had one.
    pub(super) idempotency_key: Option<IdempotencyKey>,
    /// When it began.
    pub(super) begun_at: SystemTime,
    /// Why it failed; `None` while it is being taken.
    pub(super) error: Option<String>,
}

impl PendingBackups {
    /// Notes that a backup has begun.
    pub(super) fn begin(&self, backup: PendingBackup) {
        self.pending().push_back(backup);
    }

    /// Notes that a backup is complete.
    pub(super) fn taken(&self, id: &str) {
        self.pending().retain(|backup| backup.id != id);
    }

    /// Notes why a backup failed.
    pub(super) fn failed(&self, id: &str, error: String) {
        let mut pending = self.pending();
        if let Some(backup) = pending.iter_mut().rfind(|backup| backup.id == id) {
            backup.error = Some(error);
        }
        let has_failed = |backup: &PendingBackup| backup.error.is_some();
        if pending.iter().filter(|backup| has_failed(backup)).count() > FAILED_MAX
            && let Some(oldest) = pending.iter().position(has_failed)
        {
            pending.remove(oldest);
        }
    }

    /// The last backup of that name.
    pub(super) fn of(&self, id: &str) -> Option<PendingBackup> {
        self.pending().iter().rfind(|backup| backup.id == id).cloned()
    }

    /// The backup that is being taken for the request of that identity.
    pub(super) fn of_request(&self, identity: &[u8; 32]) -> Option<PendingBackup> {
        let is_it = |pending: &&PendingBackup| {
            pending.error.is_none() && pending.idempotency_key.is_some_and(|key| key.identity == *identity)
        };
        self.pending().iter().find(is_it).cloned()
    }

    fn pending(&self) -> MutexGuard<'_, VecDeque<PendingBackup>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
