//! Plans what becomes of each view and each store: from what the database has to what the files say.

use std::collections::BTreeSet;
use std::time::Duration;

use deadpool_postgres::Transaction;
use tidegate_core::manifest::Manifest;
use tidegate_postgres::PgError;
use tidegate_postgres::table::{has_relation, qualified, quoted, table_name};

use crate::analysis::{AnalysedView, analyse};
use crate::file::View;
use crate::kind::ViewKind;
use crate::registered::{RegisteredView, has_run, registered};
use crate::session_settings::set_search_path;
use crate::store::{StoreSpec, ViewStore};
use crate::triggers::{function_name, literal};

/// How often a view without a schedule is refreshed.
const REFRESH_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// The change to a view, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewStep {
    /// The view.
    pub view: String,
    /// The change.
    pub action: Action,
    /// The view's new kind; `None` if it is dropped.
    pub kind: Option<ViewKind>,
    /// The reason, in words.
    pub why: String,
    /// The objects that others have built on the view, which prevent it from being dropped.
    pub dependents: Vec<String>,
}

/// A change to a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing changes: the view is as its file says.
    Keep,
    /// The view is created.
    Create,
    /// The view's store is filled anew, or its rows are computed anew.
    Rebuild,
    /// The view's query is replaced. The store stays.
    Replace,
    /// The view is dropped.
    Drop,
}

impl Action {
    /// Returns the action's name, as the commands write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Create => "create",
            Self::Rebuild => "rebuild",
            Self::Replace => "replace",
            Self::Drop => "drop",
        }
    }
}

/// A view, as it will be.
pub(super) struct PlannedView {
    pub(super) analysed: AnalysedView,
    /// The index of its store in the plan.
    pub(super) store: Option<usize>,
    pub(super) query: String,
}

pub(super) struct PlannedStore {
    pub(super) store: ViewStore,
    pub(super) dataset: usize,
    /// The dataset's table, quoted.
    pub(super) table: String,
    pub(super) is_new: bool,
}

/// All changes to be made.
pub(super) struct Plan {
    pub(super) schema: String,
    pub(super) registered: Vec<RegisteredView>,
    pub(super) views: Vec<PlannedView>,
    pub(super) stores: Vec<PlannedStore>,
    /// Stores that no view needs any more.
    pub(super) unused: Vec<ViewStore>,
    /// The steps in the order of the views, then those for dropped views.
    pub(super) steps: Vec<ViewStep>,
}

/// Plans the changes. The tables of the datasets must exist.
pub(super) async fn plan(tx: &Transaction<'_>, manifest: &Manifest, views: &[View]) -> Result<Plan, PgError> {
    set_search_path(tx, manifest).await?;
    let analysed = analyse(tx, manifest, views).await?;
    let (registered, there) = match has_run(tx).await? {
        true => (registered(tx).await?, stores_there(tx, manifest).await?),
        false => (Vec::new(), Vec::new()),
    };
    assert_placed(manifest, &registered)?;
    let (stores, unused, of_views) = plan_stores(tx, manifest, &analysed, there).await?;
    let views = analysed.into_iter().zip(of_views).map(|(analysed, store)| {
        let query = match (&analysed.compiled, store) {
            (Some(compiled), Some(index)) => compiled.over(&stores[index].store.state(&compiled.store)),
            _ => analysed.view.select.clone(),
        };
        PlannedView { analysed, store, query }
    });
    let (schema, views) = (manifest.schema.clone(), views.collect());
    let mut plan = Plan { schema, registered, views, stores, unused, steps: Vec::new() };
    plan.steps = plan.steps(tx).await?;
    plan.add_readers(tx).await?;
    Ok(plan)
}

/// Refuses views that an earlier version created where the search path led, if they are in another schema than the
/// manifest's and the manifest does not name a schema: their readers know them there.
fn assert_placed(manifest: &Manifest, registered: &[RegisteredView]) -> Result<(), PgError> {
    if manifest.is_schema_said {
        return Ok(());
    }
    let schema = quoted(&manifest.schema);
    let is_elsewhere = |view: &&RegisteredView| view.schema != manifest.schema;
    let moves: Vec<String> = registered
        .iter()
        .filter(|view| is_elsewhere(view) && !view.columns.is_empty())
        .map(|view| {
            format!(
                "alter {} {} set schema {schema}; update tidegate.views set schema = {} where name = {};",
                view.relation_kind(),
                view.relation(),
                literal(&manifest.schema),
                literal(&view.name)
            )
        })
        .collect();
    if moves.is_empty() {
        return Ok(());
    }
    let other =
        registered.iter().filter(is_elsewhere).map(|view| &view.schema).find(|name| *name != "tidegate");
    let staying = other
        .map(|name| format!("\nor leave them there, with 'schema: {name}' in the manifest"))
        .unwrap_or_default();
    Err(PgError::halt(format!(
        "views lie in another schema than {schema}, where the search path led an earlier version; move them:\n  \
         {}{staying}",
        moves.join("\n  ")
    )))
}

