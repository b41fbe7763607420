//! The tables of the datasets: created from the manifest if they are missing, compared with the manifest if they
//! exist. **A table that does not fit is never altered.**

pub mod elsewhere;

use std::collections::HashMap;

use deadpool_postgres::GenericClient;
use tidegate_core::manifest::{Dataset, Manifest, Reference};
use tokio_postgres::error::SqlState;

use crate::error::{PgError, describe};
use crate::key::KeySql;

pub use crate::identifier::{qualified, quoted};

const COLUMNS: &str = include_str!("../../../sql/queries/table_columns.sql");

/// Returns the name of a dataset's table, quoted, with its schema.
pub fn table_name(dataset: &Dataset) -> String {
    qualified(&dataset.table.schema, &dataset.table.name)
}

/// A dataset's table, ready for use in SQL.
#[derive(Clone, Debug)]
pub struct TableSql {
    /// The table's name, quoted, with its schema.
    pub name: String,
    /// What identifies a row: the key, or the position if the dataset has no key.
    pub key: KeySql,
    /// Whether the dataset has no key, so that every line inserts a row.
    pub is_keyless: bool,
    /// The columns of the manifest, quoted, in its order.
    pub columns: Vec<String>,
    /// The indices of columns that are not written. An inserted row gets the column's default. An updated row gets it if
    /// the manifest says `default: table`, and null otherwise.
    pub left_out: Vec<usize>,
}

impl TableSql {
    /// Returns the table of a dataset.
    pub fn new(dataset: &Dataset) -> Self {
        Self {
            name: table_name(dataset),
            key: KeySql::of_rows(dataset),
            is_keyless: dataset.is_keyless(),
            columns: dataset.columns.iter().map(|column| quoted(&column.name)).collect(),
            left_out: Vec::new(),
        }
    }

    /// Returns `_source, _line` and the columns that are written.
    pub fn written_columns(&self) -> String {
        let columns = self.columns.iter().enumerate().filter(|(i, _)| !self.left_out.contains(i));
        let columns = columns.map(|(_, column)| column.as_str());
        ["_source", "_line"].into_iter().chain(columns).collect::<Vec<_>>().join(", ")
    }

    /// Returns `_source, _line` and all columns: the order of an accepted record.
    pub fn copy_columns(&self) -> String {
        format!("_source, _line, {}", self.columns.join(", "))
    }
}

/// Returns the statement that creates a dataset's table. A column that a reference leads to, and that is no key, is made
/// unique.
fn create_statement(manifest: &Manifest, dataset: &Dataset) -> String {
    let table = TableSql::new(dataset);
    let mut lines = Vec::new();
    for (column, name) in dataset.columns.iter().zip(&table.columns) {
        let null = if column.optional { "" } else { " not null" };
        lines.push(format!("{name} {}{null}", column.kind.sql()));
    }
    lines.push("_source bigint not null default -1".to_owned());
    lines.push("_line bigint not null default -1".to_owned());
    lines.push(format!("primary key ({})", table.key.list()));
    for column in referenced_columns(manifest, dataset) {
        lines.push(format!("unique ({})", table.columns[column]));
    }
    for reference in &dataset.references {
        lines.push(foreign_key(manifest, dataset, reference));
    }
    format!("create table {} (\n    {}\n)", table.name, lines.join(",\n    "))
}

/// Returns the clause that makes a reference a foreign key.
fn foreign_key(manifest: &Manifest, dataset: &Dataset, reference: &Reference) -> String {
    let parent = &manifest.datasets[reference.dataset];
    let (own, its) = (KeySql::new(dataset, &reference.columns), KeySql::new(parent, &reference.to));
    format!("foreign key ({}) references {} ({})", own.list(), table_name(parent), its.list())
}

/// Returns the columns of a dataset that references lead to, besides its key, by index.
fn referenced_columns(manifest: &Manifest, dataset: &Dataset) -> Vec<usize> {
    manifest.dataset(&dataset.name).map(|(index, _)| manifest.referenced_columns(index)).unwrap_or_default()
}

/// Creates the tables that are missing, in the order of their references. Refuses tables that do not fit, or that are
/// in another schema.
pub async fn ensure(tx: &impl GenericClient, manifest: &Manifest) -> Result<(), PgError> {
    elsewhere::assert_none(tx, manifest).await?;
    for dataset in &manifest.datasets {
        if !is_there(tx, manifest, dataset).await? {
            create(tx, manifest, dataset).await?;
        }
    }
    Ok(())
}

