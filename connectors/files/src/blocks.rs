//! Splits a file, block by block, into numbered records.

use std::fs::File;
use std::io;
use std::ops::Range;

use tidegate_core::split::{Dialect, Splitter, Step, TooLong};

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
    buffer: Vec<u8>,
    pub(super) block_bytes: usize,
    /// The part of the buffer that is not split yet.
    unsplit: Range<usize>,
    /// The buffer is known to be UTF-8 without NUL up to this index.
    clean_to: usize,
    /// The offset of the next block in the file.
    offset: u64,
    size: u64,
}

impl Blocks {
    pub(super) fn new(dialect: Dialect, max_record_bytes: usize, block_bytes: usize, size: u64) -> Self {
        let room = (block_bytes + max_record_bytes + 64) as u64;
        Self {
            splitter: Splitter::new(dialect, max_record_bytes),
            buffer: vec![0; room.min(size) as usize],
            block_bytes,
            unsplit: 0..0,
            clean_to: 0,
            offset: 0,
            size,
        }
    }

    /// Returns the next record of the blocks that were read.
    pub(super) fn next(&mut self) -> Next {
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

    /// Returns whether a record is known to be UTF-8 without NUL, because the whole buffer up to its end is.
    pub(super) fn is_clean(&self, record: &Range<usize>) -> bool {
        record.end <= self.clean_to
    }

    /// Returns the physical line, from 1, at which the last record starts.
    pub(super) fn physical_line(&self) -> u64 {
        self.splitter.physical_line()
    }

    /// Reads the next block into the buffer, after the part that is not split yet, and returns how many bytes it has.
    /// [`Blocks::accept`] makes it part of the text. Returns `None` if the file ends early. May be called again.
    pub(super) fn read(&mut self, file: &File) -> io::Result<Option<usize>> {
        if self.unsplit.start > 0 {
            self.buffer.copy_within(self.unsplit.clone(), 0);
            self.unsplit = 0..self.unsplit.len();
            self.clean_to = 0;
        }
        let end = self.unsplit.end;
        let wanted = self.block_bytes.min((self.size - self.offset) as usize).min(self.buffer.len() - end);
        Ok(read_full(file, &mut self.buffer[end..end + wanted], self.offset)?.then_some(wanted))
    }

    /// Makes the block that was read part of the text.
    pub(super) fn accept(&mut self, bytes: usize) {
        self.unsplit.end += bytes;
        self.offset += bytes as u64;
        let unsplit = &self.buffer[self.unsplit.clone()];
        // If the block's end cuts a character, it cuts the record of that character too.
        let valid = match simdutf8::compat::from_utf8(unsplit) {
            Ok(_) => unsplit.len(),
            Err(error) => error.valid_up_to(),
        };
        self.clean_to = self.unsplit.start + memchr::memchr(0, &unsplit[..valid]).unwrap_or(valid);
    }
}
