//! Nodes to the origins of columns, and to what the names of a header must be.

use std::collections::HashMap;

use marked_yaml::Node;
use regex::Regex;

use super::super::yaml::{KeyValues, Location, NodeReader, Text};
use super::super::{ColumnsUnknown, FileFact, HeaderMatch, Kind, Origin};
use super::DatasetDraft;

/// The largest number that a field may have.
const FIELD_MAX: u32 = 10_000;

impl NodeReader<'_> {
    pub(super) fn header_match(&mut self, node: &Node) -> Option<HeaderMatch> {
        self.word(node, "way to compare names", HeaderMatch::ALL, HeaderMatch::as_str)
    }

    pub(super) fn columns_unknown(&mut self, node: &Node) -> Option<ColumnsUnknown> {
        self.word(node, "way with unknown columns", ColumnsUnknown::ALL, ColumnsUnknown::as_str)
    }

    /// Reads where the values of a column come from. More than one origin is a fault.
    pub(super) fn origin(
        &mut self,
        fields: &KeyValues<'_>,
        kind: Option<Kind>,
    ) -> Option<(Origin, Location)> {
        let origins = ["from", "from_path", "from_file"].into_iter().filter_map(|key| fields.entry(key));
        let origins: Vec<_> = origins.collect();
        let entry = origins.first()?;
        if let Some(other) = origins.get(1) {
            let message = format!("{} and {} are both given", entry.name, other.name);
            self.fault(other.place, message, "a value has one origin; remove one of them");
        }
        if let Some(place) = fields.place("generated").filter(|_| entry.name != "from") {
            let message = format!("{} and generated are both given", entry.name);
            self.fault(place, message, "a value has one origin; remove one of them");
        }
        let origin = match entry.name {
            "from" => self.from(entry.node)?,
            "from_path" => Origin::Path(self.path_origin(entry.node)?),
            _ => Origin::File(self.file_origin(entry.node, kind)?),
        };
        Some((origin, entry.place))
    }

    /// Reads one name or several, or the number of a field. A number in quotes is a name.
    fn from(&mut self, node: &Node) -> Option<Origin> {
        if let Some(list) = node.as_sequence() {
            if list.is_empty() {
                let message = "expected the names of a field, found an empty list";
                self.fault(Location::of(node.span()), message, "write \"from: [First Name, Name]\"");
                return None;
            }
            let names = list.iter().filter_map(|node| self.text(node, "the name of a field"));
            return Some(Origin::Names(names.map(|text| text.value.trim().to_owned()).collect()));
        }
        let is_quoted = node.as_scalar().is_some_and(|scalar| !scalar.may_coerce());
        let Text { value, place } = self.text(node, "the name of a field, a list of names, or a number")?;
        let is_number = !is_quoted && !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number {
            return Some(Origin::Names(vec![value.trim().to_owned()]));
        }
        let number = value.parse().ok().filter(|number| (1..=FIELD_MAX).contains(number));
        if number.is_none() {
            let message = format!("the number of a field is from 1 to {FIELD_MAX}, not {value}");
            self.fault(place, message, "the first field is 1; write a name of digits in quotes");
        }
        number.map(Origin::Number)
    }

    fn path_origin(&mut self, node: &Node) -> Option<Regex> {
        let Text { value, place } = self.text(node, "a regular expression with one group")?;
        let pattern = self.regex(&value, place)?;
        let groups = pattern.captures_len() - 1;
        if groups != 1 {
            let message = format!("from_path has {groups} groups");
            let hint =
                "put what is the value in parentheses, as in \"year=(\\\\d+)\"; write (?: ) around the rest";
            self.fault(place, message, hint);
            return None;
        }
        Some(pattern)
    }

    fn file_origin(&mut self, node: &Node, kind: Option<Kind>) -> Option<FileFact> {
        let fact = self.word(node, "fact of a file", FileFact::ALL, FileFact::as_str)?;
        let kind = kind?;
        let (fits, what, hint) = match fact {
            FileFact::Name => (kind.is_text(), "the name of a file", "choose text or varchar"),
            FileFact::Modified => (
                kind.is_text() || matches!(kind, Kind::Timestamptz | Kind::Timestamp | Kind::Date),
                "the time of a file",
                "choose timestamptz, timestamp, date or text",
            ),
        };
        if !fits {
            let message = format!("a column of type {kind} does not hold {what}");
            self.fault(Location::of(node.span()), message, hint);
        }
        Some(fact)
    }

    /// Compares the origins of a dataset's columns with each other, and with what its files are.
    pub(super) fn origins(&mut self, dataset: &DatasetDraft) {
        let is_field = |origin: &Option<(Origin, Location)>| {
            !matches!(origin, Some((Origin::Path(_) | Origin::File(_), _)))
        };
        if !dataset.columns.is_empty() && !dataset.columns.iter().any(|column| is_field(&column.origin)) {
            let message = format!("no column of {} comes from the lines of its files", dataset.name);
            self.fault(dataset.place, message, "name at least one that does");
        }
        if dataset.csv.syntax.header {
            self.names_of_header(dataset);
        } else {
            self.numbers_of_fields(dataset);
        }
    }

    /// Two columns must not have the same name in a header.
    fn names_of_header(&mut self, dataset: &DatasetDraft) {
        let mut names: HashMap<&str, &str> = HashMap::new();
        let own = dataset.columns.iter().filter(|column| column.origin.is_none());
        names.extend(own.map(|column| (column.name.as_str(), column.name.as_str())));
        for column in &dataset.columns {
            match &column.origin {
                Some((Origin::Names(from), place)) => {
                    for name in from {
                        let other = names.insert(name, &column.name).filter(|other| *other != column.name);
                        if let Some(other) = other {
                            let message = format!("{} and {other} both come from \"{name}\"", column.name);
                            self.fault(*place, message, "give each column a name of its own in the header");
                        }
                    }
                }
                Some((Origin::Number(number), place)) => {
                    let message = format!(
                        "the files of {} have a header, so no field is number {number}",
                        dataset.name
                    );
                    let hint = format!("write the name that it has there; in quotes if that is \"{number}\"");
                    self.fault(*place, message, hint);
                }
                _ => {}
            }
        }
    }

    /// Without a header either all fields have numbers, or the columns are in the order of the fields.
    fn numbers_of_fields(&mut self, dataset: &DatasetDraft) {
        let mut columns: HashMap<u32, &str> = HashMap::new();
        for column in &dataset.columns {
            match &column.origin {
                Some((Origin::Number(number), place)) => {
                    if let Some(other) = columns.insert(*number, &column.name) {
                        let message = format!("{} and {other} both come from field {number}", column.name);
                        self.fault(*place, message, "give each column a field of its own");
                    }
                }
                Some((Origin::Names(_), place)) => {
                    let message =
                        format!("the files of {} have no header, so no field has a name", dataset.name);
                    let hint = "write the number of the field, from 1, or set \"csv: {header: true}\"";
                    self.fault(*place, message, hint);
                }
                _ => {}
            }
        }
        let Some(last) = columns.keys().max().copied() else { return };
        for column in dataset.columns.iter().filter(|column| column.origin.is_none()) {
            let message =
                format!("{} has no number, but other columns of {} have one", column.name, dataset.name);
            self.fault(column.place, message, "write the number of its field, from 1: \"from: 3\"");
        }
        let gap = (1..=last).find(|number| !columns.contains_key(number));
        if let Some(gap) = gap.filter(|_| dataset.csv.columns_unknown == ColumnsUnknown::Refuse) {
            let message = format!("no column comes from field {gap}");
            let hint = "add one, or set \"columns_unknown: ignore\" in csv to leave such fields out";
            self.fault(dataset.place, message, hint);
        }
    }
}
