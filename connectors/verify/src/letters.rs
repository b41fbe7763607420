//! The check `dead_letters`: compares the dead letters with the ledger.

use tidegate_core::ledger::{Chunk, Fate};
use tidegate_postgres::PgError;
use tokio_postgres::Row;

use crate::audit::{Audit, at};
use crate::check::Check;
use crate::rows::chunk_key;
use crate::stream::{LedgerChunks, Stream};

impl Audit<'_> {
    /// Runs the check `dead_letters`.
    pub(super) async fn letters(&self) -> Result<Check, PgError> {
        let mut check = Check::new("dead_letters");
        let sql = include_str!("../../../sql/queries/audit_dead_letters.sql");
        let mut letters = Stream::open(self, check.name, sql, &[]).await?;
        let mut chunks = LedgerChunks::open(self, check.name, None).await?;
        let mut dead = 0;
        let mut next = letters.next().await?;
        while let Some(entry) = chunks.take().await? {
            let key = (entry.source, entry.number);
            let chunk = entry.chunk.unwrap_or_default();
            let mut lines = Vec::new();
            while let Some(letter) = next.take_if(|letter| key_of(letter) <= key) {
                let is_in_chunk = key_of(&letter) == key;
                lines.extend(is_in_chunk.then(|| line_of(&letter)));
                one_letter(&letter, is_in_chunk.then_some(&chunk), &mut check);
                next = letters.next().await?;
            }
            for fate in [Fate::Rejected, Fate::Waiting, Fate::Discarded] {
                dead += chunk.count(fate);
                let lines_of_fate = chunk.lines(entry.number as u64, fate);
                for line in lines_of_fate.filter(|line| lines.binary_search(&(*line as i64)).is_err()) {
                    let message = format!("the ledger has it as {}, but it is no dead letter", fate.as_str());
                    check.violation(at(entry.source, line), message);
                }
            }
        }
        while let Some(letter) = next {
            one_letter(&letter, None, &mut check);
            next = letters.next().await?;
        }
        check.checked(letters.rows, "dead letters");
        check.checked(dead, "rejected, waiting and discarded lines");
        Ok(check)
    }
}

fn line_of(letter: &Row) -> i64 {
    letter.get(1)
}

fn key_of(letter: &Row) -> (i64, i64) {
    chunk_key(letter.get(0), line_of(letter))
}

/// Checks one dead letter against the chunk that covers its line, if there is one.
fn one_letter(letter: &Row, chunk: Option<&Chunk>, check: &mut Check) {
    let (source, line): (i64, i64) = (letter.get(0), line_of(letter));
    let (status, fits, forgotten): (&str, bool, bool) = (letter.get(2), letter.get(3), letter.get(4));
    let [open, before, made] = [5, 6, 7].map(|column| letter.get::<_, Option<&str>>(column));
    let fate = chunk.and_then(|chunk| chunk.fate(line as u64));
    let is_claimed = status == "claimed";
    let fault = match (fate, before, made) {
        (None, ..) => format!("the dead letter is {status}, but the ledger does not have the line"),
        (Some(fate), ..) if !may_be(status, fate) => {
            format!("the dead letter is {status}, but the ledger has the line as {}", fate.as_str())
        }
        _ if !fits => "the dead letter is of another dataset than its source".to_owned(),
        _ if letter.get("strange") => "it is read by the names of another dataset's columns".to_owned(),
        _ if forgotten => "it waits, but for nothing that could come".to_owned(),
        _ if is_claimed && open != Some("replay") => {
            "it is claimed, but no replay of it is under way".to_owned()
        }
        _ if !is_claimed && open == Some("replay") => {
            "a replay of it is under way, but it is not claimed".to_owned()
        }
        (Some(fate), Some(before), _) if is_claimed && fate.as_str() != before => {
            format!("it was claimed when it was {before}, which it is not now")
        }
        _ if is_told_by(status, made) => return,
        (.., Some(made)) => format!("it is {status}, but its last move says {made}"),
        _ => format!("it is {status}, but no move of it tells so"),
    };
    check.violation(at(source, line), fault);
}

/// Returns whether the line of a dead letter with this status may have this fate. A claimed line stays in its set
/// until its replay is done.
fn may_be(status: &str, fate: Fate) -> bool {
    match status {
        "rejected" => fate == Fate::Rejected,
        "waiting" => fate == Fate::Waiting,
        "healed" => fate == Fate::Accepted,
        "discarded" => fate == Fate::Discarded,
        "claimed" => matches!(fate, Fate::Rejected | Fate::Waiting),
        "replayed" => fate == Fate::Accepted,
        _ => false,
    }
}

/// Returns whether the last move of a letter explains its status. Only replays and discards lead to the statuses
/// `replayed` and `discarded`.
fn is_told_by(status: &str, made: Option<&str>) -> bool {
    match status {
        "replayed" => matches!(made, Some("accepted" | "superseded")),
        "discarded" => made == Some("discarded"),
        _ => !matches!(made, Some("accepted" | "superseded" | "discarded")),
    }
}
