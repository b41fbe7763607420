//! The properties of a table that close the direct copy.

use deadpool_postgres::GenericClient;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_postgres::PgError;
use tidegate_postgres::table::{TableSql, declarations, table_name};
use tidegate_views::MaintainedStore;

use crate::statement;

/// Returns the reasons why the sink may not use the direct copy on a table with these views; empty if it may. See
/// `docs/guarantees.md`.
pub(super) async fn find(
    client: &impl GenericClient,
    manifest: &Manifest,
    dataset: &Dataset,
    views: &[&MaintainedStore],
) -> Result<Vec<String>, PgError> {
    let table = TableSql::new(dataset);
    // One entry for each column of each reference, with the number of its reference.
    let (mut numbers, mut columns, mut parents, mut keys) = (vec![], vec![], vec![], vec![]);
    for (number, reference) in (0i32..).zip(&dataset.references) {
        let parent = &manifest.datasets[reference.dataset];
        for (column, to) in reference.columns.iter().zip(&reference.to) {
            numbers.push(number);
            columns.push(dataset.columns[*column].name.as_str());
            parents.push(table_name(parent));
            keys.push(parent.columns[*to].name.as_str());
        }
    }
    let sql = include_str!("../../../sql/queries/table_obstacles.sql");
    let rows = statement::query(client, sql, &[&table.name, &numbers, &columns, &parents, &keys]).await?;
    let mut obstacles: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if !views.is_empty() {
        // The view delta is computed from the text of the rows, which has the manifest's columns alone.
        let is_known = |name: &str| {
            matches!(name, "_source" | "_line") || dataset.columns.iter().any(|column| column.name == name)
        };
        let all = declarations(client, &table).await?;
        let unknown =
            all.keys().filter(|name| !is_known(name) && views.iter().any(|view| view.store.spec.uses(name)));
        obstacles.extend(unknown.map(|name| {
            format!("a view uses column {name} of {}, which is not in the manifest: add it there", table.name)
        }));
    }
    Ok(obstacles)
}
