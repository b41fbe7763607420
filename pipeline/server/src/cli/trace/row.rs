//! Which line owns the row of an accepted line.

use std::borrow::Cow;
use std::time::SystemTime;

use tidegate_core::dead_letter::Stage;
use tidegate_core::manifest::Dataset;
use tidegate_core::position::Position;
use tidegate_core::shape::Form;
use tidegate_core::validate::{Scratch, Validators};
use tidegate_store::filter::LetterStatus;
use tidegate_store::trace::{self, TracedLetter, TracedRow};

use super::key::row_name;
use super::story::TraceEvent;
use super::topics::{TopicRecord, TopicStage};
use super::{SourceTrace, Tracer};
use crate::Failure;

/// A line that passes validation: its key, and its value for each column.
pub(super) struct ValidLine {
    /// The values of the key, or the position if there is no key.
    key: Vec<String>,
    values: Vec<Option<String>>,
}

impl Tracer {
    /// Validates the line as a row, from whichever place still has it.
    pub(super) fn valid_line(
        &self,
        dataset: usize,
        traced: &SourceTrace,
        line: u64,
        records: &[TopicRecord],
        letter: Option<&TracedLetter>,
    ) -> Option<ValidLine> {
        let dataset = &self.manifest().datasets[dataset];
        let validators = Validators::new(dataset);
        let in_file = traced.file.lines.get(&line);
        let in_file = in_file.and_then(|found| Some((found.form, found.ordered.as_deref()?)));
        let on_topic = records.iter().filter(|record| record.stage != TopicStage::DeadLetters);
        let form = |record: &TopicRecord| match record.stage {
            TopicStage::Accepted => Some(Form::Canonical),
            _ => validators.form(record.fingerprint),
        };
        let on_topic = || on_topic.clone().find_map(|record| Some((form(record)?, record.text.as_deref()?)));
        let kept = letter.and_then(|letter| kept_text(dataset, letter));
        let kept = || kept.as_ref().map(|(form, text)| (*form, &text[..]));
        // A replay may have changed the line, so only the dead letter's text counts then.
        let (form, text) =
            if is_replayed(letter) { kept()? } else { in_file.or_else(on_topic).or_else(kept)? };
        let mut scratch = Scratch::at(SystemTime::now());
        let row = validators.of(form).check(text, &mut scratch).ok()?;
        let owned = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let values: Vec<_> = (0..dataset.columns.len()).map(|column| row.value(column).map(owned)).collect();
        let key = match dataset.is_keyless() {
            true => vec![traced.source.source.to_string(), line.to_string()],
            false => dataset.key.iter().map(|column| values[*column].clone().unwrap_or_default()).collect(),
        };
        Some(ValidLine { key, values })
    }

    /// Which line owns the row of an accepted line. If the line itself does, also when the row was written.
    pub(super) async fn row(
        &self,
        dataset: usize,
        position: Position,
        valid: Option<ValidLine>,
        letter: Option<&TracedLetter>,
    ) -> Result<(Vec<TraceEvent>, Option<String>), Failure> {
        let (key, values) = match valid {
            Some(ValidLine { key, values }) => (Some(key), Some(values).filter(|_| !is_replayed(letter))),
            None => (trace::row_of(&self.store, dataset, position).await?, None),
        };
        let of = &self.manifest().datasets[dataset];
        let Some(key) = key else {
            let what = format!(
                "no row of {} is of this line: a newer line took its place, or another application changed or \
                 deleted it; without its text its key cannot be told",
                of.name
            );
            return Ok((vec![TraceEvent::new("not_held", what)], None));
        };
        let name = row_name(of, &key);
        let row = trace::row(&self.store, dataset, &key, values.as_deref()).await?;
        let Some(TracedRow { position: holder, written_at, mut differing }) = row else {
            let what = match trace::row_of(&self.store, dataset, position).await? {
                Some(key) => format!(
                    "there is no {name}: {} is of this line, so a trigger or another application gave the row another key",
                    row_name(of, &key)
                ),
                None => format!("there is no {name} any more: another application deleted it"),
            };
            return Ok((vec![TraceEvent::new("row_gone", what)], None));
        };
        let Some(holder) = self.of_source(holder).await? else {
            return Ok((vec![foreign(&name).at(written_at)], None));
        };
        if holder != position {
            return Ok((vec![self.replaced(position, holder, &name).await?.at(written_at)], None));
        }
        let mut events =
            vec![TraceEvent::new("held", format!("{name} is of this line")).at(written_at.clone())];
        // Columns that the source did not have are left out of the comparison.
        if let Some(shape) = self.known_source(position.source).await?.shape {
            let is_of_file = |name: &str| of.columns.iter().any(|its| its.name == name && !its.is_field());
            differing.retain(|column| shape.has(column) || is_of_file(column));
        }
        if differing.is_empty() {
            return Ok((events, written_at));
        }
        let what = format!(
            "its values are not the line's any more: another application or a trigger changed {}",
            differing.join(", ")
        );
        events.push(TraceEvent::new("row_changed", what).with("columns", differing));
        Ok((events, None))
    }

    async fn replaced(&self, position: Position, holder: Position, row: &str) -> Result<TraceEvent, Failure> {
        let name = self.known_source(holder.source).await?.name;
        let (event, what) = match holder > position {
            true => ("replaced", format!("{row} is of the newer line {holder} of '{name}'")),
            false => (
                "row_older",
                format!(
                    "{row} is of the older line {holder} of '{name}': another application has taken this \
                     line's row away before"
                ),
            ),
        };
        Ok(TraceEvent::new(event, what)
            .with("by_source", holder.source)
            .with("by_line", holder.line)
            .with("by_name", name))
    }
}

/// The text of a dead letter, in the columns that its dataset has now, and its form.
fn kept_text<'a>(dataset: &Dataset, letter: &'a TracedLetter) -> Option<(Form, Cow<'a, [u8]>)> {
    let text = letter.kept.text.as_deref()?.as_bytes();
    let by_sink = letter.kept.stage == Stage::Sink;
    let (form, mapping) = match &letter.shape {
        Some(shape) => shape.form_of_letter(dataset, by_sink),
        None => (if by_sink { Form::Canonical } else { Form::Given }, None),
    };
    let Some(mut mapping) = mapping else { return Some((form, Cow::Borrowed(text))) };
    let mut mapped = Vec::new();
    mapping.write(text, None, &mut mapped).ok()?;
    Some((form, Cow::Owned(mapped)))
}

fn is_replayed(letter: Option<&TracedLetter>) -> bool {
    letter.is_some_and(|letter| letter.kept.attempt > 0 || letter.kept.status == LetterStatus::Replayed)
}

pub(super) fn foreign(row: &str) -> TraceEvent {
    TraceEvent::new(
        "row_foreign",
        format!("the {row} has no position of any line: another application wrote it"),
    )
}
