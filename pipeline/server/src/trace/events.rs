//! What is known of a line, as events in the order in which they happened.

use serde_json::json;
use tidegate_connectors::postgres::moves::{Kind, Move, Outcome};
use tidegate_connectors::postgres::trace::{TracedLetter, TracedLine, TracedSource};
use tidegate_core::dead_letter::Reason;
use tidegate_core::ledger::Fate;

use super::files::{FoundLine, InFile};
use super::story::Event;
use super::topics::{OnTopic, TopicStage};
use crate::settings::Settings;

/// How it came.
pub(crate) fn entered(source: &TracedSource) -> Event {
    let TracedSource { source: number, name, bytes, lines, .. } = source;
    let size = bytes.map(|bytes| format!(", {bytes} bytes")).unwrap_or_default();
    let lines = match lines {
        Some(lines) => format!("{lines} lines"),
        None => "not read to its end yet".to_owned(),
    };
    let what = format!("with source {number}, '{name}'{size}, {lines}; registered at that time");
    Event::new("entered", what).at(source.registered_at.clone())
}

/// Where its file is.
pub(crate) fn in_file(line: u64, file: &InFile) -> Event {
    match (&file.path, file.lines.get(&line)) {
        (Ok(path), Some(FoundLine { physical_line, .. })) => {
            let what = format!("record {line} starts at physical line {physical_line} of {}", path.display());
            Event::new("in_file", what).with("file", path.to_string_lossy())
        }
        (Ok(path), None) => Event::new("not_in_file", format!("{} has no line {line}", path.display())),
        (Err(why), _) => Event::new("not_in_file", why),
    }
}

/// Where it is on the topics.
pub(crate) fn on_topics(records: &[OnTopic], settings: &Settings) -> Vec<Event> {
    if records.is_empty() {
        let place = match &settings.manifest.fluvio {
            Some(_) => "of the Fluvio cluster".to_owned(),
            None => format!("in {}", settings.data_dir.display()),
        };
        return vec![Event::new("not_on_topic", format!("on no topic {place}"))];
    }
    let event = |record: &OnTopic| {
        let OnTopic { topic, partition, offset, at, .. } = record;
        let place = match partition {
            0 => format!("{topic}, offset {offset}"),
            _ => format!("{topic}, partition {partition}, offset {offset}"),
        };
        let event = Event::new("on_topic", place).at(at.clone());
        event.with("topic", topic.as_str()).with("partition", *partition).with("offset", *offset)
    };
    records.iter().map(event).collect()
}

/// That nothing is committed of it yet, and who has it.
pub(crate) fn in_flight(records: &[OnTopic], file: &InFile) -> Event {
    let whose = match records.iter().map(|record| record.stage).max() {
        Some(TopicStage::Raw) => "'tidegate run' takes it on from there to the transform".to_owned(),
        Some(_) => "'tidegate run' takes it on from there to the sink".to_owned(),
        None => match &file.path {
            Ok(path) => format!("'tidegate run' reads it from {}", path.display()),
            Err(_) => "put the file of that content into the landing folder again".to_owned(),
        },
    };
    Event::new("in_flight", format!("nothing of it is committed yet; {whose}"))
}

/// What became of it. `committed_at` is when its row was written, if that is known.
pub(crate) fn fate(traced: &TracedLine, source: &TracedSource, committed_at: Option<&str>) -> Vec<Event> {
    let (Some(fate), letter) = (traced.fate, &traced.letter) else { return Vec::new() };
    let mut events = match letter {
        Some(letter) => letter_events(letter, &traced.moves),
        None if fate == Fate::Accepted => vec![accepted(source, committed_at)],
        None => Vec::new(),
    };
    let agreed = match letter.as_ref().map(|letter| letter.status.as_str()) {
        None | Some("healed" | "replayed") => fate == Fate::Accepted,
        Some("claimed") => matches!(fate, Fate::Rejected | Fate::Waiting),
        Some(status) => status == fate.as_str(),
    };
    if !agreed {
        let letter = letter.as_ref().map_or("no dead letter", |letter| letter.status.as_str());
        let what =
            format!("the ledger says {}, the dead letters say {letter}: this must not be", fate.as_str());
        events.push(Event::new("disagreement", what));
    }
    events
}

/// A line that was never a dead letter. When it was accepted is not stored.
fn accepted(source: &TracedSource, committed_at: Option<&str>) -> Event {
    let TracedSource { registered_at, completed_at, .. } = source;
    // A row that was written after its source was complete was written again, by another application.
    let is_within = |at: &&str| completed_at.as_deref().is_none_or(|completed_at| *at <= completed_at);
    if let Some(at) = committed_at.filter(is_within) {
        return Event::new("accepted", "its row was committed at that time").at(at.to_owned());
    }
    Event::new(
        "accepted",
        match completed_at {
            Some(completed_at) => format!("between {registered_at} and {completed_at}"),
            None => format!("after {registered_at}"),
        },
    )
}

