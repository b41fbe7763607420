//! Which files stand still and may be taken.
//!
//! A file is taken only after it has stood still for `stable_for`, by a clock of this process: the times of files on a
//! network share may be hours off. A file is not taken while a process is known to have it open for writing. If its
//! last record has no end, it is taken later: it may have been cut, with the rest on its way.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::file::{self, Stamp};
use crate::writers::{Writers, rested};

/// How many times `stable_for` a file must stand still whose last record has no end.
const OPEN_END: u32 = 5;
/// How many times `stable_for` to wait for a file that stands still and is held open, and for a file that goes on
/// changing.
const PATIENCE_HELD: u32 = 10;
const PATIENCE_CHANGING: u32 = 60;
/// The smallest `stable_for` for these waits.
const STABLE_FOR_MIN: Duration = Duration::from_millis(100);
/// If a file was not looked at for so long and has changed since, it counts as new.
const WATCHED: Duration = Duration::from_secs(2);

/// The files of the landing folder, as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Stillness {
    pub(super) writers: Writers,
    observed: HashMap<PathBuf, FileWatch>,
}

#[derive(Debug)]
struct FileWatch {
    stamp: Stamp,
    /// Since when it has had this stamp.
    since: Instant,
    /// Since when it has existed or has been changing, and when it was last looked at.
    first: Instant,
    looked: Instant,
    /// How long it has been unchanged, as far as known.
    still: Duration,
    /// Whether its last record has an end, once that was checked.
    ends: Option<bool>,
    /// Why it is no longer waited for, though it is not taken.
    given_up: Option<String>,
}

/// What to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    StandsStill,
    Waits,
    /// The file is no longer waited for: a process has been writing to it for very long.
    GivenUp,
}

impl Stillness {
    /// Returns the files that are no longer waited for, with the reason.
    pub(super) fn given_up(&self) -> impl Iterator<Item = (&PathBuf, &str)> {
        self.observed.iter().filter_map(|(path, observed)| Some((path, observed.given_up.as_deref()?)))
    }

    /// Drops all files but these.
    pub(super) fn retain(&mut self, is_there: impl Fn(&PathBuf) -> bool) {
        self.observed.retain(|path, _| is_there(path));
    }

    /// Looks at files below `folder`, and returns a verdict for each.
    pub(super) fn look(
        &mut self,
        folder: &Path,
        files: &[(&Path, Stamp)],
        stable_for: Duration,
    ) -> Vec<Readiness> {
        let clock = self.writers.clock(folder);
        let stands: Vec<bool> =
            files.iter().map(|(path, stamp)| self.observe(path, *stamp, clock, stable_for)).collect();
        let still: Vec<(&Path, Stamp)> =
            files.iter().zip(&stands).filter(|(_, stands)| **stands).map(|(file, _)| *file).collect();
        let writers = self.writers.of(&still);
        let patience = stable_for.max(STABLE_FOR_MIN);
        let verdict = |((path, _), stands): (&(&Path, Stamp), &bool)| {
            let Some(observed) = self.observed.get_mut(*path) else { return Readiness::Waits };
            let (is_over, why) = match writers.get(*path) {
                Some(who) => (
                    observed.still >= patience * PATIENCE_HELD || observed.is_old(patience),
                    format!("{who} has it open for writing; it is taken when it is closed"),
                ),
                None if *stands => {
                    observed.given_up = None;
                    return Readiness::StandsStill;
                }
                None => (
                    observed.is_old(patience),
                    "it goes on changing; it is taken when it stands still".to_owned(),
                ),
            };
            if !is_over {
                return Readiness::Waits;
            }
            if observed.given_up.is_none() {
                tracing::warn!("'{}' is not taken: {why}", path.display());
            }
            observed.given_up = Some(why);
            Readiness::GivenUp
        };
        files.iter().zip(&stands).map(verdict).collect()
    }

    /// Returns whether a file stands still.
    fn observe(
        &mut self,
        path: &Path,
        stamp: Stamp,
        clock: Option<SystemTime>,
        stable_for: Duration,
    ) -> bool {
        let now = Instant::now();
        let new = || FileWatch {
            stamp,
            since: now,
            first: now,
            looked: now,
            still: Duration::ZERO,
            ends: None,
            given_up: None,
        };
        let observed = self.observed.entry(path.to_owned()).or_insert_with(new);
        if !observed.stamp.looks_like(&stamp) {
            let is_watched = observed.stamp.is_same_file(&stamp) && observed.looked.elapsed() < WATCHED;
            let first = if is_watched { observed.first } else { now };
            *observed = FileWatch { first, given_up: observed.given_up.take(), ..new() };
        }
        observed.looked = now;
        observed.still = now.duration_since(observed.since).max(rested(&stamp, clock));
        if observed.still < stable_for {
            return false;
        }
        // A file that cannot be read is taken, so that the error is reported.
        let ends = *observed.ends.get_or_insert_with(|| file::ends_a_line(path).unwrap_or(true));
        ends || observed.still >= stable_for * OPEN_END
    }

    /// Returns whether a file may be taken in which a quote may be open at the end. From now on the file must stand
    /// still for longer.
    pub(super) fn may_end_openly(&mut self, path: &Path, stable_for: Duration) -> bool {
        self.observed.get_mut(path).is_none_or(|observed| {
            observed.ends = Some(false);
            observed.still >= stable_for * OPEN_END
        })
    }
}

impl FileWatch {
    /// Returns whether the file has existed or been changing for longer than a file is waited for.
    fn is_old(&self, patience: Duration) -> bool {
        self.first.elapsed() >= patience * PATIENCE_CHANGING
    }
}
