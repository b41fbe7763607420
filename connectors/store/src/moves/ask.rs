//! Requests for a move of one line.

use tidegate_core::dead_letter::Stage;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Dataset;
use tidegate_core::position::Position;
use tidegate_core::shape::Form;
use tidegate_core::split::{Fields, Splitter, Step};
use tidegate_core::syntax::{Delimiter, Dialect};
use tidegate_postgres::listener::notify;
use tidegate_postgres::{PgError, TransactionMode};
use tokio_postgres::error::SqlState;

use super::{Kind, Move, MoveError, Refusal, check_words, claimed};
use crate::filter::LetterStatus;
use crate::idempotency::{self, IdempotencyKey, Resource};
use crate::state::ShapesByForm;
use crate::statement::Columns;
use crate::store::Store;
use crate::{moves, shapes, statement};

/// A request for a move of one line.
#[derive(Clone, Debug)]
pub struct MoveRequest {
    /// The kind of the move.
    pub kind: Kind,
    /// For a replay, the edited line; `None` to replay the line as it was.
    pub line: Option<String>,
    /// The name of the requester.
    pub by: String,
    /// The reason that the requester gives.
    pub note: Option<String>,
    /// The idempotency key, if the request has one. A request that is sent again with its key is one move.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// Asks for a move of a line. The process that runs the pipeline makes it. The request is stored.
///
/// # Errors
///
/// If the line is no dead letter, or none any more; if another move of it is open; if the given line is no record of
/// its dataset; or if Postgres cannot be queried.
pub async fn ask(store: &Store, position: Position, wanted: &MoveRequest) -> Result<Move, MoveError> {
    let MoveRequest { kind, line, by, note, idempotency_key } = wanted;
    check_words(by, note.as_deref())?;
    let edited = line.as_deref();
    if edited.is_some() && *kind == Kind::Discard {
        return Err(Refusal::Malformed("a line that is discarded is not edited".to_owned()).into());
    }
    let own_shapes = if edited.is_some() { shapes::own(store).await? } else { &[] };
    let mut connection = moves::connection(store).await?;
    let tx = store.begin(&mut connection, TransactionMode::Write).await?;
    if let Some(known) = claimed::<i64>(idempotency_key.as_ref(), &tx, Resource::Move).await? {
        tx.rollback().await?;
        drop(connection); // the pool is small
        return Ok(moves::find(store, known as u64).await?.ok_or(Refusal::Unknown(position))?);
    }
    let (source, number) = (position.source as i64, position.line as i64);
    let sql = "select status, dataset, stage, shape, text is not null as whole, length is not null as cut \
               from tidegate.dead_letters where source = $1 and line = $2 for update";
    let letter = statement::query_opt(&tx, sql, &[&source, &number]).await?;
    let letter = letter.ok_or(Refusal::Unknown(position))?;
    // This query follows the lock, so that it sees the open move of an earlier request.
    let sql = "select kind, asked_by from tidegate.moves where source = $1 and line = $2 and done_at is null";
    if let Some(open) = statement::query_opt(&tx, sql, &[&source, &number]).await? {
        return Err(Refusal::Asked { position, kind: open.try_get(0)?, by: open.get(1) }.into());
    }
    let status = letter.try_get("status")?;
    if !matches!(status, LetterStatus::Rejected | LetterStatus::Waiting) {
        return Err(Refusal::Settled(position, status).into());
    }
    let mut shape = None;
    if *kind == Kind::Replay {
        let name: &str = letter.get("dataset");
        let Some((index, dataset)) = store.manifest().dataset(name) else {
            return Err(Refusal::Dataset(position, name.to_owned()).into());
        };
        match edited {
            Some(line) => {
                let own = &own_shapes[index];
                let form = form_of_edit(dataset, own, letter.stage()?, letter.get("shape"));
                let dialect = form.dialect(dataset);
                check_line(line, dialect, store.manifest().max_record_bytes)?;
                shape = Some(own[form as usize]);
            }
            None if !letter.get::<_, bool>("whole") => {
                return Err(Refusal::NeedsLine(position, "is no text").into());
            }
            None if letter.get("cut") => {
                return Err(Refusal::NeedsLine(position, "is too long to be kept whole").into());
            }
            None => {}
        }
    }
    let statement = tx.prepare_cached(include_str!("../../../../sql/queries/ask_move.sql")).await?;
    let asked = tx
        .query_one(&statement, &[&source, &number, &kind.as_str(), by, note, &edited, &shape])
        .await
        .map_err(|error| match error.code() {
            // Only a process that asks without the lock could cause this, and there is none.
            Some(&SqlState::UNIQUE_VIOLATION) => {
                Refusal::Asked { position, kind: *kind, by: "somebody".to_owned() }.into()
            }
            _ => MoveError::from(error),
        })?;
    let number: i64 = asked.get(0);
    idempotency::record(idempotency_key.as_ref(), &tx, Resource::Move, &number).await?;
    notify(&tx).await?;
    tx.commit().await?;
    drop(connection);
    Failpoint::MoveAsked.pass().map_err(PgError::from)?;
    Ok(moves::find(store, number as u64).await?.ok_or(Refusal::Unknown(position))?)
}

/// The form of an edited line: the one of the dead letter's own text, so that a text can be edited as it is shown. A text
/// of another time is edited as the files of the dataset are written today.
fn form_of_edit(dataset: &Dataset, own: &ShapesByForm, stage: Stage, shape: Option<i64>) -> Form {
    let is_cut = matches!(dataset.csv.syntax.dialect.delimiter, Delimiter::Widths(_));
    let given = if is_cut { Form::Mapped } else { Form::Given };
    match stage {
        Stage::Sink => Form::Canonical,
        Stage::Source | Stage::Transform => {
            Form::ALL.into_iter().find(|form| shape == Some(own[*form as usize])).unwrap_or(given)
        }
    }
}

/// Checks that a line is one CSV record. The replay validates its fields.
fn check_line(line: &str, dialect: &Dialect, max_record_bytes: usize) -> Result<(), Refusal> {
    let refused = |why: String| Err(Refusal::Line(format!("the line that was given {why}")));
    if line.len() > max_record_bytes {
        return refused(format!("is {} bytes long, max_record_bytes allows {max_record_bytes}", line.len()));
    }
    if line.contains('\0') {
        return refused("has a NUL, which Postgres cannot store".to_owned());
    }
    if let Err(error) = Fields::default().split(line.as_bytes(), dialect) {
        return refused(format!("is no CSV: {error}"));
    }
    match Splitter::of_records(dialect, max_record_bytes).next(line.as_bytes(), true) {
        Step::Record { text, .. } if text == (0..line.len()) => Ok(()),
        Step::End => refused("is empty".to_owned()),
        _ => refused(
            "is more than one record, or ends with a line ending, or begins with a byte order mark; give the \
             fields of one line, without a header"
                .to_owned(),
        ),
    }
}
