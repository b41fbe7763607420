//! Asking for a move of one line.

use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Dataset;
use tidegate_core::position::Position;
use tidegate_core::split::{Dialect, Fields, Splitter, Step};
use tokio_postgres::error::SqlState;

use super::super::keyed::Becomes;
use super::super::{How, Keyed, Postgres};
use super::{Kind, Move, MoveError, Refused, check_words, claimed};

/// A move that somebody wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What is to be done.
    pub kind: Kind,
    /// For a replay, the line as it is to be; `None` for as it was.
    pub line: Option<String>,
    /// Who asks.
    pub by: String,
    /// Why.
    pub note: Option<String>,
    /// How the request names itself, if it does: sent again, it is one move.
    pub keyed: Option<Keyed>,
}

impl Postgres {
    /// Asks for a move of a line, for whoever runs the pipeline to make. What is asked for is kept.
    ///
    /// # Errors
    ///
    /// If there is no such dead letter, it is none any more, another move of it is under way, or the line that is
    /// given is no record of its dataset; or Postgres cannot be asked.
    pub async fn ask_move(&self, position: Position, wanted: &Wanted) -> Result<Move, MoveError> {
        let Wanted { kind, line, by, note, keyed } = wanted;
        check_words(by, note.as_deref())?;
        let edited = line.as_deref();
        if edited.is_some() && *kind == Kind::Discard {
            return Err(Refused::Malformed("a line that is discarded is not edited".to_owned()).into());
        }
        let own_shapes = if edited.is_some() { self.own_shapes().await? } else { &[] };
        let mut connection = self.moves_connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        if let Some(known) = claimed::<i64>(keyed.as_ref(), &tx, Becomes::Move).await? {
            tx.rollback().await?;
            drop(connection); // there are not many
            return Ok(self.a_move(known as u64).await?.ok_or(Refused::Unknown(position))?);
        }
        let (source, number) = (position.source as i64, position.line as i64);
        let sql = "select status, dataset, text is not null as whole, length is not null as cut \
                   from tidegate.dead_letters where source = $1 and line = $2 for update";
        let statement = tx.prepare_cached(sql).await?;
        let letter =
            tx.query_opt(&statement, &[&source, &number]).await?.ok_or(Refused::Unknown(position))?;
        // Asked behind the lock, so that whoever was faster is seen.
        let sql =
            "select kind, asked_by from tidegate.moves where source = $1 and line = $2 and done_at is null";
        let statement = tx.prepare_cached(sql).await?;
        if let Some(open) = tx.query_opt(&statement, &[&source, &number]).await? {
            return Err(Refused::Asked { position, kind: Kind::parse(open.get(0)), by: open.get(1) }.into());
        }
        let status: &str = letter.get("status");
        if !matches!(status, "rejected" | "waiting") {
            return Err(Refused::Settled(position, status.to_owned()).into());
        }
        let mut shape = None;
        if *kind == Kind::Replay {
            let name: &str = letter.get("dataset");
            let Some((index, dataset)) = self.inner.manifest.dataset(name) else {
                return Err(Refused::Dataset(position, name.to_owned()).into());
            };
            match edited {
                Some(line) => {
                    check_line(line, dataset, self.inner.manifest.max_record_bytes)?;
                    shape = own_shapes.get(index).copied();
                }
                None if !letter.get::<_, bool>("whole") => {
                    return Err(Refused::NeedsLine(position, "is no text").into());
                }
                None if letter.get("cut") => {
                    return Err(Refused::NeedsLine(position, "is too long to be kept whole").into());
                }
                None => {}
            }
        }
        let statement = tx.prepare_cached(include_str!("../../../../sql/queries/ask_move.sql")).await?;
        let asked = tx
            .query_one(&statement, &[&source, &number, &kind.as_str(), by, note, &edited, &shape])
            .await
            .map_err(|error| match error.code() {
                // Of a process that asks without the lock; there is none.
                Some(&SqlState::UNIQUE_VIOLATION) => {
                    Refused::Asked { position, kind: *kind, by: "somebody".to_owned() }.into()
                }
                _ => MoveError::from(error),
            })?;
        let number: i64 = asked.get(0);
        if let Some(keyed) = keyed {
            keyed.became(&tx, Becomes::Move, &number).await?;
        }
        tx.commit().await?;
        drop(connection);
        Failpoint::MoveAsked.pass()?;
        self.inner.bells.ring_asked();
        Ok(self.a_move(number as u64).await?.ok_or(Refused::Unknown(position))?)
    }
}

/// Checks that a line is one CSV record in the dialect of its dataset. What its fields hold is for the replay to say.
fn check_line(line: &str, dataset: &Dataset, max_record_bytes: usize) -> Result<(), Refused> {
    let refused = |why: String| Err(Refused::Line(format!("the line that was given {why}")));
    if line.len() > max_record_bytes {
        return refused(format!("is {} bytes long, max_record_bytes allows {max_record_bytes}", line.len()));
    }
    if line.contains('\0') {
        return refused("has a NUL, which Postgres cannot store".to_owned());
    }
    let dialect = Dialect { delimiter: dataset.csv.delimiter, quote: dataset.csv.quote };
    if let Err(error) = Fields::default().split(line.as_bytes(), dialect) {
        return refused(format!("is no CSV: {error}"));
    }
    match Splitter::new(dialect, max_record_bytes).next(line.as_bytes(), true) {
        Step::Record { text, .. } if text == (0..line.len()) => Ok(()),
        Step::End => refused("is empty".to_owned()),
        _ => refused(
            "is more than one record, or ends with a line ending, or begins with a byte order mark; give the \
             fields of one line, without a header"
                .to_owned(),
        ),
    }
}
