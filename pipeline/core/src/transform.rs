//! The transform: a pure function of its state and a batch of raw records.
//!
//! A line that breaks no rule goes to the accepted topic of its dataset, unless a reference of it is not
//! known: then it goes to `dead-letters` as waiting. All others go there as rejected, with every reason.

use std::sync::Arc;
use std::time::SystemTime;

use crate::dead_letter::{DeadLetter, Event, Reason, Stage};
use crate::manifest::Manifest;
use crate::record::{Batch, Line};
use crate::references::KnownKeys;
use crate::validate::{Row, Scratch, Validator, unknown_reference};

/// The transform of a pipeline, with its state: the keys known of referenced datasets.
#[derive(Debug)]
pub struct Transform {
    manifest: Arc<Manifest>,
    validators: Vec<Validator>,
    known: KnownKeys,
    scratch: Scratch,
}

/// What became of a batch of raw records.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For the accepted topic of the dataset.
    pub accepted: Batch,
    /// For `dead-letters`.
    pub dead_letters: Batch,
    /// How many records were not of Tidegate's form, and left out.
    pub foreign: u64,
    /// How many were left out since their lines are in columns that the dataset does not have now: they are read from
    /// their files again.
    pub other_form: u64,
}

impl Transform {
    /// A transform that knows no key yet and remembers at most `keys_max`.
    pub fn new(manifest: Arc<Manifest>, keys_max: usize) -> Self {
        let mut referenced = vec![false; manifest.datasets.len()];
        for column in manifest.datasets.iter().flat_map(|dataset| &dataset.columns) {
            if let Some(parent) = column.references {
                referenced[parent] = true;
            }
        }
        Self {
            validators: manifest.datasets.iter().map(Validator::new).collect(),
            known: KnownKeys::new(&referenced, keys_max),
            scratch: Scratch::default(),
            manifest,
        }
    }

    /// The state, to be fed with the keys that Postgres holds.
    pub fn known_keys(&mut self) -> &mut KnownKeys {
        &mut self.known
    }

    /// Decides where each line of a batch of one dataset goes; `now` dates the dead letters.
    pub fn apply(&mut self, dataset: usize, raw: &Batch, now: SystemTime) -> Outcome {
        let mut outcome =
            Outcome { accepted: Batch::with_capacity(raw.as_bytes().len()), ..Outcome::default() };
        let kind = self.manifest.datasets[dataset].key_column().kind;
        for record in raw.iter() {
            let Some(line) = Line::parse(record.value) else {
                outcome.foreign += 1;
                continue;
            };
            if !self.validators[dataset].reads(line.form) {
                outcome.other_form += 1;
                continue;
            }
            match self.validators[dataset].check(line.text, &mut self.scratch) {
                Ok(row) => {
                    let missing =
                        missing_references(&self.manifest, &self.validators, &self.known, dataset, &row);
                    if missing.is_empty() {
                        let text = row.canonical;
                        outcome.accepted.push_with(row.key(), |out| Line { text, ..line }.write(out));
                        self.known.learn(dataset, kind, row.key());
                    } else {
                        self.dead_letter(dataset, &line, (Event::Waiting, missing), now, &mut outcome);
                    }
                }
                Err(reasons) => {
                    self.dead_letter(dataset, &line, (Event::Rejected, reasons), now, &mut outcome);
                }
            }
        }
        outcome
    }

    fn dead_letter(
        &self,
        dataset: usize,
        line: &Line<'_>,
        (event, reasons): (Event, Vec<Reason>),
        now: SystemTime,
        outcome: &mut Outcome,
    ) {
        let made = (event, Stage::Transform);
        let name = &self.manifest.datasets[dataset].name;
        let mut letter = DeadLetter::new(made, line.position, name, line.text, reasons, now);
        letter.form = line.form;
        let key = self.validators[dataset].key_of(line.text);
        outcome.dead_letters.push_with(key, |out| letter.write(out));
    }
}

fn missing_references(
    manifest: &Manifest,
    validators: &[Validator],
    known: &KnownKeys,
    dataset: usize,
    row: &Row<'_>,
) -> Vec<Reason> {
    let mut missing = Vec::new();
    for reference in validators[dataset].references() {
        // Whether a row of the same dataset exists the sink alone can tell: it may come in one batch.
        if reference.dataset == dataset {
            continue;
        }
        let Some(value) = row.value(reference.column) else { continue };
        let parent = &manifest.datasets[reference.dataset];
        if !known.may_exist(reference.dataset, parent.key_column().kind, value) {
            let column = &manifest.datasets[dataset].columns[reference.column].name;
            missing.push(unknown_reference(column, &parent.name, value));
        }
    }
    missing
}
