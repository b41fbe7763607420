//! Guesses which columns reference which dataset, by their names.

use super::Guess;

/// For each column of each dataset the dataset that it seems to reference: `department_id` one that is
/// called `department` or a plural of it, where the key there has the same type.
pub(super) fn guess(all: &[Guess<'_>]) -> Vec<Vec<Option<usize>>> {
    let mut references: Vec<Vec<Option<usize>>> =
        all.iter().map(|dataset| vec![None; dataset.columns.len()]).collect();
    for (from, dataset) in all.iter().enumerate() {
        for (index, column) in dataset.columns.iter().enumerate() {
            let name = column.name.to_ascii_lowercase();
            let Some(stem) = name.strip_suffix("_id").filter(|stem| !stem.is_empty()) else { continue };
            let target = all.iter().position(|other| is_named_for(&other.name, stem));
            let Some(target) = target.filter(|target| all[*target].key_kind() == column.kind) else {
                continue;
            };
            let own_key = target == from && index == dataset.key;
            if !own_key && (target == from || !leads_to(&references, target, from)) {
                references[from][index] = Some(target);
            }
        }
    }
    references
}

impl Guess<'_> {
    fn key_kind(&self) -> super::super::Kind {
        self.columns[self.key].kind
    }
}

fn is_named_for(dataset: &str, stem: &str) -> bool {
    let ies = stem.strip_suffix('y').map(|stem| format!("{stem}ies"));
    let plain = dataset.strip_prefix(stem).is_some_and(|end| matches!(end, "" | "s" | "es"));
    plain || ies.as_deref() == Some(dataset)
}

/// Whether following references from one dataset arrives at another, which would close a cycle.
fn leads_to(references: &[Vec<Option<usize>>], from: usize, to: usize) -> bool {
    let (mut seen, mut open) = (vec![false; references.len()], vec![from]);
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        if !std::mem::replace(&mut seen[at], true) {
            open.extend(references[at].iter().flatten());
        }
    }
    false
}
