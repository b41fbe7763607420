//! The events of a line, in the order in which they happened.

use serde_json::json;
use tidegate_core::dead_letter::Reason;
use tidegate_core::ledger::Fate;
use tidegate_node::Settings;
use tidegate_store::filter::{KeptLetter, LetterStatus};
use tidegate_store::moves::{Kind, Move, MoveOutcome};
use tidegate_store::trace::{TracedLine, TracedSource};

use super::files::{SourceFile, SourceLine};
use super::story::TraceEvent;
use super::topics::{TopicRecord, TopicStage};

/// The event that the line's source entered.
pub(crate) fn entered(source: &TracedSource) -> TraceEvent {
    let TracedSource { source: number, name, bytes, lines, .. } = source;
    let size = bytes.map(|bytes| format!(", {bytes} bytes")).unwrap_or_default();
    let lines = match lines {
        Some(lines) => format!("{lines} lines"),
        None => "not read to its end yet".to_owned(),
    };
    let what = format!("with source {number}, '{name}'{size}, {lines}; registered at that time");
    TraceEvent::new("entered", what).at(source.registered_at.clone())
}

/// The event that says where the line's file is.
pub(crate) fn in_file(line: u64, file: &SourceFile) -> TraceEvent {
    match (&file.path, file.lines.get(&line)) {
        (Ok(path), Some(SourceLine { physical_line, .. })) => {
            let what = format!("record {line} starts at physical line {physical_line} of {}", path.display());
            TraceEvent::new("in_file", what).with("file", path.to_string_lossy())
        }
        (Ok(path), None) => TraceEvent::new("not_in_file", format!("{} has no line {line}", path.display())),
        (Err(why), _) => TraceEvent::new("not_in_file", why),
    }
}

/// The events that say where the line is on the topics.
pub(crate) fn on_topics(records: &[TopicRecord], settings: &Settings) -> Vec<TraceEvent> {
    if records.is_empty() {
        let place = match &settings.manifest.fluvio {
            Some(_) => "of the Fluvio cluster".to_owned(),
            None => format!("in {}", settings.data_dir.display()),
        };
        return vec![TraceEvent::new("not_on_topic", format!("on no topic {place}"))];
    }
    let event = |record: &TopicRecord| {
        let TopicRecord { topic, partition, offset, at, .. } = record;
        let place = match partition {
            0 => format!("{topic}, offset {offset}"),
            _ => format!("{topic}, partition {partition}, offset {offset}"),
        };
        let event = TraceEvent::new("on_topic", place).at(at.clone());
        event.with("topic", topic.as_str()).with("partition", *partition).with("offset", *offset)
    };
    records.iter().map(event).collect()
}

/// The event that nothing of the line is committed yet, and which stage has it.
pub(crate) fn in_flight(records: &[TopicRecord], file: &SourceFile) -> TraceEvent {
    let whose = match records.iter().map(|record| record.stage).max() {
        Some(TopicStage::Raw) => "'tidegate run' takes it on from there to the transform".to_owned(),
        Some(_) => "'tidegate run' takes it on from there to the sink".to_owned(),
        None => match &file.path {
            Ok(path) => format!("'tidegate run' reads it from {}", path.display()),
            Err(_) => "put the file of that content into the landing folder again".to_owned(),
        },
    };
    TraceEvent::new("in_flight", format!("nothing of it is committed yet; {whose}"))
}

/// The events of the line's fate. `committed_at` is when its row was written, if that is known.
pub(crate) fn fate(
    traced: &TracedLine,
    source: &TracedSource,
    committed_at: Option<&str>,
) -> Vec<TraceEvent> {
    let (Some(fate), letter) = (traced.fate, &traced.letter) else { return Vec::new() };
    let mut events = match letter {
        Some(letter) => letter_events(&letter.kept, &traced.moves),
        None if fate == Fate::Accepted => vec![accepted(source, committed_at)],
        None => Vec::new(),
    };
    let agreed = match letter.as_ref().map(|letter| letter.kept.status) {
        None | Some(LetterStatus::Healed | LetterStatus::Replayed) => fate == Fate::Accepted,
        Some(LetterStatus::Claimed) => matches!(fate, Fate::Rejected | Fate::Waiting),
        Some(status) => status.as_str() == fate.as_str(),
    };
    if !agreed {
        let letter = letter.as_ref().map_or("no dead letter", |letter| letter.kept.status.as_str());
        let what =
            format!("the ledger says {}, the dead letters say {letter}: this must not be", fate.as_str());
        events.push(TraceEvent::new("disagreement", what));
    }
    events
}

/// The event of a line that was accepted at once. Tidegate does not store when that was.
fn accepted(source: &TracedSource, committed_at: Option<&str>) -> TraceEvent {
    let TracedSource { registered_at, completed_at, .. } = source;
    // If a row was written after its source was complete, another application has written it again.
    let is_within = |at: &&str| completed_at.as_deref().is_none_or(|completed_at| *at <= completed_at);
    if let Some(at) = committed_at.filter(is_within) {
        return TraceEvent::new("accepted", "its row was committed at that time").at(at.to_owned());
    }
    let what = match completed_at {
        Some(completed_at) => format!("between {registered_at} and {completed_at}"),
        None => format!("after {registered_at}"),
    };
    TraceEvent::new("accepted", what)
}

