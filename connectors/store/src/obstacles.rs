//! The properties of a table that close the direct copy.

use deadpool_postgres::GenericClient;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_postgres::PgError;
use tidegate_postgres::table::{TableSql, declarations};
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
    let references = || dataset.columns.iter().filter_map(|c| Some((c, &manifest.datasets[c.references?])));
    let columns: Vec<&str> = references().map(|(column, _)| column.name.as_str()).collect();
    let parents: Vec<String> = references().map(|(_, parent)| TableSql::new(parent).name).collect();
    let keys: Vec<&str> = references().map(|(_, parent)| parent.key_column().name.as_str()).collect();
    let sql = include_str!("../../../sql/queries/table_obstacles.sql");
    let rows = statement::query(client, sql, &[&table.name, &columns, &parents, &keys]).await?;
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
