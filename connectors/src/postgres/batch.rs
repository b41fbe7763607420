//! A delivery as the sink works on it: per dataset, rows ready for `copy`; and the dead letters.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::contract::{Consumed, Delivery};
use tidegate_core::dead_letter::{DeadLetter, Event, Reason, Stage};
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::Manifest;
use tidegate_core::position::Position;
use tidegate_core::record::Line;
use tidegate_core::shape::{Mapping, Shape};
use tidegate_core::validate::Scratch;
use tracing::warn;

use super::Validators;
use super::error::is_about_values;
use super::ledger::ChunkWrites;
use super::references::Values;

/// All lines of a delivery, or of a round of healing. Opaque outside the sink.
#[derive(Default)]
pub struct Batch {
    /// By dataset.
    pub(super) rows: Vec<Rows>,
    /// Dead letters as they came; rows that were one point here.
    pub(super) letters: Vec<Letter>,
    /// How far the sink's readers are behind this batch.
    pub(super) consumed: Vec<Consumed>,
}

/// Rows of one dataset.
#[derive(Default)]
pub(super) struct Rows {
    /// For each row `source,line,` and the canonical line, each ended by a line feed: what `copy` reads.
    pub(super) text: Bytes,
    /// The rows, in the order in which they came.
    pub(super) lines: Vec<Row>,
    /// What they reference, by column.
    pub(super) references: Vec<Values>,
}

/// Where a row stands in [`Rows::text`].
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) position: Position,
    pub(super) attempt: u32,
    /// The index of the dead letter that the row was, if it was one.
    pub(super) letter: Option<u32>,
    start: u32,
    canonical: u32,
    end: u32,
}

impl Rows {
    /// `source,line,` and the canonical line, ended by a line feed.
    pub(super) fn copy_text(&self, row: &Row) -> Bytes {
        self.text.slice(row.start as usize..row.end as usize)
    }

    /// Whether the rows are all that the text has: those of a part share it with others.
    pub(super) fn is_whole(&self) -> bool {
        let ends = self.lines.first().zip(self.lines.last()).map(|(first, last)| (first.start, last.end));
        ends.is_none_or(|(start, end)| start == 0 && end as usize == self.text.len())
    }

    /// The canonical line.
    pub(super) fn canonical(&self, row: &Row) -> &[u8] {
        &self.text[row.canonical as usize..row.end as usize - 1]
    }
}

/// A dead letter on its way into its table.
#[derive(Clone)]
pub(super) struct Letter {
    pub(super) dataset: usize,
    pub(super) position: Position,
    pub(super) attempt: u32,
    pub(super) stage: Stage,
    pub(super) event: Event,
    pub(super) text: Option<String>,
    pub(super) bytes: Option<String>,
    pub(super) length: Option<u64>,
    pub(super) blake3: Option<String>,
    pub(super) reasons: Vec<Reason>,
    /// How its text is read; `None` for one that comes now.
    pub(super) shape: Option<Arc<Shape>>,
    /// What it holds of columns that the manifest does not have any more, as JSON.
    pub(super) dropped: Option<String>,
    /// Where it stands already; `None` if it is new.
    pub(super) stored: Option<Stored>,
}

/// A dead letter that stands in its table already, and is tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    /// The set of the ledger that its line is in.
    pub(super) set: Fate,
    /// The replay that it is claimed for; `None` where it may heal.
    pub(super) claim: Option<Claim>,
}

/// A replay that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// Its number in `tidegate.moves`.
    pub(super) number: i64,
    /// Whether the text is another than the letter's.
    pub(super) edited: bool,
    /// The number of the shape of that text.
    pub(super) shape: Option<i64>,
}

impl Stored {
    /// A waiting line, whose references may be there by now.
    pub(super) const WAITING: Self = Self { set: Fate::Waiting, claim: None };

    /// The status that the letter has until it is settled.
    pub(super) fn status(self) -> &'static str {
        if self.claim.is_some() { "claimed" } else { "waiting" }
    }
}

/// Reads deliveries.
pub(super) struct Reader<'a> {
    manifest: &'a Manifest,
    validators: &'a Validators,
    texts: Vec<Vec<u8>>,
    batch: Batch,
    scratch: Scratch,
}

impl<'a> Reader<'a> {
    pub(super) fn new(manifest: &'a Manifest, validators: &'a Validators) -> Self {
        let datasets = validators.as_given.len();
        let rows = (0..datasets).map(|_| Rows::default()).collect();
        let batch = Batch { rows, ..Batch::default() };
        let texts = vec![Vec::new(); datasets];
        Self { manifest, validators, texts, batch, scratch: Scratch::default() }
    }

