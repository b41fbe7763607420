//! A text divided into records and fields by one dialect, and how even the result is.

use std::collections::BTreeMap;
use std::ops::Range;

use tidegate_core::split::{Fields, Splitter, Step};
use tidegate_core::syntax::Dialect;

/// The longest record, in bytes. A longer one is skipped.
pub(crate) const RECORD_BYTES_MAX: usize = 1 << 20;

/// The maximum number of records before the header.
pub(super) const PREAMBLE_RECORDS_MAX: usize = 100;

/// An empty line behind more records than this stands within the table.
const GAP_RECORDS_MAX: usize = 12;

/// How many of the last records are kept.
const LAST_RECORDS: usize = 5;

/// A text divided by one dialect.
pub(super) struct Division {
    pub(super) dialect: Dialect,
    /// The most frequent number of fields.
    pub(super) width: usize,
    /// The number of records with this width, and of all records.
    pub(super) alike: usize,
    pub(super) records: usize,
    /// The number of fields that are numbers or times, and of all fields.
    pub(super) typed: usize,
    pub(super) fields: usize,
    /// The number of fields that have blanks around them, outside quotes.
    pub(super) padded: usize,
    /// The number of fields that were quoted or had an escape.
    pub(super) literal: usize,
    /// The first and the last records. Short texts have some in both.
    pub(super) first: Vec<OneRecord>,
    pub(super) last: Vec<OneRecord>,
}

/// One record of a text.
#[derive(Clone, Debug)]
pub(super) struct OneRecord {
    /// The number of fields. 0 if the record cannot be divided.
    pub(super) width: usize,
    /// Its bytes in the text.
    pub(super) place: Range<usize>,
    /// Its first physical line, from 1, and its last one.
    pub(super) line: u64,
    pub(super) last_line: u64,
    /// Whether a field is a number or a time.
    pub(super) typed: bool,
    /// Whether all fields but the first are empty, as when a table's title was saved with the delimiters of a row.
    pub(super) title: bool,
}

/// Calls `each` with the place of each record in a text and with its physical line, from 1. `whole` tells that the
/// text was not cut off.
pub(super) fn each_record(
    text: &[u8],
    dialect: &Dialect,
    whole: bool,
    mut each: impl FnMut(Range<usize>, u64),
) {
    let mut splitter = Splitter::of_records(dialect, RECORD_BYTES_MAX);
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

impl Division {
    /// Divides a text. Records that `is_left_out` are not counted.
    pub(super) fn of(
        text: &[u8],
        dialect: &Dialect,
        whole: bool,
        is_left_out: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let mut fields = Fields::default();
        let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
        let mut division = Self {
            dialect: dialect.clone(),
            width: 0,
            alike: 0,
            records: 0,
            typed: 0,
            fields: 0,
            padded: 0,
            literal: 0,
            first: Vec::new(),
            last: Vec::new(),
        };
        each_record(text, dialect, whole, |place, line| {
            let record = &text[place.clone()];
            if is_left_out(record) {
                return;
            }
            let width = fields.split(record, dialect).map_or(0, |()| fields.len());
            let typed = division.look(record, &fields, width);
            let is_empty = |index: usize| fields.get(index, record).is_empty();
            let title = width > 2 && !typed && !is_empty(0) && (1..width).all(is_empty);
            let last_line = line + memchr::memchr_iter(b'\n', record).count() as u64;
            division.keep(OneRecord { width, place, line, last_line, typed, title });
            *widths.entry(width).or_default() += 1;
            division.records += 1;
        });
        // Of equally frequent numbers the largest is taken.
        if let Some((width, alike)) = widths.into_iter().max_by_key(|(_, alike)| *alike) {
            (division.width, division.alike) = (width, alike);
        }
        division
    }

    fn keep(&mut self, record: OneRecord) {
        if self.first.len() <= PREAMBLE_RECORDS_MAX {
            self.first.push(record.clone());
        }
        if self.last.len() == LAST_RECORDS {
            self.last.remove(0);
        }
        self.last.push(record);
    }

    /// Counts the fields of a record by their kinds. Returns whether one is a number or a time.
    fn look(&mut self, record: &[u8], fields: &Fields, width: usize) -> bool {
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let mut any = false;
        for index in 0..width {
            let field = fields.get(index, record);
            let digits = field.iter().filter(|byte| byte.is_ascii_digit()).count();
            let marks = |byte: &u8| matches!(byte, b'.' | b',' | b'-' | b'/' | b':' | b'+' | b'T' | b'Z');
            let is_typed = digits > 0 && field.iter().all(|byte| byte.is_ascii_digit() || marks(byte));
            let is_literal = fields.is_literal(index);
            let is_padded = !is_literal && (is_blank(field.first()) || is_blank(field.last()));
            self.fields += 1;
            self.typed += usize::from(is_typed);
            self.padded += usize::from(is_padded);
            self.literal += usize::from(is_literal);
            any |= is_typed;
        }
        any
    }

    /// Ranks by consistency, then by the share of numbers and times among the fields, less that of fields with blanks
    /// around them, then by the number of fields.
    pub(super) fn rank(&self) -> [i64; 3] {
        let percent = |part: i64, of: usize| if of == 0 { 0 } else { part * 100 / of as i64 };
        let alike = percent(self.alike as i64, self.records);
        let typed = percent(self.typed as i64 - self.padded as i64, self.fields);
        match self.width > 1 && alike >= 40 {
            true => [alike, typed, self.width as i64],
            false => [0, 0, 0],
        }
    }

    /// Whether the text is divided at all, and evenly.
    pub(super) fn is_found(&self) -> bool {
        self.rank()[0] > 0
    }

    /// The index, in `first`, of the first record that is like the others, or that is their header.
    pub(super) fn begin(&self) -> usize {
        if self.width < 2 {
            return 0;
        }
        let is_like_others = |record: &OneRecord| record.width == self.width && !record.title;
        let Some(at) = self.first.iter().position(is_like_others) else { return 0 };
        let OneRecord { width, title, .. } = self.first[0];
        let is_followed_by_a_row = self.first[at].typed;
        // A header may have one name less than a row has fields, or one delimiter more at its end.
        let header = at == 1
            && !title
            && is_followed_by_a_row
            && ((width + 1 == self.width && self.width > 2) || width == self.width + 1);
        match (header, self.behind_gap()) {
            (true, _) => 0,
            (false, Some(behind)) if at > 0 => behind.max(at),
            _ => at,
        }
    }

    /// The index of the first record like the others that follows an empty line, near the beginning of the text: an
    /// empty line often stands between what a program says of a table and the table.
    fn behind_gap(&self) -> Option<usize> {
        let near = &self.first[..self.first.len().min(GAP_RECORDS_MAX)];
        let behind = near.windows(2).position(|pair| pair[1].line > pair[0].last_line + 1)? + 1;
        let is_like_others = near[behind].width == self.width && !near[behind].title;
        (is_like_others && self.records > behind + 1).then_some(behind)
    }
}
