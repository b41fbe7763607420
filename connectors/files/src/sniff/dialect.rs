//! Detects the lines before the header, and the delimiter between fields.

use std::collections::BTreeMap;
use std::ops::Range;

use tidegate_core::split::{Dialect, Fields, Splitter, Step};

/// The possible delimiters, the likelier first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The longest record, in bytes. A longer one is skipped.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// The maximum number of records before the header.
const PREAMBLE_RECORDS_MAX: usize = 100;

/// The layout that was found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextLayout {
    pub(crate) delimiter: u8,
    /// The number of fields that most records have.
    pub(crate) width: usize,
    /// The byte offset of the header, or of the first row.
    pub(crate) start: usize,
    /// The number of lines before it.
    pub(crate) skipped_lines: u64,
    /// Whether the first of these lines names the delimiter: `sep=;`.
    pub(crate) sep_line: bool,
}

impl TextLayout {
    pub(crate) fn dialect(&self) -> Dialect {
        Dialect { delimiter: self.delimiter, quote: b'"' }
    }
}

/// Finds the delimiter that divides the lines of a text most evenly. `whole` tells that the text was not cut off.
pub(crate) fn find(text: &str, whole: bool) -> TextLayout {
    let (told, start) = sep_line(text);
    let body = &text.as_bytes()[start..];
    let best = match told {
        Some(delimiter) => Division::of(body, delimiter, whole),
        // Of equal ones the first is taken: the order is reversed, since `max_by_key` returns the last.
        None => DELIMITERS
            .into_iter()
            .map(|delimiter| Division::of(body, delimiter, whole))
            .rev()
            .max_by_key(Division::rank)
            .unwrap_or_else(|| Division::of(body, b',', whole)),
    };
    let (skipped, lines) = best.preamble();
    TextLayout {
        delimiter: best.delimiter,
        width: best.width.max(1),
        start: start + skipped,
        skipped_lines: lines + u64::from(told.is_some()),
        sep_line: told.is_some(),
    }
}

/// Returns the delimiter that a first line names for Excel, and the byte offset of the next line.
fn sep_line(text: &str) -> (Option<u8>, usize) {
    let end = text.find('\n').map_or(text.len(), |at| at + 1);
    let line = text[..end].trim_end_matches(['\r', '\n']).trim_matches('"');
    let is_told = line.len() == 5 && line.is_char_boundary(4) && line[..4].eq_ignore_ascii_case("sep=");
    match is_told && line.is_ascii() {
        true => (Some(line.as_bytes()[4]), end),
        false => (None, 0),
    }
}

/// Calls `each` with the place of each record in a text and with its line, from 1. `whole` tells that the text was not
/// cut off.
pub(crate) fn each_record(
    text: &[u8],
    dialect: Dialect,
    whole: bool,
    mut each: impl FnMut(Range<usize>, u64),
) {
    let mut splitter = Splitter::new(dialect, RECORD_BYTES_MAX);
    let mut passed = 0;
    loop {
        match splitter.next(&text[passed..], whole) {
            Step::Record { text, consumed } => {
                each(passed + text.start..passed + text.end, splitter.physical_line());
                passed += consumed;
            }
            Step::TooLong { consumed, .. } => passed += consumed,
            Step::More { .. } | Step::End => return,
        }
    }
}

/// A text divided by one delimiter.
struct Division {
    delimiter: u8,
    /// The most frequent number of fields.
    width: usize,
    /// The number of records with this width, and of all records.
    alike: usize,
    records: usize,
    /// The number of fields that are numbers or times, less those that begin with a blank, and of all fields.
    typed: i64,
    fields: i64,
    first: Vec<First>,
}

/// One of the first records.
struct First {
    /// The number of fields.
    width: usize,
    /// The byte offset of the record, and its line.
    start: usize,
    line: u64,
    /// Whether a field is a number or a time.
    typed: bool,
    /// Whether all fields but the first are empty, as when a table's title was saved with the delimiters of a row.
    title: bool,
}

impl Division {
    fn of(text: &[u8], delimiter: u8, whole: bool) -> Self {
        let dialect = Dialect { delimiter, quote: b'"' };
        let mut fields = Fields::default();
        let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
        let mut division =
            Self { delimiter, width: 0, alike: 0, records: 0, typed: 0, fields: 0, first: Vec::new() };
        each_record(text, dialect, whole, |place, line| {
            let (record, start) = (&text[place.clone()], place.start);
            let width = fields.split(record, dialect).map_or(0, |()| fields.len());
            let typed = division.look(record, &fields, width);
            if division.first.len() <= PREAMBLE_RECORDS_MAX {
                let is_empty = |index: usize| fields.get(index, record).is_empty();
                let title = width > 2 && !typed && !is_empty(0) && (1..width).all(is_empty);
                division.first.push(First { width, start, line, typed, title });
            }
            *widths.entry(width).or_default() += 1;
            division.records += 1;
        });
        // Of equally frequent numbers the largest is taken.
        if let Some((width, alike)) = widths.into_iter().max_by_key(|(_, alike)| *alike) {
            (division.width, division.alike) = (width, alike);
        }
        division
    }

    /// Counts the fields of a record that are numbers or times. Returns whether there is one.
    fn look(&mut self, record: &[u8], fields: &Fields, width: usize) -> bool {
        let mut any = false;
        for index in 0..width {
            let field = fields.get(index, record);
            let digits = field.iter().filter(|byte| byte.is_ascii_digit()).count();
            let marks = |byte: &u8| matches!(byte, b'.' | b',' | b'-' | b'/' | b':' | b'+' | b'T' | b'Z');
            let is_typed = digits > 0 && field.iter().all(|byte| byte.is_ascii_digit() || marks(byte));
            self.fields += 1;
            self.typed +=
                i64::from(is_typed) - i64::from(field.first() == Some(&b' ') && !fields.is_quoted(index));
            any |= is_typed;
        }
        any
    }

    /// Ranks by consistency, then by the share of numbers and times among the fields, then by the number of fields.
    fn rank(&self) -> [i64; 3] {
        let percent = |part: i64, of: i64| if of == 0 { 0 } else { part * 100 / of };
        let alike = percent(self.alike as i64, self.records as i64);
        match self.width > 1 && alike >= 40 {
            true => [alike, percent(self.typed, self.fields), self.width as i64],
            false => [0; 3],
        }
    }

    /// Returns how many bytes and lines precede the first record that is like the others, or that is their header.
    fn preamble(&self) -> (usize, u64) {
        if self.width < 2 {
            return (0, 0);
        }
        let is_like_others = |record: &First| record.width == self.width && !record.title;
        let Some(at) = self.first.iter().position(is_like_others) else { return (0, 0) };
        let First { width, title, .. } = self.first[0];
        let is_followed_by_a_row = self.first[at].typed;
        // A header may have one name less than a row has fields, or one delimiter more at its end.
        let header = at == 1
            && !title
            && is_followed_by_a_row
            && ((width + 1 == self.width && self.width > 2) || width == self.width + 1);
        if at == 0 || header { (0, 0) } else { (self.first[at].start, self.first[at].line - 1) }
    }
}