fn letter_events(letter: &KeptLetter, moves: &[Move]) -> Vec<TraceEvent> {
    let mut events = letter_story(letter, moves);
    if let Some(dropped) = &letter.dropped {
        let columns: Vec<_> = dropped.as_object().into_iter().flatten().map(|(name, _)| &name[..]).collect();
        let what = format!("its values of columns that are gone were left out: {}", columns.join(", "));
        let event = TraceEvent::new("dropped", what).at(letter.updated_at.clone());
        events.push(event.with("values", dropped.clone()));
    }
    events
}

fn letter_story(letter: &KeptLetter, moves: &[Move]) -> Vec<TraceEvent> {
    let KeptLetter { status, stage, attempt, reasons, created_at, updated_at, changed, .. } = letter;
    let stage = stage.as_str();
    let dead = |event: &'static str, reasons: &[Reason], what: String| {
        TraceEvent::new(event, what)
            .at(created_at.clone())
            .with("stage", stage)
            .with("reasons", json!(reasons))
    };
    let then = |event: &'static str, what: String| {
        TraceEvent::new(event, what).at(updated_at.clone()).with("attempt", *attempt)
    };
    let healed = || then("healed", "its references came; it was accepted at its own position".to_owned());
    let against = in_words(reasons);
    let by_stage = |event| dead(event, reasons, format!("by the {stage}: {against}"));
    let rejected_at_last =
        || dead("rejected", reasons, format!("in the end: {against}")).at(updated_at.clone());
    if let Some(first) = moves.first() {
        // Which stage made the dead letter first is known only if the line was not edited.
        let against = in_words(&first.reasons_before);
        let mut events = vec![dead("set_aside", &first.reasons_before, against)];
        events.extend(moves.iter().flat_map(move_events));
        let last = moves.last().and_then(|last| last.outcome);
        match (status, last) {
            (LetterStatus::Healed, _) => events.push(healed()),
            (LetterStatus::Rejected, Some(MoveOutcome::Waiting)) => events.push(rejected_at_last()),
            _ => {}
        }
        return events;
    }
    match status {
        LetterStatus::Rejected if *changed => {
            let earlier = TraceEvent::new("waiting", "for a reference, at first").at(created_at.clone());
            vec![earlier, rejected_at_last()]
        }
        LetterStatus::Rejected => vec![by_stage("rejected")],
        LetterStatus::Waiting if *changed => {
            vec![dead("waiting", reasons, format!("since then; it lacks, as of {updated_at}: {against}"))]
        }
        LetterStatus::Waiting => vec![by_stage("waiting")],
        LetterStatus::Healed => vec![by_stage("waiting"), healed()],
        status => vec![dead("dead_letter", reasons, format!("of status {status}: {against}"))],
    }
}

/// The events of a replay or discard: the request and its outcome.
fn move_events(made: &Move) -> Vec<TraceEvent> {
    let Move { kind, by, note, attempt, text_edited, newer, reasons, .. } = made;
    let why = note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    let asked = match kind {
        Kind::Replay => {
            let edited = if text_edited.is_some() { ", with an edited line" } else { "" };
            TraceEvent::new("claimed", format!("for replay {attempt} by {by}{edited}{why}"))
        }
        Kind::Discard => TraceEvent::new("discard_asked", format!("by {by}{why}")),
    };
    let mut asked = asked.at(made.asked_at.clone()).with("attempt", *attempt).with("by", by.as_str());
    if let Some(note) = note {
        asked = asked.with("note", note.as_str());
    }
    if let Some(text) = text_edited {
        asked = asked.with("text_edited", text.as_str()).with("text_before", made.text_before.clone());
    }
    let accepted = format!("and accepted at its own position, at replay {attempt}");
    let (event, what) = match made.outcome {
        None => return vec![asked.with("open", true)],
        Some(MoveOutcome::Accepted) => ("replayed", accepted),
        Some(MoveOutcome::Superseded) => {
            let newer = newer.as_deref().unwrap_or("a newer line");
            ("replayed", format!("{accepted}; {newer} held the row"))
        }
        // Only the last replay has the reasons of that rejection.
        Some(MoveOutcome::Rejected) => {
            ("rejected", format!("again, at replay {attempt}: {}", in_words(reasons)))
        }
        Some(MoveOutcome::Waiting) => ("waiting", format!("since replay {attempt}: {}", in_words(reasons))),
        Some(MoveOutcome::Discarded) => ("discarded", format!("given up by {by}")),
        Some(MoveOutcome::PassedOver) => ("passed_over", "it was no dead letter any more".to_owned()),
    };
    vec![asked, TraceEvent::new(event, what).at(made.done_at.clone()).with("attempt", *attempt)]
}

fn in_words(reasons: &[Reason]) -> String {
    let words = reasons.iter().map(|reason| format!("{} ({})", reason.message, reason.code.as_str()));
    words.collect::<Vec<_>>().join("; ")
}
