//! Leases: which process may commit what comes from a partition. A lease covers one stage and one partition.

use std::fmt;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use deadpool_postgres::{ClientWrapper, GenericClient, Transaction};
use tidegate_core::failpoint::Failpoint;
use tidegate_postgres::{Database, PgError, TransactionMode};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::statement::{self, Columns};
use crate::store::{Leases, Store};

/// How long another session's transaction may hold the leases while this process waits to acquire them.
const BLOCKED_MAX: Duration = Duration::from_secs(1);

/// The process that holds a lease.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// The name of its host.
    pub host: String,
    /// Its process number.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub started: f64,
}

impl Holder {
    /// Reads the columns `host`, `pid` and `started`.
    pub(super) fn of(row: &Row) -> Self {
        Self { host: row.get("host"), pid: row.number("pid") as u32, started: row.get("started") }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let started = SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(self.started).unwrap_or_default();
        let started = humantime::format_rfc3339_seconds(started);
        write!(f, "process {} on {}, started {started},", self.pid, self.host)
    }
}

fn named(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another process".to_owned(), ToString::to_string)
}

fn refused(holder: Option<&Holder>, lease: Duration) -> PgError {
    PgError::halt(format!(
        "{} runs this pipeline already; stop it, wait {} s if it is dead, or take over with 'tidegate run \
         --take-over'",
        named(holder),
        lease.as_secs()
    ))
}

/// Acquires the leases of this store for the duration `lease`, under the owner given to [`Store::new`]. With
/// `take_over`, leases that another owner still holds are acquired too; from then on that owner can commit nothing.
/// Fails if another owner holds one of them: the error names its process, host and start.
pub async fn acquire(store: &Store, me: &Holder, lease: Duration, take_over: bool) -> Result<(), PgError> {
    let mut connection = store.connection().await?;
    // The first look takes no lock, so that it does not disturb the transactions of the holder.
    let other = other_holder(store, &connection).await?;
    if let Some((other, true)) = &other
        && !take_over
    {
        return Err(refused(Some(other), lease));
    }
    let tx = store.begin(&mut connection, TransactionMode::Write).await?;
    let taken = take(store, &tx, &store.leases, me, lease, take_over).await?;
    if taken.len() < store.leases.len() {
        // Another process was faster.
        let other = other_holder(store, &tx).await?.map(|(other, _)| other);
        return Err(refused(other.as_ref(), lease));
    }
    // The pipeline is not shared any more, and offsets that readers store from now on may be of other topics.
    tx.batch_execute("update tidegate.pipeline set form = null where form is not null").await?;
    tx.commit().await?;
    if let Some((other, true)) = other {
        tracing::warn!("taken over from {other}");
    }
    Ok(Failpoint::LeasesTaken.pass()?)
}

/// Acquires every lease of `leases` that is free, expired or this owner's; with `take_over`, those of other owners
/// too. Returns the partitions now held. If another session's transaction holds the leases for longer than
/// [`BLOCKED_MAX`], that session is ended.
pub(super) async fn take(
    store: &Store,
    tx: &Transaction<'_>,
    Leases { stages, partitions }: &Leases,
    me: &Holder,
    lease: Duration,
    take_over: bool,
) -> Result<Vec<i32>, PgError> {
    let session: i32 = tx.query_one("select pg_backend_pid()", &[]).await?.get(0);
    let (pid, seconds) = (i64::from(me.pid), lease.as_secs_f64());
    let parameters: [&(dyn ToSql + Sync); 8] =
        [stages, partitions, &store.inner.owner, &me.host, &pid, &me.started, &seconds, &take_over];
    let sql = include_str!("../../../sql/queries/take_leases.sql");
    let mut taking = pin!(tx.query(sql, &parameters));
    let taken = loop {
        tokio::select! {
            taken = &mut taking => break taken?,
            () = tokio::time::sleep(BLOCKED_MAX) => end_sessions_before(store, session).await?,
        }
    };
    Ok(taken.iter().map(|row| row.get(0)).collect())
}

