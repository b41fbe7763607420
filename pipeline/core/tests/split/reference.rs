//! Splitting as the module says it, byte by byte over the whole input at once: slow, and plain to see.

use tidegate_core::split::SkippedLines;
use tidegate_core::syntax::{Delimiter, Dialect, Syntax};

use super::{Piece, too_long};

/// The records of a text that has no other lines than records and blank ones.
pub(crate) fn split(dialect: &Dialect, input: &[u8], limit: usize) -> Vec<Piece> {
    let syntax = Syntax::of_dialect(dialect.clone());
    split_lines(&syntax, false, input, limit).0
}

/// The records of a file, and its lines that are none.
pub(crate) fn split_file(syntax: &Syntax, input: &[u8], limit: usize) -> (Vec<Piece>, SkippedLines) {
    split_lines(syntax, true, input, limit)
}

fn split_lines(syntax: &Syntax, is_file: bool, input: &[u8], limit: usize) -> (Vec<Piece>, SkippedLines) {
    let mut rest = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let (mut pieces, mut line, mut skipped) = (Vec::new(), 1, SkippedLines::default());
    let (mut dialect, mut before_header) = (syntax.dialect.clone(), u64::from(syntax.skip_lines));
    if let Some((delimiter, passed)) = sep_line(&dialect, rest).filter(|_| is_file) {
        dialect.delimiter = Delimiter::Byte(delimiter);
        (skipped.sep, line, rest) = (1, 2, &rest[passed..]);
        before_header = before_header.saturating_sub(1);
    }
    let mut in_long_run = false;
    while !rest.is_empty() {
        let physical_end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let judged = &text(rest, physical_end)[..text(rest, physical_end).len().min(limit)];
        let header_is_due = syntax.header && pieces.is_empty();
        let rule = match is_file {
            true if skipped.before_header < before_header => Some(&mut skipped.before_header),
            true => rule(syntax, &dialect, judged, header_is_due, &mut skipped),
            false => None,
        };
        let is_skipped = rule.map(|count| *count += 1).is_some();
        let mut end = physical_end;
        let mut lines = 1;
        if !is_skipped && !in_long_run {
            let fits = |end: &usize| text(rest, *end).len() <= limit;
            let joined_end = line_end(&dialect, rest);
            let whole = record_end(&dialect, rest).filter(fits).or(Some(joined_end).filter(fits));
            in_long_run = whole.is_none();
            end = whole.unwrap_or(physical_end);
        }
        let found = text(rest, end);
        let (passed, after) = rest.split_at((end + 1).min(rest.len()));
        if !is_skipped {
            if found.len() > limit {
                pieces.push(too_long(line, found));
            } else if !found.is_empty() {
                pieces.push(Piece::Record(line, found.to_vec()));
                lines = passed.iter().filter(|byte| **byte == b'\n').count() as u64;
                lines += u64::from(passed.last() != Some(&b'\n'));
                skipped.continuation += lines - 1;
            } else {
                skipped.blank += 1;
            }
        }
        in_long_run &=
            found.len() <= limit && passed.last() == Some(&b'\n') && is_escaped_end(&dialect, passed);
        line += lines;
        rest = after;
    }
    (pieces, skipped)
}

/// The count of the rule by which a line is no record.
fn rule<'s>(
    syntax: &Syntax,
    dialect: &Dialect,
    line: &[u8],
    header_is_due: bool,
    skipped: &'s mut SkippedLines,
) -> Option<&'s mut u64> {
    let has_padding =
        dialect.trim || matches!(dialect.delimiter, Delimiter::Whitespace | Delimiter::Widths(_));
    let is_padding = |byte: &u8| {
        matches!(byte, b' ' | b'\t') && !matches!(dialect.delimiter, Delimiter::Byte(its) if its == *byte)
    };
    if line.is_empty() {
        None
    } else if has_padding && line.iter().all(is_padding) {
        Some(&mut skipped.blank)
    } else if syntax.comment.as_ref().is_some_and(|comment| line.starts_with(comment.as_bytes())) {
        Some(&mut skipped.comment)
    } else if syntax.skip.iter().any(|pattern| pattern.is_match(line)) {
        Some(&mut skipped.pattern)
    } else if !header_is_due
        && syntax.record.as_ref().is_some_and(|pattern| !pattern.is_match(line))
        && !std::str::from_utf8(line).is_err_and(|error| error.error_len().is_some())
    {
        Some(&mut skipped.other_kind)
    } else {
        None
    }
}

