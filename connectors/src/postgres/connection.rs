//! Connections: one pool, every connection set up alike.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::Config;

use super::Error;
use super::session::Sessions;
use super::watchdog::Watchdog;

const CONNECTIONS_MAX: usize = 8;
/// How many readers there may be at once, how long one waits for its turn, and how long a statement of theirs may take.
const READERS_MAX: usize = 3;
const READ_TURN_WITHIN: Duration = Duration::from_secs(10);
const READ_SESSION: &str = "-c default_transaction_read_only=on -c statement_timeout=30s";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A pool, and how its sessions are begun.
pub(super) type Connections = (Pool, Arc<Sessions>);

/// Opens a pool for `url`, a connection string as libpq takes it. Connects only when it is used.
pub(super) fn pool(url: &str) -> Result<Connections, Error> {
    open(url, "", CONNECTIONS_MAX, Duration::from_secs(60))
}

/// The same for who only reads, and is not to stand in anybody's way.
pub(super) fn pool_of_readers(url: &str) -> Result<Connections, Error> {
    open(url, READ_SESSION, READERS_MAX, READ_TURN_WITHIN)
}

fn open(
    url: &str,
    session: &'static str,
    connections_max: usize,
    turn_within: Duration,
) -> Result<Connections, Error> {
    let mut config = Config::from_str(url).map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Error::halt(format!("the database url cannot be read: {cause}; write postgres://user@host:5432/name"))
    })?;
    if matches!(config.get_ssl_mode(), tokio_postgres::config::SslMode::Require) {
        return Err(Error::halt(
            "sslmode=require is not supported yet; connect over a socket, loopback or a tunnel",
        ));
    }
    config.connect_timeout(CONNECT_TIMEOUT).keepalives_idle(Duration::from_secs(30));
    if config.get_application_name().is_none() {
        config.application_name("tidegate");
    }
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let sessions = Arc::new(Sessions::told(session));
    let manager = Manager::from_connect(config, Watchdog::over(sessions.clone()), recycling);
    let pool = Pool::builder(manager)
        .max_size(connections_max)
        .runtime(Runtime::Tokio1)
        .create_timeout(Some(CONNECT_TIMEOUT))
        .wait_timeout(Some(turn_within))
        .build()
        .map_err(|error| Error::halt(error.to_string()))?;
    Ok((pool, sessions))
}

/// A connection of a pool.
pub type Connection = Object;
