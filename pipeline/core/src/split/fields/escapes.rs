//! Records with quotes or escapes, in any dialect that has them.

use super::super::grammar::{DelimiterAt, escaped_length, is_blank};
use super::{FieldError, FieldFault, Fields, is_padded};
use crate::syntax::{Delimiter, Dialect};

/// What an escape stands for.
enum Escaped {
    /// The byte behind the escape.
    Same,
    /// This byte, for so many bytes behind the escape.
    Byte(u8, usize),
}

impl Fields {
    /// Divides a record where its delimiters are, and takes quotes and escapes out of its fields.
    pub(super) fn resolve(&mut self, text: &[u8], dialect: &Dialect) -> Result<(), FieldError> {
        let mut at = 0;
        loop {
            at = dialect.field_start(text, at);
            if at == text.len() && dialect.delimiter == Delimiter::Whitespace {
                return Ok(()); // blanks at the end divide nothing
            }
            let start = self.resolved.len();
            let (end, is_literal) = match dialect.quote {
                Some(quote) if text.get(at) == Some(&quote) => {
                    (self.resolve_quoted(text, at, quote, dialect)?, true)
                }
                _ => self.resolve_unquoted(text, at, dialect)?,
            };
            self.push_resolved(start, is_literal);
            match dialect.delimiter_at(&text[end..]) {
                DelimiterAt::Yes(length) => at = end + length,
                DelimiterAt::No | DelimiterAt::Cut => return Ok(()),
            }
        }
    }

    /// Appends the field whose quote opens at `open`, and returns where it ends.
    fn resolve_quoted(
        &mut self,
        text: &[u8],
        open: usize,
        quote: u8,
        dialect: &Dialect,
    ) -> Result<usize, FieldError> {
        let mut made = Made::default();
        let (start, mut at) = (self.resolved.len(), open + 1);
        loop {
            let mark = dialect.next_mark_in_quotes(quote, &text[at..]);
            let mark = at + mark.ok_or_else(|| self.error(FieldFault::Unclosed))?;
            self.resolved.extend_from_slice(&text[at..mark]);
            if text[mark] == quote {
                at = mark + 1;
                if text.get(at) != Some(&quote) {
                    break;
                }
                self.resolved.push(quote);
                at += 1;
            } else {
                if mark + 1 == text.len() {
                    return Err(self.error(FieldFault::Unclosed));
                }
                at = self.unescape(text, mark, text.len(), dialect, &mut made);
            }
        }
        self.check(start, made)?;
        let end = dialect.skip_padding(text, at);
        let is_astray =
            end < text.len() && !matches!(dialect.delimiter_at(&text[end..]), DelimiterAt::Yes(_));
        if is_astray { Err(self.error(FieldFault::Astray)) } else { Ok(end) }
    }

    /// Appends the field without quotes that begins at `at`. Returns where it ends, and whether it had an escape.
    fn resolve_unquoted(
        &mut self,
        text: &[u8],
        at: usize,
        dialect: &Dialect,
    ) -> Result<(usize, bool), FieldError> {
        let end = unquoted_end(text, at, dialect);
        let mut field = &text[at..end];
        // Only the end of the record can stand behind such an escape: the rest of it is in another record.
        if ends_with_escape(field, dialect) {
            return Err(self.error(FieldFault::Dangling));
        }
        if !dialect.trim && dialect.quote.is_some_and(|quote| is_padded(field, quote)) {
            return Err(self.error(FieldFault::Padded));
        }
        // A blank at the end is left out if it is not escaped itself.
        while dialect.trim
            && let Some((last, rest)) = field.split_last()
            && is_blank(last)
            && !ends_with_escape(rest, dialect)
        {
            field = rest;
        }
        let stays = dialect.escape.is_some_and(|escape| field == [escape, b'N']);
        let (start, mut from) = (self.resolved.len(), 0);
        let (mut made, mut is_literal) = (Made::default(), false);
        while !stays
            && let Some(escape) = dialect.escape
            && let Some(i) = memchr::memchr(escape, &field[from..])
        {
            self.resolved.extend_from_slice(&field[from..from + i]);
            is_literal |= from + i + 1 < field.len();
            from = self.unescape(field, from + i, field.len(), dialect, &mut made);
        }
        self.resolved.extend_from_slice(&field[from..]);
        self.check(start, made)?;
        Ok((end, is_literal))
    }