/// The delimiter that the first line names, and the length of that line.
fn sep_line(dialect: &Dialect, rest: &[u8]) -> Option<(u8, usize)> {
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let line = std::str::from_utf8(text(rest, end)).ok()?;
    let line = line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).unwrap_or(line);
    let (name, delimiter) = line.split_at_checked(4)?;
    let &[delimiter] = delimiter.as_bytes() else { return None };
    let may_divide =
        (delimiter.is_ascii_punctuation() && delimiter != b'"') || matches!(delimiter, b' ' | b'\t');
    let is_taken = [dialect.quote, dialect.escape].contains(&Some(delimiter));
    let is_fixed = matches!(dialect.delimiter, Delimiter::Widths(_));
    (name.eq_ignore_ascii_case("sep=") && may_divide && !is_taken && !is_fixed)
        .then_some((delimiter, (end + 1).min(rest.len())))
}

/// What stands before the line feed at `end`, or all.
fn text(rest: &[u8], end: usize) -> &[u8] {
    let text = &rest[..end];
    if end < rest.len() { text.strip_suffix(b"\r").unwrap_or(text) } else { text }
}

/// How many bytes an escape at `at` covers with what follows it; 0 if there is none.
fn covered(dialect: &Dialect, rest: &[u8], at: usize) -> usize {
    match &rest[at..] {
        [first, ..] if Some(*first) != dialect.escape => 0,
        [_, b'\r', b'\n', ..] => 3,
        [_, _, ..] => 2,
        rest => rest.len(),
    }
}

/// The first line feed that is not escaped, or the end.
fn line_end(dialect: &Dialect, rest: &[u8]) -> usize {
    let mut at = 0;
    while at < rest.len() && rest[at] != b'\n' {
        at += covered(dialect, rest, at).max(1);
    }
    at
}

/// Whether the line feed at the end of a line is escaped.
fn is_escaped_end(dialect: &Dialect, line: &[u8]) -> bool {
    line_end(dialect, line) == line.len()
}

/// The length of the delimiter at the start of a text; 0 if there is none.
fn delimiter_length(dialect: &Dialect, text: &[u8]) -> usize {
    match &dialect.delimiter {
        Delimiter::Byte(delimiter) => usize::from(text.first() == Some(delimiter)),
        Delimiter::Text(delimiter) if text.starts_with(delimiter.as_bytes()) => delimiter.len(),
        Delimiter::Whitespace => usize::from(matches!(text, [b' ' | b'\t', ..])),
        Delimiter::Text(_) | Delimiter::Widths(_) => 0,
    }
}

/// The first byte from `at` on that is no blank around a field.
fn skip_blanks(dialect: &Dialect, rest: &[u8], mut at: usize) -> usize {
    let is_whitespace = dialect.delimiter == Delimiter::Whitespace;
    while (is_whitespace || dialect.trim)
        && matches!(rest[at..], [b' ' | b'\t', ..])
        && (is_whitespace || delimiter_length(dialect, &rest[at..]) == 0)
    {
        at += 1;
    }
    at
}

/// The first line feed outside quotes, or the end; `None` if a quote never closes, or not where a field ends.
fn record_end(dialect: &Dialect, rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at = skip_blanks(dialect, rest, at);
        if dialect.quote.is_some() && rest.get(at) == dialect.quote.as_ref() {
            at = quoted_end(dialect, rest, at + 1)?;
        }
        while at < rest.len() && delimiter_length(dialect, &rest[at..]) == 0 && rest[at] != b'\n' {
            at += covered(dialect, rest, at).max(1);
        }
        if at == rest.len() || rest[at] == b'\n' {
            return Some(at);
        }
        at += delimiter_length(dialect, &rest[at..]);
    }
}

/// Where a quoted field ends, whose text begins at `at`.
fn quoted_end(dialect: &Dialect, rest: &[u8], mut at: usize) -> Option<usize> {
    let quote = dialect.quote?;
    while *rest.get(at)? != quote || rest.get(at + 1) == Some(&quote) {
        let covered = covered(dialect, rest, at);
        at += if rest[at] == quote { 2 } else { covered.max(1) };
    }
    at += 1;
    if dialect.delimiter != Delimiter::Whitespace {
        at = skip_blanks(dialect, rest, at);
    }
    let closes = match &rest[at..] {
        [] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..] => true,
        rest => delimiter_length(dialect, rest) > 0,
    };
    closes.then_some(at)
}
