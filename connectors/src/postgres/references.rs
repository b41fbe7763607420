//! References as sets: the distinct keys of a batch are looked up once, and their rows held to the commit,
//! so that foreign keys hold without a trigger call per row.

use deadpool_postgres::Transaction;
use hashbrown::HashMap;
use serde_json::{Map, Value};
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::references::normal_key;
use tidegate_core::split::{Dialect, Fields};
use tidegate_core::validate::{Reference, unknown_reference};

use super::Error;
use super::batch::{Rows, SetAside, Verdicts};
use super::table::TableSql;

/// What the batch references through one column.
struct Lookup {
    reference: Reference,
    /// The distinct values, numbered.
    distinct: HashMap<String, u32>,
    /// For each accepted row the number of its value; `None` if it has none.
    of_row: Vec<Option<u32>>,
    /// For each value whether the row that it references is there.
    exists: Vec<bool>,
}

/// Sets aside, as waiting, the accepted rows whose references do not exist; holds those that do.
pub(super) async fn check(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    tables: &[TableSql],
    (dataset, references): (usize, &[Reference]),
    rows: &Rows,
    verdicts: &mut Verdicts,
) -> Result<(), Error> {
    if references.is_empty() || verdicts.accepted.is_empty() {
        return Ok(());
    }
    let mut lookups = collect(references, rows, &verdicts.accepted);
    for lookup in &mut lookups {
        look_up(tx, &tables[lookup.reference.dataset], lookup).await?;
    }
    let dataset = (dataset, &manifest.datasets[dataset]);
    let lacks = unsatisfied(dataset, rows, &verdicts.accepted, &lookups);
    if lacks.iter().all(Vec::is_empty) {
        return Ok(());
    }
    let accepted = std::mem::take(&mut verdicts.accepted);
    for (i, (row, lacks)) in accepted.into_iter().zip(lacks).enumerate() {
        if lacks.is_empty() {
            verdicts.accepted.push(row);
        } else {
            verdicts.set_aside.push(waiting(manifest, dataset.1, &lookups, (i, row), &lacks));
        }
    }
    Ok(())
}

fn collect(references: &[Reference], rows: &Rows, accepted: &[u32]) -> Vec<Lookup> {
    let mut lookups: Vec<Lookup> = references
        .iter()
        .map(|reference| Lookup {
            reference: *reference,
            distinct: HashMap::new(),
            of_row: Vec::with_capacity(accepted.len()),
            exists: Vec::new(),
        })
        .collect();
    let mut fields = Fields::default();
    for row in accepted {
        let text = rows.canonical(&rows.lines[*row as usize]);
        split(&mut fields, text);
        for lookup in &mut lookups {
            let value = field(&fields, lookup.reference.column, text);
            lookup.of_row.push((!value.is_empty()).then(|| {
                let next = lookup.distinct.len() as u32;
                *lookup.distinct.entry_ref(value).or_insert(next)
            }));
        }
    }
    lookups
}

async fn look_up(tx: &Transaction<'_>, parent: &TableSql, lookup: &mut Lookup) -> Result<(), Error> {
    let mut values = vec![""; lookup.distinct.len()];
    for (value, i) in &lookup.distinct {
        values[*i as usize] = value;
    }
    lookup.exists = vec![false; values.len()];
    // Ordered by key, so that batches that lock the same rows do it in the same order.
    let sql = format!(
        "select wanted.i from unnest($1::text[]) with ordinality as wanted (key, i) \
         join {} as parent on parent.{} = wanted.key::{} order by parent.{1} for key share of parent",
        parent.name, parent.key, parent.key_type
    );
    let statement = tx.prepare_cached(&sql).await?;
    for row in tx.query(&statement, &[&values]).await? {
        lookup.exists[row.get::<_, i64>(0) as usize - 1] = true;
    }
    Ok(())
}

