//! A Postgres for tests: one server a process, a database a test.

use std::sync::OnceLock;

use super::private::{Options, Server, with_database};

/// Names a server to use instead of a private one: the URL of a superuser.
pub const VARIABLE: &str = "TIDEGATE_TEST_DATABASE_URL";

/// An empty database of one test.
#[derive(Clone, Debug)]
pub struct Database {
    /// Where to connect, as a superuser.
    pub url: String,
}

/// Creates an empty database. The first call of a process starts a server, which goes away, with its
/// folder, when the process ends. With [`VARIABLE`] set the server is that one, and databases stay.
///
/// # Panics
///
/// When there is no server to be had: a test cannot go on without.
pub async fn database() -> Database {
    let base = tokio::task::spawn_blocking(server).await.expect("starting the server for tests panicked");
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let (client, connection) = tokio_postgres::connect(base, tokio_postgres::NoTls)
        .await
        .unwrap_or_else(|error| panic!("cannot connect to the server for tests: {error}"));
    let driver = tokio::spawn(connection);
    client
        .batch_execute(&format!("create database {name}"))
        .await
        .unwrap_or_else(|error| panic!("cannot create the database \"{name}\": {error}"));
    drop(client);
    let _ = driver.await; // the database is there, however the connection closed
    Database { url: with_database(base, &name) }
}

/// The URL of the server of this process. It runs on a thread and runtime of its own, because each
/// test has a runtime that ends with the test.
fn server() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| match std::env::var(VARIABLE) {
        Ok(url) => url,
        Err(_) => {
            let (sender, receiver) = std::sync::mpsc::channel();
            std::thread::spawn(move || keep(&sender));
            receiver
                .recv()
                .unwrap_or_else(|_| panic!("the thread of the server for tests ended"))
                .unwrap_or_else(|error| {
                    panic!("cannot start a server for tests: {error}; or set {VARIABLE} to a superuser's URL")
                })
        }
    })
}

/// Starts a server, reports its URL, and holds it until the process ends.
fn keep(sender: &std::sync::mpsc::Sender<Result<String, String>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime.inspect_err(|error| drop(sender.send(Err(error.to_string())))) else { return };
    runtime.block_on(async {
        let settings = [
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("max_connections", "200"),
            ("max_prepared_transactions", "50"),
        ];
        let options = Options {
            dir: std::env::temp_dir().join(format!("tidegate-test-{}", uuid::Uuid::new_v4().simple())),
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            temporary: true,
            ..Options::default()
        };
        match Server::start(options).await {
            Ok(server) => {
                drop(sender.send(Ok(server.url())));
                std::future::pending::<()>().await;
            }
            Err(error) => drop(sender.send(Err(error.to_string()))),
        }
    });
}
