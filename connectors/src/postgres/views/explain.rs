//! What a view is and how it is kept, for people.

use std::time::Duration;

use tidegate_core::manifest::Manifest;
use tokio_postgres::Row;

use super::super::{Error, How, Postgres, table};
use super::apply::{has_run, plan, refresh_of};
use super::{Kind, Step, View};

/// What a view is and how it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The view.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What kept it from being incremental: the construct and its line.
    pub reason: Option<String>,
    /// The views that it reads.
    pub reads: Vec<String>,
    /// The datasets whose tables it reads.
    pub datasets: Vec<String>,
    /// How an incremental one is kept.
    pub store: Option<StoreExplanation>,
    /// How often a refreshed one is refreshed.
    pub refresh: Option<Duration>,
    /// The columns that let a refreshed one be refreshed while it is read; none if it cannot.
    pub unique: Vec<String>,
    /// The query of its relation.
    pub query: String,
    /// What the next start does to it.
    pub step: Step,
}

/// A view as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDatabase {
    /// The view.
    pub name: String,
    /// What it is, as [`Kind::name`] says it.
    pub kind: String,
    /// The views that it reads.
    pub reads: Vec<String>,
    /// Its columns in order, with their types as Postgres names them; none if its relation is gone.
    pub columns: Vec<(String, String)>,
    /// How often a refreshed one is refreshed.
    pub refresh: Option<Duration>,
    /// When a refreshed one was refreshed, in UTC.
    pub refreshed_at: Option<String>,
}

/// What is stored for an incremental view. All expressions are of the table's own columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreExplanation {
    /// The table of changes, in the schema `tidegate`.
    pub name: String,
    /// The dataset whose table is aggregated.
    pub dataset: String,
    /// The rows that count.
    pub conditions: Vec<String>,
    /// What it is grouped by.
    pub keys: Vec<String>,
    /// What is added up.
    pub sums: Vec<String>,
}

/// A row of `views.sql`.
fn in_database(row: &Row) -> InDatabase {
    let names: Option<Vec<String>> = row.get("columns");
    let types: Option<Vec<String>> = row.get("types");
    let refresh: Option<f64> = row.get("refresh_seconds");
    InDatabase {
        name: row.get("name"),
        kind: row.get("kind"),
        reads: row.get("reads"),
        columns: names.into_iter().flatten().zip(types.into_iter().flatten()).collect(),
        refresh: refresh.map(Duration::from_secs_f64),
        refreshed_at: row.get("refreshed"),
    }
}

impl Postgres {
    /// The views that the database has, each behind those that it reads; none before the first run.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn views(&self) -> Result<Vec<InDatabase>, Error> {
        let mut connection = self.connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        if !has_run(&tx).await? {
            return Ok(Vec::new());
        }
        let rows = tx.query(include_str!("../../../../sql/queries/views.sql"), &[]).await?;
        Ok(rows.iter().map(in_database).collect())
    }

    /// Says what the next start does to the views, and changes nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with a view.
    pub async fn plan_views(&self, views: &[View]) -> Result<Vec<Step>, Error> {
        Ok(self.explain_views(views).await?.1)
    }

    /// Says what the views are and how they are kept, and what the next start does; changes nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with a view.
    pub async fn explain_views(&self, views: &[View]) -> Result<(Vec<Explanation>, Vec<Step>), Error> {
        let manifest: &Manifest = &self.inner.manifest;
        let mut connection = self.connection().await?;
        // Never committed.
        let tx = self.begin(&mut connection, How::Write).await?;
        table::ensure(&tx, manifest).await?;
        let plan = plan(&tx, manifest, views).await?;
        let explanations = plan.wanted.iter().zip(&plan.steps).map(|(wanted, step)| {
            let analysed = &wanted.analysed;
            let store = wanted.store.map(|index| &plan.stores[index].store);
            let spec = analysed.compiled.as_ref().map(|compiled| &compiled.store);
            Explanation {
                name: analysed.view.name.clone(),
                kind: analysed.kind,
                reason: analysed.reason.as_ref().map(ToString::to_string),
                reads: analysed.reads.clone(),
                datasets: manifest
                    .datasets
                    .iter()
                    .filter(|dataset| analysed.view.names(&dataset.table.name))
                    .map(|dataset| dataset.name.clone())
                    .collect(),
                store: store.zip(spec).map(|(store, spec)| StoreExplanation {
                    name: store.name.clone(),
                    dataset: spec.dataset.clone(),
                    conditions: spec.conditions.clone(),
                    keys: spec.keys.clone(),
                    sums: std::iter::once("count(*)".to_owned())
                        .chain(spec.sums.iter().map(|sum| sum.sql.clone()))
                        .collect(),
                }),
                refresh: (analysed.kind == Kind::Refreshed).then(|| refresh_of(&analysed.view)),
                unique: analysed.unique.clone(),
                query: wanted.query.clone(),
                step: step.clone(),
            }
        });
        Ok((explanations.collect(), plan.steps.clone()))
    }
}
