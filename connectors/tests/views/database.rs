//! Connections.

use std::sync::Arc;
use std::time::Duration;

use futures_util::SinkExt;
use tidegate_connectors::postgres::{Holder, Postgres};
use tidegate_core::manifest::Manifest;
use tokio_postgres::{Client, Error, NoTls};
use uuid::Uuid;

/// A session that waits for no lock for long.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("set lock_timeout = '5s'; set statement_timeout = '60s'").await.unwrap();
    client
}

/// A handle on a database.
pub(crate) fn open(url: &str, manifest: &str, owner: Uuid) -> Postgres {
    let manifest = Manifest::parse(manifest, &|_| None).unwrap();
    Postgres::new(url, Arc::new(manifest), owner).unwrap()
}

/// Lets a handle prepare and commit.
pub(crate) async fn take_leases(sink: &Postgres) {
    let me = Holder { host: "test".into(), pid: 1, started: 0.0 };
    sink.lease(&me, Duration::from_secs(600), true).await.unwrap();
}

/// Copies rows into a table.
pub(crate) async fn copy(client: &Client, sql: &str, rows: &str) -> Result<(), Error> {
    let mut sink = std::pin::pin!(client.copy_in(sql).await?);
    sink.send(bytes::Bytes::copy_from_slice(rows.as_bytes())).await?;
    sink.finish().await.map(drop)
}

/// What Postgres says, with its code.
pub(crate) fn describe(error: &Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({}) {}", db.message(), db.code().code(), db.detail().unwrap_or_default()),
        None => error.to_string(),
    }
}
