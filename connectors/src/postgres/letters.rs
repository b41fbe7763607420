//! Dead letters into their table.

use std::collections::HashSet;

use deadpool_postgres::Transaction;
use tidegate_core::dead_letter::{Event, Reason, Stage};
use tidegate_core::manifest::Manifest;
use tidegate_core::position::Position;

use super::Error;
use super::batch::{Letter, Stored};
use super::ledger::Draft;
use super::moves::{Outcome, newer::Newer};

/// The rows of one statement, column by column.
#[derive(Default)]
pub(super) struct NewLetters<'a> {
    source: Vec<i64>,
    line: Vec<i64>,
    attempt: Vec<i32>,
    dataset: Vec<&'a str>,
    stage: Vec<&'static str>,
    status: Vec<&'static str>,
    text: Vec<Option<&'a str>>,
    bytes: Vec<Option<&'a str>>,
    length: Vec<Option<i64>>,
    blake3: Vec<Option<&'a str>>,
    reasons: Vec<String>,
    awaits: Vec<Option<&'a str>>,
    shape: Vec<Option<i64>>,
    /// Of each dataset, the shape that its lines have now.
    own_shapes: &'a [i64],
}

impl<'a> NewLetters<'a> {
    /// For lines of these shapes, by dataset.
    pub(super) fn new(own_shapes: &'a [i64]) -> Self {
        Self { own_shapes, ..Self::default() }
    }

    /// Adds a letter; `awaits` names the missing references of one that waits.
    pub(super) fn push(&mut self, manifest: &'a Manifest, letter: &'a Letter, awaits: Option<&'a str>) {
        // What the source set aside is as its input has it.
        let own = Some(self.own_shapes[letter.dataset]).filter(|_| letter.stage != Stage::Source);
        self.shape.push(own);
        self.source.push(letter.position.source as i64);
        self.line.push(letter.position.line as i64);
        self.attempt.push(letter.attempt as i32);
        self.dataset.push(&manifest.datasets[letter.dataset].name);
        self.stage.push(letter.stage.as_str());
        self.status.push(match letter.event {
            Event::Rejected => "rejected",
            Event::Waiting => "waiting",
        });
        self.text.push(letter.text.as_deref());
        self.bytes.push(letter.bytes.as_deref());
        self.length.push(letter.length.map(|length| length as i64));
        self.blake3.push(letter.blake3.as_deref());
        self.reasons.push(as_json(&letter.reasons));
        self.awaits.push(awaits);
    }

    pub(super) async fn insert(self, tx: &Transaction<'_>) -> Result<(), Error> {
        if self.source.is_empty() {
            return Ok(());
        }
        let sql = include_str!("../../../sql/queries/insert_dead_letters.sql");
        let statement = tx.prepare_cached(sql).await?;
        let letters = self.source.len() as u64;
        let inserted = tx
            .execute(
                &statement,
                &[
                    &self.source,
                    &self.line,
                    &self.attempt,
                    &self.dataset,
                    &self.stage,
                    &self.status,
                    &self.text,
                    &self.bytes,
                    &self.length,
                    &self.blake3,
                    &self.reasons,
                    &self.awaits,
                    &self.shape,
                ],
            )
            .await?;
        if inserted == letters { Ok(()) } else { Err(Error::LedgerChanged) }
    }
}

/// The dead letters of a batch that stand in the table, held to the commit as they were when the batch was read.
///
/// Somebody may heal, claim or discard one meanwhile: that one is left alone.
pub(super) struct HeldLetters(HashSet<Position>);

impl HeldLetters {
    pub(super) async fn hold(tx: &Transaction<'_>, letters: &[Letter]) -> Result<Self, Error> {
        let stored = || letters.iter().filter_map(|letter| Some((letter, letter.stored?)));
        if stored().next().is_none() {
            return Ok(Self(HashSet::new()));
        }
        let sources: Vec<i64> = stored().map(|(letter, _)| letter.position.source as i64).collect();
        let lines: Vec<i64> = stored().map(|(letter, _)| letter.position.line as i64).collect();
        let statuses: Vec<&str> = stored().map(|(_, stored)| stored.status()).collect();
        let attempts: Vec<i32> = stored().map(|(letter, _)| letter.attempt as i32).collect();
        let statement = tx.prepare_cached(include_str!("../../../sql/queries/hold_letters.sql")).await?;
        let held = tx.query(&statement, &[&sources, &lines, &statuses, &attempts]).await?;
        let position = |row: &tokio_postgres::Row| {
            Position::new(row.get::<_, i64>(0) as u64, row.get::<_, i64>(1) as u64)
        };
        Ok(Self(held.iter().map(position).collect()))
    }

    /// Fails if a claimed line is not where its replay expects it. What waits is left to 'tidegate verify': it is
    /// looked at again and again, and nobody waits for it.
    pub(super) fn assert_agree(&self, letters: &[Letter], ledger: &Draft) -> Result<(), Error> {
        let agrees = |letter: &Letter| match letter.stored {
            Some(Stored { set, claim: Some(_) }) if self.has(letter.position) => {
                ledger.fate(letter.position) == Some(set)
            }
            _ => true,
        };
        if letters.iter().all(agrees) { Ok(()) } else { Err(Error::LedgerChanged) }
    }

