//! The dead letters, side by side with the ledger.

use tidegate_core::ledger::{Chunk, Fate};
use tokio_postgres::Row;

use super::super::Error;
use super::rows::chunk_key;
use super::stream::{Chunks, Stream};
use super::{Audit, Check, at};

impl Audit<'_> {
    /// The check `dead_letters`.
    pub(super) async fn letters(&self) -> Result<Check, Error> {
        let mut check = Check::new("dead_letters");
        let sql = include_str!("../../../../sql/queries/audit_dead_letters.sql");
        let mut letters = Stream::open(self, check.name, sql, &[]).await?;
        let mut chunks = Chunks::open(self, check.name, None).await?;
        let mut dead = 0;
        let mut next = letters.next().await?;
        while let Some(entry) = chunks.take().await? {
            let key = (entry.source, entry.number);
            let chunk = entry.chunk.unwrap_or_default();
            let mut lines = Vec::new();
            while let Some(letter) = next.take_if(|letter| key_of(letter) <= key) {
                if key_of(&letter) == key {
                    lines.push(line_of(&letter));
                    one_letter(&letter, Some(&chunk), &mut check);
                } else {
                    one_letter(&letter, None, &mut check);
                }
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

/// Looks at one dead letter and, if there is one, the chunk that covers its line.
fn one_letter(letter: &Row, chunk: Option<&Chunk>, check: &mut Check) {
    let (source, line): (i64, i64) = (letter.get(0), line_of(letter));
    let (status, fits, forgotten): (&str, bool, bool) = (letter.get(2), letter.get(3), letter.get(4));
    let (open, before, made): (Option<&str>, Option<&str>, Option<&str>) =
        (letter.get(5), letter.get(6), letter.get(7));
    let fate = chunk.and_then(|chunk| chunk.fate(line as u64));
    if !fate.is_some_and(|fate| may_be(status, fate)) {
        let is = fate.map_or_else(
            || "does not have the line".to_owned(),
            |fate| format!("has the line as {}", fate.as_str()),
        );
        check.violation(at(source, line), format!("the dead letter is {status}, but the ledger {is}"));
    } else if !fits {
        check.violation(at(source, line), "the dead letter is of another dataset than its source");
    } else if letter.get("strange") {
        check.violation(at(source, line), "it is read by the names of another dataset's columns");
    } else if forgotten {
        check.violation(at(source, line), "it waits, but for nothing that could come");
    } else if (status == "claimed") != (open == Some("replay")) {
        let message = match status {
            "claimed" => "it is claimed, but no replay of it is under way",
            _ => "a replay of it is under way, but it is not claimed",
        };
        check.violation(at(source, line), message);
    } else if let Some(before) = before
        && status == "claimed"
        && fate.is_some_and(|fate| fate.as_str() != before)
    {
        check
            .violation(at(source, line), format!("it was claimed when it was {before}, which it is not now"));
    } else if !is_told_by(status, made) {
        let message = match made {
            Some(made) => format!("it is {status}, but its last move says {made}"),
            None => format!("it is {status}, but no move of it tells so"),
        };
        check.violation(at(source, line), message);
    }
}

/// Whether the line of a dead letter of that status may have that fate. A claimed line stays in its set
/// until its replay is through.
pub(super) fn may_be(status: &str, fate: Fate) -> bool {
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

/// Whether the last move that was made of a letter led to its status; only replays and discards lead to some.
fn is_told_by(status: &str, made: Option<&str>) -> bool {
    match status {
        "replayed" => matches!(made, Some("accepted" | "superseded")),
        "discarded" => made == Some("discarded"),
        _ => !matches!(made, Some("accepted" | "superseded" | "discarded")),
    }
}
