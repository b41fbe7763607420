//! Which columns reference which dataset, by their names and by the values that both hold.

use std::collections::HashSet;

use super::DatasetGuess;
use super::column::ColumnSample;
use super::key::words;

/// The dataset that a column references, and how many of the column's values are not among its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReferenceGuess {
    pub(super) dataset: usize,
    pub(super) lacking: usize,
}

/// For each column of each dataset, the dataset that it seems to reference. `department_id` references a dataset that
/// is called `department` or a plural of it, and `carrier` one whose key has this name. The key must have the same
/// type and hold the column's values. If the name says which dataset is meant, half of the values are enough.
pub(super) fn guess(all: &[DatasetGuess<'_>]) -> Vec<Vec<Option<ReferenceGuess>>> {
    let mut references: Vec<Vec<Option<ReferenceGuess>>> =
        all.iter().map(|dataset| vec![None; dataset.sample.columns.len()]).collect();
    for (from, dataset) in all.iter().enumerate() {
        for (index, column) in dataset.sample.columns.iter().enumerate() {
            let own_key = dataset.key.column() == Some(index);
            let found = all.iter().enumerate().find_map(|(target, other)| {
                if (target == from && own_key) || (target != from && leads_to(&references, target, from)) {
                    return None;
                }
                let lacking = lacking_in(column, other, own_key || target == from)?;
                Some(ReferenceGuess { dataset: target, lacking })
            });
            references[from][index] = found;
        }
    }
    references
}

/// How many of a column's values are not keys of a dataset. `None` if the column does not seem to reference it.
fn lacking_in(column: &ColumnSample, other: &DatasetGuess<'_>, by_name_alone: bool) -> Option<usize> {
    let key = &other.sample.columns[other.key.column()?];
    if key.kind != column.kind || key.meaning != column.meaning || column.filled == 0 {
        return None;
    }
    let (name, key_name) = (words(&column.name).concat(), words(&key.name).concat());
    let stem =
        name.strip_suffix(&key_name).or_else(|| name.strip_suffix("id")).filter(|stem| !stem.is_empty());
    let is_named_for = stem.is_some_and(|stem| is_named_for(&other.name.replace('_', ""), stem));
    // A name like `id` or `name` is in many files, and means something else in each.
    let is_telling =
        !matches!(key_name.as_str(), "id" | "name" | "key" | "code" | "no" | "nr" | "number" | "row");
    if !is_named_for && (name != key_name || !is_telling || by_name_alone) {
        return None;
    }
    let there: HashSet<u64> = key.hashes.iter().copied().collect();
    let values: HashSet<u64> = column.hashes.iter().copied().filter(|hash| *hash != 0).collect();
    let lacking = values.iter().filter(|value| !there.contains(value)).count();
    match is_named_for {
        // If the file was not sampled whole, the rest of it may hold the missing values.
        true => (lacking * 2 <= values.len() || !other.sample.layout.whole).then_some(lacking),
        false => (lacking == 0).then_some(0),
    }
}

fn is_named_for(dataset: &str, stem: &str) -> bool {
    let ies = stem.strip_suffix('y').map(|stem| format!("{stem}ies"));
    let plain = dataset.strip_prefix(stem).is_some_and(|end| matches!(end, "" | "s" | "es"));
    plain || ies.as_deref() == Some(dataset)
}

/// Whether references lead from one dataset to another. A reference back would then close a cycle.
fn leads_to(references: &[Vec<Option<ReferenceGuess>>], from: usize, to: usize) -> bool {
    let (mut seen, mut open) = (vec![false; references.len()], vec![from]);
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        if !std::mem::replace(&mut seen[at], true) {
            open.extend(references[at].iter().flatten().map(|reference| reference.dataset));
        }
    }
    false
}
