//! Upkeep after the commits: folding the changes of stores, refreshing materialized views.

use std::time::{Duration, SystemTime};

use deadpool_postgres::Transaction;
use tidegate_postgres::error::describe;
use tidegate_postgres::session::{end_with_us, savepoint};
use tidegate_postgres::{Database, PgError, TransactionMode, schema};
use tokio_postgres::error::SqlState;
use tracing::warn;

use crate::maintained_store::MaintainedStore;
use crate::triggers::literal;

/// A refreshed view, and when its next refresh is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshedView {
    /// The view.
    pub view: String,
    /// The time until the refresh is due; zero if it is due now.
    pub after: Duration,
}

/// A refresh that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// The view.
    pub view: String,
    /// Whether the view stayed readable meanwhile.
    pub concurrently: bool,
    /// The duration of the refresh.
    pub took: Duration,
}

/// Folds the changes of a view's store. `tx` must hold the leases of a run, and the caller commits it. Returns how
/// many rows are left; `None` if another session is folding the store.
pub async fn fold(tx: &Transaction<'_>, view: &MaintainedStore) -> Result<Option<u64>, PgError> {
    end_with_us(tx).await?;
    let lock = "select pg_try_advisory_xact_lock(hashtext('tidegate.fold'), hashtext($1))";
    if !tx.query_one(lock, &[&view.store.table()]).await?.get::<_, bool>(0) {
        return Ok(None);
    }
    Ok(Some(tx.execute(&view.store.fold(), &[]).await?))
}

/// Returns when each materialized view is due for a refresh, each view after those that it reads. Fails if no pipeline
/// has run in the database.
pub async fn due(database: &Database) -> Result<Vec<RefreshedView>, PgError> {
    let connection = schema::prepared_connection(database).await?;
    let rows = connection.query(include_str!("../../../sql/queries/due_views.sql"), &[]).await?;
    let due = rows.iter().map(|row| RefreshedView {
        view: row.get(0),
        after: Duration::try_from_secs_f64(row.get(1)).unwrap_or_default(),
    });
    Ok(due.collect())
}

/// Refreshes a materialized view now. A refresh needs no lease: it reads what is committed and changes no other rows,
/// so even a run that was taken over can only make the view newer, never wrong. One view is not refreshed twice at
/// once: the second refresh waits.
///
/// # Errors
///
/// If there is no such materialized view, or its query fails.
pub async fn refresh(database: &Database, view: &str) -> Result<Refresh, PgError> {
    let mut connection = database.own_connection().await?;
    let tx = database.begin(&mut connection, TransactionMode::Write).await?;
    end_with_us(&tx).await?;
    let lock = "select pg_advisory_xact_lock(hashtext('tidegate.refresh'), hashtext($1))";
    tx.execute(lock, &[&view]).await?;
    let begun = std::time::Instant::now();
    let row = tx.query_opt(include_str!("../../../sql/queries/view_to_refresh.sql"), &[&view]).await?;
    let Some(row) = row else {
        return Err(PgError::halt(format!("there is no view '{view}' that is refreshed")));
    };
    let (relation, mut concurrently): (String, bool) = (row.get("relation"), row.get("concurrently"));
    let is_owned: bool = row.get("owned");
    // Only the owner may refresh a materialized view. For other roles a function does it that runs as the owner.
    let statement = |concurrently: bool, drop_indexes: bool| match (is_owned, concurrently) {
        (true, true) => format!("refresh materialized view concurrently {relation}"),
        (true, false) => format!("refresh materialized view {relation}"),
        (false, _) => {
            format!("select tidegate.refresh_view({}, {concurrently}, {drop_indexes})", literal(view))
        }
    };
    // The time before the snapshot is taken, so that the view never claims to be newer than it is.
    let at: SystemTime = row.get("now");
    let of_view = |error: tokio_postgres::Error| {
        PgError::halt(format!("view '{view}' cannot be refreshed: {}", describe(&error)))
    };
    let mut misfit = None;
    if concurrently && let Some(error) = savepoint(&tx, &statement(true, false)).await? {
        if !does_not_fit_its_index(&error) {
            return Err(of_view(error));
        }
        concurrently = false;
        misfit = Some(error);
    }
    if !concurrently {
        // New readers of the view would wait behind the lock that this statement waits for.
        tx.batch_execute("set local lock_timeout = '2s'").await?;
        let drop_indexes = misfit.is_some();
        if drop_indexes && is_owned {
            drop_unique_indexes(&tx, &relation).await?;
        }
        if let Some(error) = savepoint(&tx, &statement(false, drop_indexes)).await? {
            return Err(of_view(error));
        }
    }
    tx.execute("update tidegate.views set refreshed_at = $2 where name = $1", &[&view, &at]).await?;
    tx.commit().await?;
    if let Some(error) = misfit {
        warn!(
            view,
            "its unique index did not take its rows and is dropped, so readers wait for each of its refreshes from \
             now on: {}",
            describe(&error)
        );
    }
    Ok(Refresh { view: view.to_owned(), concurrently, took: begun.elapsed() })
}

/// Returns whether rows have equal values, or too long ones, in the columns of an index.
fn does_not_fit_its_index(error: &tokio_postgres::Error) -> bool {
    let codes =
        [SqlState::UNIQUE_VIOLATION, SqlState::CARDINALITY_VIOLATION, SqlState::PROGRAM_LIMIT_EXCEEDED];
    error.code().is_some_and(|code| codes.contains(code))
}

async fn drop_unique_indexes(tx: &Transaction<'_>, relation: &str) -> Result<(), PgError> {
    let sql = "select format('drop index %s', indexrelid::regclass) from pg_index \
               where indrelid = to_regclass($1) and indisunique";
    for row in tx.query(sql, &[&relation]).await? {
        tx.batch_execute(row.get(0)).await?;
    }
    Ok(())
}