async fn create(tx: &impl GenericClient, manifest: &Manifest, dataset: &Dataset) -> Result<(), PgError> {
    let schema = &dataset.table.schema;
    tx.batch_execute(&create_statement(manifest, dataset)).await.map_err(|error| match error.code() {
        Some(&SqlState::INVALID_SCHEMA_NAME) => PgError::halt(format!(
            "the table of dataset '{}' belongs into the schema {name}, which is not there: create schema {name}; or \
             name another in the manifest, with 'schema'",
            dataset.name,
            name = quoted(schema)
        )),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => PgError::halt(format!(
            "the table of dataset '{}' cannot be made in the schema {}: {}; 'tidegate check' says what is lacking",
            dataset.name,
            quoted(schema),
            describe(&error)
        )),
        _ => error.into(),
    })
}

/// Refuses tables that no longer fit, or no longer exist.
pub async fn ensure_unchanged(client: &impl GenericClient, manifest: &Manifest) -> Result<(), PgError> {
    for dataset in &manifest.datasets {
        if !is_there(client, manifest, dataset).await? {
            return Err(PgError::halt(format!(
                "the table {} of dataset '{}' is gone; bring it back, or let the next start create it empty",
                table_name(dataset),
                dataset.name
            )));
        }
    }
    Ok(())
}

/// Returns whether a dataset's table exists. Fails if the table does not fit.
async fn is_there(
    client: &impl GenericClient,
    manifest: &Manifest,
    dataset: &Dataset,
) -> Result<bool, PgError> {
    match differences(client, manifest, dataset).await? {
        None => Ok(false),
        Some(found) if found.is_empty() => Ok(true),
        Some(found) => Err(PgError::halt(format!(
            "the table of dataset '{}' does not fit the manifest:\n  {}\nchange the table or the manifest; \
             Tidegate does not alter a table that is there",
            dataset.name,
            found.join("\n  ")
        ))),
    }
}

/// Returns how a dataset's table differs from the manifest; `None` if there is no such table.
pub async fn differences(
    client: &impl GenericClient,
    manifest: &Manifest,
    dataset: &Dataset,
) -> Result<Option<Vec<String>>, PgError> {
    let table = TableSql::new(dataset);
    let sql = "select oid, relkind in ('r', 'p') from pg_class where oid = to_regclass($1)";
    let Some(found) = client.query_opt(sql, &[&table.name]).await? else { return Ok(None) };
    if !found.get::<_, bool>(1) {
        return Ok(Some(vec![format!("{} is not a table", table.name)]));
    }
    let mut differences = Vec::new();
    columns(client, dataset, &table, &mut differences).await?;
    constraints(client, manifest, dataset, &table, found.get(0), &mut differences).await?;
    Ok(Some(differences))
}

async fn columns(
    client: &impl GenericClient,
    dataset: &Dataset,
    table: &TableSql,
    differences: &mut Vec<String>,
) -> Result<(), PgError> {
    let rows = client.query(COLUMNS, &[&table.name]).await?;
    let mut wanted: Vec<(&str, String, bool)> =
        dataset.columns.iter().map(|c| (c.name.as_str(), c.kind.sql(), c.optional)).collect();
    wanted.push(("_source", "bigint".to_owned(), false));
    wanted.push(("_line", "bigint".to_owned(), false));
    for (name, kind, optional) in &wanted {
        let is_ours = ["_source", "_line"].contains(name);
        let Some(row) = rows.iter().find(|row| row.get::<_, &str>("name") == *name) else {
            let default = if is_ours { " not null default -1" } else { "" };
            differences.push(format!(
                "column {name} is missing: alter table {} add column {} {kind}{default}",
                table.name,
                quoted(name)
            ));
            continue;
        };
        let found: &str = row.get("type");
        if found != kind {
            differences.push(format!("column {name} is {found}, the manifest says {kind}"));
        }
        if *optional && row.get::<_, bool>("required") {
            differences.push(format!("column {name} is not null, the manifest says optional"));
        }
        if is_ours && !(row.get::<_, bool>("required") && row.get::<_, bool>("filled")) {
            differences.push(format!(
                "column {name} may be null or has no default: alter table {} alter column {quoted} set default \
                 -1, alter column {quoted} set not null",
                table.name,
                quoted = quoted(name)
            ));
        }
        if row.get::<_, bool>("computed") {
            differences.push(format!("column {name} is generated, so no value can be written to it"));
        }
    }
    for row in &rows {
        let name: &str = row.get("name");
        let is_extra = !wanted.iter().any(|(wanted, ..)| *wanted == name);
        if is_extra && row.get::<_, bool>("required") && !row.get::<_, bool>("filled") {
            differences.push(format!("column {name} is not in the manifest, not null and without a default"));
        }
    }
    Ok(())
}

