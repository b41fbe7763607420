//! Text of strangers, made harmless for a terminal and a log.
//!
//! A header, a file name or a dead letter may hold escape sequences that move the cursor, or marks that turn the order of
//! letters around. Whatever of them people see goes through [`printable`]. What machines read stays exact.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// The text with control characters, and characters that reorder or hide text, as `\u{1b}`. Line feeds stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\n' && is_harmful(c))
}

/// The same, and line feeds as `\n`: for what must stay in one line.
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

/// Controls of C0 and C1; marks of direction; separators of lines and paragraphs; what has no width and is no part of
/// a word.
pub(crate) fn is_harmful(c: char) -> bool {
    let reorders =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let separates = matches!(c, '\u{2028}' | '\u{2029}');
    let hides = matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || reorders || separates || hides
}

/// Writes on with control characters escaped, but for line feeds.
#[derive(Debug)]
pub struct Printable<W>(pub W);

impl<W: Write> Write for Printable<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(&printable(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_moves_the_cursor_or_turns_letters_around() {
        assert_eq!(printable("a\u{1b}[2J\u{9b}1m"), "a\\u{1b}[2J\\u{9b}1m");
        assert_eq!(printable("txt.\u{202e}exe\u{2066}"), "txt.\\u{202e}exe\\u{2066}");
        assert_eq!(printable("\u{feff}id\r\t"), "\\u{feff}id\\r\\t");
        assert_eq!(printable("two\nlines"), "two\nlines");
        assert_eq!(printable_line("two\nlines"), "two\\nlines");
        assert!(matches!(printable("Año (kg) 中文 😀"), Cow::Borrowed(_)));
    }
}
