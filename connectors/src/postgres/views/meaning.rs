//! What names, literals and texts mean in views and stores: the same, whoever writes or reads.

use deadpool_postgres::{GenericClient, Transaction};
use tidegate_core::manifest::Manifest;

use super::super::Error;
use super::super::table::{TableSql, quoted};

/// What the same text and value mean everywhere: of what Postgres holds to be immutable, some depends on these.
const MEANING: [&str; 7] = [
    "timezone = 'UTC'",
    "datestyle = 'ISO, MDY'",
    "intervalstyle = postgres",
    "extra_float_digits = 1",
    "bytea_output = hex",
    "standard_conforming_strings = on",
    "transform_null_equals = off",
];

/// Makes the names and values in views and stores mean what they mean to triggers, and gives the schema where
/// views are made.
pub(in crate::postgres) async fn set_search_path(
    tx: &Transaction<'_>,
    manifest: &Manifest,
) -> Result<String, Error> {
    let schemas = schemas(tx, manifest).await?;
    let meaning: String = MEANING.iter().map(|setting| format!("; set local {setting}")).collect();
    // Temporary views stand in for those of the same name, and none for a type that is called as it.
    let path = format!("pg_catalog, pg_temp, {}", search_path(&schemas));
    tx.batch_execute(&format!("set local search_path = {path}{meaning}")).await?;
    schemas.into_iter().next().ok_or_else(|| Error::halt("the tables of the datasets are missing"))
}

fn search_path(schemas: &[String]) -> String {
    schemas.iter().map(|schema| quoted(schema)).collect::<Vec<_>>().join(", ")
}

/// The schemas in which names are looked up: the session's, and those of the datasets' tables.
async fn schemas(client: &impl GenericClient, manifest: &Manifest) -> Result<Vec<String>, Error> {
    let tables: Vec<String> = manifest.datasets.iter().map(|dataset| TableSql::new(dataset).name).collect();
    let sql = "with own as (select * from unnest(current_schemas(false)) with ordinality as t (name, i) \
                   where name <> 'pg_catalog' and name <> all (select nspname from pg_namespace where oid = pg_my_temp_schema())), \
               others as (select nspname, min(i) as i from unnest($1::text[]) with ordinality as t (name, i) \
                   join pg_class on pg_class.oid = to_regclass(name) \
                   join pg_namespace on pg_namespace.oid = relnamespace group by nspname) \
               select name::text from (select name, 0, i from own union all \
                   select nspname, 1, i from others where nspname not in (select name from own)) as all_of_them (name, of, i) \
               order by of, i";
    Ok(client.query(sql, &[&tables]).await?.iter().map(|row| row.get(0)).collect())
}

/// The settings under which a store's expressions are computed, whoever writes: where names are looked up, what
/// literals mean, and how values become texts.
pub(in crate::postgres) async fn settings(
    client: &impl GenericClient,
    manifest: &Manifest,
) -> Result<Vec<String>, Error> {
    let path = search_path(&schemas(client, manifest).await?);
    let path = format!("search_path = {path}, pg_temp");
    Ok(std::iter::once(path.as_str()).chain(MEANING).map(|setting| format!("set {setting}")).collect())
}
