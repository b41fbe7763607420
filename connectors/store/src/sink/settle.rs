//! The end of a transaction's work: every line gets its fate in the ledger and, unless it is accepted, its
//! place among the dead letters.

use deadpool_postgres::Transaction;
use tidegate_core::contract::{CommitReport, Tally};
use tidegate_core::dead_letter::{Event, Stage};
use tidegate_core::ledger::{Effects, Fate};
use tidegate_postgres::PgError;

use super::batch::{BatchLetter, RowBatch, StoredState, UnwrittenRow, Verdicts};
use super::letters::{self, LetterChanges, LockedDeadLetters};
use super::newer::NewerLines;
use super::transaction::{Attempt, CommitOutcome};
use crate::ledger::{LedgerUpdate, superseded};

/// Settles all lines of a batch after their rows were written. `locked` are the stored dead letters of the batch that
/// are unchanged since the batch was read, `verdicts` the decisions about the rows of each dataset, and `newer` the
/// newer lines that hold the rows of replayed lines.
pub(super) async fn settle(
    tx: &Transaction<'_>,
    attempt: &Attempt<'_>,
    locked: &LockedDeadLetters,
    verdicts: &[Verdicts],
    newer: &NewerLines,
    ledger: &mut LedgerUpdate,
) -> Result<CommitOutcome, PgError> {
    let (batch, manifest) = (attempt.batch, attempt.store.manifest());
    let mut settlement = Settlement {
        batch,
        locked,
        newer,
        ledger,
        tallies: vec![Tally::default(); verdicts.len()],
        changes: LetterChanges::default(),
        made: Vec::new(),
    };
    for (dataset, verdicts) in verdicts.iter().enumerate() {
        settlement.rows(dataset, verdicts)?;
    }
    let rejected = settlement.letters();
    let Settlement { tallies, changes, made, .. } = settlement;
    let mut applied = CommitReport { tallies, ..CommitReport::default() };
    let new = rejected.into_iter().map(|letter| (letter, None));
    let new: Vec<_> = new.chain(made.iter().map(|(letter, awaits)| (letter, *awaits))).collect();
    new.iter().for_each(|(letter, _)| applied.count(letter.dataset, &letter.reasons));
    letters::insert(tx, manifest, attempt.own_shapes, &new).await?;
    let left = changes.write(tx).await?;
    let may_heal = |(dataset, tally): (usize, &Tally)| {
        tally.waiting > 0 || (tally.accepted > 0 && manifest.is_referenced(dataset))
    };
    applied.may_heal = applied.tallies.iter().enumerate().any(may_heal);
    Ok(CommitOutcome { applied, left })
}

struct Settlement<'a> {
    batch: &'a RowBatch,
    locked: &'a LockedDeadLetters,
    newer: &'a NewerLines,
    ledger: &'a mut LedgerUpdate,
    tallies: Vec<Tally>,
    /// The changes of stored dead letters.
    changes: LetterChanges<'a>,
    /// New dead letters of rows that were set aside, each with the references that it awaits.
    made: Vec<(BatchLetter, Option<&'a str>)>,
}

impl<'a> Settlement<'a> {
    /// Settles the rows of one dataset, accepted and set aside.
    fn rows(&mut self, dataset: usize, verdicts: &'a Verdicts) -> Result<(), PgError> {
        let rows = &self.batch.rows[dataset];
        let accepted = verdicts.accepted.len() as u64;
        let writes = verdicts.writes.total();
        self.ledger.wrote(&verdicts.writes);
        self.tallies[dataset].accepted += accepted;
        self.tallies[dataset].effects += Effects {
            inserted: writes.inserted,
            updated: writes.updated,
            superseded: superseded(accepted, writes)?,
            uncounted: 0,
        };
        self.tallies[dataset].duplicates += verdicts.duplicates;
        for row in verdicts.accepted.iter().map(|row| &rows.lines[*row as usize]) {
            if let Some((letter, stored)) = self.batch.letter_of(row).and_then(stored) {
                self.ledger.settle(row.position, stored.set, Fate::Accepted);
                self.changes.accepted(letter, stored, self.newer);
            }
        }
        for aside in &verdicts.set_aside {
            let tally = &mut self.tallies[dataset];
            tally.rejected += u64::from(aside.fate == Fate::Rejected);
            tally.waiting += u64::from(aside.fate == Fate::Waiting);
            let row = &rows.lines[aside.row as usize];
            let letter = self.batch.letter_of(row);
            if let Some((letter, stored)) = letter.and_then(stored) {
                let UnwrittenRow { fate, reasons, awaits, .. } = aside;
                self.ledger.settle(letter.position, stored.set, *fate);
                self.changes.dead(letter, stored, *fate, reasons, awaits.as_deref());
                continue;
            }
            self.ledger.mark(row.position, aside.fate);
            let exact = letter.and_then(|letter| letter.text.clone());
            let canonical = || String::from_utf8_lossy(rows.canonical(row)).into_owned();
            let stage = letter.map_or(Stage::Sink, |letter| letter.stage);
            let event = if aside.fate == Fate::Waiting { Event::Waiting } else { Event::Rejected };
            let text = Some(exact.unwrap_or_else(canonical));
            let made = BatchLetter::new(dataset, row.position, stage, event, text);
            let made = BatchLetter { reasons: aside.reasons.clone(), ..made };
            self.made.push((made, aside.awaits.as_deref()));
        }
        Ok(())
    }

    /// Settles the letters that are no rows. Returns the new ones.
    fn letters(&mut self) -> Vec<&'a BatchLetter> {
        let mut new = Vec::new();
        for letter in self.batch.letters_without_rows() {
            let tally = &mut self.tallies[letter.dataset];
            if let Some((_, stored)) = stored(letter) {
                let stands = self.ledger.fate(letter.position) == Some(stored.set);
                if !stands || !self.locked.has(letter.position) {
                    tally.duplicates += 1;
                    continue;
                }
                // The letter breaks a rule of the manifest: a waiting one breaks it now, a rejected one still does.
                self.ledger.settle(letter.position, stored.set, Fate::Rejected);
                self.changes.dead(letter, stored, Fate::Rejected, &letter.reasons, None);
                tally.rejected += 1;
            } else if self.ledger.enter(letter.position) {
                self.ledger.mark(letter.position, Fate::Rejected);
                tally.rejected += 1;
                new.push(letter);
            } else {
                tally.duplicates += 1;
            }
        }
        new
    }
}

/// A stored letter, with its stored state.
fn stored(letter: &BatchLetter) -> Option<(&BatchLetter, StoredState)> {
    Some((letter, letter.stored?))
}
