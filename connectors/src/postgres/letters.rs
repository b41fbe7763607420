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
        let letters = self.source.len() as u64;
        let inserted = tx
            .execute(
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
        if inserted == letters { Ok(()) } else { Err(Error::LedgerChanged) }
    }
}

/// What became of dead letters that waited.
#[derive(Default)]
pub(super) struct Settled<'a> {
    source: Vec<i64>,
    line: Vec<i64>,
    status: Vec<&'static str>,
    reasons: Vec<Option<String>>,
    awaits: Vec<Option<&'a str>>,
    left: u64,
}

impl<'a> Settled<'a> {
    /// A letter whose line was accepted.
    pub(super) fn healed(&mut self, letter: &Letter) {
        self.push(letter, "healed", None, None);
        self.left += 1;
    }

    /// A letter that breaks another rule.
    pub(super) fn rejected(&mut self, letter: &Letter, reasons: &[Reason]) {
        self.push(letter, "rejected", Some(as_json(reasons)), None);
        self.left += 1;
    }

    /// A letter that goes on waiting, for what it lacks now.
    pub(super) fn waits(&mut self, letter: &Letter, reasons: &[Reason], awaits: Option<&'a str>) {
        self.push(letter, "waiting", Some(as_json(reasons)), awaits);
    }

    fn push(
        &mut self,
        letter: &Letter,
        status: &'static str,
        reasons: Option<String>,
        awaits: Option<&'a str>,
    ) {
        self.source.push(letter.position.source as i64);
        self.line.push(letter.position.line as i64);
        self.status.push(status);
        self.reasons.push(reasons);
        self.awaits.push(awaits);
    }

    /// How many wait no more.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    pub(super) async fn update(self, tx: &Transaction<'_>) -> Result<(), Error> {
        if self.source.is_empty() {
            return Ok(());
        }
        let statement = tx.prepare_cached(include_str!("../../../sql/queries/settle_waiting.sql")).await?;
        let changed = tx
            .query(&statement, &[&self.source, &self.line, &self.status, &self.reasons, &self.awaits])
            .await?;
        let left = changed.iter().filter(|row| row.get::<_, &str>(0) != "waiting").count() as u64;
        // Somebody else moved one of them: look again.
        if left == self.left { Ok(()) } else { Err(Error::LedgerChanged) }
    }
}

fn as_json(reasons: &[Reason]) -> String {
    serde_json::to_string(reasons).expect("texts always become JSON")
}
