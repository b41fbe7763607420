//! The end of a transaction's work: every line gets its fate in the ledger and, unless it is accepted, its
//! place among the dead letters.

use deadpool_postgres::Transaction;
use tidegate_core::contract::{Applied, Tally};
use tidegate_core::dead_letter::{Event, Stage};
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::Manifest;

use super::Error;
use super::batch::{Batch, Letter, Row, SetAside, Verdicts};
use super::ledger::Draft;
use super::letters::{NewLetters, Settled};
use super::sink::Committed;

/// Settles all lines of a batch, whose rows have been written as `verdicts` say, by dataset.
pub(super) async fn settle(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    batch: &Batch,
    ledger: &mut Draft,
    verdicts: &[Verdicts],
) -> Result<Committed, Error> {
    let mut settlement = Settlement {
        batch,
        ledger,
        tallies: vec![Tally::default(); verdicts.len()],
        settled: Settled::default(),
        made: Vec::new(),
    };
    for (dataset, verdicts) in verdicts.iter().enumerate() {
        settlement.rows(dataset, verdicts);
    }
    let rejected = settlement.letters();
    let Settlement { tallies, settled, made, .. } = settlement;
    let mut new = NewLetters::default();
    for letter in rejected {
        new.push(manifest, letter, None);
    }
    for (letter, awaits) in &made {
        new.push(manifest, letter, *awaits);
    }
    let left = settled.left();
    new.insert(tx).await?;
    settled.update(tx).await?;
    let may_heal = |(dataset, tally): (usize, &Tally)| {
        tally.waiting > 0 || (tally.accepted > 0 && is_referenced(manifest, dataset))
    };
    let may_heal = tallies.iter().enumerate().any(may_heal);
    Ok(Committed { applied: Applied { tallies, may_heal }, left })
}

struct Settlement<'a> {
    batch: &'a Batch,
    ledger: &'a mut Draft,
    tallies: Vec<Tally>,
    /// Dead letters that stood in the table as waiting.
    settled: Settled<'a>,
    /// Dead letters of rows that were set aside, with what they await.
    made: Vec<(Letter, Option<&'a str>)>,
}

impl<'a> Settlement<'a> {
    /// The rows of one dataset, accepted and set aside.
    fn rows(&mut self, dataset: usize, verdicts: &'a Verdicts) {
        let rows = &self.batch.rows[dataset];
        self.tallies[dataset].accepted += verdicts.accepted.len() as u64;
        self.tallies[dataset].duplicates += verdicts.duplicates;
        for row in verdicts.accepted.iter().map(|row| &rows.lines[*row as usize]) {
            if let Some(letter) = self.letter_of(row).filter(|letter| letter.stored) {
                self.ledger.settle(row.position, Fate::Accepted);
                self.settled.healed(letter);
            }
        }
        for aside in &verdicts.set_aside {
            let tally = &mut self.tallies[dataset];
            tally.rejected += u64::from(aside.fate == Fate::Rejected);
            tally.waiting += u64::from(aside.fate == Fate::Waiting);
            let row = &rows.lines[aside.row as usize];
            match self.letter_of(row) {
                Some(letter) if letter.stored => self.still_dead(letter, aside),
                letter => {
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
                        stored: false,
                    };
                    self.made.push((made, aside.awaits.as_deref()));
                }
            }
        }
    }

    /// A letter that waited, and was set aside again.
    fn still_dead(&mut self, letter: &Letter, aside: &'a SetAside) {
        if aside.fate == Fate::Rejected {
            self.ledger.settle(letter.position, Fate::Rejected);
            self.settled.rejected(letter, &aside.reasons);
        } else {
            self.settled.waits(letter, &aside.reasons, aside.awaits.as_deref());
        }
    }

    /// The letters that are no rows. Gives those that are new.
    fn letters(&mut self) -> Vec<&'a Letter> {
        let mut is_row = vec![false; self.batch.letters.len()];
        for row in self.batch.rows.iter().flat_map(|rows| &rows.lines) {
            if let Some(letter) = row.letter {
                is_row[letter as usize] = true;
            }
        }
        let mut new = Vec::new();
        for (letter, _) in self.batch.letters.iter().zip(is_row).filter(|(_, is_row)| !is_row) {
            let tally = &mut self.tallies[letter.dataset];
            if letter.stored && self.ledger.waits(letter.position) {
                // It waited, and breaks a rule of the manifest as it is now.
                self.ledger.settle(letter.position, Fate::Rejected);
                self.settled.rejected(letter, &letter.reasons);
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
        row.letter.map(|letter| &self.batch.letters[letter as usize])
    }
}

fn is_referenced(manifest: &Manifest, parent: usize) -> bool {
    let mut columns = manifest.datasets.iter().flat_map(|dataset| &dataset.columns);
    columns.any(|column| column.references == Some(parent))
}
