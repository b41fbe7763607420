//! Failpoints: every durable step, by name, and how a test ends the process there or makes the step fail.
//!
//! `TIDEGATE_FAILPOINT=batch-committed=abort@3` ends the process, as `SIGKILL` would, when it comes there for
//! the third time; `=error@3` makes the step fail that once, as if its effect had not become known. Only builds
//! with the feature `failpoints` have them, which the tests turn on; in others [`Failpoint::pass`] is nothing.

macro_rules! failpoints {
    ($($(#[doc = $doc:literal])+ $point:ident = $name:literal,)+) => {
        /// A durable step, or the moment between two.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Failpoint {
            $($(#[doc = $doc])+ $point,)+
        }

        impl Failpoint {
            /// All of them, in the order in which a line meets them.
            pub const ALL: &[Self] = &[$(Self::$point),+];

            /// The name, as in `TIDEGATE_FAILPOINT`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name),+
                }
            }
        }
    };
}

failpoints! {
    /// The identity of a data directory is written, not yet under its name.
    IdentityWritten = "identity-written",
    /// Tidegate's schema is up to date.
    DatabaseMigrated = "database-migrated",
    /// The leases are taken.
    LeasesTaken = "leases-taken",
    /// Tables and views are as the manifest says, not yet committed.
    TablesPrepared = "tables-prepared",
    /// The journal is written anew, not yet under its name.
    JournalWritten = "journal-written",
    /// Sources that Postgres had lost are registered again, their lines are not back.
    SourcesRestored = "sources-restored",
    /// A source has its number, and no line has entered.
    SourceRegistered = "source-registered",
    /// The journal knows a source that has its number, and no line has entered.
    SourceJournaled = "source-journaled",
    /// A source that is read again has a number as a new one, and its file in `done/`; no line has entered.
    ReloadShared = "reload-shared",
    /// An upload is on disk, and not registered.
    UploadSpooled = "upload-spooled",
    /// The header of a batch is in its segment, the batch is not.
    BatchHalfWritten = "batch-half-written",
    /// A segment is begun, and nothing is in it.
    SegmentBegun = "segment-begun",
    /// The text of what entered is on its raw topic, the dead letters are not.
    RawAppended = "raw-appended",
    /// All that entered is on the topics.
    IntakeAppended = "intake-appended",
    /// It is noted how many lines a source has.
    SourceFinished = "source-finished",
    /// The transform's accepted records are on their topic, its dead letters are not.
    AcceptedAppended = "accepted-appended",
    /// All that the transform made of a batch is on the topics, its offset is not stored.
    OutputsAppended = "outputs-appended",
    /// The transform's offsets are stored, nothing is trimmed.
    OffsetsStored = "offsets-stored",
    /// The rows of a batch are written, its dead letters and its ledger are not.
    RowsWritten = "rows-written",
    /// The dead letters of a batch are written too, the ledger is not.
    LettersWritten = "letters-written",
    /// All of a batch is written, and not committed.
    LedgerWritten = "ledger-written",
    /// A batch is committed, and nobody knows.
    BatchCommitted = "batch-committed",
    /// The stages know of a commit, and nothing is trimmed.
    CommitPublished = "commit-published",
    /// A segment that all have read is removed, the next is not.
    SegmentTrimmed = "segment-trimmed",
    /// Waiting lines are healed, and nobody knows.
    WaitingHealed = "waiting-healed",
    /// A move of a dead letter is asked for, and nobody has been told.
    MoveAsked = "move-asked",
    /// The list of a bulk move is fixed, and nobody has been told.
    MovesListed = "moves-listed",
    /// The next lines of a bulk move are claimed, not yet committed.
    MovesClaimed = "moves-claimed",
    /// Dead letters are discarded, not yet committed.
    LettersDiscarded = "letters-discarded",
    /// Dead letters were replayed or discarded, and nobody knows.
    MovesMade = "moves-made",
    /// The changes of a view are folded, not yet committed.
    ViewFolded = "view-folded",
    /// A source is complete, its file is where it was.
    SourceCompleted = "source-completed",
    /// A file is moved to `done/`.
    FilePutAway = "file-put-away",
    /// A file of a backup is written, the others are not.
    BackupFileWritten = "backup-file-written",
    /// All of a backup is on disk, not yet under its name.
    BackupOnDisk = "backup-on-disk",
    /// A backup is under its name, and nobody knows.
    BackupPublished = "backup-published",
    /// An old backup is out of sight, and not removed.
    BackupHidden = "backup-hidden",
    /// A file of a restore is converted, and not in the spool.
    RestoreConverted = "restore-converted",
    /// A file of a restore is registered, the others are not.
    RestoreEntered = "restore-entered",
    /// All rows of an exact restore are written, not yet committed.
    RestoreFilled = "restore-filled",
    /// An exact restore is committed, and nobody knows.
    RestoreCommitted = "restore-committed",
}

/// A step failed because a test wanted it to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the failpoint '{}' is armed", .0.name())]
pub struct Failed(pub Failpoint);

impl From<Failed> for crate::contract::Error {
    fn from(failed: Failed) -> Self {
        Self::retry(failed.to_string())
    }
}

impl From<Failed> for std::io::Error {
    fn from(failed: Failed) -> Self {
        Self::other(failed)
    }
}

#[cfg(not(feature = "failpoints"))]
impl Failpoint {
    /// Nothing.
    #[inline(always)]
    pub fn pass(self) -> Result<(), Failed> {
        Ok(())
    }
}

/// Refuses: this build has no failpoints.
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

    use super::{Failed, Failpoint};

    static ARMED: OnceLock<Armed> = OnceLock::new();

    struct Armed {
        point: Failpoint,
        aborts: bool,
        /// How often the point may be passed still, this time included.
        left: AtomicU64,
    }

    /// Arms one failpoint, as `name=abort@n` or `name=error@n`.
    ///
    /// # Errors
    ///
    /// If the text cannot be read.
    pub fn arm(text: &str) -> Result<(), String> {
        let read = || {
            let (name, action) = text.split_once('=')?;
            let (action, count) = action.split_once('@')?;
            let point = *Failpoint::ALL.iter().find(|point| point.name() == name)?;
            let aborts = ["error", "abort"].iter().position(|known| *known == action)? == 1;
            Some(Armed { point, aborts, left: AtomicU64::new(count.parse().ok()?) })
        };
        let armed = read().ok_or_else(|| format!("'{text}' is no failpoint; write name=abort@1"))?;
        ARMED.set(armed).map_err(|_| "a failpoint is armed already".to_owned())
    }

    impl Failpoint {
        /// Says that this step was done.
        ///
        /// # Errors
        ///
        /// If a test wants it to have failed.
        pub fn pass(self) -> Result<(), Failed> {
            let Some(armed) = ARMED.get().filter(|armed| armed.point == self) else { return Ok(()) };
            let left =
                armed.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            match left {
                Ok(1) if armed.aborts => std::process::abort(),
                Ok(1) => Err(Failed(self)),
                _ => Ok(()),
            }
        }
    }
}
