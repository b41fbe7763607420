//! Writes dead letters to their table.

use std::collections::HashSet;

use deadpool_postgres::Transaction;
use tidegate_core::dead_letter::{Event, Reason, Stage};
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::Manifest;
use tidegate_core::position::Position;
use tidegate_postgres::PgError;

use super::batch::{BatchLetter, StoredState};
use super::newer::NewerLines;
use crate::filter::LetterStatus;
use crate::ledger::LedgerUpdate;
use crate::moves::{self, MoveOutcome};
use crate::state::ShapesByForm;
use crate::statement::{self, Columns};

/// Inserts new letters, each with the missing references of a waiting one. `own_shapes` has, for each dataset, the
/// numbers of the shapes that the manifest gives its lines now, by their forms.
pub(super) async fn insert(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    own_shapes: &[ShapesByForm],
    letters: &[(&BatchLetter, Option<&str>)],
) -> Result<(), PgError> {
    if letters.is_empty() {
        return Ok(());
    }
    let each = || letters.iter().map(|(letter, _)| *letter);
    let status = |letter: &BatchLetter| match letter.event {
        Event::Rejected => LetterStatus::Rejected.as_str(),
        Event::Waiting => LetterStatus::Waiting.as_str(),
    };
    // A line that the source set aside is in the shape of its input.
    let shape = |letter: &BatchLetter| {
        (letter.stage != Stage::Source).then(|| own_shapes[letter.dataset][letter.form as usize])
    };
    let dataset = |letter: &BatchLetter| manifest.datasets[letter.dataset].name.as_str();
    let sql = include_str!("../../../../sql/queries/insert_dead_letters.sql");
    let inserted = statement::execute(
        tx,
        sql,
        &[
            &each().map(|letter| letter.position.source as i64).collect::<Vec<_>>(),
            &each().map(|letter| letter.position.line as i64).collect::<Vec<_>>(),
            &each().map(dataset).collect::<Vec<_>>(),
            &each().map(|letter| letter.stage.as_str()).collect::<Vec<_>>(),
            &each().map(status).collect::<Vec<_>>(),
            &each().map(|letter| letter.text.as_deref()).collect::<Vec<_>>(),
            &each().map(|letter| letter.bytes.as_deref()).collect::<Vec<_>>(),
            &each().map(|letter| letter.length.map(|length| length as i64)).collect::<Vec<_>>(),
            &each().map(|letter| letter.blake3.as_deref()).collect::<Vec<_>>(),
            &each().map(|letter| as_json(&letter.reasons)).collect::<Vec<_>>(),
            &letters.iter().map(|(_, awaits)| *awaits).collect::<Vec<_>>(),
            &each().map(shape).collect::<Vec<_>>(),
        ],
    )
    .await?;
    if inserted == letters.len() as u64 { Ok(()) } else { Err(PgError::LedgerChanged) }
}

/// The stored dead letters of a batch that still have the status and attempt with which the batch was read. They are
/// locked to the commit.
///
/// A letter that another transaction has healed, claimed or discarded meanwhile is not among them, and is left alone.
pub(super) struct LockedDeadLetters(HashSet<Position>);

impl LockedDeadLetters {
    pub(super) async fn lock(tx: &Transaction<'_>, letters: &[BatchLetter]) -> Result<Self, PgError> {
        let stored: Vec<(Position, StoredState)> =
            letters.iter().filter_map(|letter| Some((letter.position, letter.stored?))).collect();
        if stored.is_empty() {
            return Ok(Self(HashSet::new()));
        }
        let (sources, lines) = statement::position_columns(stored.iter().map(|(position, _)| *position));
        let statuses: Vec<&str> = stored.iter().map(|(_, stored)| stored.status().as_str()).collect();
        let attempts: Vec<i32> = stored.iter().map(|(_, stored)| stored.attempt).collect();
        let sql = include_str!("../../../../sql/queries/hold_letters.sql");
        let locked = statement::query(tx, sql, &[&sources, &lines, &statuses, &attempts]).await?;
        Ok(Self(locked.iter().map(Columns::position).collect()))
    }

    /// Fails if the ledger does not hold a claimed line in the set that its replay expects. A waiting line is not
    /// checked: healing looks at it again and again, no request waits for it, and `tidegate verify` reports a
    /// disagreement.
    pub(super) fn assert_agree(&self, letters: &[BatchLetter], ledger: &LedgerUpdate) -> Result<(), PgError> {
        let agrees = |letter: &BatchLetter| match letter.stored {
            Some(StoredState { set, claim: Some(_), .. }) if self.has(letter.position) => {
                ledger.fate(letter.position) == Some(set)
            }
            _ => true,
        };
        if letters.iter().all(agrees) { Ok(()) } else { Err(PgError::LedgerChanged) }
    }

