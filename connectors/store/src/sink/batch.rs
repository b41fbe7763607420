//! A delivery in the form in which the sink applies it: per dataset, rows ready for `copy`; and the dead letters.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tidegate_core::contract::{ConsumerOffset, Delivery};
use tidegate_core::dead_letter::{DeadLetter, Event, Reason, Stage};
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::Manifest;
use tidegate_core::position::Position;
use tidegate_core::record::Line;
use tidegate_core::shape::{Form, Mapping, Shape};
use tidegate_core::split::Fields;
use tidegate_core::syntax::Dialect;
use tidegate_core::validate::{Scratch, Validators};
use tidegate_postgres::error::is_about_values;
use tracing::warn;

use super::references::Values;
use crate::filter::LetterStatus;
use crate::ledger::ChunkWrites;

/// All lines of a delivery, or of one round of healing or replaying. Opaque outside the sink.
#[derive(Default)]
pub struct RowBatch {
    /// By dataset.
    pub(super) rows: Vec<DatasetRows>,
    /// The dead letters, in the order in which they came. A row that was a dead letter points to its index here.
    pub(super) letters: Vec<BatchLetter>,
    /// The offsets of the sink's readers after this batch.
    pub(super) consumed: Vec<ConsumerOffset>,
}

/// The rows of one dataset.
#[derive(Default)]
pub(super) struct DatasetRows {
    /// For each row `source,line,` and the canonical line, ended by a line feed: the input of `copy`.
    pub(super) text: Bytes,
    /// The rows, in the order in which they came.
    pub(super) lines: Vec<BatchRow>,
    /// The values by which the rows reference other rows, by reference.
    pub(super) references: Vec<Values>,
}

/// The place of a row in [`DatasetRows::text`], as byte offsets.
#[derive(Clone, Copy)]
pub(super) struct BatchRow {
    pub(super) position: Position,
    /// The index of the dead letter that the row was, if it was one, in [`RowBatch::letters`].
    pub(super) letter: Option<u32>,
    start: u32,
    canonical: u32,
    end: u32,
}

impl DatasetRows {
    /// Returns `source,line,` and the canonical line, ended by a line feed.
    pub(super) fn copy_text(&self, row: &BatchRow) -> Bytes {
        self.text.slice(row.start as usize..row.end as usize)
    }

    /// Returns whether the text holds these rows alone. The parts of a divided batch share the text of the whole.
    pub(super) fn is_whole(&self) -> bool {
        let ends = self.lines.first().zip(self.lines.last()).map(|(first, last)| (first.start, last.end));
        ends.is_none_or(|(start, end)| start == 0 && end as usize == self.text.len())
    }

    pub(super) fn canonical(&self, row: &BatchRow) -> &[u8] {
        &self.text[row.canonical as usize..row.end as usize - 1]
    }

    /// Splits the canonical line into `fields`. Returns the line.
    pub(super) fn split(&self, row: &BatchRow, fields: &mut Fields) -> &[u8] {
        let text = self.canonical(row);
        // The line was written by `split::write_field`, which closes every quote.
        fields.split(text, &Dialect::STANDARD).expect("a canonical line has no open quote");
        text
    }

    /// Returns the texts of some columns in some of the rows: for each column those of all rows.
    pub(super) fn columns<'a>(
        &self,
        rows: impl Iterator<Item = &'a BatchRow>,
        columns: &[usize],
    ) -> Vec<Vec<String>> {
        let mut fields = Fields::default();
        let mut texts = vec![Vec::new(); columns.len()];
        for row in rows {
            let text = self.split(row, &mut fields);
            for (texts, column) in texts.iter_mut().zip(columns) {
                texts.push(String::from_utf8_lossy(fields.get(*column, text)).into_owned());
            }
        }
        texts
    }
}

/// A dead letter on its way into its table.
#[derive(Clone)]
pub(super) struct BatchLetter {
    pub(super) dataset: usize,
    pub(super) position: Position,
    pub(super) stage: Stage,
    pub(super) event: Event,
    pub(super) text: Option<String>,
    pub(super) bytes: Option<String>,
    pub(super) length: Option<u64>,
    pub(super) blake3: Option<String>,
    pub(super) reasons: Vec<Reason>,
    /// The form of the text of a new letter.
    pub(super) form: Form,
    /// The shape of its text; `None` for a letter that is new.
    pub(super) shape: Option<Arc<Shape>>,
    /// The values of columns that the manifest no longer has, as JSON.
    pub(super) dropped: Option<String>,
    /// Its stored state; `None` if it is new.
    pub(super) stored: Option<StoredState>,
}