    /// Takes in a delivery. What is on a topic but not Tidegate's is left out, with a warning.
    pub(super) fn delivery(mut self, delivery: &Delivery) -> Batch {
        let (manifest, mut other_form) = (self.manifest, 0u64);
        for (dataset, (text, rows)) in self.texts.iter_mut().zip(&mut self.batch.rows).enumerate() {
            let its = || delivery.rows.iter().filter(|(of, _)| *of == dataset).map(|(_, records)| records);
            text.reserve_exact(its().map(|records| records.as_bytes().len()).sum());
            rows.lines.reserve_exact(its().map(|records| records.len()).sum());
        }
        for (dataset, records) in &delivery.rows {
            for record in records.iter() {
                match Line::parse(record.value) {
                    Some(line) if self.validators.as_given[*dataset].reads(line.form) => {
                        self.row(*dataset, line, (0, None));
                    }
                    Some(_) => other_form += 1,
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
                Some((dataset, letter)) if !self.validators.as_given[dataset].reads(letter.form) => {
                    other_form += 1
                }
                Some((dataset, letter)) => self.letter(Letter {
                    dataset,
                    position: letter.position(),
                    attempt: 0,
                    stage: letter.stage,
                    event: letter.event,
                    text: letter.text.map(String::from),
                    bytes: letter.bytes,
                    length: letter.length,
                    blake3: letter.blake3,
                    reasons: letter.reasons,
                    shape: None,
                    dropped: None,
                    stored: None,
                }),
                None => warn!("skipped a dead letter of another's making"),
            }
        }
        if other_form > 0 {
            warn!(lines = other_form, "skipped lines in columns of before; their files are read again");
        }
        self.batch.consumed = delivery.consumed.clone();
        self.finish()
    }

    /// Takes in a dead letter. One that waits is a row as well: its reference may exist by now.
    pub(super) fn letter(&mut self, mut letter: Letter) {
        let index = self.batch.letters.len() as u32;
        let Letter { dataset, position, attempt, .. } = letter;
        if letter.event == Event::Waiting {
            let mut scratch = std::mem::take(&mut self.scratch);
            let text = letter.text.as_deref().unwrap_or_default().as_bytes();
            let is_canonical = letter.stage == Stage::Sink;
            let validators =
                if is_canonical { &self.validators.canonical } else { &self.validators.as_given };
            let shape = letter.shape.as_deref();
            let definition = &self.manifest.datasets[dataset];
            let mut mapping = shape.and_then(|shape| shape.mapping(definition, is_canonical));
            let mut mapped = Vec::new();
            let checked = match &mut mapping {
                None => validators[dataset].check(text, &mut scratch),
                Some(mapping) => match mapping.write(text, None, &mut mapped) {
                    Ok(()) => validators[dataset].check(&mapped, &mut scratch),
                    Err(reason) => Err(vec![reason]),
                },
            };
            match checked {
                Ok(row) => {
                    letter.dropped = mapping.and_then(|mapping| dropped(&mapping, text));
                    self.row(
                        dataset,
                        Line { form: 0, position, text: row.canonical },
                        (attempt, Some(index)),
                    );
                }
                // The manifest has changed since the line was found good.
                Err(reasons) => {
                    letter.event = Event::Rejected;
                    letter.reasons = reasons;
                }
            }
            self.scratch = scratch;
        }
        self.batch.letters.push(letter);
    }

    /// Takes in a row: at which replay it is, and of which letter.
    fn row(&mut self, dataset: usize, line: Line<'_>, (attempt, letter): (u32, Option<u32>)) {
        let text = &mut self.texts[dataset];
        let start = text.len() as u32;
        line.write_without_form(text);
        let canonical = (text.len() - line.text.len()) as u32;
        text.push(b'\n');
        let end = text.len() as u32;
        let position = line.position;
        self.batch.rows[dataset].lines.push(Row { position, attempt, letter, start, canonical, end });
    }

    pub(super) fn finish(mut self) -> Batch {
        let rows = self.batch.rows.iter_mut().zip(&self.validators.as_given);
        for ((rows, validator), text) in rows.zip(self.texts) {
            rows.text = Bytes::from(text);
            rows.references = Values::collect(validator.references(), rows);
        }
        self.batch
    }
}

/// What a mapped line holds of columns that are gone, as JSON.
fn dropped(mapping: &Mapping, text: &[u8]) -> Option<String> {
    let values = mapping.dropped(text);
    let values: serde_json::Map<String, serde_json::Value> = values
        .map(|(column, value)| (column.to_owned(), String::from_utf8_lossy(value).into_owned().into()))
        .collect();
    (!values.is_empty()).then(|| serde_json::Value::Object(values).to_string())
}

impl Batch {
    /// Whether a letter stands in its table already.
    pub(super) fn is_stored(&self, letter: u32) -> bool {
        self.letters[letter as usize].stored.is_some()
    }

