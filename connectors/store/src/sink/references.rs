//! References as sets: the distinct keys of a batch are looked up once, and their rows locked to the commit, so that
//! foreign keys hold without a trigger call per row.

use deadpool_postgres::Transaction;
use hashbrown::HashMap;
use serde_json::{Map, Value};
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::{Dataset, Manifest, Reference};
use tidegate_core::spelling::normal_parts;
use tidegate_core::split::Fields;
use tidegate_core::validate::unknown_reference;
use tidegate_postgres::key::KeySql;
use tidegate_postgres::table::table_name;
use tidegate_postgres::{Database, PgError};
use tokio_postgres::types::ToSql;

use super::batch::{DatasetRows, UnwrittenRow, Verdicts};
use crate::statement;

/// Ends each value but the last, where a reference has several columns. No text of a line holds it.
const SEPARATOR: char = '\0';

/// The values by which the rows of a batch reference other rows through one reference.
pub(super) struct Values {
    reference: Reference,
    /// The distinct values, numbered. Those of several columns are one text, joined by [`SEPARATOR`].
    distinct: HashMap<String, u32>,
    /// For each row, the number of its value; `None` if it has none.
    of_row: Vec<Option<u32>>,
}

/// Values, and for each of them, by its number, its text and whether the referenced row exists.
struct Lookup<'a> {
    values: &'a Values,
    texts: Vec<&'a str>,
    exists: Vec<bool>,
}

impl Values {
    /// Collects the values by which the rows reference other rows, by reference.
    pub(super) fn collect(references: &[Reference], rows: &DatasetRows) -> Vec<Self> {
        let empty = |reference: &Reference| Self {
            reference: reference.clone(),
            distinct: HashMap::new(),
            of_row: Vec::with_capacity(rows.lines.len()),
        };
        let mut all: Vec<Self> = references.iter().map(empty).collect();
        if all.is_empty() {
            return all;
        }
        let (mut fields, mut joined) = (Fields::default(), String::new());
        for row in &rows.lines {
            let text = rows.split(row, &mut fields);
            for values in &mut all {
                let value = value_of(&values.reference.columns, &fields, text, &mut joined);
                values.of_row.push(value.map(|value| {
                    let next = values.distinct.len() as u32;
                    *values.distinct.entry_ref(value).or_insert(next)
                }));
            }
        }
        all
    }

    /// Looks up which values rows of `parent` have, and locks those rows to the commit.
    async fn look_up(&self, tx: &Transaction<'_>, parent: &Dataset) -> Result<Lookup<'_>, PgError> {
        let key = KeySql::new(parent, &self.reference.to);
        let mut texts = vec![""; self.distinct.len()];
        let mut columns = vec![texts.clone(); key.columns.len()];
        for (value, i) in &self.distinct {
            texts[*i as usize] = value;
            for (column, part) in columns.iter_mut().zip(value.split(SEPARATOR)) {
                column[*i as usize] = part;
            }
        }
        let mut exists = vec![false; self.distinct.len()];
        // Ordered by key: two transactions that lock the same rows lock them in the same order.
        let sql = format!(
            "select wanted.i from unnest({}) with ordinality as wanted ({}, i) \
             join {} as parent on {} order by {} for key share of parent",
            key.parameters(1),
            key.numbered(),
            table_name(parent),
            key.is_text("parent", "wanted"),
            key.list_of("parent")
        );
        let parameters: Vec<&(dyn ToSql + Sync)> = columns.iter().map(|column| column as _).collect();
        for row in statement::query(tx, &sql, &parameters).await? {
            exists[row.get::<_, i64>(0) as usize - 1] = true;
        }
        Ok(Lookup { values: self, texts, exists })
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
        lookups.push(values.look_up(tx, &database.manifest().datasets[values.reference.dataset]).await?);
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
    let is_own = |lookup: &Lookup<'_>| lookup.values.reference.dataset == dataset.of_table;
    let mut own: Vec<Option<OwnKeys>> = lookups
        .iter()
        .map(|lookup| {
            let counts = siblings == Siblings::Count && is_own(lookup);
            let to = manifest.columns_in(index, &lookup.values.reference.to);
            counts.then(|| OwnKeys::new(dataset, &to, rows, accepted))
        })
        .collect();
    let own_values: Vec<HashMap<u32, Vec<u8>>> = lookups
        .iter()
        .map(|lookup| {
            let kinds = || lookup.values.reference.columns.iter().map(|column| dataset.columns[*column].kind);
            let parts = |value: &str| normal_parts(kinds().zip(value.split(SEPARATOR).map(str::as_bytes)));
            let own = lookup.values.distinct.iter().filter(|_| is_own(lookup));
            own.filter_map(|(value, i)| Some((*i, parts(value)?))).collect()
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
                    own[l].as_ref().zip(own_value).is_some_and(|(own, value)| own.holds(value))
                };
                if !lookup.holds(accepted[i]) && !in_batch() {
                    lacks.push(l);
                }
            }
            if !lacks.is_empty() {
                own.iter_mut().flatten().for_each(|own| own.remove(i));
                fell |= own.iter().any(Option::is_some);
            }
        }
        if !fell {
            return lacks;
        }
    }
}

