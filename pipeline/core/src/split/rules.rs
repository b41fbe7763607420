//! Which physical lines of a file are no records.

use memchr::memchr;

use super::grammar::is_blank;
use super::line_text_end;
use super::skipped::SkipRule;
use crate::syntax::{Delimiter, Dialect, Pattern, Syntax};

/// The rules by which a line is no record. A line is judged where a record would begin, before its quotes count.
#[derive(Debug)]
pub(super) struct LineRules {
    /// How many physical lines are still before the header, or before the first record.
    before_header: u32,
    /// Whether the header comes next: it need not match `record`.
    header_is_due: bool,
    /// Whether a line of blanks is an empty line. A blank that is this byte is a delimiter.
    blanks: Option<u8>,
    comment: Option<Vec<u8>>,
    skip: Vec<Pattern>,
    record: Option<Pattern>,
    /// Whether the rest of a skipped line, which has been counted, follows in the input.
    in_skipped_line: bool,
}

/// What the line at the start of an input is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Judgement {
    Record,
    /// The input ends before that is known.
    Unknown,
    /// No record, by this rule.
    Skipped(SkipRule),
}

impl LineRules {
    /// The rules of a syntax; `None` if it has none.
    pub(super) fn new(syntax: &Syntax) -> Option<Self> {
        let Syntax { dialect, header, skip_lines, comment, skip, record, .. } = syntax;
        let rules = Self {
            before_header: *skip_lines,
            header_is_due: *header,
            blanks: padding_excludes(dialect),
            comment: comment.as_ref().map(|comment| comment.clone().into_bytes()),
            skip: skip.clone(),
            record: record.clone(),
            in_skipped_line: false,
        };
        (!rules.is_empty()).then_some(rules)
    }

    /// Whether no line can be skipped any more.
    pub(super) fn is_empty(&self) -> bool {
        self.before_header == 0
            && self.blanks.is_none()
            && self.comment.is_none()
            && self.skip.is_empty()
            && self.record.is_none()
            && !self.in_skipped_line
    }

    /// Takes note that a record was given out.
    pub(super) fn note_record(&mut self) {
        self.header_is_due = false;
    }

    /// Takes note that the file's first line, which names the delimiter of `dialect`, was passed.
    pub(super) fn note_sep_line(&mut self, dialect: &Dialect) {
        self.before_header = self.before_header.saturating_sub(1);
        self.blanks = padding_excludes(dialect);
    }

    /// Judges the line at the start of `rest`. A line longer than `bytes_max` is judged by its beginning.
    pub(super) fn judge(&self, rest: &[u8], eof: bool, bytes_max: usize) -> Judgement {
        let newline = memchr(b'\n', rest);
        if newline.is_none() && !eof && rest.len() <= bytes_max + 2 {
            return Judgement::Unknown;
        }
        if self.before_header > 0 {
            return Judgement::Skipped(SkipRule::BeforeHeader);
        }
        let text_end = line_text_end(rest, newline.unwrap_or(rest.len()));
        let line = &rest[..text_end.min(bytes_max)];
        if line.is_empty() {
            return Judgement::Record; // the splitter passes over empty lines anyway
        }
        let is_padding = |byte: &u8| is_blank(byte) && Some(*byte) != self.blanks;
        if self.blanks.is_some() && line.iter().all(is_padding) {
            return Judgement::Skipped(SkipRule::Blank);
        }
        if self.comment.as_ref().is_some_and(|comment| line.starts_with(comment)) {
            return Judgement::Skipped(SkipRule::Comment);
        }
        if self.skip.iter().any(|pattern| pattern.is_match(line)) {
            return Judgement::Skipped(SkipRule::Pattern);
        }
        let is_other = |pattern: &Pattern| !pattern.is_match(line) && is_text(line);
        if !self.header_is_due && self.record.as_ref().is_some_and(is_other) {
            return Judgement::Skipped(SkipRule::OtherKind);
        }
        Judgement::Record
    }

    /// Passes over the line that was judged, and returns how many bytes of it are in `rest`.
    pub(super) fn pass(&mut self, rest: &[u8]) -> usize {
        self.before_header = self.before_header.saturating_sub(1);
        self.pass_rest(rest)
    }

    /// Whether the input begins within a skipped line.
    pub(super) fn is_in_skipped_line(&self) -> bool {
        self.in_skipped_line
    }

    /// Passes over the rest of a skipped line, and returns how many bytes of it are in `rest`.
    pub(super) fn pass_rest(&mut self, rest: &[u8]) -> usize {
        let newline = memchr(b'\n', rest);
        self.in_skipped_line = newline.is_none();
        newline.map_or(rest.len(), |newline| newline + 1)
    }
}

/// Whether a line, whose end may be cut off, is text. Of other lines no pattern of text tells the kind: they become dead
/// letters.
fn is_text(line: &[u8]) -> bool {
    std::str::from_utf8(line).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// The byte that is no padding because it is the delimiter; `None` if blanks around fields are data.
fn padding_excludes(dialect: &Dialect) -> Option<u8> {
    let delimiter = if let Delimiter::Byte(delimiter) = dialect.delimiter { delimiter } else { b'\n' };
    dialect.leaves_blanks_out().then_some(delimiter)
}

/// What [`SepLine::find`] found at the start of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SepLine {
    /// Another line.
    Absent,
    /// The input is too short to tell.
    Unknown,
    /// The line names this delimiter, and has this length with its line end.
    Found {
        /// The delimiter.
        delimiter: u8,
        /// The length of the line in bytes.
        length: usize,
    },
}

impl SepLine {
    /// The most bytes that the line has: `"sep=;"` and its line end.
    const BYTES_MAX: usize = 9;

    /// Looks for the line that names a file's delimiter for Excel, `sep=;`, at the start of a text behind its byte
    /// order mark. `eof` says that no input follows.
    pub fn find(text: &[u8], dialect: &Dialect, eof: bool) -> Self {
        if matches!(dialect.delimiter, Delimiter::Widths(_)) {
            return Self::Absent;
        }
        let head = &text[..text.len().min(Self::BYTES_MAX)];
        let newline = memchr(b'\n', head);
        let line = &head[..newline.unwrap_or(head.len())];
        let unquoted = line.strip_prefix(b"\"").unwrap_or(line);
        let begun = unquoted.len().min(4);
        if !unquoted[..begun].eq_ignore_ascii_case(&b"sep="[..begun]) {
            return Self::Absent;
        }
        if newline.is_none() && !(eof && text.len() < Self::BYTES_MAX) {
            return if text.len() < Self::BYTES_MAX { Self::Unknown } else { Self::Absent };
        }
        let line = line.strip_suffix(b"\r").filter(|_| newline.is_some()).unwrap_or(line);
        let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
        let Some((name, &[delimiter])) = line.split_at_checked(4) else { return Self::Absent };
        // No dialect is divided at this quote, so that a caller finds the line before it knows the dialect.
        let is_mark =
            matches!(delimiter, b'\t' | b' ') || (delimiter.is_ascii_punctuation() && delimiter != b'"');
        if !name.eq_ignore_ascii_case(b"sep=")
            || !is_mark
            || [dialect.quote, dialect.escape].contains(&Some(delimiter))
        {
            return Self::Absent;
        }
        Self::Found { delimiter, length: newline.map_or(text.len(), |newline| newline + 1) }
    }
}
