//! Nodes to how the texts of columns are read.

use marked_yaml::Node;

use super::super::limits::{FORMATS_MAX, TEXTS_MAX};
use super::super::yaml::{KeyValues, Location, NodeReader, Text, found};
use super::super::{Column, DefaultValue, Format, Instant, Kind, Origin, Reading, Zone};
use super::ColumnDraft;
use crate::instant::format::probe;

/// The settings that a dataset and a column may both have. Those that are not given are `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadingDraft {
    pub(super) nulls: Option<Vec<String>>,
    quoted_null: Option<bool>,
    empty_is_text: Option<bool>,
    trim: Option<bool>,
    time_zone: Option<Zone>,
    pub(super) decimal: Option<char>,
    pub(super) thousands: Option<char>,
}

impl ReadingDraft {
    /// These settings of a column, and those of its dataset, as far as they concern a type.
    pub(super) fn merge(self, all: &Self, kind: Kind) -> Reading {
        let standard = Reading::default();
        let number = |of_all: Option<char>| of_all.filter(|_| kind.is_number());
        Reading {
            nulls: self.nulls.or_else(|| all.nulls.clone()).unwrap_or_default(),
            quoted_null: self.quoted_null.or(all.quoted_null).unwrap_or_default(),
            empty_is_text: kind.is_text() && self.empty_is_text.or(all.empty_is_text).unwrap_or_default(),
            // In quotes, blanks around a text are meant. Those outside are the dialect's matter.
            trim: self.trim.or(all.trim.filter(|_| !kind.is_text())).unwrap_or_default(),
            time_zone: self.time_zone.or_else(|| all.time_zone.clone().filter(|_| kind == Kind::Timestamptz)),
            decimal: self.decimal.or(number(all.decimal)).unwrap_or(standard.decimal),
            thousands: self.thousands.or(number(all.thousands)),
            ..standard
        }
    }
}

