//! The grammar of a dialect: which bytes of a text have a meaning, and where a record ends.

use memchr::{memchr, memchr2, memchr3};

use crate::syntax::{Delimiter, Dialect};

/// Where the record at the start of an input ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// At this line feed, which is the first of the input.
    Newline(usize),
    /// At this line feed. Line feeds in quotes, or behind an escape, may precede it.
    LaterNewline(usize),
    /// Not in the input, which ends outside quotes.
    Missing,
    /// Not in the input, which ends inside quotes, or behind a closing quote in what may be a delimiter.
    Unclosed,
    /// Unknown: text follows a closing quote, so the quotes of the record cannot be trusted.
    Astray,
}

/// The state in which the next byte of a record is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordState {
    /// The byte begins a field, or ends an empty one.
    Start,
    /// Inside a field without quotes, or after a closing quote.
    Plain,
    /// Inside a quoted field.
    Quoted,
    /// At text that follows a closing quote: the quotes went astray.
    Astray,
}

/// Whether a delimiter begins at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DelimiterAt {
    No,
    /// The text ends before that is known.
    Cut,
    /// One of this length, in bytes.
    Yes(usize),
}

/// Whether a byte is a blank or a tab.
pub(super) fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// How many bytes an escape at the start of `text` covers, itself included. `None` if the text ends before that is
/// known. A CRLF behind an escape is covered as a whole.
pub(super) fn escaped_length(text: &[u8]) -> Option<usize> {
    match text {
        [] | [_] | [_, b'\r'] => None,
        [_, b'\r', b'\n', ..] => Some(3),
        _ => Some(2),
    }
}

impl Dialect {
    /// Whether blanks and tabs around fields are left out.
    pub(super) fn leaves_blanks_out(&self) -> bool {
        self.trim || matches!(self.delimiter, Delimiter::Whitespace | Delimiter::Widths(_))
    }

    /// Whether a delimiter begins at the start of `text`.
    pub(super) fn delimiter_at(&self, text: &[u8]) -> DelimiterAt {
        match &self.delimiter {
            Delimiter::Byte(delimiter) if text.first() == Some(delimiter) => DelimiterAt::Yes(1),
            Delimiter::Whitespace if text.first().is_some_and(is_blank) => DelimiterAt::Yes(1),
            Delimiter::Text(delimiter) if !delimiter.is_empty() => {
                let delimiter = delimiter.as_bytes();
                if text.starts_with(delimiter) {
                    DelimiterAt::Yes(delimiter.len())
                } else if !text.is_empty() && delimiter.starts_with(text) {
                    DelimiterAt::Cut
                } else {
                    DelimiterAt::No
                }
            }
            _ => DelimiterAt::No,
        }
    }

