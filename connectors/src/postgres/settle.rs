//! The end of a transaction's work: every line gets its fate in the ledger and, unless it is accepted, its
//! place among the dead letters.

use deadpool_postgres::Transaction;
use tidegate_core::contract::{Applied, Tally};
use tidegate_core::dead_letter::{Event, Stage};
use tidegate_core::ledger::{Effects, Fate};
use tidegate_core::manifest::Manifest;

use super::Error;
use super::batch::{Batch, Letter, Row, SetAside, Stored, Verdicts};
use super::ledger::{Draft, superseded};
use super::letters::{HeldLetters, NewLetters, Settled};
use super::moves::newer::Newer;
use super::sink::Committed;

/// What the transaction knows of its lines when their rows are written.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) batch: &'a Batch,
    /// The dead letters of the batch that stood in the table, and still do as they did.
    pub(super) held: &'a HeldLetters,
    /// By dataset.
    pub(super) verdicts: &'a [Verdicts],
    /// The newer lines that hold the rows of replayed ones.
    pub(super) newer: &'a Newer,
    /// By dataset, the shape that its lines have now.
    pub(super) own_shapes: &'a [i64],
}

/// Settles all lines of a batch, whose rows have been written.
pub(super) async fn settle(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    known: Known<'_>,
    ledger: &mut Draft,
) -> Result<Committed, Error> {
    let mut settlement = Settlement {
        known,
        ledger,
        tallies: vec![Tally::default(); known.verdicts.len()],
        settled: Settled::default(),
        made: Vec::new(),
    };
    for (dataset, verdicts) in known.verdicts.iter().enumerate() {
        settlement.rows(dataset, verdicts)?;
    }
    let rejected = settlement.letters();
    let Settlement { tallies, settled, made, .. } = settlement;
    let mut new = NewLetters::new(known.own_shapes);
    let mut applied = Applied { tallies, ..Applied::default() };
    for letter in rejected {
        new.push(manifest, letter, None);
        applied.count(letter.dataset, &letter.reasons);
    }
    for (letter, awaits) in &made {
        new.push(manifest, letter, *awaits);
        applied.count(letter.dataset, &letter.reasons);
    }
    let left = settled.left();
    new.insert(tx).await?;
    settled.update(tx).await?;
    let may_heal = |(dataset, tally): (usize, &Tally)| {
        tally.waiting > 0 || (tally.accepted > 0 && is_referenced(manifest, dataset))
    };
    applied.may_heal = applied.tallies.iter().enumerate().any(may_heal);
    Ok(Committed { applied, left })
}

struct Settlement<'a> {
    known: Known<'a>,
    ledger: &'a mut Draft,
    tallies: Vec<Tally>,
    /// Dead letters that stood in the table.
    settled: Settled<'a>,
    /// Dead letters of rows that were set aside, with what they await.
    made: Vec<(Letter, Option<&'a str>)>,
}

impl<'a> Settlement<'a> {
    /// The rows of one dataset, accepted and set aside.
    fn rows(&mut self, dataset: usize, verdicts: &'a Verdicts) -> Result<(), Error> {
        let rows = &self.known.batch.rows[dataset];
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
            if let Some((letter, stored)) = self.letter_of(row).and_then(stored) {
                self.ledger.settle(row.position, stored.set, Fate::Accepted);
                self.settled.accepted(letter, stored, self.known.newer);
            }
        }
        for aside in &verdicts.set_aside {
            let tally = &mut self.tallies[dataset];
            tally.rejected += u64::from(aside.fate == Fate::Rejected);
            tally.waiting += u64::from(aside.fate == Fate::Waiting);
            let row = &rows.lines[aside.row as usize];
            let letter = self.letter_of(row);
            if let Some((letter, stored)) = letter.and_then(stored) {
                self.still_dead(letter, stored, aside);
                continue;
            }
            self.ledger.mark(row.position, aside.fate);
            let exact = letter.and_then(|letter| letter.text.clone());
            let canonical = || String::from_utf8_lossy(rows.canonical(row)).into_owned();
            let made = Letter {
                dataset,
                position: row.position,
                attempt: row.attempt,
                stage: letter.map_or(Stage::Sink, |letter| letter.stage),
                event: if aside.fate == Fate::Waiting { Event::Waiting } else { Event::Rejected },
                text: Some(exact.unwrap_or_else(canonical)),
                bytes: None,
                length: None,
                blake3: None,
                reasons: aside.reasons.clone(),
                shape: None,
                dropped: None,
                stored: None,
            };
            self.made.push((made, aside.awaits.as_deref()));
        }
        Ok(())
    }

    /// A letter that was tried again, and set aside again.
    fn still_dead(&mut self, letter: &'a Letter, stored: Stored, aside: &'a SetAside) {
        self.ledger.settle(letter.position, stored.set, aside.fate);
        if aside.fate == Fate::Rejected {
            self.settled.rejected(letter, stored, &aside.reasons);
        } else {
            self.settled.waits(letter, stored, &aside.reasons, aside.awaits.as_deref());
        }
    }

    /// The letters that are no rows. Gives those that are new.
    fn letters(&mut self) -> Vec<&'a Letter> {
        let batch = self.known.batch;
        let mut is_row = vec![false; batch.letters.len()];
        for row in batch.rows.iter().flat_map(|rows| &rows.lines) {
            if let Some(letter) = row.letter {
                is_row[letter as usize] = true;
            }
        }
        let mut new = Vec::new();
        for (letter, _) in batch.letters.iter().zip(is_row).filter(|(_, is_row)| !is_row) {
            let tally = &mut self.tallies[letter.dataset];
            if let Some((_, stored)) = stored(letter) {
                let stands = self.ledger.fate(letter.position) == Some(stored.set);
                if !stands || !self.known.held.has(letter.position) {
                    tally.duplicates += 1;
                    continue;
                }
                // It breaks a rule of the manifest: as it is now, if it waited, or still.
                self.ledger.settle(letter.position, stored.set, Fate::Rejected);
                self.settled.rejected(letter, stored, &letter.reasons);
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

    fn letter_of(&self, row: &Row) -> Option<&'a Letter> {
        row.letter.map(|letter| &self.known.batch.letters[letter as usize])
    }
}

/// A letter that stands in the table, with where.
fn stored(letter: &Letter) -> Option<(&Letter, Stored)> {
    Some((letter, letter.stored?))
}

fn is_referenced(manifest: &Manifest, parent: usize) -> bool {
    let mut columns = manifest.datasets.iter().flat_map(|dataset| &dataset.columns);
    columns.any(|column| column.references == Some(parent))
}
