//! Preparation of a database for its pipeline: tables, shapes and views.

use deadpool_postgres::Transaction;
use tidegate_core::failpoint::Failpoint;
use tidegate_postgres::session::end_with_us;
use tidegate_postgres::{PgError, TransactionMode, table};
use tidegate_views::{View, ViewStep};

use crate::store::Store;
use crate::{group, leases, shapes};

/// Creates the tables and views that the pipeline needs, after [`migrate`](tidegate_postgres::schema::migrate). Does
/// nothing if all of them exist. Only the process that holds the pipeline's leases may do so: another pipeline
/// process must not have its views changed while it runs. Fails if a table does not fit, or a view cannot be created.
pub async fn prepare(store: &Store, views: &[View]) -> Result<(), PgError> {
    apply_views(store, views, false).await?;
    Ok(())
}

/// As [`prepare`], for an instance that shares the pipeline with others of the same `config_fingerprint`
/// ([`group::join`]). The first instance prepares the database. Fails if the pipeline runs with another fingerprint by
/// now.
pub async fn prepare_together(
    store: &Store,
    config_fingerprint: &str,
    views: &[View],
) -> Result<(), PgError> {
    let mut connection = store.own_connection().await?;
    let tx = store.begin(&mut connection, TransactionMode::Write).await?;
    tx.batch_execute("select pg_advisory_xact_lock(hashtext('tidegate.prepare'))").await?;
    group::assert_config(&tx, config_fingerprint).await?;
    apply_in(store, tx, views, false).await?;
    Ok(())
}

/// As [`prepare`], and returns what was done to the views. With `cascade`, objects that other applications have built
/// on a view that has to be dropped are dropped too.
///
/// # Errors
///
/// If a table does not fit, a view cannot be created, or other objects depend on a view that has to be dropped.
pub async fn apply_views(store: &Store, views: &[View], cascade: bool) -> Result<Vec<ViewStep>, PgError> {
    let mut connection = store.own_connection().await?;
    let tx = leases::fenced(store, &mut connection).await?;
    apply_in(store, tx, views, cascade).await
}

/// As [`apply_views`], in a transaction that the caller has begun. Commits the transaction.
pub async fn apply_in(
    store: &Store,
    tx: Transaction<'_>,
    views: &[View],
    cascade: bool,
) -> Result<Vec<ViewStep>, PgError> {
    end_with_us(&tx).await?;
    table::ensure(&tx, store.manifest()).await?;
    shapes::adopt(store, &tx).await?;
    let (steps, maintained) = tidegate_views::apply(&tx, store.manifest(), views, cascade).await?;
    Failpoint::TablesPrepared.pass()?;
    tx.commit().await?;
    store.inner.views.get_or_init(|| maintained);
    Ok(steps)
}
