//! What stands before the header and between fields.

use std::collections::BTreeMap;

use tidegate_core::split::{Dialect, Fields, Splitter, Step};

/// What may stand between fields, the likelier first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A record longer than this is none.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// More lines than these are no preamble.
const PREAMBLE_RECORDS_MAX: usize = 100;

/// How the records of a text are set apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) delimiter: u8,
    /// How many fields most records have.
    pub(crate) width: usize,
    /// Where the header, or the first row, begins in the text.
    pub(crate) start: usize,
    /// How many lines stand before it.
    pub(crate) skipped_lines: u64,
    /// Whether the first of them says the delimiter: `sep=;`.
    pub(crate) sep_line: bool,
}

impl Found {
    pub(crate) fn dialect(&self) -> Dialect {
        Dialect { delimiter: self.delimiter, quote: b'"' }
    }
}

/// Looks for the delimiter that divides the lines of a text most evenly. `whole` tells that nothing was cut off.
pub(crate) fn find(text: &str, whole: bool) -> Found {
    let (told, start) = sep_line(text);
    let body = &text.as_bytes()[start..];
    let best = match told {
        Some(delimiter) => Division::of(body, delimiter, whole),
        // Of equal ones the first, as `max_by` gives the last.
        None => DELIMITERS
            .into_iter()
            .map(|delimiter| Division::of(body, delimiter, whole))
            .rev()
            .max_by(|a, b| a.rank().total_cmp_each(&b.rank()))
            .unwrap_or_else(|| Division::of(body, b',', whole)),
    };
    let (skipped, lines) = best.preamble();
    Found {
        delimiter: best.delimiter,
        width: best.width.max(1),
        start: start + skipped,
        skipped_lines: lines + u64::from(told.is_some()),
        sep_line: told.is_some(),
    }
}

/// The delimiter that Excel is told in a first line, and where the next one begins.
fn sep_line(text: &str) -> (Option<u8>, usize) {
    let end = text.find('\n').map_or(text.len(), |at| at + 1);
    let line = text[..end].trim_end_matches(['\r', '\n']).trim_matches('"');
    let is_told = line.len() == 5 && line.is_char_boundary(4) && line[..4].eq_ignore_ascii_case("sep=");
    match is_told && line.is_ascii() {
        true => (Some(line.as_bytes()[4]), end),
        false => (None, 0),
    }
}

/// A text divided by one delimiter.
struct Division {
    delimiter: u8,
    /// The most frequent number of fields.
    width: usize,
    /// How many records have it, of how many.
    alike: usize,
    records: usize,
    /// How many fields are numbers or times, of how many; less those that a blank begins.
    typed: i64,
    fields: i64,
    first: Vec<First>,
}

/// One of the first records.
struct First {
    /// How many fields it has.
    width: usize,
    /// Where it begins, and on which line.
    start: usize,
    line: u64,
    /// Whether a field is a number or a time.
    typed: bool,
    /// Whether all but its first field are empty, as where a table's title was saved with the delimiters of a row.
    title: bool,
}

/// How good a division is, the most important first.
struct Rank([f64; 3]);

impl Rank {
    fn total_cmp_each(&self, other: &Self) -> std::cmp::Ordering {
        let pairs = self.0.iter().zip(&other.0);
        pairs.map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    }
}

impl Division {
    fn of(text: &[u8], delimiter: u8, whole: bool) -> Self {
        let dialect = Dialect { delimiter, quote: b'"' };
        let mut splitter = Splitter::new(dialect, RECORD_BYTES_MAX);
        let mut fields = Fields::default();
        let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
        let mut division =
            Self { delimiter, width: 0, alike: 0, records: 0, typed: 0, fields: 0, first: Vec::new() };
        let mut passed = 0;
        loop {
            let rest = &text[passed..];
            match splitter.next(rest, whole) {
                Step::Record { text, consumed } => {
                    let record = &rest[text.clone()];
                    let width = fields.split(record, dialect).map_or(0, |()| fields.len());
                    let typed = division.look(record, &fields, width);
                    if division.first.len() <= PREAMBLE_RECORDS_MAX {
                        let start = passed + text.start;
                        let is_empty = |index: usize| fields.get(index, record).is_empty();
                        let title = width > 2 && !typed && !is_empty(0) && (1..width).all(is_empty);
                        let line = splitter.physical_line();
                        division.first.push(First { width, start, line, typed, title });
                    }
                    *widths.entry(width).or_default() += 1;
                    division.records += 1;
                    passed += consumed;
                }
                Step::TooLong { consumed, .. } => passed += consumed,
                Step::More { .. } | Step::End => break,
            }
        }
        // Of equally frequent numbers the largest.
        if let Some((width, alike)) = widths.into_iter().max_by_key(|(_, alike)| *alike) {
            (division.width, division.alike) = (width, alike);
        }
        division
    }

    /// Counts what the fields of a record are; tells whether one of them is a number.
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

    /// Consistent first, then what makes numbers of most fields, then with more fields.
    fn rank(&self) -> Rank {
        let share = |part: i64, of: i64| if of == 0 { 0.0 } else { (part * 100 / of) as f64 };
        let alike = share(self.alike as i64, self.records as i64);
        match self.width > 1 && alike >= 40.0 {
            true => Rank([alike, share(self.typed, self.fields), self.width as f64]),
            false => Rank([0.0; 3]),
        }
    }

    /// How many bytes and lines stand before the first record that is like the others, or a header to them.
    fn preamble(&self) -> (usize, u64) {
        if self.width < 2 {
            return (0, 0);
        }
        let is_like_others = |record: &First| record.width == self.width && !record.title;
        let Some(at) = self.first.iter().position(is_like_others) else { return (0, 0) };
        let First { width, title, .. } = self.first[0];
        let is_followed_by_a_row = self.first[at].typed;
        // A header may have one name less than rows have fields, or a delimiter more at its end.
        let header = at == 1
            && !title
            && is_followed_by_a_row
            && ((width + 1 == self.width && self.width > 2) || width == self.width + 1);
        match at {
            0 => (0, 0),
            _ if header => (0, 0),
            _ => (self.first[at].start, self.first[at].line - 1),
        }
    }
}
