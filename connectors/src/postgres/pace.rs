//! How much is committed at once.
//!
//! As much as is delivered, unless a timeout of the role ends the transaction: then the batch is halved until its parts
//! fit, and those that follow begin as small. After a while larger ones are tried again.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use tracing::warn;

use super::batch::Batch;
use super::error::Kind;
use super::sink::Committed;
use super::{Error, Postgres};

/// So many parts in a row must fit before one of twice the size is tried; twice as many after each that did not.
const FITTING_MIN: u32 = 16;
const FITTING_MAX: u32 = 1024;
/// A connection that is closed so many times in a row is closed for what it does.
const CLOSED_MAX: u32 = 2;

/// What is known of how much fits; it may be lost.
pub(super) struct Pace {
    /// As many lines fit, as far as is known.
    lines_max: AtomicUsize,
    /// How many parts have fitted since, and how many have to before more is tried.
    fitted: AtomicU32,
    wanted: AtomicU32,
    /// How often the connection was closed since anything was committed.
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
    /// Whether so many lines may be tried at once.
    pub(super) fn fits(&self, lines: usize) -> bool {
        lines <= self.lines_max.load(Ordering::Relaxed)
    }

    /// So many lines have been committed at once.
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

    /// So many lines were not committed because of this error. Tells whether fewer are to be tried at once.
    pub(super) fn failed(&self, lines: usize, error: &Error) -> bool {
        // A session that the server ended while it rested in a transaction only says that it is gone.
        let is_closed_again =
            || error.is_closed() && self.closed.fetch_add(1, Ordering::Relaxed) + 1 >= CLOSED_MAX;
        let may_be_too_long = error.kind() == Kind::TooLong || is_closed_again();
        if !may_be_too_long || lines < 2 {
            return false;
        }
        let fewer = lines.div_ceil(2);
        if self.lines_max.fetch_min(fewer, Ordering::Relaxed) > fewer {
            let wanted = self.wanted.load(Ordering::Relaxed);
            self.wanted.store((wanted * 2).min(FITTING_MAX), Ordering::Relaxed);
        }
        self.fitted.store(0, Ordering::Relaxed);
        if error.kind() == Kind::TooLong {
            warn!(lines, "a transaction took too long, so fewer lines are committed at once: {error}");
        }
        error.kind() == Kind::TooLong
    }
}

impl Committed {
    fn add(&mut self, more: Self) {
        let Self { applied, left } = more;
        self.left += left;
        self.applied.add(applied);
    }
}

impl Postgres {
    /// Applies a batch: in one transaction, unless a timeout of the role ends that; then in smaller ones, one after
    /// another, of which the last has the readers' offsets. Nothing is lost or doubled if it stops between them: what is
    /// delivered again the ledger has.
    pub(super) async fn commit(&self, batch: &Batch) -> Result<Committed, Error> {
        let pace = &self.inner.sink.pace;
        let is_whole = self.stays_whole(batch);
        let mut parts = Vec::new();
        if is_whole || pace.fits(batch.len()) || !self.halve(batch, &mut parts) {
            match self.commit_at_once(batch, is_whole).await {
                Err(error)
                    if !is_whole && pace.failed(batch.len(), &error) && self.halve(batch, &mut parts) => {}
                Ok(committed) => {
                    pace.fitted(batch.len());
                    return Ok(committed);
                }
                Err(error) => return Err(error),
            }
        }
        let mut committed = Committed::default();
        while let Some(part) = parts.pop() {
            if !pace.fits(part.len()) && self.halve(&part, &mut parts) {
                continue;
            }
            match self.commit_at_once(&part, false).await {
                Ok(more) => {
                    pace.fitted(part.len());
                    committed.add(more);
                }
                Err(error) if pace.failed(part.len(), &error) && self.halve(&part, &mut parts) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(committed)
    }

    /// Puts the halves of a batch on a stack, the first on top; `false` if it is a single line.
    fn halve(&self, batch: &Batch, parts: &mut Vec<Batch>) -> bool {
        let Some((first, second)) = batch.halves(&self.inner.validators) else { return false };
        parts.extend([second, first]);
        true
    }

    /// Whether lines of a batch may wait for each other, so that none of them heals without the others.
    fn stays_whole(&self, batch: &Batch) -> bool {
        let datasets = batch.rows.iter().zip(&self.inner.manifest.datasets).enumerate();
        datasets.into_iter().any(|(index, (rows, dataset))| {
            dataset.columns.iter().any(|column| column.references == Some(index))
                && rows.lines.iter().any(|row| row.letter.is_some_and(|letter| batch.is_stored(letter)))
        })
    }
}
