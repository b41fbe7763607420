//! The encrypted stream, for `tokio_postgres`.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig};
use tokio_rustls::{TlsConnector, client};

use super::certificate;
use super::refusal::{TlsError, is_lasting};

/// The name of Postgres's protocol, for servers that speak several on one port.
pub(super) const ALPN: &[u8] = b"postgresql";

/// How far the handshake of a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Handshake {
    /// It was not begun: the connection is plain, or there is none.
    None,
    /// It was begun, and did not succeed.
    Failed,
    /// The connection is encrypted.
    Done,
}

/// Makes connections of one attempt encrypted, and remembers how far the last one came.
#[derive(Clone)]
pub(crate) struct MakeTls {
    /// `None` for an attempt that never encrypts.
    config: Option<Result<Arc<ClientConfig>, TlsError>>,
    negotiation: SslNegotiation,
    state: Arc<AtomicU8>,
}

impl MakeTls {
    /// Returns what never encrypts.
    pub(crate) fn none() -> Self {
        Self { config: None, negotiation: SslNegotiation::Postgres, state: Arc::default() }
    }

    /// Returns what encrypts by `config`. If that is an error, each connection fails with it.
    pub(crate) fn of(config: Result<Arc<ClientConfig>, TlsError>, negotiation: SslNegotiation) -> Self {
        Self { config: Some(config), negotiation, state: Arc::default() }
    }

    /// Returns how far the handshake of the last connection came.
    pub(crate) fn handshake(&self) -> Handshake {
        match self.state.load(Ordering::Relaxed) {
            state if state == Handshake::Done as u8 => Handshake::Done,
            state if state == Handshake::Failed as u8 => Handshake::Failed,
            _ => Handshake::None,
        }
    }

    fn set(&self, state: Handshake) {
        self.state.store(state as u8, Ordering::Relaxed);
    }
}

impl MakeTlsConnect<Socket> for MakeTls {
    type Stream = TlsStream;
    type TlsConnect = ConnectTls;
    type Error = TlsError;

    fn make_tls_connect(&mut self, host: &str) -> Result<ConnectTls, TlsError> {
        self.set(Handshake::None);
        let config = self.config.clone().transpose()?;
        // Only a name that is verified has to be one. In place of any other goes an address, which is not sent.
        let unnamed = ServerName::IpAddress(IpAddr::from(Ipv4Addr::UNSPECIFIED).into());
        let name = ServerName::try_from(host.to_owned()).unwrap_or(unnamed);
        Ok(ConnectTls { config, name, of: self.clone() })
    }
}

/// Makes one connection encrypted.
pub(crate) struct ConnectTls {
    config: Option<Arc<ClientConfig>>,
    name: ServerName<'static>,
    of: MakeTls,
}

impl TlsConnect<Socket> for ConnectTls {
    type Stream = TlsStream;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<TlsStream, Self::Error>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let Self { config, name, of } = self;
            of.set(Handshake::Failed);
            let config = config.ok_or("the connection was to be plain")?;
            let stream = TlsConnector::from(config).connect(name, socket).await.map_err(of_handshake)?;
            let is_direct = of.negotiation == SslNegotiation::Direct;
            if is_direct && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
                return Err(TlsError::NoAlpn.into());
            }
            of.set(Handshake::Done);
            Ok(TlsStream(stream))
        })
    }
}

/// Tells an error of TLS from one of the connection, which a retry may heal.
fn of_handshake(error: io::Error) -> Box<dyn Error + Send + Sync> {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(refused) if is_lasting(refused) => TlsError::Refused(refused.clone()).into(),
        _ => error.into(),
    }
}

/// An encrypted connection.
pub(crate) struct TlsStream(client::TlsStream<Socket>);

impl tokio_postgres::tls::TlsStream for TlsStream {
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates().unwrap_or_default();
        match certificates.first().and_then(|first| certificate::hash(first)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(context, buffer) {
            // A server that dies says no goodbye in TLS. The lengths of Postgres's messages tell whether one was cut.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
