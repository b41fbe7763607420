//! Which columns reference which dataset: by their names, and by the values that both hold.

use std::collections::HashSet;

use super::Guess;
use super::column::ColumnSample;
use super::key::words;

/// What a column references, and how many of its values the other file lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) dataset: usize,
    pub(super) lacking: usize,
}

/// For each column of each dataset what it seems to reference: `department_id` a dataset that is called `department` or a
/// plural of it, and `carrier` one whose key has this name. The key there has the same type, and holds the values; where
/// the name says which dataset is meant, half of them are enough.
pub(super) fn guess(all: &[Guess<'_>]) -> Vec<Vec<Option<Reference>>> {
    let mut references: Vec<Vec<Option<Reference>>> =
        all.iter().map(|dataset| vec![None; dataset.columns.len()]).collect();
    for (from, dataset) in all.iter().enumerate() {
        for (index, column) in dataset.columns.iter().enumerate() {
            let own_key = dataset.key.column() == Some(index);
            let found = all.iter().enumerate().find_map(|(target, other)| {
                if (target == from && own_key) || (target != from && leads_to(&references, target, from)) {
                    return None;
                }
                let lacking = lacking_in(column, other, own_key || target == from)?;
                Some(Reference { dataset: target, lacking })
            });
            references[from][index] = found;
        }
    }
    references
}

/// How many of a column's values the key of a dataset lacks; `None` if it does not seem to reference it.
fn lacking_in(column: &ColumnSample, other: &Guess<'_>, by_name_alone: bool) -> Option<usize> {
    let key = &other.columns[other.key.column()?];
    if key.kind != column.kind || key.meant != column.meant || column.filled == 0 {
        return None;
    }
    let (name, key_name) = (words(&column.name).concat(), words(&key.name).concat());
    let stem =
        name.strip_suffix(&key_name).or_else(|| name.strip_suffix("id")).filter(|stem| !stem.is_empty());
    let is_named_for = stem.is_some_and(|stem| is_named_for(&other.name.replace('_', ""), stem));
    // A name like `id` or `name` is in many files, and means another thing in each.
    let is_telling =
        !matches!(key_name.as_str(), "id" | "name" | "key" | "code" | "no" | "nr" | "number" | "row");
    if !is_named_for && (name != key_name || !is_telling || by_name_alone) {
        return None;
    }
    let there: HashSet<u64> = key.hashes.iter().copied().collect();
    let values: HashSet<u64> = column.hashes.iter().copied().filter(|hash| *hash != 0).collect();
    let lacking = values.iter().filter(|value| !there.contains(value)).count();
    match is_named_for {
        // What was not looked at may hold the rest.
        true => (lacking * 2 <= values.len() || !other.layout.whole).then_some(lacking),
        false => (lacking == 0).then_some(0),
    }
}

fn is_named_for(dataset: &str, stem: &str) -> bool {
    let ies = stem.strip_suffix('y').map(|stem| format!("{stem}ies"));
    let plain = dataset.strip_prefix(stem).is_some_and(|end| matches!(end, "" | "s" | "es"));
    plain || ies.as_deref() == Some(dataset)
}

/// Whether following references from one dataset arrives at another, which would close a cycle.
fn leads_to(references: &[Vec<Option<Reference>>], from: usize, to: usize) -> bool {
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