/// Returns the process of another owner that holds one of the leases or held it last, and whether its lease is still
/// valid.
async fn other_holder(store: &Store, client: &impl GenericClient) -> Result<Option<(Holder, bool)>, PgError> {
    let Leases { stages, partitions } = &*store.leases;
    let sql = include_str!("../../../sql/queries/lease_holder.sql");
    let row = client.query_opt(sql, &[stages, partitions, &store.inner.owner]).await?;
    Ok(row.map(|row| (Holder::of(&row), row.get("in_force"))))
}

/// Ends the sessions that hold the leases in a transaction while `session` waits for them. A process that hangs, or
/// whose machine is cut off, would otherwise keep the leases as long as its connection lives. If the role may not end
/// these sessions, `session` waits for them.
async fn end_sessions_before(database: &Database, session: i32) -> Result<(), PgError> {
    let sql = include_str!("../../../sql/queries/end_lease_holders.sql");
    match database.connection().await?.query(sql, &[&session]).await {
        Ok(ended) => ended.iter().for_each(|row| {
            let pid: i32 = row.get(0);
            tracing::warn!(pid, "ended a session that held the leases and did not go on");
        }),
        Err(error) => {
            tracing::warn!(
                "waiting for a session that holds the leases: {}",
                tidegate_postgres::error::describe(&error)
            );
        }
    }
    Ok(())
}

/// Renews the leases of this store for the duration `lease`. Fails if another process has taken them over: the error
/// names it.
pub async fn renew(store: &Store, lease: Duration) -> Result<(), PgError> {
    let Leases { stages, partitions } = &*store.leases;
    let connection = store.connection().await?;
    let sql = include_str!("../../../sql/queries/renew_leases.sql");
    let seconds = lease.as_secs_f64();
    let parameters: [&(dyn ToSql + Sync); 4] = [stages, partitions, &store.inner.owner, &seconds];
    let renewed = statement::query(&connection, sql, &parameters).await?;
    if renewed.len() == store.leases.len() { Ok(()) } else { Err(lease_lost(store, &connection).await?) }
}

/// Begins a transaction that holds the leases of this store to its end. If another process has taken them over, this
/// fails with [`PgError::LeaseLost`], so a process that was taken over commits nothing.
pub async fn fenced<'a>(
    store: &Store,
    connection: &'a mut ClientWrapper,
) -> Result<Transaction<'a>, PgError> {
    let Leases { stages, partitions } = &*store.leases;
    let tx = store.begin(connection, TransactionMode::Write).await?;
    let sql = include_str!("../../../sql/queries/hold_leases.sql");
    let held = statement::query(&tx, sql, &[stages, partitions, &store.inner.owner]).await?;
    if held.len() == store.leases.len() { Ok(tx) } else { Err(lease_lost(store, &tx).await?) }
}

async fn lease_lost(store: &Store, client: &impl GenericClient) -> Result<PgError, PgError> {
    let other = other_holder(store, client).await?;
    Ok(PgError::LeaseLost(named(other.map(|(other, _)| other).as_ref())))
}

/// Returns the process that has taken over a lease of this store, if one has.
pub async fn taken_by(store: &Store) -> Result<Option<Holder>, PgError> {
    let connection = store.connection().await?;
    let other = other_holder(store, &connection).await?;
    Ok(other.filter(|(_, in_force)| *in_force).map(|(other, _)| other))
}

/// Releases the leases, so that the next process need not wait until they expire.
pub async fn release(store: &Store) -> Result<(), PgError> {
    let sql = "update tidegate.leases set expires_at = '-infinity' where owner = $1";
    store.connection().await?.execute(sql, &[&store.inner.owner]).await?;
    Ok(())
}

/// Runs one statement in a transaction that holds the leases of this store. Returns the number of rows that it
/// changed.
pub(super) async fn execute(
    store: &Store,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<u64, PgError> {
    let mut connection = store.connection().await?;
    let tx = fenced(store, &mut connection).await?;
    let changed = tx.execute(sql, parameters).await?;
    tx.commit().await?;
    Ok(changed)
}
