//! Reads a registered file into lines with their positions.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use tidegate_core::contract::{Error, SourceBatch};
use tidegate_core::dead_letter::{DeadLetter, Event, Reason, Stage};
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::position::Position;
use tidegate_core::record::{Batch, Line};
use tidegate_core::registry::Registry;
use tidegate_core::shape::{Form, Mapping, Shape};
use tidegate_core::split::{SkippedLines, Splitter, Step, TooLong};
use tidegate_core::validate::{Validators, unreadable};

use crate::blocks::Next;
use crate::content::Content;
use crate::file::{self, BLOCK_BYTES, OpenFile};
use crate::resume_point::ResumePoint;

/// What [`Reading::next`] returns.
#[derive(Debug)]
pub enum NextLines {
    /// Lines to emit.
    Lines(SourceBatch),
    /// There are no more lines. Asked again, it returns the same.
    Ended {
        /// How many lines the source has.
        lines: u64,
        /// Whether all of the file was read. If not, it changed.
        whole: bool,
        /// How many lines of the file are no records. None are counted of a file that changed.
        skipped: SkippedLines,
    },
}

/// A registered file that is being read.
#[derive(Debug)]
pub struct Reading {
    pub(super) source: u64,
    content: Content,
    passed: ResumePoint,
    /// The number of the last line that was read.
    line: u64,
    lines_min: u64,
    /// The number of the last line, once the file has changed.
    closed_at: Option<u64>,
    /// How many lines were emitted.
    pub(super) given: u64,
    /// The capacity of the next batch, in bytes.
    capacity: usize,
    /// A line in the manifest's columns.
    ordered: Vec<u8>,
}

/// Why a batch ends.
enum Stop {
    Full,
    /// The ledger must be asked about this line.
    Ask(u64),
    Block,
    End,
}

impl Reading {
    /// Begins to read a file. The source has at least `lines_min` lines.
    pub(super) fn new(source: u64, content: Content, passed: ResumePoint, lines_min: u64) -> Self {
        let capacity = (content.opened.stamp.size as usize).saturating_mul(2).min(content.intake_bytes());
        let (line, given, closed_at) = (0, 0, None);
        say_what_is_left_out(source, content.mapping.as_ref());
        Self { source, content, passed, line, lines_min, closed_at, given, capacity, ordered: Vec::new() }
    }

    pub(super) fn opened(&self) -> &OpenFile {
        &self.content.opened
    }

    /// Reads a file once more, up to its first line, by the same code that read it first. The registry is not asked
    /// about any line: all are emitted.
    pub fn again(source: u64, opened: OpenFile, manifest: &Manifest) -> io::Result<Self> {
        Ok(Self::new(source, Content::start(opened, manifest, BLOCK_BYTES)?, ResumePoint::none(), 0))
    }

    /// Returns the shape with which the text is read.
    pub fn shape(&self) -> &Shape {
        &self.content.shape
    }

