//! Leases: who may commit what comes from a partition. A lease is of a stage and a partition.

use std::fmt;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use deadpool_postgres::{ClientWrapper, GenericClient, Transaction};
use tidegate_core::dead_letter::Stage;
use tidegate_core::failpoint::Failpoint;
use tokio_postgres::types::ToSql;

use super::{Error, How, Postgres};

/// How long the leases may be held in another's transaction while they are to be taken.
const BLOCKED_MAX: Duration = Duration::from_secs(1);

/// Leases by their names, as two columns.
#[derive(Clone, Debug)]
pub(super) struct Leases {
    stages: Vec<&'static str>,
    partitions: Vec<i32>,
}

impl Leases {
    /// Those of each of the stages for each of the partitions.
    pub(super) fn of(stages: &[Stage], partitions: &[u32]) -> Self {
        let each = stages.iter().flat_map(|stage| partitions.iter().map(|p| (stage.as_str(), *p as i32)));
        let (stages, partitions) = each.unzip();
        Self { stages, partitions }
    }

    fn len(&self) -> usize {
        self.stages.len()
    }
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When it started, in seconds since 1970.
    pub started: f64,
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

fn refused(holder: Option<&Holder>, lease: Duration) -> Error {
    Error::halt(format!(
        "{} runs this pipeline already; stop it, wait {} s if it is dead, or take over with 'tidegate run \
         --take-over'",
        named(holder),
        lease.as_secs()
    ))
}

impl Postgres {
    /// Takes the leases of this handle, for as long as `lease`, under the identity given to [`Postgres::new`]. With
    /// `take_over` also those that another owner still has; from then on it can commit nothing.
    ///
    /// # Errors
    ///
    /// If another owner has one of them, with who and since when; or Postgres cannot be asked.
    pub async fn lease(&self, me: &Holder, lease: Duration, take_over: bool) -> Result<(), Error> {
        let mut connection = self.connection().await?;
        // Asked first, without a lock: who holds them is not disturbed in its transaction.
        let other = self.other_holder(&connection).await?;
        if let Some((other, true)) = &other
            && !take_over
        {
            return Err(refused(Some(other), lease));
        }
        let tx = self.begin(&mut connection, How::Write).await?;
        let taken = self.take(&tx, &self.leases, me, (lease, take_over)).await?;
        if taken.len() < self.leases.len() {
            // Somebody was faster.
            let other = self.other_holder(&tx).await?.map(|(other, _)| other);
            return Err(refused(other.as_ref(), lease));
        }
        // Nobody shares it now, and what readers note from now on may be of other topics.
        tx.batch_execute("update tidegate.pipeline set form = null where form is not null").await?;
        tx.commit().await?;
        if let Some((other, true)) = other {
            tracing::warn!("taken over from {other}");
        }
        Ok(Failpoint::LeasesTaken.pass()?)
    }

    /// Takes `leases`, as far as no other owner's are in force, and those too with `take_over`. Gives the partitions
    /// of those held now.
    pub(super) async fn take(
        &self,
        tx: &Transaction<'_>,
        Leases { stages, partitions }: &Leases,
        me: &Holder,
        (lease, take_over): (Duration, bool),
    ) -> Result<Vec<i32>, Error> {
        let session: i32 = tx.query_one("select pg_backend_pid()", &[]).await?.get(0);
        let (pid, seconds) = (i64::from(me.pid), lease.as_secs_f64());
        let parameters: [&(dyn ToSql + Sync); 8] =
            [stages, partitions, &self.inner.owner, &me.host, &pid, &me.started, &seconds, &take_over];
        let sql = include_str!("../../../sql/queries/take_leases.sql");
        let mut taking = pin!(tx.query(sql, &parameters));
        let taken = loop {
            tokio::select! {
                taken = &mut taking => break taken?,
                () = tokio::time::sleep(BLOCKED_MAX) => self.end_sessions_before(session).await?,
            }
        };
        Ok(taken.iter().map(|row| row.get(0)).collect())
    }

    /// Who else holds one of the leases or was the last to, and whether it is still in force.
    async fn other_holder(&self, client: &impl GenericClient) -> Result<Option<(Holder, bool)>, Error> {
        let Leases { stages, partitions } = &*self.leases;
        let sql = include_str!("../../../sql/queries/lease_holder.sql");
        let row = client.query_opt(sql, &[stages, partitions, &self.inner.owner]).await?;
        Ok(row.map(|row| {
            let holder = Holder {
                host: row.get("host"),
                pid: row.get::<_, i64>("pid") as u32,
                started: row.get("started"),
            };
            (holder, row.get("in_force"))
        }))
    }

    /// Ends the sessions that hold the leases in a transaction while `session` waits for them. A process that
    /// hangs, or whose machine is cut off, would otherwise keep them as long as its connection lives.
    /// Where the right to do so is lacking, they are waited for.
    async fn end_sessions_before(&self, session: i32) -> Result<(), Error> {
        let sql = include_str!("../../../sql/queries/end_lease_holders.sql");
        match self.connection().await?.query(sql, &[&session]).await {
            Ok(ended) => ended.iter().for_each(|row| {
                let pid: i32 = row.get(0);
                tracing::warn!(pid, "ended a session that held the leases and did not go on");
            }),
            Err(error) => {
                tracing::warn!(
                    "waiting for a session that holds the leases: {}",
                    super::error::describe(&error)
                );
            }
        }
        Ok(())
    }

    /// Renews the leases of this handle.
    ///
    /// # Errors
    ///
    /// If another process has taken them over, with who; or Postgres cannot be asked.
    pub async fn renew(&self, lease: Duration) -> Result<(), Error> {
        let Leases { stages, partitions } = &*self.leases;
        let connection = self.connection().await?;
        let sql = include_str!("../../../sql/queries/renew_leases.sql");
        let seconds = lease.as_secs_f64();
        let renewed = connection.query(sql, &[stages, partitions, &self.inner.owner, &seconds]).await?;
        if renewed.len() == self.leases.len() { Ok(()) } else { Err(self.lease_lost(&connection).await?) }
    }

    /// Begins a transaction that holds the leases of this handle to its end, so that a process that was taken
    /// over commits nothing, whatever it commits.
    pub(super) async fn fenced<'a>(
        &self,
        connection: &'a mut ClientWrapper,
    ) -> Result<Transaction<'a>, Error> {
        let Leases { stages, partitions } = &*self.leases;
        let tx = self.begin(connection, How::Write).await?;
        let statement = tx.prepare_cached(include_str!("../../../sql/queries/hold_leases.sql")).await?;
        let held = tx.query(&statement, &[stages, partitions, &self.inner.owner]).await?;
        if held.len() == self.leases.len() { Ok(tx) } else { Err(self.lease_lost(&tx).await?) }
    }

    async fn lease_lost(&self, client: &impl GenericClient) -> Result<Error, Error> {
        let other = self.other_holder(client).await?;
        Ok(Error::LeaseLost(named(other.map(|(other, _)| other).as_ref())))
    }

    /// Who has taken over a lease of this handle, if somebody has.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn taken_by(&self) -> Result<Option<Holder>, Error> {
        let connection = self.connection().await?;
        let other = self.other_holder(&connection).await?;
        Ok(other.filter(|(_, in_force)| *in_force).map(|(other, _)| other))
    }

    /// Gives the leases back, so that whoever comes next need not wait.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn release(&self) -> Result<(), Error> {
        let sql = "update tidegate.leases set expires_at = '-infinity' where owner = $1";
        self.connection().await?.execute(sql, &[&self.inner.owner]).await?;
        Ok(())
    }
}
