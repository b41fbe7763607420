//! TLS against real servers: each `sslmode`, certificates of every kind, and what ends up plain.

use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use tidegate_core::manifest::Manifest;
use tidegate_postgres::error::PgErrorKind;
use tidegate_postgres::listener::Listener;
use tidegate_postgres::private::{Server, ServerOptions, binaries};
use tidegate_postgres::{Database, PgError};
use tidegate_testing::tls::{Authority, Identity, server_settings, write_private};
use tidegate_testing::{postgres, rows};

/// Who may connect how. The first line that fits decides.
const PG_HBA: &str = "
local     all all                    trust
hostnossl all plain_only         all scram-sha-256
hostssl   all tls_only           all scram-sha-256
hostssl   all by_certificate     all cert
hostssl   all with_certificate   all scram-sha-256 clientcert=verify-full
host      all postgres,anyone    all scram-sha-256
";
const ROLES: [&str; 5] = ["anyone", "plain_only", "tls_only", "by_certificate", "with_certificate"];

/// A server that answers TLS until the tests end, and the files of its clients.
struct TlsServer {
    port: u16,
    superuser: String,
    /// `root.crt` of its authority, `other.crt` of another one, certificates of users, and the socket.
    folder: PathBuf,
}

/// What the certificate of a server is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Certificate {
    /// For localhost.
    Good,
    Expired,
    /// For localhost, and its own authority.
    SelfSigned,
    /// Of version 1, as `openssl x509 -req` makes it.
    VersionOne,
}

/// Returns the server with such a certificate, started once; `None`, said loudly, if no server is installed.
async fn server(certificate: Certificate) -> Option<Arc<TlsServer>> {
    static SERVERS: LazyLock<Mutex<HashMap<Certificate, Arc<TlsServer>>>> = LazyLock::new(Mutex::default);
    if binaries::find(&binaries::installed()).is_none() {
        skipped("the tests of TLS: no postgres server is installed here");
        return None;
    }
    if certificate == Certificate::VersionOne && Command::new("openssl").arg("version").output().is_err() {
        skipped("the tests of certificates of version 1: openssl is not installed here");
        return None;
    }
    let started = tokio::task::spawn_blocking(move || {
        let mut servers = SERVERS.lock().unwrap();
        servers.entry(certificate).or_insert_with(|| Arc::new(start(certificate))).clone()
    });
    Some(started.await.unwrap())
}

/// Says loudly what was not run, past the harness, which shows nothing of a test that passes.
fn skipped(what: &str) {
    let _ = std::io::stderr().write_all(format!("\nSKIPPED {what}\n").as_bytes());
}

/// Starts a server on a thread of its own, since the runtime of a test ends with the test. Its folder is removed when
/// the process ends.
fn start(certificate: Certificate) -> TlsServer {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = std::env::temp_dir().join(format!("tidegate-tls-{}", uuid::Uuid::new_v4().simple()));
            let folder = dir.join("tls");
            let mut settings = files(&folder, certificate);
            settings.push(("fsync".to_owned(), "off".to_owned()));
            settings.push(("listen_addresses".to_owned(), "0.0.0.0".to_owned()));
            let options = ServerOptions { dir, settings, temporary: true, ..ServerOptions::default() };
            let server = Server::start(options).await.unwrap();
            let superuser = server.url();
            let port = superuser.rsplit([':', '/']).nth(1).unwrap().parse().unwrap();
            for role in ROLES {
                tell(&superuser, &format!("create role {role} login password 'x'")).await;
            }
            sender.send(TlsServer { port, superuser, folder }).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
}

/// Writes the files of a server and its clients. Returns the server's settings.
fn files(folder: &Path, certificate: Certificate) -> Vec<(String, String)> {
    let (authority, other) = (Authority::new("authority"), Authority::new("other"));
    let identity = match certificate {
        Certificate::Good => authority.server("localhost"),
        Certificate::Expired => authority.expired_server("localhost"),
        Certificate::SelfSigned => Identity::self_signed("localhost"),
        Certificate::VersionOne => version_one(),
    };
    let settings = server_settings(folder, &authority, &identity, PG_HBA);
    write_private(&folder.join("other.crt"), &other.certificate);
    for (name, signed) in [
        ("by_certificate", authority.client("by_certificate")),
        ("with_certificate", authority.client("with_certificate")),
        ("stranger", other.client("by_certificate")),
    ] {
        write_private(&folder.join(format!("{name}.crt")), &signed.certificate);
        write_private(&folder.join(format!("{name}.key")), &signed.key);
    }
    settings
}

