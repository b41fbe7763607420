//! Splits a file, block by block, into numbered records.

use std::fs::File;
use std::io;
use std::ops::Range;

use encoding_rs::{Encoding, UTF_8};
use tidegate_core::dead_letter::{Code, Reason};
use tidegate_core::split::{SkippedLines, Splitter, Step, TooLong};
use tidegate_core::syntax::Syntax;
use tidegate_core::validate::unreadable;

use crate::decoding::{Decoding, OTHER_ENCODING, SPARE_BYTES};
use crate::file::read_full;

/// What [`Blocks::next`] returns.
#[derive(Debug)]
pub(super) enum Next {
    /// A record, as a range for [`Blocks::bytes`].
    Record(Range<usize>),
    /// A line longer than the limit was skipped.
    TooLong(TooLong),
    /// Another block must be read first.
    Block,
    End,
}

/// The buffer between a file and its splitter. A record stays in the buffer until the next one is asked for.
#[derive(Debug)]
pub(super) struct Blocks {
    splitter: Splitter,
    /// Text in UTF-8, if the file is text.
    buffer: Vec<u8>,
    /// Decodes the blocks of a file that is not UTF-8.
    decoding: Option<Box<Decoding>>,
    pub(super) block_bytes: usize,
    /// The part of the buffer that is not split yet.
    unsplit: Range<usize>,
    /// The buffer is known to be UTF-8 without NUL up to this index.
    clean_to: usize,
    /// The offset of the next block in the file.
    offset: u64,
    size: u64,
    /// The header, if a later record that equals it is no record.
    header: Option<Vec<u8>>,
}

impl Blocks {
    pub(super) fn new(
        syntax: &Syntax,
        encoding: &'static Encoding,
        max_record_bytes: usize,
        block_bytes: usize,
        size: u64,
    ) -> Self {
        let room = (block_bytes + max_record_bytes + 2 * SPARE_BYTES) as u64;
        let is_utf8 = encoding == UTF_8;
        let text_bytes_max = if is_utf8 { size } else { Decoding::text_bytes_max(size) };
        Self {
            splitter: Splitter::new(syntax, max_record_bytes),
            buffer: vec![0; room.min(text_bytes_max) as usize],
            decoding: (!is_utf8).then(|| Box::new(Decoding::new(encoding))),
            block_bytes,
            unsplit: 0..0,
            clean_to: 0,
            offset: 0,
            size,
            header: None,
        }
    }

    /// Notes that the last record was the header. If the header `repeats`, records that equal it are left out from here
    /// on.
    pub(super) fn was_header(&mut self, record: Range<usize>, repeats: bool) {
        self.splitter.count_header();
        self.header = repeats.then(|| self.buffer[record].to_vec());
    }

    /// Returns how many bytes of the file were read.
    pub(super) fn bytes_read(&self) -> u64 {
        self.offset
    }

    /// Returns how many lines were no records up to here, by the rule that skips them.
    pub(super) fn skipped(&self) -> SkippedLines {
        self.splitter.skipped()
    }

    /// Returns the next record of the blocks that were read.
    pub(super) fn next(&mut self) -> Next {
        loop {
            match self.step() {
                Next::Record(text) if self.is_header(&self.buffer[text.clone()]) => {
                    self.splitter.count_header();
                }
                next => return next,
            }
        }
    }

    /// Whether a record is the header once more. Files that were put together have a byte order mark before it.
    fn is_header(&self, record: &[u8]) -> bool {
        let is_equal = |record| self.header.as_deref() == Some(record);
        is_equal(record) || record.strip_prefix(b"\xef\xbb\xbf").is_some_and(is_equal)
    }

    fn step(&mut self) -> Next {
        let eof = self.offset == self.size;
        let start = self.unsplit.start;
        match self.splitter.next(&self.buffer[self.unsplit.clone()], eof) {
            Step::Record { text, consumed } => {
                self.unsplit.start += consumed;
                Next::Record(start + text.start..start + text.end)
            }
            Step::TooLong { record, consumed } => {
                self.unsplit.start += consumed;
                Next::TooLong(record)
            }
            Step::More { consumed } => {
                self.unsplit.start += consumed;
                Next::Block
            }
            Step::End => Next::End,
        }
    }

