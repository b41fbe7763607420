//! Explains what a view is and how it is kept, for display.

use std::time::Duration;

use tidegate_postgres::{Database, PgError, TransactionMode, table};

use crate::file::View;
use crate::kind::ViewKind;
use crate::plan::ViewStep;
use crate::plan::{plan, refresh_of};
use crate::registered::{RegisteredView, has_run, registered};
use crate::store::ViewStore;

/// The explanation of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The view's name.
    pub name: String,
    /// The view's kind.
    pub kind: ViewKind,
    /// Why the view is not incremental: the construct and its line.
    pub reason: Option<String>,
    /// The views that it reads.
    pub reads: Vec<String>,
    /// The datasets whose tables it reads.
    pub datasets: Vec<String>,
    /// The store of an incremental view: what the view itself needs of it, which other views may share.
    pub store: Option<ViewStore>,
    /// How often a refreshed view is refreshed.
    pub refresh: Option<Duration>,
    /// The columns that let a refreshed view be refreshed while it is read; empty if it cannot be.
    pub unique: Vec<String>,
    /// The query of the view's relation.
    pub query: String,
    /// The step of the next start for the view.
    pub step: ViewStep,
}

/// Returns the views in the database, each after those that it reads; none before the first run.
pub async fn in_database(database: &Database) -> Result<Vec<RegisteredView>, PgError> {
    let mut connection = database.connection().await?;
    let tx = database.begin(&mut connection, TransactionMode::Write).await?;
    if has_run(&tx).await? { registered(&tx).await } else { Ok(Vec::new()) }
}

/// Explains the views, and returns the steps of the next start. Changes nothing.
///
/// # Errors
///
/// If a view is invalid.
pub async fn explain(
    database: &Database,
    views: &[View],
) -> Result<(Vec<Explanation>, Vec<ViewStep>), PgError> {
    let manifest = database.manifest();
    let mut connection = database.connection().await?;
    // The transaction is never committed.
    let tx = database.begin(&mut connection, TransactionMode::Write).await?;
    table::ensure(&tx, manifest).await?;
    let plan = plan(&tx, manifest, views).await?;
    let explanations = plan.views.into_iter().zip(&plan.steps).map(|(planned, step)| {
        let analysed = planned.analysed;
        let reads = manifest.datasets.iter().filter(|dataset| analysed.view.names(&dataset.table.name));
        let store = planned.store.zip(analysed.compiled);
        Explanation {
            datasets: reads.map(|dataset| dataset.name.clone()).collect(),
            store: store.map(|(index, compiled)| ViewStore {
                name: plan.stores[index].store.name.clone(),
                spec: compiled.store,
            }),
            refresh: (analysed.kind == ViewKind::Refreshed).then(|| refresh_of(&analysed.view)),
            name: analysed.view.name,
            kind: analysed.kind,
            reason: analysed.reason.map(|reason| reason.to_string()),
            reads: analysed.reads,
            unique: analysed.unique,
            query: planned.query,
            step: step.clone(),
        }
    });
    Ok((explanations.collect(), plan.steps.clone()))
}
