//! From the bytes of a file to CSV records, for any bytes.
//!
//! RFC 4180 with the dialect of the dataset: LF or CRLF ends a record, a lone CR is data, a quoted field may span
//! lines, a blank line is not a record, a byte order mark is skipped. A quote counts as a quote only at the start of
//! a field, as in the `csv` crate.
//!
//! **A quote that never closes does not swallow the file.** Only the first physical line of the record is given out,
//! and splitting continues at the next line, in three cases: the record passes the limit, the file ends, or text
//! follows a closing quote (which then belongs to a later field).

mod fields;

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};

pub use fields::{Fields, QuoteError, write_field};

/// The bytes that separate and enclose the fields of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Between fields; an ASCII byte.
    pub delimiter: u8,
    /// Around a field that holds delimiters, quotes or line endings; doubled inside one.
    pub quote: u8,
}

impl Dialect {
    /// RFC 4180, which is what Postgres's `copy ... (format csv)` reads.
    pub const STANDARD: Self = Self { delimiter: b',', quote: b'"' };
}

/// How many bytes of a record that is too long are kept.
pub const PREFIX_BYTES: usize = 1024;

/// A record that passed the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its first [`PREFIX_BYTES`] bytes.
    pub prefix: Vec<u8>,
    /// Its length in bytes, without the line ending.
    pub length: u64,
    /// BLAKE3 of all of it.
    pub hash: blake3::Hash,
}

/// What [`Splitter::next`] found at the start of its input.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A record is in the range `text` of the input, without its line ending. Continue at `consumed`.
    Record {
        /// The range of the record's text.
        text: Range<usize>,
        /// How many bytes of the input are consumed.
        consumed: usize,
    },
    /// A line longer than the limit has ended.
    TooLong {
        /// What is kept of the line.
        record: TooLong,
        /// How many bytes of the input are consumed.
        consumed: usize,
    },
    /// No whole record is left, and `consumed` bytes are consumed. Call again with the rest, followed by more input.
    More {
        /// How many bytes of the input are consumed.
        consumed: usize,
    },
    /// The input has ended.
    End,
}

/// Splits a stream of bytes into records. It holds no bytes: the caller keeps the unconsumed ones.
#[derive(Debug)]
pub struct Splitter {
    dialect: Dialect,
    max_record_bytes: usize,
    started: bool,
    oversize: Option<Oversize>,
    /// How many line feeds are consumed.
    lines_passed: u64,
    /// The number of the physical line at which the last record starts.
    physical_line: u64,
    /// How many bytes of the stream are consumed.
    passed: u64,
    /// How far a record with quotes that has not ended was followed.
    trail: Option<Trail>,
}

/// The part of a line that is too long which is consumed so far.
#[derive(Debug, Default)]
struct Oversize {
    prefix: Vec<u8>,
    length: u64,
    hasher: blake3::Hasher,
    /// Whether the last input ended in a CR. It is part of the line only if no LF follows.
    pending_cr: bool,
}

/// Where the record at the start of an input ends.
enum End {
    /// At this line feed, which is the first of the input.
    Newline(usize),
    /// At this line feed, after a quote: line feeds inside quotes may precede it.
    QuotedNewline(usize),
    /// Not in the input, which ends outside quotes.
    Missing,
    /// Not in the input, which ends inside quotes.
    Unclosed,
    /// Unknown: text follows a closing quote, so the quotes of the record cannot be trusted.
    Astray,
}

/// How far a record that did not end was followed. Every line feed that it passed is inside quotes.
///
/// A later line whose own end is also inside quotes is in the same state there, so what follows need not be followed
/// again. Without this, a file of lines like `a","b` would cost its length times the limit.
#[derive(Clone, Copy, Debug)]
struct Trail {
    at: u64,
    within: RecordState,
}

