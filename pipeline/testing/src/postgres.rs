//! A Postgres for tests: one server per process, and one database per test.

use std::sync::OnceLock;

use tidegate_postgres::private::{Server, ServerOptions, with_database};

/// The environment variable that names a server to use instead of a private one: the URL of a superuser.
pub const VARIABLE: &str = "TIDEGATE_TEST_DATABASE_URL";

/// Creates an empty database for one test. Returns its URL, with which a test connects as a superuser.
///
/// The first call in a process starts a server, which ends, and removes its folder, when the process ends. If
/// [`VARIABLE`] is set, that server is used, and its databases stay.
///
/// # Panics
///
/// If no server can be started or reached: a test cannot go on without one.
pub async fn database() -> String {
    create("template1").await
}

/// Creates a copy of a database to which no session is connected. Returns the URL of the copy.
///
/// # Panics
///
/// If the URL names no database of the server for tests, or sessions stay connected to it.
pub async fn copy_of(url: &str) -> String {
    let config: tokio_postgres::Config = url.parse().expect("the url of a database for tests can be read");
    create(config.get_dbname().expect("the url of a database for tests names it")).await
}

/// Creates a database with the contents of `template`.
async fn create(template: &str) -> String {
    let base = tokio::task::spawn_blocking(server).await.expect("starting the server for tests panicked");
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let (client, connection) = tokio_postgres::connect(base, tokio_postgres::NoTls)
        .await
        .unwrap_or_else(|error| panic!("cannot connect to the server for tests: {error}"));
    let driver = tokio::spawn(connection);
    client
        .batch_execute(&format!("create database {name} template {template}"))
        .await
        .unwrap_or_else(|error| panic!("cannot create the database \"{name}\": {error}"));
    drop(client);
    let _ = driver.await; // the database exists, however the connection closed
    with_database(base, &name)
}

/// Returns the URL of the server of this process. The server runs on a thread and a runtime of its own, because the
/// runtime of a test ends with the test.
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

/// Starts a server, sends its URL, and keeps the server until the process ends.
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
        let options = ServerOptions {
            dir: std::env::temp_dir().join(format!("tidegate-test-{}", uuid::Uuid::new_v4().simple())),
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            temporary: true,
            ..ServerOptions::default()
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