    /// Returns the next record, and reads blocks of the file as needed; `None` if the file ends early.
    pub(super) fn next_of(&mut self, file: &File) -> io::Result<Option<Next>> {
        loop {
            match self.next() {
                Next::Block => match self.read(file)? {
                    Some(bytes) => self.accept(bytes),
                    None => return Ok(None),
                },
                next => return Ok(Some(next)),
            }
        }
    }

    pub(super) fn bytes(&self, record: Range<usize>) -> &[u8] {
        &self.buffer[record]
    }

    /// Returns whether the file is decoded, because it is not UTF-8.
    pub(super) fn is_decoded(&self) -> bool {
        self.decoding.is_some()
    }

    /// Returns the bytes of a record as they are in the file.
    pub(super) fn bytes_in_file(&mut self, record: &Range<usize>) -> &[u8] {
        match &mut self.decoding {
            None => &self.buffer[record.clone()],
            Some(decoding) => decoding.bytes(&self.buffer[..self.unsplit.end], record),
        }
    }

    /// Returns why a record is no text, if it is not.
    pub(super) fn fault(&mut self, record: &Range<usize>) -> Option<Reason> {
        // The whole buffer up to there is text.
        if record.end <= self.clean_to {
            return None;
        }
        if let Some(decoding) = &mut self.decoding {
            return decoding.fault(&self.buffer[..self.unsplit.end], record);
        }
        let mut fault = unreadable(&self.buffer[record.clone()])?;
        if fault.code == Code::InvalidUtf8 {
            fault.message.push_str(OTHER_ENCODING);
        }
        Some(fault)
    }

    /// Returns the physical line, from 1, at which the last record starts.
    pub(super) fn physical_line(&self) -> u64 {
        self.splitter.physical_line()
    }

    /// Reads the next block into the buffer, after the part that is not split yet, and returns how many bytes it has.
    /// [`Blocks::accept`] makes it part of the text. Returns `None` if the file ends early. May be called again.
    pub(super) fn read(&mut self, file: &File) -> io::Result<Option<usize>> {
        if self.unsplit.start > 0 {
            if let Some(decoding) = &mut self.decoding {
                decoding.forget(&self.buffer[..self.unsplit.end], self.unsplit.start);
            }
            self.buffer.copy_within(self.unsplit.clone(), 0);
            self.unsplit = 0..self.unsplit.len();
            self.clean_to = 0;
        }
        let end = self.unsplit.end;
        let room = self.buffer.len() - end;
        let wanted = self.block_bytes.min((self.size - self.offset) as usize);
        let block = match &mut self.decoding {
            None => &mut self.buffer[end..end + wanted.min(room)],
            Some(decoding) => decoding.block(wanted, room),
        };
        let bytes = block.len();
        Ok(read_full(file, block, self.offset)?.then_some(bytes))
    }

    /// Makes the block that was read part of the text.
    pub(super) fn accept(&mut self, bytes: usize) {
        self.offset += bytes as u64;
        let last = self.offset == self.size;
        match &mut self.decoding {
            None => self.unsplit.end += bytes,
            Some(decoding) => self.unsplit.end = decoding.decode(&mut self.buffer, self.unsplit.end, last),
        }
        let unsplit = &self.buffer[self.unsplit.clone()];
        let valid = match &self.decoding {
            Some(decoding) => decoding.malformed().map_or(unsplit.len(), |at| at - self.unsplit.start),
            // If the block's end cuts a character, it cuts the record of that character too.
            None => match simdutf8::compat::from_utf8(unsplit) {
                Ok(_) => unsplit.len(),
                Err(error) => error.valid_up_to(),
            },
        };
        self.clean_to = self.unsplit.start + memchr::memchr(0, &unsplit[..valid]).unwrap_or(valid);
    }
}