    pub(super) fn has(&self, position: Position) -> bool {
        self.0.contains(&position)
    }
}

/// The new statuses of stored dead letters.
#[derive(Default)]
pub(super) struct LetterChanges<'a>(Vec<LetterChange<'a>>);

struct LetterChange<'a> {
    letter: &'a BatchLetter,
    stored: StoredState,
    status: LetterStatus,
    outcome: MoveOutcome,
    reasons: Option<String>,
    awaits: Option<&'a str>,
    /// The newer line that holds the row of an accepted line.
    newer: Option<Position>,
}

impl<'a> LetterChanges<'a> {
    /// Adds a letter whose line was accepted. If a newer line holds the row of its key, `newer` names that line.
    pub(super) fn accepted(&mut self, letter: &'a BatchLetter, stored: StoredState, newer: &NewerLines) {
        let newer = newer.get(&letter.position).copied();
        let outcome = if newer.is_some() { MoveOutcome::Superseded } else { MoveOutcome::Accepted };
        let status = if stored.claim.is_some() { LetterStatus::Replayed } else { LetterStatus::Healed };
        let change = LetterChange { letter, stored, status, outcome, reasons: None, awaits: None, newer };
        self.0.push(change);
    }

    /// Adds a letter whose line breaks a rule, or that waits, or goes on waiting, for the references that it lacks now.
    pub(super) fn dead(
        &mut self,
        letter: &'a BatchLetter,
        stored: StoredState,
        fate: Fate,
        reasons: &[Reason],
        awaits: Option<&'a str>,
    ) {
        let (status, outcome) = match fate {
            Fate::Waiting => (LetterStatus::Waiting, MoveOutcome::Waiting),
            _ => (LetterStatus::Rejected, MoveOutcome::Rejected),
        };
        let reasons = Some(as_json(reasons));
        self.0.push(LetterChange { letter, stored, status, outcome, reasons, awaits, newer: None });
    }

    /// Writes the changes and ends the moves. Returns the number of letters whose status changed. A waiting letter
    /// that goes on waiting does not count.
    pub(super) async fn write(self, tx: &Transaction<'_>) -> Result<u64, PgError> {
        let changes = &self.0;
        if changes.is_empty() {
            return Ok(0);
        }
        let without = changes.iter().filter_map(LetterChange::dropped).count();
        if without > 0 {
            tracing::warn!(
                lines = without,
                "values of columns that the manifest does not have any more were left out of waiting or replayed lines: \
                 'tidegate dead-letters show' names them, as dropped"
            );
        }
        let (sources, lines) =
            statement::position_columns(changes.iter().map(|change| change.letter.position));
        let each = || changes.iter();
        let sql = include_str!("../../../../sql/queries/settle_letters.sql");
        let changed = statement::query(
            tx,
            sql,
            &[
                &sources,
                &lines,
                &each().map(|change| change.stored.status().as_str()).collect::<Vec<_>>(),
                &each().map(|change| change.status.as_str()).collect::<Vec<_>>(),
                &each().map(|change| change.reasons.as_deref()).collect::<Vec<_>>(),
                &each().map(|change| change.awaits).collect::<Vec<_>>(),
                &each().map(LetterChange::edited).collect::<Vec<_>>(),
                &each().map(|change| change.stored.claim.and_then(|claim| claim.shape)).collect::<Vec<_>>(),
                &each().map(LetterChange::dropped).collect::<Vec<_>>(),
            ],
        )
        .await?;
        let changed = changed.iter().filter(|row| row.get(0)).count();
        let left = changes.iter().filter(|change| change.status != change.stored.status()).count();
        // The letters are locked, so no other transaction can have moved one.
        if changed != left {
            return Err(PgError::LedgerChanged);
        }
        let moves = changes.iter().filter_map(|change| {
            change.stored.claim.map(|claim| (claim.number, change.outcome, change.newer))
        });
        let moves: Vec<_> = moves.collect();
        if !moves.is_empty() && moves::end(tx, &moves).await? != moves.len() as u64 {
            return Err(PgError::LedgerChanged);
        }
        Ok(left as u64)
    }
}

impl<'a> LetterChange<'a> {
    /// The text of a line that a replay has edited.
    fn edited(&self) -> Option<&'a str> {
        self.letter.text.as_deref().filter(|_| self.stored.claim.is_some_and(|claim| claim.edited))
    }

    /// The values of an accepted line in columns that the manifest no longer has.
    fn dropped(&self) -> Option<&'a str> {
        let is_accepted = matches!(self.status, LetterStatus::Healed | LetterStatus::Replayed);
        self.letter.dropped.as_deref().filter(|_| is_accepted)
    }
}

fn as_json(reasons: &[Reason]) -> String {
    serde_json::to_string(reasons).expect("texts always become JSON")
}
