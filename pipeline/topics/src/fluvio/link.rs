//! One connection, to a cluster's controller or to one of its SPUs.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fluvio::dataplane::api::Request;
use fluvio_socket::{ClientConfig, MultiplexerSocket, VersionedSerialSocket};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::TopicError;

/// How long opening a connection may take.
const OPEN_LIMIT: Duration = Duration::from_secs(3);

/// Why a connection, or a request on it, failed.
#[derive(Debug)]
pub(super) struct LinkFailure(pub(super) String);

impl<E: std::error::Error> From<E> for LinkFailure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for LinkFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A connection. After a failure its state is unknown, and its owner drops it.
pub(super) struct Link {
    pub(super) socket: VersionedSerialSocket,
    peer: String,
}

impl Link {
    /// Connects, and asks the peer for the versions of the protocol that it speaks.
    pub(super) async fn open(config: ClientConfig) -> Result<Arc<Self>, LinkFailure> {
        let peer = config.addr().to_owned();
        // In a task of its own, as requests are: a caller that gives up half-way leaves no half-open connection.
        let connecting = tokio::spawn(timeout(OPEN_LIMIT, config.connect()));
        match connecting.await {
            Ok(Ok(Ok(connected))) => {
                let (socket, config, versions) = connected.split();
                let socket = VersionedSerialSocket::new(MultiplexerSocket::shared(socket), config, versions);
                Ok(Arc::new(Self { socket, peer }))
            }
            Ok(Ok(Err(error))) => Err(LinkFailure(format!("{peer} cannot be reached: {error}"))),
            Ok(Err(_)) => {
                Err(LinkFailure(format!("{peer} did not answer within {} s", OPEN_LIMIT.as_secs())))
            }
            Err(error) => Err(LinkFailure(format!("connecting to {peer} failed: {error}"))),
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// If the caller gives up, the request continues in a task of its own: half a request would spoil the connection
    /// for later requests.
    pub(super) async fn call<R>(
        self: &Arc<Self>,
        request: R,
        limit: Duration,
    ) -> Result<R::Response, LinkFailure>
    where
        R: Request + Send + Sync + 'static,
        R::Response: Send + 'static,
    {
        let link = Arc::clone(self);
        let call = tokio::spawn(async move { timeout(limit, link.socket.send_receive(request)).await });
        match call.await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(error))) => Err(LinkFailure(format!("{} broke off: {error}", self.peer))),
            Ok(Err(_)) => {
                Err(LinkFailure(format!("{} did not answer within {} s", self.peer, limit.as_secs())))
            }
            Err(error) => Err(LinkFailure(format!("a request to {} failed: {error}", self.peer))),
        }
    }

    /// Whether the connection is known to be closed.
    pub(super) fn is_closed(&self) -> bool {
        self.socket.is_stale()
    }
}

/// A connection that requests share. The first request opens it, as does the next one after it was dropped or closed.
#[derive(Default)]
pub(super) struct SharedLink(Mutex<Option<Arc<Link>>>);

impl SharedLink {
    /// The connection. `open` opens it if it is missing.
    pub(super) async fn get(
        &self,
        open: impl Future<Output = Result<Arc<Link>, TopicError>>,
    ) -> Result<Arc<Link>, TopicError> {
        let mut shared = self.0.lock().await;
        match shared.as_ref().filter(|link| !link.is_closed()) {
            Some(link) => Ok(Arc::clone(link)),
            None => Ok(Arc::clone(shared.insert(open.await?))),
        }
    }

    /// Passes an answer on. After a failure the connection is dropped.
    pub(super) async fn answered<A>(&self, answer: Result<A, LinkFailure>) -> Result<A, LinkFailure> {
        if answer.is_err() {
            *self.0.lock().await = None;
        }
        answer
    }
}
