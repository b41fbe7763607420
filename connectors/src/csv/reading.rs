//! A registered file to lines with their positions.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use tidegate_core::contract::{Error, Intake};
use tidegate_core::dead_letter::{DeadLetter, Event, Reason, Stage};
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::position::Position;
use tidegate_core::record::{Batch, Line};
use tidegate_core::shape::{Mapping, Shape};
use tidegate_core::split::{Dialect, Splitter, Step, TooLong};
use tidegate_core::validate::{Validator, unreadable};

use super::Registry;
use super::blocks::{Blocks, Next};
use super::file::{self, Opened, changed};
use super::header;
use super::passed::Passed;

/// A file at its first line: the header is read, if there is one.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) opened: Opened,
    pub(super) blocks: Blocks,
    /// How its text is read.
    pub(super) shape: Arc<Shape>,
    /// What puts its lines into the columns of the manifest, where they are not so already.
    pub(super) order: Option<Mapping>,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It changed just now, so it is not its turn yet.
    Changed,
    /// What is wrong with it, in words.
    Refused(String),
    /// It cannot be read at the moment.
    Failed(std::io::Error),
}

impl From<Unfit> for std::io::Error {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Changed => changed(),
            Unfit::Refused(fault) => Self::new(std::io::ErrorKind::InvalidData, fault),
            Unfit::Failed(error) => error,
        }
    }
}

impl Content {
    /// Reads up to the first line. A file that was registered before is read as it was then.
    pub(super) fn start(opened: Opened, manifest: &Manifest, block_bytes: usize) -> Result<Self, Unfit> {
        let dataset = &manifest.datasets[opened.dataset];
        let known = opened.shape.clone();
        let own = || Arc::new(Shape { header: dataset.csv.header, ..Shape::of(manifest, dataset) });
        let shape = known.clone().unwrap_or_else(own);
        let blocks = Blocks::new(shape.dialect(), manifest.max_record_bytes, block_bytes, opened.stamp.size);
        let mut content = Self { opened, blocks, shape, order: None };
        if content.shape.header
            && let Some(names) = content.read_header(known.is_none().then_some(dataset))?
            && names != content.shape.columns
        {
            content.shape = Arc::new(Shape { columns: names, ..(*content.shape).clone() });
        }
        if content.opened.keys.is_some() || !content.shape.fits(dataset) {
            content.order = Some(Mapping::new(&content.shape, dataset));
        }
        Ok(content)
    }

    /// The names at the head of the file, held against the dataset that `asked` for them. An empty file has none, and no
    /// lines.
    fn read_header(&mut self, asked: Option<&Dataset>) -> Result<Option<Vec<String>>, Unfit> {
        loop {
            match self.blocks.next() {
                Next::Record(text) => {
                    let (record, dialect) = (self.blocks.bytes(text), self.shape.dialect());
                    let names = header::read(record, dialect).and_then(|names| match asked {
                        Some(dataset) => {
                            header::check(&names, record, dialect, (dataset, self.opened.spooled))
                                .map(|()| names)
                        }
                        None => Ok(names),
                    });
                    return names.map(Some).map_err(|fault| self.unfit(&fault));
                }
                Next::TooLong(_) => {
                    return Err(self.unfit("the header is longer than max_record_bytes"));
                }
                Next::End => return Ok(None),
                Next::Block => match self.blocks.read(&self.opened.file).map_err(Unfit::Failed)? {
                    Some(bytes) => self.blocks.accept(bytes),
                    None => return Err(Unfit::Changed),
                },
            }
        }
    }

    /// A file whose header cannot be read: what it is, if its first bytes say that it is something else, and else what
    /// is wrong with the header.
    fn unfit(&self, fault: &str) -> Unfit {
        match self.opened.nature() {
            Ok(Some(nature)) => Unfit::Refused(nature.to_string()),
            _ => Unfit::Refused(format!("line {}: {fault}", self.blocks.physical_line())),
        }
    }

    /// How many lines there are. `None` if the file changed.
    pub(super) async fn count(
        opened: Opened,
        manifest: &Manifest,
        block_bytes: usize,
    ) -> Result<Option<u64>, Unfit> {
        let mut content = Self::start(opened, manifest, block_bytes)?;
        let counted = file::aside(move || {
            let mut lines = 0;
            loop {
                match content.blocks.next() {
                    Next::Record(_) | Next::TooLong(_) => lines += 1,
                    Next::End => return Ok((content.opened.stat()? == content.opened.stamp).then_some(lines)),
                    Next::Block => match content.blocks.read(&content.opened.file)? {
                        Some(bytes) => content.blocks.accept(bytes),
                        None => return Ok(None),
                    },
                }
            }
        });
        counted.await.map_err(Unfit::Failed)
    }

