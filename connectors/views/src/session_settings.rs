//! The settings that fix what names, literals and texts mean in views and stores, in whichever session they are
//! written or read.

use deadpool_postgres::{GenericClient, Transaction};
use tidegate_core::manifest::Manifest;
use tidegate_postgres::PgError;
use tidegate_postgres::session::{SESSION_SETTINGS, Setting, set_local};
use tidegate_postgres::table::quoted;

/// Makes a comparison with `null` never true, in whichever session writes.
const COMPARING: Setting = ("transform_null_equals", "off");

/// Gives the names and values in views and stores the meaning that they have in triggers.
pub async fn set_search_path(tx: &Transaction<'_>, manifest: &Manifest) -> Result<(), PgError> {
    // Temporary views take precedence over other relations of the same name, but not over a built-in type of that
    // name.
    let path = format!("pg_catalog, pg_temp, {}", search_path(&schemas(tx, manifest).await?));
    let meaning = set_local(SESSION_SETTINGS.iter().chain([&COMPARING]));
    Ok(tx.batch_execute(&format!("set local search_path = {path}; {meaning}")).await?)
}

fn search_path(schemas: &[String]) -> String {
    schemas.iter().map(|schema| quoted(schema)).collect::<Vec<_>>().join(", ")
}

/// Returns the schemas in which names are looked up: that of the manifest, those of the datasets' tables, and those
/// of the session, but never Tidegate's own.
async fn schemas(client: &impl GenericClient, manifest: &Manifest) -> Result<Vec<String>, PgError> {
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

/// Returns the settings under which a store's expressions are computed, in whichever session writes: where names are
/// looked up, what literals mean, and how values become texts.
pub async fn settings(client: &impl GenericClient, manifest: &Manifest) -> Result<Vec<String>, PgError> {
    let path = format!("search_path = {}, pg_temp", search_path(&schemas(client, manifest).await?));
    let meaning = SESSION_SETTINGS.iter().chain([&COMPARING]);
    let meaning = meaning.map(|(name, value)| format!("{name} = '{value}'"));
    Ok(std::iter::once(path).chain(meaning).collect())
}
