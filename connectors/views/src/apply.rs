//! Brings the views of a database to the state that the files describe.
//!
//! Stores are filled first, while the old views remain readable. The relations are exchanged at the end, in an
//! instant. All of it is one transaction.

use std::collections::BTreeSet;

use deadpool_postgres::Transaction;
use tidegate_core::manifest::Manifest;
use tidegate_postgres::PgError;
use tidegate_postgres::error::{describe, postgres_kind};
use tidegate_postgres::session::savepoint;
use tidegate_postgres::table::{qualified, quoted};
use tokio_postgres::error::SqlState;
use tracing::warn;

use crate::analysis::{AnalysedView, columns_of};
use crate::file::View;
use crate::kind::ViewKind;
use crate::locks::{Tries, lock_out_writers};
use crate::maintained_store::MaintainedStore;
use crate::plan::{Action, Plan, PlannedStore, PlannedView, ViewStep, plan, refresh_of};
use crate::registered::RegisteredView;
use crate::store::ViewStore;
use crate::triggers::{drop_triggers_elsewhere, function_name, keep_by_triggers};

/// Brings the database to the state that the files describe. With `cascade`, the objects that others have built on a
/// view are dropped along with it. Returns the steps, and the stores that the sink maintains.
pub async fn apply(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    views: &[View],
    cascade: bool,
) -> Result<(Vec<ViewStep>, Vec<MaintainedStore>), PgError> {
    let plan = plan(tx, manifest, views).await?;
    plan.warn();
    plan.change_stores(tx, manifest).await?;
    plan.compute_aside(tx).await?;
    plan.exchange(tx, cascade).await?;
    tx.batch_execute("set local search_path to default").await?;
    let maintained =
        plan.stores.into_iter().map(|planned| MaintainedStore::new(planned.dataset, planned.store));
    Ok((plan.steps, maintained.collect()))
}

impl Plan {
    /// Logs why a view is refreshed, when the view is created or changed.
    fn warn(&self) {
        for planned in &self.views {
            let AnalysedView { view, reason: Some(reason), .. } = &planned.analysed else { continue };
            if self.action(&view.name) != Action::Keep {
                warn!(
                    "view '{}' is refreshed every {}, not kept by changes: {reason}",
                    view.name,
                    humantime::format_duration(refresh_of(view))
                );
            }
        }
    }

    /// Creates and fills new stores, and makes the triggers keep the current ones.
    async fn change_stores(&self, tx: &Transaction<'_>, manifest: &Manifest) -> Result<(), PgError> {
        let new = self.stores.iter().filter(|store| store.is_new).map(|store| store.dataset);
        let unused = self.unused.iter().filter_map(|store| Some(manifest.dataset(&store.spec.dataset)?.0));
        let changed: BTreeSet<usize> = new.chain(unused).collect();
        lock_out_writers(tx, manifest, &changed).await?;
        for dataset in changed {
            let stores: Vec<&PlannedStore> =
                self.stores.iter().filter(|planned| planned.dataset == dataset).collect();
            for PlannedStore { store, table, .. } in stores.iter().filter(|planned| planned.is_new) {
                let of_store = |error| {
                    unless_passing(error, |why| format!("the store {} cannot be filled: {why}", store.name))
                };
                tx.batch_execute(&store.create(table)).await.map_err(of_store)?;
                tx.batch_execute(&store.fill(table)).await.map_err(of_store)?;
                tx.batch_execute(&format!("analyze {}", store.table())).await?;
            }
            let stores: Vec<&ViewStore> = stores.iter().map(|planned| &planned.store).collect();
            if !stores.is_empty() {
                keep_by_triggers(tx, manifest, dataset, &stores).await?;
            }
        }
        tx.execute("delete from tidegate.view_stores", &[]).await?;
        for PlannedStore { store, .. } in &self.stores {
            let spec = serde_json::to_value(&store.spec).expect("a spec is strings");
            let sql = "insert into tidegate.view_stores (name, dataset, spec) values ($1, $2, $3)";
            tx.execute(sql, &[&store.name, &store.spec.dataset, &spec]).await?;
        }
        Ok(())
    }