    /// An intake ends when it is this large, even within a block: short lines and dead letters grow on the
    /// way.
    fn intake_bytes(&self) -> usize {
        3 * self.blocks.block_bytes()
    }
}

/// How far the reading of a file came.
#[derive(Debug)]
pub(super) enum Progress {
    /// Lines to give out.
    Lines(Intake),
    /// There are no more; asked again, it says the same.
    Ended {
        /// How many lines the source has.
        lines: u64,
        /// Whether all of the file was read; if not, it changed.
        whole: bool,
    },
}

/// A registered file that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) source: u64,
    content: Content,
    passed: Passed,
    /// The number of the last line that was read.
    line: u64,
    /// The source has no fewer lines than this.
    lines_min: u64,
    /// The number of the last line, if the file changed.
    closed_at: Option<u64>,
    /// How many lines were given out.
    pub(super) given: u64,
    /// How large the next intake will be, in bytes.
    capacity: usize,
    /// A line in the manifest's order.
    ordered: Vec<u8>,
}

/// Why a batch ended.
enum Stop {
    Full,
    /// The ledger must be asked about this line.
    Ask(u64),
    Block,
    End,
}

impl Reading {
    /// `lines_min` is the number of lines that the source is known to have at least.
    pub(super) fn new(source: u64, content: Content, passed: Passed, lines_min: u64) -> Self {
        let capacity = (content.opened.stamp.size as usize).saturating_mul(2).min(content.intake_bytes());
        let (line, given, closed_at) = (0, 0, None);
        say_what_is_left_out(source, content.order.as_ref());
        Self { source, content, passed, line, lines_min, closed_at, given, capacity, ordered: Vec::new() }
    }

    pub(super) fn opened(&self) -> &Opened {
        &self.content.opened
    }

    /// How its text is read.
    pub(super) fn shape(&self) -> &Arc<Shape> {
        &self.content.shape
    }

    /// The next lines. After an error it goes on where it was.
    pub(super) async fn next(
        &mut self,
        manifest: &Manifest,
        validator: &Validator,
        registry: &impl Registry,
    ) -> Result<Progress, Error> {
        let dataset = &manifest.datasets[self.opened().dataset];
        let records = Batch::with_capacity(self.capacity);
        let mut intake = Intake { dataset: self.opened().dataset, records, dead_letters: Batch::default() };
        loop {
            if let Some(lines) = self.closed_at {
                return Ok(Progress::Ended { lines, whole: false });
            }
            let stop = self.collect(&mut intake, dataset, validator, manifest.max_record_bytes);
            if !intake.records.is_empty() || !intake.dead_letters.is_empty() {
                self.given += (intake.records.len() + intake.dead_letters.len()) as u64;
                let intake_bytes = self.content.intake_bytes();
                self.capacity = (intake.records.as_bytes().len() + intake_bytes / 16).min(intake_bytes);
                return Ok(Progress::Lines(intake));
            }
            match stop {
                Stop::Full => {}
                Stop::Ask(line) => self.passed.ask(registry, self.source, line).await?,
                Stop::End => {
                    return Ok(Progress::Ended { lines: self.line.max(self.lines_min), whole: true });
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

    /// Reads a block, and `false` if the file is not what it was when it was registered.
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
            // It was renamed, deleted or the like, or more than that: its content alone can tell.
            let read = file::hash(opened.file.clone(), opened.stamp.size, b'"').await;
            let read = read.map_err(|error| cannot_read(&opened.path, &error))?;
            if read.map(|read| read.content) != Some(opened.content) {
                return Ok(false);
            }
            opened.stamp = stamp;
        }
    }

    /// Moves lines into the intake, up to the end of what was read.
    fn collect(
        &mut self,
        intake: &mut Intake,
        dataset: &Dataset,
        validator: &Validator,
        max_record_bytes: usize,
    ) -> Stop {
        loop {
            let line = self.line + 1;
            if intake.records.as_bytes().len() + intake.dead_letters.as_bytes().len()
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
                        self.record(intake, text, dataset, validator);
                    }
                }
                Next::TooLong(record) => {
                    self.line = line;
                    if !self.passed.holds(line) {
                        self.too_long(intake, &record, dataset, max_record_bytes);
                    }
                }
            }
        }
    }

    fn record(&mut self, intake: &mut Intake, text: Range<usize>, dataset: &Dataset, validator: &Validator) {
        let (blocks, order) = (&self.content.blocks, &mut self.content.order);
        let position = Position::new(self.source, self.line);
        let is_clean = blocks.is_clean(&text);
        let text = blocks.bytes(text);
        let mut fault = if is_clean { None } else { unreadable(text) };
        let mut line = text;
        if let (Some(order), None) = (order, &fault) {
            self.ordered.clear();
            let key = self.content.opened.keys.as_ref().map(|keys| keys.of(self.line));
            let key = key.as_deref().map(|key| (dataset.key, key));
            fault = order.write(text, key, &mut self.ordered).err();
            line = &self.ordered;
        }
        match fault {
            None => give(intake, validator, position, line),
            Some(fault) => refuse(intake, dataset, (position, text), fault, &self.place()),
        }
    }

    fn too_long(&self, intake: &mut Intake, record: &TooLong, dataset: &Dataset, max_record_bytes: usize) {
        let position = Position::new(self.source, self.line);
        let message = format!(
            "{}: the line is {} bytes long, max_record_bytes allows {max_record_bytes}",
            self.place(),
            record.length
        );
        let letter = DeadLetter::too_long(position, &dataset.name, record, message, SystemTime::now());
        intake.dead_letters.push_with(b"", |json| letter.write(json));
    }

    /// A quoted field may span lines, so people need both numbers.
    fn place(&self) -> String {
        format!("record {} (physical line {})", self.line, self.content.blocks.physical_line())
    }
}

