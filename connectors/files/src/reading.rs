//! Reads a registered file into lines with their positions.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tidegate_core::contract::{Error, SourceBatch};
use tidegate_core::dead_letter::{DeadLetter, Event, Reason, Stage};
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::position::Position;
use tidegate_core::record::{Batch, Line};
use tidegate_core::registry::Registry;
use tidegate_core::shape::{Mapping, Shape};
use tidegate_core::split::{Splitter, Step, TooLong};
use tidegate_core::validate::{Validator, unreadable};

use crate::blocks::{Blocks, Next};
use crate::file::{self, BLOCK_BYTES, OpenFile, changed};
use crate::header;
use crate::resume_point::ResumePoint;

/// A file at its first line: the header, if there is one, is read.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) opened: OpenFile,
    pub(super) blocks: Blocks,
    pub(super) shape: Arc<Shape>,
    /// Rearranges lines into the columns of the manifest; `None` if they are in these columns already.
    pub(super) order: Option<Mapping>,
}

/// Why a file cannot be read.
#[derive(Debug)]
pub(super) enum FileFault {
    /// It changed just now, so it must wait until it stands still.
    Changed,
    /// It cannot be accepted. Holds what is wrong with it, in words.
    Refused(String),
    /// It cannot be read at the moment.
    Failed(io::Error),
}

