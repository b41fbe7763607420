//! Nodes to columns and their rules.

use std::cmp::Ordering;

use marked_yaml::Node;
use regex::{Regex, RegexBuilder};

use super::super::limits::{COLUMNS_MAX, IDENTIFIER_BYTES_MAX, TAKEN_COLUMNS};
use super::super::yaml::{KeyValue, KeyValues, Location, NodeReader, Text, found};
use super::super::{Bound, Instant, Kind, Reading, Rules, compare_decimals, is_decimal, keys};
use super::ColumnDraft;
use super::reading::ReadingDraft;

const PATTERN_BYTES_MAX: usize = 1024 * 1024;

impl NodeReader<'_> {
    /// Reads the columns of a dataset. `all` is how the texts of all of them are read.
    pub(super) fn columns(
        &mut self,
        fields: &KeyValues<'_>,
        place: Location,
        all: &ReadingDraft,
    ) -> Option<Vec<ColumnDraft>> {
        let hint = "list them in the order of the files: \"columns: {id: integer, name: text}\"";
        let node = self.required(fields, "columns", place, hint)?;
        let entries = self.entries(node, "columns")?;
        if entries.is_empty() {
            self.fault(Location::of(node.span()), "there is no column", hint);
        }
        if entries.len() > COLUMNS_MAX {
            let message = format!("there are {} columns", entries.len());
            self.fault(Location::of(node.span()), message, format!("a table holds at most {COLUMNS_MAX}"));
        }
        Some(entries.iter().map(|entry| self.column(entry, all)).collect())
    }

    fn column(&mut self, entry: &KeyValue<'_>, all: &ReadingDraft) -> ColumnDraft {
        self.column_name(entry);
        let KeyValue { name, place, node } = *entry;
        let mut column = ColumnDraft {
            name: name.to_owned(),
            place,
            kind: None,
            origin: None,
            optional: false,
            references: None,
            width: None,
            generated: None,
            rules: Rules::default(),
            reading: Reading::default(),
            default_place: None,
        };
        match node {
            Node::Scalar(_) => {
                column.kind = self.kind(node);
                if let Some(kind) = column.kind {
                    column.reading = ReadingDraft::default().merge(all, kind);
                }
            }
            Node::Sequence(_) => {
                let message = format!("expected a type or a mapping, found {}", found(node));
                let hint = "write \"name: text\" or \"name: {type: text, optional: true}\"";
                self.fault(Location::of(node.span()), message, hint);
            }
            Node::Mapping(_) => self.column_fields(&mut column, entry, all),
        }
        column
    }

    fn column_name(&mut self, entry: &KeyValue<'_>) {
        let KeyValue { name, place, .. } = *entry;
        if name.is_empty() || name.len() > IDENTIFIER_BYTES_MAX || name.contains('\0') {
            let hint = format!("a name has 1 to {IDENTIFIER_BYTES_MAX} bytes");
            self.fault(place, format!("\"{name}\" cannot name a column"), hint);
        }
        if TAKEN_COLUMNS.contains(&name) {
            let hint = "every table has a column of that name already; choose another";
            self.fault(place, format!("\"{name}\" cannot name a column"), hint);
        }
    }

    fn column_fields(&mut self, column: &mut ColumnDraft, entry: &KeyValue<'_>, all: &ReadingDraft) {
        let Some(fields) = self.fields(entry.node, "the column's keys", &keys::COLUMN) else { return };
        let type_node = self.required(&fields, "type", entry.place, "give the column one: \"type: text\"");
        column.kind = type_node.and_then(|node| self.kind(node));
        let optional = fields.get("optional").and_then(|node| self.boolean(node, "optional"));
        column.optional = optional.unwrap_or(false);
        column.references = fields.get("references").and_then(|node| self.text(node, "a dataset's name"));
        column.width = fields.entry("at").and_then(|entry| self.width(entry));
        column.rules = self.rules(&fields, column.kind);
        column.origin = self.origin(&fields, column.kind);
        self.reading(&fields, column, all);
        column.generated = fields.get("generated").and_then(|node| self.generated(node, column));
    }

    fn kind(&mut self, node: &Node) -> Option<Kind> {
        let Text { value, place } = self.text(node, "a type")?;
        let kind = Kind::parse(&value);
        kind.map_err(|(message, hint)| self.fault(place, message, hint)).ok()
    }

    /// Reads the rules. Rules that do not fit the type are faults. If the column has no type, its rules are not read.
    fn rules(&mut self, fields: &KeyValues<'_>, kind: Option<Kind>) -> Rules {
        let mut rules = Rules::default();
        let Some(kind) = kind else { return rules };
        rules.min = fields.get("min").and_then(|node| self.bound(node, "min", kind));
        rules.max = fields.get("max").and_then(|node| self.bound(node, "max", kind));
        if let (Some(min), Some(max)) = (&rules.min, &rules.max)
            && is_above(min, max)
        {
            self.crossed(fields, "min", "max");
        }
        rules.min_length = self.length(fields, "min_length", kind);
        rules.max_length = self.length(fields, "max_length", kind);
        let most = rules.length_max(kind);
        if most.is_some_and(|most| rules.min_length > Some(most)) {
            let other = if rules.max_length == most { "max_length" } else { "the length of the type" };
            self.crossed(fields, "min_length", other);
        }
        rules.pattern = fields.get("pattern").and_then(|node| self.pattern(node, kind));
        rules.one_of = fields.get("one_of").and_then(|node| self.one_of(node, kind));
        rules
    }

    fn crossed(&mut self, fields: &KeyValues<'_>, min: &str, max: &str) {
        let place = fields.place(min).unwrap_or(Location::START);
        self.fault(place, format!("{min} is above {max}"), "no value could be both; lower it");
    }

    fn bound(&mut self, node: &Node, key: &str, kind: Kind) -> Option<Bound> {
        let Text { value, place } = self.text(node, "a bound")?;
        let bound = match kind {
            _ if kind.is_integer() => value.parse().ok().map(Bound::Integer),
            Kind::Numeric { .. } => is_decimal(&value).then(|| Bound::Decimal(value.clone())),
            Kind::Real | Kind::Double => value.parse().ok().filter(|x: &f64| x.is_finite()).map(Bound::Float),
            _ if kind.is_instant() => instant(kind, &value),
            _ => {
                self.misplaced(Location::of(node.span()), key, "numbers, dates and times", kind);
                return None;
            }
        };
        if bound.is_none() {
            let message = format!("{key} of a column of type {kind} cannot be \"{value}\"");
            self.fault(place, message, format!("write {}", example(kind)));
        }
        bound
    }

    fn length(&mut self, fields: &KeyValues<'_>, key: &str, kind: Kind) -> Option<u32> {
        let node = fields.get(key)?;
        if !kind.is_text() {
            self.misplaced(Location::of(node.span()), key, "text and varchar", kind);
            return None;
        }
        self.count(node, key)
    }

    fn pattern(&mut self, node: &Node, kind: Kind) -> Option<Regex> {
        let Text { value, place } = self.text(node, "a regular expression")?;
        if !kind.is_text() {
            self.misplaced(place, "pattern", "text and varchar", kind);
            return None;
        }
        self.regex(&value, place)
    }

    /// Compiles a regular expression.
    pub(super) fn regex(&mut self, value: &str, place: Location) -> Option<Regex> {
        match RegexBuilder::new(value).size_limit(PATTERN_BYTES_MAX).build() {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.no_regex(&Text { value: value.to_owned(), place }, &error);
                None
            }
        }
    }

    fn one_of(&mut self, node: &Node, kind: Kind) -> Option<Vec<String>> {
        if !kind.is_text() && !kind.is_integer() {
            self.misplaced(Location::of(node.span()), "one_of", "text, varchar and whole numbers", kind);
            return None;
        }
        let Some(list) = node.as_sequence().filter(|list| !list.is_empty()) else {
            let what = if node.as_sequence().is_some() { "an empty list" } else { found(node) };
            let message = format!("expected a list of values, found {what}");
            self.fault(Location::of(node.span()), message, "write \"one_of: [a, b]\"");
            return None;
        };
        let mut values = Vec::with_capacity(list.len());
        for node in list.iter() {
            let Some(Text { value, place }) = self.text(node, "a value") else { continue };
            match allowed(value, kind) {
                Ok(value) if values.contains(&value) => {
                    self.fault(place, format!("\"{value}\" is listed twice"), "remove one of them");
                }
                Ok(value) => values.push(value),
                Err(value) => {
                    let message = format!("\"{value}\" is no {kind}");
                    self.fault(place, message, format!("write {}", example(kind)));
                }
            }
        }
        Some(values)
    }

    pub(super) fn misplaced(&mut self, place: Location, key: &str, kinds: &str, kind: Kind) {
        let message = format!("{key} is for {kinds}, not for {kind}");
        self.fault(place, message, "remove it, or change the column's type");
    }
}

