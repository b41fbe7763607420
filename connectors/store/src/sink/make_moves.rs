//! Making the requested moves. Only the process that holds the pipeline's leases makes them.

use std::time::Duration;

use deadpool_postgres::Transaction;
use tidegate_core::dead_letter::{Event, Stage};
use tidegate_core::failpoint::Failpoint;
use tidegate_core::ledger::Fate;
use tidegate_postgres::{Database, PgError};
use tokio_postgres::Row;

use super::batch::{BatchLetter, BatchReader, Claim, StoredState};
use super::transaction::LEDGER_DISAGREES;
use super::{commit, heal};
use crate::filter::LetterStatus;
use crate::ledger::LedgerUpdate;
use crate::moves::{self, MoveOutcome, jobs};
use crate::statement::{self, Columns};
use crate::store::Store;
use crate::{leases, shapes};

/// The maximum number of lines that one transaction moves, and their maximum size in bytes, approximately.
const ROUND_LINES: i64 = 5_000;
const ROUND_BYTES: i64 = 8 * 1024 * 1024;
/// The number of rounds in a row that may move no line, because another process has moved them, before the work ends.
const IDLE_ROUNDS_MAX: u32 = 3;

/// The result of a round of moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MovesRound {
    /// The number of lines that were moved.
    pub lines: u64,
    /// The time until more is due; `None` if no move is requested.
    pub next: Option<Duration>,
}

/// Makes the requested moves and one batch of each job that is due. Then heals the lines that waited for the moved
/// ones. The caller calls this again after [`MovesRound::next`]. If no move is requested, this costs one small query.
///
/// # Errors
///
/// If another process has taken the leases over, or Postgres cannot be queried. Moves that were made before stay
/// made.
pub async fn work(store: &Store) -> Result<MovesRound, PgError> {
    let Some(lines) = make_requested(store).await? else { return Ok(MovesRound::default()) };
    if lines > 0 {
        heal::waiting(store).await?;
    }
    Ok(MovesRound { lines, next: next_moves(store).await? })
}

/// Makes the moves as [`work`] does, without healing. Returns how many lines were moved; `None` if no move is requested.
pub(super) async fn make_requested(store: &Store) -> Result<Option<u64>, PgError> {
    if next_moves(store).await?.is_none() {
        return Ok(None);
    }
    // Open moves come first: a job may have claimed these lines before a crash.
    let mut lines = make_open(store).await?;
    for job in jobs::due(store).await? {
        if jobs::claim_of(store, job).await? {
            lines += make_open(store).await?;
        }
    }
    jobs::end(store).await?;
    Ok(Some(lines))
}

async fn make_open(store: &Store) -> Result<u64, PgError> {
    Ok(make_replays(store).await? + make_discards(store).await?)
}

/// Returns the time until a move is due; `None` if no move is requested.
pub async fn next_moves(database: &Database) -> Result<Option<Duration>, PgError> {
    let sql = include_str!("../../../../sql/queries/next_moves.sql");
    let seconds: Option<f64> = statement::query_one(&database.connection().await?, sql, &[]).await?.get(0);
    Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}

/// Tries all claimed lines again, oldest claim first.
async fn make_replays(store: &Store) -> Result<u64, PgError> {
    let (mut moved, mut idle_rounds) = (0, 0);
    loop {
        let sql = include_str!("../../../../sql/queries/claimed_letters.sql");
        let rows = statement::query(&store.connection().await?, sql, &[&ROUND_LINES, &ROUND_BYTES]).await?;
        if rows.is_empty() {
            pass_over_strays(store).await?;
            return Ok(moved);
        }
        let shapes = shapes::of_rows(store, &rows).await?;
        let mut reader = BatchReader::new(store.manifest(), &store.inner.validators);
        let mut homeless = Vec::new();
        for (row, shape) in rows.iter().zip(shapes) {
            match store.manifest().dataset(row.get("dataset")) {
                Some((dataset, _)) => reader.letter(BatchLetter { shape, ..claimed(dataset, row)? }),
                None => homeless.push(row.get::<_, i64>("move")),
            }
        }
        let left = commit::commit(store, &reader.finish()).await?.left + unclaim(store, &homeless).await?;
        Failpoint::MovesMade.pass()?;
        store.inner.moves_made.notify_waiters();
        moved += left;
        // If no line was moved, another process is moving these lines.
        idle_rounds = if left == 0 { idle_rounds + 1 } else { 0 };
        if idle_rounds == IDLE_ROUNDS_MAX {
            return Ok(moved);
        }
    }
}

