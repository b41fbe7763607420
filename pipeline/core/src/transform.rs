//! The transform: a pure function of its state and a batch of raw records.
//!
//! A line that breaks no rule goes to the accepted topic of its dataset. If one of its references is not known, it
//! goes to `dead-letters` as waiting instead. A line that breaks a rule goes to `dead-letters` as rejected, with
//! every reason.

use std::sync::Arc;
use std::time::SystemTime;

use crate::dead_letter::{DeadLetter, Event, Reason, Stage};
use crate::manifest::{Dataset, Kind, Manifest, Reference};
use crate::record::{Batch, Line};
use crate::references::KnownKeys;
use crate::validate::{Row, Scratch, Validators, unknown_reference};

/// The transform of a pipeline, with its state: the known keys of referenced datasets.
#[derive(Debug)]
pub struct Transform {
    manifest: Arc<Manifest>,
    validators: Vec<Validators>,
    /// The types of the keys, by dataset.
    keys: Vec<Vec<Kind>>,
    known: KnownKeys,
    scratch: Scratch,
    /// The key of the line at hand, if it is not a part of the line.
    key: Vec<u8>,
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
        let references = manifest.datasets.iter().flat_map(|dataset| &dataset.references);
        let to_keys = references.filter(|reference| is_to_key(&manifest, reference));
        to_keys.for_each(|reference| referenced[reference.dataset] = true);
        Self {
            validators: manifest.datasets.iter().map(Validators::new).collect(),
            keys: manifest.datasets.iter().map(Dataset::key_kinds).collect(),
            known: KnownKeys::new(&referenced, keys_max),
            scratch: Scratch::default(),
            key: Vec::new(),
            manifest,
        }
    }

    /// The state, to be filled with the keys that Postgres holds. Those of a table are known under its first dataset.
    pub fn known_keys(&mut self) -> &mut KnownKeys {
        &mut self.known
    }

    /// Decides where each line of a batch of one dataset goes. `now` is the time of the dead letters, and of values whose
    /// default is `now`.
    pub fn apply(&mut self, dataset: usize, raw: &Batch, now: SystemTime) -> TransformOutput {
        let mut outcome = TransformOutput {
            accepted: Batch::with_capacity(raw.as_bytes().len()),
            ..TransformOutput::default()
        };
        self.scratch.set_now(now);
        for record in raw.iter() {
            let Some(line) = Line::parse(record.value) else {
                outcome.foreign += 1;
                continue;
            };
            let Some(validator) = self.validators[dataset].reading(line.fingerprint) else {
                outcome.other_columns += 1;
                continue;
            };
            let (event, reasons) = match validator.check(line.text, &mut self.scratch) {
                Ok(row) => {
                    let missing = missing_references(
                        &self.manifest,
                        (&self.keys, &self.known),
                        dataset,
                        &row,
                        &mut self.key,
                    );
                    if missing.is_empty() {
                        let (text, key) = (row.canonical, row.key(line.position, &mut self.key));
                        outcome.accepted.push_with(key, |out| Line { text, ..line }.write(out));
                        self.known.learn(self.manifest.datasets[dataset].of_table, &self.keys[dataset], key);
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
            let write_key = |out: &mut Vec<u8>| validator.write_key(line.position, line.text, out);
            outcome.dead_letters.push_written(write_key, |out| letter.write(out));
        }
        outcome
    }
}

/// Whether a reference leads to a key. The transform knows keys, and no values of other columns: the sink decides
/// references to those.
fn is_to_key(manifest: &Manifest, reference: &Reference) -> bool {
    reference.to == manifest.datasets[reference.dataset].key
}

fn missing_references(
    manifest: &Manifest,
    (keys, known): (&[Vec<Kind>], &KnownKeys),
    dataset: usize,
    row: &Row<'_>,
    scratch: &mut Vec<u8>,
) -> Vec<Reason> {
    let own = &manifest.datasets[dataset];
    // Only the sink can tell whether a row of the same table exists, because both rows may come in one batch.
    let to_others = own.references.iter().filter(|reference| reference.dataset != own.of_table);
    let missing = to_others.filter(|reference| is_to_key(manifest, reference)).filter_map(|reference| {
        let value = row.values(&reference.columns, scratch)?;
        let exists = known.may_exist(reference.dataset, &keys[reference.dataset], value);
        let parent = &manifest.datasets[reference.dataset].name;
        (!exists).then(|| unknown_reference(&reference.name(own), parent, value))
    });
    missing.collect()
}
