//! The transform: a pure function of its state and a batch of raw records.
//!
//! A line that breaks no rule goes to the accepted topic of its dataset. If one of its references is not known, it
//! goes to `dead-letters` as waiting instead. A line that breaks a rule goes to `dead-letters` as rejected, with
//! every reason.

use std::sync::Arc;
use std::time::SystemTime;

use crate::dead_letter::{DeadLetter, Event, Reason, Stage};
use crate::manifest::{Dataset, Manifest};
use crate::record::{Batch, Line};
use crate::references::KnownKeys;
use crate::validate::{Row, Scratch, Validator, unknown_reference};

/// The transform of a pipeline, with its state: the known keys of referenced datasets.
#[derive(Debug)]
pub struct Transform {
    manifest: Arc<Manifest>,
    validators: Vec<Validator>,
    known: KnownKeys,
    scratch: Scratch,
}

/// The output of the transform for a batch of raw records.
#[derive(Debug, Default)]
pub struct TransformOutput {
    /// For the accepted topic of the dataset.
    pub accepted: Batch,
    /// For `dead-letters`.
    pub dead_letters: Batch,
    /// How many records were not in Tidegate's format, and were skipped.
    pub foreign: u64,
    /// How many records were skipped because they do not have the dataset's current columns. Their lines are read from
    /// their files again.
    pub other_columns: u64,
}

impl Transform {
    /// A transform that knows no key yet and remembers at most `keys_max`.
    pub fn new(manifest: Arc<Manifest>, keys_max: usize) -> Self {
        let mut referenced = vec![false; manifest.datasets.len()];
        let columns = manifest.datasets.iter().flat_map(|dataset| &dataset.columns);
        columns.filter_map(|column| column.references).for_each(|parent| referenced[parent] = true);
        Self {
            validators: manifest.datasets.iter().map(Validator::new).collect(),
            known: KnownKeys::new(&referenced, keys_max),
            scratch: Scratch::default(),
            manifest,
        }
    }

    /// The state, to be filled with the keys that Postgres holds.
    pub fn known_keys(&mut self) -> &mut KnownKeys {
        &mut self.known
    }

    /// Decides where each line of a batch of one dataset goes. `now` is the time of the dead letters.
    pub fn apply(&mut self, dataset: usize, raw: &Batch, now: SystemTime) -> TransformOutput {
        let mut outcome = TransformOutput {
            accepted: Batch::with_capacity(raw.as_bytes().len()),
            ..TransformOutput::default()
        };
        let kind = self.manifest.datasets[dataset].key_column().kind;
        for record in raw.iter() {
            let Some(line) = Line::parse(record.value) else {
                outcome.foreign += 1;
                continue;
            };
            if !self.validators[dataset].reads(line.fingerprint) {
                outcome.other_columns += 1;
                continue;
            }
            let (event, reasons) = match self.validators[dataset].check(line.text, &mut self.scratch) {
                Ok(row) => {
                    let missing =
                        missing_references(&self.manifest, &self.validators, &self.known, dataset, &row);
                    if missing.is_empty() {
                        let text = row.canonical;
                        outcome.accepted.push_with(row.key(), |out| Line { text, ..line }.write(out));
                        self.known.learn(dataset, kind, row.key());
                        continue;
                    }
                    (Event::Waiting, missing)
                }
                Err(reasons) => (Event::Rejected, reasons),
            };
            let name = &self.manifest.datasets[dataset].name;
            let stage = Stage::Transform;
            let mut letter = DeadLetter::new(event, stage, line.position, name, line.text, reasons, now);
            letter.fingerprint = line.fingerprint;
            let key = self.validators[dataset].key_of(line.text);
            outcome.dead_letters.push_with(key, |out| letter.write(out));
        }
        outcome
    }
}

fn missing_references(
    manifest: &Manifest,
    validators: &[Validator],
    known: &KnownKeys,
    dataset: usize,
    row: &Row<'_>,
) -> Vec<Reason> {
    let Dataset { columns, .. } = &manifest.datasets[dataset];
    // Only the sink can tell whether a row of the same dataset exists, because both rows may come in one batch.
    let to_others = validators[dataset].references().iter().filter(|reference| reference.dataset != dataset);
    let missing = to_others.filter_map(|reference| {
        let (value, parent) = (row.value(reference.column)?, &manifest.datasets[reference.dataset]);
        let exists = known.may_exist(reference.dataset, parent.key_column().kind, value);
        (!exists).then(|| unknown_reference(&columns[reference.column].name, &parent.name, value))
    });
    missing.collect()
}
