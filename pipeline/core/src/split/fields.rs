//! The fields of one record, and how a field is written.

use memchr::{memchr, memchr3};

use super::{Dialect, quoted_field_end};

/// The quotes of a field do not follow RFC 4180.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the quote that opens field {field} {fault}; write the field in quotes with each quote inside doubled"
)]
pub struct QuoteError {
    /// The number of the field, from 1.
    pub field: usize,
    fault: &'static str,
}

impl QuoteError {
    const UNCLOSED: &'static str = "never closes";
    const ASTRAY: &'static str = "closes before the field ends";
    const PADDED: &'static str = "stands behind a blank, which makes it a part of the value";
}

/// The fields of one record. The buffer is reused for the next record.
#[derive(Debug, Default)]
pub struct Fields {
    ranges: Vec<(u32, u32)>,
    /// The fields without their quotes. Used only if the record has a quoted field.
    unquoted: Vec<u8>,
    /// Which fields were quoted. Used only if the record has a quoted field.
    quoted: Vec<bool>,
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

impl Fields {
    /// Divides `text` into its fields. [`Fields::get`] then returns them.
    ///
    /// # Errors
    ///
    /// If a field's quote does not close where the field ends, or blanks stand before the quote that opens it.
    pub fn split(&mut self, text: &[u8], dialect: Dialect) -> Result<(), QuoteError> {
        self.ranges.clear();
        self.split_plain(text, dialect);
        if !self.special.quote {
            return Ok(());
        }
        self.ranges.clear();
        self.split_quoted(text, dialect)
    }

    /// Divides at every delimiter and notes which other kinds of bytes there are, in one pass of eight bytes at a
    /// time.
    fn split_plain(&mut self, text: &[u8], Dialect { delimiter, quote }: Dialect) {
        let (mut quotes, mut returns, mut unusual, mut start) = (0, 0, 0, 0);
        let (words, rest) = text.as_chunks::<8>();
        let mut last = [b'\n'; 8]; // a byte that no dialect uses, and that is not noted
        last[..rest.len()].copy_from_slice(rest);
        for (i, word) in words.iter().chain([&last]).enumerate() {
            let word = u64::from_le_bytes(*word);
            let mut delimiters = bytes_equal(word, delimiter);
            quotes |= bytes_equal(word, quote);
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
        self.special =
            SpecialBytes { quote: quotes != 0, carriage_return: returns != 0, unusual: unusual != 0 };
    }

    fn split_quoted(&mut self, text: &[u8], Dialect { delimiter, quote }: Dialect) -> Result<(), QuoteError> {
        self.unquoted.clear();
        self.quoted.clear();
        let mut at = 0;
        loop {
            let start = self.unquoted.len();
            let is_quoted = text.get(at) == Some(&quote);
            if is_quoted {
                let end = quoted_field_end(text, at, quote)
                    .ok_or(QuoteError { field: self.ranges.len() + 1, fault: QuoteError::UNCLOSED })?;
                let mut inner = &text[at + 1..end - 1];
                while let Some(i) = memchr(quote, inner) {
                    self.unquoted.extend_from_slice(&inner[..=i]);
                    inner = &inner[i + 2..]; // a quote inside is doubled
                }
                self.unquoted.extend_from_slice(inner);
                at = end;
                if text.get(at).is_some_and(|byte| *byte != delimiter) {
                    return Err(QuoteError { field: self.ranges.len() + 1, fault: QuoteError::ASTRAY });
                }
            }
            let end = memchr(delimiter, &text[at..]).map_or(text.len(), |i| at + i);
            // In `1, "Ann, Jr"` neither the blank nor the quotes are meant as data, nor are two fields.
            if !is_quoted && is_padded(&text[at..end], quote) {
                return Err(QuoteError { field: self.ranges.len() + 1, fault: QuoteError::PADDED });
            }
            self.unquoted.extend_from_slice(&text[at..end]);
            self.ranges.push((start as u32, self.unquoted.len() as u32));
            self.quoted.push(is_quoted);
            if end == text.len() {
                return Ok(());
            }
            at = end + 1;
        }
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether nothing was split yet.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether no field is quoted, so that each field is a part of the text unchanged.
    pub fn is_plain(&self) -> bool {
        !self.special.quote
    }

    /// Whether the record is free of carriage returns.
    pub(crate) fn is_without_carriage_return(&self) -> bool {
        !self.special.carriage_return
    }

    /// Whether the record is ASCII without NUL.
    pub(crate) fn is_plain_ascii(&self) -> bool {
        !self.special.unusual
    }

    /// Field `i`, from 0, of the `text` that was split last, without its quotes.
    pub fn get<'a>(&'a self, i: usize, text: &'a [u8]) -> &'a [u8] {
        let (start, end) = self.ranges[i];
        let bytes = if self.is_plain() { text } else { &self.unquoted };
        &bytes[start as usize..end as usize]
    }

    /// Whether field `i` was quoted.
    pub fn is_quoted(&self, i: usize) -> bool {
        !self.is_plain() && self.quoted[i]
    }
}

const EACH: u64 = u64::from_le_bytes([0x01; 8]);
const HIGH: u64 = u64::from_le_bytes([0x80; 8]);

/// The high bit of each byte of `word` that equals `byte`, after Hacker's Delight, 6-1.
fn bytes_equal(word: u64, byte: u8) -> u64 {
    let zero_where_equal = word ^ (EACH * u64::from(byte));
    !(((zero_where_equal & !HIGH) + !HIGH) | zero_where_equal | !HIGH)
}

/// Appends `field` to a canonical line: RFC 4180, quoted only where it must be.
pub fn write_field(field: &[u8], out: &mut Vec<u8>) {
    if memchr3(b',', b'"', b'\n', field).is_none() && memchr(b'\r', field).is_none() {
        return out.extend_from_slice(field);
    }
    out.push(b'"');
    for (i, part) in field.split(|byte| *byte == b'"').enumerate() {
        if i > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part);
    }
    out.push(b'"');
}

/// Whether a field begins with blanks followed by a quote.
fn is_padded(field: &[u8], quote: u8) -> bool {
    let blanks = field.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    blanks > 0 && field.get(blanks) == Some(&quote)
}
