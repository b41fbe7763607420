//! Tables that several datasets share.

use std::collections::HashMap;

use super::super::read::{ColumnDraft, DatasetDraft, ManifestDraft};
use super::super::yaml::NodeReader;
use super::references::LinkedReference;

/// For each dataset the first one of its table, as written: itself, unless it shares the table of another.
pub(super) fn first_datasets(draft: &ManifestDraft) -> Vec<usize> {
    let mut first = HashMap::new();
    let of_tables = draft.datasets.iter().enumerate().map(|(index, dataset)| {
        let schema = dataset.table.schema.as_ref().unwrap_or(&draft.manifest.schema);
        *first.entry((schema, dataset.table.name.as_str())).or_insert(index)
    });
    of_tables.collect()
}

/// Refuses datasets that share a table and do not agree in columns, key and references.
pub(super) fn agree(
    reader: &mut NodeReader<'_>,
    all: &[DatasetDraft],
    first: &[usize],
    keys: &[Option<Vec<usize>>],
    references: &[Vec<LinkedReference>],
) {
    for (index, dataset) in all.iter().enumerate().filter(|(index, _)| first[*index] != *index) {
        let other = &all[first[index]];
        let key = |of: usize| keys[of].as_ref().map(|key| names(&all[of], key));
        let references = |of: usize| {
            let mut targets: Vec<_> =
                references[of].iter().map(|linked| target(all, first, of, linked)).collect();
            targets.sort_unstable();
            targets
        };
        let what = match different_column(dataset, other) {
            Some(column) => format!("do not agree in the column {column}"),
            None if key(index) != key(first[index]) => "do not have the same key".to_owned(),
            None if references(index) != references(first[index]) => {
                "do not have the same references".to_owned()
            }
            None => continue,
        };
        let message = format!(
            "{} and {} have the same table, \"{}\", but {what}",
            dataset.name, other.name, dataset.table.name
        );
        let hint = "give both the same columns, in any order, with the same types, `optional` and `generated`, and the \
                    same key and references; or give each dataset a table of its own";
        reader.fault(dataset.table_place, message, hint);
    }
}

/// The name of a column that one of two datasets lacks, or has with another type.
fn different_column<'d>(one: &'d DatasetDraft, other: &'d DatasetDraft) -> Option<&'d str> {
    let nature = |column: &ColumnDraft| {
        (column.kind.map(|kind| kind.sql()), column.optional, column.generated.map(|(how, _)| how))
    };
    let has = |dataset: &DatasetDraft, column: &ColumnDraft| {
        dataset.columns.iter().any(|its| its.name == column.name && nature(its) == nature(column))
    };
    let lacking = |of: &'d DatasetDraft, than: &DatasetDraft| {
        of.columns.iter().find(|column| !has(than, column)).map(|column| column.name.as_str())
    };
    lacking(one, other).or_else(|| lacking(other, one))
}

/// A reference by names, so that it can be compared with that of another dataset. The pairs of columns are sorted.
fn target<'d>(
    all: &'d [DatasetDraft],
    first: &[usize],
    of: usize,
    linked: &LinkedReference,
) -> (usize, Vec<(&'d str, &'d str)>) {
    let (own, its) = (names(&all[of], &linked.columns), names(&all[linked.target], &linked.to));
    let mut pairs: Vec<_> = own.into_iter().zip(its).collect();
    pairs.sort_unstable();
    (first[linked.target], pairs)
}

fn names<'d>(dataset: &'d DatasetDraft, columns: &[usize]) -> Vec<&'d str> {
    columns.iter().map(|column| dataset.columns[*column].name.as_str()).collect()
}
