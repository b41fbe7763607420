//! Brings the views of a database to what the files say.
//!
//! Stores are filled first, while the old views go on serving; the relations are exchanged at the end, in an
//! instant. All of it is one transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use deadpool_postgres::Transaction;
use tidegate_core::manifest::Manifest;
use tokio_postgres::error::SqlState;
use tracing::warn;

use super::super::Error;
use super::super::error::{Kind as ErrorKind, describe, postgres_kind};
use super::super::table::{TableSql, quoted};
use super::analysis::{Analysed, analyse, columns_of};
use super::locks::{Tries, lock_out_writers, savepoint};
use super::meaning::set_search_path;
use super::store::{Store, StoreSpec};
use super::triggers::{drop_triggers_elsewhere, function_name, keep_by_triggers, literal};
use super::{Kind, Maintained, View};

/// How often a view without a schedule is refreshed.
const REFRESH_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// How views are applied.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::postgres) struct Options {
    /// Whether what others have built on a view is dropped along with it.
    pub(in crate::postgres) cascade: bool,
}

/// What is done to a view, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The view.
    pub view: String,
    /// What is done.
    pub action: Action,
    /// What it becomes; `None` where it is dropped.
    pub kind: Option<Kind>,
    /// Why, in words.
    pub why: String,
    /// What others have built on it, which is in the way of dropping it.
    pub dependents: Vec<String>,
}

/// What is done to a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is as its file says.
    Keep,
    /// It is made.
    Create,
    /// Its store is filled anew, or its rows are computed anew.
    Rebuild,
    /// Its query is exchanged; what is stored stays.
    Replace,
    /// It is dropped.
    Drop,
}

