//! Texts to durations, sizes, characters and other scalars.

use std::ops::RangeInclusive;
use std::time::Duration;

use marked_yaml::Node;

use super::super::ColumnsAbsent;
use super::super::yaml::{Location, NodeReader, Text};
use crate::suggestion::did_you_mean;

const UNITS: [(&str, u64); 3] = [("KiB", 1024), ("MiB", 1024 * 1024), ("GiB", 1024 * 1024 * 1024)];

impl NodeReader<'_> {
    pub(super) fn boolean(&mut self, node: &Node, key: &str) -> Option<bool> {
        let Text { value, place } = self.text(node, "true or false")?;
        match value.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                let hint = "write true or false";
                self.fault(place, format!("{key} must be true or false, not \"{value}\""), hint);
                None
            }
        }
    }

    /// Reads `refuse` or `null`. YAML takes an unquoted `null` for no value, so the node is not read as a text.
    pub(super) fn columns_absent(&mut self, node: &Node) -> Option<ColumnsAbsent> {
        match node.as_scalar().map(|scalar| scalar.as_str()) {
            Some("refuse") => Some(ColumnsAbsent::Refuse),
            Some("null") => Some(ColumnsAbsent::Null),
            _ => {
                let hint = "write refuse, or null where a file may lack an optional column";
                self.fault(Location::of(node.span()), "columns_absent must be refuse or null", hint);
                None
            }
        }
    }

    pub(super) fn duration(
        &mut self,
        node: &Node,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let Text { value, place } = self.text(node, "a duration")?;
        let duration = humantime::parse_duration(&value).ok().filter(|duration| range.contains(duration));
        if duration.is_none() {
            let (min, max) = (range.start().as_secs(), range.end().as_secs());
            let at_least = if min > 0 { format!("at least {min} s and ") } else { String::new() };
            let hint = format!("write a number with its unit, like 500ms or 2s, {at_least}at most {max} s");
            self.fault(place, format!("{key} must be a duration, not \"{value}\""), hint);
        }
        duration
    }

    pub(super) fn bytes(
        &mut self,
        node: &Node,
        key: &str,
        range: RangeInclusive<u64>,
        words: &str,
    ) -> Option<u64> {
        let Text { value, place } = self.text(node, "a size")?;
        let bytes = parse_bytes(&value).filter(|bytes| range.contains(bytes));
        if bytes.is_none() {
            let hint = "write a number of bytes, or one with KiB, MiB or GiB";
            self.fault(place, format!("{key} must be {words}, not \"{value}\""), hint);
        }
        bytes
    }

    pub(super) fn count(&mut self, node: &Node, key: &str) -> Option<u32> {
        let Text { value, place } = self.text(node, "a number of characters")?;
        let count = value.parse().ok();
        if count.is_none() {
            let hint = "write a whole number from 0";
            self.fault(place, format!("{key} must be a number of characters, not \"{value}\""), hint);
        }
        count
    }

    pub(super) fn number(&mut self, node: &Node, key: &str, max: u32) -> Option<u32> {
        let Text { value, place } = self.text(node, "a number")?;
        let number = value.parse().ok().filter(|number| (1..=max).contains(number));
        if number.is_none() {
            let message = format!("{key} must be a number from 1 to {max}, not \"{value}\"");
            self.fault(place, message, "write a whole number");
        }
        number
    }

    /// The one of `all` that has the word of a node. `what` is the name of such a word.
    pub(super) fn word<T: Copy, const N: usize>(
        &mut self,
        node: &Node,
        what: &str,
        all: [T; N],
        word: fn(T) -> &'static str,
    ) -> Option<T> {
        let Text { value, place } = self.text(node, &format!("the name of a {what}"))?;
        let found = all.into_iter().find(|known| word(*known) == value);
        if found.is_none() {
            let words = all.map(word);
            let hint = did_you_mean(&value, &words, || format!("known are {}", words.join(", ")));
            self.fault(place, format!("\"{value}\" is no {what}"), hint);
        }
        found
    }

    /// Adds the fault of a text that is no regular expression.
    pub(super) fn no_regex(&mut self, text: &Text, error: &regex::Error) {
        let error = error.to_string();
        let reason = error.lines().next_back().unwrap_or_default().trim_start_matches("error: ");
        let reason = reason.trim_end_matches('.');
        let message = format!("\"{}\" is no regular expression: {reason}", text.value);
        self.fault(text.place, message, "the syntax is that of the Rust crate regex");
    }

    /// An ASCII character that has a meaning in the lines of a file.
    pub(super) fn character(&mut self, node: &Node, key: &str) -> Option<u8> {
        let Text { value, place } = self.text(node, "one character")?;
        match value.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n' | 0) => Some(*byte),
            _ => {
                let shown = value.escape_debug();
                let hint = "write one that ends no line, in double quotes: \";\" or \"\\t\"";
                self.fault(place, format!("{key} must be one ASCII character, not \"{shown}\""), hint);
                None
            }
        }
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let unit = UNITS.iter().find_map(|(name, size)| text.strip_suffix(name).map(|number| (number, *size)));
    let (number, size) = unit.unwrap_or((text, 1));
    number.trim_end().parse::<u64>().ok()?.checked_mul(size)
}
