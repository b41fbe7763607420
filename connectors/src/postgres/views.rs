//! Metric views, kept up to date by the change alone, on stock Postgres.
//!
//! A file of `sql/views` has one or two parts. `-- store: TABLE by COLUMN, ...` heads a query that
//! aggregates one table by expressions of its own columns into sums and counts; `-- view` heads the query
//! that is read, over `store` and any other table or view. `-- view of NAME` reads another view's store, so
//! that one serves both. A file that reads no store is a layered view.
//!
//! The store is a table of changes: each statement on the table *inserts* what it adds and, negated, what
//! it takes away; reading sums them, and [folding](super::Postgres) replaces many by few. So no writer
//! waits for another because of a view. Other writers' changes come by statement-level triggers; the sink's
//! cheap way, where triggers are off, inserts the change of its own rows. Never both.

mod file;
mod afresh;

use std::sync::atomic::{AtomicI64, Ordering};

use deadpool_postgres::Transaction;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Manifest;

use super::table::{TableSql, quoted};
use super::{Error, Postgres};
pub(super) use afresh::registered;
pub use file::View;
use file::{StoreQuery, in_order};

/// A view whose store the sink keeps up to date.
#[derive(Debug)]
pub struct Maintained {
    /// The index of the dataset whose table the store aggregates.
    pub(super) dataset: usize,
    /// The store, quoted.
    store: String,
    table: String,
    query: String,
    keys: Vec<String>,
    /// The other columns, quoted, with their types.
    sums: Vec<(String, String)>,
    /// How many rows the last folding left.
    folded: AtomicI64,
}

/// So many changes are left lying before they are folded.
const UNFOLDED_MAX: i64 = 50_000;

/// The table that holds the store of a view, quoted.
fn store_name(view: &str) -> String {
    format!("tidegate.{}", quoted(&format!("view_{view}")))
}

/// A view's query over its store.
fn with_store(store: &str, query: &str) -> String {
    format!("with store as ({store})\n{query}")
}

/// Brings the database's views to what the files say, and gives those that the sink maintains.
pub(super) async fn apply(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    views: &[View],
) -> Result<Vec<Maintained>, Error> {
    let wanted = in_order(views.to_vec())?;
    let mut found = Vec::new();
    for row in tx.query("select name, definition from tidegate.views", &[]).await? {
        let mut view = View::parse(row.get(0), row.get(1)).map_err(Error::halt)?;
        if view.store.is_some() && !is_intact(tx, manifest, &view).await? {
            // Unlike any file, so that it is made anew.
            view.definition.push('\0');
        }
        found.push(view);
    }
    let found = in_order(found)?;
    if wanted != found {
        replace(tx, manifest, &found, &wanted).await?;
    }
    let mut maintained = Vec::new();
    for view in &wanted {
        if let Some(store) = &view.store {
            maintained.push(describe(tx, manifest, view, store).await?);
        }
    }
    Ok(maintained)
}

/// Whether all triggers of a view are on its table: a table that was dropped and made anew has lost them.
async fn is_intact(tx: &Transaction<'_>, manifest: &Manifest, view: &View) -> Result<bool, Error> {
    let Some(store) = &view.store else { return Ok(true) };
    let Ok(dataset) = dataset_of(manifest, view, store) else { return Ok(true) };
    let table = TableSql::new(&manifest.datasets[dataset]).name;
    let sql = "select count(*) from pg_trigger where tgrelid = to_regclass($1) \
               and tgfoid = to_regproc($2) and tgenabled in ('O', 'A')";
    let triggers: i64 = tx.query_one(sql, &[&table, &view.function_name()]).await?.get(0);
    Ok(triggers == 4)
}

async fn replace(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    found: &[View],
    wanted: &[View],
) -> Result<(), Error> {
    for view in found.iter().rev() {
        let sql = "delete from tidegate.views where name = $1 returning schema";
        let schema: String = tx.query_one(sql, &[&view.name]).await?.get(0);
        tx.batch_execute(&format!("drop view if exists {}.{}", quoted(&schema), quoted(&view.name)))
            .await
            .map_err(|error| of_view(view, "cannot be replaced", &error))?;
        if view.store.is_some() && !wanted.contains(view) {
            let (function, store) = (view.function_name(), store_name(&view.name));
            // The function takes its triggers along.
            tx.batch_execute(&format!(
                "drop function if exists {function} cascade; drop table if exists {store}"
            ))
            .await?;
        }
    }
    for view in wanted {
        create(tx, manifest, wanted, view, !found.contains(view)).await.map_err(|error| match error {
            Error::Postgres(error) => of_view(view, "cannot be made", &error),
            other => other,
        })?;
    }
    Ok(())
}