/// Makes a certificate of version 1, which has no place for names of hosts.
fn version_one() -> Identity {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        let output = command.args(arguments.split_whitespace()).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=authority"));
    openssl(&format!("req -new {key} -keyout server.key -out server.csr -subj /CN=localhost"));
    openssl("x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt");
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    Identity { certificate: text("server.crt"), key: text("server.key") }
}

impl TlsServer {
    /// The url of a role, with parameters in which `{dir}` is the folder of the files.
    fn url(&self, role: &str, parameters: &str) -> String {
        let parameters = parameters.replace("{dir}", self.folder.to_str().unwrap());
        format!("postgres://{role}:x@localhost:{}/postgres?{parameters}", self.port)
    }
}

fn database(url: &str) -> Result<Database, PgError> {
    let manifest = "pipeline: p\ndatasets:\n  d: {key: id, columns: {id: text}}\n";
    Database::new(url, Arc::new(Manifest::parse(manifest, &|_| None).unwrap()))
}

/// Returns whether a session of this url is encrypted.
async fn is_encrypted(url: &str) -> Result<bool, PgError> {
    let connection = database(url)?.connection().await?;
    let sql = "select coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)";
    Ok(connection.query_one(sql, &[]).await?.get(0))
}

async fn tell(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}

async fn count(url: &str, sql: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.unwrap().get(0)
}

const TLS: Result<bool, &str> = Ok(true);
const PLAIN: Result<bool, &str> = Ok(false);

async fn on_good(role: &str, parameters: &str, expected: Result<bool, &str>) {
    ends(Certificate::Good, role, parameters, expected).await;
}

/// Asserts that a session is encrypted, or plain, or refused for good with an error that says so.
async fn ends(certificate: Certificate, role: &str, parameters: &str, expected: Result<bool, &str>) {
    let Some(server) = server(certificate).await else { return };
    let url = server.url(role, parameters);
    match (is_encrypted(&url).await, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{url}"),
        (Err(error), Err(expected)) => {
            let said = error.to_string();
            assert!(said.contains(expected), "{url}: '{expected}' is not in: {said}");
            assert!(
                said.contains(&format!("localhost:{}", server.port)) || parameters.contains("host="),
                "{said}"
            );
            assert!(!said.contains(":x@"), "{said}");
            assert_eq!(error.kind(), PgErrorKind::Lasting, "{said}");
        }
        (found, expected) => panic!("{url}: {found:?} and not {expected:?}"),
    }
}

