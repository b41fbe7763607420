//! Connections.

use futures_util::SinkExt;
use tokio_postgres::{Client, Error, NoTls};

/// A session that waits for no lock for long.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("set lock_timeout = '5s'; set statement_timeout = '60s'").await.unwrap();
    client
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