    /// Returns whether a refreshed view can be computed while the old one is still readable: it reads no view that
    /// changes.
    fn is_computed_aside(&self, planned: &PlannedView) -> bool {
        let AnalysedView { view, kind, reads, .. } = &planned.analysed;
        let dropped = self.dropped();
        *kind == ViewKind::Refreshed
            && self.action(&view.name) != Action::Keep
            && reads.iter().all(|read| self.action(read) == Action::Keep && !dropped.contains(read.as_str()))
    }

    /// Computes refreshed views under other names. However long that takes, no reader waits for it.
    async fn compute_aside(&self, tx: &Transaction<'_>) -> Result<(), PgError> {
        for planned in self.views.iter().filter(|planned| self.is_computed_aside(planned)) {
            self.materialize(tx, planned, &aside(&planned.analysed.view)).await?;
        }
        Ok(())
    }

    /// Exchanges the relations, all at once. If a try finds one of them in use, it releases the locks that it has
    /// taken: no other session waits longer than one try.
    async fn exchange(&self, tx: &Transaction<'_>, cascade: bool) -> Result<(), PgError> {
        let mut tries = Tries::begin(tx, "read the views").await?;
        while let Err(error) = self.try_to_exchange(tx, cascade).await {
            tries.again(error).await?;
        }
        tries.end().await
    }

    /// Drops the relations that go, creates those that come, and replaces in place those that can be.
    async fn try_to_exchange(&self, tx: &Transaction<'_>, cascade: bool) -> Result<(), PgError> {
        let dropped = self.dropped();
        for store in &self.stores {
            drop_triggers_elsewhere(tx, &store.store.spec.dataset, &store.table).await?;
        }
        let mut grants = Vec::new();
        for found in self.registered.iter().rev().filter(|found| dropped.contains(found.name.as_str())) {
            grants.extend(grants_of(tx, found).await?);
            let (kind, relation) = (found.relation_kind(), found.relation());
            drop_relation(tx, kind, &relation, &format!("view '{}'", found.name), cascade).await?;
        }
        let names: Vec<&str> = self.views.iter().map(|planned| planned.analysed.view.name.as_str()).collect();
        tx.execute("delete from tidegate.views where not name = any($1::text[])", &[&names]).await?;
        for (position, planned) in self.views.iter().enumerate() {
            let name = &planned.analysed.view.name;
            let is_dropped = dropped.contains(name.as_str());
            if self.action(name) != Action::Keep || is_dropped {
                self.make(tx, planned).await?;
            }
            self.register(tx, planned, position as i32, is_dropped).await?;
        }
        for grant in grants {
            // The role or the view may be gone.
            let _ = savepoint(tx, &grant).await?;
        }
        for store in &self.unused {
            let dataset = &store.spec.dataset;
            if !self.stores.iter().any(|planned| planned.store.spec.dataset == *dataset) {
                // Dropping the function drops its triggers too.
                let function = function_name(dataset);
                tx.batch_execute(&format!("drop function if exists {function} cascade")).await?;
            }
            drop_relation(tx, "table", &store.table(), &format!("the store {}", store.name), cascade).await?;
            tx.execute("delete from tidegate.view_resets where store = $1", &[&store.name]).await?;
        }
        Ok(())
    }

    async fn make(&self, tx: &Transaction<'_>, planned: &PlannedView) -> Result<(), PgError> {
        let AnalysedView { view, kind, columns, .. } = &planned.analysed;
        if self.is_computed_aside(planned) {
            let aside = qualified(&self.schema, &aside(view));
            let sql = format!("alter materialized view {aside} rename to {}", quoted(&view.name));
            return tx.batch_execute(&sql).await.map_err(|error| of_view(view, error));
        }
        if *kind == ViewKind::Refreshed {
            return self.materialize(tx, planned, &view.name).await;
        }
        let relation = qualified(&self.schema, &view.name);
        let sql = format!("create or replace view {relation} as\n{}", planned.query);
        tx.batch_execute(&sql).await.map_err(|error| of_view(view, error))?;
        if *kind == ViewKind::Incremental {
            let made = columns_of(tx, &relation).await?;
            if made != *columns {
                return Err(PgError::halt(format!(
                    "view '{}' was compiled to columns of other types ({made:?} for {columns:?}): this is a bug, please \
                     report it; with '-- refresh: 5m' in its header it can be used meanwhile",
                    view.name
                )));
            }
        }
        Ok(())
    }