/// The state in which the next byte of a record is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecordState {
    /// The byte begins a field, or ends an empty one.
    Start,
    /// Inside a field without quotes, or after a closing quote.
    Plain,
    /// Inside a quoted field.
    Quoted,
    /// At text that follows a closing quote: the quotes went astray.
    Astray,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Splitter {
    /// A splitter at the start of a file. The caller's buffer must hold more than `max_record_bytes`.
    pub fn new(dialect: Dialect, max_record_bytes: usize) -> Self {
        Self {
            dialect,
            max_record_bytes,
            started: false,
            oversize: None,
            lines_passed: 0,
            physical_line: 0,
            passed: 0,
            trail: None,
        }
    }

    /// The number of the physical line, from 1, at which the last record that was given out starts.
    pub fn physical_line(&self) -> u64 {
        self.physical_line
    }

    /// The next record of `input`. `eof` says that no input follows.
    pub fn next(&mut self, input: &[u8], eof: bool) -> Step {
        let step = self.step(input, eof);
        if let Step::Record { consumed, .. } | Step::TooLong { consumed, .. } | Step::More { consumed } = step
        {
            self.passed += consumed as u64;
        }
        step
    }

    fn step(&mut self, input: &[u8], eof: bool) -> Step {
        let mut start = 0;
        if !self.started {
            if input.len() < BYTE_ORDER_MARK.len() && !eof && BYTE_ORDER_MARK.starts_with(input) {
                return Step::More { consumed: 0 };
            }
            self.started = true;
            if input.starts_with(BYTE_ORDER_MARK) {
                start = BYTE_ORDER_MARK.len();
            }
        }
        if self.oversize.is_some() {
            return self.skip_oversize(input, start, eof);
        }
        loop {
            let rest = &input[start..];
            if rest.is_empty() {
                if !eof {
                    return Step::More { consumed: start };
                }
                // Called again, the answer must be the same: a mark that was not consumed must be skipped again.
                self.started = self.passed > 0;
                return Step::End;
            }
            let found = self.record_end(rest, self.passed + start as u64);
            let end = match found {
                End::Astray if memchr(b'\n', rest).is_some() => None,
                End::Missing | End::Unclosed | End::Astray
                    if !eof && rest.len() <= self.max_record_bytes + 2 =>
                {
                    return Step::More { consumed: start };
                }
                End::Newline(at) | End::QuotedNewline(at) => Some(at),
                End::Missing => Some(rest.len()),
                End::Unclosed | End::Astray => None,
            };
            // If a quote never closes, closes too late or closes another one's field, the record is its first line
            // alone.
            let newline = match end.filter(|end| line_text_end(rest, *end) <= self.max_record_bytes) {
                Some(newline) => newline,
                None => memchr(b'\n', rest).unwrap_or(rest.len()),
            };
            let text_end = line_text_end(rest, newline);
            if text_end > self.max_record_bytes {
                self.oversize = Some(Oversize::default());
                return self.skip_oversize(input, start, eof);
            }
            let consumed = (start + newline + 1).min(input.len());
            let physical_line = self.lines_passed + 1;
            self.lines_passed += match found {
                End::Newline(_) => 1,
                _ => memchr_iter(b'\n', &input[start..consumed]).count() as u64,
            };
            if text_end == 0 && newline < rest.len() {
                start = consumed; // a blank line
                continue;
            }
            self.physical_line = physical_line;
            return Step::Record { text: start..start + text_end, consumed };
        }
    }

    /// Where the record at the start of `input` ends. `offset` is the position of `input` in the stream.
    fn record_end(&mut self, input: &[u8], offset: u64) -> End {
        match memchr2(b'\n', self.dialect.quote, input) {
            None => End::Missing,
            Some(at) if input[at] == b'\n' => End::Newline(at),
            Some(_) => self.quoted_record_end(input, offset),
        }
    }

    /// The slow path, for a record whose first line holds a quote.
    fn quoted_record_end(&mut self, input: &[u8], offset: u64) -> End {
        let window = &input[..input.len().min(self.max_record_bytes + 3)];
        let (mut at, mut within) = (0, RecordState::Start);
        if let Some(known) = self.trail
            && let Some(newline) = memchr(b'\n', window)
            && offset + (newline as u64) < known.at
        {
            let end = self.dialect.follow(&window[..=newline], &mut at, &mut within);
            if !matches!(end, End::Unclosed) {
                return end;
            }
            (at, within) = ((known.at - offset) as usize, known.within);
        }
        let end = self.dialect.follow(window, &mut at, &mut within);
        if !matches!(end, End::QuotedNewline(_)) {
            self.trail = Some(Trail { at: offset + at as u64, within });
        }
        end
    }

    fn skip_oversize(&mut self, input: &[u8], start: usize, eof: bool) -> Step {
        let Some(mut oversize) = self.oversize.take() else { return Step::More { consumed: start } };
        let rest = &input[start..];
        let newline = memchr(b'\n', rest);
        if newline.is_none() && !eof {
            let ends_with_cr = rest.last() == Some(&b'\r');
            oversize.take_in(rest, rest.len() - usize::from(ends_with_cr), !rest.is_empty());
            oversize.pending_cr = ends_with_cr || (rest.is_empty() && oversize.pending_cr);
            self.oversize = Some(oversize);
            return Step::More { consumed: input.len() };
        }
        let end = newline.unwrap_or(rest.len());
        oversize.take_in(rest, line_text_end(rest, end), newline != Some(0));
        self.lines_passed += 1;
        self.physical_line = self.lines_passed;
        Step::TooLong { record: oversize.finish(), consumed: (start + end + 1).min(input.len()) }
    }
}

