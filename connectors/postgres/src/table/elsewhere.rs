//! Dataset tables in another schema than the manifest's: an earlier version created them where the connection's
//! search path led.
//!
//! Tidegate neither reads such tables by the search path, nor creates new ones beside them. It tells the user the
//! statement that moves each table to the schema of the manifest.

use deadpool_postgres::GenericClient;
use tidegate_core::manifest::{Dataset, Manifest};

use super::{has_relation, qualified, quoted};
use crate::error::PgError;

/// Returns how to move a dataset's table to the schema of the manifest; `None` if the table is not in another schema.
pub async fn move_of(client: &impl GenericClient, dataset: &Dataset) -> Result<Option<String>, PgError> {
    if dataset.table.is_placed || !has_relation(client, "tidegate.sources").await? {
        return Ok(None);
    }
    let registered = "select exists (select from tidegate.sources where dataset = $1)";
    if !client.query_one(registered, &[&dataset.name]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    let (schema, name) = (&dataset.table.schema, &dataset.table.name);
    let sql = include_str!("../../../../sql/queries/tables_elsewhere.sql");
    let found = client.query(sql, &[schema, name]).await?;
    let Some(found) = found.first().map(|row| row.get::<_, &str>(0)) else { return Ok(None) };
    let moving = format!("alter table {} set schema {}", qualified(found, name), quoted(schema));
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

/// Refuses a database with tables in other schemas. The error names the statement that moves each of them.
pub(super) async fn assert_none(client: &impl GenericClient, manifest: &Manifest) -> Result<(), PgError> {
    let mut moves = Vec::new();
    for dataset in &manifest.datasets {
        moves.extend(move_of(client, dataset).await?);
    }
    if moves.is_empty() { Ok(()) } else { Err(PgError::halt(moves.join("\n"))) }
}
