//! What must come out: a plain loop over the lines, in the order of registration.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::dead_letter::{Code, Reason};
use tidegate_core::ledger::{Fate, chunk_of};
use tidegate_core::manifest::{Manifest, Reference};
use tidegate_core::position::Position;

use crate::files::{File, LEFT_OUT, Meaning, REFUSED};
use crate::model::{Letter, Row, State, Status};

/// The first dataset of a table, and a key, whose values are numbers here, however they are written. The key of a row
/// without one is its position.
type Key = (usize, Vec<i64>);

/// Position and values by dataset and key.
type Rows = BTreeMap<Key, (Option<Position>, Vec<String>)>;

/// The outcome of all that was registered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    rows: Rows,
    fates: BTreeMap<Position, Fate>,
    /// Of lines that are rejected or wait, the codes.
    letters: BTreeMap<Position, Vec<Code>>,
}

struct Line<'a> {
    position: Position,
    key: Key,
    values: &'a [String],
    references: Vec<Key>,
}

/// The key that texts are; no file has the number that stands for what is none.
fn key<'a>(table: usize, texts: impl Iterator<Item = &'a str>) -> Key {
    (table, texts.map(|text| text.parse().unwrap_or(i64::MIN)).collect())
}

/// The values of a reference.
fn of<'a>(reference: &'a Reference, values: &'a [String]) -> impl Iterator<Item = &'a str> {
    reference.columns.iter().map(|column| &values[*column][..])
}

/// The key of a row of a dataset.
fn key_of(manifest: &Manifest, dataset: usize, values: &[String], position: Option<Position>) -> Key {
    let definition = &manifest.datasets[dataset];
    match position.filter(|_| definition.is_keyless()) {
        Some(position) => (definition.of_table, vec![position.source as i64, position.line as i64]),
        None => key(definition.of_table, definition.key.iter().map(|column| &values[*column][..])),
    }
}

impl Outcome {
    /// What the lines of the files, in the order of their sources, come to, with rows of another application.
    pub(crate) fn expected(manifest: &Manifest, sources: &[&File], outside: &[(usize, Vec<String>)]) -> Self {
        let mut outcome = Self::default();
        for (dataset, values) in outside {
            let key = key_of(manifest, *dataset, values, None);
            outcome.rows.entry(key).or_insert((None, values.clone()));
        }
        let mut lines = Vec::new();
        for (source, file) in (1..).zip(sources) {
            let references = &manifest.datasets[file.dataset].references;
            for (line, meaning) in (1..).zip(&file.lines) {
                let position = Position::new(source, line);
                match meaning {
                    Meaning::Wrong(codes) => outcome.reject(position, codes.clone()),
                    Meaning::Row(values) => {
                        let there =
                            references.iter().filter(|r| of(r, values).all(|value| !value.is_empty()));
                        let references = there.map(|r| key(r.dataset, of(r, values))).collect();
                        let key = key_of(manifest, file.dataset, values, Some(position));
                        lines.push(Line { position, key, values, references });
                    }
                }
            }
        }
        outcome.rows(&lines);
        outcome
    }