impl BatchLetter {
    /// A new letter with its line alone.
    pub(super) fn new(
        dataset: usize,
        position: Position,
        stage: Stage,
        event: Event,
        text: Option<String>,
    ) -> Self {
        Self {
            dataset,
            position,
            stage,
            event,
            text,
            bytes: None,
            length: None,
            blake3: None,
            reasons: Vec::new(),
            form: if stage == Stage::Sink { Form::Canonical } else { Form::Given },
            shape: None,
            dropped: None,
            stored: None,
        }
    }
}

/// A dead letter that is stored already and is tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredState {
    /// The set of the ledger that holds its line.
    pub(super) set: Fate,
    /// The number of its replays.
    pub(super) attempt: i32,
    /// The replay that has claimed it; `None` for a waiting letter that may heal.
    pub(super) claim: Option<Claim>,
}

/// A replay that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// The number of the move in `tidegate.moves`.
    pub(super) number: i64,
    /// Whether the text was edited, so that it differs from the letter's.
    pub(super) edited: bool,
    /// The number of the shape of the edited text.
    pub(super) shape: Option<i64>,
}

impl StoredState {
    /// Returns the status that the letter has until it is settled.
    pub(super) fn status(self) -> LetterStatus {
        if self.claim.is_some() { LetterStatus::Claimed } else { LetterStatus::Waiting }
    }
}

/// Builds a [`RowBatch`] from a delivery or from stored dead letters.
pub(super) struct BatchReader<'a> {
    manifest: &'a Manifest,
    validators: &'a [Validators],
    texts: Vec<Vec<u8>>,
    batch: RowBatch,
    scratch: Scratch,
}

impl<'a> BatchReader<'a> {
    pub(super) fn new(manifest: &'a Manifest, validators: &'a [Validators]) -> Self {
        let datasets = validators.len();
        let rows = (0..datasets).map(|_| DatasetRows::default()).collect();
        let batch = RowBatch { rows, ..RowBatch::default() };
        let texts = vec![Vec::new(); datasets];
        Self { manifest, validators, texts, batch, scratch: Scratch::at(SystemTime::now()) }
    }

    /// Reads a delivery. Records that Tidegate did not write, and lines in another form than the manifest's, are left
    /// out with a warning.
    pub(super) fn delivery(mut self, delivery: &Delivery) -> RowBatch {
        let (manifest, mut other_columns) = (self.manifest, 0u64);
        for (dataset, (text, rows)) in self.texts.iter_mut().zip(&mut self.batch.rows).enumerate() {
            let its = || delivery.rows.iter().filter(|(of, _)| *of == dataset).map(|(_, records)| records);
            text.reserve_exact(its().map(|records| records.as_bytes().len()).sum());
            rows.lines.reserve_exact(its().map(|records| records.len()).sum());
        }
        for (dataset, records) in &delivery.rows {
            for record in records.iter() {
                match Line::parse(record.value) {
                    Some(line) if self.validators[*dataset].form(line.fingerprint).is_some() => {
                        self.row(*dataset, line, None);
                    }
                    Some(_) => other_columns += 1,
                    None => warn!(
                        dataset = manifest.datasets[*dataset].name,
                        "skipped a record of another's making"
                    ),
                }
            }
        }
        for record in delivery.dead_letters.iter().flat_map(|batch| batch.iter()) {
            let parsed = DeadLetter::parse(record.value).ok();
            let known = parsed.and_then(|letter| Some((manifest.dataset(&letter.dataset)?.0, letter)));
            match known {
                Some((dataset, letter)) => match self.validators[dataset].form(letter.fingerprint) {
                    Some(form) => {
                        let position = letter.position();
                        let DeadLetter { stage, event, text, bytes, length, blake3, reasons, .. } = letter;
                        let text = text.map(String::from);
                        let letter = BatchLetter::new(dataset, position, stage, event, text);
                        self.letter(BatchLetter { form, bytes, length, blake3, reasons, ..letter });
                    }
                    None => other_columns += 1,
                },
                None => warn!("skipped a dead letter of another's making"),
            }
        }
        if other_columns > 0 {
            warn!(lines = other_columns, "skipped lines in columns of before; their files are read again");
        }
        self.batch.consumed = delivery.consumed.clone();
        self.finish()
    }