/// For each accepted row, the numbers of the lookups that fail.
///
/// A row may reference its own dataset, and so a row of this batch. When one falls away, those that
/// reference it fall too, so that is repeated until none does.
fn unsatisfied(
    (index, dataset): (usize, &Dataset),
    rows: &Rows,
    accepted: &[u32],
    lookups: &[Lookup],
) -> Vec<Vec<usize>> {
    let is_own = |lookup: &Lookup| lookup.reference.dataset == index;
    let mut own = lookups.iter().any(is_own).then(|| OwnKeys::new(dataset, rows, accepted));
    let own_values: Vec<HashMap<u32, Vec<u8>>> = lookups
        .iter()
        .map(|lookup| {
            let kind = dataset.key_column().kind;
            let own = lookup.distinct.iter().filter(|_| is_own(lookup));
            own.map(|(value, i)| (*i, normal_key(kind, value.as_bytes()))).collect()
        })
        .collect();
    let mut lacks: Vec<Vec<usize>> = vec![Vec::new(); accepted.len()];
    loop {
        let mut fell = false;
        for (i, lacks) in lacks.iter_mut().enumerate().filter(|(_, lacks)| lacks.is_empty()) {
            for (l, lookup) in lookups.iter().enumerate() {
                let Some(value) = lookup.of_row[i] else { continue };
                let in_batch =
                    || own.as_ref().is_some_and(|own| own_values[l].get(&value).is_some_and(|v| own.holds(v)));
                if !lookup.exists[value as usize] && !in_batch() {
                    lacks.push(l);
                }
            }
            if !lacks.is_empty()
                && let Some(own) = &mut own
            {
                own.remove(i);
                fell = true;
            }
        }
        if !fell {
            return lacks;
        }
    }
}

/// The keys of a batch's own rows, for references within a dataset.
struct OwnKeys {
    of_row: Vec<Vec<u8>>,
    counts: HashMap<Vec<u8>, usize>,
}

impl OwnKeys {
    fn new(dataset: &Dataset, rows: &Rows, accepted: &[u32]) -> Self {
        let mut fields = Fields::default();
        let mut counts = HashMap::new();
        let of_row: Vec<_> = accepted
            .iter()
            .map(|row| {
                let text = rows.canonical(&rows.lines[*row as usize]);
                split(&mut fields, text);
                let key = normal_key(dataset.key_column().kind, field(&fields, dataset.key, text).as_bytes());
                *counts.entry_ref(key.as_slice()).or_insert(0) += 1;
                key
            })
            .collect();
        Self { of_row, counts }
    }

    fn holds(&self, key: &[u8]) -> bool {
        self.counts.get(key).is_some_and(|count| *count > 0)
    }

    fn remove(&mut self, row: usize) {
        if let Some(count) = self.counts.get_mut(&self.of_row[row]) {
            *count -= 1;
        }
    }
}

fn waiting(
    manifest: &Manifest,
    dataset: &Dataset,
    lookups: &[Lookup],
    (i, row): (usize, u32),
    lacks: &[usize],
) -> SetAside {
    let mut awaits = Map::new();
    let mut reasons = Vec::new();
    for l in lacks {
        let lookup = &lookups[*l];
        let column = &dataset.columns[lookup.reference.column].name;
        let parent = &manifest.datasets[lookup.reference.dataset].name;
        let value = lookup.distinct.iter().find(|(_, number)| Some(**number) == lookup.of_row[i]);
        let value = value.map_or("", |(value, _)| value);
        reasons.push(unknown_reference(column, parent, value.as_bytes()));
        awaits.insert(column.clone(), Value::from(value));
    }
    SetAside { row, fate: Fate::Waiting, reasons, awaits: Some(Value::from(awaits).to_string()) }
}

fn split(fields: &mut Fields, canonical: &[u8]) {
    // A canonical line was written by `split::write_field`: its quotes close.
    fields.split(canonical, Dialect::STANDARD).expect("a canonical line has no open quote");
}

fn field<'a>(fields: &'a Fields, column: usize, text: &'a [u8]) -> &'a str {
    if column < fields.len() { std::str::from_utf8(fields.get(column, text)).unwrap_or_default() } else { "" }
}
