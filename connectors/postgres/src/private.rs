//! A private Postgres: a server that belongs to this process and ends with it.
//!
//! ```text
//! Server::start ─▶ home (where it may live, who may use it)
//!               ─▶ binaries (installed, or fetched)
//!               ─▶ cluster (initdb, once)
//!               ─▶ sh ─▶ postgres        the shell watches a pipe that this process holds
//! ```
//!
//! **The server never outlives its owner.** It runs under a small shell whose standard input is a
//! pipe from this process. However this process ends, the kernel closes the pipe, and the shell
//! shuts the server down.

pub mod fetch;
pub mod binaries;
mod cluster;
mod home;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, ChildStdin};
use tokio::time::Instant;

use crate::private::home::Home;

/// How long a server may take to accept connections. Recovery after a crash is part of it.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long one attempt to connect may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(5);
/// How long a server may take to stop. Before that its shell escalates to SIGQUIT.
const STOP_LIMIT: Duration = Duration::from_secs(90);
/// How many ports are tried if other processes take the free port first.
const PORT_ATTEMPTS: u32 = 5;

/// The shell that owns the server. Descriptor 1 is the lock that marks a running server: the server inherits the lock
/// as descriptor 9, so that it lasts as long as any of its processes. Descriptor 2 is the log. SIGINT is repeated
/// because a server ignores it in its first milliseconds.
const WRAPPER: &str = r#"
trap : INT TERM HUP
remove=$1; shift
exec 3<&0
"$@" </dev/null 9>&1 1>&2 3<&- &
server=$!
(
    trap - INT TERM HUP
    while read -r _; do :; done
    tries=0
    while kill -0 "$server" 2>/dev/null; do
        if [ "$tries" -lt 60 ]; then kill -INT "$server"; else kill -QUIT "$server"; fi
        tries=$((tries + 1))
        sleep 1 >/dev/null 2>&1
    done
) <&3 &
watcher=$!
while kill -0 "$server" 2>/dev/null; do wait "$server"; done
kill "$watcher" 2>/dev/null
if [ -n "$remove" ]; then rm -rf -- "$remove"; fi
"#;

/// The options of a private server.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// The folder of the server, created if missing. A second start finds the same data in it.
    pub dir: PathBuf,
    /// The folder of `postgres` and `initdb`; `None` looks in the usual places.
    pub binaries: Option<PathBuf>,
    /// Where a server is fetched to if none is installed; `None` never fetches.
    pub cache: Option<PathBuf>,
    /// The port on 127.0.0.1; `None` takes a free one.
    pub port: Option<u16>,
    /// Settings as in `postgresql.conf`. They take precedence over the defaults.
    pub settings: Vec<(String, String)>,
    /// Whether to remove `dir` when the server has stopped, for whatever reason.
    pub temporary: bool,
}

/// Why a private server could not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum PrivateServerError {
    /// The file system returned an error.
    #[error("cannot {action} \"{}\": {source}", path.display())]
    File {
        /// What was tried, as in "create" or "lock".
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// Another process runs a server in this folder.
    #[error("another process runs a private server in \"{}\"; stop that one, or choose another folder", .0.display())]
    InUse(PathBuf),
    /// The folder that was given for the binaries does not hold them.
    #[error(
        "there is no \"postgres\" and \"initdb\" in \"{}\"; give the folder that holds both, as `pg_config --bindir` prints it",
        .0.display()
    )]
    NoBinaries(PathBuf),
    /// No server is installed, and none could or should be fetched: why, which is empty or starts with a comma.
    #[error("no Postgres server is installed here{}; {}", .0, fetch::ADVICE)]
    NotInstalled(String),
    /// The process runs as root, and there is no other user to run the server as.
    #[error(
        "Postgres refuses to run as root, and there is no user \"postgres\" or \"nobody\" to run it as; create one, or start as another user"
    )]
    NoAccount,
    /// `initdb` failed.
    #[error("initdb could not create the cluster in \"{}\": {output}", dir.display())]
    Initdb {
        /// The folder of the new cluster.
        dir: PathBuf,
        /// What `initdb` wrote to its standard error.
        output: String,
    },
    /// The server ended before it accepted connections.
    #[error("the private server ended while starting; its log \"{}\" ends with:\n{tail}", log.display())]
    Ended {
        /// The whole log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The server did not accept connections in time.
    #[error(
        "the private server does not answer after {} s ({reason}); see its log \"{}\"", START_LIMIT.as_secs(), log.display()
    )]
    Silent {
        /// Why the last attempt to connect failed.
        reason: String,
        /// The log.
        log: PathBuf,
    },
    /// The server in this folder did not stop in time.
    #[error("the private server in \"{}\" still runs {} s after it was told to stop", .0.display(), STOP_LIMIT.as_secs())]
    StillRunning(PathBuf),
}

