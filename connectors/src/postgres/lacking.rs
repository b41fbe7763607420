//! Columns that the sources of a batch do not have.
//!
//! A row that is inserted gets the table's default there, and one that is there becomes null. Where the table has no
//! default that is the same as writing nothing, so such rows go the way of all others.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::GenericClient;
use tidegate_core::split::{Dialect, Fields};

use super::batch::{Batch, Rows};
use super::table::{TableSql, quoted};
use super::{Error, Postgres, shapes};

/// Of each dataset whose rows lack columns: for each row, which.
#[derive(Default)]
pub(super) struct Lacking {
    of_rows: BTreeMap<usize, Vec<Vec<usize>>>,
}

/// Rows by the columns that are left out of them.
type Groups = BTreeMap<Vec<usize>, Vec<u32>>;

impl Postgres {
    /// What the rows of a batch lack. Costs nothing where no source lacks anything.
    pub(super) async fn lacking(&self, batch: &Batch) -> Result<Lacking, Error> {
        let mut lacking = Lacking::default();
        if batch.rows.iter().all(|rows| rows.lines.is_empty()) {
            return Ok(lacking);
        }
        for (dataset, _) in self.may_lack().await?.iter().enumerate().filter(|(_, may)| **may) {
            let rows = &batch.rows[dataset];
            let sources: BTreeSet<u64> = rows.lines.iter().map(|row| row.position.source).collect();
            let sources: Vec<u64> = sources.into_iter().collect();
            let shapes = self.shapes_of_sources(&sources).await?;
            let lacked = shapes
                .iter()
                .map(|(source, shape)| (*source, shapes::lacks(shape, &self.inner.manifest, dataset)));
            let lacked: BTreeMap<u64, Vec<usize>> =
                lacked.filter(|(_, columns)| !columns.is_empty()).collect();
            if !lacked.is_empty() {
                lacking.of_rows.insert(dataset, of_rows(rows, &lacked));
            }
        }
        Ok(lacking)
    }
}

/// A line may have been edited meanwhile: it lacks only what is empty in it.
fn of_rows(rows: &Rows, lacked: &BTreeMap<u64, Vec<usize>>) -> Vec<Vec<usize>> {
    let mut fields = Fields::default();
    let mut of_row = |row| {
        let row: &super::batch::Row = row;
        let Some(columns) = lacked.get(&row.position.source) else { return Vec::new() };
        let text = rows.canonical(row);
        fields.split(text, Dialect::STANDARD).expect("a canonical line has no open quote");
        columns.iter().copied().filter(|column| fields.get(*column, text).is_empty()).collect()
    };
    rows.lines.iter().map(&mut of_row).collect()
}

impl Lacking {
    /// Some rows of a dataset by what is to be left out of them; `None` if nothing is to be of any.
    pub(super) async fn groups(
        &self,
        client: &impl GenericClient,
        table: &TableSql,
        dataset: usize,
        rows: &[u32],
    ) -> Result<Option<Groups>, Error> {
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

/// Of each column, whether the table fills it in by itself.
async fn filled(client: &impl GenericClient, table: &TableSql) -> Result<Vec<bool>, Error> {
    let sql = include_str!("../../../sql/queries/table_columns.sql");
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, &[&table.name]).await?;
    let is_filled = |column: &String| {
        let row = rows.iter().find(|row| quoted(row.get("name")) == *column);
        row.is_some_and(|row| row.get("filled"))
    };
    Ok(table.columns.iter().map(is_filled).collect())
}
