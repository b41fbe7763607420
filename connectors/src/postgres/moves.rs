//! Moves of dead letters: a line is replayed, as it was or edited, or it is discarded.
//!
//! **A move is asked for in one transaction and made in another.** Anybody may ask, beside a running pipeline too:
//! that is a row in `tidegate.moves`, and for a replay the letter's status `claimed`. Whoever holds the pipeline's
//! leases makes it ([`Postgres::work_on_moves`]), in the way of any batch: a replayed line is validated again, its
//! references are looked up, its row is written where its position, which never changes, is newer than the row's
//! own, and the ledger moves along. So a move that was asked for is made once, whatever crashes.
//!
//! # Layout
//!
//! * [`ask`]: one line. [`jobs`]: many, by a filter, whose list is fixed when it is asked for.
//! * `make`: what was asked for. `newer`: rows that newer lines hold. `bells`: who is told of either at once.

pub mod ask;
pub(super) mod bells;
pub mod jobs;
mod make;
pub(super) mod newer;

use deadpool_postgres::Transaction;
use serde::Serialize;
use tidegate_core::dead_letter::Reason;
use tidegate_core::position::Position;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSqlOwned, Json};

use super::filter::MalformedFilter;
use super::keyed::Becomes;
use super::{Before, Error, Keyed, Postgres};
pub use jobs::{Bulk, Job, Preview};
pub use make::Worked;

/// What is done with a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its line is tried again, at its own position.
    Replay,
    /// It is given up.
    Discard,
}

impl Kind {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }

    fn parse(text: &str) -> Self {
        if text == "discard" { Self::Discard } else { Self::Replay }
    }
}

/// What came of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The line was accepted.
    Accepted,
    /// The line was accepted, and a newer one holds the row of its key.
    Superseded,
    /// The line breaks a rule, again.
    Rejected,
    /// The line lacks only a reference: it waits for it.
    Waiting,
    /// The line is given up.
    Discarded,
    /// It was no dead letter any more when its turn came, so nothing was done.
    PassedOver,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Accepted, Self::Superseded, Self::Rejected, Self::Waiting, Self::Discarded, Self::PassedOver];

    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Superseded => "superseded",
            Self::Rejected => "rejected",
            Self::Waiting => "waiting",
            Self::Discarded => "discarded",
            Self::PassedOver => "passed_over",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// A move that was asked for, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Move {
    /// Its number.
    pub number: u64,
    /// The source of the line.
    pub source: u64,
    /// Its number there.
    pub line: u64,
    /// What is done.
    pub kind: Kind,
    /// The job that it is of, if it is of one.
    pub job: Option<u64>,
    /// The number of the replay; of a discard, of the last one.
    pub attempt: u32,
    /// Who asked.
    pub by: String,
    /// Why.
    pub note: Option<String>,
    /// `rejected` or `waiting`.
    pub status_before: String,
    /// What was against the line.
    pub reasons_before: Vec<Reason>,
    /// The line as it is to be, where it was edited.
    pub text_edited: Option<String>,
    /// The line as it was before, where it was edited and was text.
    pub text_before: Option<String>,
    /// When it was asked for, RFC 3339 in UTC.
    pub asked_at: String,
    /// When it was made; `None` while it is not.
    pub done_at: Option<String>,
    /// What came of it.
    pub outcome: Option<Outcome>,
    /// The newer line that holds the row, as `SOURCE:LINE`.
    pub newer: Option<String>,
    /// What is against the line now, if it is a dead letter still.
    pub reasons: Vec<Reason>,
}

impl Move {
    /// Where the line stands.
    pub fn position(&self) -> Position {
        Position::new(self.source, self.line)
    }

    fn of(row: &Row) -> Self {
        let number = |name: &str| row.get::<_, Option<i64>>(name).map(|number| number as u64);
        let newer = number("by_source").zip(number("by_line"));
        let outcome = row.get::<_, Option<&str>>("outcome").and_then(Outcome::parse);
        let is_dead = matches!(outcome, Some(Outcome::Rejected | Outcome::Waiting));
        Self {
            number: number("move").unwrap_or_default(),
            source: number("source").unwrap_or_default(),
            line: number("line").unwrap_or_default(),
            kind: Kind::parse(row.get("kind")),
            job: number("job"),
            attempt: row.get::<_, i32>("attempt") as u32,
            by: row.get("asked_by"),
            note: row.get("note"),
            status_before: row.get("status_before"),
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
        }
    }
}