impl NodeReader<'_> {
    /// Reads the settings that a dataset and a column may both have.
    pub(super) fn reading_draft(&mut self, fields: &KeyValues<'_>) -> ReadingDraft {
        ReadingDraft {
            nulls: fields.get("null").and_then(|node| self.nulls(node)),
            quoted_null: fields.get("quoted_null").and_then(|node| self.boolean(node, "quoted_null")),
            empty_is_text: fields.get("empty").and_then(|node| self.empty(node)),
            trim: fields.get("trim").and_then(|node| self.boolean(node, "trim")),
            time_zone: fields.get("time_zone").and_then(|node| self.time_zone(node)),
            decimal: fields.get("decimal").and_then(|node| self.mark(node, "decimal")),
            thousands: fields.get("thousands").and_then(|node| self.mark(node, "thousands")),
        }
    }

    /// Refuses the same mark before decimal places and between groups of digits.
    pub(super) fn same_marks(
        &mut self,
        fields: &KeyValues<'_>,
        decimal: Option<char>,
        thousands: Option<char>,
    ) {
        let mark = decimal.unwrap_or(Reading::default().decimal);
        if thousands != Some(mark) {
            return;
        }
        let place = fields.place("thousands").or(fields.place("decimal")).unwrap_or(Location::START);
        let hint =
            if mark == '.' { "say the other one: decimal: \",\"" } else { "choose another for one of them" };
        self.fault(place, format!("decimal and thousands are both \"{mark}\""), hint);
    }

    /// Reads how the texts of a column are read. Settings that do not fit the type are faults. If the column has no
    /// type, they are not read.
    pub(super) fn reading(&mut self, fields: &KeyValues<'_>, column: &mut ColumnDraft, all: &ReadingDraft) {
        let Some(kind) = column.kind else { return };
        if self.misplaced_settings(fields, kind) {
            return;
        }
        let own = self.reading_draft(fields);
        let has_marks = own.decimal.or(own.thousands).is_some();
        let mut reading = own.merge(all, kind);
        if has_marks {
            self.same_marks(fields, Some(reading.decimal), reading.thousands);
        }
        if let Some(node) = fields.get("format") {
            reading.formats = self.formats(node, kind, reading.time_zone.as_ref()).unwrap_or_default();
        }
        if let Some(node) = fields.get("strip") {
            reading.strip = self.strip(node, &reading).unwrap_or_default();
        }
        let accounting = fields.get("accounting").and_then(|node| self.boolean(node, "accounting"));
        reading.accounting = accounting.unwrap_or_default();
        let words = |reader: &mut Self, key| fields.get(key).and_then(|node| reader.words(node, key));
        reading.true_words = words(self, "true").unwrap_or_default();
        reading.false_words = words(self, "false").unwrap_or_default();
        self.same_words(fields, &reading);
        if let Some(node) = fields.get("default") {
            column.default_place = fields.place("default");
            reading.default = self.default_value(node, column, kind);
        }
        if kind == Kind::Timestamptz && reading.time_zone.is_some() {
            ["default", "min", "max"].into_iter().for_each(|key| self.with_offset(fields, key));
        }
        let is_now = reading.default == Some(DefaultValue::Now);
        if is_now && reading.time_zone.is_none() {
            reading.time_zone = all.time_zone.clone();
        }
        let is_local = kind == Kind::Timestamptz || is_now;
        if let Some(node) = fields.get("time_zone").filter(|_| !is_local) {
            self.misplaced(Location::of(node.span()), "time_zone", "timestamptz and default: now", kind);
        }
        column.reading = reading;
    }

    /// Refuses a time without offset in the manifest, where times without offset in files are of a zone.
    fn with_offset(&mut self, fields: &KeyValues<'_>, key: &str) {
        let Some(scalar) = fields.get(key).and_then(Node::as_scalar) else { return };
        if matches!(Instant::parse_local(Kind::Timestamptz, scalar.as_bytes()), Ok((local, false)) if !local.is_infinite())
        {
            let message = format!("{key} has no offset, and the column has a time_zone");
            self.fault(
                Location::of(scalar.span()),
                message,
                "write it with its offset, like 2021-07-27T16:02:08Z",
            );
        }
    }

    /// Whether any setting does not fit the type.
    fn misplaced_settings(&mut self, fields: &KeyValues<'_>, kind: Kind) -> bool {
        let settings: [(&[&str], bool, &str); 4] = [
            (&["empty"], kind.is_text(), "text and varchar"),
            (&["format", "time_zone"], kind.is_instant(), "dates and times"),
            (&["decimal", "thousands", "strip", "accounting"], kind.is_number(), "numbers"),
            (&["true", "false"], kind == Kind::Boolean, "boolean"),
        ];
        let before = self.faults.len();
        for (keys, _, kinds) in settings.iter().filter(|(_, fits, _)| !fits) {
            for key in *keys {
                if let Some(node) = fields.get(key) {
                    self.misplaced(Location::of(node.span()), key, kinds, kind);
                }
            }
        }
        self.faults.len() > before
    }

    /// Reads a text or a list of texts; `what` completes "expected …".
    fn texts(&mut self, node: &Node, what: &str) -> Option<Vec<Text>> {
        let Some(list) = node.as_sequence() else { return self.one_text(node, what).map(|text| vec![text]) };
        if list.is_empty() || list.len() > TEXTS_MAX {
            let message = format!("expected {what} or a list of 1 to {TEXTS_MAX}, found {}", list.len());
            self.fault(Location::of(node.span()), message, "write \"[a, b]\"");
            return None;
        }
        let mut texts: Vec<Text> = Vec::with_capacity(list.len());
        for node in list.iter() {
            let Some(text) = self.one_text(node, what) else { continue };
            if texts.iter().any(|other| other.value == text.value) {
                self.fault(text.place, format!("\"{}\" is listed twice", text.value), "remove one of them");
            }
            texts.push(text);
        }
        Some(texts)
    }

    /// Reads a text. YAML takes an unquoted `NULL` for no value, and here the text is meant.
    fn one_text(&mut self, node: &Node, what: &str) -> Option<Text> {
        match node.as_scalar().map(|scalar| scalar.as_str()) {
            Some(null @ ("NULL" | "Null" | "null")) => {
                Some(Text { value: null.to_owned(), place: Location::of(node.span()) })
            }
            _ => self.text(node, what),
        }
    }

    fn nulls(&mut self, node: &Node) -> Option<Vec<String>> {
        let texts = self.texts(node, "the text that means missing")?;
        Some(texts.into_iter().map(|text| text.value).filter(|text| !text.is_empty()).collect())
    }

    /// Reads `null` or `text`. YAML takes an unquoted `null` for no value, so the node is not read as a text.
    fn empty(&mut self, node: &Node) -> Option<bool> {
        match node.as_scalar().map(|scalar| scalar.as_str()) {
            Some("text") => Some(true),
            Some("null") => Some(false),
            _ => {
                let hint = "write null, or text where an empty field in quotes is an empty text";
                self.fault(Location::of(node.span()), "empty must be null or text", hint);
                None
            }
        }
    }

    fn time_zone(&mut self, node: &Node) -> Option<Zone> {
        let Text { value, place } = self.text(node, "the name of a time zone")?;
        let zone = Zone::named(&value);
        if zone.is_none() {
            let hint = "write a name of the IANA database, like America/Bogota, Europe/Berlin or UTC";
            self.fault(place, format!("\"{value}\" is no time zone"), hint);
        }
        zone
    }

    /// A character before decimal places or between groups of digits.
    fn mark(&mut self, node: &Node, key: &str) -> Option<char> {
        let Text { value, place } = self.text(node, "one character")?;
        let mut characters = value.chars();
        match (characters.next(), characters.next()) {
            (Some(mark), None) if !mark.is_alphanumeric() && !"+-()\"\r\n\0".contains(mark) => Some(mark),
            _ => {
                let message = format!("{key} must be one character, not \"{}\"", value.escape_debug());
                self.fault(place, message, "write one that is no letter, digit or sign: \",\" or \".\"");
                None
            }
        }
    }

    fn formats(&mut self, node: &Node, kind: Kind, zone: Option<&Zone>) -> Option<Vec<Format>> {
        let texts = self.texts(node, "a format")?;
        if texts.len() > FORMATS_MAX {
            let message = format!("there are {} formats", texts.len());
            self.fault(Location::of(node.span()), message, format!("a column has at most {FORMATS_MAX}"));
            return None;
        }
        let mut formats = Vec::with_capacity(texts.len());
        for Text { value, place } in texts {
            match Format::parse(&value).and_then(|format| format.fits(kind).map(|()| format)) {
                Ok(format) => formats.push(format),
                Err((message, hint)) => self.fault(place, message, hint),
            }
        }
        Format::tell_apart(&mut formats);
        if let Some(clash) = probe::clash(kind, &formats, zone) {
            let [(first, one), (second, other)] = clash.readings;
            let message = format!("\"{}\" is {one} by {first}, and {other} by {second}", clash.text);
            let hint = "a column's formats must not read one text differently; remove one of them";
            self.fault(Location::of(node.span()), message, hint);
        }
        Some(formats)
    }

    /// Texts around numbers. A text alone stands for each of its characters.
    fn strip(&mut self, node: &Node, reading: &Reading) -> Option<Vec<String>> {
        let texts = self.texts(node, "what is stripped")?;
        let is_list = node.as_sequence().is_some();
        let mut strip: Vec<String> = Vec::new();
        for Text { value, place } in texts {
            let parts: Vec<String> = match is_list {
                true => vec![value.trim().to_owned()],
                false => value.chars().filter(|c| !c.is_whitespace()).map(String::from).collect(),
            };
            let is_number = |c: char| {
                c.is_ascii_digit()
                    || "+-()−–—<>~±".contains(c)
                    || c == reading.decimal
                    || Some(c) == reading.thousands
            };
            if let Some(part) = parts.iter().find(|part| part.is_empty() || part.chars().any(is_number)) {
                let hint = "strip what is no digit, sign or mark of a number, like \"$€%\" or [EUR, USD]";
                self.fault(place, format!("\"{part}\" cannot be stripped"), hint);
            }
            parts.into_iter().for_each(|part| {
                if !strip.contains(&part) {
                    strip.push(part);
                }
            });
        }
        // The longest first, so that no text hides one that it begins.
        strip.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Some(strip)
    }

    fn words(&mut self, node: &Node, key: &str) -> Option<Vec<String>> {
        let texts = self.texts(node, &format!("a word for {key}"))?;
        for Text { place, .. } in texts.iter().filter(|text| text.value.trim().is_empty()) {
            let message = "an empty field is a missing value, and no word";
            self.fault(*place, message, format!("write \"default: {key}\" for missing values"));
        }
        Some(texts.into_iter().map(|text| text.value).collect())
    }

    fn same_words(&mut self, fields: &KeyValues<'_>, reading: &Reading) {
        let lower = |words: &[String]| words.iter().map(|word| word.to_lowercase()).collect::<Vec<_>>();
        let truths = lower(&reading.true_words);
        if let Some(word) = lower(&reading.false_words).iter().find(|word| truths.contains(word)) {
            let place = fields.place("false").unwrap_or(Location::START);
            self.fault(place, format!("\"{word}\" is true and false"), "remove it from one of the lists");
        }
    }

    /// Reads `table`, `now` for a point in time, or a value as Postgres reads it.
    fn default_value(&mut self, node: &Node, draft: &ColumnDraft, kind: Kind) -> Option<DefaultValue> {
        if node.as_sequence().is_some() {
            let message = format!("expected a default, found {}", found(node));
            self.fault(Location::of(node.span()), message, "write one value");
            return None;
        }
        let Text { value, place } = self.text(node, "a default")?;
        match value.as_str() {
            "table" => return Some(DefaultValue::Table),
            "now" if kind.is_instant() => return Some(DefaultValue::Now),
            _ => {}
        }
        let column = Column {
            name: draft.name.clone(),
            kind,
            optional: false,
            origin: Origin::default(),
            generated: None,
            rules: draft.rules.clone(),
            reading: Reading::default(),
        };
        match (self.canonical)(&column, &value) {
            Ok(value) => Some(DefaultValue::Constant(value)),
            Err(message) => {
                let now = if kind.is_instant() { ", now" } else { "" };
                let hint = format!("write a value of the type {kind} as Postgres reads it{now}, or table");
                self.fault(place, format!("the default cannot be \"{value}\": {message}"), hint);
                None
            }
        }
    }
}