fn letter_events(letter: &TracedLetter, moves: &[Move]) -> Vec<Event> {
    let mut events = letter_story(letter, moves);
    if let Some(dropped) = &letter.dropped {
        let columns: Vec<&str> =
            dropped.as_object().into_iter().flatten().map(|(name, _)| &name[..]).collect();
        let what = format!("its values of columns that are gone were left out: {}", columns.join(", "));
        events
            .push(Event::new("dropped", what).at(letter.updated_at.clone()).with("values", dropped.clone()));
    }
    events
}

fn letter_story(letter: &TracedLetter, moves: &[Move]) -> Vec<Event> {
    let TracedLetter { status, stage, attempt, reasons, created_at, updated_at, changed, .. } = letter;
    let stage = stage.as_str();
    let dead = |event: &'static str, reasons: &[Reason], what: String| {
        Event::new(event, what).at(created_at.clone()).with("stage", stage).with("reasons", json!(reasons))
    };
    let then = |event: &'static str, what: String| {
        Event::new(event, what).at(updated_at.clone()).with("attempt", *attempt)
    };
    let healed = || then("healed", "its references came; it was accepted at its own position".to_owned());
    let against = in_words(reasons);
    let rejected_at_last =
        || dead("rejected", reasons, format!("in the end: {against}")).at(updated_at.clone());
    if let Some(first) = moves.first() {
        // Who made it first is known only where no edit has taken its place.
        let against = in_words(&first.reasons_before);
        let mut events = vec![dead("set_aside", &first.reasons_before, against)];
        events.extend(moves.iter().flat_map(move_events));
        let last = moves.last().and_then(|last| last.outcome);
        match (status.as_str(), last) {
            ("healed", _) => events.push(healed()),
            ("rejected", Some(Outcome::Waiting)) => events.push(rejected_at_last()),
            _ => {}
        }
        return events;
    }
    match status.as_str() {
        "rejected" if *changed => {
            let earlier = Event::new("waiting", "for a reference, at first").at(created_at.clone());
            vec![earlier, rejected_at_last()]
        }
        "rejected" => vec![dead("rejected", reasons, format!("by the {stage}: {against}"))],
        "waiting" if *changed => {
            vec![dead("waiting", reasons, format!("since then; it lacks, as of {updated_at}: {against}"))]
        }
        "waiting" => vec![dead("waiting", reasons, format!("by the {stage}: {against}"))],
        "healed" => vec![dead("waiting", reasons, format!("by the {stage}: {against}")), healed()],
        status => vec![dead("dead_letter", reasons, format!("of status {status}: {against}"))],
    }
}

/// What somebody asked for, and what came of it.
fn move_events(made: &Move) -> Vec<Event> {
    let Move { kind, by, note, attempt, text_edited, newer, reasons, .. } = made;
    let why = note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    let asked = match kind {
        Kind::Replay => {
            let edited = if text_edited.is_some() { ", with an edited line" } else { "" };
            Event::new("claimed", format!("for replay {attempt} by {by}{edited}{why}"))
        }
        Kind::Discard => Event::new("discard_asked", format!("by {by}{why}")),
    };
    let mut asked = asked.at(made.asked_at.clone()).with("attempt", *attempt).with("by", by.as_str());
    if let Some(note) = note {
        asked = asked.with("note", note.as_str());
    }
    if let Some(text) = text_edited {
        asked = asked.with("text_edited", text.as_str()).with("text_before", made.text_before.clone());
    }
    let (event, what) = match made.outcome {
        None => return vec![asked.with("open", true)],
        Some(Outcome::Accepted) => {
            ("replayed", format!("and accepted at its own position, at replay {attempt}"))
        }
        Some(Outcome::Superseded) => {
            let newer = newer.as_deref().unwrap_or("a newer line");
            (
                "replayed",
                format!("and accepted at its own position, at replay {attempt}; {newer} held the row"),
            )
        }
        // What was against it then only the last replay knows.
        Some(Outcome::Rejected) => ("rejected", format!("again, at replay {attempt}: {}", in_words(reasons))),
        Some(Outcome::Waiting) => ("waiting", format!("since replay {attempt}: {}", in_words(reasons))),
        Some(Outcome::Discarded) => ("discarded", format!("given up by {by}")),
        Some(Outcome::PassedOver) => ("passed_over", "it was no dead letter any more".to_owned()),
    };
    vec![asked, Event::new(event, what).at(made.done_at.clone()).with("attempt", *attempt)]
}

fn in_words(reasons: &[Reason]) -> String {
    let words = reasons.iter().map(|reason| {
        // Codes are written here as they are stored.
        let code = json!(reason.code);
        format!("{} ({})", reason.message, code.as_str().unwrap_or_default())
    });
    words.collect::<Vec<_>>().join("; ")
}
