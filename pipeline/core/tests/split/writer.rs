//! A program that writes records in any dialect.

use tidegate_core::syntax::{Delimiter, Dialect};

/// A value, and whether the writer does more than it must: quotes, escapes and blanks.
pub(super) type Value = (Vec<u8>, bool);

/// Appends a record without its line end. The values can be written in the dialect: see [`writable`].
pub(super) fn write_record(values: &[Value], dialect: &Dialect, out: &mut Vec<u8>) {
    if let Delimiter::Widths(widths) = &dialect.delimiter {
        for ((value, _), width) in values.iter().zip(widths) {
            out.extend(value);
            let characters = String::from_utf8_lossy(value).chars().count();
            out.extend(std::iter::repeat_n(b' ', (width.to - width.from + 1) as usize - characters));
        }
        return;
    }
    for (i, (value, more)) in values.iter().enumerate() {
        let pads = *more && (dialect.trim || dialect.delimiter == Delimiter::Whitespace);
        match &dialect.delimiter {
            _ if i == 0 => {}
            Delimiter::Byte(delimiter) => out.push(*delimiter),
            Delimiter::Text(delimiter) => out.extend(delimiter.bytes()),
            Delimiter::Whitespace | Delimiter::Widths(_) => out.push(b'\t'),
        }
        let padding: &[u8] = match dialect.delimiter {
            _ if !pads => b"",
            Delimiter::Byte(b'\t') => b" ",
            _ => b" \t",
        };
        out.extend(padding);
        match dialect.quote {
            Some(quote)
                if *more || must_protect(value, dialect) || (values.len() == 1 && value.is_empty()) =>
            {
                write_quoted(value, quote, *more, dialect, out);
            }
            _ => value.iter().for_each(|byte| write_escaped(*byte, is_mark(*byte, dialect), dialect, out)),
        }
        out.extend(padding);
    }
}

/// The value as near to this one as the dialect can express it.
pub(super) fn writable(mut value: Vec<u8>, dialect: &Dialect, width_max: usize) -> Vec<u8> {
    let can_quote = dialect.quote.is_some();
    if let Delimiter::Widths(_) = dialect.delimiter {
        value.retain(|byte| byte.is_ascii_graphic());
        value.truncate(width_max);
        return value;
    }
    if !can_quote && dialect.escape.is_none() {
        value.retain(|byte| !is_mark(*byte, dialect));
    }
    if !can_quote && !dialect.c_escapes {
        value.retain(|byte| *byte != b'\r'); // behind an escape it could become part of a CRLF
    }
    if dialect.delimiter == Delimiter::Whitespace && !can_quote && value.is_empty() {
        value.push(b'x');
    }
    value
}

fn write_quoted(value: &[u8], quote: u8, more: bool, dialect: &Dialect, out: &mut Vec<u8>) {
    out.push(quote);
    for byte in value {
        if *byte == quote && (dialect.escape.is_none() || more) {
            out.extend([quote, quote]);
        } else {
            let must = *byte == quote || Some(*byte) == dialect.escape;
            write_escaped(*byte, must, dialect, out);
        }
    }
    out.push(quote);
}

fn write_escaped(byte: u8, must: bool, dialect: &Dialect, out: &mut Vec<u8>) {
    let letter = match byte {
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        byte => byte,
    };
    match dialect.escape {
        Some(escape) if must && dialect.c_escapes => out.extend([escape, letter]),
        Some(escape) if must => out.extend([escape, byte]),
        _ => out.push(byte),
    }
}

/// Whether a value without quotes and escapes would not be read as itself.
fn must_protect(value: &[u8], dialect: &Dialect) -> bool {
    value.iter().any(|byte| is_mark(*byte, dialect))
        || (value.is_empty() && dialect.delimiter == Delimiter::Whitespace)
}

/// Whether a byte may have a meaning in a field without quotes. A blank may stand before a quote, and the bytes of a
/// byte order mark at the start of the file.
fn is_mark(byte: u8, dialect: &Dialect) -> bool {
    let begins_delimiter = match &dialect.delimiter {
        Delimiter::Byte(delimiter) => byte == *delimiter,
        Delimiter::Text(delimiter) => delimiter.bytes().any(|its| its == byte),
        Delimiter::Whitespace | Delimiter::Widths(_) => false,
    };
    begins_delimiter
        || Some(byte) == dialect.quote
        || Some(byte) == dialect.escape
        || matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0xef)
}
