//! Drafts to datasets: keys and references become indices, and datasets stand behind all they reference.

use std::collections::HashMap;

use super::fault::nearest;
use super::limits::TOPIC_BYTES_MAX;
use super::read::{ColumnDraft, DatasetDraft, Draft};
use super::yaml::{Place, Reader, Text};
use super::{Column, Dataset, Kind, Manifest, Table, topic_part};

/// The references of a dataset: for each that leads to another dataset, the target's index and the place.
type Edges = Vec<(usize, Place)>;

/// Links a draft. `None`, and faults, where something does not fit.
pub(super) fn manifest(reader: &mut Reader<'_>, draft: Draft) -> Option<Manifest> {
    clashes(reader, &draft);
    let keys: Vec<_> = draft.datasets.iter().map(|dataset| key_of(reader, dataset)).collect();
    let edges: Vec<_> =
        (0..draft.datasets.len()).map(|index| edges_of(reader, &draft.datasets, &keys, index)).collect();
    let depths = depths_of(&edges);
    cycles(reader, &draft.datasets, &edges, &depths);
    if !reader.faults.is_empty() {
        return None;
    }
    let names: Vec<String> = draft.datasets.iter().map(|dataset| dataset.name.clone()).collect();
    let depths: Vec<usize> = depths.into_iter().collect::<Option<_>>()?;
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|index| depths[*index]);
    let index_of: HashMap<&str, usize> =
        order.iter().enumerate().map(|(to, from)| (names[*from].as_str(), to)).collect();
    let mut datasets = Vec::with_capacity(names.len());
    for ((dataset, key), depth) in draft.datasets.into_iter().zip(keys).zip(&depths) {
        datasets.push(finish(dataset, draft.schema.as_deref(), key?, *depth, &index_of)?);
    }
    datasets.sort_by_key(|dataset| dataset.depth);
    Some(Manifest {
        pipeline: draft.pipeline,
        landing: draft.landing,
        views: draft.views,
        is_schema_said: draft.schema.is_some(),
        schema: draft.schema.unwrap_or_else(|| Manifest::SCHEMA.to_owned()),
        settle: draft.settle,
        lease: draft.lease,
        fluvio: draft.fluvio,
        http: draft.http,
        backup: draft.backup,
        max_lag_bytes: draft.max_lag_bytes,
        max_record_bytes: draft.max_record_bytes,
        datasets,
    })
}

/// What two datasets must not share, and names that become too long.
fn clashes(reader: &mut Reader<'_>, draft: &Draft) {
    let mut tables = HashMap::new();
    let mut globs = HashMap::new();
    for dataset in &draft.datasets {
        let schema = dataset.table.schema.as_deref().or(draft.schema.as_deref()).unwrap_or(Manifest::SCHEMA);
        let table = (schema, dataset.table.name.as_str());
        if let Some(other) = tables.insert(table, &dataset.name) {
            let message = format!("{} and {other} have the same table, \"{}\"", dataset.name, table.1);
            reader.fault(dataset.table_place, message, "give each dataset a table of its own");
        }
        if let Some(other) = globs.insert(dataset.files.as_str(), &dataset.name) {
            let message = format!("{} and {other} have the same files, \"{}\"", dataset.name, dataset.files);
            reader.fault(dataset.files_place, message, "give each dataset a glob of its own");
        }
        let topic = format!("{}-accepted-{}", draft.pipeline, topic_part(&dataset.name));
        if topic.len() > TOPIC_BYTES_MAX {
            let message = format!("the topic \"{topic}\" would be longer than {TOPIC_BYTES_MAX} characters");
            reader.fault(dataset.place, message, "shorten the name of the dataset or the pipeline");
        }
    }
}

fn key_of(reader: &mut Reader<'_>, dataset: &DatasetDraft) -> Option<usize> {
    let Text { value, place } = dataset.key.as_ref()?;
    if dataset.columns.is_empty() {
        return None; // a fault already, and no name could be right
    }
    let Some(index) = dataset.columns.iter().position(|column| column.name == *value) else {
        let known: Vec<&str> = dataset.columns.iter().map(|column| column.name.as_str()).collect();
        let message = format!("the key \"{value}\" is no column of {}", dataset.name);
        reader.fault(*place, message, one_of(value, &known, "columns"));
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

/// The references of a dataset to others; unknown ones and those of another type are faults.
fn edges_of(reader: &mut Reader<'_>, all: &[DatasetDraft], keys: &[Option<usize>], of: usize) -> Edges {
    let mut edges = Edges::new();
    for column in &all[of].columns {
        let Some(Text { value, place }) = &column.references else { continue };
        let Some(target) = all.iter().position(|dataset| dataset.name == *value) else {
            let known: Vec<&str> = all.iter().map(|dataset| dataset.name.as_str()).collect();
            let message = format!("there is no dataset \"{value}\" to reference");
            reader.fault(*place, message, one_of(value, &known, "datasets"));
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

fn check_types(reader: &mut Reader<'_>, column: &ColumnDraft, key: &ColumnDraft, dataset: &str, at: Place) {
    let (Some(kind), Some(key_kind)) = (column.kind, key.kind) else { return };
    if kind.sql() != key_kind.sql() {
        let message = format!(
            "{} is of type {kind}, but the key of {dataset}, {}, is of type {key_kind}",
            column.name, key.name
        );
        reader.fault(at, message, "give both the same type");
    }
}

/// The length of the longest chain of references from each; `None` where one leads into a cycle.
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

/// Follows the references of what has no depth until a dataset comes again, and names that cycle once.
fn cycles(reader: &mut Reader<'_>, all: &[DatasetDraft], edges: &[Edges], depths: &[Option<usize>]) {
    let mut seen = vec![false; all.len()];
    for start in 0..all.len() {
        let mut path: Vec<(usize, Place)> = Vec::new();
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
    schema: Option<&str>,
    key: usize,
    depth: usize,
    index_of: &HashMap<&str, usize>,
) -> Option<Dataset> {
    let mut columns = Vec::with_capacity(draft.columns.len());
    for column in draft.columns {
        let ColumnDraft { name, kind, optional, references, generated, rules } = column;
        let references = references.and_then(|text| index_of.get(text.value.as_str()).copied());
        let generated = generated.map(|(generated, _)| generated);
        columns.push(Column { name, kind: kind?, optional, references, generated, rules });
    }
    let said = draft.table.schema.as_deref().or(schema);
    let table = Table {
        schema: said.unwrap_or(Manifest::SCHEMA).to_owned(),
        name: draft.table.name,
        is_placed: said.is_some(),
    };
    Some(Dataset {
        name: draft.name,
        table,
        files: draft.files,
        csv: draft.csv,
        columns,
        key,
        depth,
        matcher: draft.matcher?,
    })
}

fn one_of(name: &str, known: &[&str], what: &str) -> String {
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("{what} are {}", known.join(", ")),
    }
}