impl Action {
    /// As the commands write it.
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

/// A view as the database has it.
struct Found {
    name: String,
    schema: String,
    kind: String,
    query: String,
    reads: Vec<String>,
    /// The columns of its relation, if that is there.
    columns: Option<Vec<(String, String)>>,
    /// What that reads, but for views and what is stored for them.
    relations: Vec<u32>,
}

impl Found {
    /// Whether its relation has a view's columns. For a materialized view Postgres may find types with other
    /// modifiers than for a view of the same query.
    fn has_columns_of(&self, analysed: &Analysed) -> bool {
        let names = |columns: &[(String, String)]| -> Vec<String> {
            columns.iter().map(|(name, _)| name.clone()).collect()
        };
        self.columns.as_ref().is_some_and(|columns| match analysed.kind {
            Kind::Refreshed => names(columns) == names(&analysed.columns),
            _ => *columns == analysed.columns,
        })
    }
}

/// A view as it is to be.
pub(super) struct Wanted {
    pub(super) analysed: Analysed,
    /// The index of its store in the plan.
    pub(super) store: Option<usize>,
    pub(super) query: String,
}

pub(super) struct PlannedStore {
    pub(super) store: Store,
    dataset: usize,
    /// The dataset's table, quoted.
    table: String,
    is_new: bool,
}

/// All that is to be done.
pub(in crate::postgres) struct Plan {
    schema: String,
    found: Vec<Found>,
    pub(super) wanted: Vec<Wanted>,
    pub(super) stores: Vec<PlannedStore>,
    /// Stores that nobody needs any more.
    unused: Vec<Store>,
    /// In the order of the views, the dropped ones behind.
    pub(in crate::postgres) steps: Vec<Step>,
}

/// Finds out what is to be done. The tables of the datasets must be there.
pub(in crate::postgres) async fn plan(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    views: &[View],
) -> Result<Plan, Error> {
    set_search_path(tx, manifest).await?;
    let analysed = analyse(tx, manifest, views).await?;
    let has_run = has_run(tx).await?;
    let found = if has_run { find(tx).await? } else { Vec::new() };
    assert_placed(manifest, &found)?;
    let there = if has_run { stores_there(tx, manifest).await? } else { Vec::new() };
    let (stores, unused, of_views) = plan_stores(tx, manifest, &analysed, there).await?;
    let wanted = analysed.into_iter().zip(of_views).map(|(analysed, store)| {
        let query = match (&analysed.compiled, store) {
            (Some(compiled), Some(index)) => {
                let store: &PlannedStore = &stores[index];
                compiled.over(&store.store.state(&compiled.store))
            }
            _ => analysed.view.select.clone(),
        };
        Wanted { analysed, store, query }
    });
    let schema = manifest.schema.clone();
    let mut plan = Plan { schema, found, wanted: wanted.collect(), stores, unused, steps: Vec::new() };
    plan.steps = plan.steps(tx).await?;
    plan.add_readers(tx).await?;
    Ok(plan)
}

/// Brings the database to what the files say. Gives what was done, and the stores that the sink maintains.
pub(in crate::postgres) async fn apply(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    views: &[View],
    options: Options,
) -> Result<(Vec<Step>, Vec<Maintained>), Error> {
    let plan = plan(tx, manifest, views).await?;
    plan.warn();
    plan.change_stores(tx, manifest).await?;
    plan.compute_aside(tx).await?;
    plan.exchange(tx, options).await?;
    tx.batch_execute("set local search_path to default").await?;
    let maintained = plan.stores.into_iter().map(|planned| Maintained::new(planned.dataset, planned.store));
    Ok((plan.steps, maintained.collect()))
}

/// Whether the database has what views are registered in: before the first run it has not.
pub(super) async fn has_run(tx: &Transaction<'_>) -> Result<bool, Error> {
    let sql = "select to_regclass('tidegate.view_stores') is not null";
    Ok(tx.query_one(sql, &[]).await?.get(0))
}

async fn find(tx: &Transaction<'_>) -> Result<Vec<Found>, Error> {
    let rows = tx.query(include_str!("../../../../sql/queries/views.sql"), &[]).await?;
    let found = rows.iter().map(|row| {
        let columns: Option<Vec<String>> = row.get("columns");
        let types: Option<Vec<String>> = row.get("types");
        Found {
            name: row.get("name"),
            schema: row.get("schema"),
            kind: row.get("kind"),
            query: row.get("query"),
            reads: row.get("reads"),
            columns: columns.zip(types).map(|(columns, types)| columns.into_iter().zip(types).collect()),
            relations: row.get("relations"),
        }
    });
    Ok(found.collect())
}

/// Refuses views of an earlier version, which left it to the search path where they are made, if they are elsewhere than
/// the manifest has them without saying so: their readers know them there.
fn assert_placed(manifest: &Manifest, found: &[Found]) -> Result<(), Error> {
    let is_said = manifest.is_schema_said;
    let elsewhere = found.iter().filter(|found| found.columns.is_some() && found.schema != manifest.schema);
    let moves: Vec<String> = elsewhere
        .map(|found| {
            let kind = if found.kind == Kind::Refreshed.name() { "materialized view" } else { "view" };
            let (name, schema) = (quoted(&found.name), quoted(&manifest.schema));
            format!(
                "alter {kind} {}.{name} set schema {schema}; update tidegate.views set schema = {} where name = {};",
                quoted(&found.schema),
                literal(&manifest.schema),
                literal(&found.name)
            )
        })
        .collect();
    if is_said || moves.is_empty() {
        return Ok(());
    }
    let staying =
        match found.iter().find(|found| found.schema != manifest.schema && found.schema != "tidegate") {
            Some(found) => format!("\nor leave them there, with 'schema: {}' in the manifest", found.schema),
            None => String::new(),
        };
    Err(Error::halt(format!(
        "views lie in another schema than {}, where the search path led an earlier version; move them:\n  {}{staying}",
        quoted(&manifest.schema),
        moves.join("\n  ")
    )))
}

type OfViews = Vec<Option<usize>>;

/// Which stores there are to be, which of those that are there nobody needs, and which view reads which.
async fn plan_stores(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    analysed: &[Analysed],
    mut there: Vec<(Store, bool)>,
) -> Result<(Vec<PlannedStore>, Vec<Store>, OfViews), Error> {
    // The widest first, so that others may share it.
    let mut order: Vec<usize> = (0..analysed.len()).collect();
    order.sort_by_key(|index| {
        analysed[*index].compiled.as_ref().map(|c| std::cmp::Reverse(c.store.keys.len()))
    });
    let mut stores: Vec<PlannedStore> = Vec::new();
    let mut of_views = vec![None; analysed.len()];
    for index in order {
        let Some(compiled) = &analysed[index].compiled else { continue };
        let spec = &compiled.store;
        let shared = stores.iter().position(|planned| planned.store.spec.covers(spec));
        of_views[index] = Some(match shared {
            Some(shared) => shared,
            None => {
                let dataset = dataset_named(manifest, &spec.dataset).expect("the spec was made of it");
                let kept = there.iter().position(|(store, is_intact)| *is_intact && store.spec == *spec);
                let (store, is_new) = match kept {
                    Some(kept) => (there.remove(kept).0, false),
                    None => {
                        let planned = stores.iter().map(|planned| &planned.store);
                        let taken: Vec<&str> = planned
                            .chain(there.iter().map(|(store, _)| store))
                            .map(|store| &store.name[..])
                            .collect();
                        (new_store(tx, &analysed[index].view.name, spec, &taken).await?, true)
                    }
                };
                let table = TableSql::new(&manifest.datasets[dataset]).name;
                stores.push(PlannedStore { store, dataset, table, is_new });
                stores.len() - 1
            }
        });
    }
    Ok((stores, there.into_iter().map(|(store, _)| store).collect(), of_views))
}

pub(super) fn dataset_named(manifest: &Manifest, name: &str) -> Option<usize> {
    manifest.datasets.iter().position(|dataset| dataset.name == name)
}

/// The stores of the database, and whether they are kept up to date: a table that was dropped and made anew
/// has lost its triggers.
async fn stores_there(tx: &Transaction<'_>, manifest: &Manifest) -> Result<Vec<(Store, bool)>, Error> {
    let sql = "select name, spec, to_regclass(format('tidegate.%I', name)) is not null, dataset from tidegate.view_stores";
    let mut there = Vec::new();
    for row in tx.query(sql, &[]).await? {
        let spec: serde_json::Value = row.get(1);
        let Ok(spec) = serde_json::from_value::<StoreSpec>(spec) else {
            // Of a later version, or damaged: it is made anew.
            let spec = StoreSpec { dataset: row.get(3), ..StoreSpec::default() };
            there.push((Store { name: row.get(0), spec }, false));
            continue;
        };
        let mut is_intact: bool = row.get(2);
        if let Some(dataset) = dataset_named(manifest, &spec.dataset) {
            let table = TableSql::new(&manifest.datasets[dataset]).name;
            let sql = "select count(*) filter (where tgrelid = to_regclass($1) and tgenabled in ('O', 'A')) = 4 \
                       and count(*) = 4 from pg_trigger where tgfoid = to_regproc($2)";
            let row = tx.query_one(sql, &[&table, &function_name(&spec.dataset)]).await?;
            is_intact &= row.get::<_, bool>(0);
        }
        there.push((Store { name: row.get(0), spec }, is_intact));
    }
    Ok(there)
}

/// A store with a name that is free.
async fn new_store(
    tx: &Transaction<'_>,
    view: &str,
    spec: &StoreSpec,
    taken: &[&str],
) -> Result<Store, Error> {
    for number in 1.. {
        let name = if number == 1 { format!("view_{view}") } else { format!("view_{view}_{number}") };
        let store = Store { name, spec: spec.clone() };
        let sql = "select to_regclass($1) is null";
        let is_free: bool = tx.query_one(sql, &[&store.table()]).await?.get(0);
        if is_free && !taken.contains(&store.name.as_str()) {
            return Ok(store);
        }
    }
    unreachable!("there are more numbers than stores")
}

impl Plan {
    fn is_store_new(&self, wanted: &Wanted) -> bool {
        wanted.store.is_some_and(|index| self.stores[index].is_new)
    }

