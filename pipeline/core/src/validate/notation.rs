//! Numbers in a notation of their own: `1.234,50`, `$ 12`, `(5)`.

use crate::manifest::Reading;

/// Appends the number of a text in the notation that Postgres reads. `None` if the text is not in the notation of the
/// column. Whether what is appended is a number is not checked.
pub(super) fn write_number(reading: &Reading, field: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (negative, text) = signed(reading, std::str::from_utf8(field).ok()?)?;
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let (whole, fraction) = match mantissa.split_once(reading.decimal) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    if !fraction.unwrap_or_default().bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if negative {
        out.push(b'-');
    }
    write_digits(whole, reading.thousands, out)?;
    if let Some(fraction) = fraction {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
    out.extend_from_slice(exponent.as_bytes());
    Some(())
}

/// Whether a number is negative, and the number without its sign and what is stripped around it.
fn signed<'a>(reading: &Reading, text: &'a str) -> Option<(bool, &'a str)> {
    let (mut rest, mut negative, mut is_open) = (text, None, false);
    loop {
        if let Some(behind) = reading.strip.iter().find_map(|text| rest.strip_prefix(text.as_str())) {
            rest = behind.trim_start_matches(is_blank);
            continue;
        }
        negative = match rest.bytes().next() {
            Some(b'-') if negative.is_none() => Some(true),
            Some(b'+') if negative.is_none() => Some(false),
            Some(b'(') if negative.is_none() && reading.accounting => {
                is_open = true;
                Some(true)
            }
            _ => break,
        };
        rest = &rest[1..];
    }
    loop {
        if let Some(before) = reading.strip.iter().find_map(|text| rest.strip_suffix(text.as_str())) {
            rest = before.trim_end_matches(is_blank);
            continue;
        }
        match rest.bytes().next_back() {
            Some(b')') if is_open => is_open = false,
            Some(b'-') if negative.is_none() && reading.accounting => negative = Some(true),
            Some(b'+') if negative.is_none() && reading.accounting => negative = Some(false),
            _ => break,
        }
        rest = &rest[..rest.len() - 1];
    }
    (!is_open).then_some((negative.unwrap_or(false), rest))
}

/// Appends digits, which may be in groups: three in the last, two or three in the others, and no more in the first.
fn write_digits(whole: &str, thousands: Option<char>, out: &mut Vec<u8>) -> Option<()> {
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(whole) {
        out.extend_from_slice(whole.as_bytes());
        return Some(());
    }
    let mark = thousands?;
    let (mut middle, mut groups) = (None, whole.split(|c| is_mark(c, mark)).peekable());
    let mut is_first = true;
    while let Some(group) = groups.next() {
        let is_last = groups.peek().is_none();
        let fits = match group.len() {
            // Nobody groups behind a zero: `0.125` is another notation.
            1..=3 if is_first => is_last || !group.starts_with('0'),
            length if is_last => length == 3,
            length => matches!(length, 2 | 3) && *middle.get_or_insert(length) == length,
        };
        if !fits || !is_number(group) {
            return None;
        }
        out.extend_from_slice(group.as_bytes());
        is_first = false;
    }
    Some(())
}

/// Whether a character is the mark between groups. Programs write blanks and apostrophes in several characters.
fn is_mark(c: char, mark: char) -> bool {
    c == mark || (is_blank(c) && is_blank(mark)) || (is_apostrophe(c) && is_apostrophe(mark))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{202f}')
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}')
}