impl PrivateServerError {
    /// Returns a function that makes an [`PrivateServerError`] of a file system error, for `map_err`.
    fn file<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(std::io::Error) -> PrivateServerError + 'a {
        move |source| PrivateServerError::File { action, path: path.to_owned(), source }
    }
}

/// A running private server. Dropping it tells the server to stop, and does not wait.
pub struct Server {
    /// Locks the folder against other processes, and knows its paths.
    home: Home,
    wrapper: Wrapper,
    /// The folder to remove at the end, `ServerOptions::dir`.
    temporary: Option<PathBuf>,
    url: String,
}

/// The shell around the server.
struct Wrapper {
    child: Child,
    /// The pipe that keeps the server alive. It is taken out of `child`, because `child.wait` would close it.
    lifeline: Option<ChildStdin>,
}

impl Server {
    /// Starts a server in `options.dir` and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// If no server can be found, or it does not start. The latter error includes the last lines of its log.
    pub async fn start(options: ServerOptions) -> Result<Server, PrivateServerError> {
        let home = Home::open(&options.dir).await?;
        let binaries = binaries::locate(&options, home.account.as_ref()).await?;
        let password = cluster::ensure(&home, &binaries, &options.settings).await?;
        let mut attempt = 1;
        loop {
            let port = match options.port {
                Some(port) => port,
                None => free_port().map_err(PrivateServerError::file("find a free port for", &home.place))?,
            };
            let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
            let log = home.log()?;
            let mut wrapper = spawn(&home, &binaries, port, &options, &log)?;
            match until_it_answers(&mut wrapper, &url, &home).await {
                Ok(()) => {
                    let temporary = options.temporary.then_some(options.dir);
                    return Ok(Server { home, wrapper, temporary, url });
                }
                Err(PrivateServerError::Ended { tail, .. })
                    if port_taken(&tail) && attempt < PORT_ATTEMPTS =>
                {
                    attempt += 1
                }
                Err(error) => {
                    stop(&mut wrapper, &home).await?;
                    return Err(error);
                }
            }
        }
    }

    /// Returns the URL of the superuser in the database `postgres`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Returns the URL of the superuser in the database `name`, which need not exist yet.
    pub fn database_url(&self, name: &str) -> String {
        with_database(&self.url, name)
    }

    /// Returns the folder of the server. It differs from `ServerOptions::dir` if the server's user cannot enter that.
    pub fn place(&self) -> &Path {
        &self.home.place
    }