    /// Appends what the escape at `at` stands for, and returns where the text goes on. Something stands behind the
    /// escape.
    fn unescape(&mut self, text: &[u8], at: usize, end: usize, dialect: &Dialect, made: &mut Made) -> usize {
        let behind = &text[at + 1..end];
        let escaped = match dialect.c_escapes {
            true => c_escape(behind),
            false => Escaped::Same,
        };
        match escaped {
            Escaped::Byte(byte, length) => {
                made.nul |= byte == 0;
                made.not_ascii |= !byte.is_ascii();
                self.resolved.push(byte);
                at + 1 + length
            }
            Escaped::Same => {
                self.resolved.extend(behind.first());
                at + 2
            }
        }
    }

    /// Whether the bytes from `start` on, which escapes made in part, are text.
    fn check(&self, start: usize, made: Made) -> Result<(), FieldError> {
        if made.nul {
            return Err(self.error(FieldFault::Nul));
        }
        if made.not_ascii && std::str::from_utf8(&self.resolved[start..]).is_err() {
            return Err(self.error(FieldFault::NotUtf8));
        }
        Ok(())
    }
}

/// Which kinds of bytes the escapes of a field made.
#[derive(Clone, Copy, Debug, Default)]
struct Made {
    nul: bool,
    not_ascii: bool,
}

/// The first delimiter from `at` on that no escape makes data, or the end.
fn unquoted_end(text: &[u8], mut at: usize, dialect: &Dialect) -> usize {
    while let Some(i) = dialect.next_mark(&text[at..]) {
        at += i;
        if Some(text[at]) == dialect.escape {
            match escaped_length(&text[at..]) {
                Some(length) => at += length,
                None => return text.len(),
            }
        } else if let DelimiterAt::Yes(_) = dialect.delimiter_at(&text[at..]) {
            return at;
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Whether the last byte is an escape that no other escape makes data.
fn ends_with_escape(field: &[u8], dialect: &Dialect) -> bool {
    let is_escape = |byte: &&u8| Some(**byte) == dialect.escape;
    field.iter().rev().take_while(is_escape).count() % 2 == 1
}

/// What an escape means in C, by the bytes behind it.
fn c_escape(behind: &[u8]) -> Escaped {
    match behind.first() {
        Some(b'n') => Escaped::Byte(b'\n', 1),
        Some(b't') => Escaped::Byte(b'\t', 1),
        Some(b'r') => Escaped::Byte(b'\r', 1),
        Some(b'b') => Escaped::Byte(0x08, 1),
        Some(b'f') => Escaped::Byte(0x0c, 1),
        Some(b'v') => Escaped::Byte(0x0b, 1),
        Some(b'x') => number(&behind[1..], 16, 2)
            .map_or(Escaped::Same, |(byte, digits)| Escaped::Byte(byte, digits + 1)),
        Some(b'0'..=b'7') => {
            number(behind, 8, 3).map_or(Escaped::Same, |(byte, digits)| Escaped::Byte(byte, digits))
        }
        _ => Escaped::Same,
    }
}

/// The byte that the first digits are, and how many these are: at most `digits_max`, and as long as it is one byte.
fn number(text: &[u8], radix: u32, digits_max: usize) -> Option<(u8, usize)> {
    let (mut value, mut digits) = (0, 0);
    for byte in text.iter().take(digits_max) {
        let Some(digit) = char::from(*byte).to_digit(radix) else { break };
        let longer = value * radix + digit;
        if longer > 0xff {
            break;
        }
        (value, digits) = (longer, digits + 1);
    }
    (digits > 0).then_some((value as u8, digits))
}
