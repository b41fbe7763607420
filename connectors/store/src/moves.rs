//! Moves of dead letters: a line is replayed, as it was or edited, or it is discarded.
//!
//! **A move is asked for in one transaction and made in another.** Any process may ask for a move, beside a running
//! pipeline too: asking inserts a row into `tidegate.moves` and, for a replay, sets the letter's status to `claimed`.
//! The process that holds the pipeline's leases makes the move ([`make_moves::work`](crate::sink::make_moves::work)), in the way of any batch. A replayed
//! line is validated again, its references are looked up, and the ledger is updated. Its row is written if the line's
//! position, which never changes, is newer than the row's own. So a move that was asked for is made once, whichever
//! process crashes.
//!
//! # Layout
//!
//! * [`ask`]: moves of one line. [`jobs`]: moves of many lines, by a filter; the list of lines is fixed when the job
//!   is asked for.

pub mod ask;
pub mod jobs;

use deadpool_postgres::Transaction;
use serde::Serialize;
use tidegate_core::dead_letter::Reason;
use tidegate_core::position::Position;
use tidegate_postgres::{Database, PgError, schema, stored_enum};
use tokio::sync::futures::Notified;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSqlOwned, Json};

use crate::filter::{LetterStatus, MalformedFilter};
use crate::idempotency::{self, IdempotencyKey, KeyUse, Resource};
use crate::statement::{self, Columns};
use crate::store::Store;

pub use jobs::{BulkMove, Job, Preview};

stored_enum! {
    /// The kind of a move: what is done with a dead letter.
    pub enum Kind {
        /// The line is tried again, at its own position.
        Replay = "replay",
        /// The line is given up.
        Discard = "discard",
    }
}

stored_enum! {
    /// The outcome of a move.
    pub enum MoveOutcome {
        /// The line was accepted.
        Accepted = "accepted",
        /// The line was accepted, and a newer line holds the row of its key.
        Superseded = "superseded",
        /// The line breaks a rule, again.
        Rejected = "rejected",
        /// The line's only fault is a missing reference, for which it waits.
        Waiting = "waiting",
        /// The line is given up.
        Discarded = "discarded",
        /// The line was no dead letter any more when its turn came. Nothing was done.
        PassedOver = "passed_over",
    }
}

/// A move that was asked for, and its outcome.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Move {
    /// The number of the move.
    pub number: u64,
    /// The source of the line.
    pub source: u64,
    /// The number of the line in its source, from 1.
    pub line: u64,
    /// The kind of the move.
    pub kind: Kind,
    /// The job that the move belongs to, if it belongs to one.
    pub job: Option<u64>,
    /// The number of the replay; for a discard, the number of the last replay.
    pub attempt: u32,
    /// The name of the requester.
    pub by: String,
    /// The reason that the requester gave.
    pub note: Option<String>,
    /// The status of the letter before the move: rejected or waiting.
    pub status_before: LetterStatus,
    /// The reasons against the line before the move.
    pub reasons_before: Vec<Reason>,
    /// The line as it was edited, if it was.
    pub text_edited: Option<String>,
    /// The line before it was edited, if it was edited and was text before.
    pub text_before: Option<String>,
    /// When the move was asked for, RFC 3339 in UTC.
    pub asked_at: String,
    /// When the move was made; `None` before.
    pub done_at: Option<String>,
    /// The outcome; `None` before the move is made.
    pub outcome: Option<MoveOutcome>,
    /// The newer line that holds the row, as `SOURCE:LINE`.
    pub newer: Option<String>,
    /// The reasons against the line after the move, if it is still a dead letter.
    pub reasons: Vec<Reason>,
}

impl Move {
    /// Returns the position of the line.
    pub fn position(&self) -> Position {
        Position::new(self.source, self.line)
    }

    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let newer = row.number_opt("by_source").zip(row.number_opt("by_line"));
        let outcome = row.try_get("outcome")?;
        let is_dead = matches!(outcome, Some(MoveOutcome::Rejected | MoveOutcome::Waiting));
        Ok(Self {
            number: row.number("move"),
            source: row.number("source"),
            line: row.number("line"),
            kind: row.try_get("kind")?,
            job: row.number_opt("job"),
            attempt: row.get::<_, i32>("attempt") as u32,
            by: row.get("asked_by"),
            note: row.get("note"),
            status_before: row.try_get("status_before")?,
            reasons_before: row.get::<_, Json<Vec<Reason>>>("reasons_before").0,
            text_edited: row.get("text_edited"),
            text_before: row.get("text_before"),
            asked_at: row.get("asked_at"),
            done_at: row.get("done_at"),
            outcome,
            newer: newer.map(|(source, line)| Position::new(source, line).to_string()),
            reasons: match row.get::<_, Option<Json<Vec<Reason>>>>("reasons") {
                Some(reasons) if is_dead => reasons.0,
                _ => Vec::new(),
            },
        })
    }
}

