//! The fields of one record.

mod division;
mod escapes;

use memchr::memchr;

use crate::syntax::{Delimiter, Dialect};

/// A field of a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", fault.describe(*field))]
pub struct FieldError {
    /// The number of the field, from 1.
    pub field: usize,
    fault: FieldFault,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldFault {
    /// Its quote does not close.
    Unclosed,
    /// Text follows its closing quote.
    Astray,
    /// Blanks stand before its quote.
    Padded,
    /// Nothing stands behind the escape that ends it.
    Dangling,
    /// An escape makes a NUL.
    Nul,
    /// Escapes make bytes that are not UTF-8.
    NotUtf8,
}

impl FieldFault {
    fn describe(self, field: usize) -> String {
        let doubled = "write the field in quotes with each quote inside doubled";
        match self {
            Self::Unclosed => format!("the quote that opens field {field} never closes; {doubled}"),
            Self::Astray => {
                format!("the quote that opens field {field} closes before the field ends; {doubled}")
            }
            Self::Padded => format!(
                "the quote that opens field {field} stands behind a blank, which makes it a part of the value; if \
                 blanks around fields mean nothing, set 'trim: true' in 'csv', or {doubled}"
            ),
            Self::Dangling => format!(
                "nothing stands behind the escape that ends field {field}: what it belongs to is cut off, or is a line that \
                 is too long; double the escape if it is a part of the value"
            ),
            Self::Nul => format!(
                "an escape in field {field} makes a NUL, which Postgres cannot store; remove it, or leave 'escapes: c' \
                 out of 'csv' if it is meant as it stands"
            ),
            Self::NotUtf8 => format!(
                "the escapes in field {field} make bytes that are not UTF-8; write the characters themselves, or \
                 their bytes in UTF-8"
            ),
        }
    }
}

/// The fields of one record. The buffer is reused for the next record.
#[derive(Debug, Default)]
pub struct Fields {
    ranges: Vec<(u32, u32)>,
    /// Whether the fields are in `resolved`, and not in the text itself.
    is_resolved: bool,
    /// The fields without their quotes and escapes. Used only if the record has quotes or escapes.
    resolved: Vec<u8>,
    /// Which fields were quoted, or had an escape. Used only if the record has quotes or escapes.
    literal: Vec<bool>,
    /// Whether blanks around a field were left out.
    is_trimmed: bool,
    /// Whether the dialect has no quotes, so that an empty field cannot be told from an empty text. Places of fixed
    /// width are never empty texts: blanks fill what is missing there.
    is_quoteless: bool,
    /// Where the characters of a record begin. Used only for fields of fixed width in a text that is not ASCII.
    characters: Vec<u32>,
    special: SpecialBytes,
}

/// Which kinds of bytes a record holds, besides its delimiters.
#[derive(Clone, Copy, Debug, Default)]
struct SpecialBytes {
    quote: bool,
    carriage_return: bool,
    /// NUL, or bytes that are not ASCII.
    unusual: bool,
}

impl SpecialBytes {
    fn of(text: &[u8], dialect: &Dialect) -> Self {
        Self {
            quote: dialect.quote.is_some_and(|quote| memchr(quote, text).is_some()),
            carriage_return: memchr(b'\r', text).is_some(),
            unusual: !text.is_ascii() || memchr(0, text).is_some(),
        }
    }
}

impl Fields {
    /// Divides `text` into its fields. [`Fields::get`] then returns them.
    ///
    /// # Errors
    ///
    /// If a field's quote does not close where the field ends, if blanks stand before the quote that opens it and the
    /// dialect does not leave them out, or if escapes make no text.
    pub fn split(&mut self, text: &[u8], dialect: &Dialect) -> Result<(), FieldError> {
        self.ranges.clear();
        self.is_resolved = false;
        self.is_trimmed = false;
        let is_fixed = matches!(dialect.delimiter, Delimiter::Widths(_));
        self.is_quoteless = dialect.quote.is_none() && !is_fixed;
        match &dialect.delimiter {
            Delimiter::Byte(delimiter) => self.split_plain(text, *delimiter, dialect.quote),
            delimiter => {
                self.special = SpecialBytes::of(text, dialect);
                match delimiter {
                    Delimiter::Text(delimiter) => self.split_at_text(text, delimiter.as_bytes()),
                    Delimiter::Whitespace => self.split_at_blanks(text),
                    Delimiter::Widths(widths) => {
                        self.split_widths(text, widths);
                        return Ok(());
                    }
                    Delimiter::Byte(_) => {}
                }
            }
        }
        let has_escape = dialect.escape.is_some_and(|escape| memchr(escape, text).is_some());
        if !self.special.quote && !has_escape {
            if dialect.trim {
                self.trim(text);
            }
            return Ok(());
        }
        self.ranges.clear();
        self.resolved.clear();
        self.literal.clear();
        self.is_resolved = true;
        match (&dialect.delimiter, dialect.quote) {
            (Delimiter::Byte(delimiter), Some(quote)) if dialect.escape.is_none() && !dialect.trim => {
                self.split_quoted(text, *delimiter, quote)
            }
            _ => self.resolve(text, dialect),
        }
    }

