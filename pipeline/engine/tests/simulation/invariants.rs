//! What holds at every commit.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::ledger::{Fate, chunk_of};
use tidegate_core::manifest::Manifest;
use tidegate_core::position::Position;
use tidegate_core::spelling::normal_parts;

use crate::files::File;
use crate::model::{State, Status, View};

/// What is wrong with a state, if anything is.
pub(crate) fn violated(manifest: &Manifest, files: &[File], state: &State) -> Option<String> {
    let facts = rows(manifest, state).or_else(|| letters(state)).or_else(|| effects(state));
    facts.or_else(|| lines(files, state)).or_else(|| {
        let afresh = View::afresh(state.view.of, &state.tables);
        (state.view != afresh).then(|| format!("the view is {:?}, its query gives {afresh:?}", state.view))
    })
}

/// The lines of a file are its records and those that were skipped, by the rules that skip them.
fn lines(files: &[File], state: &State) -> Option<String> {
    for (number, source) in (1..).zip(&state.sources) {
        let (Some(records), Some(skipped)) = (source.lines, source.skipped) else { continue };
        let Some(file) = source.file(files) else { continue };
        let (lines, meant) = (file.physical_lines(), file.skipped);
        if records + skipped.total() != lines || skipped != meant {
            return Some(format!(
                "source {number} has {records} records and skipped {skipped}, of {lines} lines; meant were {meant}"
            ));
        }
    }
    None
}

fn fate(state: &State, position: Position) -> Option<Fate> {
    state.ledger.get(&(position.source, chunk_of(position.line)))?.fate(position.line)
}

/// Every row's position is accepted, and every reference of it is there.
fn rows(manifest: &Manifest, state: &State) -> Option<String> {
    for ((dataset, _), row) in &state.tables {
        let Some(position) = row.position else { continue };
        let fate = fate(state, position);
        if fate != Some(Fate::Accepted) {
            return Some(format!("a row is of {position}, of which the ledger says {fate:?}"));
        }
        let definition = &manifest.datasets[*dataset];
        for reference in &definition.references {
            let part = |column: &usize| {
                let column = &definition.columns[*column];
                let place = state.columns[*dataset].iter().position(|name| *name == column.name);
                (column.kind, place.map_or(&b""[..], |place| row.values[place].as_bytes()))
            };
            let Some(key) = normal_parts(reference.columns.iter().map(part)) else { continue };
            if !state.tables.contains_key(&(reference.dataset, key)) {
                let name = reference.name(definition);
                return Some(format!("the row of {position} references by {name} what is not there"));
            }
        }
    }
    None
}

/// Of the accepted lines of each source each did one thing, and as many inserted a row as there are rows that no other
/// application made.
fn effects(state: &State) -> Option<String> {
    let mut accepted: BTreeMap<u64, u64> = BTreeMap::new();
    for ((source, _), chunk) in &state.ledger {
        *accepted.entry(*source).or_default() += chunk.count(Fate::Accepted);
    }
    let sources: BTreeSet<&u64> = accepted.keys().chain(state.effects.keys()).collect();
    for source in sources {
        let held = accepted.get(source).copied().unwrap_or_default();
        let counted = state.effects.get(source).copied().unwrap_or_default();
        if counted.accepted() != held {
            return Some(format!("of source {source} {held} lines are accepted, which did {counted:?}"));
        }
    }
    let inserted: u64 = state.effects.values().map(|effects| effects.inserted).sum();
    let (rows, outside) = (state.tables.len() as u64, state.outside);
    (inserted + outside != rows)
        .then(|| format!("{inserted} lines inserted a row and others {outside}, but there are {rows}"))
}

/// Dead letters and ledger agree, in both directions.
fn letters(state: &State) -> Option<String> {
    let mut counts: BTreeMap<Fate, u64> = BTreeMap::new();
    for (position, letter) in &state.letters {
        let expected = match letter.status {
            Status::Rejected => Fate::Rejected,
            Status::Waiting => Fate::Waiting,
            Status::Healed => Fate::Accepted,
        };
        let found = fate(state, *position);
        if found != Some(expected) {
            let status = letter.status;
            return Some(format!("the letter of {position} is {status:?}, the ledger says {found:?}"));
        }
        *counts.entry(expected).or_default() += 1;
    }
    for fate in [Fate::Rejected, Fate::Waiting] {
        let held: u64 = state.ledger.values().map(|chunk| chunk.count(fate)).sum();
        let letters = counts.get(&fate).copied().unwrap_or_default();
        if held != letters {
            return Some(format!(
                "the ledger holds {held} {} lines, the letters are {letters}",
                fate.as_str()
            ));
        }
    }
    None
}
