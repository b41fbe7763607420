//! Nodes to the syntax of a dataset's files.

use encoding_rs::UTF_8;
use marked_yaml::Node;

use super::super::limits::{
    COMMENT_BYTES_MAX, DELIMITER_BYTES_MAX, LINE_CHARS_MAX, SKIP_LINES_MAX, SKIP_PATTERNS_MAX,
};
use super::super::yaml::{KeyValue, KeyValues, Location, NodeReader, Text};
use super::super::{Csv, Origin, keys};
use super::reading::ReadingDraft;
use super::{ColumnDraft, DatasetDraft};
use crate::syntax::{Delimiter, Dialect, Pattern, Syntax, Width};

/// What has no meaning in lines of fixed width.
const NOT_IN_FIXED_WIDTH: [&str; 6] =
    ["delimiter", "quote", "escape", "escapes", "trailing_delimiter", "short_rows"];

impl NodeReader<'_> {
    /// How the files of a dataset are written, and how the texts of all its columns are read.
    pub(super) fn csv(&mut self, node: &Node) -> Option<(Csv, ReadingDraft)> {
        let fields = self.fields(node, "csv settings", &keys::CSV)?;
        let reading = self.reading_draft(&fields);
        self.same_marks(&fields, reading.decimal, reading.thousands);
        let header_match = fields.get("header_match").and_then(|node| self.header_match(node));
        let columns_unknown = fields.get("columns_unknown").and_then(|node| self.columns_unknown(node));
        let columns_absent = fields.get("columns_absent").and_then(|node| self.columns_absent(node));
        let csv = Csv {
            syntax: self.syntax(&fields),
            null: reading.nulls.clone().unwrap_or_default(),
            header_match: header_match.unwrap_or_default(),
            columns_unknown: columns_unknown.unwrap_or_default(),
            columns_absent: columns_absent.unwrap_or_default(),
        };
        Some((csv, reading))
    }

    fn syntax(&mut self, fields: &KeyValues<'_>) -> Syntax {
        let dialect = self.dialect(fields);
        let mut flag = |key| fields.get(key).and_then(|node| self.boolean(node, key)).unwrap_or_default();
        let (header, trailing_delimiter) = (flag("header"), flag("trailing_delimiter"));
        let skip_lines = fields.get("skip_lines");
        let skip_lines = skip_lines.and_then(|node| self.number(node, "skip_lines", SKIP_LINES_MAX));
        let comment = fields.get("comment").and_then(|node| self.comment(node));
        let pads = fields.get("short_rows").and_then(|node| self.short_rows(node));
        let encoding = fields.get("encoding").and_then(|node| self.encoding(node));
        let syntax = Syntax {
            encoding: encoding.unwrap_or(UTF_8),
            header,
            skip_lines: skip_lines.unwrap_or_default(),
            comment,
            skip: fields.get("skip").map(|node| self.skip(node)).unwrap_or_default(),
            record: fields.get("record").and_then(|node| self.line_pattern(node)),
            trailing_delimiter,
            pads: pads.unwrap_or_default(),
            ..Syntax::of_dialect(dialect)
        };
        self.syntax_clashes(fields, &syntax);
        syntax
    }

    fn dialect(&mut self, fields: &KeyValues<'_>) -> Dialect {
        let mut dialect = Dialect::STANDARD;
        if let Some(delimiter) = fields.get("delimiter").and_then(|node| self.delimiter(node)) {
            dialect.delimiter = delimiter;
        }
        if let Some(quote) = fields.get("quote").and_then(|node| self.quote(node)) {
            dialect.quote = quote;
        }
        dialect.c_escapes = fields.get("escapes").is_some_and(|node| self.c_escapes(node));
        let escape = fields.get("escape").and_then(|node| self.character(node, "escape"));
        dialect.escape = escape.or(dialect.c_escapes.then_some(b'\\'));
        dialect.trim = fields.get("trim").and_then(|node| self.boolean(node, "trim")).unwrap_or_default();
        dialect
    }

    /// One or more characters without line ends, or the word `whitespace`.
    fn delimiter(&mut self, node: &Node) -> Option<Delimiter> {
        let Text { value, place } = self.text(node, "a delimiter")?;
        if value == "whitespace" {
            return Some(Delimiter::Whitespace);
        }
        if !(1..=DELIMITER_BYTES_MAX).contains(&value.len()) || value.contains(['\r', '\n', '\0']) {
            let message = format!(
                "delimiter must have 1 to {DELIMITER_BYTES_MAX} bytes and no line end, not \"{}\"",
                value.escape_debug()
            );
            let hint =
                "write it in double quotes: \";\", \"\\t\" or \"||\"; for runs of blanks write whitespace";
            self.fault(place, message, hint);
            return None;
        }
        match value.as_bytes() {
            [byte] => Some(Delimiter::Byte(*byte)),
            _ => Some(Delimiter::Text(value)),
        }
    }

    /// One ASCII character, or the word `none`.
    fn quote(&mut self, node: &Node) -> Option<Option<u8>> {
        match node.as_scalar().is_some_and(|scalar| scalar.as_str() == "none") {
            true => Some(None),
            false => self.character(node, "quote").map(Some),
        }
    }

    fn c_escapes(&mut self, node: &Node) -> bool {
        let Some(Text { value, place }) = self.text(node, "c") else { return false };
        if value != "c" {
            let hint = "write c if \"\\n\" means a line feed; leave it out if it means the letter n";
            self.fault(place, format!("escapes must be c, not \"{value}\""), hint);
        }
        value == "c"
    }

    fn short_rows(&mut self, node: &Node) -> Option<bool> {
        let Text { value, place } = self.text(node, "reject or pad")?;
        match value.as_str() {
            "reject" => Some(false),
            "pad" => Some(true),
            _ => {
                let hint = "write reject, or pad where the missing last fields of a line are missing values";
                self.fault(place, format!("short_rows must be reject or pad, not \"{value}\""), hint);
                None
            }
        }
    }

    fn comment(&mut self, node: &Node) -> Option<String> {
        let Text { value, place } = self.text(node, "the beginning of comments")?;
        if !(1..=COMMENT_BYTES_MAX).contains(&value.len()) || value.contains(['\r', '\n']) {
            let shown = value.escape_debug();
            let message =
                format!("comment must have 1 to {COMMENT_BYTES_MAX} bytes and no line end, not \"{shown}\"");
            self.fault(place, message, "write how such lines begin: \"#\"");
            return None;
        }
        Some(value)
    }

    /// A regular expression, or a list of them.
    fn skip(&mut self, node: &Node) -> Vec<Pattern> {
        let Some(list) = node.as_sequence() else { return self.line_pattern(node).into_iter().collect() };
        if !(1..=SKIP_PATTERNS_MAX).contains(&list.len()) {
            let message = format!("skip has {} regular expressions", list.len());
            let hint = format!("write 1 to {SKIP_PATTERNS_MAX}; \"a|b\" matches what a or b matches");
            self.fault(Location::of(node.span()), message, hint);
        }
        list.iter().filter_map(|node| self.line_pattern(node)).collect()
    }

    fn line_pattern(&mut self, node: &Node) -> Option<Pattern> {
        let text = self.text(node, "a regular expression")?;
        Pattern::new(&text.value).map_err(|error| self.no_regex(&text, &error)).ok()
    }

    /// Refuses settings that contradict each other.
    fn syntax_clashes(&mut self, fields: &KeyValues<'_>, syntax: &Syntax) {
        let Syntax { dialect, comment, trailing_delimiter, .. } = syntax;
        let Dialect { delimiter, quote, escape, trim, .. } = dialect;
        let marks = [("quote", quote), ("escape", escape)];
        for (key, mark) in marks.into_iter().filter_map(|(key, mark)| Some((key, (*mark)?))) {
            let place = fields.place(key).or(fields.place("delimiter")).unwrap_or(Location::START);
            if *delimiter == Delimiter::Byte(mark) {
                let message = format!("delimiter and {key} are the same");
                self.fault(place, message, "choose another for one of them");
            } else if matches!(delimiter, Delimiter::Text(text) if text.as_bytes().contains(&mark)) {
                let message = format!("the delimiter holds the {key}");
                self.fault(place, message, format!("choose another {key}{}", none_for(key)));
            } else if *delimiter == Delimiter::Whitespace && matches!(mark, b' ' | b'\t') {
                let message = format!("the {key} is whitespace, as the delimiter is");
                self.fault(place, message, "choose another for one of them");
            }
            let begins_comment = comment.as_ref().is_some_and(|comment| comment.as_bytes()[0] == mark);
            if begins_comment && key == "quote" {
                let place = fields.place("comment").unwrap_or(place);
                let message = "comment begins with the quote, as records may";
                self.fault(place, message, "choose another quote, or \"quote: none\"; or use skip instead");
            }
        }
        if quote.is_some() && quote == escape {
            let place = fields.place("escape").or(fields.place("quote")).unwrap_or(Location::START);
            self.fault(place, "quote and escape are the same", "remove escape: a quote is doubled anyway");
        }
        let begins = |text: &str| comment.as_ref().is_some_and(|comment| text.starts_with(comment.as_str()));
        let is_comment = match delimiter {
            Delimiter::Byte(byte) => begins(&char::from(*byte).to_string()),
            Delimiter::Text(text) => begins(text),
            Delimiter::Whitespace | Delimiter::Widths(_) => false,
        };
        if is_comment {
            let place = fields.place("comment").unwrap_or(Location::START);
            let message = "a line whose first field is empty would be a comment";
            self.fault(
                place,
                message,
                "choose a comment that does not begin as the delimiter does; or use skip",
            );
        }
        if *trim && let Some(message) = trim_clash(delimiter) {
            let place = fields.place("trim").unwrap_or(Location::START);
            let hint = "remove trim; or write \"delimiter: whitespace\", or a delimiter without blanks";
            self.fault(place, message, hint);
        }
        if *trailing_delimiter && *delimiter == Delimiter::Whitespace {
            let place = fields.place("trailing_delimiter").unwrap_or(Location::START);
            let message = "blanks at the end of a line divide nothing where the delimiter is whitespace";
            self.fault(place, message, "remove trailing_delimiter");
        }
    }

    /// Reads the place of a column's field: `1..10`, or `3` for one character.
    pub(super) fn width(&mut self, entry: &KeyValue<'_>) -> Option<(Width, Location)> {
        let Text { value, place } = self.text(entry.node, "a range of characters")?;
        let (from, to) = value.split_once("..").unwrap_or((&value, &value));
        let characters = [from, to].map(|text| text.trim().parse::<u32>().unwrap_or_default());
        let [from, to] = characters;
        if from == 0 || from > to || to > LINE_CHARS_MAX {
            let message = format!("at must be a range of characters, not \"{value}\"");
            let hint = format!("write \"1..10\" for the first ten; a line has at most {LINE_CHARS_MAX}");
            self.fault(place, message, hint);
            return None;
        }
        Some((Width { from, to }, entry.place))
    }

    /// Makes a dataset one of fixed width if a column says where its field is. Columns whose values come from the file
    /// itself have no field.
    pub(super) fn fixed_width(&mut self, draft: &mut DatasetDraft, csv: Option<&Node>) {
        let Some((first, (_, place))) =
            draft.columns.iter().find_map(|column| Some((&column.name, column.width?)))
        else {
            return;
        };
        for column in draft.columns.iter().filter(|column| column.width.is_some()) {
            if let Some((_, place)) = column.origin {
                let message = format!("{} has a place in the line, \"at\", and another origin", column.name);
                self.fault(place, message, "a value has one origin; remove one of them");
            }
        }
        let of_file =
            |column: &ColumnDraft| matches!(column.origin, Some((Origin::Path(_) | Origin::File(_), _)));
        let without = draft.columns.iter().filter(|column| column.width.is_none() && !of_file(column));
        let without: Vec<&str> = without.map(|column| &*column.name).collect();
        if !without.is_empty() {
            let message = format!("{first} has \"at\", but these columns have none: {}", without.join(", "));
            self.fault(place, message, "give each column its place in the line, or none");
        }
        let mapping = csv.and_then(Node::as_mapping);
        for (key, _) in mapping.into_iter().flat_map(|mapping| mapping.iter()) {
            if NOT_IN_FIXED_WIDTH.contains(&key.as_str()) {
                let message = format!("{} means nothing where columns have \"at\"", key.as_str());
                self.fault(Location::of(key.span()), message, "remove it, or \"at\" in all columns");
            }
        }
        let widths = draft.columns.iter().filter_map(|column| Some(column.width?.0)).collect();
        draft.csv.syntax.dialect =
            Dialect { delimiter: Delimiter::Widths(widths), quote: None, ..Dialect::STANDARD };
    }
}

/// What else helps against a quote that clashes.
fn none_for(key: &str) -> &'static str {
    if key == "quote" { ", or \"quote: none\"" } else { "" }
}

/// Why blanks around fields cannot be left out with a delimiter.
fn trim_clash(delimiter: &Delimiter) -> Option<&'static str> {
    match delimiter {
        Delimiter::Whitespace => Some("whitespace as the delimiter leaves blanks out already"),
        Delimiter::Byte(b' ') => Some("the delimiter is a blank, and trim leaves blanks out"),
        Delimiter::Text(text) if text.contains([' ', '\t']) => {
            Some("the delimiter holds blanks, and trim leaves blanks out")
        }
        _ => None,
    }
}
