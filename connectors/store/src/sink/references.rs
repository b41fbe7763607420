//! References as sets: the distinct keys of a batch are looked up once, and their rows locked to the commit, so that
//! foreign keys hold without a trigger call per row.

use deadpool_postgres::Transaction;
use hashbrown::HashMap;
use serde_json::{Map, Value};
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::spelling::normal_key;
use tidegate_core::split::Fields;
use tidegate_core::validate::{Reference, unknown_reference};
use tidegate_postgres::table::TableSql;
use tidegate_postgres::{Database, PgError};

use super::batch::{DatasetRows, UnwrittenRow, Verdicts};
use crate::statement;

/// The values by which the rows of a batch reference other rows through one column.
pub(super) struct Values {
    reference: Reference,
    /// The distinct values, numbered.
    distinct: HashMap<String, u32>,
    /// For each row, the number of its value; `None` if it has none.
    of_row: Vec<Option<u32>>,
}

/// Values, and for each of them whether the referenced row exists.
struct Lookup<'a> {
    values: &'a Values,
    exists: Vec<bool>,
}

impl Values {
    /// Collects the values by which the rows reference other rows, by column.
    pub(super) fn collect(references: &[Reference], rows: &DatasetRows) -> Vec<Self> {
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
            let text = rows.split(row, &mut fields);
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

    /// Looks up which values are keys of `parent`, and locks those rows to the commit.
    async fn look_up(&self, tx: &Transaction<'_>, parent: &TableSql) -> Result<Lookup<'_>, PgError> {
        let mut values = vec![""; self.distinct.len()];
        for (value, i) in &self.distinct {
            values[*i as usize] = value;
        }
        let mut exists = vec![false; values.len()];
        // Ordered by key: two transactions that lock the same rows lock them in the same order.
        let sql = format!(
            "select wanted.i from unnest($1::text[]) with ordinality as wanted (key, i) \
             join {} as parent on parent.{} = wanted.key::{} order by parent.{1} for key share of parent",
            parent.name, parent.key, parent.key_type
        );
        for row in statement::query(tx, &sql, &[&values]).await? {
            exists[row.get::<_, i64>(0) as usize - 1] = true;
        }
        Ok(Lookup { values: self, exists })
    }
}

impl Lookup<'_> {
    /// Returns whether the row's reference exists, or the row has none.
    fn holds(&self, row: u32) -> bool {
        self.values.of_row[row as usize].is_none_or(|value| self.exists[value as usize])
    }
}

/// Whether a row that is about to be written counts as existing, for rows of its own dataset that reference it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Siblings {
    /// It counts: all of the rows are written together.
    Count,
    /// It does not count: the rows were tried and refused.
    Ignore,
}

/// Sets aside, as waiting, the accepted rows whose references do not exist. Locks the referenced rows that exist.
pub(super) async fn check(
    tx: &Transaction<'_>,
    database: &Database,
    dataset: usize,
    siblings: Siblings,
    rows: &DatasetRows,
    verdicts: &mut Verdicts,
) -> Result<(), PgError> {
    if rows.references.is_empty() || verdicts.accepted.is_empty() {
        return Ok(());
    }
    let mut lookups = Vec::with_capacity(rows.references.len());
    for values in &rows.references {
        lookups.push(values.look_up(tx, &database.tables()[values.reference.dataset]).await?);
    }
    if verdicts.accepted.iter().all(|row| lookups.iter().all(|lookup| lookup.holds(*row))) {
        return Ok(());
    }
    let manifest = database.manifest();
    let lacks = unsatisfied(manifest, dataset, siblings, rows, &verdicts.accepted, &lookups);
    for (row, lacks) in std::mem::take(&mut verdicts.accepted).into_iter().zip(lacks) {
        if lacks.is_empty() {
            verdicts.accepted.push(row);
        } else {
            verdicts.set_aside.push(waiting(manifest, dataset, &lookups, row, &lacks));
        }
    }
    Ok(())
}

/// Returns, for each accepted row, the indexes of the lookups that fail.
///
/// A row that references its own dataset may reference a row of this batch. If that row is set aside, the rows that
/// reference it are set aside too. The search is repeated until no further row is set aside.
fn unsatisfied(
    manifest: &Manifest,
    index: usize,
    siblings: Siblings,
    rows: &DatasetRows,
    accepted: &[u32],
    lookups: &[Lookup<'_>],
) -> Vec<Vec<usize>> {
    let dataset = &manifest.datasets[index];
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
    fn new(dataset: &Dataset, rows: &DatasetRows, accepted: &[u32]) -> Self {
        let mut fields = Fields::default();
        let mut counts = HashMap::new();
        let of_row: Vec<_> = accepted
            .iter()
            .map(|row| {
                let text = rows.split(&rows.lines[*row as usize], &mut fields);
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
    dataset: usize,
    lookups: &[Lookup<'_>],
    row: u32,
    lacks: &[usize],
) -> UnwrittenRow {
    let mut awaits = Map::new();
    let mut reasons = Vec::new();
    for l in lacks {
        let Values { reference, distinct, of_row } = lookups[*l].values;
        let column = &manifest.datasets[dataset].columns[reference.column].name;
        let parent = &manifest.datasets[reference.dataset].name;
        let value = distinct.iter().find(|(_, number)| Some(**number) == of_row[row as usize]);
        let value = value.map_or("", |(value, _)| value);
        reasons.push(unknown_reference(column, parent, value.as_bytes()));
        awaits.insert(column.clone(), Value::from(value));
    }
    UnwrittenRow { row, fate: Fate::Waiting, reasons, awaits: Some(Value::from(awaits).to_string()) }
}

fn field<'a>(fields: &'a Fields, column: usize, text: &'a [u8]) -> &'a str {
    if column < fields.len() { std::str::from_utf8(fields.get(column, text)).unwrap_or_default() } else { "" }
}
