//! From the bytes of a file to records of CSV, whatever the bytes are.
//!
//! RFC 4180 with the dialect of the dataset: LF or CRLF ends a record, a lone CR is data, a quoted field
//! may span lines, a blank line is no record, a byte order mark is skipped. A quote counts as one only
//! at the start of a field, as in the `csv` crate.
//!
//! **A quote that never closes does not swallow the file.** When its record passes the limit, the file
//! ends, or text follows a closing quote (which then belongs to a later field), only the first physical line
//! of the record is given out, and splitting goes on at the next.

mod fields;

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};

pub use fields::{Fields, QuoteError, write_field};

/// How the fields of a file are set apart.
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

/// How much of a record that is too long is kept, in bytes.
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
    /// A record stands in this range of the input, without its line ending; go on at `consumed`.
    Record {
        /// Where the record's text stands.
        text: Range<usize>,
        /// How much of the input is done with.
        consumed: usize,
    },
    /// A line longer than the limit ended.
    TooLong {
        /// What is kept of it.
        record: TooLong,
        /// How much of the input is done with.
        consumed: usize,
    },
    /// No whole record is left: `consumed` bytes are done with; call again with more behind the rest.
    More {
        /// How much of the input is done with.
        consumed: usize,
    },
    /// The input has ended.
    End,
}

/// Splits a stream of bytes into records. It holds no bytes: the caller's buffer is its memory.
#[derive(Debug)]
pub struct Splitter {
    dialect: Dialect,
    max_record_bytes: usize,
    started: bool,
    oversize: Option<Oversize>,
    /// Line feeds passed so far.
    lines_passed: u64,
    /// Where the last record started.
    physical_line: u64,
    /// Bytes of the stream that are done with.
    passed: u64,
    /// How far a record with quotes was followed that has not ended.
    followed: Option<Followed>,
}

/// A line that is too long, while it passes by.
#[derive(Debug)]
struct Oversize {
    prefix: Vec<u8>,
    length: u64,
    hasher: blake3::Hasher,
    /// A CR that ended the last input: part of the line only if no LF follows.
    pending_cr: bool,
}

/// Where the record at the start of an input ends.
enum End {
    /// At this line feed, the first.
    Newline(usize),
    /// At this line feed, behind a quote, so that others may stand before it.
    QuotedNewline(usize),
    /// Not in the input, outside quotes.
    Missing,
    /// Not in the input, inside quotes.
    Unclosed,
    /// Unknown: text follows a closing quote, so the quotes of the record are not to be trusted.
    Astray,
}

/// How far a record that did not end was followed. Every line feed it passed is inside quotes.
///
/// So is the end of a later line that is inside quotes there by itself: what follows is the same, and need not
/// be followed again. Else a file of lines like `a","b` would cost its length times the limit.
#[derive(Clone, Copy, Debug)]
struct Followed {
    at: u64,
    within: Within,
}

