//! The tables of the datasets: made from the manifest where they are missing, held against it where
//! they are there. **A table that does not fit is never altered.**

use std::collections::HashMap;

use deadpool_postgres::GenericClient;
use tidegate_core::manifest::{Dataset, Manifest, Table};

use tokio_postgres::error::SqlState;

use super::error::describe;
use super::views::Maintained;
use super::{Error, elsewhere};

const COLUMNS: &str = include_str!("../../../sql/queries/table_columns.sql");
const OBSTACLES: &str = include_str!("../../../sql/queries/table_obstacles.sql");

/// Quotes an identifier.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What the sink needs to say about a dataset's table, ready for SQL.
#[derive(Clone, Debug)]
pub(super) struct TableSql {
    /// The table, quoted, with its schema.
    pub(super) name: String,
    /// Its key, quoted.
    pub(super) key: String,
    /// The type of its key.
    pub(super) key_type: String,
    /// The columns of the manifest, quoted, in its order.
    pub(super) columns: Vec<String>,
    /// Those of them that are not written: a row that is inserted gets the default, one that is there becomes null.
    pub(super) left_out: Vec<usize>,
}

impl TableSql {
    pub(super) fn new(dataset: &Dataset) -> Self {
        Self {
            name: qualified(&dataset.table),
            key: quoted(&dataset.key_column().name),
            key_type: dataset.key_column().kind.sql(),
            columns: dataset.columns.iter().map(|column| quoted(&column.name)).collect(),
            left_out: Vec::new(),
        }
    }

    /// `_source, _line` and the columns that are written.
    pub(super) fn written_columns(&self) -> String {
        let columns = self.columns.iter().enumerate().filter(|(i, _)| !self.left_out.contains(i));
        let columns: Vec<&str> = columns.map(|(_, column)| column.as_str()).collect();
        format!("_source, _line, {}", columns.join(", "))
    }

    /// `_source, _line` and the columns: the order of an accepted record.
    pub(super) fn copy_columns(&self) -> String {
        format!("_source, _line, {}", self.columns.join(", "))
    }
}

/// The name of a dataset's table, quoted.
pub(crate) fn table_name(dataset: &Dataset) -> String {
    qualified(&dataset.table)
}

fn qualified(table: &Table) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

