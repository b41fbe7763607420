//! Text from outside, made safe for a terminal and a log.
//!
//! A header, a file name or a dead letter may hold escape sequences that move the cursor, or marks that reorder
//! letters. Every such text that is shown to people goes through [`printable`]. Output for machines stays exact.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// The text with control characters, and characters that reorder or hide text, written as `\u{1b}`. Line feeds stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\n' && is_harmful(c))
}

/// As [`printable`], with line feeds written as `\n`, for text that must stay in one line.
pub fn printable_line(text: &str) -> Cow<'_, str> {
    escape(text, is_harmful)
}

fn escape(text: &str, is_harmful: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_harmful) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            _ if !is_harmful(c) => out.push(c),
            '\n' | '\r' | '\t' => out.extend(c.escape_default()),
            _ => out.extend(c.escape_unicode()),
        }
    }
    out.into()
}

/// The text in double quotes, as YAML and TOML read it, with the characters that `escapes` names as their numbers, and
/// tabs among them as `\t`. `escapes` is called once for each character, in order.
pub fn in_quotes(text: &str, mut escapes: impl FnMut(char) -> bool) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            _ if escapes(c) => match c {
                '\t' => quoted.push_str("\\t"),
                _ => quoted.push_str(&format!("\\U{:08X}", u32::from(c))),
            },
            '"' | '\\' => quoted.extend(['\\', c]),
            _ => quoted.push(c),
        }
    }
    quoted + "\""
}

/// C0 and C1 controls, direction marks, line and paragraph separators, and characters of no width that are not part
/// of a word.
pub(crate) fn is_harmful(c: char) -> bool {
    let reorders =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let separates = matches!(c, '\u{2028}' | '\u{2029}');
    let hides = matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || reorders || separates || hides
}

/// A writer that escapes control characters, except line feeds.
#[derive(Debug)]
pub struct Printable<W>(pub W);

impl<W: Write> Write for Printable<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(&printable(text))
    }
}
