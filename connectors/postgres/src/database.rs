//! A pipeline's database: one pool, in which every connection has the same settings, and the pipeline's manifest.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Transaction,
};
use tidegate_core::manifest::Manifest;
use tokio_postgres::Config;

use crate::connector::Connector;
use crate::error::PgError;
use crate::session::{Sessions, Setting, TransactionMode, end_with_us};
use crate::table::TableSql;
use crate::watchdog::Watchdog;

const CONNECTIONS_MAX: usize = 8;
const TURN_WITHIN: Duration = Duration::from_secs(60);
/// How many readers may run at once, how long a reader waits for a connection, and the settings of its session, which
/// limit how long a statement may take.
const READERS_MAX: usize = 3;
const READ_TURN_WITHIN: Duration = Duration::from_secs(10);
const READ_SETTINGS: [Setting; 2] = [("default_transaction_read_only", "on"), ("statement_timeout", "30s")];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection of a pool.
pub type Connection = Object;

/// A pipeline's database. Cheap to clone. Connects on first use.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    sessions: Arc<Sessions>,
    pub(crate) connector: Connector,
    /// How a session is begun.
    pub(crate) config: Arc<Config>,
    manifest: Arc<Manifest>,
    tables: Arc<[TableSql]>,
}

impl Database {
    /// Returns the database at `url`, a connection string of libpq's form, for the pipeline of `manifest`.
    ///
    /// # Errors
    ///
    /// If the url cannot be read, or a file with a certificate or a key that it names.
    pub fn new(url: &str, manifest: Arc<Manifest>) -> Result<Self, PgError> {
        Self::open(url, manifest, CONNECTIONS_MAX, TURN_WITHIN, &[])
    }

    /// Returns the same database behind a small read-only pool with a statement timeout, so that queries cannot
    /// starve the pipeline.
    ///
    /// # Errors
    ///
    /// As [`Database::new`].
    pub fn readers(&self, url: &str) -> Result<Self, PgError> {
        Self::open(url, self.manifest.clone(), READERS_MAX, READ_TURN_WITHIN, &READ_SETTINGS)
    }

    fn open(
        url: &str,
        manifest: Arc<Manifest>,
        connections_max: usize,
        turn_within: Duration,
        settings: &'static [Setting],
    ) -> Result<Self, PgError> {
        let connector = Connector::new(url)?;
        let mut config = connector.config().clone();
        config.connect_timeout(CONNECT_TIMEOUT).keepalives_idle(Duration::from_secs(30));
        if config.get_application_name().is_none() {
            config.application_name("tidegate");
        }
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let sessions = Arc::new(Sessions::told(settings));
        let watchdog = Watchdog::over(sessions.clone(), connector.clone());
        let manager = Manager::from_connect(config.clone(), watchdog, recycling);
        let pool = Pool::builder(manager)
            .max_size(connections_max)
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(CONNECT_TIMEOUT))
            .wait_timeout(Some(turn_within))
            .build()
            .map_err(|error| PgError::halt(error.to_string()))?;
        let tables = manifest.datasets.iter().map(TableSql::new).collect();
        Ok(Self { pool, sessions, connector, config: Arc::new(config), manifest, tables })
    }

    /// The manifest of the pipeline.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The tables of the datasets, in the manifest's order.
    pub fn tables(&self) -> &[TableSql] {
        &self.tables
    }

    /// Returns whether a pooler is known to stand between this process and the server.
    pub fn is_pooled(&self) -> bool {
        self.sessions.are_pooled()
    }

    /// Returns a warning, with what to do, if a connection so far crosses a network without encryption.
    pub fn unencrypted(&self) -> Option<String> {
        self.connector.unencrypted()
    }

    /// Takes a connection from the pool.
    ///
    /// # Errors
    ///
    /// If the pool has none in time, or Postgres cannot be reached.
    pub async fn connection(&self) -> Result<Connection, PgError> {
        self.pool.get().await.map_err(|error| PgError::Pool { server: self.connector.named(), error })
    }

    /// Takes a connection out of the pool, for statements that take long. Dropping the connection closes it. It is
    /// not returned to the pool, where it would still wait for the answer to a statement that was abandoned.
    pub async fn own_connection(&self) -> Result<ClientWrapper, PgError> {
        Ok(Object::take(self.connection().await?))
    }

    /// Begins a transaction in which texts and values are read and written by
    /// [`SESSION_SETTINGS`](crate::session::SESSION_SETTINGS). **Every statement that reads a text as a value, or
    /// writes a value as text, runs in such a transaction**: behind a pooler the settings of a session do not hold,
    /// only those of a transaction.
    pub async fn begin<'a>(
        &self,
        connection: &'a mut ClientWrapper,
        how: TransactionMode,
    ) -> Result<Transaction<'a>, PgError> {
        self.sessions.begin(connection, how).await
    }

    /// Begins a read-only transaction with one snapshot and without timeouts.
    pub async fn begin_snapshot<'a>(
        &self,
        connection: &'a mut ClientWrapper,
    ) -> Result<Transaction<'a>, PgError> {
        let tx = self.begin(connection, TransactionMode::Snapshot).await?;
        end_with_us(&tx).await?;
        Ok(tx)
    }
}
