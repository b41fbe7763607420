//! A pgbouncer of one test, on a port of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use nix::unistd::{Uid, User};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::home::{skipped, until};

/// Names a pgbouncer to use instead of the one that is installed.
const VARIABLE: &str = "TIDEGATE_TEST_PGBOUNCER";

/// How it hands its sessions out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To one client until it leaves.
    Session,
    /// To a client for a transaction. Prepared statements are kept since version 1.21.
    Transaction,
}

/// A pooler that runs until it is dropped.
pub(crate) struct Pooler {
    port: u16,
    _child: Child,
    _folder: TempDir,
}

impl Pooler {
    /// One in front of the server of `url`, with more settings; `None`, and said loudly, where none is installed that can.
    pub(crate) async fn start(test: &str, url: &str, mode: Mode, settings: &[&str]) -> Option<Self> {
        let binary = installed(test, mode)?;
        let server: tokio_postgres::Config = url.parse().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mode = if mode == Mode::Session { "session" } else { "transaction" };
        let password = String::from_utf8(server.get_password().unwrap_or_default().to_vec()).unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user={} password={password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\ndefault_pool_size = 20\n{}\n",
            server.get_ports()[0],
            server.get_user().unwrap(),
            settings.join("\n")
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(binary);
        command
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if Uid::current().is_root() {
            let nobody = User::from_name("nobody").unwrap().expect("there is a user 'nobody'");
            command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
        }
        let child = command.spawn().unwrap();
        let pooler = Self { port, _child: child, _folder: folder };
        let url = pooler.url(url);
        until("the pooler answers", async || {
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_ok()
        })
        .await;
        Some(pooler)
    }

    /// The same database by way of the pooler.
    pub(crate) fn url(&self, url: &str) -> String {
        let config: tokio_postgres::Config = url.parse().unwrap();
        format!("postgres://any@127.0.0.1:{}/{}", self.port, config.get_dbname().unwrap())
    }
}

fn installed(test: &str, mode: Mode) -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let found = named.or_else(|| places.map(|place| place.join("pgbouncer")).find(|file| file.is_file()));
    let why = match &found {
        None => format!("no pgbouncer is installed; install it, or name one in {VARIABLE}"),
        Some(binary) if mode == Mode::Transaction && version(binary) < (1, 21) => {
            format!("{} is older than 1.21; name a newer one in {VARIABLE}", binary.display())
        }
        Some(_) => return found,
    };
    skipped(test, &why);
    None
}

fn version(binary: &PathBuf) -> (u32, u32) {
    let said = std::process::Command::new(binary).arg("-V").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let numbers = said.split_whitespace().nth(1).unwrap_or_default();
    let mut numbers = numbers.split('.').map(|number| number.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}