    async fn steps(&self, tx: &Transaction<'_>) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        for wanted in &self.wanted {
            let Analysed { view, kind, relations, .. } = &wanted.analysed;
            let found = self.found.iter().find(|found| found.name == view.name);
            let change = if *kind == Kind::Refreshed { Action::Rebuild } else { Action::Replace };
            let (action, why) = match found {
                None => {
                    self.assert_free(tx, view).await?;
                    (Action::Create, "its file is new".to_owned())
                }
                Some(found) if found.columns.is_none() => {
                    (Action::Create, "its relation is missing".to_owned())
                }
                Some(found) if found.kind != kind.name() => {
                    (Action::Rebuild, format!("it was {} before", found.kind))
                }
                Some(_) if self.is_store_new(wanted) => {
                    (Action::Rebuild, "what is stored for it has changed or is missing".to_owned())
                }
                Some(found) if found.schema != self.schema => {
                    self.assert_free(tx, view).await?;
                    (change, format!("views are made in the schema {} now", self.schema))
                }
                Some(found) if found.query != wanted.query => (change, "its query has changed".to_owned()),
                Some(found) if !found.has_columns_of(&wanted.analysed) => {
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
            steps.push(Step { view: view.name.clone(), action, kind: Some(*kind), why, dependents });
        }
        for found in self.found.iter().rev() {
            if !self.wanted.iter().any(|wanted| wanted.analysed.view.name == found.name) {
                let (view, why) = (found.name.clone(), "its file is gone".to_owned());
                let dependents = dependents(tx, found).await?;
                steps.push(Step { view, action: Action::Drop, kind: None, why, dependents });
            }
        }
        Ok(steps)
    }

    /// Refuses the name of a new view that is taken by what is not ours.
    async fn assert_free(&self, tx: &Transaction<'_>, view: &View) -> Result<(), Error> {
        let relation = format!("{}.{}", quoted(&self.schema), quoted(&view.name));
        let sql = "select pg_describe_object('pg_class'::regclass, to_regclass($1), 0)";
        match tx.query_one(sql, &[&relation]).await?.get::<_, Option<String>>(0) {
            None => Ok(()),
            Some(taken) => Err(Error::halt(format!(
                "view '{}' cannot be made: there is a {taken}, which no file of a view has made; rename the file, or drop it",
                view.name
            ))),
        }
    }

    /// Adds that views are made anew because of what they read.
    async fn add_readers(&mut self, tx: &Transaction<'_>) -> Result<(), Error> {
        let dropped = self.dropped();
        let readers = self.found.iter().enumerate().filter(|(_, found)| {
            dropped.contains(found.name.as_str()) && self.action(&found.name) == Action::Keep
        });
        for index in readers.map(|(index, _)| index).collect::<Vec<_>>() {
            let found = &self.found[index];
            let dependents = dependents(tx, found).await?;
            if let Some(step) = self.steps.iter_mut().find(|step| step.view == found.name) {
                step.action =
                    if step.kind == Some(Kind::Refreshed) { Action::Rebuild } else { Action::Replace };
                step.why = "a view that it reads is made anew".to_owned();
                step.dependents = dependents;
            }
        }
        Ok(())
    }

    fn action(&self, view: &str) -> Action {
        self.steps.iter().find(|step| step.view == view).map_or(Action::Keep, |step| step.action)
    }

    /// Whether the relation of a view can be given its new query in place: both plain views, the same columns.
    fn can_replace(&self, found: &Found) -> bool {
        let wanted = self.wanted.iter().find(|wanted| wanted.analysed.view.name == found.name);
        let is_plain = |kind: &str| kind != Kind::Refreshed.name();
        wanted.is_some_and(|wanted| {
            is_plain(&found.kind)
                && is_plain(wanted.analysed.kind.name())
                && found.schema == self.schema
                && found.columns.as_ref() == Some(&wanted.analysed.columns)
        })
    }

    /// Says of each view that is refreshed why it is, when it is made.
    fn warn(&self) {
        for wanted in &self.wanted {
            let Analysed { view, reason: Some(reason), .. } = &wanted.analysed else { continue };
            if self.action(&view.name) != Action::Keep {
                warn!(
                    "view '{}' is refreshed every {}, not kept by changes: {reason}",
                    view.name,
                    humantime::format_duration(refresh_of(view))
                );
            }
        }
    }

    /// Makes and fills new stores, and has the triggers keep those that there are now.
    async fn change_stores(&self, tx: &Transaction<'_>, manifest: &Manifest) -> Result<(), Error> {
        let new = self.stores.iter().filter(|store| store.is_new).map(|store| store.dataset);
        let unused = self.unused.iter().map(|store| &store.spec.dataset);
        let changed: BTreeSet<usize> =
            new.chain(unused.clone().filter_map(|name| dataset_named(manifest, name))).collect();
        lock_out_writers(tx, manifest, &changed).await?;
        for dataset in changed {
            let stores: Vec<&PlannedStore> =
                self.stores.iter().filter(|planned| planned.dataset == dataset).collect();
            for PlannedStore { store, table, .. } in stores.iter().filter(|planned| planned.is_new) {
                tx.batch_execute(&store.create(table)).await.map_err(|error| of_store(store, error))?;
                tx.batch_execute(&store.fill(table)).await.map_err(|error| of_store(store, error))?;
                tx.batch_execute(&format!("analyze {}", store.table())).await?;
            }
            let stores: Vec<&Store> = stores.iter().map(|planned| &planned.store).collect();
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

    /// The views whose relations are dropped: those that go or change, and those that read them.
    fn dropped(&self) -> BTreeSet<&str> {
        let mut dropped: BTreeSet<&str> = BTreeSet::new();
        for found in &self.found {
            let is_to_go = self.action(&found.name) != Action::Keep && !self.can_replace(found);
            if is_to_go || found.reads.iter().any(|read| dropped.contains(read.as_str())) {
                dropped.insert(&found.name);
            }
        }
        dropped
    }

    /// Whether a refreshed view can be computed while the old one is still read: it reads no view that changes.
    fn is_computed_aside(&self, wanted: &Wanted) -> bool {
        let Analysed { view, kind, reads, .. } = &wanted.analysed;
        let dropped = self.dropped();
        *kind == Kind::Refreshed
            && self.action(&view.name) != Action::Keep
            && reads.iter().all(|read| self.action(read) == Action::Keep && !dropped.contains(read.as_str()))
    }

    /// Computes refreshed views under other names, which takes as long as it takes and keeps nobody waiting.
    async fn compute_aside(&self, tx: &Transaction<'_>) -> Result<(), Error> {
        for wanted in self.wanted.iter().filter(|wanted| self.is_computed_aside(wanted)) {
            self.materialize(tx, wanted, &aside(&wanted.analysed.view)).await?;
        }
        Ok(())
    }

    /// Exchanges the relations, all at once. A try that finds one of them in use gives back those that it has
    /// already: nobody waits longer than it lasts.
    async fn exchange(&self, tx: &Transaction<'_>, options: Options) -> Result<(), Error> {
        let mut tries = Tries::begin(tx, "read the views").await?;
        while let Err(error) = self.try_to_exchange(tx, options).await {
            tries.again(error).await?;
        }
        tries.end().await
    }

    /// Drops what goes, makes what comes, replaces in place what can be.
    async fn try_to_exchange(&self, tx: &Transaction<'_>, options: Options) -> Result<(), Error> {
        let dropped = self.dropped();
        for store in &self.stores {
            drop_triggers_elsewhere(tx, &store.store.spec.dataset, &store.table).await?;
        }
        let mut grants = Vec::new();
        for found in self.found.iter().rev().filter(|found| dropped.contains(found.name.as_str())) {
            grants.extend(grants_of(tx, found).await?);
            let kind = if found.kind == Kind::Refreshed.name() { "materialized view" } else { "view" };
            let relation = format!("{}.{}", quoted(&found.schema), quoted(&found.name));
            drop_relation(tx, kind, &relation, &format!("view '{}'", found.name), options).await?;
        }
        tx.execute("delete from tidegate.views where not name = any($1::text[])", &[&self.names()]).await?;
        for (position, wanted) in self.wanted.iter().enumerate() {
            let name = &wanted.analysed.view.name;
            let is_dropped = dropped.contains(name.as_str());
            if self.action(name) != Action::Keep || is_dropped {
                self.make(tx, wanted).await?;
            }
            self.register(tx, wanted, position as i32, is_dropped).await?;
        }
        for grant in grants {
            // The role may be gone, or the view.
            let _ = savepoint(tx, &grant).await?;
        }
        for store in &self.unused {
            let dataset = &store.spec.dataset;
            if !self.stores.iter().any(|planned| planned.store.spec.dataset == *dataset) {
                // It takes its triggers along.
                let function = function_name(dataset);
                tx.batch_execute(&format!("drop function if exists {function} cascade")).await?;
            }
            drop_relation(tx, "table", &store.table(), &format!("the store {}", store.name), options).await?;
            tx.execute("delete from tidegate.view_resets where store = $1", &[&store.name]).await?;
        }
        Ok(())
    }

    fn names(&self) -> Vec<&str> {
        self.wanted.iter().map(|wanted| wanted.analysed.view.name.as_str()).collect()
    }

    async fn make(&self, tx: &Transaction<'_>, wanted: &Wanted) -> Result<(), Error> {
        let Analysed { view, kind, .. } = &wanted.analysed;
        if self.is_computed_aside(wanted) {
            let (schema, aside, name) = (quoted(&self.schema), quoted(&aside(view)), quoted(&view.name));
            let sql = format!("alter materialized view {schema}.{aside} rename to {name}");
            return tx.batch_execute(&sql).await.map_err(|error| of_view(view, error));
        }
        if *kind == Kind::Refreshed {
            return self.materialize(tx, wanted, &view.name).await;
        }
        let relation = format!("{}.{}", quoted(&self.schema), quoted(&view.name));
        let sql = format!("create or replace view {relation} as\n{}", wanted.query);
        tx.batch_execute(&sql).await.map_err(|error| of_view(view, error))?;
        match kind {
            Kind::Incremental => self.check_columns(tx, &wanted.analysed).await,
            _ => Ok(()),
        }
    }

    /// Makes a materialized view of that name, with an index that lets it be refreshed while it is read, if it can
    /// have one.
    async fn materialize(&self, tx: &Transaction<'_>, wanted: &Wanted, name: &str) -> Result<(), Error> {
        let Analysed { view, unique, .. } = &wanted.analysed;
        let relation = format!("{}.{}", quoted(&self.schema), quoted(name));
        let sql = format!("create materialized view {relation} as\n{}", wanted.query);
        tx.batch_execute(&sql).await.map_err(|error| of_view(view, error))?;
        if !unique.is_empty() {
            let columns: Vec<String> = unique.iter().map(|column| quoted(column)).collect();
            let index = format!("create unique index on {relation} ({})", columns.join(", "));
            // Columns without an order have no index; the view is refreshed all the same.
            let _ = savepoint(tx, &index).await?;
        }
        Ok(())
    }

    /// Whether the view over its store has the columns that its query has.
    async fn check_columns(&self, tx: &Transaction<'_>, analysed: &Analysed) -> Result<(), Error> {
        let name = &analysed.view.name;
        let made = columns_of(tx, &format!("{}.{}", quoted(&self.schema), quoted(name))).await?;
        if made == analysed.columns {
            return Ok(());
        }
        Err(Error::halt(format!(
            "view '{name}' was compiled to columns of other types ({made:?} for {:?}): this is a bug, please report it; \
             with '-- refresh: 5m' in its header it can be used meanwhile",
            analysed.columns
        )))
    }

    async fn register(
        &self,
        tx: &Transaction<'_>,
        wanted: &Wanted,
        position: i32,
        is_made: bool,
    ) -> Result<(), Error> {
        let Analysed { view, kind, reads, .. } = &wanted.analysed;
        let store = wanted.store.map(|index| &self.stores[index].store.name);
        let seconds = (*kind == Kind::Refreshed).then(|| refresh_of(view).as_secs_f64());
        let is_made = is_made || self.action(&view.name) != Action::Keep;
        let sql = include_str!("../../../../sql/queries/register_view.sql");
        let kind = kind.name();
        tx.execute(
            sql,
            &[
                &view.name,
                &self.schema,
                &kind,
                &view.definition,
                &wanted.query,
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

pub(super) fn refresh_of(view: &View) -> Duration {
    view.refresh.unwrap_or(REFRESH_DEFAULT)
}

fn of_store(store: &Store, error: tokio_postgres::Error) -> Error {
    unless_passing(error, |why| format!("the store {} cannot be filled: {why}", store.name))
}

/// What no retry heals, told as `tell` says; any other error as it is.
fn unless_passing(error: tokio_postgres::Error, tell: impl FnOnce(String) -> String) -> Error {
    match postgres_kind(&error) {
        ErrorKind::Passing | ErrorKind::TooLong | ErrorKind::Conflict => error.into(),
        ErrorKind::Row | ErrorKind::Lasting => Error::halt(tell(describe(&error))),
    }
}

/// What others have built on a view: views, and functions written in SQL.
async fn dependents(tx: &Transaction<'_>, found: &Found) -> Result<Vec<String>, Error> {
    let relation = format!("{}.{}", quoted(&found.schema), quoted(&found.name));
    let rows = tx.query(include_str!("../../../../sql/queries/view_dependents.sql"), &[&relation]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The statements that give others the rights they have on a view.
async fn grants_of(tx: &Transaction<'_>, found: &Found) -> Result<Vec<String>, Error> {
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
    options: Options,
) -> Result<(), Error> {
    let cascade = if options.cascade { " cascade" } else { "" };
    let sql = format!("drop {kind} if exists {relation}{cascade}");
    tx.batch_execute(&sql).await.map_err(|error| match error.code() {
        Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => {
            let detail = error.as_db_error().and_then(|db| db.detail()).unwrap_or_default();
            Error::halt(format!(
                "{name} has to be dropped, but others depend on it: {}; drop them first, or run \
                 'tidegate view apply --cascade', which drops them along",
                detail.replace('\n', "; ")
            ))
        }
        _ => unless_passing(error, |why| format!("{name} cannot be dropped: {why}")),
    })
}

/// The name of a refreshed view that is being computed. No view of a user's is called so.
fn aside(view: &View) -> String {
    format!("tidegate.{}", view.name)
}

fn of_view(view: &View, error: tokio_postgres::Error) -> Error {
    unless_passing(error, |why| format!("view '{}' cannot be made: {why}", view.name))
}
