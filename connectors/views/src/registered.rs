//! The views and stores that the database has, and the queries that compute views afresh for an audit.

use std::time::Duration;

use deadpool_postgres::Transaction;
use tidegate_core::manifest::Manifest;
use tidegate_postgres::PgError;
use tidegate_postgres::table::{has_relation, qualified, quoted};

use crate::file::View;
use crate::kind::ViewKind;
use crate::maintained_store::MaintainedStore;
use crate::store::{StoreSpec, ViewStore};

/// A view, as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredView {
    /// The view's name.
    pub name: String,
    /// The schema of its relation.
    pub(super) schema: String,
    /// The view's kind, as [`ViewKind::name`] returns it.
    pub kind: String,
    /// The text of its file.
    definition: String,
    /// The query of its relation.
    pub(super) query: String,
    /// The views that it reads.
    pub reads: Vec<String>,
    /// The store that it reads.
    pub store: Option<String>,
    /// The columns in order, with their types as Postgres names them; empty if the relation is gone.
    pub columns: Vec<(String, String)>,
    /// The oids of the relations that it reads, without views and stores.
    pub(super) relations: Vec<u32>,
    /// How often a refreshed view is refreshed.
    pub refresh: Option<Duration>,
    /// When a refreshed view was last refreshed, in UTC.
    pub refreshed_at: Option<String>,
}

/// Returns whether the database has the tables that views are registered in. The first run creates them.
pub(super) async fn has_run(tx: &Transaction<'_>) -> Result<bool, PgError> {
    has_relation(tx, "tidegate.view_stores").await
}

/// Returns the views of the database, each after those that it reads.
pub async fn registered(tx: &Transaction<'_>) -> Result<Vec<RegisteredView>, PgError> {
    let rows = tx.query(include_str!("../../../sql/queries/views.sql"), &[]).await?;
    let views = rows.iter().map(|row| {
        let columns: Option<Vec<String>> = row.get("columns");
        let types: Option<Vec<String>> = row.get("types");
        RegisteredView {
            name: row.get("name"),
            schema: row.get("schema"),
            kind: row.get("kind"),
            definition: row.get("definition"),
            query: row.get("query"),
            reads: row.get("reads"),
            store: row.get("store"),
            columns: columns.into_iter().flatten().zip(types.into_iter().flatten()).collect(),
            relations: row.get("relations"),
            refresh: row.get::<_, Option<f64>>("refresh_seconds").map(Duration::from_secs_f64),
            refreshed_at: row.get("refreshed"),
        }
    });
    Ok(views.collect())
}

/// Returns the stores of the database, without those of datasets that the manifest no longer has.
pub async fn maintained(tx: &Transaction<'_>, manifest: &Manifest) -> Result<Vec<MaintainedStore>, PgError> {
    let mut stores = Vec::new();
    if !has_run(tx).await? {
        return Ok(stores);
    }
    for row in tx.query("select name, spec from tidegate.view_stores order by name", &[]).await? {
        let name: String = row.get(0);
        let spec = serde_json::from_value::<StoreSpec>(row.get(1));
        let spec =
            spec.map_err(|error| PgError::halt(format!("the store {name} cannot be read: {error}")))?;
        let dataset = manifest.dataset(&spec.dataset);
        stores.extend(dataset.map(|(dataset, _)| MaintainedStore::new(dataset, ViewStore { name, spec })));
    }
    Ok(stores)
}

impl RegisteredView {
    /// Returns the view's relation, quoted, with its schema.
    pub fn relation(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    /// Returns whether the view is a materialized view.
    pub fn is_refreshed(&self) -> bool {
        self.kind == ViewKind::Refreshed.name()
    }

    /// Returns what the view's relation is, in words of SQL.
    pub(super) fn relation_kind(&self) -> &'static str {
        if self.is_refreshed() { "materialized view" } else { "view" }
    }

    /// Returns the view's query over tables and refreshed views alone: the other `views` that it reads are computed
    /// within the query.
    ///
    /// # Errors
    ///
    /// If a definition in the database is not a view's.
    pub fn afresh(&self, views: &[Self]) -> Result<String, PgError> {
        let select = |view: &Self| {
            View::parse(&view.name, &view.definition).map(|view| view.select).map_err(PgError::halt)
        };
        let before = views.iter().take_while(|other| other.name != self.name);
        let others = before
            .filter(|other| !other.is_refreshed())
            .map(|other| Ok(format!("{} as ({}\n)", quoted(&other.name), select(other)?)));
        let others = others.collect::<Result<Vec<_>, PgError>>()?;
        if others.is_empty() {
            return select(self);
        }
        Ok(format!("with {} select * from ({}\n) as afresh", others.join(", "), select(self)?))
    }
}
