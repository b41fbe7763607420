//! One connection, to a cluster's controller or to one of its SPUs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fluvio::dataplane::api::Request;
use fluvio_socket::{ClientConfig, MultiplexerSocket, VersionedSerialSocket};
use tokio::time::timeout;

/// How long a connection may take to stand.
const OPEN_LIMIT: Duration = Duration::from_secs(3);

/// Why a connection, or a request on it, failed.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A connection. After a failure it is in an unknown state, and its owner drops it.
pub(super) struct Link {
    pub(super) socket: VersionedSerialSocket,
    peer: String,
}

impl Link {
    /// Connects, and asks the peer for the versions of the protocol that it speaks.
    pub(super) async fn open(config: ClientConfig) -> Result<Arc<Self>, Failure> {
        let peer = config.addr().to_owned();
        // A task of its own, as for requests: whoever gives up half-way leaves no half-open connection.
        let connecting = tokio::spawn(timeout(OPEN_LIMIT, config.connect()));
        match connecting.await {
            Ok(Ok(Ok(connected))) => {
                let (socket, config, versions) = connected.split();
                let socket = VersionedSerialSocket::new(MultiplexerSocket::shared(socket), config, versions);
                Ok(Arc::new(Self { socket, peer }))
            }
            Ok(Ok(Err(error))) => Err(Failure(format!("{peer} cannot be reached: {error}"))),
            Ok(Err(_)) => Err(Failure(format!("{peer} did not answer within {} s", OPEN_LIMIT.as_secs()))),
            Err(error) => Err(Failure(format!("connecting to {peer} failed: {error}"))),
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// It goes on as a task of its own if the caller gives up: half a request would spoil the connection for
    /// those that follow.
    pub(super) async fn call<R>(self: &Arc<Self>, request: R, limit: Duration) -> Result<R::Response, Failure>
    where
        R: Request + Send + Sync + 'static,
        R::Response: Send + 'static,
    {
        let link = Arc::clone(self);
        let call = tokio::spawn(async move { timeout(limit, link.socket.send_receive(request)).await });
        match call.await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(error))) => Err(Failure(format!("{} broke off: {error}", self.peer))),
            Ok(Err(_)) => Err(Failure(format!("{} did not answer within {} s", self.peer, limit.as_secs()))),
            Err(error) => Err(Failure(format!("a request to {} failed: {error}", self.peer))),
        }
    }

    /// Whether the connection is known to be closed.
    pub(super) fn is_closed(&self) -> bool {
        self.socket.is_stale()
    }
}
