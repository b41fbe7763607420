//! From the bytes of a file to CSV records, for any bytes.
//!
//! RFC 4180 in the dialect of the dataset: LF or CRLF ends a record, a lone CR is data, a quoted field may span
//! lines, a blank line is not a record, a byte order mark is skipped. A quote counts as a quote only at the start of
//! a field, as in the `csv` crate. If the dialect has an escape, a line end behind it is data. If the dialect has
//! neither quotes nor an escape, each line is a record.
//!
//! **A quote that never closes does not swallow the file.** Only the first line of the record is given out, and
//! splitting continues at the next line, in three cases: the record passes the limit, the file ends, or text follows
//! a closing quote (which then belongs to a later field). Lines that escapes join count as one line, unless together
//! they pass the limit: then each of them is a record.
//!
//! A file may also have lines that are no records: see [`Syntax`]. **The physical lines of a file are its records and
//! its [`SkippedLines`].**

mod grammar;
mod rules;
mod skipped;
mod oversize;
mod fields;
mod count;
mod write;

use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2, memchr3};

use crate::syntax::{Delimiter, Dialect, Syntax};
use grammar::{End, RecordState};
use oversize::Oversize;
use rules::{Judgement, LineRules};

pub use count::other_delimiter;
pub(crate) use count::setting_for_count;
pub use fields::{FieldError, Fields};
pub use oversize::{PREFIX_BYTES, TooLong};
pub use rules::SepLine;
pub use skipped::SkippedLines;
pub use write::{write_field, write_quoted};

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
    marks: Marks,
    /// The rules by which lines are no records. `None` as soon as none can apply any more.
    rules: Option<LineRules>,
    /// Whether the first line may name the delimiter.
    may_have_sep_line: bool,
    max_record_bytes: usize,
    is_started: bool,
    is_ended: bool,
    oversize: Option<Oversize>,
    /// Whether the input begins within lines that escapes join and that together pass the limit.
    is_in_long_run: bool,
    /// How many physical lines are consumed.
    lines_passed: u64,
    /// The number of the physical line at which the last record starts.
    physical_line: u64,
    skipped: SkippedLines,
    /// How many bytes of the stream are consumed.
    passed: u64,
    /// How far a record with quotes that has not ended was followed.
    trail: Option<Trail>,
}

/// The bytes because of which a record may not end at its first line feed. A mark that the dialect does not have is a
/// line feed, which is looked for anyway.
#[derive(Clone, Copy, Debug)]
struct Marks {
    quote: u8,
    escape: Option<u8>,
}

