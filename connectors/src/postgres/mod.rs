//! Postgres: registry, ledger and the sink; and a server of our own where none is given.
//!
//! # Layout
//!
//! * [`Postgres`]: the handle. [`Postgres::prepare`] brings a database to where a pipeline can run.
//! * `registry`: sources and their numbers, offsets. `requests`: those that enter with their lines.
//! * `shapes`: the names that their lines' fields have; `lacking`: columns that sources do not have.
//! * `tokens`: who may use the HTTP API.
//! * `leases`: who may commit; `group`: how instances of a stage share its partitions.
//! * `sink`: one delivery, one transaction. It reads as the design's section 6; the steps are in `batch`
//!   (records to rows), `pace` (how much at once), `ledger`, `references`, `cheap` (with `beside`) and `ordinary`
//!   (the two ways to write rows), `settle` (fates) and `letters` (dead letters).
//! * `heal`: waiting lines whose references came. [`moves`]: dead letters that somebody replays or discards.
//! * [`filter`]: which dead letters are meant. [`export`]: all of them, as a stream.
//! * [`inspect`]: what `check` finds out.
//! * `views`: metric views, kept up to date by the change alone.
//! * `session`: what texts mean in a session, whatever role, url or pooler say.
//! * [`table`]: the datasets' tables; `elsewhere`: those of an earlier version. [`report`]: what the commands show. [`trace`]: what is known of a line.
//! * [`verify`]: the audit of all of it. `snapshot`: all of it at one moment, for a backup; `refill`: and back.
//! * [`restores`]: restores that were asked for.
//! * [`private`]: a Postgres of our own, from the machine's binaries or fetched.

mod error;
mod session;
mod connection;
mod watchdog;
mod registry;
mod shapes;
mod lacking;
mod requests;
mod keyed;
mod receipts;
mod tokens;
mod leases;
mod group;
mod sink;
mod pace;
mod batch;
mod ledger;
mod references;
mod cheap;
mod beside;
mod ordinary;
mod letters;
mod settle;
mod heal;
pub mod filter;
pub mod export;
pub mod moves;
pub mod views;
pub mod table;
mod elsewhere;
pub mod report;
mod totals;
pub mod trace;
pub mod inspect;
pub mod verify;
pub(crate) mod snapshot;
pub(crate) mod refill;
pub mod restores;
pub mod reloads;

pub mod fetch;
pub mod private;
#[cfg(feature = "testing")]
pub mod testing;

use std::pin::pin;
use std::sync::{Arc, OnceLock};

use deadpool_postgres::{ClientWrapper, GenericClient, Object, Pool, Transaction};
use tidegate_core::dead_letter::Stage;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Manifest;
use tidegate_core::validate::Validator;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

pub use batch::Batch;
use cheap::SIGN_OF_LIFE;
pub use connection::Connection;
use connection::Connections;
pub use error::Error;
pub use group::{Member, Membership, Share};
pub use keyed::{Before, Keyed};
pub use leases::Holder;
use leases::Leases;
pub use receipts::{LineFate, Receipt};
pub use registry::{Registered, Registration, SourceKind};
pub use requests::{Answer, Incomplete, NewSource, Request, source_identity};
use session::{How, Sessions};
use table::TableSql;
pub use tokens::{Role, Token};
pub use totals::LedgerTotal;
use views::{Maintained, Step, View};

mod migrations {
    refinery::embed_migrations!("../sql/migrations");
}

/// The oldest server that works, as `server_version_num`: `session_replication_role` can be granted.
pub const SERVER_VERSION_MIN: i32 = 150_000;

/// A pipeline's database. Cheap to clone; connects when it is used.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
    /// The leases that every transaction which writes holds.
    leases: Arc<Leases>,
}

struct Inner {
    pool: Pool,
    sessions: Arc<Sessions>,
    manifest: Arc<Manifest>,
    tables: Vec<TableSql>,
    validators: Validators,
    owner: Uuid,
    views: OnceLock<Vec<Maintained>>,
    sink: sink::State,
    bells: moves::bells::Bells,
    shapes: shapes::Shapes,
}

/// The rules of each dataset, for both forms in which a dead letter keeps its line.
struct Validators {
    /// As the source gave it.
    as_given: Vec<Validator>,
    /// As the transform passed it on: what the sink itself set aside.
    canonical: Vec<Validator>,
}

impl Postgres {
    /// The database at `url` for the pipeline of `manifest`. `owner` is who holds leases: the identity of
    /// the data directory.
    ///
    /// # Errors
    ///
    /// If the url cannot be read.
    pub fn new(url: &str, manifest: Arc<Manifest>, owner: Uuid) -> Result<Self, Error> {
        Ok(Self::of(connection::pool(url)?, manifest, owner))
    }