    /// Shuts down without waiting for clients, and returns when the server is gone.
    ///
    /// # Errors
    ///
    /// If the server still runs after 90 seconds.
    pub async fn stop(mut self) -> Result<(), PrivateServerError> {
        stop(&mut self.wrapper, &self.home).await?;
        match &self.temporary {
            Some(dir) if dir.exists() => {
                std::fs::remove_dir_all(dir).map_err(PrivateServerError::file("remove", dir))
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Server {
    /// Leaves out the URL, which holds the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("place", &self.home.place).finish_non_exhaustive()
    }
}

/// Returns `url` with its database replaced by `name`. The parameters stay.
pub fn with_database(url: &str, name: &str) -> String {
    let (base, parameters) = match url.split_once('?') {
        Some((base, parameters)) => (base, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let authority = base.find("://").map_or(0, |at| at + 3);
    let end = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    format!("{}/{name}{parameters}", &base[..end])
}

/// Closes the pipe, and waits for the shell, which waits for the server.
async fn stop(wrapper: &mut Wrapper, home: &Home) -> Result<(), PrivateServerError> {
    drop(wrapper.lifeline.take());
    match tokio::time::timeout(STOP_LIMIT, wrapper.child.wait()).await {
        Ok(ended) => ended.map(drop).map_err(PrivateServerError::file("wait for the server in", &home.place)),
        Err(_) => Err(PrivateServerError::StillRunning(home.place.clone())),
    }
}

/// Starts the shell and, under it, the server.
fn spawn(
    home: &Home,
    binaries: &Path,
    port: u16,
    options: &ServerOptions,
    log: &std::fs::File,
) -> Result<Wrapper, PrivateServerError> {
    let defaults = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("max_connections", "50"),
        ("shared_buffers", "128MB"),
        ("log_destination", "stderr"),
        ("logging_collector", "off"),
    ];
    let postgres = binaries.join("postgres");
    let mut command = home.command(Path::new("sh"));
    command.arg("-c").arg(WRAPPER).arg("tidegate-postgres");
    command.arg(if options.temporary { home.place.as_os_str() } else { "".as_ref() });
    command.arg(&postgres).arg("-D").arg(home.data()).arg("-p").arg(port.to_string());
    for (name, value) in defaults {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    for (name, value) in &options.settings {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    let log = log.try_clone().map_err(PrivateServerError::file("open the log in", &home.place))?;
    command.stdin(Stdio::piped()).stdout(home.server_lock()?).stderr(log);
    command.process_group(0); // Ctrl-C in the terminal is for the owner, who may still need the server
    let mut child = command.spawn().map_err(PrivateServerError::file("start", &postgres))?;
    let lifeline = child.stdin.take();
    Ok(Wrapper { child, lifeline })
}

/// Waits until the server accepts connections.
async fn until_it_answers(wrapper: &mut Wrapper, url: &str, home: &Home) -> Result<(), PrivateServerError> {
    let deadline = Instant::now() + START_LIMIT;
    let mut pause = Duration::from_millis(10);
    loop {
        // A new cluster rarely answers at once: an attempt costs less than a process that waits.
        let attempt = tokio_postgres::connect(url, tokio_postgres::NoTls);
        let reason = match tokio::time::timeout(ATTEMPT_LIMIT, attempt).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it accepts a connection and says nothing".to_owned(),
        };
        match tokio::time::timeout(pause, wrapper.child.wait()).await {
            Ok(_) => {
                return Err(PrivateServerError::Ended { log: home.log_path(), tail: tail(&home.log_path()) });
            }
            Err(_) if Instant::now() > deadline => {
                return Err(PrivateServerError::Silent { reason, log: home.log_path() });
            }
            Err(_) => pause = (pause * 2).min(Duration::from_millis(200)),
        }
    }
}

/// Returns a port of 127.0.0.1 that no process uses at this moment.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Returns whether the log says that another process took the port first.
fn port_taken(tail: &str) -> bool {
    tail.contains("could not bind") || tail.contains("could not create any TCP/IP sockets")
}

/// Returns the last lines of a log; nothing if it cannot be read.
fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_replaced_and_its_parameters_stay() {
        for (url, expected) in [
            ("postgres://a:b@127.0.0.1:5432/postgres", "postgres://a:b@127.0.0.1:5432/x"),
            ("postgresql://h/postgres?sslmode=disable", "postgresql://h/x?sslmode=disable"),
            ("postgres://h:1", "postgres://h:1/x"),
            ("postgres://h?user=u", "postgres://h/x?user=u"),
        ] {
            assert_eq!(with_database(url, "x"), expected);
        }
    }

    #[test]
    fn a_log_that_cannot_bind_means_that_the_port_was_taken() {
        assert!(port_taken("LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use"));
        assert!(!port_taken("FATAL:  data directory has wrong ownership"));
    }
}
