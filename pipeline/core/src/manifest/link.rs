//! Drafts to datasets: keys and references become indices, and a dataset comes after all that it references.

use std::collections::HashMap;

use super::limits::TOPIC_BYTES_MAX;
use super::read::{ColumnDraft, DatasetDraft, ManifestDraft};
use super::yaml::{Location, NodeReader, Text};
use super::{Column, Dataset, Kind, Manifest, Table, topic_part};
use crate::suggestion::did_you_mean;

/// The references of a dataset to other datasets: for each, the index of its target and the place.
type Edges = Vec<(usize, Location)>;

/// Links a draft. Returns `None`, with faults, if something does not fit.
pub(super) fn manifest(reader: &mut NodeReader<'_>, draft: ManifestDraft) -> Option<Manifest> {
    clashes(reader, &draft);
    let keys: Vec<_> = draft.datasets.iter().map(|dataset| key_of(reader, dataset)).collect();
    let edges: Vec<_> =
        (0..draft.datasets.len()).map(|index| edges_of(reader, &draft.datasets, &keys, index)).collect();
    let depths = depths_of(&edges);
    cycles(reader, &draft.datasets, &edges, &depths);
    if !reader.faults.is_empty() {
        return None;
    }
    let ManifestDraft { mut manifest, datasets } = draft;
    let depths: Vec<usize> = depths.into_iter().collect::<Option<_>>()?;
    let mut order: Vec<usize> = (0..datasets.len()).collect();
    order.sort_by_key(|index| depths[*index]);
    let index_of: HashMap<String, usize> =
        order.iter().enumerate().map(|(to, from)| (datasets[*from].name.clone(), to)).collect();
    for ((dataset, key), depth) in datasets.into_iter().zip(keys).zip(depths) {
        let dataset = finish(dataset, &manifest, key?, depth, &index_of)?;
        manifest.datasets.push(dataset);
    }
    manifest.datasets.sort_by_key(|dataset| dataset.depth);
    Some(manifest)
}

/// Checks what two datasets must not share, and names that become too long.
fn clashes(reader: &mut NodeReader<'_>, draft: &ManifestDraft) {
    let mut tables = HashMap::new();
    let mut globs = HashMap::new();
    for dataset in &draft.datasets {
        let schema = dataset.table.schema.as_ref().unwrap_or(&draft.manifest.schema);
        let table = (schema, dataset.table.name.as_str());
        if let Some(other) = tables.insert(table, &dataset.name) {
            let message = format!("{} and {other} have the same table, \"{}\"", dataset.name, table.1);
            reader.fault(dataset.table_place, message, "give each dataset a table of its own");
        }
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

fn key_of(reader: &mut NodeReader<'_>, dataset: &DatasetDraft) -> Option<usize> {
    let Text { value, place } = dataset.key.as_ref()?;
    if dataset.columns.is_empty() {
        return None; // already a fault, and no name could be right
    }
    let Some(index) = dataset.columns.iter().position(|column| column.name == *value) else {
        let known: Vec<&str> = dataset.columns.iter().map(|column| column.name.as_str()).collect();
        let message = format!("the key \"{value}\" is no column of {}", dataset.name);
        let hint = did_you_mean(value, &known, || format!("columns are {}", known.join(", ")));
        reader.fault(*place, message, hint);
        return None;
    };
    for column in dataset.columns.iter().filter(|column| column.name != *value) {
        if let Some((_, place)) = &column.generated {
            let message = format!("{} is generated, but it is not the key of {}", column.name, dataset.name);
            reader.fault(*place, message, format!("only the key, {value}, can be generated; remove it here"));
        }
    }
    let ColumnDraft { kind, optional, .. } = &dataset.columns[index];
    if *optional {
        let message = format!("the key \"{value}\" is optional");
        reader.fault(*place, message, "a key is never missing; remove \"optional: true\" there");
    }
    if let Some(kind @ (Kind::Real | Kind::Double | Kind::Jsonb)) = kind {
        let message = format!("the key \"{value}\" is of type {kind}");
        reader.fault(*place, message, "choose a type whose values are exact, like integer, uuid or text");
    }
    Some(index)
}

/// The references of a dataset to others. A reference to an unknown dataset or to a key of another type is a fault.
fn edges_of(reader: &mut NodeReader<'_>, all: &[DatasetDraft], keys: &[Option<usize>], of: usize) -> Edges {
    let mut edges = Edges::new();
    for column in &all[of].columns {
        let Some(Text { value, place }) = &column.references else { continue };
        let Some(target) = all.iter().position(|dataset| dataset.name == *value) else {
            let known: Vec<&str> = all.iter().map(|dataset| dataset.name.as_str()).collect();
            let message = format!("there is no dataset \"{value}\" to reference");
            let hint = did_you_mean(value, &known, || format!("datasets are {}", known.join(", ")));
            reader.fault(*place, message, hint);
            continue;
        };
        if let Some(key) = keys[target].map(|key| &all[target].columns[key]) {
            check_types(reader, column, key, value, *place);
        }
        if target != of {
            edges.push((target, *place));
        }
    }
    edges
}

fn check_types(
    reader: &mut NodeReader<'_>,
    column: &ColumnDraft,
    key: &ColumnDraft,
    dataset: &str,
    at: Location,
) {
    let (Some(kind), Some(key_kind)) = (column.kind, key.kind) else { return };
    if kind.sql() != key_kind.sql() {
        let message = format!(
            "{} is of type {kind}, but the key of {dataset}, {}, is of type {key_kind}",
            column.name, key.name
        );
        reader.fault(at, message, "give both the same type");
    }
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
    key: usize,
    depth: usize,
    index_of: &HashMap<String, usize>,
) -> Option<Dataset> {
    let mut columns = Vec::with_capacity(draft.columns.len());
    for column in draft.columns {
        let ColumnDraft { name, kind, optional, references, generated, rules } = column;
        let references = references.and_then(|text| index_of.get(text.value.as_str()).copied());
        let generated = generated.map(|(generated, _)| generated);
        columns.push(Column { name, kind: kind?, optional, references, generated, rules });
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
        depth,
        matcher: draft.matcher?,
    })
}