    /// The same for who only reads: with few connections of its own, on which nothing may take long, so that many who
    /// look do not stand in the way of the pipeline.
    ///
    /// # Errors
    ///
    /// If the url cannot be read.
    pub fn readers(&self, url: &str) -> Result<Self, Error> {
        let Inner { manifest, owner, .. } = &*self.inner;
        Ok(Self::of(connection::pool_of_readers(url)?, manifest.clone(), *owner))
    }

    fn of((pool, sessions): Connections, manifest: Arc<Manifest>, owner: Uuid) -> Self {
        let inner = Inner {
            pool,
            sessions,
            tables: manifest.datasets.iter().map(TableSql::new).collect(),
            validators: Validators {
                as_given: manifest.datasets.iter().map(Validator::new).collect(),
                canonical: manifest.datasets.iter().map(Validator::canonical).collect(),
            },
            sink: sink::State::new(manifest.datasets.len()),
            shapes: shapes::Shapes::default(),
            manifest,
            owner,
            views: OnceLock::new(),
            bells: Default::default(),
        };
        let partitions: Vec<u32> = (0..inner.manifest.partitions()).collect();
        let leases = Leases::of(&Stage::ALL, &partitions);
        Self { inner: Arc::new(inner), leases: Arc::new(leases) }
    }

    /// The same database for who acts as one stage, for some partitions: transactions hold the leases of these, in
    /// place of all that the pipeline has.
    pub fn acting(&self, stage: Stage, partitions: &[u32]) -> Self {
        Self { inner: self.inner.clone(), leases: Arc::new(Leases::of(&[stage], partitions)) }
    }

    /// The manifest of the pipeline.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// A connection.
    ///
    /// # Errors
    ///
    /// If none can be had.
    pub async fn connection(&self) -> Result<Connection, Error> {
        Ok(self.inner.pool.get().await?)
    }

    /// Begins a transaction in which texts mean what they mean everywhere. **Every text that a statement reads as a value, or
    /// writes of one, is read and written in such a transaction**: behind a pooler nothing else is told.
    async fn begin<'a>(&self, connection: &'a mut ClientWrapper, how: How) -> Result<Transaction<'a>, Error> {
        self.inner.sessions.begin(connection, how).await
    }

    /// A connection for statements that take long. It goes with whoever drops it, and is not given back to wait
    /// for an answer that nobody wants any more.
    async fn own_connection(&self) -> Result<ClientWrapper, Error> {
        Ok(Object::take(self.connection().await?))
    }

    /// Brings Tidegate's own schema up to date, and makes the database this pipeline's. Gives the
    /// pipeline's identity there, which no other database has.
    ///
    /// # Errors
    ///
    /// If the server is too old, or the database is another pipeline's.
    pub async fn migrate(&self) -> Result<Uuid, Error> {
        let mut connection = self.connection().await?;
        let row = connection
            .query_one(
                "select current_setting('server_version_num')::integer, current_setting('server_encoding')",
                &[],
            )
            .await?;
        if row.get::<_, i32>(0) < SERVER_VERSION_MIN {
            return Err(Error::halt(
                "the server is older than Postgres 15, the first that Tidegate supports",
            ));
        }
        if row.get::<_, &str>(1) != "UTF8" {
            return Err(Error::halt("the database's encoding is not UTF8; create one with encoding 'UTF8'"));
        }
        // One process at a time. The lock is of a transaction: behind a pooler a session's would be given on.
        let mut locking = self.connection().await?;
        let lock = self.begin(&mut locking, How::Write).await?;
        views::end_with_us(&lock).await?;
        lock.batch_execute("select pg_advisory_xact_lock(hashtext('tidegate.migrate'))").await?;
        let mut migrating = pin!(self.migrate_locked(&mut connection));
        let migrated = loop {
            match tokio::time::timeout(SIGN_OF_LIFE, &mut migrating).await {
                Ok(migrated) => break migrated,
                Err(_) => lock.batch_execute("").await?, // else the watchdog would take this session for lost
            }
        };
        lock.commit().await?;
        migrated
    }

    async fn migrate_locked(&self, connection: &mut Connection) -> Result<Uuid, Error> {
        if !is_up_to_date(connection).await? {
            let takes_time = !self.inner.sessions.are_pooled();
            if takes_time {
                // A migration may rewrite or index what has grown, and no setting of a role is made for that.
                connection.batch_execute("set statement_timeout = 0").await?;
            }
            bring_up_to_date(connection).await?;
            if takes_time {
                connection.batch_execute("reset statement_timeout").await?;
            }
        }
        let name = &self.inner.manifest.pipeline;
        let sql = "insert into tidegate.pipeline (name) values ($1) on conflict do nothing";
        connection.execute(sql, &[name]).await?;
        let row = connection.query_one("select name, identity from tidegate.pipeline", &[]).await?;
        let found: String = row.get(0);
        if found != *name {
            return Err(Error::halt(format!(
                "the database holds the pipeline '{found}', the manifest is of '{name}'; a database holds one \
                 pipeline: use another database"
            )));
        }
        Failpoint::DatabaseMigrated.pass()?;
        Ok(row.get(1))
    }

    /// The pipeline's identity, if [`Postgres::migrate`] has given it one.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn identity(&self) -> Result<Option<Uuid>, Error> {
        let connection = self.connection().await?;
        let row = connection.query_one("select to_regclass('tidegate.pipeline') is not null", &[]).await?;
        if !row.get::<_, bool>(0) {
            return Ok(None);
        }
        let row = connection.query_opt("select identity from tidegate.pipeline", &[]).await?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Brings tables and views to where the pipeline can run, behind [`Postgres::migrate`]; does nothing where
    /// all is there. Only who holds the pipeline's leases may: another's views must not change under it.
    ///
    /// # Errors
    ///
    /// If a table does not fit, or a view cannot be made.
    pub async fn prepare(&self, views: &[View]) -> Result<(), Error> {
        self.apply_views(views, false).await?;
        Ok(())
    }

    /// As [`Postgres::prepare`], for an instance that shares the pipeline with others, in the form that all of them
    /// have ([`Postgres::join`]): whoever comes first does it.
    ///
    /// # Errors
    ///
    /// Also if the pipeline runs in another form by now.
    pub async fn prepare_together(&self, form: &str, views: &[View]) -> Result<(), Error> {
        let mut connection = self.own_connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        tx.batch_execute("select pg_advisory_xact_lock(hashtext('tidegate.prepare'))").await?;
        group::assert_form(&tx, form).await?;
        self.apply_in(tx, views, false).await?;
        Ok(())
    }

    /// As [`Postgres::prepare`], and says what was done to the views. What others have built on a view that has
    /// to be dropped is dropped along if `cascade`.
    ///
    /// # Errors
    ///
    /// If a table does not fit, a view cannot be made, or others depend on one that has to go.
    pub async fn apply_views(&self, views: &[View], cascade: bool) -> Result<Vec<Step>, Error> {
        let mut connection = self.own_connection().await?;
        let tx = self.fenced(&mut connection).await?;
        self.apply_in(tx, views, cascade).await
    }

    async fn apply_in(&self, tx: Transaction<'_>, views: &[View], cascade: bool) -> Result<Vec<Step>, Error> {
        views::end_with_us(&tx).await?;
        table::ensure(&tx, &self.inner.manifest).await?;
        self.adopt_shapes(&tx).await?;
        let options = views::Options { cascade };
        let (steps, maintained) = views::apply(&tx, &self.inner.manifest, views, options).await?;
        Failpoint::TablesPrepared.pass()?;
        tx.commit().await?;
        self.inner.views.get_or_init(|| maintained);
        Ok(steps)
    }

    fn maintained(&self, dataset: usize) -> impl Iterator<Item = &Maintained> {
        self.inner.views.get().into_iter().flatten().filter(move |view| view.dataset == dataset)
    }
}