/// The keys of a batch's own rows, or their values in other columns that are referenced, for references within a
/// dataset.
struct OwnKeys {
    /// `None` for a row that lacks a value.
    of_row: Vec<Option<Vec<u8>>>,
    counts: HashMap<Vec<u8>, usize>,
}

impl OwnKeys {
    fn new(dataset: &Dataset, columns: &[usize], rows: &DatasetRows, accepted: &[u32]) -> Self {
        let mut fields = Fields::default();
        let mut counts = HashMap::new();
        let of_row: Vec<_> = accepted
            .iter()
            .map(|row| {
                let text = rows.split(&rows.lines[*row as usize], &mut fields);
                let part = |column: &usize| {
                    (dataset.columns[*column].kind, field(&fields, *column, text).as_bytes())
                };
                let key = normal_parts(columns.iter().map(part))?;
                *counts.entry_ref(key.as_slice()).or_insert(0) += 1;
                Some(key)
            })
            .collect();
        Self { of_row, counts }
    }

    fn holds(&self, key: &[u8]) -> bool {
        self.counts.get(key).is_some_and(|count| *count > 0)
    }

    fn remove(&mut self, row: usize) {
        if let Some(count) = self.of_row[row].as_ref().and_then(|key| self.counts.get_mut(key)) {
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
        let Lookup { values: Values { reference, of_row, .. }, texts, .. } = &lookups[*l];
        let name = reference.name(&manifest.datasets[dataset]);
        let parent = &manifest.datasets[reference.dataset].name;
        let value = of_row[row as usize].map_or("", |value| texts[value as usize]);
        let parts: Vec<&str> = value.split(SEPARATOR).collect();
        reasons.push(unknown_reference(&name, parent, parts.join(",").as_bytes()));
        let awaited = if let [value] = parts[..] { Value::from(value) } else { Value::from(parts) };
        awaits.insert(name, awaited);
    }
    UnwrittenRow { row, fate: Fate::Waiting, reasons, awaits: Some(Value::from(awaits).to_string()) }
}

/// The value of a reference's columns in a row, or their values as one text, which is written to `joined`. `None` if
/// one of them is missing.
fn value_of<'a>(
    columns: &[usize],
    fields: &'a Fields,
    text: &'a [u8],
    joined: &'a mut String,
) -> Option<&'a str> {
    // An empty text is in quotes.
    let is_literal = |column: usize| column < fields.len() && fields.is_literal(column);
    let present = |column: &usize| {
        Some(field(fields, *column, text)).filter(|value| !value.is_empty() || is_literal(*column))
    };
    if let [column] = columns {
        return present(column);
    }
    joined.clear();
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            joined.push(SEPARATOR);
        }
        joined.push_str(present(column)?);
    }
    Some(joined)
}

fn field<'a>(fields: &'a Fields, column: usize, text: &'a [u8]) -> &'a str {
    if column < fields.len() { std::str::from_utf8(fields.get(column, text)).unwrap_or_default() } else { "" }
}