    /// How many rows and letters it has, of which a row that was a letter counts twice.
    pub(super) fn len(&self) -> usize {
        self.rows.iter().map(|rows| rows.lines.len()).sum::<usize>() + self.letters.len()
    }

    /// The same in two: rows of the datasets that others reference first, letters that are no rows last. How far readers
    /// are goes with the second. `None` if it is a single line.
    pub(super) fn halves(&self, validators: &Validators) -> Option<(Self, Self)> {
        let rows: usize = self.rows.iter().map(|rows| rows.lines.len()).sum();
        let is_row: Vec<bool> = {
            let mut is_row = vec![false; self.letters.len()];
            let letters = self.rows.iter().flat_map(|rows| rows.lines.iter().filter_map(|row| row.letter));
            letters.for_each(|letter| is_row[letter as usize] = true);
            is_row
        };
        let lines = rows + is_row.iter().filter(|is_row| !**is_row).count();
        if lines < 2 {
            return None;
        }
        let mut parts = [Part::default(), Part::default()];
        let mut taken = 0;
        let mut next = || {
            taken += 1;
            usize::from(taken > lines / 2)
        };
        for (dataset, rows) in self.rows.iter().enumerate() {
            for row in &rows.lines {
                let part = &mut parts[next()];
                let letter = row.letter.map(|letter| part.letter(&self.letters[letter as usize]));
                part.rows.push((dataset, Row { letter, ..*row }));
            }
        }
        for (letter, _) in self.letters.iter().zip(&is_row).filter(|(_, is_row)| !**is_row) {
            parts[next()].letter(letter);
        }
        let [first, mut second] = parts.map(|part| part.batch(self, validators));
        second.consumed = self.consumed.clone();
        Some((first, second))
    }

    /// The position of every line.
    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        let rows = self.rows.iter().flat_map(|rows| rows.lines.iter().map(|row| row.position));
        rows.chain(self.letters.iter().map(|letter| letter.position))
    }
}

/// A part of a batch.
#[derive(Default)]
struct Part {
    /// Each with its dataset.
    rows: Vec<(usize, Row)>,
    letters: Vec<Letter>,
}

impl Part {
    /// Adds a letter. Gives its index.
    fn letter(&mut self, letter: &Letter) -> u32 {
        self.letters.push(letter.clone());
        self.letters.len() as u32 - 1
    }

    /// The part; it shares the text of the whole.
    fn batch(self, whole: &Batch, validators: &Validators) -> Batch {
        let mut batch = Batch { letters: self.letters, ..Batch::default() };
        let mut lines: Vec<Vec<Row>> = whole.rows.iter().map(|_| Vec::new()).collect();
        self.rows.into_iter().for_each(|(dataset, row)| lines[dataset].push(row));
        for ((rows, lines), validator) in whole.rows.iter().zip(lines).zip(&validators.as_given) {
            let mut part = Rows { text: rows.text.clone(), lines, references: Vec::new() };
            part.references = Values::collect(validator.references(), &part);
            batch.rows.push(part);
        }
        batch
    }
}

/// What the transaction has found out about the rows of one dataset.
#[derive(Default)]
pub(super) struct Verdicts {
    /// The indexes of the rows that are to be written, or are.
    pub(super) accepted: Vec<u32>,
    /// What these wrote.
    pub(super) writes: ChunkWrites,
    /// The others, with the reasons and whether they wait or are rejected.
    pub(super) set_aside: Vec<SetAside>,
    /// How many the ledger held already.
    pub(super) duplicates: u64,
    /// The rows that Postgres refused one by one.
    pub(super) refusals: Refusals,
}

/// How Postgres refused rows.
#[derive(Default)]
pub(super) struct Refusals {
    rows: usize,
    /// The SQLSTATE that all of them have; `None` where they differ.
    state: Option<String>,
    /// What Postgres said to all of them; `None` where that differs, as where it repeats their values.
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

    /// How all of `tried` rows were refused in one way that is not about their values, and whether in the same words;
    /// `None` if they were not.
    pub(super) fn of_all(&self, tried: usize) -> Option<(String, bool)> {
        let state = self.state.as_deref().filter(|state| self.rows == tried && !is_about_values(state))?;
        Some(match &self.message {
            Some(message) => (format!("{message} (SQLSTATE {state})"), true),
            None => (format!("SQLSTATE {state}, with a message of its own for each"), false),
        })
    }
}

/// A row that is not written.
pub(super) struct SetAside {
    pub(super) row: u32,
    pub(super) fate: Fate,
    pub(super) reasons: Vec<Reason>,
    /// For a waiting row: the columns whose reference is missing, with the value, as a JSON object.
    pub(super) awaits: Option<String>,
}
