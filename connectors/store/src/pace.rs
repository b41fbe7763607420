//! The number of lines that one transaction commits.
//!
//! A transaction commits a whole delivery, unless a timeout of the role ends it. If that happens, the batch is halved
//! until its parts fit, and the batches that follow begin with parts of that size. After a number of parts that
//! fitted, a larger size is tried again.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use tidegate_postgres::PgError;
use tidegate_postgres::error::PgErrorKind;
use tracing::warn;

/// The number of parts in a row that must fit before twice the size is tried. It doubles after each failure, up to
/// `FITTING_MAX`.
const FITTING_MIN: u32 = 16;
const FITTING_MAX: u32 = 1024;
/// The number of closed connections in a row from which the work itself is taken for the cause.
const CLOSED_MAX: u32 = 2;

/// The knowledge of how many lines fit into a transaction. It may be lost.
pub(super) struct Pace {
    /// The largest number of lines that is tried at once; `usize::MAX` if no transaction was ended by a timeout.
    lines_max: AtomicUsize,
    /// The number of parts that have fitted since the last change, and the number that must before a larger size is
    /// tried.
    fitted: AtomicU32,
    wanted: AtomicU32,
    /// The number of times that the connection was closed since the last commit.
    closed: AtomicU32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lines_max: AtomicUsize::new(usize::MAX),
            fitted: AtomicU32::new(0),
            wanted: FITTING_MIN.into(),
            closed: AtomicU32::new(0),
        }
    }
}

impl Pace {
    /// Returns whether so many lines may be tried at once.
    pub(super) fn fits(&self, lines: usize) -> bool {
        lines <= self.lines_max.load(Ordering::Relaxed)
    }

    /// Notes that so many lines were committed at once.
    pub(super) fn fitted(&self, lines: usize) {
        self.closed.store(0, Ordering::Relaxed);
        let lines_max = self.lines_max.load(Ordering::Relaxed);
        if lines_max == usize::MAX || lines <= lines_max / 2 {
            return;
        }
        if self.fitted.fetch_add(1, Ordering::Relaxed) + 1 >= self.wanted.load(Ordering::Relaxed) {
            self.lines_max.store(lines_max.saturating_mul(2), Ordering::Relaxed);
            self.fitted.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that so many lines were not committed because of `error`. Returns whether fewer lines are to be tried
    /// immediately.
    pub(super) fn failed(&self, lines: usize, error: &PgError) -> bool {
        // If the server ends a session that is idle in a transaction, the client may only see a closed connection.
        let is_closed_again =
            || error.is_closed() && self.closed.fetch_add(1, Ordering::Relaxed) + 1 >= CLOSED_MAX;
        let may_be_too_long = error.kind() == PgErrorKind::TooLong || is_closed_again();
        if !may_be_too_long || lines < 2 {
            return false;
        }
        let fewer = lines.div_ceil(2);
        if self.lines_max.fetch_min(fewer, Ordering::Relaxed) > fewer {
            let wanted = self.wanted.load(Ordering::Relaxed);
            self.wanted.store((wanted * 2).min(FITTING_MAX), Ordering::Relaxed);
        }
        self.fitted.store(0, Ordering::Relaxed);
        if error.kind() == PgErrorKind::TooLong {
            warn!(lines, "a transaction took too long, so fewer lines are committed at once: {error}");
        }
        error.kind() == PgErrorKind::TooLong
    }
}
