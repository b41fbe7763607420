//! A file, block by block, to numbered records.

use std::fs::File;
use std::io;
use std::ops::Range;

use tidegate_core::split::{Dialect, Splitter, Step, TooLong};

use super::file::read_full;

/// What comes next in a file.
#[derive(Debug)]
pub(super) enum Next {
    /// A record stands in this range of [`Blocks::bytes`].
    Record(Range<usize>),
    /// A line longer than the limit was passed.
    TooLong(TooLong),
    /// Another block must be read first.
    Block,
    /// The file has ended.
    End,
}

/// The buffer between a file and its splitter. A record stays in it until the next is asked for.
#[derive(Debug)]
pub(super) struct Blocks {
    splitter: Splitter,
    buffer: Vec<u8>,
    /// How much is read at once.
    block_bytes: usize,
    /// What of the buffer is read and not split yet.
    unsplit: Range<usize>,
    /// Up to here the buffer is known to be UTF-8 without NUL.
    clean_to: usize,
    /// Where the next block begins in the file.
    offset: u64,
    /// Where the file ends.
    size: u64,
}

impl Blocks {
    /// At the start of a file of `size` bytes.
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

    /// How much is read at once.
    pub(super) fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// The next record of what was read.
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

    /// The text of a record.
    pub(super) fn bytes(&self, record: Range<usize>) -> &[u8] {
        &self.buffer[record]
    }

    /// Whether a record is known to be UTF-8 without NUL, because all around it is.
    pub(super) fn is_clean(&self, record: &Range<usize>) -> bool {
        record.end <= self.clean_to
    }

    /// The physical line, from 1, at which the last record starts.
    pub(super) fn physical_line(&self) -> u64 {
        self.splitter.physical_line()
    }

    /// Reads the next block behind what is not split yet, but does not take it in. `None` if the file
    /// ends before its time. May be called again.
    pub(super) fn read(&mut self, file: &File) -> io::Result<Option<usize>> {
        if self.unsplit.start > 0 {
            self.buffer.copy_within(self.unsplit.clone(), 0);
            self.unsplit = 0..self.unsplit.len();
            self.clean_to = 0;
        }
        let end = self.unsplit.end;
        let wanted = self.block_bytes.min((self.size - self.offset) as usize).min(self.buffer.len() - end);
        let read = read_full(file, &mut self.buffer[end..end + wanted], self.offset)?;
        Ok((read == wanted).then_some(read))
    }

    /// Takes in the block that was read.
    pub(super) fn accept(&mut self, bytes: usize) {
        self.unsplit.end += bytes;
        self.offset += bytes as u64;
        let unsplit = &self.buffer[self.unsplit.clone()];
        // A character that the block's end cuts is in a record that the block's end cuts.
        let valid = match simdutf8::compat::from_utf8(unsplit) {
            Ok(_) => unsplit.len(),
            Err(error) => error.valid_up_to(),
        };
        self.clean_to = self.unsplit.start + memchr::memchr(0, &unsplit[..valid]).unwrap_or(valid);
    }
}
