//! The cheap way to write rows: `copy` straight into the table, with its triggers off.
//!
//! Under `session_replication_role = replica` neither foreign keys nor views cost a trigger call. That is
//! sound only because the sink has checked the references of the rows and holds the rows referenced, and
//! because it brings the views up to date itself, by what is computed [`beside`](super::beside) the copy.
//! Where the table has a trigger, foreign key or policy that is not Tidegate's, the way is closed: see
//! [`obstacles`](super::table::obstacles). A key that exists, or a row that Postgres refuses, fails the
//! copy, and the batch is applied anew the [`ordinary`](super::ordinary) way.

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use deadpool_postgres::Transaction;
use futures_util::SinkExt;
use futures_util::future::{Either, select};
use tidegate_core::manifest::Dataset;
use tidegate_core::split::{Dialect, Fields};
use tokio_postgres::CopyInSink;
use tracing::debug;

use super::batch::{Row, Rows};
use super::beside::{Session, Staging};
use super::table::{TableSql, obstacles};
use super::{Error, Inner, Postgres};

/// How many rows are tried for a key that exists already, before a copy is begun in vain.
const SAMPLE_ROWS: usize = 32;
const COPY_MESSAGE_BYTES: usize = 256 * 1024;
/// How often a session that waits for another says that it is not lost: more often than the watchdog looks.
pub(super) const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Writes the rows in the cheap way; `false`, and nothing done, where it is closed or would fail.
pub(super) async fn write(
    tx: &Transaction<'_>,
    postgres: &Postgres,
    dataset: usize,
    rows: &Rows,
    accepted: &[u32],
) -> Result<bool, Error> {
    let Inner { manifest, tables, sink, .. } = &*postgres.inner;
    let (definition, table) = (&manifest.datasets[dataset], &tables[dataset]);
    let views: Vec<_> = postgres.maintained(dataset).collect();
    // Held to the commit: nobody adds a trigger or a foreign key, or alters a column, meanwhile.
    tx.batch_execute(&format!("lock table {} in row exclusive mode", table.name)).await?;
    if !obstacles(tx, manifest, definition, &views).await?.is_empty()
        || any_key_exists(tx, table, &sample_keys(definition, rows, accepted)).await?
    {
        return Ok(false);
    }
    let beside = match views.is_empty() {
        true => None,
        // Where no second session is to be had, the batch can do without.
        false => match second_session(postgres).await {
            Ok(session) => Some(session),
            Err(error) => {
                debug!(%error, "there is no second session to compute views in");
                return Ok(false);
            }
        },
    };
    tx.batch_execute("set local session_replication_role = replica").await?;
    let columns = table.copy_columns();
    let copying = copy(tx, &table.name, &columns, rows, accepted);
    if let Some(mut beside) = beside {
        let staging = Staging::new(tx, definition, table, &views).await?;
        let changes = beside.changes(postgres, &staging, &columns, (rows, accepted), &views);
        let changes = both(tx, copying, changes).await?;
        *sink.beside.lock().await = Some(beside);
        for (view, changes) in views.iter().zip(changes) {
            let copy = format!("copy {} ({}) from stdin", view.table(), view.columns());
            let mut sink = pin!(begin_copy(tx, &copy).await?);
            send(&mut sink, changes).await?;
            sink.finish().await?;
        }
    } else {
        copying.await?;
    }
    tx.batch_execute("set local session_replication_role = origin").await?;
    Ok(true)
}

async fn second_session(postgres: &Postgres) -> Result<Session, Error> {
    match postgres.inner.sink.beside.lock().await.take() {
        Some(session) if !session.is_closed() => Ok(session),
        _ => Session::new(postgres.connection().await?, &postgres.inner.manifest).await,
    }
}

/// Does both at once, the first of them in `tx`; ends both when one fails.
async fn both<T>(
    tx: &Transaction<'_>,
    first: impl Future<Output = Result<(), Error>>,
    second: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let first = pin!(first);
    let second = pin!(second);
    let mut second = match select(first, second).await {
        Either::Left((first, second)) => {
            first?;
            second
        }
        Either::Right((second, first)) => {
            let second = second?;
            first.await?;
            return Ok(second);
        }
    };
    loop {
        match tokio::time::timeout(SIGN_OF_LIFE, &mut second).await {
            Ok(second) => return second,
            Err(_) => tx.batch_execute("").await?,
        }
    }
}

/// Sends rows to a table by `copy`.
pub(super) async fn copy(
    tx: &Transaction<'_>,
    table: &str,
    columns: &str,
    rows: &Rows,
    accepted: &[u32],
) -> Result<(), Error> {
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
    Err(Error::halt(format!("Postgres reports {copied} rows copied into {table}, and {sent} were sent")))
}

/// Begins a copy to the server. **All copies begin here**: after one that is refused the connection serves no more.
pub(super) async fn begin_copy(tx: &Transaction<'_>, sql: &str) -> Result<CopyInSink<Bytes>, Error> {
    tx.copy_in(sql).await.map_err(|error| match error.code() {
        Some(_) => Error::CopyRefused(error),
        None => Error::Postgres(error),
    })
}

/// The format in which `copy` is to read canonical lines: what has neither quotes nor backslashes means the same
/// in both, and Postgres takes longer for CSV.
fn format(text: &[u8]) -> &'static str {
    match memchr::memchr3(b'"', b'\\', b'\r', text) {
        Some(_) => "format csv",
        None => "format text, delimiter ',', null ''",
    }
}

/// Sends a text in parts.
async fn send(sink: &mut Pin<&mut CopyInSink<Bytes>>, mut text: Bytes) -> Result<(), Error> {
    while !text.is_empty() {
        sink.send(text.split_to(text.len().min(COPY_MESSAGE_BYTES))).await?;
    }
    Ok(())
}

/// The keys of some rows, from all over the batch.
fn sample_keys(dataset: &Dataset, rows: &Rows, accepted: &[u32]) -> Vec<String> {
    let step = (accepted.len() / SAMPLE_ROWS).max(1);
    let mut fields = Fields::default();
    let mut key = |row: &Row| {
        let text = rows.canonical(row);
        fields.split(text, Dialect::STANDARD).expect("a canonical line has no open quote");
        String::from_utf8_lossy(fields.get(dataset.key, text)).into_owned()
    };
    accepted.iter().step_by(step).map(|row| key(&rows.lines[*row as usize])).collect()
}

async fn any_key_exists(tx: &Transaction<'_>, table: &TableSql, keys: &[String]) -> Result<bool, Error> {
    let sql = format!(
        "select exists (select from {} where {} = any($1::text[]::{}[]))",
        table.name, table.key, table.key_type
    );
    let statement = tx.prepare_cached(&sql).await?;
    Ok(tx.query_one(&statement, &[&keys]).await?.get(0))
}
