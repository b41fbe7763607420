//! Failpoints: every durable step by name, where a test can end the process or make the step fail.
//!
//! `TIDEGATE_FAILPOINT=batch-committed=abort@3` ends the process, as `SIGKILL` would, when it reaches the failpoint
//! for the third time. `=error@3` makes the third pass return an error, as if the step's effect had not become known.
//! Only builds with the feature `failpoints` have failpoints, and the tests enable it. In other builds
//! [`Failpoint::pass`] does nothing.

words! {
    /// A durable step, or the moment between two, in the order in which a line meets them.
    pub enum Failpoint {
        /// The identity of a data directory is written, but not yet under its name.
        IdentityWritten = "identity-written",
        /// Tidegate's schema is up to date.
        DatabaseMigrated = "database-migrated",
        /// The leases are taken.
        LeasesTaken = "leases-taken",
        /// Tables and views are as the manifest says, but not yet committed.
        TablesPrepared = "tables-prepared",
        /// The journal is written anew, but not yet under its name.
        JournalWritten = "journal-written",
        /// Sources that Postgres had lost are registered again, and their lines are not back yet.
        SourcesRestored = "sources-restored",
        /// A source has its number, and no line has entered.
        SourceRegistered = "source-registered",
        /// The journal knows a source that has its number, and no line has entered.
        SourceJournaled = "source-journaled",
        /// A source that is read again has a new number, and its file is in `done/`. No line has entered.
        ReloadShared = "reload-shared",
        /// An upload is on disk, but not yet registered.
        UploadSpooled = "upload-spooled",
        /// The header of a batch is in its segment, the batch is not.
        BatchHalfWritten = "batch-half-written",
        /// A segment is created, and nothing is in it.
        SegmentBegun = "segment-begun",
        /// The text lines of a batch are on their raw topic, its dead letters are not.
        RawAppended = "raw-appended",
        /// All lines of a batch are on the topics.
        IntakeAppended = "intake-appended",
        /// The number of a source's lines is stored.
        SourceFinished = "source-finished",
        /// The transform's accepted records are on their topic, its dead letters are not.
        AcceptedAppended = "accepted-appended",
        /// All outputs of the transform for a batch are on the topics, its offset is not stored.
        OutputsAppended = "outputs-appended",
        /// The transform's offsets are stored, nothing is trimmed.
        OffsetsStored = "offsets-stored",
        /// The rows of a batch are written, its dead letters and ledger are not.
        RowsWritten = "rows-written",
        /// The dead letters of a batch are written too, the ledger is not.
        LettersWritten = "letters-written",
        /// All of a batch is written, but not yet committed.
        LedgerWritten = "ledger-written",
        /// A batch is committed, and the caller has no answer yet.
        BatchCommitted = "batch-committed",
        /// The stages know of a commit, and nothing is trimmed yet.
        CommitPublished = "commit-published",
        /// A segment that every reader has read is removed, the next is not.
        SegmentTrimmed = "segment-trimmed",
        /// Waiting lines are healed, and the caller has no answer yet.
        WaitingHealed = "waiting-healed",
        /// A move of a dead letter is requested, and the client has no answer yet.
        MoveAsked = "move-asked",
        /// The list of a bulk move is fixed, and the client has no answer yet.
        MovesListed = "moves-listed",
        /// The next lines of a bulk move are claimed, but not yet committed.
        MovesClaimed = "moves-claimed",
        /// Dead letters are discarded, but not yet committed.
        LettersDiscarded = "letters-discarded",
        /// Dead letters were replayed or discarded, and the caller has no answer yet.
        MovesMade = "moves-made",
        /// The changes of a view are folded, but not yet committed.
        ViewFolded = "view-folded",
        /// A source is complete, its file is still in its place.
        SourceCompleted = "source-completed",
        /// A file is moved to `done/`.
        FilePutAway = "file-put-away",
        /// A file of a backup is written, the others are not.
        BackupFileWritten = "backup-file-written",
        /// All of a backup is on disk, but not yet under its name.
        BackupOnDisk = "backup-on-disk",
        /// A backup is under its name, and the caller has no answer yet.
        BackupPublished = "backup-published",
        /// An old backup is hidden, but not yet removed.
        BackupHidden = "backup-hidden",
        /// A file of a restore is converted, but not yet in the spool.
        RestoreConverted = "restore-converted",
        /// A file of a restore is registered, the others are not.
        RestoreEntered = "restore-entered",
        /// All rows of an exact restore are written, but not yet committed.
        RestoreFilled = "restore-filled",
        /// An exact restore is committed, and the caller has no answer yet.
        RestoreCommitted = "restore-committed",
    }
}

/// The error of a step that a test made fail.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the failpoint '{0}' is armed")]
pub struct FailpointError(pub Failpoint);

impl From<FailpointError> for crate::contract::Error {
    fn from(failed: FailpointError) -> Self {
        Self::retry(failed.to_string())
    }
}

impl From<FailpointError> for std::io::Error {
    fn from(failed: FailpointError) -> Self {
        Self::other(failed)
    }
}

#[cfg(not(feature = "failpoints"))]
impl Failpoint {
    /// Does nothing.
    #[inline(always)]
    pub fn pass(self) -> Result<(), FailpointError> {
        Ok(())
    }
}

/// Refuses, because this build has no failpoints.
///
/// # Errors
///
/// Always.
#[cfg(not(feature = "failpoints"))]
pub fn arm(_: &str) -> Result<(), String> {
    Err("this build has no failpoints".to_owned())
}

#[cfg(feature = "failpoints")]
pub use armed::arm;

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{Failpoint, FailpointError};

    static ARMED: OnceLock<Armed> = OnceLock::new();

    struct Armed {
        point: Failpoint,
        aborts: bool,
        /// How many passes are left until the action, this one included.
        left: AtomicU64,
    }

    /// Arms one failpoint, as `name=abort@n` or `name=error@n`.
    ///
    /// # Errors
    ///
    /// If the text does not name a failpoint and an action, or if a failpoint is armed already.
    pub fn arm(text: &str) -> Result<(), String> {
        let read = || {
            let (name, action) = text.split_once('=')?;
            let (action, count) = action.split_once('@')?;
            let point = Failpoint::ALL.into_iter().find(|point| point.as_str() == name)?;
            let aborts = ["error", "abort"].iter().position(|known| *known == action)? == 1;
            Some(Armed { point, aborts, left: AtomicU64::new(count.parse().ok()?) })
        };
        let armed = read().ok_or_else(|| format!("'{text}' is no failpoint; write name=abort@1"))?;
        ARMED.set(armed).map_err(|_| "a failpoint is armed already".to_owned())
    }

    impl Failpoint {
        /// Marks the step as done. Aborts the process if a test wants that here.
        ///
        /// # Errors
        ///
        /// If a test makes this step fail.
        pub fn pass(self) -> Result<(), FailpointError> {
            let Some(armed) = ARMED.get().filter(|armed| armed.point == self) else { return Ok(()) };
            let left =
                armed.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            match left {
                Ok(1) if armed.aborts => std::process::abort(),
                Ok(1) => Err(FailpointError(self)),
                _ => Ok(()),
            }
        }
    }
}
