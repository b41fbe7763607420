//! Stories and their output: for people, as JSON, as CSV. `docs/trace.md` lists the events.

use serde::Serialize;
use serde_json::{Map, Value, json};
use tidegate_postgres::relation::ColumnKind::{Number, Text};
use tidegate_postgres::relation::Relation;

use crate::Failure;
use crate::cli::{Format, output};

/// How many characters of a line are shown to people.
const SHOWN_CHARS: usize = 2000;
/// The widths of an event's name and of a time, in the output for people.
const EVENT_WIDTH: usize = 16;
const TIME_WIDTH: usize = 27;

/// The story of a line, or of a key.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Story {
    /// The position; null for a line that has not entered, and for a key whose row belongs to no line.
    pub(crate) source: Option<u64>,
    pub(crate) line: Option<u64>,
    pub(crate) dataset: String,
    /// The name of the file.
    pub(crate) name: Option<String>,
    pub(crate) physical_line: Option<u64>,
    /// The text of the line. It is exact unless `bytes` is set or an event says that the line is too long.
    pub(crate) text: Option<String>,
    /// The line in base64, if it is not valid text.
    pub(crate) bytes: Option<String>,
    /// The fate in the ledger, or `in_flight`.
    pub(crate) fate: Option<&'static str>,
    pub(crate) events: Vec<TraceEvent>,
}

/// An event of a line, or a fact about it now.
#[derive(Debug, Serialize)]
pub(crate) struct TraceEvent {
    pub(crate) event: &'static str,
    pub(crate) at: Option<String>,
    pub(crate) what: String,
    #[serde(flatten)]
    details: Map<String, Value>,
}

impl TraceEvent {
    pub(crate) fn new(event: &'static str, what: impl Into<String>) -> Self {
        Self { event, at: None, what: what.into(), details: Map::new() }
    }

    pub(crate) fn at(mut self, at: impl Into<Option<String>>) -> Self {
        self.at = at.into();
        self
    }

    /// Adds a detail for machines.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

/// Writes stories to stdout.
pub(crate) async fn write(stories: &[Story], format: Format) -> Result<(), Failure> {
    match format {
        Format::Table => {
            let stories: Vec<String> = stories.iter().map(Story::in_words).collect();
            output::print(output::shown(&stories.join("\n")))
        }
        Format::Json => output::print(output::pretty(&stories)?),
        Format::Csv => output::write(&relation(stories), format).await,
    }
}

fn relation(stories: &[Story]) -> Relation {
    let columns = [("source", Number), ("line", Number), ("event", Text), ("at", Text), ("what", Text)];
    let rows = stories.iter().flat_map(|Story { source, line, events, .. }| {
        events.iter().map(move |of| json!([source, line, of.event, of.at, of.what]))
    });
    output::relation(&columns, rows)
}

impl Story {
    fn in_words(&self) -> String {
        let mut words = match (self.source, self.line) {
            (Some(source), Some(line)) => format!("line {source}:{line}"),
            (None, Some(line)) => format!("line {line}"),
            _ => "no line".to_owned(),
        };
        if let Some(name) = &self.name {
            let physical =
                self.physical_line.map(|line| format!(", physical line {line}")).unwrap_or_default();
            words.push_str(&format!("{physical} of '{name}'"));
        }
        words.push_str(&format!(", dataset {}", self.dataset));
        if let Some(fate) = self.fate {
            words.push_str(&format!(": {}", spoken(fate)));
        }
        words.push('\n');
        if let Some(text) = &self.text {
            let cut = text.char_indices().nth(SHOWN_CHARS).map(|(end, _)| end);
            text[..cut.unwrap_or(text.len())]
                .split('\n')
                .for_each(|line| words.push_str(&format!("  | {line}\n")));
            if cut.is_some() {
                words.push_str(&format!("  … {} bytes in all; --format json shows them\n", text.len()));
            }
        }
        for TraceEvent { event, at, what, .. } in &self.events {
            let (at, event) = (at.as_deref().unwrap_or("-"), spoken(event));
            words.push_str(&format!("  {at:TIME_WIDTH$}  {event:EVENT_WIDTH$}  {what}\n"));
        }
        words
    }
}

fn spoken(word: &str) -> String {
    word.replace('_', " ")
}
