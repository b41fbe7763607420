//! Compares one line of a file with its fate in the ledger and its dead letter.

use std::borrow::Cow;

use tidegate_core::contract::SourceBatch;
use tidegate_core::dead_letter::{Code, DeadLetter, Reason};
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::{Column, Dataset, DefaultValue};
use tidegate_core::record::Line;
use tidegate_core::shape::{Form, Mapping, Shape};
use tidegate_core::split::Fields;
use tidegate_core::syntax::Dialect;
use tidegate_core::transform::TransformOutput;
use tidegate_core::validate::{Scratch, Validators};
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
    validators: &'a Validators,
    /// The form of the text.
    form: Form,
    /// The text, mapped to the columns of today if its shape has others. `None` if it cannot be mapped.
    text: Option<Cow<'a, [u8]>>,
    /// The text in RFC 4180, in the columns of today.
    standard: Option<Vec<u8>>,
}

impl<'a> StoredLetter<'a> {
    pub(super) fn new(
        row: &'a Row,
        shape: Option<&'a Shape>,
        dataset: &'a Dataset,
        validators: &'a Validators,
    ) -> Self {
        let by_sink = row.get::<_, &str>("stage") == "sink";
        let (form, mapping) = match shape {
            Some(shape) => shape.form_of_letter(dataset, by_sink),
            None => (if by_sink { Form::Canonical } else { Form::Given }, None),
        };
        let text = row.get::<_, Option<&str>>("text").map(str::as_bytes);
        let mapped = |mut mapping: Mapping| {
            let mut mapped = Vec::new();
            mapping.write(text?, None, &mut mapped).ok()?;
            Some(mapped)
        };
        let standard = shape.filter(|_| !by_sink).and_then(|shape| mapped(shape.mapped(dataset)));
        let text = match mapping {
            Some(mapping) => mapped(mapping).map(Cow::Owned),
            None => text.map(Cow::Borrowed),
        };
        Self { row, shape, dataset, validators, form, text, standard }
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

    /// Returns whether the letter holds the line: as it came, or with the same values in another form.
    fn holds(&self, text: &[u8], canonical: &[u8]) -> bool {
        let Some(own) = self.text.as_deref() else { return false };
        let mut scratch = Scratch::default();
        own == text
            || own == canonical
            || self
                .validators
                .of(self.form)
                .check(own, &mut scratch)
                .is_ok_and(|row| self.are_same_values(row.canonical, canonical))
    }

    /// Returns whether two canonical lines have the same values. A column whose default is the time of validation is left
    /// out, because each validation has its own time.
    fn are_same_values(&self, one: &[u8], other: &[u8]) -> bool {
        let is_timed = |column: &Column| column.reading.default == Some(DefaultValue::Now);
        let columns = &self.dataset.columns;
        if one == other || !columns.iter().any(is_timed) {
            return one == other;
        }
        let split = |text: &[u8]| {
            let mut fields = Fields::default();
            fields.split(text, &Dialect::STANDARD).is_ok().then_some(fields)
        };
        let Some((its, others)) = split(one).zip(split(other)) else { return false };
        columns.iter().enumerate().filter(|(_, column)| !is_timed(column)).all(|(i, _)| {
            its.get(i, one) == others.get(i, other) && its.is_literal(i) == others.is_literal(i)
        })
    }

    /// Returns whether the letter has the text of `made`, or the same fields in another form.
    fn has_text_of(&self, made: &DeadLetter<'_>) -> bool {
        let made = made.text.as_deref();
        let is_equal = |own: &[u8]| made.map(str::as_bytes) == Some(own);
        self.row.get::<_, Option<&str>>("text") == made
            || self.text.as_deref().is_some_and(is_equal)
            || self.standard.as_deref().is_some_and(is_equal)
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
            let stored = letter?;
            let letter = stored.row;
            let (found, broken) = (stored_codes(letter), codes(&made.reasons));
            if found != broken {
                let (found, broken) = (words(&found), words(&broken));
                return Some(format!("is {} for {found}, but it breaks {broken}", fate.as_str()));
            }
            let same = stored.has_text_of(made)
                && letter.get::<_, Option<&str>>("bytes") == made.bytes.as_deref()
                && letter.get::<_, Option<i64>>("length") == made.length.map(|length| length as i64)
                && letter.get::<_, Option<&str>>("blake3") == made.blake3.as_deref();
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
            let is_readable = same_rules || letter.text.is_some();
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