/// The statement that creates a dataset's table.
pub fn create_statement(manifest: &Manifest, dataset: &Dataset) -> String {
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

/// Creates the tables that are missing, in the order of their references, and refuses those that do
/// not fit, or lie elsewhere.
pub(super) async fn ensure(tx: &impl GenericClient, manifest: &Manifest) -> Result<(), Error> {
    elsewhere::assert_none(tx, manifest).await?;
    for dataset in &manifest.datasets {
        if !is_there(tx, manifest, dataset).await? {
            create(tx, manifest, dataset).await?;
        }
    }
    Ok(())
}

async fn create(tx: &impl GenericClient, manifest: &Manifest, dataset: &Dataset) -> Result<(), Error> {
    let schema = &dataset.table.schema;
    tx.batch_execute(&create_statement(manifest, dataset)).await.map_err(|error| match error.code() {
        Some(&SqlState::INVALID_SCHEMA_NAME) => Error::halt(format!(
            "the table of dataset '{}' belongs into the schema {name}, which is not there: create schema {name}; or \
             name another in the manifest, with 'schema'",
            dataset.name,
            name = quoted(schema)
        )),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Error::halt(format!(
            "the table of dataset '{}' cannot be made in the schema {}: {}; 'tidegate check' says what is lacking",
            dataset.name,
            quoted(schema),
            describe(&error)
        )),
        _ => error.into(),
    })
}

/// Refuses tables that do not fit any more, or are gone.
pub(super) async fn ensure_unchanged(client: &impl GenericClient, manifest: &Manifest) -> Result<(), Error> {
    for dataset in &manifest.datasets {
        if !is_there(client, manifest, dataset).await? {
            let table = TableSql::new(dataset).name;
            return Err(Error::halt(format!(
                "the table {table} of dataset '{}' is gone; bring it back, or start again: a run creates it empty",
                dataset.name
            )));
        }
    }
    Ok(())
}

/// Whether a dataset has a table; an error if that does not fit.
async fn is_there(
    client: &impl GenericClient,
    manifest: &Manifest,
    dataset: &Dataset,
) -> Result<bool, Error> {
    match differences(client, manifest, dataset).await? {
        None => Ok(false),
        Some(found) if found.is_empty() => Ok(true),
        Some(found) => Err(Error::halt(format!(
            "the table of dataset '{}' does not fit the manifest:\n  {}\nchange the table or the manifest; \
             Tidegate does not alter a table that is there",
            dataset.name,
            found.join("\n  ")
        ))),
    }
}

/// How a dataset's table differs from what the manifest needs; `None` if there is no such table.
///
/// # Errors
///
/// What Postgres says to reading its catalog.
pub async fn differences(
    client: &impl GenericClient,
    manifest: &Manifest,
    dataset: &Dataset,
) -> Result<Option<Vec<String>>, Error> {
    let table = TableSql::new(dataset);
    let found = client
        .query_one(
            "select to_regclass($1)::oid, (select relkind::text from pg_class where oid = to_regclass($1))",
            &[&table.name],
        )
        .await?;
    let Some(oid) = found.get::<_, Option<u32>>(0) else { return Ok(None) };
    let mut differences = Vec::new();
    let relkind: String = found.get(1);
    if relkind != "r" && relkind != "p" {
        differences.push(format!("{} is not a table", table.name));
        return Ok(Some(differences));
    }
    columns(client, dataset, &table, &mut differences).await?;
    constraints(client, manifest, dataset, &table, oid, &mut differences).await?;
    Ok(Some(differences))
}

async fn columns(
    client: &impl GenericClient,
    dataset: &Dataset,
    table: &TableSql,
    differences: &mut Vec<String>,
) -> Result<(), Error> {
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
) -> Result<(), Error> {
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

/// The columns of a table, each with what declares another that holds the same values in the same order.
pub(super) async fn declarations(
    client: &impl GenericClient,
    table: &TableSql,
) -> Result<HashMap<String, String>, Error> {
    let statement = client.prepare_cached(COLUMNS).await?;
    let rows = client.query(&statement, &[&table.name]).await?;
    Ok(rows.iter().map(|row| (row.get("name"), row.get("declared"))).collect())
}

/// Why the sink may not work the cheap way on a table with these views; empty if it may. See
/// `docs/guarantees.md`.
pub(super) async fn obstacles(
    client: &impl GenericClient,
    manifest: &Manifest,
    dataset: &Dataset,
    views: &[&Maintained],
) -> Result<Vec<String>, Error> {
    let table = TableSql::new(dataset);
    let references = || dataset.columns.iter().filter_map(|c| Some((c, &manifest.datasets[c.references?])));
    let columns: Vec<&str> = references().map(|(column, _)| column.name.as_str()).collect();
    let parents: Vec<String> = references().map(|(_, parent)| TableSql::new(parent).name).collect();
    let keys: Vec<&str> = references().map(|(_, parent)| parent.key_column().name.as_str()).collect();
    let statement = client.prepare_cached(OBSTACLES).await?;
    let rows = client.query(&statement, &[&table.name, &columns, &parents, &keys]).await?;
    let mut obstacles: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if !views.is_empty() {
        // The views' change is computed from the text of the rows, which has the manifest's columns alone.
        let is_known = |name: &str| {
            matches!(name, "_source" | "_line") || dataset.columns.iter().any(|column| column.name == name)
        };
        let all = declarations(client, &table).await?;
        let unknown = all.keys().filter(|name| !is_known(name) && views.iter().any(|view| view.uses(name)));
        obstacles.extend(unknown.map(|name| {
            format!("a view uses column {name} of {}, which is not in the manifest: add it there", table.name)
        }));
    }
    Ok(obstacles)
}