async fn constraints(
    client: &impl GenericClient,
    manifest: &Manifest,
    dataset: &Dataset,
    table: &TableSql,
    oid: u32,
    differences: &mut Vec<String>,
) -> Result<(), PgError> {
    let key: Vec<&str> = dataset.key_columns().map(|column| column.name.as_str()).collect();
    if !dataset.is_keyless() {
        let found =
            client.query_one(include_str!("../../../sql/queries/table_key.sql"), &[&oid, &key]).await?;
        if !found.get::<_, bool>("unique") {
            differences.push(key_lacking(table, &key, found.get("partitioned_by"), found.get("keyed")));
        }
    }
    for column in referenced_columns(manifest, dataset) {
        let name = dataset.columns[column].name.as_str();
        let sql = include_str!("../../../sql/queries/table_key.sql");
        let found = client.query_one(sql, &[&oid, &vec![name]]).await?;
        if !found.get::<_, bool>("unique") {
            differences.push(format!(
                "column {name} is referenced and not unique: alter table {} add unique ({})",
                table.name, table.columns[column]
            ));
        }
    }
    for reference in &dataset.references {
        differences.extend(reference_lacking(client, manifest, dataset, reference, oid).await?);
    }
    Ok(())
}

/// Returns what a table without a unique index over the key lacks.
fn key_lacking(table: &TableSql, key: &[&str], partitioned_by: Option<String>, has_another: bool) -> String {
    let (names, list) = (key.join(", "), table.key.list());
    let are_no_key = match key.len() {
        1 => format!("column {names} is no key"),
        _ => format!("columns {names} are no key"),
    };
    match (partitioned_by, has_another) {
        (Some(by), _) => format!(
            "{are_no_key}, and Postgres can make none on {}, which is partitioned by {by}: name a table that is not, or \
             is partitioned by {names} alone, or make what it is partitioned by a part of the key",
            table.name
        ),
        (None, true) => {
            format!(
                "{are_no_key}, and {0} has another primary key: alter table {0} add unique ({list})",
                table.name
            )
        }
        (None, false) => format!("{are_no_key}: alter table {} add primary key ({list})", table.name),
    }
}

/// Returns what a table without the foreign key of a reference lacks; `None` if it has the foreign key.
async fn reference_lacking(
    client: &impl GenericClient,
    manifest: &Manifest,
    dataset: &Dataset,
    reference: &Reference,
    oid: u32,
) -> Result<Option<String>, PgError> {
    let parent = &manifest.datasets[reference.dataset];
    let names = |dataset: &Dataset, columns: &[usize]| -> Vec<String> {
        columns.iter().map(|column| dataset.columns[*column].name.clone()).collect()
    };
    let (own, its) = (names(dataset, &reference.columns), names(parent, &reference.to));
    let sql = include_str!("../../../sql/queries/table_foreign_key.sql");
    let row = client.query_one(sql, &[&oid, &own, &table_name(parent), &its]).await?;
    let (is_there, can_be): (bool, bool) = (row.get("there"), row.get("possible"));
    if is_there {
        return Ok(None);
    }
    let own = match &own[..] {
        [column] => format!("column {column} has no foreign key"),
        columns => format!("columns {} have no foreign key", columns.join(", ")),
    };
    Ok(Some(match can_be {
        true => format!(
            "{own}: alter table {} add {}",
            table_name(dataset),
            foreign_key(manifest, dataset, reference)
        ),
        false => format!(
            "{own}, and Postgres can make none until {} is a key of {}",
            KeySql::new(parent, &reference.to).list(),
            table_name(parent)
        ),
    }))
}

/// Returns the columns of a table, each with the type and collation that declare another column for the same values
/// in the same order.
pub async fn declarations(
    client: &impl GenericClient,
    table: &TableSql,
) -> Result<HashMap<String, String>, PgError> {
    let statement = client.prepare_cached(COLUMNS).await?;
    let rows = client.query(&statement, &[&table.name]).await?;
    Ok(rows.iter().map(|row| (row.get("name"), row.get("declared"))).collect())
}

/// Returns whether a relation exists, by its name in the form of SQL.
pub async fn has_relation(client: &impl GenericClient, relation: &str) -> Result<bool, PgError> {
    Ok(client.query_one("select to_regclass($1) is not null", &[&relation]).await?.get(0))
}