    /// Adds a dead letter. A waiting letter is added as a row too, because its references may exist now.
    pub(super) fn letter(&mut self, mut letter: BatchLetter) {
        let index = self.batch.letters.len() as u32;
        let BatchLetter { dataset, position, .. } = letter;
        if letter.event == Event::Waiting {
            let mut scratch = std::mem::take(&mut self.scratch);
            let text = letter.text.as_deref().unwrap_or_default().as_bytes();
            let by_sink = letter.stage == Stage::Sink;
            let definition = &self.manifest.datasets[dataset];
            let (form, mut mapping) = match &letter.shape {
                Some(shape) => shape.form_of_letter(definition, by_sink),
                None => (letter.form, None),
            };
            let validator = self.validators[dataset].of(form);
            let mut mapped = Vec::new();
            let checked = match &mut mapping {
                None => validator.check(text, &mut scratch),
                Some(mapping) => match mapping.write(text, None, &mut mapped) {
                    Ok(()) => validator.check(&mapped, &mut scratch),
                    Err(reason) => Err(vec![reason]),
                },
            };
            match checked {
                Ok(row) => {
                    letter.dropped = mapping.and_then(|mapping| dropped(&mapping, text));
                    self.row(dataset, Line { fingerprint: 0, position, text: row.canonical }, Some(index));
                }
                // The line kept the rules when it was checked first; the manifest has changed since.
                Err(reasons) => {
                    letter.event = Event::Rejected;
                    letter.reasons = reasons;
                }
            }
            self.scratch = scratch;
        }
        self.batch.letters.push(letter);
    }

    /// Adds a row, with the index of its dead letter, if it was one.
    fn row(&mut self, dataset: usize, line: Line<'_>, letter: Option<u32>) {
        let text = &mut self.texts[dataset];
        let start = text.len() as u32;
        line.write_without_fingerprint(text);
        let canonical = (text.len() - line.text.len()) as u32;
        text.push(b'\n');
        let end = text.len() as u32;
        let position = line.position;
        self.batch.rows[dataset].lines.push(BatchRow { position, letter, start, canonical, end });
    }

    pub(super) fn finish(mut self) -> RowBatch {
        for (rows, text) in self.batch.rows.iter_mut().zip(self.texts) {
            rows.text = Bytes::from(text);
        }
        self.batch.collect_references(self.validators);
        self.batch
    }
}

/// The values of a mapped line in columns that the manifest no longer has, as a JSON object.
fn dropped(mapping: &Mapping, text: &[u8]) -> Option<String> {
    let values = mapping.dropped(text);
    let values: serde_json::Map<String, serde_json::Value> = values
        .map(|(column, value)| (column.to_owned(), String::from_utf8_lossy(value).into_owned().into()))
        .collect();
    (!values.is_empty()).then(|| serde_json::Value::Object(values).to_string())
}

impl RowBatch {
    /// The dead letter that a row was, if it was one.
    pub(super) fn letter_of(&self, row: &BatchRow) -> Option<&BatchLetter> {
        row.letter.map(|letter| &self.letters[letter as usize])
    }

    /// The number of rows and letters. A row that was a dead letter counts twice.
    pub(super) fn len(&self) -> usize {
        self.rows.iter().map(|rows| rows.lines.len()).sum::<usize>() + self.letters.len()
    }

