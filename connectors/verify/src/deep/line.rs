//! Compares one line of a file with its fate in the ledger and its dead letter.

use tidegate_core::contract::SourceBatch;
use tidegate_core::dead_letter::{Code, DeadLetter, Reason};
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::Dataset;
use tidegate_core::record::Line;
use tidegate_core::shape::Shape;
use tidegate_core::transform::TransformOutput;
use tidegate_core::validate::{Scratch, Validator};
use tokio_postgres::Row;

/// A line as the file has it.
pub(super) enum Expected<'a> {
    /// The line keeps the rules.
    Good { canonical: &'a [u8], text: &'a [u8] },
    /// The line breaks some rules.
    Bad(DeadLetter<'a>),
}

/// Returns the lines that a source gave out, in order, each as the transform judges it.
pub(super) fn expected<'a>(batch: &'a SourceBatch, outcome: &'a TransformOutput) -> Vec<(u64, Expected<'a>)> {
    let mut expected = Vec::with_capacity(batch.records.len() + batch.dead_letters.len());
    let mut given = batch.records.iter().filter_map(|record| Line::parse(record.value));
    for Line { position, text: canonical, .. } in
        outcome.accepted.iter().filter_map(|record| Line::parse(record.value))
    {
        let text = given.find(|given| given.position == position).map_or(canonical, |given| given.text);
        expected.push((position.line, Expected::Good { canonical, text }));
    }
    let letters = batch.dead_letters.iter().chain(outcome.dead_letters.iter());
    for letter in letters.filter_map(|record| DeadLetter::parse(record.value).ok()) {
        expected.push((letter.line, Expected::Bad(letter)));
    }
    expected.sort_unstable_by_key(|(line, _)| *line);
    expected
}

/// The stored dead letter of a line.
pub(super) struct StoredLetter<'a> {
    row: &'a Row,
    shape: Option<&'a Shape>,
    dataset: &'a Dataset,
    /// The text mapped to the columns and the dialect of today. `None` if the text needs no mapping or its shape is
    /// unknown; `Some(None)` if the text cannot be mapped.
    mapped: Option<Option<Vec<u8>>>,
}

impl<'a> StoredLetter<'a> {
    pub(super) fn new(row: &'a Row, shape: Option<&'a Shape>, dataset: &'a Dataset) -> Self {
        let is_canonical = row.get::<_, &str>("stage") == "sink";
        let mapping = shape.and_then(|shape| shape.mapping(dataset, is_canonical));
        let mapped = mapping.map(|mut mapping| {
            let mut mapped = Vec::new();
            let text: Option<&str> = row.get("text");
            mapping.write(text?.as_bytes(), None, &mut mapped).ok()?;
            Some(mapped)
        });
        Self { row, shape, dataset, mapped }
    }

    /// Returns whether the line was replayed, or is about to be.
    pub(super) fn is_replayed(&self) -> bool {
        let (status, attempt): (&str, i32) = (self.row.get("status"), self.row.get("attempt"));
        attempt > 0 || matches!(status, "claimed" | "replayed")
    }

    /// Returns whether the line was judged under the manifest's current rules.
    pub(super) fn is_under_rules(&self, rules: &str) -> bool {
        self.shape.is_some_and(|shape| shape.rules == rules)
    }

    /// Returns whether the letter holds the line: as it came, or, if the sink made the letter, in canonical form.
    fn holds(&self, text: &[u8], canonical: &[u8]) -> bool {
        let wanted = if self.row.get::<_, &str>("stage") == "sink" { canonical } else { text };
        match &self.mapped {
            None => self.row.get::<_, Option<&str>>("text").map(str::as_bytes) == Some(wanted),
            Some(None) => false,
            Some(Some(mapped)) if mapped == wanted => true,
            // The same values may be written differently in another dialect.
            Some(Some(mapped)) => {
                let mut scratch = Scratch::default();
                let validator = match self.row.get("stage") {
                    "sink" => Validator::canonical(self.dataset),
                    _ => Validator::new(self.dataset),
                };
                validator.check(mapped, &mut scratch).is_ok_and(|row| row.canonical == canonical)
            }
        }
    }
}

/// Returns the violation in the fate of a line, if there is one. The line's row is not looked at. If the line was
/// judged under other rules, only the text of its dead letter is compared.
pub(super) fn fault(
    expected: &Expected<'_>,
    fate: Fate,
    letter: Option<&StoredLetter<'_>>,
    same_rules: bool,
) -> Option<String> {
    match (expected, fate) {
        (Expected::Bad(_), _) if !same_rules => None,
        (Expected::Bad(made), Fate::Accepted | Fate::Waiting) => {
            Some(format!("is {}, but it breaks {}", fate.as_str(), words(&codes(&made.reasons))))
        }
        (Expected::Bad(made), Fate::Rejected | Fate::Discarded) => {
            let StoredLetter { row: letter, mapped, .. } = letter?;
            let (found, broken) = (stored_codes(letter), codes(&made.reasons));
            if found != broken {
                let (found, broken) = (words(&found), words(&broken));
                return Some(format!("is {} for {found}, but it breaks {broken}", fate.as_str()));
            }
            let same = letter.get::<_, Option<&str>>("text") == made.text.as_deref()
                && letter.get::<_, Option<&str>>("bytes") == made.bytes.as_deref()
                && letter.get::<_, Option<i64>>("length") == made.length.map(|length| length as i64)
                && letter.get::<_, Option<&str>>("blake3") == made.blake3.as_deref();
            // Under another shape the same values are in other places of the text.
            let mapped = mapped.as_ref().and_then(|mapped| mapped.as_deref());
            let same =
                same || mapped.is_some_and(|mapped| made.text.as_deref().map(str::as_bytes) == Some(mapped));
            (!same).then(other_text)
        }
        (Expected::Good { canonical, text }, _) => {
            let letter = letter?;
            let found = stored_codes(letter.row);
            let by_sink = [Code::ConstraintViolation, Code::UnknownReference, Code::LeftOut];
            if same_rules
                && fate == Fate::Rejected
                && (found.is_empty() || !found.iter().all(|code| by_sink.contains(code)))
            {
                return Some(format!("is rejected for {}, but it keeps the rules", words(&found)));
            }
            // If the letter was judged under other rules and its fields cannot be mapped, its text is not compared.
            let is_readable = same_rules || !matches!(letter.mapped, Some(None));
            (is_readable && !letter.holds(text, canonical)).then(other_text)
        }
    }
}

fn other_text() -> String {
    "its dead letter holds another text than the file".to_owned()
}

fn stored_codes(letter: &Row) -> Vec<Code> {
    let reasons = letter.get::<_, serde_json::Value>("reasons");
    codes(&serde_json::from_value::<Vec<Reason>>(reasons).unwrap_or_default())
}

fn codes(reasons: &[Reason]) -> Vec<Code> {
    reasons.iter().map(|reason| reason.code).collect()
}

/// Joins the codes, spelled as users see them.
fn words(codes: &[Code]) -> String {
    let words: Vec<String> = serde_json::from_value(serde_json::json!(codes)).unwrap_or_default();
    words.join(", ")
}
