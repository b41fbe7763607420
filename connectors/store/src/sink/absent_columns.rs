//! Columns that the sources of a batch do not have, and columns whose missing values are left to the table.
//!
//! In such a column a new row gets the table's default. An existing row gets it too if the manifest says `default: table`,
//! and becomes null otherwise. If the table has no default for the column, both are null, and the rows are written like
//! all others. A restored row has the values that its table had: where the column may be null, a missing value is null.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::GenericClient;
use tidegate_core::split::Fields;
use tidegate_postgres::PgError;
use tidegate_postgres::table::{TableSql, quoted};

use super::batch::{BatchRow, DatasetRows, RowBatch};
use crate::store::Store;
use crate::{shapes, statement};

/// For each dataset whose rows lack columns, the columns that each row lacks, by index.
#[derive(Default)]
pub(super) struct AbsentColumns {
    of_rows: BTreeMap<usize, Vec<Vec<usize>>>,
}

/// Rows by the columns that are left out of them.
pub(super) type Groups = BTreeMap<Vec<usize>, Vec<u32>>;

/// Finds the columns that the rows of a batch lack. Costs nothing if no source lacks a column.
pub(super) async fn of_batch(store: &Store, batch: &RowBatch) -> Result<AbsentColumns, PgError> {
    let mut lacking = AbsentColumns::default();
    if batch.rows.iter().all(|rows| rows.lines.is_empty()) {
        return Ok(lacking);
    }
    let may_lack = shapes::may_lack(store).await?;
    for (dataset, definition) in store.manifest().datasets.iter().enumerate() {
        let (rows, columns) = (&batch.rows[dataset], definition.columns.iter().enumerate());
        let left_to_table = columns.filter(|(_, column)| column.reading.is_default_of_table());
        let left_to_table: Vec<usize> = left_to_table.map(|(i, _)| i).collect();
        let is_required = |column: &usize| !definition.columns[*column].optional;
        let of_restored: Vec<usize> = left_to_table.iter().copied().filter(is_required).collect();
        if rows.lines.is_empty() || (left_to_table.is_empty() && !may_lack[dataset]) {
            continue;
        }
        let sources: BTreeSet<u64> = rows.lines.iter().map(|row| row.position.source).collect();
        let sources: Vec<u64> = sources.into_iter().collect();
        let shapes = shapes::of_sources(store, &sources).await?;
        let lacked =
            shapes.iter().map(|(source, shape)| (*source, shapes::lacks(shape, store.manifest(), dataset)));
        let lacked: BTreeMap<u64, Vec<usize>> = lacked.filter(|(_, columns)| !columns.is_empty()).collect();
        if !lacked.is_empty() || !left_to_table.is_empty() {
            let is_restored = |source| shapes.get(&source).is_some_and(|shape| shape.canonical);
            let left_to_table =
                |source| if is_restored(source) { &of_restored[..] } else { &left_to_table[..] };
            lacking.of_rows.insert(dataset, of_rows(rows, &lacked, left_to_table));
        }
    }
    Ok(lacking)
}

/// Returns the columns that each row lacks: those that its source lacks, and those that lines of the source leave to the
/// table. A line may have been edited meanwhile, so a column counts only if its value is missing in the line.
fn of_rows<'a>(
    rows: &DatasetRows,
    lacked: &BTreeMap<u64, Vec<usize>>,
    left_to_table: impl Fn(u64) -> &'a [usize],
) -> Vec<Vec<usize>> {
    let mut fields = Fields::default();
    let mut of_row = |row: &BatchRow| {
        let source = row.position.source;
        let lacked = lacked.get(&source).map_or(&[][..], |columns| columns);
        let left_to_table = left_to_table(source);
        if lacked.is_empty() && left_to_table.is_empty() {
            return Vec::new();
        }
        let text = rows.split(row, &mut fields);
        let is_missing = |column: &usize| fields.get(*column, text).is_empty() && !fields.is_literal(*column);
        let mut columns: Vec<usize> =
            lacked.iter().chain(left_to_table).copied().filter(is_missing).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    };
    rows.lines.iter().map(&mut of_row).collect()
}

impl AbsentColumns {
    /// Groups rows of a dataset by the columns to leave out of them. `None` if no column is left out of any row.
    pub(super) async fn groups(
        &self,
        client: &impl GenericClient,
        table: &TableSql,
        dataset: usize,
        rows: &[u32],
    ) -> Result<Option<Groups>, PgError> {
        let Some(lacked) = self.of_rows.get(&dataset) else { return Ok(None) };
        let filled = filled(client, table).await?;
        let mut groups = Groups::new();
        for row in rows {
            let columns = lacked[*row as usize].iter().copied();
            groups.entry(columns.filter(|column| filled[*column]).collect()).or_default().push(*row);
        }
        Ok(groups.keys().any(|columns| !columns.is_empty()).then_some(groups))
    }
}

/// For each column, whether the table fills it in by itself.
async fn filled(client: &impl GenericClient, table: &TableSql) -> Result<Vec<bool>, PgError> {
    let sql = include_str!("../../../../sql/queries/table_columns.sql");
    let rows = statement::query(client, sql, &[&table.name]).await?;
    let is_filled = |column: &String| {
        let row = rows.iter().find(|row| quoted(row.get("name")) == *column);
        row.is_some_and(|row| row.get("filled"))
    };
    Ok(table.columns.iter().map(is_filled).collect())
}
