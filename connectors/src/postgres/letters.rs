//! Dead letters into their table.

use deadpool_postgres::Transaction;
use tidegate_core::dead_letter::{Event, Reason};
use tidegate_core::manifest::Manifest;

use super::Error;
use super::batch::Letter;

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
}

impl<'a> NewLetters<'a> {
    /// Adds a letter; `awaits` names the missing references of one that waits.
    pub(super) fn push(&mut self, manifest: &'a Manifest, letter: &'a Letter, awaits: Option<&'a str>) {
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
        tx.execute(
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
            ],
        )
        .await?;
        Ok(())
    }
}

/// Dead letters that leave the waiting set.
#[derive(Default)]
pub(super) struct Settled {
    source: Vec<i64>,
    line: Vec<i64>,
    status: Vec<&'static str>,
    reasons: Vec<Option<String>>,
}

impl Settled {
    /// Adds a letter: healed, or rejected for `reasons`.
    pub(super) fn push(&mut self, letter: &Letter, rejected: Option<&[Reason]>) {
        self.source.push(letter.position.source as i64);
        self.line.push(letter.position.line as i64);
        self.status.push(if rejected.is_some() { "rejected" } else { "healed" });
        self.reasons.push(rejected.map(as_json));
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.source.len() as u64
    }

    pub(super) async fn update(self, tx: &Transaction<'_>) -> Result<(), Error> {
        if self.source.is_empty() {
            return Ok(());
        }
        let statement = tx.prepare_cached(include_str!("../../../sql/queries/settle_waiting.sql")).await?;
        let settled = self.source.len() as u64;
        let updated =
            tx.execute(&statement, &[&self.source, &self.line, &self.status, &self.reasons]).await?;
        // Somebody else moved one of them: look again.
        if updated == settled { Ok(()) } else { Err(Error::LedgerChanged) }
    }
}

fn as_json(reasons: &[Reason]) -> String {
    serde_json::to_string(reasons).expect("texts always become JSON")
}