/// Releases claimed lines whose dataset the manifest no longer has. They get back the status that they had before.
async fn unclaim(store: &Store, moves: &[i64]) -> Result<u64, PgError> {
    if moves.is_empty() {
        return Ok(0);
    }
    leases::execute(store, include_str!("../../../../sql/queries/unclaim_letters.sql"), &[&moves]).await
}

/// Ends orphaned moves, which only manual edits of the tables can leave behind. Otherwise each round would look at
/// them again.
async fn pass_over_strays(database: &Database) -> Result<(), PgError> {
    let sql = include_str!("../../../../sql/queries/pass_over_strays.sql");
    let strays = statement::execute(&database.connection().await?, sql, &[]).await?;
    if strays > 0 {
        tracing::warn!(
            strays,
            "passed over replays and discards of lines that have changed since they were claimed"
        );
    }
    Ok(())
}

/// Discards all lines for which a discard is open.
async fn make_discards(store: &Store) -> Result<u64, PgError> {
    let mut moved = 0;
    loop {
        let mut connection = store.connection().await?;
        let tx = leases::fenced(store, &mut connection).await?;
        let sql = include_str!("../../../../sql/queries/discarded_letters.sql");
        let letters = statement::query(&tx, sql, &[&ROUND_LINES]).await?;
        if letters.is_empty() {
            return Ok(moved);
        }
        discard(&tx, &letters).await?;
        Failpoint::LettersDiscarded.pass()?;
        tx.commit().await?;
        Failpoint::MovesMade.pass()?;
        store.inner.moves_made.notify_waiters();
        moved += letters.len() as u64;
    }
}

/// Returns a claimed line as the batch tries it. An edited line is in the form in which the requester gave it.
fn claimed(dataset: usize, row: &Row) -> Result<BatchLetter, PgError> {
    let edited: bool = row.get("edited");
    let is_waiting = row.try_get::<_, LetterStatus>("status_before")? == LetterStatus::Waiting;
    let stored = StoredState {
        set: if is_waiting { Fate::Waiting } else { Fate::Rejected },
        attempt: row.get("attempt"),
        claim: Some(Claim { number: row.get("move"), edited, shape: row.get("shape") }),
    };
    let stage = if edited { Stage::Transform } else { row.stage()? };
    let letter = BatchLetter::new(dataset, row.position(), stage, Event::Waiting, row.get("text"));
    Ok(BatchLetter { stored: Some(stored), ..letter })
}

/// Moves the lines of locked letters to the discarded set. A letter that has healed meanwhile is passed over.
async fn discard(tx: &Transaction<'_>, letters: &[Row]) -> Result<(), PgError> {
    let mut ledger = LedgerUpdate::read(tx, letters.iter().map(Columns::position)).await?;
    let (mut ended, mut discarded) = (Vec::new(), Vec::new());
    for letter in letters {
        let from = match letter.try_get("status")? {
            LetterStatus::Rejected => Some(Fate::Rejected),
            LetterStatus::Waiting => Some(Fate::Waiting),
            _ => None,
        };
        let outcome = from.map_or(MoveOutcome::PassedOver, |_| MoveOutcome::Discarded);
        ended.push((letter.get("move"), outcome, None));
        if let Some(from) = from {
            ledger.settle(letter.position(), from, Fate::Discarded);
            discarded.push(letter.position());
        }
    }
    let (sources, lines) = statement::position_columns(discarded.into_iter());
    let sql = "update tidegate.dead_letters as d set status = 'discarded', awaits = null, updated_at = clock_timestamp() \
               from unnest($1::bigint[], $2::bigint[]) as given_up (source, line) \
               where d.source = given_up.source and d.line = given_up.line";
    tx.execute(sql, &[&sources, &lines]).await?;
    moves::end(tx, &ended).await?;
    match ledger.write(tx).await {
        // The letters are locked: no other transaction has moved one.
        Err(PgError::LedgerChanged) => Err(PgError::halt(LEDGER_DISAGREES)),
        written => written,
    }
}