fn of_view(view: &View, what: &str, error: &tokio_postgres::Error) -> Error {
    let place = error.as_db_error().and_then(|db| db.detail()).map(|d| format!("; {d}")).unwrap_or_default();
    Error::halt(format!("view '{}' {what}: {}{place}", view.name, super::error::describe(error)))
}

/// The schema of the table that a view aggregates, or of the pipeline's first table.
async fn schema_of(tx: &Transaction<'_>, manifest: &Manifest, view: &View) -> Result<String, Error> {
    let dataset = match &view.store {
        Some(store) => dataset_of(manifest, view, store)?,
        None => 0,
    };
    let table = TableSql::new(&manifest.datasets[dataset]);
    let sql = "select nspname::text from pg_class join pg_namespace on pg_namespace.oid = relnamespace \
               where pg_class.oid = to_regclass($1)";
    Ok(tx.query_one(sql, &[&table.name]).await?.get(0))
}

fn dataset_of(manifest: &Manifest, view: &View, store: &StoreQuery) -> Result<usize, Error> {
    let index = manifest.datasets.iter().position(|dataset| dataset.table.name == store.table);
    index.ok_or_else(|| {
        Error::halt(format!(
            "view '{}' stores what is in '{}', but no dataset has a table of that name",
            view.name, store.table
        ))
    })
}

async fn create(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    views: &[View],
    view: &View,
    is_new: bool,
) -> Result<(), Error> {
    let schema = schema_of(tx, manifest, view).await?;
    tx.batch_execute(&format!("set local search_path = {}", quoted(&schema))).await?;
    let mut query = view.query.clone();
    let mut dataset = None;
    let mut keys = &Vec::new();
    if let Some(store) = &view.store {
        if is_new {
            create_store(tx, manifest, view, store, &schema).await?;
        }
        dataset = Some(&manifest.datasets[dataset_of(manifest, view, store)?].name);
        keys = &store.keys;
    }
    if let Some(of) = &view.store_of {
        let owner = views.iter().find(|view| view.name == *of);
        let Some((owner, store)) = owner.and_then(|owner| Some((owner, owner.store.as_ref()?))) else {
            return Err(Error::halt(format!("view '{}' is of '{of}', which has no store", view.name)));
        };
        let maintained = describe(tx, manifest, owner, store).await?;
        query = with_store(&maintained.summed(), &query);
    }
    tx.batch_execute(&format!("create view {} as\n{query}", quoted(&view.name))).await?;
    let kind = if view.store.is_some() { "incremental" } else { "layered" };
    let sql = "insert into tidegate.views (name, schema, kind, dataset, keys, definition) \
               values ($1, $2, $3, $4, $5, $6)";
    tx.execute(sql, &[&view.name, &schema, &kind, &dataset, keys, &view.definition]).await?;
    tx.batch_execute("set local search_path to default").await?;
    Ok(())
}

/// Fills a store from the table as it is, and makes the triggers that keep it up to date.
async fn create_store(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    view: &View,
    store: &StoreQuery,
    schema: &str,
) -> Result<(), Error> {
    let table = TableSql::new(&manifest.datasets[dataset_of(manifest, view, store)?]).name;
    let StoreQuery { query, .. } = store;
    let (name, function) = (store_name(&view.name), view.function_name());
    tx.batch_execute(&format!(
        "lock table {table} in share row exclusive mode;\ncreate table {name} as\n{query}"
    ))
    .await?;
    let maintained = describe(tx, manifest, view, store).await?;
    let (add, remove) =
        (maintained.add("select * from new_rows"), maintained.remove("select * from old_rows"));
    tx.batch_execute(&format!(
        "create function {function}() returns trigger language plpgsql security definer \
         set search_path = {}, pg_temp as $tidegate_view$\nbegin\n\
         if tg_op = 'TRUNCATE' then\n\
         -- Waits for a folding, whose sums the deletion would not see.\n\
         lock table {name} in share row exclusive mode;\n delete from {name};\n\
         end if;\n\
         if tg_op in ('INSERT', 'UPDATE') then\n {add};\nend if;\n\
         if tg_op in ('DELETE', 'UPDATE') then\n {remove};\nend if;\n\
         return null;\nend $tidegate_view$",
        quoted(schema)
    ))
    .await?;
    for (event, transition) in [
        ("insert", "referencing new table as new_rows"),
        ("update", "referencing old table as old_rows new table as new_rows"),
        ("delete", "referencing old table as old_rows"),
        ("truncate", ""),
    ] {
        let trigger = quoted(&format!("tidegate_{}_{event}", view.name));
        tx.batch_execute(&format!(
            "create trigger {trigger} after {event} on {table} {transition} \
             for each statement execute function {function}()"
        ))
        .await?;
    }
    Ok(())
}