impl From<io::Error> for FileFault {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<FileFault> for io::Error {
    fn from(unfit: FileFault) -> Self {
        match unfit {
            FileFault::Changed => changed(),
            FileFault::Refused(fault) => Self::new(io::ErrorKind::InvalidData, fault),
            FileFault::Failed(error) => error,
        }
    }
}

impl Content {
    /// Reads up to the first line. If the file was registered before, its shape is the one of that time.
    pub(super) fn start(
        opened: OpenFile,
        manifest: &Manifest,
        block_bytes: usize,
    ) -> Result<Self, FileFault> {
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

    /// Reads the column names of the header. If `asked` is given, compares them with that dataset. Returns `None` for
    /// an empty file, which has no names and no lines.
    fn read_header(&mut self, asked: Option<&Dataset>) -> Result<Option<Vec<String>>, FileFault> {
        match self.blocks.next_of(&self.opened.file)?.ok_or(FileFault::Changed)? {
            Next::Record(text) => {
                let (record, dialect) = (self.blocks.bytes(text), self.shape.dialect());
                let names = header::read(record, dialect).and_then(|names| {
                    if let Some(dataset) = asked {
                        header::check(&names, record, dialect, dataset, self.opened.spooled)?;
                    }
                    Ok(names)
                });
                names.map(Some).map_err(|fault| self.unfit(&fault))
            }
            Next::TooLong(_) => Err(self.unfit("the header is longer than max_record_bytes")),
            Next::Block | Next::End => Ok(None),
        }
    }

    /// Describes a file whose header cannot be read: by its format, if its first bytes show that it is not CSV,
    /// otherwise by the fault of the header.
    fn unfit(&self, fault: &str) -> FileFault {
        match self.opened.nature() {
            Ok(Some(nature)) => FileFault::Refused(nature.to_string()),
            _ => FileFault::Refused(format!("line {}: {fault}", self.blocks.physical_line())),
        }
    }

    /// Counts the lines. Returns `None` if the file changed.
    pub(super) async fn count(
        opened: OpenFile,
        manifest: &Manifest,
        block_bytes: usize,
    ) -> Result<Option<u64>, FileFault> {
        let mut content = Self::start(opened, manifest, block_bytes)?;
        let counted = file::aside(move || {
            let mut lines = 0;
            while let Some(next) = content.blocks.next_of(&content.opened.file)? {
                match next {
                    Next::Record(_) | Next::TooLong(_) => lines += 1,
                    Next::Block | Next::End => {
                        return Ok((content.opened.stat()? == content.opened.stamp).then_some(lines));
                    }
                }
            }
            Ok(None)
        });
        Ok(counted.await?)
    }

    /// Returns the size at which a batch ends, in bytes, even within a block: short lines and dead letters take more
    /// space in the batch than in the file.
    fn intake_bytes(&self) -> usize {
        3 * self.blocks.block_bytes
    }
}

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
        say_what_is_left_out(source, content.order.as_ref());
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
        validator: &Validator,
        registry: &impl Registry,
    ) -> Result<NextLines, Error> {
        let dataset = &manifest.datasets[self.opened().dataset];
        let records = Batch::with_capacity(self.capacity);
        let mut batch =
            SourceBatch { dataset: self.opened().dataset, records, dead_letters: Batch::default() };
        loop {
            if let Some(lines) = self.closed_at {
                return Ok(NextLines::Ended { lines, whole: false });
            }
            let stop = self.collect(&mut batch, dataset, validator, manifest.max_record_bytes);
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
                    return Ok(NextLines::Ended { lines: self.line.max(self.lines_min), whole: true });
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
            let read = file::hash(opened.file.clone(), opened.stamp.size, b'"').await.map_err(fail)?;
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
        validator: &Validator,
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
                        self.record(batch, text, dataset, validator);
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
        validator: &Validator,
    ) {
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
            None => give(batch, validator, position, line),
            Some(fault) => refuse(batch, dataset, (position, text), fault, &self.place()),
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
        let message = format!(
            "{}: the line is {} bytes long, max_record_bytes allows {max_record_bytes}",
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

fn give(batch: &mut SourceBatch, validator: &Validator, position: Position, text: &[u8]) {
    let line = Line { fingerprint: validator.fingerprint(), position, text };
    batch.records.push_with(validator.key_of(text), |value| line.write(value));
}

/// Makes a dead letter of a line that is not text. `place` describes the line for users.
fn refuse(
    batch: &mut SourceBatch,
    dataset: &Dataset,
    (position, text): (Position, &[u8]),
    Reason { code, message, value, .. }: Reason,
    place: &str,
) {
    let reasons = vec![Reason::new(code, None, format!("{place}: {message}"), value.as_bytes())];
    let letter = DeadLetter::new(
        Event::Rejected,
        Stage::Source,
        position,
        &dataset.name,
        text,
        reasons,
        SystemTime::now(),
    );
    batch.dead_letters.push_with(b"", |json| letter.write(json));
}

/// Emits the lines of a request. `text` has no header, and each line is within `max_record_bytes`, in the columns and
/// the dialect of `shape`, or of the dataset if there is none.
pub(super) fn give_lines(
    source: u64,
    text: &[u8],
    shape: Option<&Shape>,
    dataset: &Dataset,
    validator: &Validator,
    max_record_bytes: usize,
    batch: &mut SourceBatch,
) {
    let shape = shape.filter(|shape| !shape.fits(dataset));
    let dialect = shape.map_or(dataset.csv.dialect(), Shape::dialect);
    let mut splitter = Splitter::new(dialect, max_record_bytes);
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
            None => give(batch, validator, position, given),
            Some(fault) => refuse(batch, dataset, (position, text), fault, &format!("row {line}")),
        }
        rest = &rest[consumed..];
    }
}

/// Logs which columns were removed from the manifest since a source came: their values are in the file, and in no
/// row.
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

fn cannot_read(path: &Path, error: &io::Error) -> Error {
    Error::retry(format!(
        "cannot read '{}': {error}; check the disk, reading goes on when it can",
        path.display()
    ))
}

/// Returns the shape with which the text of a new CSV file is to be read, or what is wrong with the file as a whole, in
/// words.
pub fn shape(path: &Path, dataset: usize, manifest: &Manifest) -> io::Result<Result<Shape, String>> {
    let opened = OpenFile::spooled(path.to_owned(), String::new(), dataset, [0; 32])?;
    if let Some(nature) = opened.no_text(manifest)? {
        return Ok(Err(nature.to_string()));
    }
    match Content::start(opened, manifest, BLOCK_BYTES) {
        Ok(content) => Ok(Ok((*content.shape).clone())),
        Err(FileFault::Refused(fault)) => Ok(Err(fault)),
        Err(unfit) => Err(unfit.into()),
    }
}

/// Counts the lines of a CSV file. Fails if the file changes meanwhile.
pub async fn count_lines(path: &Path, dataset: usize, manifest: &Manifest) -> io::Result<u64> {
    let opened = OpenFile::spooled(path.to_owned(), String::new(), dataset, [0; 32])?;
    Content::count(opened, manifest, BLOCK_BYTES).await?.ok_or_else(changed)
}