    /// Divides the batch into two halves. Rows of the datasets that others reference come first, letters that are no
    /// rows last. The second half has the readers' offsets. `None` if the batch is a single line.
    pub(super) fn halves(&self, validators: &[Validators]) -> Option<(Self, Self)> {
        let rows: usize = self.rows.iter().map(|rows| rows.lines.len()).sum();
        let letters = self.letters_without_rows();
        let lines = rows + letters.len();
        if lines < 2 {
            return None;
        }
        let empty = || {
            let rows = self
                .rows
                .iter()
                .map(|rows| DatasetRows { text: rows.text.clone(), ..DatasetRows::default() });
            Self { rows: rows.collect(), ..Self::default() }
        };
        let mut halves = [empty(), empty()];
        let mut taken = 0;
        let mut next = || {
            taken += 1;
            usize::from(taken > lines / 2)
        };
        for (dataset, rows) in self.rows.iter().enumerate() {
            for row in &rows.lines {
                let half = &mut halves[next()];
                let letter = row.letter.map(|letter| {
                    half.letters.push(self.letters[letter as usize].clone());
                    half.letters.len() as u32 - 1
                });
                half.rows[dataset].lines.push(BatchRow { letter, ..*row });
            }
        }
        for letter in letters {
            halves[next()].letters.push(letter.clone());
        }
        halves.iter_mut().for_each(|half| half.collect_references(validators));
        let [first, mut second] = halves;
        second.consumed = self.consumed.clone();
        Some((first, second))
    }

    fn collect_references(&mut self, validators: &[Validators]) {
        for (rows, validators) in self.rows.iter_mut().zip(validators) {
            rows.references = Values::collect(validators.of(Form::Canonical).references(), rows);
        }
    }

    /// Returns the letters that are no rows too.
    pub(super) fn letters_without_rows(&self) -> Vec<&BatchLetter> {
        let mut is_row = vec![false; self.letters.len()];
        let letters = self.rows.iter().flat_map(|rows| rows.lines.iter().filter_map(|row| row.letter));
        letters.for_each(|letter| is_row[letter as usize] = true);
        let letters = self.letters.iter().zip(is_row);
        letters.filter(|(_, is_row)| !is_row).map(|(letter, _)| letter).collect()
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        let rows = self.rows.iter().flat_map(|rows| rows.lines.iter().map(|row| row.position));
        rows.chain(self.letters.iter().map(|letter| letter.position))
    }
}

/// The transaction's decisions about the rows of one dataset.
#[derive(Default)]
pub(super) struct Verdicts {
    /// The indexes of the accepted rows, before and after they are written.
    pub(super) accepted: Vec<u32>,
    /// The rows that the accepted lines wrote.
    pub(super) writes: ChunkWrites,
    /// The other rows, each with its reasons and its fate: waiting or rejected.
    pub(super) set_aside: Vec<UnwrittenRow>,
    /// The number of lines that the ledger held already.
    pub(super) duplicates: u64,
    /// The rows that Postgres refused when they were written one by one.
    pub(super) refusals: Refusals,
}

/// The refusals of rows by Postgres, and whether they are alike.
#[derive(Default)]
pub(super) struct Refusals {
    rows: usize,
    /// The SQLSTATE of all refusals; `None` if they differ.
    state: Option<String>,
    /// The message of all refusals; `None` if the messages differ, for example because they repeat values of the
    /// rows.
    message: Option<String>,
}

impl Refusals {
    pub(super) fn add(&mut self, state: &str, message: &str) {
        if self.rows == 0 {
            (self.state, self.message) = (Some(state.to_owned()), Some(message.to_owned()));
        } else {
            self.state.take_if(|its| its != state);
            self.message.take_if(|its| its != message);
        }
        self.rows += 1;
    }

    /// If Postgres refused all of the `tried` rows with one SQLSTATE that is not about values, returns the error as
    /// text and whether all messages were equal. Otherwise `None`.
    pub(super) fn of_all(&self, tried: usize) -> Option<(String, bool)> {
        let state = self.state.as_deref().filter(|state| self.rows == tried && !is_about_values(state))?;
        Some(match &self.message {
            Some(message) => (format!("{message} (SQLSTATE {state})"), true),
            None => (format!("SQLSTATE {state}, with a message of its own for each"), false),
        })
    }
}

/// A row that is not written, with its fate.
pub(super) struct UnwrittenRow {
    pub(super) row: u32,
    pub(super) fate: Fate,
    pub(super) reasons: Vec<Reason>,
    /// For a waiting row, the references that it lacks, by name, each with its value or its list of values, as a JSON
    /// object.
    pub(super) awaits: Option<String>,
}