/// The reason why a request for a move or a job is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no dead letter of that line.
    #[error("line {0} is no dead letter")]
    Unknown(Position),
    /// The line is no dead letter any more.
    #[error("line {0} is {1} already; only rejected and waiting lines can be replayed or discarded")]
    Settled(Position, LetterStatus),
    /// Another move of the line is open.
    #[error("a {kind} of line {position} that {by} asked for is not done yet", kind = .kind.as_str())]
    Asked {
        /// The line.
        position: Position,
        /// The kind of the open move.
        kind: Kind,
        /// The name of its requester.
        by: String,
    },
    /// The line is not stored whole, or not as text.
    #[error("line {0} {1}, so it cannot be replayed as it is: give the line as it is to be")]
    NeedsLine(Position, &'static str),
    /// The given line is not one CSV record.
    #[error("{0}")]
    Line(String),
    /// The dataset of the line is not in the manifest any more.
    #[error("line {0} is of the dataset '{1}', which the manifest does not have any more")]
    Dataset(Position, String),
    /// The requester's name or the note cannot be stored, or the filter, a limit or a rate is invalid.
    #[error("{0}")]
    Malformed(String),
    /// There is no job of this number.
    #[error("there is no job {0}")]
    NoJob(u64),
    /// The job has ended already.
    #[error("job {0} has ended already")]
    JobEnded(u64),
    /// The idempotency key was used for another request.
    #[error("the key of the request was used for another one")]
    KeyReused,
}

impl From<MalformedFilter> for Refusal {
    fn from(malformed: MalformedFilter) -> Self {
        Self::Malformed(malformed.to_string())
    }
}

/// The reason why a request for a move failed.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The request is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Postgres could not be queried.
    #[error(transparent)]
    Postgres(#[from] PgError),
}

impl From<tokio_postgres::Error> for MoveError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

/// Returns the resource that an earlier request with the same idempotency key has made. If there is none, the key is
/// claimed in `tx`.
async fn claimed<T: FromSqlOwned>(
    idempotency_key: Option<&IdempotencyKey>,
    tx: &Transaction<'_>,
    this: Resource,
) -> Result<Option<T>, MoveError> {
    match idempotency::claim(idempotency_key, tx, this).await? {
        KeyUse::New => Ok(None),
        KeyUse::Known(it) => Ok(Some(it)),
        KeyUse::Reused => Err(Refusal::KeyReused.into()),
    }
}

/// The maximum length of a name or a note, in characters.
const WORDS_MAX: usize = 2000;

/// Checks the requester's name and the note: both are stored, so Postgres must be able to hold them.
fn check_words(by: &str, note: Option<&str>) -> Result<(), Refusal> {
    for (what, text) in [("name of the requester", Some(by)), ("note", note)] {
        let Some(text) = text else { continue };
        if text.contains('\0') || text.chars().count() > WORDS_MAX {
            return Err(Refusal::Malformed(format!(
                "the {what} has a NUL or more than {WORDS_MAX} characters"
            )));
        }
    }
    if by.is_empty() {
        return Err(Refusal::Malformed("the name of the requester is empty".to_owned()));
    }
    Ok(())
}

/// Returns a connection to a database whose schema has moves.
async fn connection(database: &Database) -> Result<tidegate_postgres::Connection, PgError> {
    let connection = schema::prepared_connection(database).await?;
    let sql = "select to_regclass('tidegate.moves') is not null";
    if statement::query_one(&connection, sql, &[]).await?.get(0) {
        return Ok(connection);
    }
    Err(PgError::halt(
        "the pipeline of this database is of an earlier version; 'tidegate run' brings it up to date",
    ))
}

/// Returns a move by its number.
pub async fn find(database: &Database, number: u64) -> Result<Option<Move>, PgError> {
    let sql = include_str!("../../../sql/queries/moves.sql").replace("{condition}", "m.move = $1");
    let row = statement::query_opt(&connection(database).await?, &sql, &[&(number as i64)]).await?;
    Ok(row.as_ref().map(Move::of).transpose()?)
}

/// Returns the moves of a line, oldest first.
pub async fn of_line(database: &Database, position: Position) -> Result<Vec<Move>, PgError> {
    let sql = include_str!("../../../sql/queries/moves.sql")
        .replace("{condition}", "m.source = $1 and m.line = $2");
    let (source, line) = (position.source as i64, position.line as i64);
    let rows = connection(database).await?.query(&sql, &[&source, &line]).await?;
    let mut moves: Vec<Move> = rows.iter().map(Move::of).collect::<Result<_, _>>()?;
    // The reasons after a move are the reasons before the next one.
    for i in 1..moves.len() {
        if !moves[i - 1].reasons.is_empty() {
            moves[i - 1].reasons = moves[i].reasons_before.clone();
        }
    }
    Ok(moves)
}

/// Returns whether any process holds a valid lease of this pipeline.
pub async fn is_running(database: &Database) -> Result<bool, PgError> {
    let sql = "select exists (select from tidegate.leases where expires_at > now())";
    Ok(schema::prepared_connection(database).await?.query_one(sql, &[]).await?.get(0))
}

/// Returns a future that resolves when moves are made in this process after the call.
pub fn made(store: &Store) -> Notified<'_> {
    store.inner.moves_made.notified()
}

/// Ends moves, each with its outcome and the newer line that holds the row. Returns how many were open.
pub(super) async fn end(
    tx: &Transaction<'_>,
    moves: &[(i64, MoveOutcome, Option<Position>)],
) -> Result<u64, PgError> {
    let numbers: Vec<i64> = moves.iter().map(|(number, ..)| *number).collect();
    let outcomes: Vec<&str> = moves.iter().map(|(_, outcome, _)| outcome.as_str()).collect();
    let newer = || moves.iter().map(|(.., newer)| *newer);
    let sources: Vec<Option<i64>> = newer().map(|newer| Some(newer?.source as i64)).collect();
    let lines: Vec<Option<i64>> = newer().map(|newer| Some(newer?.line as i64)).collect();
    let sql = include_str!("../../../sql/queries/end_moves.sql");
    statement::execute(tx, sql, &[&numbers, &outcomes, &sources, &lines]).await
}