    /// Creates a materialized view of that name. If its rows can be identified, adds the unique index that lets it be
    /// refreshed while it is read.
    async fn materialize(
        &self,
        tx: &Transaction<'_>,
        planned: &PlannedView,
        name: &str,
    ) -> Result<(), PgError> {
        let AnalysedView { view, unique, .. } = &planned.analysed;
        let relation = qualified(&self.schema, name);
        let sql = format!("create materialized view {relation} as\n{}", planned.query);
        tx.batch_execute(&sql).await.map_err(|error| of_view(view, error))?;
        if !unique.is_empty() {
            let columns: Vec<String> = unique.iter().map(|column| quoted(column)).collect();
            let index = format!("create unique index on {relation} ({})", columns.join(", "));
            // Columns without an order cannot be indexed. The view is refreshed without the index.
            let _ = savepoint(tx, &index).await?;
        }
        Ok(())
    }

    async fn register(
        &self,
        tx: &Transaction<'_>,
        planned: &PlannedView,
        position: i32,
        is_made: bool,
    ) -> Result<(), PgError> {
        let AnalysedView { view, kind, reads, .. } = &planned.analysed;
        let store = planned.store.map(|index| &self.stores[index].store.name);
        let seconds = (*kind == ViewKind::Refreshed).then(|| refresh_of(view).as_secs_f64());
        let is_made = is_made || self.action(&view.name) != Action::Keep;
        let sql = include_str!("../../../sql/queries/register_view.sql");
        let kind = kind.name();
        tx.execute(
            sql,
            &[
                &view.name,
                &self.schema,
                &kind,
                &view.definition,
                &planned.query,
                reads,
                &store,
                &seconds,
                &is_made,
                &position,
            ],
        )
        .await?;
        Ok(())
    }
}

/// Turns an error that no retry heals into one with the message of `tell`. Returns any other error unchanged.
fn unless_passing(error: tokio_postgres::Error, tell: impl FnOnce(String) -> String) -> PgError {
    match postgres_kind(&error).may_pass() {
        true => error.into(),
        false => PgError::halt(tell(describe(&error))),
    }
}

/// Returns the statements that grant again the rights that other roles have on a view.
async fn grants_of(tx: &Transaction<'_>, found: &RegisteredView) -> Result<Vec<String>, PgError> {
    let sql = "select format('grant %s on %I.%I to %s', privilege_type, $1::text, $2::text, \
                   case grantee when 0 then 'public' else grantee::regrole::text end) \
               from pg_class, aclexplode(relacl) \
               where pg_class.oid = to_regclass(format('%I.%I', $1::text, $2::text)) and grantee <> relowner";
    let rows = tx.query(sql, &[&found.schema, &found.name]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn drop_relation(
    tx: &Transaction<'_>,
    kind: &str,
    relation: &str,
    name: &str,
    cascade: bool,
) -> Result<(), PgError> {
    let cascade = if cascade { " cascade" } else { "" };
    let sql = format!("drop {kind} if exists {relation}{cascade}");
    tx.batch_execute(&sql).await.map_err(|error| match error.code() {
        Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => {
            let detail = error.as_db_error().and_then(|db| db.detail()).unwrap_or_default();
            PgError::halt(format!(
                "{name} has to be dropped, but others depend on it: {}; drop them first, or run \
                 'tidegate view apply --cascade', which drops them along",
                detail.replace('\n', "; ")
            ))
        }
        _ => unless_passing(error, |why| format!("{name} cannot be dropped: {why}")),
    })
}

/// Returns the name of a refreshed view while it is computed. No view of a user has this name.
fn aside(view: &View) -> String {
    format!("tidegate.{}", view.name)
}

fn of_view(view: &View, error: tokio_postgres::Error) -> PgError {
    unless_passing(error, |why| format!("view '{}' cannot be made: {why}", view.name))
}