    /// Field `i`, from 0, of a record whose quotes and escapes mean nothing. Empty if there is none, or if fields have
    /// their places in the line.
    pub(crate) fn raw_field<'a>(&self, text: &'a [u8], i: usize) -> &'a [u8] {
        let field = match &self.delimiter {
            Delimiter::Byte(delimiter) => text.split(|byte| byte == delimiter).nth(i),
            Delimiter::Text(delimiter) => {
                let text = std::str::from_utf8(text).unwrap_or_default();
                text.split(delimiter.as_str()).nth(i).map(str::as_bytes)
            }
            Delimiter::Whitespace => text.split(is_blank).filter(|field| !field.is_empty()).nth(i),
            Delimiter::Widths(_) => None,
        };
        field.unwrap_or_default()
    }

    /// The index of the first byte that may begin a delimiter, is a line feed, or is the escape.
    pub(super) fn next_mark(&self, text: &[u8]) -> Option<usize> {
        let first = match &self.delimiter {
            Delimiter::Byte(delimiter) => *delimiter,
            Delimiter::Text(delimiter) => delimiter.bytes().next().unwrap_or(b'\n'),
            Delimiter::Whitespace => {
                let escape = self.escape.unwrap_or(b'\n');
                let is_mark = |byte: &u8| is_blank(byte) || *byte == b'\n' || *byte == escape;
                return text.iter().position(is_mark);
            }
            Delimiter::Widths(_) => b'\n',
        };
        match self.escape {
            None => memchr2(first, b'\n', text),
            Some(escape) => memchr3(first, b'\n', escape, text),
        }
    }

    /// The index of the first quote or escape. The dialect has a quote.
    pub(super) fn next_mark_in_quotes(&self, quote: u8, text: &[u8]) -> Option<usize> {
        match self.escape {
            None => memchr(quote, text),
            Some(escape) => memchr2(quote, escape, text),
        }
    }

    /// Where the field begins that the delimiter before `at` is followed by: behind the blanks that mean nothing.
    pub(super) fn field_start(&self, text: &[u8], at: usize) -> usize {
        match self.delimiter {
            Delimiter::Whitespace => at + text[at..].iter().take_while(|byte| is_blank(byte)).count(),
            _ => self.skip_padding(text, at),
        }
    }

    /// The first byte from `at` on that is no blank around a quoted field. Stops at a delimiter that begins with a
    /// blank.
    pub(super) fn skip_padding(&self, text: &[u8], mut at: usize) -> usize {
        while self.trim
            && text.get(at).is_some_and(is_blank)
            && self.delimiter_at(&text[at..]) == DelimiterAt::No
        {
            at += 1;
        }
        at
    }

    /// The first line feed that no escape makes data.
    pub(super) fn line_end(&self, text: &[u8]) -> Option<usize> {
        let Some(escape) = self.escape else { return memchr(b'\n', text) };
        let mut at = 0;
        loop {
            at += memchr2(b'\n', escape, &text[at..])?;
            if text[at] == b'\n' {
                return Some(at);
            }
            at += escaped_length(&text[at..])?;
        }
    }

    /// Follows a record to its end, from `at` in the state `within`. Leaves in both a place from which following
    /// again finds the same end.
    pub(super) fn follow(&self, window: &[u8], at: &mut usize, within: &mut RecordState) -> End {
        loop {
            let found = match *within {
                RecordState::Start => self.follow_start(window, at, within),
                RecordState::Plain => self.follow_plain(window, at, within),
                RecordState::Quoted => self.follow_quoted(window, at, within),
                RecordState::Astray => Some(End::Astray),
            };
            if let Some(end) = found {
                return end;
            }
        }
    }

    fn follow_start(&self, window: &[u8], at: &mut usize, within: &mut RecordState) -> Option<End> {
        *at = self.field_start(window, *at);
        match window.get(*at) {
            None => return Some(End::Missing),
            byte if byte == self.quote.as_ref() => (*at, *within) = (*at + 1, RecordState::Quoted),
            Some(_) => *within = RecordState::Plain,
        }
        None
    }

    fn follow_plain(&self, window: &[u8], at: &mut usize, within: &mut RecordState) -> Option<End> {
        loop {
            let Some(i) = self.next_mark(&window[*at..]) else {
                *at = window.len();
                return Some(End::Missing);
            };
            *at += i;
            let byte = window[*at];
            if byte == b'\n' {
                return Some(End::LaterNewline(*at));
            }
            if Some(byte) == self.escape {
                match escaped_length(&window[*at..]) {
                    None => return Some(End::Missing),
                    Some(length) => *at += length,
                }
                continue;
            }
            match self.delimiter_at(&window[*at..]) {
                DelimiterAt::No => *at += 1,
                DelimiterAt::Cut => return Some(End::Missing),
                DelimiterAt::Yes(length) => {
                    (*at, *within) = (*at + length, RecordState::Start);
                    return None;
                }
            }
        }
    }

    fn follow_quoted(&self, window: &[u8], at: &mut usize, within: &mut RecordState) -> Option<End> {
        let quote = self.quote?;
        let Some(i) = self.next_mark_in_quotes(quote, &window[*at..]) else {
            *at = window.len();
            return Some(End::Unclosed);
        };
        *at += i;
        if Some(window[*at]) == self.escape {
            match escaped_length(&window[*at..]) {
                None => return Some(End::Unclosed),
                Some(length) => *at += length,
            }
            return None;
        }
        let behind = *at + 1;
        if window.get(behind) == Some(&quote) {
            *at += 2;
            return None;
        }
        let behind = self.skip_padding(window, behind);
        match &window[behind..] {
            // The last quote of the input may close the field, or be the first of two.
            [] | [b'\r'] => return Some(End::Missing),
            [b'\n', ..] | [b'\r', b'\n', ..] => (*at, *within) = (behind, RecordState::Plain),
            rest => match self.delimiter_at(rest) {
                // If the input ends here, no delimiter follows the quote.
                DelimiterAt::Cut => return Some(End::Unclosed),
                DelimiterAt::Yes(_) => (*at, *within) = (behind, RecordState::Plain),
                DelimiterAt::No => *within = RecordState::Astray,
            },
        }
        None
    }
}
