//! What names, literals and texts mean in views and stores: the same, whoever writes or reads.

use deadpool_postgres::{GenericClient, Transaction};
use tidegate_core::manifest::Manifest;

use super::super::Error;
use super::super::session::MEANING;
use super::super::table::quoted;

/// What is compared with `null` is never equal to it, whoever writes.
const COMPARING: &str = "transform_null_equals = off";

/// Makes the names and values in views and stores mean what they mean to triggers.
pub(in crate::postgres) async fn set_search_path(
    tx: &Transaction<'_>,
    manifest: &Manifest,
) -> Result<(), Error> {
    // Temporary views stand in for those of the same name, and none for a type that is called as it.
    let path = format!("pg_catalog, pg_temp, {}", search_path(&schemas(tx, manifest).await?));
    let meaning = MEANING.iter().copied().chain([COMPARING]).map(|setting| format!("; set local {setting}"));
    Ok(tx.batch_execute(&format!("set local search_path = {path}{}", meaning.collect::<String>())).await?)
}

fn search_path(schemas: &[String]) -> String {
    schemas.iter().map(|schema| quoted(schema)).collect::<Vec<_>>().join(", ")
}

/// The schemas in which names are looked up: that of the manifest, those of the datasets' tables, and those of the session,
/// but never Tidegate's own.
async fn schemas(client: &impl GenericClient, manifest: &Manifest) -> Result<Vec<String>, Error> {
    let sql = "select name::text from unnest(current_schemas(false)) with ordinality as t (name, i) \
               where name not in ('pg_catalog', 'tidegate') \
                   and name <> all (select nspname from pg_namespace where oid = pg_my_temp_schema()) order by i";
    let session = client.query(sql, &[]).await?;
    let of_tables = manifest.datasets.iter().map(|dataset| dataset.table.schema.as_str());
    let all = std::iter::once(manifest.schema.as_str())
        .chain(of_tables)
        .chain(session.iter().map(|row| row.get(0)));
    let mut schemas: Vec<String> = Vec::new();
    for schema in all {
        if !schemas.iter().any(|known| known == schema) {
            schemas.push(schema.to_owned());
        }
    }
    Ok(schemas)
}

/// The settings under which a store's expressions are computed, whoever writes: where names are looked up, what
/// literals mean, and how values become texts.
pub(in crate::postgres) async fn settings(
    client: &impl GenericClient,
    manifest: &Manifest,
) -> Result<Vec<String>, Error> {
    let path = format!("search_path = {}, pg_temp", search_path(&schemas(client, manifest).await?));
    let meaning = MEANING.iter().copied().chain([COMPARING]).map(str::to_owned);
    Ok(std::iter::once(path).chain(meaning).collect())
}
