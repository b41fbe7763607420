//! Which columns reference which dataset, by their names and by the values that both hold.

use std::collections::HashSet;

use super::DatasetGuess;
use super::column::ColumnSample;
use super::key::{hash_together, words};

/// What a column references, and how many of its values are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReferenceGuess {
    pub(super) dataset: usize,
    /// The column that it references, if that is not the key.
    pub(super) to: Option<usize>,
    pub(super) lacking: usize,
}

/// What several columns reference together: the key of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReferenceTogether {
    /// The columns, in the order of the key.
    pub(super) columns: Vec<usize>,
    pub(super) dataset: usize,
    pub(super) lacking: usize,
}

/// The references of one dataset.
#[derive(Clone, Debug, Default)]
pub(super) struct References {
    /// By column.
    pub(super) single: Vec<Option<ReferenceGuess>>,
    pub(super) together: Vec<ReferenceTogether>,
}

/// For each dataset, what its columns seem to reference. `department_id` references a dataset that is called
/// `department` or a plural of it, and `carrier` one whose key has this name. The key must have the same type and hold
/// the column's values. If the name says which dataset is meant, half of the values are enough.
pub(super) fn guess(all: &[DatasetGuess<'_>]) -> Vec<References> {
    let mut references: Vec<References> = all
        .iter()
        .map(|dataset| References { single: vec![None; dataset.sample.columns.len()], together: Vec::new() })
        .collect();
    for (from, dataset) in all.iter().enumerate() {
        for (index, column) in dataset.sample.columns.iter().enumerate() {
            let own_key = dataset.key.column() == Some(index);
            let found = all.iter().enumerate().find_map(|(target, other)| {
                if (target == from && own_key) || (target != from && leads_to(&references, target, from)) {
                    return None;
                }
                let (to, lacking) = found_in(column, other, own_key || target == from)?;
                Some(ReferenceGuess { dataset: target, to, lacking })
            });
            references[from].single[index] = found;
        }
        for (target, other) in all.iter().enumerate() {
            if target != from
                && let Some((columns, lacking)) = together(dataset, other)
                && !leads_to(&references, target, from)
            {
                references[from].together.push(ReferenceTogether { columns, dataset: target, lacking });
            }
        }
    }
    references
}

/// Which column of a dataset a column references, if not its key, and how many values are not there. `None` if the
/// column does not seem to reference the dataset.
fn found_in(
    column: &ColumnSample,
    other: &DatasetGuess<'_>,
    by_name_alone: bool,
) -> Option<(Option<usize>, usize)> {
    let own = other.key.column();
    if let Some(key) = own
        && let Some(lacking) = lacking_in(column, &other.sample.columns[key], other, by_name_alone)
    {
        return Some((None, lacking));
    }
    let unique = other.sample.columns.iter().enumerate().find(|(index, unique)| {
        own != Some(*index)
            && unique.identifies()
            && unique.empty + unique.missing() == 0
            && is_named_for_column(&column.name, &other.name, &unique.name)
            && lacking_in(column, unique, other, true) == Some(0)
    });
    unique.map(|(index, _)| (Some(index), 0))
}

/// How many of a column's values are not among those of `key`. `None` if the column does not seem to reference it.
fn lacking_in(
    column: &ColumnSample,
    key: &ColumnSample,
    other: &DatasetGuess<'_>,
    by_name_alone: bool,
) -> Option<usize> {
    if key.kind != column.kind || key.meaning.is_some() != column.meaning.is_some() || column.filled == 0 {
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

/// Whether a column is called by a dataset and a column of it: `country_code`.
fn is_named_for_column(name: &str, dataset: &str, column: &str) -> bool {
    let (name, column) = (words(name).concat(), words(column).concat());
    let stem = name.strip_suffix(&column).filter(|stem| !stem.is_empty());
    stem.is_some_and(|stem| is_named_for(&dataset.replace('_', ""), stem))
}

/// The columns of a dataset that are called like the key of `other`, which has several columns, and how many of their
/// values are not there. `None` if there are none, or if most values are not there.
fn together(dataset: &DatasetGuess<'_>, other: &DatasetGuess<'_>) -> Option<(Vec<usize>, usize)> {
    let (key, theirs) = (other.key.columns(), &other.sample.columns);
    let ours = &dataset.sample.columns;
    if key.len() < 2 {
        return None;
    }
    let same = |key: &usize| {
        let name = words(&theirs[*key].name);
        ours.iter().position(|column| words(&column.name) == name && column.kind == theirs[*key].kind)
    };
    let columns: Vec<usize> = key.iter().map(same).collect::<Option<_>>()?;
    let rows = |columns: &[ColumnSample], which: &[usize]| -> HashSet<u64> {
        let rows = which.iter().map(|index| columns[*index].hashes.len()).min().unwrap_or(0);
        (0..rows).map(|row| hash_together(columns, which, row)).filter(|hash| *hash != 0).collect()
    };
    if dataset.key.columns() == columns {
        return None;
    }
    let (there, values) = (rows(theirs, key), rows(ours, &columns));
    let lacking = values.difference(&there).count();
    (!values.is_empty() && lacking * 2 <= values.len()).then_some((columns, lacking))
}

fn is_named_for(dataset: &str, stem: &str) -> bool {
    let ies = stem.strip_suffix('y').map(|stem| format!("{stem}ies"));
    let plain = dataset.strip_prefix(stem).is_some_and(|end| matches!(end, "" | "s" | "es"));
    plain || ies.as_deref() == Some(dataset)
}

/// Whether references lead from one dataset to another. A reference back would then close a cycle.
fn leads_to(references: &[References], from: usize, to: usize) -> bool {
    let (mut seen, mut open) = (vec![false; references.len()], vec![from]);
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        if !std::mem::replace(&mut seen[at], true) {
            let References { single, together } = &references[at];
            open.extend(single.iter().flatten().map(|reference| reference.dataset));
            open.extend(together.iter().map(|reference| reference.dataset));
        }
    }
    false
}