/// What the next byte of a record is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// It begins a field, or ends an empty one.
    Start,
    /// A field without quotes, or what follows a closing quote.
    Plain,
    /// A quoted field.
    Quoted,
    /// Text that follows a closing quote, where the quotes went astray.
    Astray,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Splitter {
    /// A splitter at the start of a file. Its caller's buffer must hold `max_record_bytes` and some.
    pub fn new(dialect: Dialect, max_record_bytes: usize) -> Self {
        Self {
            dialect,
            max_record_bytes,
            started: false,
            oversize: None,
            lines_passed: 0,
            physical_line: 0,
            passed: 0,
            followed: None,
        }
    }

    /// The number of the physical line, from 1, at which the last record given out starts.
    pub fn physical_line(&self) -> u64 {
        self.physical_line
    }

    /// The next record of `input`; `eof` tells that nothing comes after it.
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
                // Asked again it says the same: a mark that was not consumed is to be skipped again.
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
            // A quote that never closes, closes too late or closes another's: the first line alone.
            let newline = match end.filter(|end| line_text_end(rest, *end) <= self.max_record_bytes) {
                Some(newline) => newline,
                None => memchr(b'\n', rest).unwrap_or(rest.len()),
            };
            let text_end = line_text_end(rest, newline);
            if text_end > self.max_record_bytes {
                self.oversize = Some(Oversize::new());
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

    /// Where the record at the start of `input` ends, which stands at `offset` in the stream.
    fn record_end(&mut self, input: &[u8], offset: u64) -> End {
        match memchr2(b'\n', self.dialect.quote, input) {
            None => End::Missing,
            Some(at) if input[at] == b'\n' => End::Newline(at),
            Some(_) => self.quoted_record_end(input, offset),
        }
    }

    /// The slow way, for a record whose first line holds a quote.
    fn quoted_record_end(&mut self, input: &[u8], offset: u64) -> End {
        let window = &input[..input.len().min(self.max_record_bytes + 3)];
        let (mut at, mut within) = (0, Within::Start);
        if let Some(known) = self.followed
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
            self.followed = Some(Followed { at: offset + at as u64, within });
        }
        end
    }

    fn skip_oversize(&mut self, input: &[u8], start: usize, eof: bool) -> Step {
        let Some(mut oversize) = self.oversize.take() else { return Step::More { consumed: start } };
        let rest = &input[start..];
        match memchr(b'\n', rest) {
            Some(newline) => {
                oversize.take_in(rest, line_text_end(rest, newline), newline > 0);
                self.lines_passed += 1;
                self.physical_line = self.lines_passed;
                Step::TooLong { record: oversize.finish(), consumed: start + newline + 1 }
            }
            None if eof => {
                oversize.take_in(rest, rest.len(), true);
                self.lines_passed += 1;
                self.physical_line = self.lines_passed;
                Step::TooLong { record: oversize.finish(), consumed: input.len() }
            }
            None => {
                let text_end = line_text_end(rest, rest.len());
                let ends_with_cr = rest.last() == Some(&b'\r');
                let text_end = if ends_with_cr { rest.len() - 1 } else { text_end };
                oversize.take_in(rest, text_end, !rest.is_empty());
                oversize.pending_cr = ends_with_cr || (rest.is_empty() && oversize.pending_cr);
                self.oversize = Some(oversize);
                Step::More { consumed: input.len() }
            }
        }
    }
}

impl Dialect {
    /// Follows a record from `at`, where the next byte is `within` what is said, to its end; leaves both
    /// where what follows does not change what was found.
    fn follow(self, window: &[u8], at: &mut usize, within: &mut Within) -> End {
        loop {
            match *within {
                Within::Start => match window.get(*at) {
                    None => return End::Missing,
                    Some(byte) if *byte == self.quote => (*at, *within) = (*at + 1, Within::Quoted),
                    Some(_) => *within = Within::Plain,
                },
                Within::Plain => match memchr2(self.delimiter, b'\n', &window[*at..]) {
                    None => {
                        *at = window.len();
                        return End::Missing;
                    }
                    Some(i) if window[*at + i] == b'\n' => return End::QuotedNewline(*at + i),
                    Some(i) => (*at, *within) = (*at + i + 1, Within::Start),
                },
                Within::Quoted => {
                    let Some(i) = memchr(self.quote, &window[*at..]) else {
                        *at = window.len();
                        return End::Unclosed;
                    };
                    *at += i;
                    match &window[*at + 1..] {
                        // The last quote seen may close the field, or be the first of two.
                        [] | [b'\r'] => return End::Missing,
                        [byte, ..] if *byte == self.quote => *at += 2,
                        [b'\n', ..] | [b'\r', b'\n', ..] => (*at, *within) = (*at + 1, Within::Plain),
                        [byte, ..] if *byte == self.delimiter => (*at, *within) = (*at + 1, Within::Plain),
                        _ => *within = Within::Astray,
                    }
                }
                Within::Astray => return End::Astray,
            }
        }
    }
}

impl Oversize {
    fn new() -> Self {
        Self { prefix: Vec::new(), length: 0, hasher: blake3::Hasher::new(), pending_cr: false }
    }

    /// Takes in `rest[..end]`, and first the CR held back, if `more` shows that it was data.
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

/// The end of the text of a line whose line feed stands at `newline`, or that the input ends.
fn line_text_end(input: &[u8], newline: usize) -> usize {
    if newline < input.len() && newline > 0 && input[newline - 1] == b'\r' { newline - 1 } else { newline }
}

/// The index behind the closing quote of the field that opens at `open`.
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
