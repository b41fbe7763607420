//! Sockets, encryption, and limits of connections.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_core::manifest::{Http, HttpTls};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::Failure;

/// How long a client may take for its handshake, to begin, and for the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long nothing may be taken of an answer before its client is given up.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// How large the head of a request may be, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
/// How many requests one connection may have at once, with HTTP/2.
const STREAMS_MAX: u32 = 64;
/// How long requests that have begun may take when the server stops.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How long nothing is accepted after accepting has failed: too many files are open, for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that is listened on.
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    connections: Arc<Semaphore>,
}

impl Listener {
    /// Listens as the manifest says. Paths are relative to its `folder`.
    pub(super) async fn bind(http: &Http, folder: &Path) -> Result<Self, Failure> {
        let listen = &http.listen;
        let socket = TcpListener::bind(listen).await.map_err(|error| {
            Failure::new(format!(
                "cannot listen on '{listen}': {error}; choose another 'http.listen' in the manifest"
            ))
        })?;
        let tls = http.tls.as_ref().map(|tls| acceptor(tls, folder)).transpose()?;
        let address = socket.local_addr()?;
        let connections = Arc::new(Semaphore::new(http.max_connections as usize));
        Ok(Self { socket, address, tls, connections })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its addresses begin with.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Serves until it is stopped; then requests that have begun may end, for a while.
    pub(super) async fn serve(self, router: Router, stop: CancellationToken) {
        let graceful = GracefulShutdown::new();
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(Duration::from_secs(20)))
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .max_concurrent_streams(STREAMS_MAX);
        let builder = Arc::new(builder);
        loop {
            // Who is too many waits in the system's queue.
            let free = tokio::select! {
                free = self.connections.clone().acquire_owned() => free,
                () = stop.cancelled() => break,
            };
            let Ok(free) = free else { break };
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!("a connection was not accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let (tls, router, builder) = (self.tls.clone(), router.clone(), builder.clone());
            let watcher = graceful.watcher();
            tokio::spawn(async move {
                let _free = free;
                match tls {
                    None => connection(&builder, watcher, stream, router).await,
                    Some(tls) => match tokio::time::timeout(HEAD_WITHIN, tls.accept(stream)).await {
                        Ok(Ok(stream)) => connection(&builder, watcher, stream, router).await,
                        _ => debug!("a handshake failed"),
                    },
                }
            });
        }
        if tokio::time::timeout(END_WITHIN, graceful.shutdown()).await.is_err() {
            warn!("stopped while requests were going on");
        }
    }
}

async fn connection(
    builder: &Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    router: Router,
) {
    let stream = Patient { stream, silent: Some(Box::pin(sleep(HEAD_WITHIN))), stuck: None };
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        debug!("a connection ended: {error}");
    }
}

/// A connection whose client is given up where nothing comes at its beginning, or nothing is taken of an answer: in
/// neither case does anybody else look at the clock.
struct Patient<S> {
    stream: S,
    /// Until something has come.
    silent: Option<Pin<Box<Sleep>>>,
    /// While something is to be written.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// What came of writing, unless nothing has come of it for too long.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(WRITE_WITHIN)));
        stuck.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        match &mut self.silent {
            Some(silent) if read.is_pending() => {
                silent.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
            _ => {
                self.silent = None;
                read
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(shut, cx)
    }
}

fn acceptor(tls: &HttpTls, folder: &Path) -> Result<TlsAcceptor, Failure> {
    let unusable = |path: &Path, what: &str, error: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "'{}' has no {what} that can be used: {error}; give a PEM file",
            path.display()
        ))
    };
    let (cert, key) = (folder.join(&tls.cert), folder.join(&tls.key));
    let chain = CertificateDer::pem_file_iter(&cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(&cert, "certificate", &error))?;
    let private =
        PrivateKeyDer::from_pem_file(&key).map_err(|error| unusable(&key, "private key", &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&cert, "certificate", &error))?
        .with_no_client_auth()
        .with_single_cert(chain, private);
    let mut config = config.map_err(|error| unusable(&cert, "certificate for that key", &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
