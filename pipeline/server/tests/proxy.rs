//! What can happen on the way to Postgres: a proxy that refuses, cuts, swallows, holds and dawdles.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// A statement that commits, as it ends on the wire. Nothing else that is sent holds a NUL behind such a word.
const COMMIT: &[u8] = b"COMMIT\0";
const BUFFER_BYTES: usize = 16 * 1024;
const BACKLOG: u32 = 1024;

/// What the proxy does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// Passes it on.
    Open,
    /// Nobody listens, and what was connected is cut.
    Refused,
    /// Takes everything and never gives it to anybody. A connection that is swallowed from stays so.
    Swallowing,
    /// Keeps it until the way is open again.
    Held,
    /// Passes it on in small pieces, each after a pause.
    Slow(Duration),
}

/// What the proxy does at a commit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum AtCommit {
    /// Cuts the connection before the server hears of it.
    Forget,
    /// Cuts the connection when the server has heard of it, and before the client hears the answer.
    LoseAnswer,
}

/// A way to a server that tests can disturb. It ends when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listening: tokio::task::JoinHandle<()>,
}

struct Shared {
    server: u16,
    way: watch::Sender<Way>,
    /// Counts up to cut what is connected.
    cuts: watch::Sender<u64>,
    /// How many commits pass before, and what then.
    at_commit: Mutex<Option<(u32, AtCommit)>>,
    connections: AtomicU64,
}

impl Proxy {
    /// A way to the server of this url, open.
    pub(crate) async fn new(url: &str) -> Self {
        let shared = Arc::new(Shared {
            server: port(url).parse().unwrap(),
            way: watch::Sender::new(Way::Open),
            cuts: watch::Sender::new(0),
            at_commit: Mutex::default(),
            connections: AtomicU64::new(0),
        });
        let listener = held((Ipv4Addr::LOCALHOST, 0).into()).listen(BACKLOG).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listening = tokio::spawn(listen(shared.clone(), listener));
        Self { port, shared, listening }
    }

    /// The same url by this way.
    pub(crate) fn url(&self, url: &str) -> String {
        url.replace(&format!(":{}/", port(url)), &format!(":{}/", self.port))
    }

    /// From now on.
    pub(crate) fn set(&self, way: Way) {
        self.shared.set(way);
    }

    /// Cuts what is connected. Who comes anew is let through.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Once, at the next commit.
    pub(crate) fn at_next_commit(&self, what: AtCommit) {
        self.at_commit(0, what);
    }

    /// Once, when so many commits have passed.
    pub(crate) fn at_commit(&self, passed: u32, what: AtCommit) {
        *self.shared.at_commit.lock().unwrap() = Some((passed, what));
    }

    /// Whether the commit that was waited for has come.
    pub(crate) fn has_struck(&self) -> bool {
        self.shared.at_commit.lock().unwrap().is_none()
    }

    /// How many connections were begun.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

/// The port of a url with a port and a database.
fn port(url: &str) -> &str {
    url.rsplit(['/', ':']).nth(1).unwrap()
}

impl Shared {
    fn set(&self, way: Way) {
        self.way.send_replace(way);
        if way == Way::Refused {
            self.cuts.send_modify(|cuts| *cuts += 1);
        }
    }

    /// What to do at this commit.
    fn commits(&self) -> Option<AtCommit> {
        let mut at_commit = self.at_commit.lock().unwrap();
        let (left, what) = (*at_commit)?;
        *at_commit = left.checked_sub(1).map(|left| (left, what));
        (left == 0).then_some(what)
    }

    /// Resolves when what it gets may be passed on; `false` if it never may.
    async fn opens(&self) -> bool {
        let mut way = self.way.subscribe();
        let now = *way.wait_for(|way| *way != Way::Held).await.unwrap();
        if let Way::Slow(pause) = now {
            tokio::time::sleep(pause).await;
        }
        now != Way::Swallowing
    }

    /// Resolves when the other side may hear that this one has closed the connection: a message like any.
    async fn ends(&self) {
        if !self.opens().await {
            std::future::pending().await
        }
    }
}

/// A socket at an address, which others that ask for the same have too.
fn held(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// Listens, but while all is refused: then nobody does.
async fn listen(shared: Arc<Shared>, mut listener: TcpListener) {
    let address = listener.local_addr().unwrap();
    let mut way = shared.way.subscribe();
    loop {
        if *way.borrow_and_update() == Way::Refused {
            // The port stays ours, and nobody listens.
            let socket = held(address);
            drop(listener);
            way.wait_for(|way| *way != Way::Refused).await.unwrap();
            listener = socket.listen(BACKLOG).unwrap();
        }
        tokio::select! {
            accepted = listener.accept() => {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(carry(shared.clone(), accepted.unwrap().0));
            }
            _ = way.changed() => {}
        }
    }
}

/// Carries one connection until it ends or is cut.
async fn carry(shared: Arc<Shared>, client: TcpStream) {
    let mut cuts = shared.cuts.subscribe();
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.server)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = requests(&shared, from_client, to_server) => {}
        () = answers(&shared, from_server, to_client) => {}
        _ = cuts.changed() => {}
    }
}

async fn requests(shared: &Shared, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if !shared.opens().await {
            return swallow(from).await;
        }
        let commits = buffer[..read].windows(COMMIT.len()).any(|bytes| bytes == COMMIT);
        let what = if commits { shared.commits() } else { None };
        if what == Some(AtCommit::Forget) || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        if what == Some(AtCommit::LoseAnswer) {
            return;
        }
    }
    shared.ends().await;
}

async fn answers(shared: &Shared, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if !shared.opens().await {
            return swallow(from).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    shared.ends().await;
}

/// Takes all there is, and goes on without a word when that has ended.
async fn swallow(mut from: OwnedReadHalf) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(1..) = from.read(&mut buffer).await {}
    std::future::pending().await
}
