//! Drafts to datasets: keys and references become indices, and a dataset comes after all that it references.

mod keys;
mod references;
mod tables;

use std::collections::HashMap;

use super::limits::TOPIC_BYTES_MAX;
use super::read::{ColumnDraft, DatasetDraft, ManifestDraft};
use super::yaml::{Location, NodeReader};
use super::{Column, Dataset, Manifest, Reference, Table, topic_part};
use references::LinkedReference;

/// The references of a dataset to other datasets: for each, the index of its target and the place.
type Edges = Vec<(usize, Location)>;

/// Links a draft. Returns `None`, with faults, if something does not fit.
pub(super) fn manifest(reader: &mut NodeReader<'_>, draft: ManifestDraft) -> Option<Manifest> {
    clashes(reader, &draft);
    let keys: Vec<_> = draft.datasets.iter().map(|dataset| keys::of(reader, dataset)).collect();
    let references: Vec<_> = (0..draft.datasets.len())
        .map(|index| references::of(reader, &draft.datasets, &keys, index))
        .collect();
    let first = tables::first_datasets(&draft);
    tables::agree(reader, &draft.datasets, &first, &keys, &references);
    let edges: Vec<_> =
        references.iter().enumerate().map(|(index, linked)| edges_of(&first, index, linked)).collect();
    let depths = depths_of(&edges);
    cycles(reader, &draft.datasets, &edges, &depths);
    if !reader.faults.is_empty() {
        return None;
    }
    let ManifestDraft { mut manifest, datasets } = draft;
    let depths: Vec<usize> = depths.into_iter().collect::<Option<_>>()?;
    let mut order: Vec<usize> = (0..datasets.len()).collect();
    order.sort_by_key(|index| depths[*index]);
    let mut index_of = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, from)| index_of[*from] = to);
    let references: Vec<Vec<Reference>> = references
        .into_iter()
        .map(|of| {
            of.into_iter().map(|linked| finish_reference(&datasets, &first, &index_of, linked)).collect()
        })
        .collect();
    let parts = datasets.into_iter().zip(keys).zip(references).zip(depths).enumerate();
    for (index, (((dataset, key), references), depth)) in parts {
        let of_table = index_of[first[index]];
        let dataset = finish(dataset, &manifest, (key?, references), (depth, of_table))?;
        manifest.datasets.push(dataset);
    }
    manifest.datasets.sort_by_key(|dataset| dataset.depth);
    Some(manifest)
}

/// Checks the globs, which two datasets must not share, and names that become too long.
fn clashes(reader: &mut NodeReader<'_>, draft: &ManifestDraft) {
    let mut globs = HashMap::new();
    for dataset in &draft.datasets {
        if let Some(other) = globs.insert(dataset.files.value.as_str(), &dataset.name) {
            let message =
                format!("{} and {other} have the same files, \"{}\"", dataset.name, dataset.files.value);
            reader.fault(dataset.files.place, message, "give each dataset a glob of its own");
        }
        let topic = format!("{}-accepted-{}", draft.manifest.pipeline, topic_part(&dataset.name));
        if topic.len() > TOPIC_BYTES_MAX {
            let message = format!("the topic \"{topic}\" would be longer than {TOPIC_BYTES_MAX} characters");
            reader.fault(dataset.place, message, "shorten the name of the dataset or the pipeline");
        }
    }
}

/// The references to other tables, as the search for cycles needs them. `first` has for each dataset the first one of
/// its table.
fn edges_of(first: &[usize], of: usize, references: &[LinkedReference]) -> Edges {
    let others = references.iter().filter(|reference| first[reference.target] != first[of]);
    others.map(|reference| (first[reference.target], reference.place)).collect()
}

/// A reference whose target is the first dataset of its table: rows of any dataset with that table fulfil it.
fn finish_reference(
    all: &[DatasetDraft],
    first: &[usize],
    index_of: &[usize],
    linked: LinkedReference,
) -> Reference {
    let (named, target) = (&all[linked.target], &all[first[linked.target]]);
    let place = |column: &usize| {
        let name = &named.columns[*column].name;
        target.columns.iter().position(|column| column.name == *name)
    };
    // Datasets of one table have the same columns, in any order.
    let to = linked.to.iter().filter_map(place).collect();
    Reference { columns: linked.columns, dataset: index_of[first[linked.target]], to }
}

/// The length of the longest chain of references from each dataset. `None` if a chain leads into a cycle.
fn depths_of(edges: &[Edges]) -> Vec<Option<usize>> {
    let mut depths: Vec<_> = edges.iter().map(|targets| targets.is_empty().then_some(0)).collect();
    loop {
        let mut settled = false;
        for (index, targets) in edges.iter().enumerate() {
            if depths[index].is_some() {
                continue;
            }
            let below: Option<Vec<usize>> = targets.iter().map(|(target, _)| depths[*target]).collect();
            depths[index] = below.and_then(|below| below.into_iter().max()).map(|deepest| deepest + 1);
            settled |= depths[index].is_some();
        }
        if !settled {
            return depths;
        }
    }
}

/// Follows the references of datasets without a depth until a dataset comes again, and reports each cycle once.
fn cycles(reader: &mut NodeReader<'_>, all: &[DatasetDraft], edges: &[Edges], depths: &[Option<usize>]) {
    let mut seen = vec![false; all.len()];
    for start in 0..all.len() {
        let mut path: Vec<(usize, Location)> = Vec::new();
        let mut at = start;
        while depths[at].is_none() && !seen[at] {
            seen[at] = true;
            let Some(edge) = edges[at].iter().find(|(target, _)| depths[*target].is_none()) else { break };
            path.push((at, edge.1));
            at = edge.0;
        }
        let Some(first) = path.iter().position(|(index, _)| *index == at) else { continue };
        let cycle = &path[first..];
        let mut names: Vec<&str> = cycle.iter().map(|(index, _)| all[*index].name.as_str()).collect();
        names.push(names[0]);
        let hint = "remove one of these references; the column can stay without it";
        reader.fault(cycle[0].1, format!("references form a cycle: {}", names.join(" → ")), hint);
    }
}

fn finish(
    draft: DatasetDraft,
    manifest: &Manifest,
    (key, references): (Vec<usize>, Vec<Reference>),
    (depth, of_table): (usize, usize),
) -> Option<Dataset> {
    let mut columns = Vec::with_capacity(draft.columns.len());
    for column in draft.columns {
        let ColumnDraft { name, kind, origin, optional, generated, rules, reading, .. } = column;
        let origin = origin.map(|(origin, _)| origin).unwrap_or_default();
        let generated = generated.map(|(generated, _)| generated);
        columns.push(Column { name, kind: kind?, origin, optional, generated, rules, reading });
    }
    let table = Table {
        is_placed: draft.table.schema.is_some() || manifest.is_schema_said,
        schema: draft.table.schema.unwrap_or_else(|| manifest.schema.clone()),
        name: draft.table.name,
    };
    Some(Dataset {
        name: draft.name,
        table,
        files: draft.files.value,
        csv: draft.csv,
        columns,
        key,
        references,
        of_table,
        depth,
        matcher: draft.matcher?,
    })
}
