//! The references between datasets: names become indices.

use super::super::read::{DatasetDraft, ReferenceDraft};
use super::super::yaml::{Location, NodeReader, Text};
use super::keys;
use crate::suggestion::did_you_mean;

/// A reference whose target is an index among the drafts.
pub(super) struct LinkedReference {
    pub(super) columns: Vec<usize>,
    pub(super) target: usize,
    pub(super) to: Vec<usize>,
    /// Where the manifest names the target.
    pub(super) place: Location,
}

/// The references of the dataset `of`, those of its columns first. A reference that leads to no dataset, to no unique
/// columns, or to columns of another type, is a fault.
pub(super) fn of(
    reader: &mut NodeReader<'_>,
    all: &[DatasetDraft],
    keys: &[Option<Vec<usize>>],
    of: usize,
) -> Vec<LinkedReference> {
    let mut linked: Vec<LinkedReference> = Vec::new();
    for ReferenceDraft { columns, to } in all[of].all_references() {
        let found: Vec<Option<usize>> =
            columns.iter().map(|name| keys::index_of(reader, &all[of], name, "the reference")).collect();
        let target = target(reader, all, &to);
        let Some(columns) = found.into_iter().collect::<Option<Vec<usize>>>() else { continue };
        let Some((target, column)) = target else { continue };
        let place = to.place;
        let wanted = Wanted { all, of, columns: &columns, target, place };
        // Without a key, a fault says so already, and the reference is kept for the search for cycles.
        let found = match (column, &keys[target]) {
            (Some(name), key) => wanted.column(reader, &name, key.as_deref()),
            (None, Some(key)) => wanted.key(reader, key),
            (None, None) => Some(Vec::new()),
        };
        if linked.iter().any(|other| is_same(&other.columns, &columns)) {
            let message = format!("{} has two references", names(&all[of], &columns));
            reader.fault(place, message, "remove one of them");
        }
        linked.push(LinkedReference { columns, target, to: found.unwrap_or_default(), place });
    }
    linked
}

/// The dataset that a text names, with the column that it names behind a dot.
fn target(reader: &mut NodeReader<'_>, all: &[DatasetDraft], to: &Text) -> Option<(usize, Option<String>)> {
    let (name, column) = match to.value.split_once('.') {
        Some((name, column)) => (name, Some(column.to_owned())),
        None => (to.value.as_str(), None),
    };
    let index = all.iter().position(|dataset| dataset.name == name);
    if index.is_none() {
        let known: Vec<&str> = all.iter().map(|dataset| dataset.name.as_str()).collect();
        let message = format!("there is no dataset \"{name}\" to reference");
        let hint = did_you_mean(name, &known, || format!("datasets are {}", known.join(", ")));
        reader.fault(to.place, message, hint);
    }
    index.map(|index| (index, column))
}

/// A reference whose columns and target are known.
struct Wanted<'a> {
    all: &'a [DatasetDraft],
    of: usize,
    columns: &'a [usize],
    target: usize,
    place: Location,
}

impl Wanted<'_> {
    /// The key of the target, if the columns can reference it.
    fn key(&self, reader: &mut NodeReader<'_>, key: &[usize]) -> Option<Vec<usize>> {
        let target = &self.all[self.target];
        let name = &target.name;
        if key.is_empty() {
            let hint =
                format!("name a column whose values are unique, like \"{name}.id\", or give {name} a key");
            reader.fault(self.place, format!("{name} has no key to reference"), hint);
            return None;
        }
        if key.len() != self.columns.len() {
            let (key_names, number) = (names(target, key), self.columns.len());
            let message = match number {
                1 => format!("{} references {name}, but its key is {key_names}", self.own_names()),
                _ => format!("{number} columns reference {name}, but its key is {key_names}"),
            };
            let hint = match key.len() {
                1 => format!("write \"references: {name}\" in one column"),
                _ => format!(
                    "write \"references: [{{columns: [...], to: {name}}}]\" in the dataset, with a column for each of {key_names}"
                ),
            };
            reader.fault(self.place, message, hint);
            return None;
        }
        for (own, its) in self.columns.iter().zip(key) {
            self.types_agree(reader, *own, *its, "the key of");
        }
        Some(key.to_vec())
    }

    /// A column of the target that is not its key, or its whole key, by its name.
    fn column(&self, reader: &mut NodeReader<'_>, column: &str, key: Option<&[usize]>) -> Option<Vec<usize>> {
        let (target, place) = (&self.all[self.target], self.place);
        if self.columns.len() > 1 {
            let message =
                format!("{} columns reference the one column {}.{column}", self.columns.len(), target.name);
            reader.fault(place, message, "name one column to reference it, or the dataset alone for its key");
            return None;
        }
        let name = Text { value: column.to_owned(), place };
        let index = keys::index_of(reader, target, &name, "the referenced")?;
        if key.is_some_and(|key| key.len() > 1 && key.contains(&index)) {
            let message = format!("{column} is one of several columns of the key of {}", target.name);
            let hint = "its values are not unique alone; reference the whole key from the dataset: \"references: [{columns: [...], to: ...}]\"";
            reader.fault(place, message, hint);
            return None;
        }
        if let Some(kind) = target.columns[index].kind.filter(|kind| !keys::is_exact(*kind)) {
            let message = format!("{}.{column} is of type {kind}, so it cannot be referenced", target.name);
            reader.fault(
                place,
                message,
                "reference a column whose values are exact, like integer, uuid or text",
            );
        }
        self.types_agree(reader, self.columns[0], index, "the column of");
        Some(vec![index])
    }

    fn types_agree(&self, reader: &mut NodeReader<'_>, own: usize, its: usize, what: &str) {
        let (own, target) = (&self.all[self.of].columns[own], &self.all[self.target]);
        let its = &target.columns[its];
        let (Some(kind), Some(its_kind)) = (own.kind, its.kind) else { return };
        if kind.sql() != its_kind.sql() {
            let message = format!(
                "{} is of type {kind}, but {what} {}, {}, is of type {its_kind}",
                own.name, target.name, its.name
            );
            reader.fault(self.place, message, "give both the same type");
        }
    }

    fn own_names(&self) -> String {
        names(&self.all[self.of], self.columns)
    }
}

fn names(dataset: &DatasetDraft, columns: &[usize]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| dataset.columns[*column].name.as_str()).collect();
    names.join(", ")
}

/// Whether two lists of columns hold the same columns, in any order.
fn is_same(a: &[usize], b: &[usize]) -> bool {
    a.len() == b.len() && a.iter().all(|column| b.contains(column))
}
