//! Tables that lie elsewhere: an earlier version left it to the connection's search path where they are made.
//!
//! They are never looked for where the search path leads, nor made anew beside the old ones: whoever has them is told
//! how they get to where the manifest has them.

use deadpool_postgres::GenericClient;
use tidegate_core::manifest::{Dataset, Manifest};

use super::Error;
use super::table::quoted;

/// How a dataset's table gets to where it belongs; `None` if it does not lie elsewhere.
pub(super) async fn move_of(client: &impl GenericClient, dataset: &Dataset) -> Result<Option<String>, Error> {
    if dataset.table.is_placed || !has_sources(client, &dataset.name).await? {
        return Ok(None);
    }
    let (schema, name) = (&dataset.table.schema, &dataset.table.name);
    let sql = include_str!("../../../sql/queries/tables_elsewhere.sql");
    let found = client.query(sql, &[schema, name]).await?;
    let Some(found) = found.first().map(|row| row.get::<_, &str>(0)) else { return Ok(None) };
    let moving = format!("alter table {}.{} set schema {}", quoted(found), quoted(name), quoted(schema));
    let staying = match found {
        "tidegate" => String::new(),
        _ => format!("; or leave it there, with 'schema: {found}' in the manifest"),
    };
    Ok(Some(format!(
        "the table of dataset '{}' lies in the schema {}, where the search path led an earlier version; it belongs \
         into {}: {moving}{staying}",
        dataset.name,
        quoted(found),
        quoted(schema),
    )))
}

/// Refuses a database with tables that lie elsewhere, with what moves each of them.
pub(super) async fn assert_none(client: &impl GenericClient, manifest: &Manifest) -> Result<(), Error> {
    let mut moves = Vec::new();
    for dataset in &manifest.datasets {
        moves.extend(move_of(client, dataset).await?);
    }
    if moves.is_empty() { Ok(()) } else { Err(Error::halt(moves.join("\n"))) }
}

/// Whether lines of a dataset have entered the database.
async fn has_sources(client: &impl GenericClient, dataset: &str) -> Result<bool, Error> {
    let there = "select to_regclass('tidegate.sources') is not null";
    if !client.query_one(there, &[]).await?.get::<_, bool>(0) {
        return Ok(false);
    }
    let sql = "select exists (select from tidegate.sources where dataset = $1)";
    Ok(client.query_one(sql, &[&dataset]).await?.get(0))
}