/// How far a record that did not end was followed. Every line feed that it passed is inside quotes, or behind an
/// escape.
///
/// A later line whose own end is also inside quotes is in the same state there, so what follows need not be followed
/// again. Without this, a file of lines like `a","b` would cost its length times the limit.
#[derive(Clone, Copy, Debug)]
struct Trail {
    at: u64,
    within: RecordState,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl Splitter {
    /// A splitter at the start of a file. The caller's buffer must hold more than `max_record_bytes`.
    pub fn new(syntax: &Syntax, max_record_bytes: usize) -> Self {
        Self {
            rules: LineRules::new(syntax),
            may_have_sep_line: syntax.sep_line,
            ..Self::of_records(&syntax.dialect, max_record_bytes)
        }
    }

    /// A splitter for a text that has records and blank lines alone.
    pub fn of_records(dialect: &Dialect, max_record_bytes: usize) -> Self {
        let has_quotes = !matches!(dialect.delimiter, Delimiter::Widths(_));
        // Fields of fixed width have no quotes and no escapes, whatever the dialect says besides.
        let dialect = Dialect {
            quote: dialect.quote.filter(|_| has_quotes),
            escape: dialect.escape.filter(|_| has_quotes),
            ..dialect.clone()
        };
        Self {
            marks: Marks { quote: dialect.quote.unwrap_or(b'\n'), escape: dialect.escape },
            dialect,
            rules: None,
            may_have_sep_line: false,
            max_record_bytes,
            is_started: false,
            is_ended: false,
            oversize: None,
            is_in_long_run: false,
            lines_passed: 0,
            physical_line: 0,
            skipped: SkippedLines::default(),
            passed: 0,
            trail: None,
        }
    }

    /// The number of the physical line, from 1, at which the last record that was given out starts.
    pub fn physical_line(&self) -> u64 {
        self.physical_line
    }

    /// The number of physical lines that are passed. At the end it is the number of records and skipped lines. A last
    /// line without a line end counts.
    pub fn physical_lines(&self) -> u64 {
        self.lines_passed
    }

    /// The lines passed so far that are no records of their own.
    pub fn skipped(&self) -> SkippedLines {
        self.skipped
    }

    /// Counts the last record as a header, or as a repetition of the header, instead of as a record.
    pub fn count_header(&mut self) {
        self.skipped.header += 1;
    }

    /// The dialect of the file: the one that was given, unless the first line names another delimiter.
    pub fn dialect(&self) -> &Dialect {
        &self.dialect
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
        if self.is_ended {
            return Step::End;
        }
        let mut start = 0;
        if !self.is_started {
            match self.begin_input(input, eof) {
                Some(begun) => start = begun,
                None => return Step::More { consumed: 0 },
            }
        }
        if self.oversize.is_some() {
            return self.skip_oversize(input, start, eof);
        }
        loop {
            let rest = &input[start..];
            if rest.is_empty() {
                self.is_ended = eof;
                return if eof { Step::End } else { Step::More { consumed: start } };
            }
            if self.rules.is_some() {
                match self.skip_line(rest, eof) {
                    Some(0) => return Step::More { consumed: start },
                    Some(length) => {
                        start += length;
                        continue;
                    }
                    None => {}
                }
            }
            let found = self.record_end(rest, self.passed + start as u64);
            let Some(newline) = self.newline(found, rest, eof) else {
                return Step::More { consumed: start };
            };
            let text_end = line_text_end(rest, newline);
            if text_end > self.max_record_bytes {
                self.oversize = Some(Oversize::default());
                return self.skip_oversize(input, start, eof);
            }
            let consumed = (start + newline + 1).min(input.len());
            let physical_line = self.lines_passed + 1;
            self.pass_lines(found, &input[start..consumed]);
            if text_end == 0 && newline < rest.len() {
                self.skipped.blank += 1;
                start = consumed;
                continue;
            }
            self.physical_line = physical_line;
            self.note_record();
            return Step::Record { text: start..start + text_end, consumed };
        }
    }

    /// Passes over a byte order mark, and over the line that names the delimiter. Returns how many bytes they have;
    /// `None` if the input is too short to tell.
    fn begin_input(&mut self, input: &[u8], eof: bool) -> Option<usize> {
        if input.len() < BYTE_ORDER_MARK.len() && !eof && BYTE_ORDER_MARK.starts_with(input) {
            return None;
        }
        let mut start = if input.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        if self.may_have_sep_line {
            match SepLine::find(&input[start..], &self.dialect, eof) {
                SepLine::Unknown => return None,
                SepLine::Absent => {}
                SepLine::Found { delimiter, length } => {
                    start += length;
                    self.dialect.delimiter = Delimiter::Byte(delimiter);
                    self.skipped.sep += 1;
                    self.lines_passed += 1;
                    if let Some(rules) = &mut self.rules {
                        rules.note_sep_line(&self.dialect);
                    }
                }
            }
        }
        self.is_started = true;
        Some(start)
    }

    /// Passes over the line at the start of `rest` if a rule says that it is no record, and returns how many bytes it
    /// has. Returns 0 if the input is too short to tell.
    fn skip_line(&mut self, rest: &[u8], eof: bool) -> Option<usize> {
        let rules = self.rules.as_mut()?;
        let length = if rules.is_in_skipped_line() {
            Some(rules.pass_rest(rest))
        } else {
            match rules.judge(rest, eof, self.max_record_bytes) {
                Judgement::Record => None,
                Judgement::Unknown => Some(0),
                Judgement::Skipped(rule) => {
                    self.lines_passed += 1;
                    self.skipped.add(rule);
                    let length = rules.pass(rest);
                    let fits = line_text_end(rest, length - 1) <= self.max_record_bytes;
                    self.is_in_long_run &= fits && self.dialect.line_end(&rest[..length]).is_none();
                    Some(length)
                }
            }
        };
        if rules.is_empty() {
            self.rules = None;
        }
        length
    }

    fn note_record(&mut self) {
        if let Some(rules) = &mut self.rules {
            rules.note_record();
        }
    }

    /// Where the record at the start of `input` ends. `offset` is the position of `input` in the stream.
    fn record_end(&mut self, input: &[u8], offset: u64) -> End {
        let Marks { quote, escape } = self.marks;
        let mark = match escape {
            None => memchr2(b'\n', quote, input),
            Some(_) if self.is_in_long_run => memchr(b'\n', input),
            Some(escape) => memchr3(b'\n', quote, escape, input),
        };
        match mark {
            None => End::Missing,
            Some(at) if input[at] == b'\n' => End::Newline(at),
            Some(_) => self.marked_record_end(input, offset),
        }
    }

    /// The slow path, for a record whose first line holds a quote or an escape.
    fn marked_record_end(&mut self, input: &[u8], offset: u64) -> End {
        let window = &input[..input.len().min(self.max_record_bytes + 3)];
        let (mut at, mut within) = (0, RecordState::Start);
        if let Some(known) = self.trail
            && let Some(newline) = self.dialect.line_end(window)
            && offset + (newline as u64) < known.at
        {
            let end = self.dialect.follow(&window[..=newline], &mut at, &mut within);
            if !matches!(end, End::Unclosed) {
                return end;
            }
            (at, within) = ((known.at - offset) as usize, known.within);
        }
        let end = self.dialect.follow(window, &mut at, &mut within);
        if !matches!(end, End::LaterNewline(_)) {
            self.trail = Some(Trail { at: offset + at as u64, within });
        }
        end
    }

    /// The line feed at which the record in `rest` ends, or the length of `rest` if the record ends with the input.
    /// `None` if more input must come. If a quote never closes, closes too late or closes another one's field, the
    /// record is its first line alone.
    fn newline(&mut self, found: End, rest: &[u8], eof: bool) -> Option<usize> {
        let end = match found {
            End::Astray if self.dialect.line_end(rest).is_some() => None,
            End::Missing | End::Unclosed | End::Astray if !eof && rest.len() <= self.max_record_bytes + 2 => {
                return None;
            }
            End::Newline(at) | End::LaterNewline(at) => Some(at),
            End::Missing => Some(rest.len()),
            End::Unclosed | End::Astray => None,
        };
        let fits = |end: &usize| line_text_end(rest, *end) <= self.max_record_bytes;
        let newline = match end.filter(fits) {
            Some(newline) => newline,
            None => self.first_line_end(rest),
        };
        if self.is_in_long_run {
            self.is_in_long_run = newline < rest.len() && self.dialect.line_end(&rest[..=newline]).is_none();
        }
        Some(newline)
    }

    /// The end of the first line of `rest`. If it passes the limit together with lines that escapes join to it, it is
    /// a line of its own, and so are they.
    fn first_line_end(&mut self, rest: &[u8]) -> usize {
        let window = &rest[..rest.len().min(self.max_record_bytes + 3)];
        if !self.is_in_long_run
            && let Some(newline) = self.dialect.line_end(window)
            && line_text_end(rest, newline) <= self.max_record_bytes
        {
            return newline;
        }
        let fits = line_text_end(rest, rest.len()) <= self.max_record_bytes;
        if !self.is_in_long_run && fits && self.dialect.escape.is_some() {
            return rest.len(); // escapes join the last lines of the file
        }
        self.is_in_long_run = self.dialect.escape.is_some();
        memchr(b'\n', rest).unwrap_or(rest.len())
    }

    /// Counts the physical lines of a record.
    fn pass_lines(&mut self, found: End, record: &[u8]) {
        if matches!(found, End::Newline(_)) {
            self.lines_passed += 1;
            return;
        }
        let unended = u64::from(record.last() != Some(&b'\n'));
        let lines = memchr_iter(b'\n', record).count() as u64 + unended;
        self.lines_passed += lines;
        self.skipped.continuation += lines.saturating_sub(1);
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
        self.is_in_long_run = false;
        self.lines_passed += 1;
        self.physical_line = self.lines_passed;
        self.note_record();
        Step::TooLong { record: oversize.finish(), consumed: (start + end + 1).min(input.len()) }
    }
}

/// The end of a line's text, without its CR. The line ends at the line feed at `newline`, or with the input.
fn line_text_end(input: &[u8], newline: usize) -> usize {
    if newline < input.len() && newline > 0 && input[newline - 1] == b'\r' { newline - 1 } else { newline }
}