rows! { on_good:
    by_default_tls_is_used_where_the_server_has_it: ("anyone", "", TLS),
    disable_is_plain: ("anyone", "sslmode=disable", PLAIN),
    allow_is_plain_where_the_server_takes_that: ("anyone", "sslmode=allow", PLAIN),
    prefer_is_encrypted: ("anyone", "sslmode=prefer", TLS),
    require_is_encrypted: ("anyone", "sslmode=require", TLS),
    require_with_a_root_verifies_the_chain: ("anyone", "sslmode=require&sslrootcert={dir}/root.crt", TLS),
    verify_ca_accepts_what_the_authority_has_signed: ("anyone", "sslmode=verify-ca&sslrootcert={dir}/root.crt", TLS),
    verify_full_accepts_the_name: ("anyone", "sslmode=verify-full&sslrootcert={dir}/root.crt", TLS),

    allow_encrypts_where_the_server_asks_for_it: ("tls_only", "sslmode=allow", TLS),
    prefer_encrypts_where_the_server_asks_for_it: ("tls_only", "sslmode=prefer", TLS),
    disable_is_refused_where_the_server_asks_for_tls: (
        "tls_only", "sslmode=disable", Err("no encryption (SQLSTATE 28000); the server may take encrypted connections only: \
        write sslmode=require"),
    ),
    prefer_is_plain_where_the_server_asks_for_it: ("plain_only", "sslmode=prefer", PLAIN),
    allow_is_plain_where_the_server_asks_for_it: ("plain_only", "sslmode=allow", PLAIN),
    require_is_refused_where_the_server_asks_for_plain: (
        "plain_only", "sslmode=require", Err("SSL encryption (SQLSTATE 28000); let pg_hba.conf"),
    ),
    a_wrong_password_is_told_whatever_the_second_attempt_says: (
        "tls_only", "sslmode=prefer&password=wrong", Err("password authentication failed"),
    ),
    so_it_is_where_the_first_attempt_has_no_line: (
        "plain_only", "sslmode=prefer&password=wrong", Err("password authentication failed"),
    ),

    verify_full_refuses_another_name: (
        "anyone", "host=wrong.example&hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={dir}/root.crt",
        Err("the server's certificate is for localhost, and not for wrong.example; connect by a name of the certificate"),
    ),
    verify_full_refuses_an_address_that_is_not_in_the_certificate: (
        "anyone", "host=127.0.0.1&sslmode=verify-full&sslrootcert={dir}/root.crt", Err("and not for 127.0.0.1"),
    ),
    verify_ca_accepts_another_name: (
        "anyone", "host=wrong.example&hostaddr=127.0.0.1&sslmode=verify-ca&sslrootcert={dir}/root.crt", TLS,
    ),
    verify_ca_accepts_an_address_without_a_name: (
        "anyone", "host=&hostaddr=127.0.0.1&sslmode=verify-ca&sslrootcert={dir}/root.crt", TLS,
    ),
    require_accepts_a_host_that_is_no_name_of_dns: (
        "anyone", "host=a%20b&hostaddr=127.0.0.1&sslmode=require", TLS,
    ),
    verify_ca_refuses_an_unknown_authority: (
        "anyone", "sslmode=verify-ca&sslrootcert={dir}/other.crt", Err("comes from no authority of sslrootcert"),
    ),
    require_with_a_root_refuses_an_unknown_authority: (
        "anyone", "sslmode=require&sslrootcert={dir}/other.crt", Err("comes from no authority of sslrootcert"),
    ),
    the_roots_of_the_system_do_not_know_the_authority: ("anyone", "sslrootcert=system", Err("sslrootcert")),
    prefer_is_plain_behind_an_unknown_authority: ("anyone", "sslmode=prefer&sslrootcert={dir}/other.crt", PLAIN),
    an_unknown_authority_is_told_where_plain_is_refused: (
        "tls_only", "sslmode=prefer&sslrootcert={dir}/other.crt", Err("comes from no authority of sslrootcert"),
    ),
    a_root_that_is_missing_is_told: (
        "anyone", "sslmode=verify-full&sslrootcert={dir}/none.crt", Err("none.crt\" of sslrootcert does not exist"),
    ),

    a_user_without_a_certificate_is_told_what_to_name: (
        "by_certificate", "sslmode=require", Err("name this user's certificate and its key"),
    ),
    a_certificate_is_a_login: (
        "by_certificate", "sslmode=require&sslcert={dir}/by_certificate.crt&sslkey={dir}/by_certificate.key", TLS,
    ),
    a_certificate_of_another_user_is_refused: (
        "by_certificate", "sslmode=require&sslcert={dir}/with_certificate.crt&sslkey={dir}/with_certificate.key",
        Err("certificate authentication failed"),
    ),
    a_certificate_of_an_unknown_authority_is_refused: (
        "by_certificate", "sslmode=require&sslcert={dir}/stranger.crt&sslkey={dir}/stranger.key",
        Err("the server asks for another certificate of this client"),
    ),
    a_certificate_and_a_password_are_a_login: (
        "with_certificate", "sslmode=verify-full&sslrootcert={dir}/root.crt&sslcert={dir}/with_certificate.crt\
        &sslkey={dir}/with_certificate.key", TLS,
    ),
    a_password_alone_is_none: ("with_certificate", "sslmode=require", Err("sslcert and sslkey")),

    a_login_can_be_bound_to_the_certificate: ("anyone", "sslmode=require&channel_binding=require", TLS),
    a_login_need_not_be_bound: ("anyone", "sslmode=require&channel_binding=disable", TLS),
    a_plain_login_cannot_be_bound: (
        "anyone", "sslmode=allow&channel_binding=require", Err("server did not use channel binding"),
    ),
    a_login_by_certificate_is_not_bound: (
        "by_certificate", "sslmode=require&channel_binding=require&sslcert={dir}/by_certificate.crt\
        &sslkey={dir}/by_certificate.key", Err("server did not use channel binding"),
    ),
    a_socket_is_never_encrypted: ("anyone", "host={dir}&sslmode=verify-full&sslrootcert={dir}/none.crt", PLAIN),
}

