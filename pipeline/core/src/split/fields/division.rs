//! Records without quotes and escapes, divided by texts, by blanks, or by the places of characters.

use memchr::memmem;

use super::super::grammar::is_blank;
use super::Fields;
use crate::syntax::Width;

impl Fields {
    /// Divides at each occurrence of a text. An empty text divides nothing.
    pub(super) fn split_at_text(&mut self, text: &[u8], delimiter: &[u8]) {
        let mut start = 0;
        if !delimiter.is_empty() {
            for at in memmem::find_iter(text, delimiter) {
                self.ranges.push((start, at as u32));
                start = (at + delimiter.len()) as u32;
            }
        }
        self.ranges.push((start, text.len() as u32));
    }

    /// Divides at runs of blanks and tabs. Those at the ends divide nothing.
    pub(super) fn split_at_blanks(&mut self, text: &[u8]) {
        let mut start = None;
        for (at, byte) in text.iter().enumerate() {
            match (is_blank(byte), start) {
                (false, None) => start = Some(at as u32),
                (true, Some(begun)) => {
                    self.ranges.push((begun, at as u32));
                    start = None;
                }
                _ => {}
            }
        }
        if let Some(begun) = start {
            self.ranges.push((begun, text.len() as u32));
        }
    }

    /// Takes each field from its place, without the blanks around it. What lies behind the end of the line is empty.
    pub(super) fn split_widths(&mut self, text: &[u8], widths: &[Width]) {
        let is_ascii = text.is_ascii();
        if !is_ascii {
            let begins = |(_, byte): &(usize, &u8)| !matches!(**byte, 0x80..=0xbf);
            self.characters.clear();
            self.characters.extend(text.iter().enumerate().filter(begins).map(|(at, _)| at as u32));
        }
        for Width { from, to } in widths {
            let place_of = |character: u32| match is_ascii {
                true => character.min(text.len() as u32),
                false => self.characters.get(character as usize).copied().unwrap_or(text.len() as u32),
            };
            let (start, end) = (place_of(from.saturating_sub(1)), place_of(*to));
            self.ranges.push((start, end.max(start)));
        }
        self.trim(text);
    }

    /// Leaves out the blanks and tabs around each field.
    pub(super) fn trim(&mut self, text: &[u8]) {
        for (start, end) in &mut self.ranges {
            let field = &text[*start as usize..*end as usize];
            let before = field.iter().take_while(|byte| is_blank(byte)).count();
            let after = field[before..].iter().rev().take_while(|byte| is_blank(byte)).count();
            self.is_trimmed |= before + after > 0;
            (*start, *end) = (*start + before as u32, *end - after as u32);
        }
    }
}
