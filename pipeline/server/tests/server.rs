//! A Postgres of one test, to be killed.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tidegate_postgres::private::{Server, ServerOptions};

/// A server that keeps its data and its port when it is started again.
pub(crate) struct OwnServer {
    server: Option<Server>,
    options: ServerOptions,
    _folder: TempDir,
}

impl OwnServer {
    /// A new server.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A new server with these settings besides.
    pub(crate) async fn start_with(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The server may run as another user, who must be able to enter.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let settings = [("fsync", "off"), ("full_page_writes", "off")].iter().chain(more);
        let options = ServerOptions {
            dir: folder.path().join("server"),
            settings: settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..ServerOptions::default()
        };
        let server = Server::start(options.clone()).await.unwrap();
        let port = server.url().rsplit(['/', ':']).nth(1).unwrap().parse().unwrap();
        let options = ServerOptions { port: Some(port), ..options };
        Self { server: Some(server), options, _folder: folder }
    }

    /// The superuser, in the database `postgres`.
    pub(crate) fn url(&self) -> String {
        self.server.as_ref().expect("it runs").url()
    }

    fn data(&self) -> PathBuf {
        self.server.as_ref().expect("it runs").place().join("data")
    }

    /// Stops it as `pg_ctl stop -m immediate` does: its processes end at once, and it recovers when it is
    /// started.
    pub(crate) async fn stop_immediately(&mut self) {
        let pid_file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let postmaster: i32 = pid_file.lines().next().unwrap().trim().parse().unwrap();
        kill(Pid::from_raw(postmaster), Signal::SIGQUIT).unwrap();
        self.stop().await;
    }

    /// Starts it again.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it was stopped");
        self.server = Some(Server::start(self.options.clone()).await.unwrap());
    }

    /// Makes a standby of it, which only reads until it is promoted.
    pub(crate) async fn demote(&mut self) {
        let signal = self.data().join("standby.signal");
        self.stop().await;
        std::fs::write(signal, "").unwrap();
        self.start_again().await;
    }

    /// Stops it.
    pub(crate) async fn stop(&mut self) {
        self.server.take().expect("it runs").stop().await.unwrap();
    }
}
