//! `copy` to the server.

use std::pin::{Pin, pin};

use bytes::{Bytes, BytesMut};
use deadpool_postgres::Transaction;
use futures_util::SinkExt;
use tidegate_postgres::PgError;
use tokio_postgres::CopyInSink;

use super::batch::DatasetRows;

const COPY_MESSAGE_BYTES: usize = 256 * 1024;

/// Begins a copy to the server. Every copy must begin here: after a refused copy the connection must be closed.
pub async fn begin_copy(tx: &Transaction<'_>, sql: &str) -> Result<CopyInSink<Bytes>, PgError> {
    tx.copy_in(sql).await.map_err(|error| match error.code() {
        Some(_) => PgError::CopyRefused(error),
        None => PgError::Postgres(error),
    })
}

/// Sends rows to a table by `copy`. Fails if Postgres reports another number of rows than was sent.
pub(super) async fn copy(
    tx: &Transaction<'_>,
    table: &str,
    columns: &str,
    rows: &DatasetRows,
    accepted: &[u32],
) -> Result<(), PgError> {
    let sql = format!("copy {table} ({columns}) from stdin ({})", format(&rows.text));
    let mut sink = pin!(begin_copy(tx, &sql).await?);
    if accepted.len() == rows.lines.len() && rows.is_whole() {
        send(&mut sink, rows.text.clone()).await?;
    } else {
        let mut message = BytesMut::with_capacity(COPY_MESSAGE_BYTES);
        for row in accepted {
            let text = rows.copy_text(&rows.lines[*row as usize]);
            if message.len() + text.len() > COPY_MESSAGE_BYTES && !message.is_empty() {
                sink.send(message.split().freeze()).await?;
            }
            message.extend_from_slice(&text);
        }
        sink.send(message.freeze()).await?;
    }
    let copied = sink.finish().await?;
    if copied == accepted.len() as u64 {
        return Ok(());
    }
    let sent = accepted.len();
    Err(PgError::halt(format!("Postgres reports {copied} rows copied into {table}, and {sent} were sent")))
}

/// The format in which `copy` reads canonical lines. A text without quotes, backslashes and carriage returns means
/// the same in both formats, and Postgres parses CSV more slowly.
fn format(text: &[u8]) -> &'static str {
    match memchr::memchr3(b'"', b'\\', b'\r', text) {
        Some(_) => "format csv",
        None => "format text, delimiter ',', null ''",
    }
}

/// Sends a text in parts of at most [`COPY_MESSAGE_BYTES`].
pub(super) async fn send(sink: &mut Pin<&mut CopyInSink<Bytes>>, mut text: Bytes) -> Result<(), PgError> {
    while !text.is_empty() {
        sink.send(text.split_to(text.len().min(COPY_MESSAGE_BYTES))).await?;
    }
    Ok(())
}