/// Plans the stores. Returns those that are needed, those that no view needs any more, and the index of the store
/// that each view reads.
async fn plan_stores(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    analysed: &[AnalysedView],
    mut there: Vec<(ViewStore, bool)>,
) -> Result<(Vec<PlannedStore>, Vec<ViewStore>, Vec<Option<usize>>), PgError> {
    // The widest store first, so that other views may share it.
    let mut order: Vec<usize> = (0..analysed.len()).collect();
    order.sort_by_key(|index| {
        analysed[*index].compiled.as_ref().map(|c| std::cmp::Reverse(c.store.keys.len()))
    });
    let mut stores: Vec<PlannedStore> = Vec::new();
    let mut of_views = vec![None; analysed.len()];
    for index in order {
        let Some(compiled) = &analysed[index].compiled else { continue };
        let spec = &compiled.store;
        if let Some(shared) = stores.iter().position(|planned| planned.store.spec.covers(spec)) {
            of_views[index] = Some(shared);
            continue;
        }
        let kept = there.iter().position(|(store, is_intact)| *is_intact && store.spec == *spec);
        let (store, is_new) = match kept {
            Some(kept) => (there.remove(kept).0, false),
            None => {
                let others = stores.iter().map(|planned| &planned.store);
                let others = others.chain(there.iter().map(|(store, _)| store));
                let taken: Vec<&str> = others.map(|store| store.name.as_str()).collect();
                (new_store(tx, &analysed[index].view.name, spec, &taken).await?, true)
            }
        };
        let (dataset, its) = manifest.dataset(&spec.dataset).expect("the spec was made of it");
        of_views[index] = Some(stores.len());
        stores.push(PlannedStore { store, dataset, table: table_name(its), is_new });
    }
    Ok((stores, there.into_iter().map(|(store, _)| store).collect(), of_views))
}

/// Returns the stores of the database, and whether each is kept up to date: a table that was dropped and created
/// again has lost its triggers.
async fn stores_there(tx: &Transaction<'_>, manifest: &Manifest) -> Result<Vec<(ViewStore, bool)>, PgError> {
    let sql = "select name, spec, to_regclass(format('tidegate.%I', name)) is not null, dataset from tidegate.view_stores";
    let mut there = Vec::new();
    for row in tx.query(sql, &[]).await? {
        let (spec, mut is_intact) = match serde_json::from_value::<StoreSpec>(row.get(1)) {
            Ok(spec) => (spec, row.get(2)),
            // The spec is of a later version or damaged: the store is created anew.
            Err(_) => (StoreSpec { dataset: row.get(3), ..StoreSpec::default() }, false),
        };
        if is_intact && let Some((_, dataset)) = manifest.dataset(&spec.dataset) {
            let sql = "select count(*) filter (where tgrelid = to_regclass($1) and tgenabled in ('O', 'A')) = 4 \
                       and count(*) = 4 from pg_trigger where tgfoid = to_regproc($2)";
            let parameters = (table_name(dataset), function_name(&spec.dataset));
            is_intact = tx.query_one(sql, &[&parameters.0, &parameters.1]).await?.get(0);
        }
        there.push((ViewStore { name: row.get(0), spec }, is_intact));
    }
    Ok(there)
}

/// Returns a store with a name that is free.
async fn new_store(
    tx: &Transaction<'_>,
    view: &str,
    spec: &StoreSpec,
    taken: &[&str],
) -> Result<ViewStore, PgError> {
    let mut store = ViewStore { name: format!("view_{view}"), spec: spec.clone() };
    let mut number = 1;
    while taken.contains(&store.name.as_str()) || has_relation(tx, &store.table()).await? {
        number += 1;
        store.name = format!("view_{view}_{number}");
    }
    Ok(store)
}

