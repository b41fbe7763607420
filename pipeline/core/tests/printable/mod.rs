//! No text from outside moves the cursor.

use std::borrow::Cow;

use tidegate_core::printable::{printable, printable_line};

#[test]
fn no_text_moves_the_cursor_or_turns_letters_around() {
    assert_eq!(printable("a\u{1b}[2J\u{9b}1m"), "a\\u{1b}[2J\\u{9b}1m");
    assert_eq!(printable("txt.\u{202e}exe\u{2066}"), "txt.\\u{202e}exe\\u{2066}");
    assert_eq!(printable("\u{feff}id\r\t"), "\\u{feff}id\\r\\t");
    assert_eq!(printable("two\nlines"), "two\nlines");
    assert_eq!(printable_line("two\nlines"), "two\\nlines");
    assert!(matches!(printable("Año (kg) 中文 😀"), Cow::Borrowed(_)));
}
