//! The key of a dataset, and its references, as they are written.

use marked_yaml::Node;

use super::super::keys;
use super::super::limits::KEY_COLUMNS_MAX;
use super::super::yaml::{KeyValues, Location, NodeReader, Text, found};
use super::ReferenceDraft;

/// What says that a dataset has no key. In quotes it is the name of a column.
const NONE: &str = "none";

impl NodeReader<'_> {
    /// Reads the names of `key: id` or `key: [a, b]`, or of `key: none`, which has none.
    pub(super) fn key(&mut self, fields: &KeyValues<'_>, place: Location) -> Option<Vec<Text>> {
        let hint = "name the column that identifies a row, \"key: id\", or several, \"key: [a, b]\"; \"key: none\" if \
                    no column does";
        let node = self.required(fields, "key", place, hint)?;
        if node.as_sequence().is_some() {
            return self.names(node, "key");
        }
        let name = self.text(node, "the name of a column, a list of names, or \"none\"")?;
        let is_quoted = node.as_scalar().is_some_and(|scalar| !scalar.may_coerce());
        Some(if name.value == NONE && !is_quoted { Vec::new() } else { vec![name] })
    }

    /// Reads a dataset's list of references.
    pub(super) fn references(&mut self, node: &Node) -> Vec<ReferenceDraft> {
        let hint = "write \"references: [{columns: [a, b], to: dataset}]\"";
        let Some(list) = node.as_sequence() else {
            let message = format!("expected a list of references, found {}", found(node));
            self.fault(Location::of(node.span()), message, hint);
            return Vec::new();
        };
        let references = list.iter().filter_map(|node| {
            let fields = self.fields(node, "a reference's keys", &keys::REFERENCE)?;
            let place = Location::of(node.span());
            let columns = self.required(&fields, "columns", place, hint);
            let columns = columns.and_then(|node| self.names(node, "columns"));
            let to = self.required(&fields, "to", place, hint);
            let to = to.and_then(|node| self.text(node, "the name of a dataset"));
            Some(ReferenceDraft { columns: columns?, to: to? })
        });
        references.collect()
    }

    /// Reads a list of names, each of which is given once.
    fn names(&mut self, node: &Node, key: &str) -> Option<Vec<Text>> {
        let hint = format!("write \"{key}: [a, b]\"");
        let Some(list) = node.as_sequence().filter(|list| !list.is_empty()) else {
            let what = if node.as_sequence().is_some() { "an empty list" } else { found(node) };
            self.fault(Location::of(node.span()), format!("expected a list of columns, found {what}"), hint);
            return None;
        };
        if list.len() > KEY_COLUMNS_MAX {
            let message = format!("{} columns are listed", list.len());
            let hint = format!("an index of Postgres holds at most {KEY_COLUMNS_MAX}");
            self.fault(Location::of(node.span()), message, hint);
            return None;
        }
        let mut names: Vec<Text> = Vec::with_capacity(list.len());
        for node in list.iter() {
            let name = self.text(node, "the name of a column")?;
            if names.iter().any(|other| other.value == name.value) {
                self.fault(name.place, format!("\"{}\" is listed twice", name.value), "remove one of them");
                return None;
            }
            names.push(name);
        }
        Some(names)
    }
}