/// The value in the form in which it is compared: integers without `+` and leading zeros.
fn allowed(value: String, kind: Kind) -> Result<String, String> {
    if kind.is_text() {
        return Ok(value);
    }
    value.parse::<i64>().map(|number| number.to_string()).map_err(|_| value)
}

/// Reads a bound. For a `timestamp` it may be a date alone, which means midnight.
fn instant(kind: Kind, value: &str) -> Option<Bound> {
    let midnight = || match kind {
        Kind::Timestamp => Instant::parse(kind, format!("{value}T00:00").as_bytes()).ok(),
        _ => None,
    };
    let instant = Instant::parse(kind, value.as_bytes()).ok().or_else(midnight)?;
    Some(Bound::Instant(instant, instant.text(kind)))
}

fn is_above(min: &Bound, max: &Bound) -> bool {
    match (min, max) {
        (Bound::Integer(min), Bound::Integer(max)) => min > max,
        (Bound::Decimal(min), Bound::Decimal(max)) => compare_decimals(min, max) == Ordering::Greater,
        (Bound::Float(min), Bound::Float(max)) => min > max,
        (Bound::Instant(min, _), Bound::Instant(max, _)) => min > max,
        _ => false,
    }
}

fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::SmallInt | Kind::Integer | Kind::BigInt => "a whole number",
        Kind::Date => "a date like 2021-07-27",
        Kind::Time => "a time like 16:02:08",
        Kind::Timestamp => "a timestamp like 2021-07-27T16:02:08",
        Kind::Timestamptz => "a timestamp with its zone, like 2021-07-27T16:02:08Z",
        _ => "a number like 12.50",
    }
}
