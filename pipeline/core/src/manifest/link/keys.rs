//! The columns of keys.

use super::super::Kind;
use super::super::read::{ColumnDraft, DatasetDraft};
use super::super::yaml::{NodeReader, Text};
use crate::suggestion::did_you_mean;

/// The indices of the key's columns, none for `key: none`. `None`, with faults, if a name is no column, or no column
/// for a key.
pub(super) fn of(reader: &mut NodeReader<'_>, dataset: &DatasetDraft) -> Option<Vec<usize>> {
    let columns = dataset.key.as_ref()?;
    if dataset.columns.is_empty() {
        return None; // already a fault, and no name could be right
    }
    let found: Vec<Option<usize>> =
        columns.iter().map(|name| index_of(reader, dataset, name, "the key")).collect();
    let key = found.into_iter().collect::<Option<Vec<usize>>>()?;
    generated(reader, dataset, &key);
    for (index, Text { value, place }) in key.iter().zip(columns) {
        let ColumnDraft { kind, optional, default_place, .. } = &dataset.columns[*index];
        if let Some(place) = default_place {
            let message = format!("the key \"{value}\" has a default");
            reader.fault(*place, message, "rows with the same key would be one row; remove \"default\"");
        }
        if *optional {
            let message = format!("the key \"{value}\" is optional");
            let hint = match key.len() {
                1 => "a key is never missing; remove \"optional: true\" there",
                _ => {
                    "no column of a key is ever missing; remove \"optional: true\" there, or leave it out of the key"
                }
            };
            reader.fault(*place, message, hint);
        }
        if let Some(kind) = kind.filter(|kind| !is_exact(*kind)) {
            let message = format!("the key \"{value}\" is of type {kind}");
            reader.fault(*place, message, "choose a type whose values are exact, like integer, uuid or text");
        }
    }
    Some(key)
}

/// The index of a column of this name. If there is none, that is a fault; `what` says what the name is.
pub(super) fn index_of(
    reader: &mut NodeReader<'_>,
    dataset: &DatasetDraft,
    Text { value, place }: &Text,
    what: &str,
) -> Option<usize> {
    let index = dataset.columns.iter().position(|column| column.name == *value);
    if index.is_none() {
        let known: Vec<&str> = dataset.columns.iter().map(|column| column.name.as_str()).collect();
        let message = format!("{what} \"{value}\" is no column of {}", dataset.name);
        let hint = did_you_mean(value, &known, || format!("columns are {}", known.join(", ")));
        reader.fault(*place, message, hint);
    }
    index
}

/// Whether each value of a type equals itself alone, and can be part of a unique index.
pub(super) fn is_exact(kind: Kind) -> bool {
    !matches!(kind, Kind::Real | Kind::Double | Kind::Jsonb)
}

/// Refuses generated columns that are not the whole key.
fn generated(reader: &mut NodeReader<'_>, dataset: &DatasetDraft, key: &[usize]) {
    for (index, column) in dataset.columns.iter().enumerate() {
        let Some((_, place)) = &column.generated else { continue };
        let (message, hint) = match key {
            [only] if *only == index => continue,
            [only] => (
                format!("{} is generated, but it is not the key of {}", column.name, dataset.name),
                format!("only the key, {}, can be generated; remove it here", dataset.columns[*only].name),
            ),
            _ => (
                format!("{} is generated, but it is not the only column of the key", column.name),
                format!("write \"key: {}\", or remove \"generated\" here", column.name),
            ),
        };
        reader.fault(*place, message, hint);
    }
}
