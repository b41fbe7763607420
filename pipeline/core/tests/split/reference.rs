//! Splitting as the module says it, byte by byte over the whole input at once: slow, and plain to see.

use tidegate_core::split::Dialect;

use super::{Piece, too_long};

pub(crate) fn split(dialect: Dialect, input: &[u8], limit: usize) -> Vec<Piece> {
    let mut rest = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let (mut pieces, mut line) = (Vec::new(), 1);
    while !rest.is_empty() {
        let first_line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let whole = record_end(dialect, rest).filter(|end| text(rest, *end).len() <= limit);
        let end = whole.unwrap_or(first_line);
        let found = text(rest, end);
        if found.len() > limit {
            pieces.push(too_long(line, found));
        } else if !found.is_empty() {
            pieces.push(Piece::Record(line, found.to_vec()));
        }
        let (passed, after) = rest.split_at((end + 1).min(rest.len()));
        line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        rest = after;
    }
    pieces
}

/// What stands before the line feed at `end`, or all.
fn text(rest: &[u8], end: usize) -> &[u8] {
    let text = &rest[..end];
    if end < rest.len() { text.strip_suffix(b"\r").unwrap_or(text) } else { text }
}

/// The first line feed outside quotes, or the end; `None` if a quote never closes, or not where a field ends.
fn record_end(Dialect { delimiter, quote }: Dialect, rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        if rest.get(at) == Some(&quote) {
            at += 1;
            while rest.get(at)? != &quote || rest.get(at + 1) == Some(&quote) {
                at += if rest[at] == quote { 2 } else { 1 };
            }
            at += 1;
            let closes = match &rest[at..] {
                [] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..] => true,
                [byte, ..] => *byte == delimiter,
            };
            if !closes {
                return None;
            }
        }
        while at < rest.len() && rest[at] != delimiter && rest[at] != b'\n' {
            at += 1;
        }
        if rest.get(at) != Some(&delimiter) {
            return Some(at);
        }
        at += 1;
    }
}