    /// Divides at every delimiter and notes which other kinds of bytes there are, in one pass of eight bytes at a
    /// time.
    fn split_plain(&mut self, text: &[u8], delimiter: u8, quote: Option<u8>) {
        let (mut quotes, mut returns, mut unusual, mut start) = (0, 0, 0, 0);
        let any_quote = quote.unwrap_or(delimiter);
        let (words, rest) = text.as_chunks::<8>();
        let mut last = [b'\n'; 8]; // a byte that no dialect uses, and that is not noted
        last[..rest.len()].copy_from_slice(rest);
        for (i, word) in words.iter().chain([&last]).enumerate() {
            let word = u64::from_le_bytes(*word);
            let mut delimiters = bytes_equal(word, delimiter);
            quotes |= bytes_equal(word, any_quote);
            returns |= bytes_equal(word, b'\r');
            unusual |= (word.wrapping_sub(EACH) | word) & HIGH;
            while delimiters != 0 {
                let at = (i * 8) as u32 + delimiters.trailing_zeros() / 8;
                self.ranges.push((start, at));
                start = at + 1;
                delimiters &= delimiters - 1;
            }
        }
        self.ranges.push((start, text.len() as u32));
        self.special = SpecialBytes {
            quote: quotes != 0 && quote.is_some(),
            carriage_return: returns != 0,
            unusual: unusual != 0,
        };
    }

    /// Divides a record with quotes, in a dialect that has no more than a delimiter of one byte and quotes.
    fn split_quoted(&mut self, text: &[u8], delimiter: u8, quote: u8) -> Result<(), FieldError> {
        let mut at = 0;
        loop {
            let start = self.resolved.len();
            let is_quoted = text.get(at) == Some(&quote);
            if is_quoted {
                let end =
                    quoted_field_end(text, at, quote).ok_or_else(|| self.error(FieldFault::Unclosed))?;
                let mut inner = &text[at + 1..end - 1];
                while let Some(i) = memchr(quote, inner) {
                    self.resolved.extend_from_slice(&inner[..=i]);
                    inner = &inner[i + 2..]; // a quote inside is doubled
                }
                self.resolved.extend_from_slice(inner);
                at = end;
                if text.get(at).is_some_and(|byte| *byte != delimiter) {
                    return Err(self.error(FieldFault::Astray));
                }
            }
            let end = memchr(delimiter, &text[at..]).map_or(text.len(), |i| at + i);
            // In `1, "Ann, Jr"` neither the blank nor the quotes are meant as data, nor are two fields.
            if !is_quoted && is_padded(&text[at..end], quote) {
                return Err(self.error(FieldFault::Padded));
            }
            self.resolved.extend_from_slice(&text[at..end]);
            self.push_resolved(start, is_quoted);
            if end == text.len() {
                return Ok(());
            }
            at = end + 1;
        }
    }

    /// Ends a field that begins at `start` of the resolved bytes.
    fn push_resolved(&mut self, start: usize, is_literal: bool) {
        self.ranges.push((start as u32, self.resolved.len() as u32));
        self.literal.push(is_literal);
    }

    /// The error of the field that comes next.
    fn error(&self, fault: FieldFault) -> FieldError {
        FieldError { field: self.ranges.len() + 1, fault }
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// How many fields there are, in words.
    pub(crate) fn count(&self) -> String {
        if self.len() == 1 { "1 field".to_owned() } else { format!("{} fields", self.len()) }
    }

    /// Whether nothing was split yet, or the record has no field. A record without fields is a line of blanks whose
    /// fields are divided by blanks.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether each field is a part of the text unchanged, because none is quoted or has an escape.
    pub fn is_plain(&self) -> bool {
        !self.is_resolved
    }

    /// Whether blanks around a field were left out of a record without quotes.
    pub(crate) fn is_trimmed(&self) -> bool {
        self.is_trimmed
    }

    /// Whether the record is free of carriage returns.
    pub(crate) fn is_without_carriage_return(&self) -> bool {
        !self.special.carriage_return
    }

    /// Whether the record is ASCII without NUL.
    pub(crate) fn is_plain_ascii(&self) -> bool {
        !self.special.unusual
    }

    /// Field `i`, from 0, of the `text` that was split last, without its quotes and escapes.
    pub fn get<'a>(&'a self, i: usize, text: &'a [u8]) -> &'a [u8] {
        let (start, end) = self.ranges[i];
        let bytes = if self.is_plain() { text } else { &self.resolved };
        &bytes[start as usize..end as usize]
    }

    /// Whether field `i` was quoted, or had an escape, or is empty where nothing can be quoted. Such a field is a value
    /// even where the same text without quotes and escapes means missing.
    pub fn is_literal(&self, i: usize) -> bool {
        let is_empty = || self.ranges[i].0 == self.ranges[i].1;
        (self.is_resolved && self.literal[i]) || (self.is_quoteless && is_empty())
    }
}

const EACH: u64 = u64::from_le_bytes([0x01; 8]);
const HIGH: u64 = u64::from_le_bytes([0x80; 8]);

/// The high bit of each byte of `word` that equals `byte`, after Hacker's Delight, 6-1.
fn bytes_equal(word: u64, byte: u8) -> u64 {
    let zero_where_equal = word ^ (EACH * u64::from(byte));
    !(((zero_where_equal & !HIGH) + !HIGH) | zero_where_equal | !HIGH)
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

/// Whether a field begins with blanks followed by a quote.
fn is_padded(field: &[u8], quote: u8) -> bool {
    let blanks = field.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    blanks > 0 && field.get(blanks) == Some(&quote)
}
