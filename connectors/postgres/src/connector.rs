//! Opens sessions: the servers of a connection string one after the other, each plain or encrypted as its `sslmode`
//! says.
//!
//! Every session of a process is opened here: those of the pools, the watchdog's, and the one that listens. Migrations
//! run in a session of the pool.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio_postgres::config::SslMode as Attempt;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tracing::{debug, warn};

use crate::address::{Address, Server};
use crate::error::{PgError, describe, is_of_pg_hba};
use crate::tls::{Handshake, MakeTls, SslMode, TlsStream};

/// The classes of SQLSTATE with which a server, or a pooler, refuses a session before it is open. Without TLS, or with
/// it, there may be another answer.
const REFUSALS: [&str; 2] = ["08", "28"];

/// Opens sessions at the servers of a connection string.
#[derive(Clone)]
pub(crate) struct Connector {
    address: Arc<Address>,
    seen: Arc<Seen>,
}

/// How the sessions so far were opened.
#[derive(Default)]
struct Seen {
    is_encrypted: AtomicBool,
    /// The first server to which a plain connection crosses a network.
    plain: OnceLock<String>,
}

impl Connector {
    /// Reads a connection string and the certificates that it names.
    ///
    /// # Errors
    ///
    /// If the string cannot be read, or a file of it cannot be used.
    pub(crate) fn new(url: &str) -> Result<Self, PgError> {
        let address = Address::parse(url)?;
        if address.tls.mode != SslMode::Disable && address.servers.iter().any(|server| !server.is_socket()) {
            let files = address.tls.handshake();
            files.map_err(|fault| {
                PgError::halt(format!("the database url of {}: {fault}", address.named()))
            })?;
        }
        Ok(Self { address: Arc::new(address), seen: Arc::default() })
    }

    /// How a session is begun, without the servers and TLS.
    pub(crate) fn config(&self) -> &Config {
        &self.address.config
    }

    /// The servers, for messages.
    pub(crate) fn named(&self) -> String {
        self.address.named()
    }

    /// Returns what to do about a connection that crosses a network without encryption; `None` if none does so far.
    pub(crate) fn unencrypted(&self) -> Option<String> {
        let server = self.seen.plain.get()?;
        let why = match self.address.tls.mode {
            SslMode::Disable => "sslmode=disable says so",
            SslMode::Allow => "sslmode=allow tries that first",
            _ => "the server offers no TLS, or lets nobody in by it",
        };
        Some(format!(
            "the connection to {server} crosses a network without encryption ({why}): where the server has TLS, write \
             sslmode=require in the database's url, or better sslmode=verify-full with sslrootcert"
        ))
    }

    /// Opens a session at the first server that lets this process in.
    pub(crate) async fn open(
        &self,
        config: &Config,
    ) -> Result<(Client, Connection<Socket, TlsStream>), Error> {
        let mut servers: Vec<&Server> = self.address.servers.iter().collect();
        if config.get_load_balance_hosts() == tokio_postgres::config::LoadBalanceHosts::Random {
            servers.sort_by_cached_key(|_| uuid::Uuid::new_v4());
        }
        let (last, others) = servers.split_last().expect("an address names at least one server");
        for server in others {
            match self.open_at(server, config).await {
                Err(error) => debug!("no session at {server}: {}", describe(&error)),
                opened => return opened,
            }
        }
        self.open_at(last, config).await
    }

    /// Opens a session at one server, by the attempts that its `sslmode` allows.
    async fn open_at(
        &self,
        server: &Server,
        config: &Config,
    ) -> Result<(Client, Connection<Socket, TlsStream>), Error> {
        let config = server.at(config);
        let mode = if server.is_socket() { SslMode::Disable } else { self.address.tls.mode };
        let first = match mode {
            SslMode::Disable | SslMode::Allow => Attempt::Disable,
            SslMode::Prefer => Attempt::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Attempt::Require,
        };
        let (opened, handshake) = self.attempt(&config, first).await;
        let error = match opened {
            Ok(session) => return Ok(self.note(server, handshake, session).await),
            Err(error) => error,
        };
        let Some(second) = second_attempt(mode, handshake, &error) else { return Err(error) };
        let (opened, again) = self.attempt(&config, second).await;
        match opened {
            Ok(session) => {
                debug!("a session at {server} took a second attempt: {}", describe(&error));
                Ok(self.note(server, again, session).await)
            }
            Err(second_error) => {
                let (told, other) = more_telling((error, handshake), (second_error, again));
                debug!("a session at {server} took two attempts; the other: {}", describe(&other));
                Err(told)
            }
        }
    }

    async fn attempt(
        &self,
        config: &Config,
        attempt: Attempt,
    ) -> (Result<(Client, Connection<Socket, TlsStream>), Error>, Handshake) {
        let options = &self.address.tls;
        let mut config = config.clone();
        config.ssl_mode(attempt).channel_binding(options.channel_binding);
        let tls = match attempt {
            Attempt::Disable => MakeTls::none(),
            _ => {
                config.ssl_negotiation(options.negotiation);
                MakeTls::of(options.handshake(), options.negotiation)
            }
        };
        let opened = config.connect(tls.clone()).await;
        (opened, tls.handshake())
    }

    /// Remembers whether a session is encrypted.
    async fn note<S>(&self, server: &Server, handshake: Handshake, session: S) -> S {
        if handshake == Handshake::Done {
            self.seen.is_encrypted.store(true, Ordering::Relaxed);
        } else if self.seen.plain.get().is_none()
            && server.is_remote().await
            && self.seen.plain.set(server.to_string()).is_ok()
            && self.seen.is_encrypted.load(Ordering::Relaxed)
        {
            // Those before were encrypted, so nothing was said at the start.
            warn!("{}", self.unencrypted().unwrap_or_default());
        }
        session
    }
}

/// Returns the second attempt that `sslmode` allows after the first one failed. As in libpq, a server that cannot be
/// reached is not tried in another way.
fn second_attempt(mode: SslMode, handshake: Handshake, error: &Error) -> Option<Attempt> {
    let is_refused = error.code().is_some_and(|state| REFUSALS.contains(&&state.code()[..2]));
    match (mode, handshake) {
        (SslMode::Allow, Handshake::None) if is_refused => Some(Attempt::Require),
        (SslMode::Prefer, Handshake::Failed) => Some(Attempt::Disable),
        (SslMode::Prefer, Handshake::Done) if is_refused => Some(Attempt::Disable),
        _ => None,
    }
}

/// Returns, of the errors of two attempts, first the one that says more. That `pg_hba.conf` has no line for plain
/// connections says nothing about a password that was wrong in TLS.
fn more_telling(one: (Error, Handshake), other: (Error, Handshake)) -> (Error, Error) {
    let weight = |(error, handshake): &(Error, Handshake)| match (error.code().is_some(), handshake) {
        (true, _) if !is_of_pg_hba(error) => 3,
        (true, Handshake::Done) | (false, Handshake::Failed) => 2,
        (true, _) => 1,
        // Such as a server without TLS.
        (false, _) => 0,
    };
    if weight(&other) > weight(&one) { (other.0, one.0) } else { (one.0, other.0) }
}
