//! Upkeep behind the commits: folding the changes of stores, refreshing materialized views.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use deadpool_postgres::Transaction;
use tidegate_core::failpoint::Failpoint;
use tokio_postgres::error::SqlState;
use tracing::warn;

use super::super::error::describe;
use super::super::{Error, How, Postgres};
use super::Maintained;
use super::locks::savepoint;
use super::triggers::literal;

/// So many changes are left lying before they are folded.
const UNFOLDED_MAX: i64 = 20_000;

/// A refreshed view, and when its time comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The view.
    pub view: String,
    /// How long it is until then; zero if it has come.
    pub after: Duration,
}

/// A refresh that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The view.
    pub view: String,
    /// Whether its readers went on reading.
    pub concurrently: bool,
    /// How long it took.
    pub took: Duration,
}

impl Postgres {
    /// Folds the changes of the stores that have gathered many.
    pub(in crate::postgres) async fn fold_views(&self) -> Result<(), Error> {
        for view in self.inner.views.get().into_iter().flatten() {
            let count = format!("select count(*) from {}", view.table());
            let rows: i64 = self.connection().await?.query_one(&count, &[]).await?.get(0);
            if rows > view.folded.load(Ordering::Relaxed) * 2 + UNFOLDED_MAX {
                self.fold(view).await?;
            }
        }
        Ok(())
    }

    /// Folds all changes that are seen, however few they are.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    #[cfg(feature = "testing")]
    pub async fn fold_all_views(&self) -> Result<(), Error> {
        for view in self.inner.views.get().into_iter().flatten() {
            self.fold(view).await?;
        }
        Ok(())
    }

    async fn fold(&self, view: &Maintained) -> Result<(), Error> {
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        end_with_us(&tx).await?;
        let lock = "select pg_try_advisory_xact_lock(hashtext('tidegate.fold'), hashtext($1))";
        if !tx.query_one(lock, &[&view.table()]).await?.get::<_, bool>(0) {
            return Ok(()); // somebody else folds it
        }
        let rows = tx.execute(&view.store.fold(), &[]).await?;
        Failpoint::ViewFolded.pass()?;
        tx.commit().await?;
        view.folded.store(i64::try_from(rows).unwrap_or(i64::MAX), Ordering::Relaxed);
        Ok(())
    }

    /// When each materialized view is to be refreshed, each behind those that it reads.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked, or no pipeline has run in it.
    pub async fn due_views(&self) -> Result<Vec<Due>, Error> {
        let connection = self.prepared_connection().await?;
        let rows = connection.query(include_str!("../../../../sql/queries/due_views.sql"), &[]).await?;
        let due = rows.iter().map(|row| Due {
            view: row.get(0),
            after: Duration::try_from_secs_f64(row.get(1)).unwrap_or_default(),
        });
        Ok(due.collect())
    }

    /// Refreshes a materialized view now. It takes no lease: it reads what is committed and changes no other rows, so
    /// whoever does it, a run that was taken over even, can make it newer, and nothing wrong. Two do not refresh
    /// the same view at once: the second waits.
    ///
    /// # Errors
    ///
    /// If there is no such materialized view, or its query fails.
    pub async fn refresh_view(&self, view: &str) -> Result<Refreshed, Error> {
        let mut connection = self.own_connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        end_with_us(&tx).await?;
        let lock = "select pg_advisory_xact_lock(hashtext('tidegate.refresh'), hashtext($1))";
        tx.execute(lock, &[&view]).await?;
        let begun = std::time::Instant::now();
        let row = tx.query_opt(include_str!("../../../../sql/queries/view_to_refresh.sql"), &[&view]).await?;
        let Some(row) = row else {
            return Err(Error::halt(format!("there is no view '{view}' that is refreshed")));
        };
        let (relation, mut concurrently): (String, bool) = (row.get("relation"), row.get("concurrently"));
        let refresh = Refresh { view, relation, owned: row.get("owned") };
        // Before its snapshot is taken, so that it is never said to be newer than it is.
        let at: SystemTime = row.get("now");
        let of_view = |error: tokio_postgres::Error| {
            Error::halt(format!("view '{view}' cannot be refreshed: {}", describe(&error)))
        };
        let mut misfit = None;
        if concurrently && let Some(error) = savepoint(&tx, &refresh.statement(true, false)).await? {
            if !does_not_fit_its_index(&error) {
                return Err(of_view(error));
            }
            concurrently = false;
            misfit = Some(error);
        }
        if !concurrently {
            // Whoever comes to read it would wait behind us.
            tx.batch_execute("set local lock_timeout = '2s'").await?;
            let drop_indexes = misfit.is_some();
            if drop_indexes && refresh.owned {
                drop_unique_indexes(&tx, &refresh.relation).await?;
            }
            if let Some(error) = savepoint(&tx, &refresh.statement(false, drop_indexes)).await? {
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
        Ok(Refreshed { view: view.to_owned(), concurrently, took: begun.elapsed() })
    }
}

/// A materialized view that is refreshed. Only an owner may: for others a function does that runs as the owner.
struct Refresh<'a> {
    view: &'a str,
    /// As SQL names it.
    relation: String,
    owned: bool,
}

impl Refresh<'_> {
    /// The statement that does it. Where the view is our own, whoever calls drops indexes himself.
    fn statement(&self, concurrently: bool, drop_indexes: bool) -> String {
        if self.owned {
            let how = if concurrently { "concurrently " } else { "" };
            return format!("refresh materialized view {how}{}", self.relation);
        }
        format!("select tidegate.refresh_view({}, {concurrently}, {drop_indexes})", literal(self.view))
    }
}

/// Whether rows have the same values, or too long ones, in the columns of an index.
fn does_not_fit_its_index(error: &tokio_postgres::Error) -> bool {
    let codes =
        [SqlState::UNIQUE_VIOLATION, SqlState::CARDINALITY_VIOLATION, SqlState::PROGRAM_LIMIT_EXCEEDED];
    error.code().is_some_and(|code| codes.contains(code))
}

async fn drop_unique_indexes(tx: &Transaction<'_>, relation: &str) -> Result<(), Error> {
    let sql = "select format('drop index %s', indexrelid::regclass) from pg_index \
               where indrelid = to_regclass($1) and indisunique";
    for row in tx.query(sql, &[&relation]).await? {
        tx.batch_execute(row.get(0)).await?;
    }
    Ok(())
}

/// Lets a transaction and its statements take their time, whatever the role's timeouts, and end when we are gone: else
/// Postgres would go on with them, locks in hand, until it has something to send.
pub(in crate::postgres) async fn end_with_us(tx: &Transaction<'_>) -> Result<(), Error> {
    tx.query(include_str!("../../../../sql/queries/take_time.sql"), &[]).await?;
    // Not every platform of the server can.
    savepoint(tx, "set local client_connection_check_interval = '1s'").await?;
    Ok(())
}
