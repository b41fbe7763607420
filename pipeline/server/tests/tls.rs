//! A pipeline whose server takes encrypted connections only.

use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use tidegate_testing::tls::{Authority, server_settings};

use crate::company;
use crate::home::{Home, skipped};
use crate::server::OwnServer;

/// The command connects as `loader`, the tests as `postgres`.
const PG_HBA: &str = "hostssl all loader all scram-sha-256\nhost all postgres,plain all scram-sha-256\n";

/// A home whose command has a role that the server takes over TLS only, and the folder of the server's `root.crt`.
async fn home(more: &[(&str, &str)]) -> (Home, OwnServer, TempDir, u16) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let authority = Authority::new("authority");
    let files = folder.path().join("tls");
    let settings = server_settings(&files, &authority, &authority.server("localhost"), PG_HBA);
    std::fs::write(folder.path().join("root.crt"), &authority.certificate).unwrap();
    let settings = settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let settings: Vec<_> = settings.chain(more.iter().copied()).collect();
    let server = OwnServer::start_with(&settings).await;
    let home = company::furnished(Home::embedded_on(server.url(), company::MANIFEST));
    home.query("create role loader login password 'x'; grant all on database postgres to loader").await;
    home.query("create role plain login password 'x'; grant all on database postgres to plain").await;
    home.query("grant all on schema public to loader, plain").await;
    let config: tokio_postgres::Config = server.url().parse().unwrap();
    (home, server, folder, config.get_ports()[0])
}

#[tokio::test]
async fn a_pipeline_runs_over_verified_connections() {
    let (home, _server, folder, port) = home(&[]).await;
    let root = folder.path().join("root.crt");
    let url = format!("postgres://loader:x@localhost:{port}/postgres");
    let home = home.by_way_of(format!("{url}?sslmode=verify-full&sslrootcert={}", root.display()));
    company::drop_example(&home);
    home.ingest().await;
    company::assert_views_hold(&home).await;
    home.run("check").await.succeeded();
    home.run("verify --deep").await.succeeded();

    // The roots of the system, which the environment names; then those of the home directory, as libpq has them.
    let home = home.by_way_of(format!("{url}?sslrootcert=system"));
    let mut command = home.command(["run", "--until-idle"]);
    command.env("SSL_CERT_FILE", &root).env_remove("SSL_CERT_DIR");
    crate::home::Running::start(command).ended().await.succeeded();
    std::fs::create_dir(folder.path().join(".postgresql")).unwrap();
    std::fs::copy(&root, folder.path().join(".postgresql/root.crt")).unwrap();
    let home = home.by_way_of(format!("{url}?sslmode=verify-full"));
    let mut command = home.command(["run", "--until-idle"]);
    command.env("HOME", folder.path());
    crate::home::Running::start(command).ended().await.succeeded();

    let home = home.by_way_of(format!("{url}?sslmode=disable"));
    home.run("run --until-idle").await.failed_with(1).saying(&[
        &format!("cannot connect to Postgres at localhost:{port}"),
        "write sslmode=require in the database's url",
    ]);
    let home = home.by_way_of(format!(
        "postgres://loader:x@127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert={}",
        root.display()
    ));
    home.run("run --until-idle").await.failed_with(1).saying(&["is for localhost, and not for 127.0.0.1"]);
}

#[tokio::test]
async fn check_and_run_warn_of_a_plain_connection_across_a_network() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let address = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    let Ok(address) = address.map(|address| address.ip()) else {
        return skipped(
            "check_and_run_warn_of_a_plain_connection_across_a_network",
            "this machine has no network",
        );
    };
    let (home, _server, _folder, port) = home(&[("listen_addresses", "0.0.0.0")]).await;
    let url = format!("postgres://plain:x@{address}:{port}/postgres");
    let home = home.by_way_of(format!("{url}?sslmode=disable"));
    let warning = format!("the connection to {address}:{port} crosses a network without encryption");
    let checked = home.run("check --format csv").await.succeeded().stdout;
    assert!(checked.contains(&format!("connection,warning,\"{warning}")), "{checked}");
    home.run("run --until-idle").await.succeeded().saying(&[&warning]);
    let home = home.by_way_of(url);
    let checked = home.run("check --format csv").await.succeeded().stdout;
    assert!(!checked.contains("without encryption"), "{checked}");
    let said = home.run("run --until-idle").await.succeeded().stderr;
    assert!(!said.contains("without encryption"), "{said}");
}