fn give(intake: &mut Intake, validator: &Validator, position: Position, text: &[u8]) {
    let line = Line { form: validator.form(), position, text };
    intake.records.push_with(validator.key_of(text), |value| line.write(value));
}

/// A line that is no text, at a `place` for people.
fn refuse(
    intake: &mut Intake,
    dataset: &Dataset,
    (position, text): (Position, &[u8]),
    Reason { code, message, value, .. }: Reason,
    place: &str,
) {
    let reasons = vec![Reason::new(code, None, format!("{place}: {message}"), value.as_bytes())];
    let made = (Event::Rejected, Stage::Source);
    let letter = DeadLetter::new(made, position, &dataset.name, text, reasons, SystemTime::now());
    intake.dead_letters.push_with(b"", |json| letter.write(json));
}

/// Gives out the lines of a request, `text`: without a header, each within `max_record_bytes`, in the dataset's columns
/// and dialect, or in those that `shape` says.
pub(super) fn give_lines(
    (source, text, shape): (u64, &[u8], Option<&Shape>),
    dataset: &Dataset,
    validator: &Validator,
    max_record_bytes: usize,
    intake: &mut Intake,
) {
    let shape = shape.filter(|shape| !shape.fits(dataset));
    let csv = &dataset.csv;
    let own = Dialect { delimiter: csv.delimiter, quote: csv.quote };
    let mut splitter = Splitter::new(shape.map_or(own, Shape::dialect), max_record_bytes);
    let mut order = shape.map(|shape| Mapping::new(shape, dataset));
    say_what_is_left_out(source, order.as_ref());
    let (mut rest, mut line, mut ordered) = (text, 0, Vec::new());
    while let Step::Record { text, consumed } = splitter.next(rest, true) {
        line += 1;
        let (position, text) = (Position::new(source, line), &rest[text]);
        let mut fault = unreadable(text);
        let mut given = text;
        if let (Some(order), None) = (&mut order, &fault) {
            ordered.clear();
            fault = order.write(text, None, &mut ordered).err();
            given = &ordered;
        }
        match fault {
            None => give(intake, validator, position, given),
            Some(fault) => refuse(intake, dataset, (position, text), fault, &format!("row {line}")),
        }
        rest = &rest[consumed..];
    }
}

/// Says which columns are gone since a source came: their values are in the file, and in no row.
fn say_what_is_left_out(source: u64, order: Option<&Mapping>) {
    let gone: Vec<&str> = order.into_iter().flat_map(Mapping::gone).collect();
    if !gone.is_empty() {
        tracing::warn!(
            source,
            columns = gone.join(", "),
            "values of columns that the manifest does not have any more are left out of the lines that are read from here on"
        );
    }
}

fn cannot_read(path: &std::path::Path, error: &std::io::Error) -> Error {
    Error::retry(format!(
        "cannot read '{}': {error}; check the disk, reading goes on when it can",
        path.display()
    ))
}