impl Plan {
    async fn steps(&self, tx: &Transaction<'_>) -> Result<Vec<ViewStep>, PgError> {
        let mut steps = Vec::new();
        for planned in &self.views {
            let AnalysedView { view, kind, relations, .. } = &planned.analysed;
            let found = self.registered.iter().find(|found| found.name == view.name);
            let change = if *kind == ViewKind::Refreshed { Action::Rebuild } else { Action::Replace };
            let (action, why) = match found {
                None => {
                    self.assert_free(tx, view).await?;
                    (Action::Create, "its file is new".to_owned())
                }
                Some(found) if found.columns.is_empty() => {
                    (Action::Create, "its relation is missing".to_owned())
                }
                Some(found) if found.kind != kind.name() => {
                    (Action::Rebuild, format!("it was {} before", found.kind))
                }
                Some(_) if planned.store.is_some_and(|index| self.stores[index].is_new) => {
                    (Action::Rebuild, "what is stored for it has changed or is missing".to_owned())
                }
                Some(found) if found.schema != self.schema => {
                    self.assert_free(tx, view).await?;
                    (change, format!("views are made in the schema {} now", self.schema))
                }
                Some(found) if found.query != planned.query => (change, "its query has changed".to_owned()),
                Some(found) if !has_columns_of(found, &planned.analysed) => {
                    (change, "its columns have changed".to_owned())
                }
                Some(found) if found.relations.iter().any(|oid| !relations.contains(oid)) => {
                    (change, "another table has the name of one that it reads".to_owned())
                }
                Some(_) => (Action::Keep, String::new()),
            };
            let dependents = match found {
                Some(found) if action != Action::Keep && !self.can_replace(found) => {
                    dependents(tx, found).await?
                }
                _ => Vec::new(),
            };
            steps.push(ViewStep { view: view.name.clone(), action, kind: Some(*kind), why, dependents });
        }
        for found in self.registered.iter().rev() {
            if !self.views.iter().any(|planned| planned.analysed.view.name == found.name) {
                let (view, why) = (found.name.clone(), "its file is gone".to_owned());
                let dependents = dependents(tx, found).await?;
                steps.push(ViewStep { view, action: Action::Drop, kind: None, why, dependents });
            }
        }
        Ok(steps)
    }

    /// Refuses a new view if another object has its name.
    async fn assert_free(&self, tx: &Transaction<'_>, view: &View) -> Result<(), PgError> {
        let relation = qualified(&self.schema, &view.name);
        let sql = "select pg_describe_object('pg_class'::regclass, to_regclass($1), 0)";
        match tx.query_one(sql, &[&relation]).await?.get::<_, Option<String>>(0) {
            None => Ok(()),
            Some(taken) => Err(PgError::halt(format!(
                "view '{}' cannot be made: there is a {taken}, which no file of a view has made; rename the file, or drop it",
                view.name
            ))),
        }
    }

    /// Adds a step for each view that must be created anew because a view that it reads is.
    async fn add_readers(&mut self, tx: &Transaction<'_>) -> Result<(), PgError> {
        let dropped = self.dropped();
        let readers = self.registered.iter().enumerate().filter(|(_, found)| {
            dropped.contains(found.name.as_str()) && self.action(&found.name) == Action::Keep
        });
        for index in readers.map(|(index, _)| index).collect::<Vec<_>>() {
            let found = &self.registered[index];
            let dependents = dependents(tx, found).await?;
            if let Some(step) = self.steps.iter_mut().find(|step| step.view == found.name) {
                step.action =
                    if step.kind == Some(ViewKind::Refreshed) { Action::Rebuild } else { Action::Replace };
                step.why = "a view that it reads is made anew".to_owned();
                step.dependents = dependents;
            }
        }
        Ok(())
    }

    pub(super) fn action(&self, view: &str) -> Action {
        self.steps.iter().find(|step| step.view == view).map_or(Action::Keep, |step| step.action)
    }

    /// Returns whether the relation of a view can get its new query in place: both are plain views with the same
    /// columns.
    fn can_replace(&self, found: &RegisteredView) -> bool {
        let planned = self.views.iter().find(|planned| planned.analysed.view.name == found.name);
        planned.is_some_and(|PlannedView { analysed, .. }| {
            !found.is_refreshed()
                && analysed.kind != ViewKind::Refreshed
                && found.schema == self.schema
                && !found.columns.is_empty()
                && found.columns == analysed.columns
        })
    }

    /// Returns the views whose relations are dropped: those that are removed or changed, and those that read them.
    pub(super) fn dropped(&self) -> BTreeSet<&str> {
        let mut dropped: BTreeSet<&str> = BTreeSet::new();
        for found in &self.registered {
            let is_to_go = self.action(&found.name) != Action::Keep && !self.can_replace(found);
            if is_to_go || found.reads.iter().any(|read| dropped.contains(read.as_str())) {
                dropped.insert(&found.name);
            }
        }
        dropped
    }
}

/// Returns whether a relation has a view's columns. For a materialized view only the names are compared, since its
/// types may have other modifiers than those of a view with the same query.
fn has_columns_of(found: &RegisteredView, analysed: &AnalysedView) -> bool {
    let of_relation = found.columns.iter().map(|(name, _)| name);
    match analysed.kind {
        ViewKind::Refreshed => of_relation.eq(analysed.columns.iter().map(|(name, _)| name)),
        _ => found.columns == analysed.columns,
    }
}

pub(super) fn refresh_of(view: &View) -> Duration {
    view.refresh.unwrap_or(REFRESH_DEFAULT)
}

/// Returns the objects that others have built on a view: views, and functions written in SQL.
async fn dependents(tx: &Transaction<'_>, found: &RegisteredView) -> Result<Vec<String>, PgError> {
    let sql = include_str!("../../../sql/queries/view_dependents.sql");
    let rows = tx.query(sql, &[&found.relation()]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
