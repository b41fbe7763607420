//! An open file, read up to its first line.

use std::io;
use std::sync::Arc;

use encoding_rs::{Encoding, UTF_8};
use tidegate_core::dead_letter::Code;
use tidegate_core::header::Header;
use tidegate_core::manifest::{Dataset, Generated, Manifest};
use tidegate_core::registry::KeysNeeded;
use tidegate_core::shape::{Form, Mapping, Shape};
use tidegate_core::syntax::Delimiter;

use crate::blocks::{Blocks, Next};
use crate::file::{self, OpenFile, changed};
use crate::header;
use crate::sniff::encoding::guess;

/// How many bytes of a file suffice to guess its encoding.
const GUESS_BYTES: usize = 64 << 10;

/// A file at its first line: the header, if there is one, is read.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) opened: OpenFile,
    pub(super) blocks: Blocks,
    pub(super) encoding: &'static Encoding,
    pub(super) shape: Arc<Shape>,
    /// The form that the lines get on the topic.
    pub(super) form: Form,
    /// Gives the lines this form; `None` if they have it already.
    pub(super) mapping: Option<Mapping>,
    /// The names in the header as the file has them, if it was compared with the dataset.
    pub(super) header: Vec<String>,
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
        let own = || {
            let syntax = opened.syntax(manifest).clone();
            Shape::of_file(manifest, dataset, syntax).with_delimiter(opened.opening.delimiter)
        };
        let shape = opened.shape.clone().unwrap_or_else(|| Arc::new(own()));
        let (encoding, size) = (opened.encoding(manifest), opened.stamp.size);
        let blocks = Blocks::new(&shape.syntax, encoding, manifest.max_record_bytes, block_bytes, size);
        let mut content =
            Self { opened, blocks, encoding, shape, form: Form::Given, mapping: None, header: Vec::new() };
        if content.shape.syntax.header {
            content.read_header(dataset)?;
        }
        let values = content.values_of_file(dataset)?;
        (content.form, content.mapping) = content.shape.form(dataset);
        if content.opened.keys.is_some() && content.form == Form::Given {
            (content.form, content.mapping) = (Form::Mapped, Some(content.shape.mapped(dataset)));
        }
        content.mapping = content.mapping.map(|mapping| mapping.with_values(values));
        Ok(content)
    }

    /// Returns the values of the columns that come from the file and not from its lines. Rows of a backup and files of
    /// before have such columns in their lines.
    fn values_of_file(&self, dataset: &Dataset) -> Result<Vec<(usize, String)>, FileFault> {
        let is_lacked = |column: usize| !self.shape.has(&dataset.columns[column].name);
        if self.shape.canonical || dataset.columns.iter().all(|column| column.is_field()) {
            return Ok(Vec::new());
        }
        let OpenFile { name, stamp, .. } = &self.opened;
        let mut values = dataset.values_of_file(name, stamp.modified()).map_err(FileFault::Refused)?;
        values.retain(|(column, _)| is_lacked(*column));
        Ok(values)
    }

    /// Reads the header, if the file is not empty, and notes its names in the shape, unless they are known.
    fn read_header(&mut self, dataset: &Dataset) -> Result<(), FileFault> {
        let text = match self.blocks.next_of(&self.opened.file)?.ok_or(FileFault::Changed)? {
            Next::Record(text) => text,
            Next::TooLong(_) => return Err(self.unfit("the header is longer than max_record_bytes")),
            Next::Block | Next::End => return Ok(()),
        };
        if self.blocks.fault(&text).is_some_and(|fault| fault.code != Code::InvalidCharacter) {
            return Err(self.unfit(&self.other_encoding()?));
        }
        self.blocks.was_header(text.clone(), self.shape.syntax.repeated_header);
        // Before version 7 of the schema the names were not stored. They were all names of columns then. Fields of
        // fixed width have their places, whatever their names are.
        let is_known = self.opened.shape.as_ref().is_some_and(|shape| !shape.rules.is_empty());
        if is_known || matches!(self.shape.dialect().delimiter, Delimiter::Widths(_)) {
            return Ok(());
        }
        let (record, dialect) = (self.blocks.bytes(text), self.shape.dialect());
        let names = header::read(record, dialect);
        let header = match self.opened.shape.is_some() {
            true => names
                .clone()
                .map(|columns| Header { columns, trailing_delimiter: self.shape.syntax.trailing_delimiter }),
            false => {
                let names = names.as_deref().map_err(Clone::clone);
                header::check(names, record, dialect, dataset, || self.later_header(dataset))
            }
        };
        let header = header.map_err(|fault| self.unfit(&fault))?;
        let mut shape = Shape { columns: header.columns, ..(*self.shape).clone() };
        shape.syntax.trailing_delimiter |= header.trailing_delimiter;
        self.header = names.unwrap_or_default();
        self.shape = Arc::new(shape);
        Ok(())
    }

    /// Searches for the names behind a header that does not have them.
    fn later_header(&self, dataset: &Dataset) -> Option<String> {
        let mut head = vec![0; header::HEAD_BYTES.min(self.opened.stamp.size as usize)];
        let is_read = file::read_full(&self.opened.file, &mut head, 0).unwrap_or(false);
        let header = self.blocks.physical_line();
        is_read.then(|| header::later(&head, header, self.shape.dialect(), dataset)).flatten()
    }

    /// Describes a file whose header cannot be read: by its format, if its first bytes show that it is not CSV,
    /// otherwise by the fault of the header.
    fn unfit(&self, fault: &str) -> FileFault {
        match self.opened.nature(self.encoding) {
            Ok(Some(nature)) => FileFault::Refused(nature.to_string()),
            _ => FileFault::Refused(format!("line {}: {fault}", self.blocks.physical_line())),
        }
    }

    /// Describes a header that is not in the file's encoding.
    fn other_encoding(&self) -> io::Result<String> {
        if self.encoding != UTF_8 {
            let name = self.encoding.name();
            return Ok(format!("the header is no {name}: set the encoding that the file has in 'csv'"));
        }
        let label = guess(&self.opened.head(GUESS_BYTES)?).name().to_lowercase();
        Ok(format!(
            "the header is not UTF-8: 'encoding: {label}' in 'csv' would read it, or save the file as UTF-8"
        ))
    }

    /// Counts the lines. Returns `None` if the file changed.
    pub(super) async fn count(
        opened: OpenFile,
        manifest: &Manifest,
        block_bytes: usize,
    ) -> Result<Option<u64>, FileFault> {
        let content = Self::start(opened, manifest, block_bytes)?;
        Ok(file::aside(move || content.count_each(|_| ())).await?)
    }

    /// Returns the generated keys that the lines need, if the dataset's keys are generated. **No number of a sequence
    /// is taken for a file whose lines all bring their keys.** Fails if the file changed.
    pub(super) async fn keys_needed(
        opened: OpenFile,
        manifest: &Manifest,
        block_bytes: usize,
    ) -> Result<Option<KeysNeeded>, FileFault> {
        let dataset = &manifest.datasets[opened.dataset];
        let (key, start) = match dataset.generated() {
            None => return Ok(None),
            Some((_, Generated::Uuid)) => return Ok(Some(KeysNeeded::Uuid)),
            Some((key, Generated::Sequence { start })) => (key, start),
        };
        let content = Self::start(opened, manifest, block_bytes)?;
        let mut mapping = content.shape.mapped(dataset);
        let (lines, is_any) = file::aside(move || {
            let mut is_any = false;
            let lines = content.count_each(|text| is_any = is_any || mapping.lacks(text, key))?;
            Ok((lines, is_any))
        })
        .await?;
        let lines = lines.ok_or(FileFault::Changed)?;
        Ok(is_any.then_some(KeysNeeded::Numbers { start, lines }))
    }

    /// Counts the lines, and passes each that is not too long to `look`. Returns `None` if the file changed.
    fn count_each(mut self, mut look: impl FnMut(&[u8])) -> io::Result<Option<u64>> {
        let mut lines = 0;
        while let Some(next) = self.blocks.next_of(&self.opened.file)? {
            match next {
                Next::Record(text) => look(self.blocks.bytes(text)),
                Next::TooLong(_) => {}
                Next::Block | Next::End => {
                    return Ok((self.opened.stat()? == self.opened.stamp).then_some(lines));
                }
            }
            lines += 1;
        }
        Ok(None)
    }

    /// Returns the size at which a batch ends, in bytes, even within a block: short lines and dead letters take more
    /// space in the batch than in the file.
    pub(super) fn intake_bytes(&self) -> usize {
        3 * self.blocks.block_bytes
    }
}
