//! The tables of the datasets: created from the manifest if they are missing, compared with the manifest if they
//! exist. **A table that does not fit is never altered.**

pub mod elsewhere;

use std::collections::HashMap;

use deadpool_postgres::GenericClient;
use tidegate_core::manifest::{Dataset, Manifest};
use tokio_postgres::error::SqlState;

use crate::error::{PgError, describe};

const COLUMNS: &str = include_str!("../../../sql/queries/table_columns.sql");

/// Quotes an identifier.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes the name of a relation, with its schema.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}

/// Returns the name of a dataset's table, quoted, with its schema.
pub fn table_name(dataset: &Dataset) -> String {
    qualified(&dataset.table.schema, &dataset.table.name)
}

/// A dataset's table, ready for use in SQL.
#[derive(Clone, Debug)]
pub struct TableSql {
    /// The table's name, quoted, with its schema.
    pub name: String,
    /// The key column, quoted.
    pub key: String,
    /// The type of the key column.
    pub key_type: String,
    /// The columns of the manifest, quoted, in its order.
    pub columns: Vec<String>,
    /// The indices of columns that are not written: a row that is inserted gets the column's default, and a row that
    /// exists gets null.
    pub left_out: Vec<usize>,
}

impl TableSql {
    /// Returns the table of a dataset.
    pub fn new(dataset: &Dataset) -> Self {
        Self {
            name: table_name(dataset),
            key: quoted(&dataset.key_column().name),
            key_type: dataset.key_column().kind.sql(),
            columns: dataset.columns.iter().map(|column| quoted(&column.name)).collect(),
            left_out: Vec::new(),
        }
    }

    /// Returns `_source, _line` and the columns that are written.
    pub fn written_columns(&self) -> String {
        let columns = self.columns.iter().enumerate().filter(|(i, _)| !self.left_out.contains(i));
        let columns: Vec<&str> = columns.map(|(_, column)| column.as_str()).collect();
        format!("_source, _line, {}", columns.join(", "))
    }

    /// Returns `_source, _line` and all columns: the order of an accepted record.
    pub fn copy_columns(&self) -> String {
        format!("_source, _line, {}", self.columns.join(", "))
    }
}

/// Returns the statement that creates a dataset's table.
fn create_statement(manifest: &Manifest, dataset: &Dataset) -> String {
    let table = TableSql::new(dataset);
    let mut lines = Vec::new();
    for (column, name) in dataset.columns.iter().zip(&table.columns) {
        let null = if column.optional { "" } else { " not null" };
        lines.push(format!("{name} {}{null}", column.kind.sql()));
    }
    lines.push("_source bigint not null default -1".to_owned());
    lines.push("_line bigint not null default -1".to_owned());
    lines.push(format!("primary key ({})", table.key));
    for (column, name) in dataset.columns.iter().zip(&table.columns) {
        if let Some(parent) = column.references {
            let parent = TableSql::new(&manifest.datasets[parent]);
            lines.push(format!("foreign key ({name}) references {} ({})", parent.name, parent.key));
        }
    }
    format!("create table {} (\n    {}\n)", table.name, lines.join(",\n    "))
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
    let key = &dataset.key_column().name;
    let found = client.query_one(include_str!("../../../sql/queries/table_key.sql"), &[&oid, key]).await?;
    if !found.get::<_, bool>("unique") {
        let partitioned_by: Option<String> = found.get("partitioned_by");
        differences.push(match (partitioned_by, found.get::<_, bool>("keyed")) {
            (Some(by), _) => format!(
                "column {key} is no key, and Postgres can make none on {}, which is partitioned by {by}: name a table \
                 that is not, or is partitioned by {key} alone",
                table.name
            ),
            (None, true) => format!(
                "column {key} is no key, and {} has another primary key: alter table {} add unique ({})",
                table.name, table.name, table.key
            ),
            (None, false) => format!(
                "column {key} is no key: alter table {} add primary key ({})",
                table.name, table.key
            ),
        });
    }
    for (column, name) in dataset.columns.iter().zip(&table.columns) {
        let Some(parent) = column.references else { continue };
        let parent = &manifest.datasets[parent];
        let parent_sql = TableSql::new(parent);
        let row = client
            .query_one(
                include_str!("../../../sql/queries/table_foreign_key.sql"),
                &[&oid, &column.name, &parent_sql.name, &parent.key_column().name],
            )
            .await?;
        let (is_there, can_be): (bool, bool) = (row.get("there"), row.get("possible"));
        if !is_there && !can_be {
            differences.push(format!(
                "column {} has no foreign key, and Postgres can make none until {} is a key of {}",
                column.name, parent_sql.key, parent_sql.name
            ));
        } else if !is_there {
            differences.push(format!(
                "column {} has no foreign key: alter table {} add foreign key ({name}) references {} ({})",
                column.name, table.name, parent_sql.name, parent_sql.key
            ));
        }
    }
    Ok(())
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
