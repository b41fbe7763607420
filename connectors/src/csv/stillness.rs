//! Which files stand still, so that they may be taken.
//!
//! A file is taken only after it was seen to stand still for `settle`, by a clock of this process: what a share says of
//! a file's time may be hours off. It is not taken while somebody is known to have it open for writing, and later if
//! its last record has no end, for then it was cut, perhaps, and the rest is on its way.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::file::{self, Stamp};
use super::writers::{Clock, Told, Writers};

/// So many times longer a file must stand still whose last record has no end.
const OPEN_END: u32 = 5;
/// A file that stands still and is held open is waited for so many times as long as it must stand still; and one that
/// goes on changing so many times.
const PATIENCE_HELD: u32 = 10;
const PATIENCE_CHANGING: u32 = 60;
/// And at least as if it had to stand still for so long.
const SETTLE_MIN: Duration = Duration::from_millis(100);
/// A file that was not looked at for so long counts as new when it has changed.
const WATCHED: Duration = Duration::from_secs(2);

/// What is known of files of the landing folder.
#[derive(Debug, Default)]
pub(super) struct Stillness {
    writers: Writers,
    observed: HashMap<PathBuf, Observed>,
}

/// A file as it was seen.
#[derive(Debug)]
struct Observed {
    stamp: Stamp,
    /// Since when it stands so.
    since: Instant,
    /// Since when it is there, or changes, and when it was looked at last.
    first: Instant,
    looked: Instant,
    /// For how long it has stood so, as far as is known.
    still: Duration,
    /// Whether its last record has an end, once that was looked at.
    ends: Option<bool>,
    /// Why it is not waited for any more, though it is not taken.
    given_up: Option<String>,
}

/// What is to be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be taken.
    StandsStill,
    /// Not yet.
    Waits,
    /// It is not worth waiting for: somebody writes to it for very long.
    GivenUp,
}

impl Stillness {
    pub(super) fn ask_about_writers(&mut self, told: Told) {
        self.writers = Writers::Told(told);
    }

    /// The files that are not waited for any more, with the reason.
    pub(super) fn given_up(&self) -> impl Iterator<Item = (&PathBuf, &str)> {
        self.observed.iter().filter_map(|(path, observed)| Some((path, observed.given_up.as_deref()?)))
    }

    /// Forgets all files but these.
    pub(super) fn retain(&mut self, is_there: impl Fn(&PathBuf) -> bool) {
        self.observed.retain(|path, _| is_there(path));
    }

    /// Looks at files below `folder`.
    pub(super) fn look(&mut self, folder: &Path, files: &[(&Path, Stamp)], settle: Duration) -> Vec<Verdict> {
        let clock = self.writers.clock(folder);
        let stands: Vec<bool> =
            files.iter().map(|(path, stamp)| self.observe(path, *stamp, &clock, settle)).collect();
        let still: Vec<(&Path, Stamp)> =
            files.iter().zip(&stands).filter(|(_, stands)| **stands).map(|(file, _)| *file).collect();
        let writers = self.writers.of(&still);
        let patience = settle.max(SETTLE_MIN);
        let verdict = |((path, _), stands): (&(&Path, Stamp), &bool)| {
            let Some(observed) = self.observed.get_mut(*path) else { return Verdict::Waits };
            let (is_over, why) = match writers.get(*path) {
                Some(who) => (
                    observed.still >= patience * PATIENCE_HELD || observed.is_old(patience),
                    format!("{who} has it open for writing; it is taken when it is closed"),
                ),
                None if *stands => {
                    observed.given_up = None;
                    return Verdict::StandsStill;
                }
                None => (
                    observed.is_old(patience),
                    "it goes on changing; it is taken when it stands still".to_owned(),
                ),
            };
            if !is_over {
                return Verdict::Waits;
            }
            if observed.given_up.is_none() {
                tracing::warn!("'{}' is not taken: {why}", path.display());
            }
            observed.given_up = Some(why);
            Verdict::GivenUp
        };
        files.iter().zip(&stands).map(verdict).collect()
    }

    /// Whether a file stands still.
    fn observe(&mut self, path: &Path, stamp: Stamp, clock: &Clock, settle: Duration) -> bool {
        let now = Instant::now();
        let new = || Observed {
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
            *observed = Observed { first, given_up: observed.given_up.take(), ..new() };
        }
        observed.looked = now;
        observed.still = now.duration_since(observed.since).max(clock.rested(&stamp));
        if observed.still < settle {
            return false;
        }
        // One that cannot be read is taken, so that it is said.
        let ends = *observed.ends.get_or_insert_with(|| file::ends_a_line(path).unwrap_or(true));
        ends || observed.still >= settle * OPEN_END
    }

    /// Whether a file may be taken in which a quote was found to be open at the end, perhaps; from now on it must stand
    /// still for longer.
    pub(super) fn may_end_openly(&mut self, path: &Path, settle: Duration) -> bool {
        self.observed.get_mut(path).is_none_or(|observed| {
            observed.ends = Some(false);
            observed.still >= settle * OPEN_END
        })
    }
}

impl Observed {
    /// Whether it is there for longer than a file is waited for.
    fn is_old(&self, patience: Duration) -> bool {
        self.first.elapsed() >= patience * PATIENCE_CHANGING
    }
}