    /// Returns the next lines. A call after an error continues where the last one was.
    pub async fn next(
        &mut self,
        manifest: &Manifest,
        validators: &Validators,
        registry: &impl Registry,
    ) -> Result<NextLines, Error> {
        let dataset = &manifest.datasets[self.opened().dataset];
        let records = Batch::with_capacity(self.capacity);
        let mut batch =
            SourceBatch { dataset: self.opened().dataset, records, dead_letters: Batch::default() };
        loop {
            if let Some(lines) = self.closed_at {
                return Ok(NextLines::Ended { lines, whole: false, skipped: SkippedLines::default() });
            }
            let stop = self.collect(&mut batch, dataset, validators, manifest.max_record_bytes);
            if !batch.records.is_empty() || !batch.dead_letters.is_empty() {
                self.given += (batch.records.len() + batch.dead_letters.len()) as u64;
                let intake_bytes = self.content.intake_bytes();
                self.capacity = (batch.records.as_bytes().len() + intake_bytes / 16).min(intake_bytes);
                return Ok(NextLines::Lines(batch));
            }
            match stop {
                Stop::Full => {}
                Stop::Ask(line) => self.passed.ask(registry, self.source, line).await?,
                Stop::End => {
                    let skipped = self.content.blocks.skipped();
                    return Ok(NextLines::Ended {
                        lines: self.line.max(self.lines_min),
                        whole: true,
                        skipped,
                    });
                }
                Stop::Block if self.read_block().await? => {}
                Stop::Block => {
                    let last = self.passed.last(registry, self.source, self.line).await?;
                    self.closed_at = Some(last.max(self.lines_min));
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Reads a block. Returns `false` if the file is not the one that was registered.
    async fn read_block(&mut self) -> Result<bool, Error> {
        let Content { opened, blocks, .. } = &mut self.content;
        let fail = |error| cannot_read(&opened.path, &error);
        loop {
            let read = blocks.read(&opened.file).map_err(fail)?;
            let stamp = opened.stat().map_err(fail)?;
            let Some(bytes) = read.filter(|_| stamp.looks_like(&opened.stamp)) else { return Ok(false) };
            if stamp == opened.stamp {
                blocks.accept(bytes);
                return Ok(true);
            }
            // The file was renamed or deleted, or its content changed: only the hash can tell.
            let read = file::hash(opened.file.clone(), opened.stamp.size, None).await.map_err(fail)?;
            if read.map(|read| read.content) != Some(opened.content) {
                return Ok(false);
            }
            opened.stamp = stamp;
        }
    }

    /// Moves lines into the batch, up to the end of the blocks that were read.
    fn collect(
        &mut self,
        batch: &mut SourceBatch,
        dataset: &Dataset,
        validators: &Validators,
        max_record_bytes: usize,
    ) -> Stop {
        loop {
            let line = self.line + 1;
            if batch.records.as_bytes().len() + batch.dead_letters.as_bytes().len()
                >= self.content.intake_bytes()
            {
                return Stop::Full;
            }
            if self.passed.must_ask(line) {
                return Stop::Ask(line);
            }
            match self.content.blocks.next() {
                Next::Block => return Stop::Block,
                Next::End => return Stop::End,
                Next::Record(text) => {
                    self.line = line;
                    if !self.passed.holds(line) {
                        self.record(batch, text, dataset, validators);
                    }
                }
                Next::TooLong(record) => {
                    self.line = line;
                    if !self.passed.holds(line) {
                        self.too_long(batch, &record, dataset, max_record_bytes);
                    }
                }
            }
        }
    }

    fn record(
        &mut self,
        batch: &mut SourceBatch,
        text: Range<usize>,
        dataset: &Dataset,
        validators: &Validators,
    ) {
        let position = Position::new(self.source, self.line);
        if let Some(fault) = self.content.blocks.fault(&text) {
            let (place, bytes) = (self.place(), self.content.blocks.bytes_in_file(&text));
            return refuse_bytes(batch, dataset, (position, bytes), fault, &place);
        }
        let (text, form) = (self.content.blocks.bytes(text), self.content.form);
        let Some(mapping) = &mut self.content.mapping else {
            return give(batch, validators, form, position, text);
        };
        self.ordered.clear();
        let key = self.content.opened.key_of(self.line);
        match mapping.write(text, key.as_deref(), &mut self.ordered) {
            Ok(()) => give(batch, validators, form, position, &self.ordered),
            Err(fault) => refuse(batch, dataset, (position, text), fault, &self.place()),
        }
    }

    fn too_long(
        &self,
        batch: &mut SourceBatch,
        record: &TooLong,
        dataset: &Dataset,
        max_record_bytes: usize,
    ) {
        let position = Position::new(self.source, self.line);
        let form = if self.content.blocks.is_decoded() { " as UTF-8" } else { "" };
        let message = format!(
            "{}: the line is {} bytes long{form}, max_record_bytes allows {max_record_bytes}",
            self.place(),
            record.length
        );
        let letter = DeadLetter::too_long(position, &dataset.name, record, message, SystemTime::now());
        batch.dead_letters.push_with(b"", |json| letter.write(json));
    }

    /// Describes the line for error messages. A quoted field may span lines, so users need both numbers.
    fn place(&self) -> String {
        format!("record {} (physical line {})", self.line, self.content.blocks.physical_line())
    }
}

fn give(batch: &mut SourceBatch, validators: &Validators, form: Form, position: Position, text: &[u8]) {
    let line = Line { fingerprint: validators.fingerprint(form), position, text };
    let write_key = |key: &mut Vec<u8>| validators.of(form).write_key(position, text, key);
    batch.records.push_written(write_key, |value| line.write(value));
}

/// Makes a dead letter of a line that cannot be emitted. `place` describes the line for users.
fn refuse(
    batch: &mut SourceBatch,
    dataset: &Dataset,
    (position, text): (Position, &[u8]),
    fault: Reason,
    place: &str,
) {
    let (reasons, now) = (vec![placed(fault, place)], SystemTime::now());
    let letter = DeadLetter::new(Event::Rejected, Stage::Source, position, &dataset.name, text, reasons, now);
    batch.dead_letters.push_with(b"", |json| letter.write(json));
}

/// Makes a dead letter of a line that is not text. It holds the exact bytes.
fn refuse_bytes(
    batch: &mut SourceBatch,
    dataset: &Dataset,
    (position, bytes): (Position, &[u8]),
    fault: Reason,
    place: &str,
) {
    let (reasons, now) = (vec![placed(fault, place)], SystemTime::now());
    let letter = DeadLetter::not_text(position, &dataset.name, bytes, reasons, now);
    batch.dead_letters.push_with(b"", |json| letter.write(json));
}

fn placed(fault: Reason, place: &str) -> Reason {
    Reason { message: format!("{place}: {}", fault.message), column: None, ..fault }
}

/// Emits the lines of a request. `text` has no header, and each line is within `max_record_bytes`, in the columns and
/// the dialect of `shape`, or of the dataset if there is none.
pub(super) fn give_lines(
    source: u64,
    text: &[u8],
    shape: Option<&Shape>,
    dataset: &Dataset,
    validators: &Validators,
    max_record_bytes: usize,
    batch: &mut SourceBatch,
) {
    let dialect = shape.map_or(&dataset.csv.syntax.dialect, Shape::dialect);
    let mut splitter = Splitter::of_records(dialect, max_record_bytes);
    let (form, mut mapping) = shape.map_or((Form::Given, None), |shape| shape.form(dataset));
    say_what_is_left_out(source, mapping.as_ref());
    let (mut rest, mut line, mut ordered) = (text, 0, Vec::new());
    while let Step::Record { text, consumed } = splitter.next(rest, true) {
        line += 1;
        let (position, text) = (Position::new(source, line), &rest[text]);
        let mut fault = unreadable(text);
        let mut given = text;
        if let (Some(mapping), None) = (&mut mapping, &fault) {
            ordered.clear();
            fault = mapping.write(text, None, &mut ordered).err();
            given = &ordered;
        }
        match fault {
            None => give(batch, validators, form, position, given),
            Some(fault) => refuse(batch, dataset, (position, text), fault, &format!("row {line}")),
        }
        rest = &rest[consumed..];
    }
}

/// Logs which columns were removed from the manifest since a source came: their values are in the file, and in no
/// row.
fn say_what_is_left_out(source: u64, mapping: Option<&Mapping>) {
    let gone: Vec<&str> = mapping.into_iter().flat_map(Mapping::gone).collect();
    if !gone.is_empty() {
        tracing::warn!(
            source,
            columns = gone.join(", "),
            "values of columns that the manifest does not have any more are left out of the lines that are read from here on"
        );
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> Error {
    Error::retry(format!(
        "cannot read '{}': {error}; check the disk, reading goes on when it can",
        path.display()
    ))
}