impl Dialect {
    /// Follows a record to its end, from `at` in the state `within`. Leaves in both a place from which following
    /// again finds the same end.
    fn follow(self, window: &[u8], at: &mut usize, within: &mut RecordState) -> End {
        loop {
            match *within {
                RecordState::Start => match window.get(*at) {
                    None => return End::Missing,
                    Some(byte) if *byte == self.quote => (*at, *within) = (*at + 1, RecordState::Quoted),
                    Some(_) => *within = RecordState::Plain,
                },
                RecordState::Plain => match memchr2(self.delimiter, b'\n', &window[*at..]) {
                    None => {
                        *at = window.len();
                        return End::Missing;
                    }
                    Some(i) if window[*at + i] == b'\n' => return End::QuotedNewline(*at + i),
                    Some(i) => (*at, *within) = (*at + i + 1, RecordState::Start),
                },
                RecordState::Quoted => {
                    let Some(i) = memchr(self.quote, &window[*at..]) else {
                        *at = window.len();
                        return End::Unclosed;
                    };
                    *at += i;
                    match &window[*at + 1..] {
                        // The last quote of the input may close the field, or be the first of two.
                        [] | [b'\r'] => return End::Missing,
                        [byte, ..] if *byte == self.quote => *at += 2,
                        [b'\n', ..] | [b'\r', b'\n', ..] => (*at, *within) = (*at + 1, RecordState::Plain),
                        [byte, ..] if *byte == self.delimiter => {
                            (*at, *within) = (*at + 1, RecordState::Plain)
                        }
                        _ => *within = RecordState::Astray,
                    }
                }
                RecordState::Astray => return End::Astray,
            }
        }
    }
}

impl Oversize {
    /// Adds `rest[..end]`. Adds the CR held back before it, if `more` shows that the CR was data.
    fn take_in(&mut self, rest: &[u8], end: usize, more: bool) {
        if self.pending_cr && more {
            self.add(b"\r");
        }
        if more {
            self.pending_cr = false;
        }
        self.add(&rest[..end]);
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = PREFIX_BYTES - self.prefix.len();
        self.prefix.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.length += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    fn finish(self) -> TooLong {
        TooLong { prefix: self.prefix, length: self.length, hash: self.hasher.finalize() }
    }
}

/// The end of a line's text, without its CR. The line ends at the line feed at `newline`, or with the input.
fn line_text_end(input: &[u8], newline: usize) -> usize {
    if newline < input.len() && newline > 0 && input[newline - 1] == b'\r' { newline - 1 } else { newline }
}

/// The index after the closing quote of the field that opens at `open`.
fn quoted_field_end(input: &[u8], open: usize, quote: u8) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += memchr(quote, &input[at..])? + 1;
        if input.get(at) != Some(&quote) {
            return Some(at);
        }
        at += 1;
    }
}
