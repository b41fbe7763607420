//! Sockets, encryption, and limits of connections.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_core::manifest::{Http, HttpTls};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Problem;
use super::connections::{ClientConnection, ClientConnections, RESERVE};
use crate::Failure;

/// How long a client may take for the handshake, until its first byte, and for the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long a client may read nothing of an answer before its connection is closed.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
/// How many requests one connection may have at once, with HTTP/2.
const STREAMS_MAX: u32 = 64;
/// How long requests in hand may take when the server stops.
const END_WITHIN: Duration = Duration::from_secs(5);
/// The pause after a failed accept, for example because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection may be without a request.
const IDLE_WITHIN: Duration = Duration::from_secs(60);
/// How often a connection is checked, and how often once it is told to end.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const LEAVE_LOOK: Duration = Duration::from_millis(100);
/// The paths that are served even if all connections are in use.
const WATCHED: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// How many open files are reserved for other purposes, and the least number of connections.
const FILES_BESIDE: usize = 256;
const CONNECTIONS_MIN: usize = 16;

/// A socket that the server listens on.
pub(super) struct HttpListener {
    socket: TcpListener,
    pub(super) address: SocketAddr,
    tls: Option<TlsAcceptor>,
    connections: Arc<ClientConnections>,
}

impl HttpListener {
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
        let connections = Arc::new(ClientConnections::new(connections_max(http.max_connections as usize)));
        Ok(Self { socket, address, tls, connections })
    }

    /// The scheme of its URLs.
    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Serves until `stop` is cancelled. Requests in hand may then end, for a while.
    pub(super) async fn serve(self, router: Router, stop: CancellationToken) {
        let Self { socket, tls, connections, .. } = self;
        let server = Arc::new(HttpServer { builder: builder(), tls, router });
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!("a connection was not accepted: {error}");
                    connections.make_room();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let admitted = tokio::select! {
                admitted = connections.admit(&stop) => admitted,
                () = stop.cancelled() => break,
            };
            let server = server.clone();
            tokio::spawn(async move { server.serve(stream, &admitted.connection).await });
        }
        if tokio::time::timeout(END_WITHIN, connections.all_ended()).await.is_err() {
            warn!("stopped while requests were going on");
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
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
    builder
}

/// The parts of the server that all connections share.
struct HttpServer {
    builder: Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    router: Router,
}

impl HttpServer {
    /// Serves a connection to its end.
    async fn serve(&self, stream: TcpStream, connection: &Arc<ClientConnection>) {
        let Some(tls) = &self.tls else { return self.requests(stream, connection).await };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(HEAD_WITHIN, tls.accept(stream)) => shaken,
            () = connection.leave.cancelled() => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.requests(stream, connection).await,
            _ => debug!("a handshake failed"),
        }
    }

    async fn requests(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        connection: &Arc<ClientConnection>,
    ) {
        let silent = Some(Box::pin(sleep(HEAD_WITHIN)));
        let stream = TimeoutStream { stream, connection: connection.clone(), silent, stuck: None };
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(|request: Request<Incoming>| {
            let handling = connection.begin();
            let is_watched = WATCHED.contains(&request.uri().path());
            let is_served = !connection.is_reserved || is_watched;
            let answer = is_served.then(|| router.call(request));
            if !is_served {
                // The client's next connection may find room.
                connection.leave.cancel();
            }
            async move {
                let response = match answer {
                    Some(answer) => answer.await?,
                    None => too_many(),
                };
                Ok::<_, Infallible>(handling.answer(response, is_watched, full))
            }
        });
        let mut serving = pin!(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut is_leaving = false;
        loop {
            let look = if is_leaving { LEAVE_LOOK } else { LOOK_EVERY };
            tokio::select! {
                served = serving.as_mut() => {
                    if let Err(error) = served {
                        debug!("a connection ended: {error}");
                    }
                    return;
                }
                () = connection.leave.cancelled(), if !is_leaving => {
                    is_leaving = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = sleep(look) => {
                    let is_stalled = connection.activity().stalled_for().is_some_and(|over| over >= WRITE_WITHIN);
                    if is_stalled || (is_leaving && !connection.activity().is_busy()) {
                        return debug!("a connection is closed");
                    }
                    if connection.activity().idle_for().is_some_and(|over| over >= IDLE_WITHIN) {
                        connection.leave.cancel();
                    }
                }
            }
        }
    }
}

/// The answer to a client that came when all connections were in use.
fn too_many() -> Response {
    let problem = Problem::unavailable("as many connections are in use as may be; ask again in a moment");
    let mut response = problem.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The answer to a request when no more answers fit into memory.
fn full() -> Response {
    Problem::unavailable("more is being answered at once than fits here; ask again in a moment")
        .into_response()
}

/// Raises the limit of open files to what the system allows. Returns how many of `wanted` connections fit.
fn connections_max(wanted: usize) -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return wanted };
    let raised = soft >= hard || setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let files = usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX);
    let room = files.saturating_sub(FILES_BESIDE + RESERVE).max(CONNECTIONS_MIN);
    if room < wanted {
        warn!(
            "the system lets this process open {files} files, so HTTP serves {room} connections at once, and not \
             'http.max_connections', {wanted}: raise the limit of open files (ulimit -n, LimitNOFILE)"
        );
    }
    room.min(wanted)
}

/// A stream that fails if the client sends nothing at first, or reads nothing of an answer, for too long. No other code
/// has a timeout for these cases.
struct TimeoutStream<S> {
    stream: S,
    connection: Arc<ClientConnection>,
    /// The timeout of the first byte; `None` once one has come.
    silent: Option<Pin<Box<Sleep>>>,
    /// The timeout of a write; `None` if no write is pending.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> TimeoutStream<S> {
    /// Returns the result of a write, or a timeout if the write was pending for too long.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.connection.activity().note_stuck(written.is_pending());
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(WRITE_WITHIN)));
        stuck.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimeoutStream<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for TimeoutStream<S> {
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
