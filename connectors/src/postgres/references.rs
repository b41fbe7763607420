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

/// What the rows of a batch reference through one column.
pub(super) struct Values {
    reference: Reference,
    /// The distinct values, numbered.
    distinct: HashMap<String, u32>,
    /// For each row the number of its value; `None` if it has none.
    of_row: Vec<Option<u32>>,
}

/// Values, and for each of them whether the row that it references is there.
struct Lookup<'a> {
    values: &'a Values,
    exists: Vec<bool>,
}

impl Values {
    /// What the rows reference, by column.
    pub(super) fn collect(references: &[Reference], rows: &Rows) -> Vec<Self> {
        let empty = |reference: &Reference| Self {
            reference: *reference,
            distinct: HashMap::new(),
            of_row: Vec::with_capacity(rows.lines.len()),
        };
        let mut all: Vec<Self> = references.iter().map(empty).collect();
        if all.is_empty() {
            return all;
        }
        let mut fields = Fields::default();
        for row in &rows.lines {
            let text = rows.canonical(row);
            split(&mut fields, text);
            for values in &mut all {
                let value = field(&fields, values.reference.column, text);
                values.of_row.push((!value.is_empty()).then(|| {
                    let next = values.distinct.len() as u32;
                    *values.distinct.entry_ref(value).or_insert(next)
                }));
            }
        }
        all
    }

    /// Looks up which values are keys of `parent`, and holds those rows to the commit.
    async fn look_up(&self, tx: &Transaction<'_>, parent: &TableSql) -> Result<Lookup<'_>, Error> {
        let mut values = vec![""; self.distinct.len()];
        for (value, i) in &self.distinct {
            values[*i as usize] = value;
        }
        let mut exists = vec![false; values.len()];
        // Ordered by key, so that batches that lock the same rows do it in the same order.
        let sql = format!(
            "select wanted.i from unnest($1::text[]) with ordinality as wanted (key, i) \
             join {} as parent on parent.{} = wanted.key::{} order by parent.{1} for key share of parent",
            parent.name, parent.key, parent.key_type
        );
        let statement = tx.prepare_cached(&sql).await?;
        for row in tx.query(&statement, &[&values]).await? {
            exists[row.get::<_, i64>(0) as usize - 1] = true;
        }
        Ok(Lookup { values: self, exists })
    }
}

impl Lookup<'_> {
    /// Whether the row's reference is there, or there is none.
    fn holds(&self, row: u32) -> bool {
        self.values.of_row[row as usize].is_none_or(|value| self.exists[value as usize])
    }
}

/// Whether a row that is about to be written counts as there, for rows of its own dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Siblings {
    /// It does: all will be written at once.
    Count,
    /// It does not: they were tried, and refused.
    Ignore,
}

/// Sets aside, as waiting, the accepted rows whose references do not exist; holds those that do.
pub(super) async fn check(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    tables: &[TableSql],
    (dataset, siblings): (usize, Siblings),
    rows: &Rows,
    verdicts: &mut Verdicts,
) -> Result<(), Error> {
    if rows.references.is_empty() || verdicts.accepted.is_empty() {
        return Ok(());
    }
    let mut lookups = Vec::with_capacity(rows.references.len());
    for values in &rows.references {
        lookups.push(values.look_up(tx, &tables[values.reference.dataset]).await?);
    }
    if verdicts.accepted.iter().all(|row| lookups.iter().all(|lookup| lookup.holds(*row))) {
        return Ok(());
    }
    let dataset = (dataset, &manifest.datasets[dataset]);
    let lacks = unsatisfied(dataset, siblings, rows, &verdicts.accepted, &lookups);
    for (row, lacks) in std::mem::take(&mut verdicts.accepted).into_iter().zip(lacks) {
        if lacks.is_empty() {
            verdicts.accepted.push(row);
        } else {
            verdicts.set_aside.push(waiting(manifest, dataset.1, &lookups, row, &lacks));
        }
    }
    Ok(())
}

/// For each accepted row, the numbers of the lookups that fail.
///
/// A row may reference its own dataset, and so a row of this batch. When one falls away, those that
/// reference it fall too, so that is repeated until none does.
fn unsatisfied(
    (index, dataset): (usize, &Dataset),
    siblings: Siblings,
    rows: &Rows,
    accepted: &[u32],
    lookups: &[Lookup<'_>],
) -> Vec<Vec<usize>> {
    let is_own = |lookup: &Lookup<'_>| lookup.values.reference.dataset == index;
    let count = siblings == Siblings::Count && lookups.iter().any(is_own);
    let mut own = count.then(|| OwnKeys::new(dataset, rows, accepted));
    let own_values: Vec<HashMap<u32, Vec<u8>>> = lookups
        .iter()
        .map(|lookup| {
            let kind = dataset.key_column().kind;
            let own = lookup.values.distinct.iter().filter(|_| is_own(lookup));
            own.map(|(value, i)| (*i, normal_key(kind, value.as_bytes()))).collect()
        })
        .collect();
    let mut lacks: Vec<Vec<usize>> = vec![Vec::new(); accepted.len()];
    loop {
        let mut fell = false;
        for (i, lacks) in lacks.iter_mut().enumerate().filter(|(_, lacks)| lacks.is_empty()) {
            for (l, lookup) in lookups.iter().enumerate() {
                let value = lookup.values.of_row[accepted[i] as usize];
                let in_batch = || {
                    let own_value = value.and_then(|value| own_values[l].get(&value));
                    own.as_ref().zip(own_value).is_some_and(|(own, value)| own.holds(value))
                };
                if !lookup.holds(accepted[i]) && !in_batch() {
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
    lookups: &[Lookup<'_>],
    row: u32,
    lacks: &[usize],
) -> SetAside {
    let mut awaits = Map::new();
    let mut reasons = Vec::new();
    for l in lacks {
        let Values { reference, distinct, of_row } = lookups[*l].values;
        let column = &dataset.columns[reference.column].name;
        let parent = &manifest.datasets[reference.dataset].name;
        let value = distinct.iter().find(|(_, number)| Some(**number) == of_row[row as usize]);
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