rows! { ends:
    an_expired_certificate_is_refused: (
        Certificate::Expired, "anyone", "sslmode=verify-full&sslrootcert={dir}/root.crt",
        Err("the server's certificate has expired; renew it"),
    ),
    a_certificate_of_version_1_is_accepted_where_none_is_verified: (
        Certificate::VersionOne, "anyone", "sslmode=require", TLS,
    ),
    a_certificate_of_version_1_cannot_be_verified: (
        Certificate::VersionOne, "anyone", "sslmode=verify-ca&sslrootcert={dir}/root.crt",
        Err("give the server a certificate of version 3"),
    ),
    an_expired_certificate_is_accepted_where_none_is_verified: (Certificate::Expired, "anyone", "sslmode=require", TLS),
    a_certificate_that_signed_itself_is_its_own_root: (
        Certificate::SelfSigned, "anyone", "sslmode=verify-full&sslrootcert={dir}/server.crt", TLS,
    ),
    such_a_root_is_for_its_name_alone: (
        Certificate::SelfSigned, "anyone", "host=127.0.0.1&sslmode=verify-full&sslrootcert={dir}/server.crt",
        Err("and not for 127.0.0.1"),
    ),
    a_certificate_that_signed_itself_is_not_that_of_another: (
        Certificate::SelfSigned, "anyone", "sslmode=verify-ca&sslrootcert={dir}/root.crt", Err("name the server's certificate itself in sslrootcert"),
    ),
}

#[tokio::test]
async fn a_server_without_tls_is_plain_where_the_mode_allows_it() {
    let url = postgres::database().await;
    for mode in ["disable", "allow", "prefer"] {
        assert!(!is_encrypted(&format!("{url}?sslmode={mode}")).await.unwrap(), "{mode}");
    }
    let error = is_encrypted(&format!("{url}?sslmode=require")).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("server does not support TLS; let the server offer it (ssl = on)"), "{said}");
    assert_eq!(error.kind(), PgErrorKind::Lasting);
}

#[tokio::test]
async fn a_connection_is_encrypted_at_once_if_the_server_can() {
    let Some(server) = server(Certificate::Good).await else { return };
    let version = count(&server.superuser, "select current_setting('server_version_num')::bigint").await;
    if version < 170_000 {
        return skipped(&format!(
            "a_connection_is_encrypted_at_once_if_the_server_can: Postgres {} is older than 17",
            version / 10_000
        ));
    }
    let parameters = "sslmode=verify-full&sslrootcert={dir}/root.crt&sslnegotiation=direct";
    assert!(is_encrypted(&server.url("anyone", parameters)).await.unwrap());
}

#[tokio::test]
async fn the_watchdog_and_the_listener_are_encrypted_too() {
    let Some(server) = server(Certificate::Good).await else { return };
    let url = server.url("tls_only", "sslmode=verify-full&sslrootcert={dir}/root.crt&application_name=all");
    let database = database(&url).unwrap();
    let _listener = Listener::start(&database);
    let _connection = database.connection().await.unwrap();
    // The session of the pool, the one that listens, and the watchdog's.
    let sql = "select count(*) from pg_stat_activity join pg_stat_ssl using (pid) where application_name = 'all' and ssl";
    let begun = Instant::now();
    while count(&server.superuser, sql).await < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "three sessions do not come about");
        tokio::time::sleep(Duration::from_millis(20)).await; // the pause between two looks
    }
}

#[tokio::test]
async fn a_plain_connection_across_a_network_is_warned_of() {
    let Some(server) = server(Certificate::Good).await else { return };
    let Some(address) = address_of_this_machine() else {
        return skipped("a_plain_connection_across_a_network_is_warned_of: this machine has no network");
    };
    let warning = async |parameters: &str| {
        let database = database(&server.url("anyone", parameters)).unwrap();
        drop(database.connection().await.unwrap());
        database.unencrypted()
    };
    let warned = warning(&format!("host={address}&sslmode=disable")).await.unwrap();
    assert!(warned.contains(&format!("{address}:{}", server.port)), "{warned}");
    assert!(warned.contains("write sslmode=require"), "{warned}");
    assert_eq!(warning(&format!("host={address}&sslmode=prefer")).await, None);
    assert_eq!(warning("host=127.0.0.1&sslmode=disable").await, None);
    assert_eq!(warning("host={dir}").await, None);
}

/// Returns an address of this machine that is not loopback. Nothing is sent.
fn address_of_this_machine() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|address| !address.is_loopback())
}
