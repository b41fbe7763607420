//! Columns that the sources of a batch do not have.
//!
//! In such a column a new row gets the table's default, and an existing row becomes null. If the table has no default
//! for the column, both are null, and the rows are written like all others.

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
type Groups = BTreeMap<Vec<usize>, Vec<u32>>;

/// Finds the columns that the rows of a batch lack. Costs nothing if no source lacks a column.
pub(super) async fn of_batch(store: &Store, batch: &RowBatch) -> Result<AbsentColumns, PgError> {
    let mut lacking = AbsentColumns::default();
    if batch.rows.iter().all(|rows| rows.lines.is_empty()) {
        return Ok(lacking);
    }
    for (dataset, _) in shapes::may_lack(store).await?.iter().enumerate().filter(|(_, may)| **may) {
        let rows = &batch.rows[dataset];
        let sources: BTreeSet<u64> = rows.lines.iter().map(|row| row.position.source).collect();
        let sources: Vec<u64> = sources.into_iter().collect();
        let shapes = shapes::of_sources(store, &sources).await?;
        let lacked =
            shapes.iter().map(|(source, shape)| (*source, shapes::lacks(shape, store.manifest(), dataset)));
        let lacked: BTreeMap<u64, Vec<usize>> = lacked.filter(|(_, columns)| !columns.is_empty()).collect();
        if !lacked.is_empty() {
            lacking.of_rows.insert(dataset, of_rows(rows, &lacked));
        }
    }
    Ok(lacking)
}

/// Returns the columns that each row lacks. A line may have been edited meanwhile, so a column counts only if it is
/// empty in the line.
fn of_rows(rows: &DatasetRows, lacked: &BTreeMap<u64, Vec<usize>>) -> Vec<Vec<usize>> {
    let mut fields = Fields::default();
    let mut of_row = |row: &BatchRow| {
        let Some(columns) = lacked.get(&row.position.source) else { return Vec::new() };
        let text = rows.split(row, &mut fields);
        columns.iter().copied().filter(|column| fields.get(*column, text).is_empty()).collect()
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