/// Whether Tidegate's schema is as this version needs it. Nobody then needs a right to change it.
async fn is_up_to_date(client: &impl GenericClient) -> Result<bool, Error> {
    let there = "select to_regclass('tidegate.migrations') is not null";
    if !client.query_one(there, &[]).await?.get::<_, bool>(0) {
        return Ok(false);
    }
    let rows =
        client.query("select version, checksum from tidegate.migrations order by version", &[]).await?;
    let applied: Vec<(i64, String)> =
        rows.iter().map(|row| (i64::from(row.get::<_, i32>(0)), row.get(1))).collect();
    let mut known: Vec<(i64, String)> = migrations::migrations::runner()
        .get_migrations()
        .iter()
        .map(|migration| (i64::from(migration.version()), migration.checksum().to_string()))
        .collect();
    known.sort_unstable();
    Ok(applied == known)
}

async fn bring_up_to_date(connection: &mut Connection) -> Result<(), Error> {
    let there = "select to_regnamespace('tidegate') is not null";
    if !connection.query_one(there, &[]).await?.get::<_, bool>(0) {
        connection.batch_execute("create schema if not exists tidegate").await?;
    }
    migrations::migrations::runner()
        .set_migration_table_name("tidegate.migrations")
        .run_async(&mut ***connection)
        .await
        .map(drop)
        .map_err(|error| {
            // Its own text keeps to itself what Postgres says.
            let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
            let said: Option<&tokio_postgres::Error> = causes.filter_map(|cause| cause.downcast_ref()).next();
            let what = said.map_or_else(|| error.to_string(), error::describe);
            let advice = match said.and_then(|said| said.code()) {
                Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                    "; start once as the role that made it and owns it, others may go on then"
                }
                _ => "",
            };
            Error::halt(format!("Tidegate's schema cannot be brought up to date: {what}{advice}"))
        })
}
