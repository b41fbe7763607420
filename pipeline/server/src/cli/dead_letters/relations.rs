//! Dead letters, their numbers and their jobs as relations, for any output format.

use serde_json::json;
use tidegate_core::position::Position;
use tidegate_postgres::PgError;
use tidegate_postgres::relation::ColumnKind::{Json, Number, Text};
use tidegate_postgres::relation::Relation;
use tidegate_store::Store;
use tidegate_store::filter::{self, KeptLetter, LetterCounts, LetterFilter, ReasonCount};
use tidegate_store::moves::Job;

use crate::Failure;
use crate::advice::ReasonAdvice;
use crate::cli::output::{self, jsonb_text};

/// The maximum number of letters that are read at once.
const LETTERS_AT_ONCE: u64 = 1_000;

/// The dead letters of a filter before the position `after`, newest first: a row for each reason that the filter
/// matches, of at most `limit` letters. Healed, replayed and discarded letters are included only with `closed_too`,
/// or if the filter names a status.
pub(super) async fn list(
    store: &Store,
    filter: &LetterFilter,
    closed_too: bool,
    after: Option<Position>,
    limit: u64,
) -> Result<Relation, PgError> {
    let open_only = !closed_too && filter.status.is_none();
    let (mut rows, mut before, mut left) = (Vec::new(), after, limit);
    while left > 0 {
        let at_once = left.min(LETTERS_AT_ONCE) as u32;
        let page = filter::page_of_newest(store, filter, before, open_only, at_once).await?;
        for letter in &page.letters {
            rows.extend(letter.reasons.iter().filter(|reason| filter.matches_reason(reason)).map(|reason| {
                let KeptLetter { source, line, dataset, status, text, .. } = letter;
                json!([source, line, dataset, status, reason.code, reason.column, reason.message, text])
            }));
        }
        left -= page.letters.len() as u64;
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let columns = [
        ("source", Number),
        ("line", Number),
        ("dataset", Text),
        ("status", Text),
        ("code", Text),
        ("column", Text),
        ("message", Text),
        ("text", Text),
    ];
    Ok(output::relation(&columns, rows))
}

/// One dead letter, whole.
pub(super) fn letter(letter: &KeptLetter) -> Relation {
    let columns = [
        ("source", Number),
        ("line", Number),
        ("dataset", Text),
        ("name", Text),
        ("stage", Text),
        ("status", Text),
        ("attempt", Number),
        ("text", Text),
        ("text_columns", Text),
        ("bytes", Text),
        ("length", Number),
        ("blake3", Text),
        ("reasons", Json),
        ("dropped", Json),
        ("created_at", Text),
        ("updated_at", Text),
    ];
    let row = json!([
        letter.source,
        letter.line,
        letter.dataset,
        letter.name,
        letter.stage,
        letter.status,
        letter.attempt,
        letter.text,
        letter.text_columns.as_ref().map(|columns| columns.join(",")),
        letter.bytes,
        letter.length,
        letter.blake3,
        jsonb_text(&json!(letter.reasons)),
        letter.dropped.as_ref().map(jsonb_text),
        timestamptz_text(&letter.created_at),
        timestamptz_text(&letter.updated_at),
    ]);
    output::relation(&columns, [row])
}

/// A time as Postgres writes a `timestamptz` in UTC. `time` is RFC 3339 with microseconds.
fn timestamptz_text(time: &str) -> String {
    let time = time.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{}+00", time.replacen('T', " ", 1))
}

/// The numbers of dead letters by dataset, status, code and column.
pub(in crate::cli) fn counts(counts: &LetterCounts) -> Result<Relation, Failure> {
    let columns = [("dataset", Text), ("status", Text), ("code", Text), ("column", Text), ("lines", Number)];
    output::relation_of(&columns, &counts.reasons)
}

/// The numbers of dead letters by dataset, status, code and column, with the settings that would accept them.
pub(super) fn advice(advice: &[ReasonAdvice]) -> Relation {
    let columns = [
        ("dataset", Text),
        ("status", Text),
        ("code", Text),
        ("column", Text),
        ("lines", Number),
        ("setting", Text),
    ];
    let rows = advice.iter().map(|ReasonAdvice { reason, setting }| {
        let ReasonCount { dataset, status, code, column, lines } = reason;
        json!([dataset, status, code, column, lines, setting])
    });
    output::relation(&columns, rows)
}

/// Jobs that move dead letters.
pub(super) fn jobs(jobs: &[Job]) -> Result<Relation, Failure> {
    let number = |name| (name, Number);
    let text = |name| (name, Text);
    let columns = [
        number("job"),
        text("kind"),
        text("state"),
        number("lines"),
        number("left"),
        number("accepted"),
        number("superseded"),
        number("rejected"),
        number("waiting"),
        number("discarded"),
        number("passed_over"),
        text("by"),
        text("note"),
        ("filter", Json),
        text("asked_at"),
        text("done_at"),
    ];
    output::relation_of(&columns, jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_json_are_written_as_by_postgres() {
        for (time, expected) in [
            ("2026-01-31T10:00:00.000000Z", "2026-01-31 10:00:00+00"),
            ("2026-01-31T10:00:10.500000Z", "2026-01-31 10:00:10.5+00"),
            ("2026-01-31T10:00:00.000001Z", "2026-01-31 10:00:00.000001+00"),
        ] {
            assert_eq!(timestamptz_text(time), expected);
        }
        let value = json!([{"column": null, "code": "a\"b", "value": 1}, {}]);
        assert_eq!(jsonb_text(&value), r#"[{"code": "a\"b", "value": 1, "column": null}, {}]"#);
    }
}