/// Reads from the catalog which columns a store has.
async fn describe(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    view: &View,
    store: &StoreQuery,
) -> Result<Maintained, Error> {
    let sql = "select attname::text, format_type(atttypid, atttypmod) from pg_attribute \
               where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum";
    let rows = tx.query(sql, &[&store_name(&view.name)]).await?;
    let columns: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    if let Some(key) = store.keys.iter().find(|key| !columns.iter().any(|(name, _)| name == *key)) {
        return Err(Error::halt(format!("view '{}': the store has no column '{key}'", view.name)));
    }
    let sums = columns.into_iter().filter(|(name, _)| !store.keys.contains(name));
    let sums: Vec<_> = sums.collect();
    if let Some((name, kind)) = sums.iter().find(|(_, kind)| matches!(&kind[..], "real" | "double precision"))
    {
        return Err(Error::halt(format!(
            "view '{}': the store's column '{name}' is of type {kind}, whose sums depend on their order; cast it to \
             numeric",
            view.name
        )));
    }
    Ok(Maintained {
        dataset: dataset_of(manifest, view, store)?,
        store: store_name(&view.name),
        table: quoted(&store.table),
        query: store.query.clone(),
        keys: store.keys.iter().map(|key| quoted(key)).collect(),
        sums: sums.into_iter().map(|(name, kind)| (quoted(&name), kind)).collect(),
        folded: AtomicI64::new(0),
    })
}

impl Maintained {
    /// The statement that inserts what the rows of `select` add.
    pub(super) fn add(&self, select: &str) -> String {
        let Self { store, table, query, .. } = self;
        format!("insert into {store} with {table} as ({select}) {query}")
    }

    /// The statement that inserts, negated, what the rows of `select` were.
    fn remove(&self, select: &str) -> String {
        let Self { store, table, query, .. } = self;
        let negated = self.sums.iter().map(|(name, _)| format!("-{name}"));
        let columns: Vec<String> = self.keys.iter().cloned().chain(negated).collect();
        let names: Vec<&String> = self.keys.iter().chain(self.sums.iter().map(|(name, _)| name)).collect();
        let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        format!(
            "insert into {store} ({}) select {} from (with {table} as ({select}) {query}) as gone",
            names.join(", "),
            columns.join(", ")
        )
    }

    /// The query for the state: one row per group, the sum of its changes.
    fn summed(&self) -> String {
        format!("{} from {} group by {}", self.select_sums(), self.store, self.keys.join(", "))
    }

    /// The groups of the store, as it is kept and as its query gives them now: those that are not empty,
    /// the sum of nothing as zero.
    pub(super) fn as_kept_and_afresh(&self) -> (String, String) {
        let sums = self.sums.iter().map(|(name, kind)| format!("coalesce({name}, 0)::{kind} as {name}"));
        let columns: Vec<String> = self.keys.iter().cloned().chain(sums).collect();
        let counts: Vec<String> = self.sums.iter().map(|(name, _)| format!("{name} <> 0")).collect();
        let groups = |of: &str| {
            let (columns, counts) = (columns.join(", "), counts.join(" or "));
            format!("select {columns} from ({of}\n) as groups where {counts}")
        };
        (groups(&self.summed()), groups(&self.query))
    }

    fn select_sums(&self) -> String {
        let sums = self.sums.iter().map(|(name, kind)| format!("sum({name})::{kind} as {name}"));
        let columns: Vec<String> = self.keys.iter().cloned().chain(sums).collect();
        format!("select {}", columns.join(", "))
    }

    /// The statement that replaces the changes that nobody else holds by their sums.
    fn fold(&self) -> String {
        let names: Vec<&str> =
            self.keys.iter().chain(self.sums.iter().map(|(name, _)| name)).map(String::as_str).collect();
        let nonzero: Vec<String> = self.sums.iter().map(|(name, _)| format!("sum({name}) <> 0")).collect();
        format!(
            "with taken as (delete from {store} where ctid = any(array(\
             select ctid from {store} for update skip locked)) returning *) \
             insert into {store} ({}) {} from taken group by {} having {}",
            names.join(", "),
            self.select_sums(),
            self.keys.join(", "),
            nonzero.join(" or "),
            store = self.store,
        )
    }
}

impl Postgres {
    /// Folds the changes of the views that have gathered many.
    pub(super) async fn fold_views(&self) -> Result<(), Error> {
        let Some(views) = self.inner.views.get() else { return Ok(()) };
        for view in views {
            let mut connection = self.connection().await?;
            let count = format!("select count(*) from {}", view.store);
            let rows: i64 = connection.query_one(&count, &[]).await?.get(0);
            if rows > view.folded.load(Ordering::Relaxed) * 2 + UNFOLDED_MAX {
                let tx = self.fenced(&mut connection).await?;
                tx.execute(&view.fold(), &[]).await?;
                let rows = tx.query_one(&count, &[]).await?.get(0);
                Failpoint::ViewFolded.pass()?;
                tx.commit().await?;
                view.folded.store(rows, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