    fn rows(&mut self, lines: &[Line<'_>]) {
        // All that no reference, no refusal and no trigger keeps out. A line that falls takes with it those that
        // need it.
        let is_kept_out = |line: &Line<'_>| line.values[1] == REFUSED || line.values[1] == LEFT_OUT;
        let mut accepted: Vec<&Line<'_>> = lines.iter().filter(|line| !is_kept_out(line)).collect();
        let mut keys: BTreeSet<Key>;
        loop {
            keys = self.rows.keys().cloned().collect();
            keys.extend(accepted.iter().map(|line| line.key.clone()));
            let before = accepted.len();
            accepted.retain(|line| line.references.iter().all(|reference| keys.contains(reference)));
            if accepted.len() == before {
                break;
            }
        }
        for line in &accepted {
            self.fates.insert(line.position, Fate::Accepted);
            let newer = (Some(line.position), line.values.to_vec());
            let row = self.rows.entry(line.key.clone()).or_insert(newer.clone());
            if row.0 < newer.0 {
                *row = newer;
            }
        }
        for line in lines.iter().filter(|line| !self.fates.contains_key(&line.position)).collect::<Vec<_>>() {
            let lacks = line.references.iter().filter(|reference| !keys.contains(reference)).count();
            if lacks == 0 {
                let code = if line.values[1] == LEFT_OUT { Code::LeftOut } else { Code::ConstraintViolation };
                self.reject(line.position, vec![code]);
            } else {
                self.fates.insert(line.position, Fate::Waiting);
                self.letters.insert(line.position, vec![Code::UnknownReference; lacks]);
            }
        }
    }

    fn reject(&mut self, position: Position, codes: Vec<Code>) {
        self.fates.insert(position, Fate::Rejected);
        let mut codes = codes;
        codes.sort_unstable();
        self.letters.insert(position, codes);
    }

    /// What the database holds, of these sources' lines.
    pub(crate) fn found(manifest: &Manifest, state: &State, sources: &[&File]) -> Self {
        let mut outcome = Self { rows: rows(manifest, state), ..Self::default() };
        for (source, file) in (1..).zip(sources) {
            for line in 1..=file.lines.len() as u64 {
                let chunk = state.ledger.get(&(source, chunk_of(line)));
                if let Some(fate) = chunk.and_then(|chunk| chunk.fate(line)) {
                    outcome.fates.insert(Position::new(source, line), fate);
                }
            }
        }
        for (position, Letter { status, reasons, .. }) in &state.letters {
            if *status != Status::Healed {
                outcome.letters.insert(*position, codes(reasons));
            }
        }
        outcome
    }

    /// The first few differences to another outcome, in words; `None` if there is none.
    pub(crate) fn differs_from(&self, expected: &Self) -> Option<String> {
        let mut differences = Vec::new();
        compare("row", &self.rows, &expected.rows, &mut differences);
        compare("fate of", &self.fates, &expected.fates, &mut differences);
        compare("letter of", &self.letters, &expected.letters, &mut differences);
        (!differences.is_empty()).then(|| {
            let count = differences.len();
            differences.truncate(8);
            format!("{count} differences:\n  {}", differences.join("\n  "))
        })
    }
}

/// The rows of the tables, their values in the order of the manifest.
pub(crate) fn rows(manifest: &Manifest, state: &State) -> Rows {
    let row = |((dataset, text), Row { position, values }): (&(usize, Vec<u8>), &Row)| {
        let key = key(*dataset, std::str::from_utf8(text).expect("a key is text").split('\0'));
        (key, (*position, by_name(manifest, *dataset, state.columns.get(*dataset), values)))
    };
    state.tables.iter().map(row).collect()
}

/// The codes of reasons, sorted: they are in the order of the columns, which may change.
pub(crate) fn codes(reasons: &[Reason]) -> Vec<Code> {
    let mut codes: Vec<Code> = reasons.iter().map(|reason| reason.code).collect();
    codes.sort_unstable();
    codes
}

/// Values in the order of the manifest; what it does not have follows, if it is anything.
fn by_name(
    manifest: &Manifest,
    dataset: usize,
    names: Option<&Vec<String>>,
    values: &[String],
) -> Vec<String> {
    let Some(names) = names else { return values.to_vec() };
    let columns = &manifest.datasets[dataset].columns;
    let place = |column: &str| names.iter().position(|name| name == column);
    let known =
        columns.iter().map(|column| place(&column.name).map_or_else(String::new, |i| values[i].clone()));
    let is_other = |name: &String| !columns.iter().any(|column| column.name == *name);
    let others = names.iter().zip(values).filter(|(name, value)| is_other(name) && !value.is_empty());
    known.chain(others.map(|(name, value)| format!("{name}: {value}"))).collect()
}

fn compare<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
    differences: &mut Vec<String>,
) {
    let keys: BTreeSet<&K> = found.keys().chain(expected.keys()).collect();
    for key in keys {
        let (found, expected) = (found.get(key), expected.get(key));
        if found != expected {
            differences.push(format!("{what} {key:?}: {found:?}, expected {expected:?}"));
        }
    }
}