/// Why a move, or a job, is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no dead letter of that line.
    #[error("line {0} is no dead letter")]
    Unknown(Position),
    /// It is none any more.
    #[error("line {0} is {1} already; only rejected and waiting lines can be replayed or discarded")]
    Settled(Position, String),
    /// Somebody else was faster.
    #[error("a {kind} of line {position} that {by} asked for is not done yet", kind = .kind.as_str())]
    Asked {
        /// The line.
        position: Position,
        /// What was asked for.
        kind: Kind,
        /// By whom.
        by: String,
    },
    /// The line is not kept whole, or as text.
    #[error("line {0} {1}, so it cannot be replayed as it is: give the line as it is to be")]
    NeedsLine(Position, &'static str),
    /// The line that was given is none.
    #[error("{0}")]
    Line(String),
    /// The dataset of the line is not in the manifest any more.
    #[error("line {0} is of the dataset '{1}', which the manifest does not have any more")]
    Dataset(Position, String),
    /// Who asks, or why, is no text that can be kept; or a limit or a rate is none.
    #[error("{0}")]
    Malformed(String),
    /// There is no such job.
    #[error("there is no job {0}")]
    NoJob(u64),
    /// The job is done.
    #[error("job {0} has ended already")]
    JobEnded(u64),
    /// The key of the request names another one.
    #[error("the key of the request was used for another one")]
    KeyReused,
}

impl From<MalformedFilter> for Refused {
    fn from(malformed: MalformedFilter) -> Self {
        Self::Malformed(malformed.to_string())
    }
}

/// Why a move was not asked for.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// What was asked for cannot be.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Postgres could not be asked.
    #[error(transparent)]
    Postgres(#[from] Error),
}

impl From<tokio_postgres::Error> for MoveError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error.into())
    }
}

impl From<tidegate_core::failpoint::Failed> for MoveError {
    fn from(failed: tidegate_core::failpoint::Failed) -> Self {
        Self::Postgres(failed.into())
    }
}

/// What a request that names itself has become before. If nothing, it is named in `tx`.
async fn claimed<T: FromSqlOwned>(
    keyed: Option<&Keyed>,
    tx: &Transaction<'_>,
    this: Becomes,
) -> Result<Option<T>, MoveError> {
    let Some(keyed) = keyed else { return Ok(None) };
    match keyed.claim(tx, this).await? {
        Before::Nothing => Ok(None),
        Before::Became(it) => Ok(Some(it)),
        Before::Another => Err(Refused::KeyReused.into()),
    }
}

/// How long a name or a note may be, in characters.
const WORDS_MAX: usize = 2000;

/// Checks who asks and why: it is kept, so Postgres must be able to.
fn check_words(by: &str, note: Option<&str>) -> Result<(), Refused> {
    for (what, text) in [("name of who asks", Some(by)), ("note", note)] {
        let Some(text) = text else { continue };
        if text.contains('\0') || text.chars().count() > WORDS_MAX {
            return Err(Refused::Malformed(format!(
                "the {what} has a NUL or more than {WORDS_MAX} characters"
            )));
        }
    }
    if by.is_empty() {
        return Err(Refused::Malformed("nobody is named who asks".to_owned()));
    }
    Ok(())
}

impl Postgres {
    /// A connection to a database whose pipeline knows moves.
    async fn moves_connection(&self) -> Result<super::Connection, Error> {
        let connection = self.prepared_connection().await?;
        let sql = "select to_regclass('tidegate.moves') is not null";
        let statement = connection.prepare_cached(sql).await?;
        if connection.query_one(&statement, &[]).await?.get(0) {
            return Ok(connection);
        }
        Err(Error::halt(
            "the pipeline of this database is of an earlier version; 'tidegate run' brings it up to date",
        ))
    }

    /// A move by its number.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn a_move(&self, number: u64) -> Result<Option<Move>, Error> {
        let sql = include_str!("../../../sql/queries/moves.sql").replace("{condition}", "m.move = $1");
        let connection = self.moves_connection().await?;
        let statement = connection.prepare_cached(&sql).await?;
        let row = connection.query_opt(&statement, &[&(number as i64)]).await?;
        Ok(row.as_ref().map(Move::of))
    }

    /// The moves of a line, oldest first.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn moves_of(&self, position: Position) -> Result<Vec<Move>, Error> {
        let sql = include_str!("../../../sql/queries/moves.sql")
            .replace("{condition}", "m.source = $1 and m.line = $2");
        let (source, line) = (position.source as i64, position.line as i64);
        let rows = self.moves_connection().await?.query(&sql, &[&source, &line]).await?;
        let mut moves: Vec<Move> = rows.iter().map(Move::of).collect();
        // What a move found against the line, the next one found before it.
        for i in 1..moves.len() {
            if !moves[i - 1].reasons.is_empty() {
                moves[i - 1].reasons = moves[i].reasons_before.clone();
            }
        }
        Ok(moves)
    }

    /// Whether some process may commit to this pipeline.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn is_running(&self) -> Result<bool, Error> {
        let sql = "select exists (select from tidegate.leases where expires_at > now())";
        Ok(self.prepared_connection().await?.query_one(sql, &[]).await?.get(0))
    }
}