    /// Whether the letter of a line is held.
    pub(super) fn has(&self, position: Position) -> bool {
        self.0.contains(&position)
    }
}

/// What became of dead letters that stood in the table.
#[derive(Default)]
pub(super) struct Settled<'a> {
    source: Vec<i64>,
    line: Vec<i64>,
    was: Vec<&'static str>,
    status: Vec<&'static str>,
    reasons: Vec<Option<String>>,
    awaits: Vec<Option<&'a str>>,
    /// The lines that replays have edited.
    edited: Vec<Option<&'a str>>,
    shape: Vec<Option<i64>>,
    /// What accepted lines held of columns that are gone.
    dropped: Vec<Option<&'a str>>,
    left: u64,
    moves: Moves,
}

/// The replays that were made.
#[derive(Default)]
struct Moves {
    number: Vec<i64>,
    outcome: Vec<&'static str>,
    by_source: Vec<Option<i64>>,
    by_line: Vec<Option<i64>>,
}

impl<'a> Settled<'a> {
    /// A letter whose line was accepted; `newer` is the line that holds the row, if it is a newer one.
    pub(super) fn accepted(&mut self, letter: &'a Letter, stored: Stored, newer: &Newer) {
        let newer = newer.get(&letter.position);
        let outcome = if newer.is_some() { Outcome::Superseded } else { Outcome::Accepted };
        let status = if stored.claim.is_some() { "replayed" } else { "healed" };
        self.push((letter, stored), (status, outcome), None, None, newer);
        self.left += 1;
    }

    /// A letter that breaks a rule.
    pub(super) fn rejected(&mut self, letter: &'a Letter, stored: Stored, reasons: &[Reason]) {
        self.push((letter, stored), ("rejected", Outcome::Rejected), Some(as_json(reasons)), None, None);
        self.left += 1;
    }

    /// A letter that waits, or goes on waiting, for what it lacks now.
    pub(super) fn waits(
        &mut self,
        letter: &'a Letter,
        stored: Stored,
        reasons: &[Reason],
        awaits: Option<&'a str>,
    ) {
        self.push((letter, stored), ("waiting", Outcome::Waiting), Some(as_json(reasons)), awaits, None);
        self.left += u64::from(stored.claim.is_some());
    }

    fn push(
        &mut self,
        (letter, stored): (&'a Letter, Stored),
        (status, outcome): (&'static str, Outcome),
        reasons: Option<String>,
        awaits: Option<&'a str>,
        newer: Option<&Position>,
    ) {
        self.source.push(letter.position.source as i64);
        self.line.push(letter.position.line as i64);
        self.was.push(stored.status());
        self.status.push(status);
        self.reasons.push(reasons);
        self.awaits.push(awaits);
        let edited = stored.claim.is_some_and(|claim| claim.edited);
        self.edited.push(letter.text.as_deref().filter(|_| edited));
        self.shape.push(stored.claim.and_then(|claim| claim.shape));
        self.dropped.push(letter.dropped.as_deref().filter(|_| matches!(status, "healed" | "replayed")));
        if let Some(claim) = stored.claim {
            self.moves.number.push(claim.number);
            self.moves.outcome.push(outcome.as_str());
            self.moves.by_source.push(newer.map(|newer| newer.source as i64));
            self.moves.by_line.push(newer.map(|newer| newer.line as i64));
        }
    }

    /// How many left where they stood.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    pub(super) async fn update(self, tx: &Transaction<'_>) -> Result<(), Error> {
        if self.source.is_empty() {
            return Ok(());
        }
        let statement = tx.prepare_cached(include_str!("../../../sql/queries/settle_letters.sql")).await?;
        let Self { source, line, was, status, reasons, awaits, edited, shape, dropped, left, moves } = self;
        let without = dropped.iter().flatten().count();
        if without > 0 {
            tracing::warn!(
                lines = without,
                "values of columns that the manifest does not have any more were left out of waiting or replayed lines: \
                 'tidegate dead-letters show' names them, as dropped"
            );
        }
        let changed = tx
            .query(&statement, &[&source, &line, &was, &status, &reasons, &awaits, &edited, &shape, &dropped])
            .await?;
        let changed = changed.iter().filter(|row| row.get(0)).count() as u64;
        // They were held, so nobody else can have moved one.
        if changed != left {
            return Err(Error::LedgerChanged);
        }
        let Moves { number, outcome, by_source, by_line } = moves;
        if number.is_empty() {
            return Ok(());
        }
        let statement = tx.prepare_cached(include_str!("../../../sql/queries/end_moves.sql")).await?;
        let ended = tx.execute(&statement, &[&number, &outcome, &by_source, &by_line]).await?;
        if ended == number.len() as u64 { Ok(()) } else { Err(Error::LedgerChanged) }
    }
}

fn as_json(reasons: &[Reason]) -> String {
    serde_json::to_string(reasons).expect("texts always become JSON")
}
