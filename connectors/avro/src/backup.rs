//! Takes a backup: one snapshot of all tables, each written to a file.
//!
//! Postgres streams a table in binary form. A thread beside the runtime writes the file, and holds Postgres back if
//! the disk is slower. Therefore memory does not grow with the tables, and the snapshot lasts as long as it takes to
//! read them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::pin::pin;

use deadpool_postgres::{ClientWrapper, Transaction};
use futures_util::TryStreamExt;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::{Codec, Manifest};
use tidegate_postgres::schema;
use tidegate_postgres::table::{quoted, table_name};
use tidegate_store::{IdempotencyKey, Store};
use tokio::sync::mpsc;
use tokio_postgres::binary_copy::{BinaryCopyOutRow, BinaryCopyOutStream};
use tokio_postgres::types::Type;
use tracing::warn;

use crate::AvroError;
use crate::file::{FileWriter, TableFile};
use crate::folder::{Backup, BackupDraft, FORMAT, Folder, RequestId, STATE};
use crate::layout::RecordLayout;
use crate::snapshot;

/// How many bytes are handed to the thread at once, and how many such batches may wait before Postgres is held back.
const HAND_OVER_BYTES: usize = 256 * 1024;
const HAND_OVERS: usize = 4;

/// The options of a backup.
#[derive(Clone, Debug, Default)]
pub struct BackupOptions {
    /// The datasets. If empty, all datasets and Tidegate's own tables.
    pub datasets: Vec<String>,
    /// How blocks are compressed.
    pub codec: Codec,
    /// The idempotency key of the request, if it has one. A repeated request gives the same backup, as long as that
    /// backup is kept.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// Takes a backup. When this returns, the backup is in the folder, complete and on disk. Before, nothing has its
/// name.
pub async fn backup(store: &Store, folder: &Folder, options: &BackupOptions) -> Result<Backup, AvroError> {
    backup_named(store, folder, options, |_| {}).await
}

/// Takes a backup as [`backup`] does. Calls `named` with the backup's name as soon as the snapshot is taken, before
/// tables are read.
pub async fn backup_named(
    store: &Store,
    folder: &Folder,
    options: &BackupOptions,
    named: impl FnOnce(&str) + Send,
) -> Result<Backup, AvroError> {
    let datasets = chosen(store.manifest(), &options.datasets)?;
    let begun = in_thread({
        let (folder, idempotency_key) = (folder.clone(), options.idempotency_key);
        move || {
            let draft = folder.begin()?;
            // Looked up under the lock, so that an equal request that was faster is seen.
            let known = idempotency_key.map_or(Ok(None), |key| folder.of_request(&key));
            Ok((draft, known?))
        }
    });
    let draft = match begun.await? {
        (_, Some(known)) => return Ok(known),
        (draft, None) => draft,
    };
    drop(schema::prepared_connection(store).await?);
    let mut connection = store.own_connection().await?;
    let work = BackupWork { store, draft: &draft, options };
    let backup = work.take(&mut connection, &datasets, named).await?;
    drop(connection);
    let backup = in_thread(move || draft.publish(backup)).await?;
    Failpoint::BackupPublished.pass()?;
    Ok(backup)
}

/// Returns the indexes of datasets by name, in the order of their references; of all datasets if there are no names. Of
/// datasets that share a table, it is the first one, under whose name the table is written.
pub(super) fn chosen(manifest: &Manifest, names: &[String]) -> Result<Vec<usize>, AvroError> {
    if names.is_empty() {
        return Ok(manifest.tables().map(|(index, _)| index).collect());
    }
    let index = |name: &String| match manifest.dataset(name) {
        Some((_, dataset)) => Ok(dataset.of_table),
        None => {
            let known: Vec<&str> = manifest.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
            Err(AvroError::Unknown(format!(
                "there is no dataset '{}'; the datasets are: {}",
                name.escape_debug(),
                known.join(", ")
            )))
        }
    };
    let chosen: BTreeSet<usize> = names.iter().map(index).collect::<Result<_, _>>()?;
    Ok(chosen.into_iter().collect())
}

/// Starts blocking work on a thread beside the runtime, and returns a future for its end.
pub(super) fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AvroError> + Send + 'static,
) -> impl Future<Output = Result<T, AvroError>> {
    let stopped = |error| AvroError::Io("finish".to_owned(), std::io::Error::other(error));
    let thread = tokio::task::spawn_blocking(work);
    async move { thread.await.map_err(stopped)? }
}

struct BackupWork<'a> {
    store: &'a Store,
    draft: &'a BackupDraft,
    options: &'a BackupOptions,
}

impl BackupWork<'_> {
    async fn take(
        &self,
        connection: &mut ClientWrapper,
        datasets: &[usize],
        named: impl FnOnce(&str),
    ) -> Result<Backup, AvroError> {
        let manifest = self.store.manifest();
        let tx = snapshot::take(self.store, connection).await?;
        let moment = tx.query_one(include_str!("../../../sql/queries/snapshot_moment.sql"), &[]).await?;
        let id = self.draft.free_name(moment.get("id"));
        named(&id);
        let mut backup = Backup {
            format: FORMAT,
            id,
            pipeline: manifest.pipeline.clone(),
            identity: moment.get("identity"),
            taken_at: moment.get("taken_at"),
            largest_source: moment.get::<_, i64>("largest_source") as u64,
            codec: self.options.codec.as_str().to_owned(),
            request: self.options.idempotency_key.as_ref().map(RequestId::of),
            tidegate: env!("CARGO_PKG_VERSION").to_owned(),
            schema: moment.get("schema"),
            datasets: Vec::new(),
            state: Vec::new(),
            sequences: BTreeMap::new(),
        };
        for index in datasets {
            let dataset = &manifest.datasets[*index];
            let layout = RecordLayout::of(dataset);
            backup.datasets.push(self.table(&tx, &table_name(dataset), layout, None).await?);
            Failpoint::BackupFileWritten.pass()?;
        }
        if self.options.datasets.is_empty() {
            let folder = self.draft.path().join(STATE);
            create_private(&folder)?;
            for (name, columns) in snapshot::own_tables(&tx).await? {
                let table = format!("tidegate.{}", quoted(&name));
                let layout = RecordLayout::of_table(&name, &columns);
                backup.state.push(self.table(&tx, &table, layout, Some(STATE)).await?);
            }
            backup.sequences = snapshot::sequences(&tx).await?;
        }
        tx.commit().await?;
        Ok(backup)
    }

    /// Writes a table to a file. If a value of a column has no form in Avro, the column is written as text, in a
    /// second try.
    async fn table(
        &self,
        tx: &Transaction<'_>,
        table: &str,
        mut layout: RecordLayout,
        within: Option<&str>,
    ) -> Result<TableFile, AvroError> {
        loop {
            match self.try_table(tx, table, &layout, within).await? {
                Ok(written) => return Ok(written),
                Err(columns) => {
                    let names: Vec<&str> =
                        columns.iter().map(|i| layout.fields[*i].column.as_str()).collect();
                    if columns.iter().all(|i| layout.fields[*i].as_text) {
                        return Err(AvroError::refused(format!(
                            "a required value of {table} is null, in the column {}",
                            names.join(", ")
                        )));
                    }
                    warn!(table, "written as text, since a value has no form in Avro: {}", names.join(", "));
                    layout = layout.with_texts(&columns);
                }
            }
        }
    }

    async fn try_table(
        &self,
        tx: &Transaction<'_>,
        table: &str,
        layout: &RecordLayout,
        within: Option<&str>,
    ) -> Result<Result<TableFile, BTreeSet<usize>>, AvroError> {
        let file = format!("{}.avro", layout.table);
        let file = within.map_or_else(|| file.clone(), |folder| format!("{folder}/{file}"));
        // Read as bytes, values are as Postgres sends them.
        let width = layout.fields.len();
        let sql = format!("copy (select {} from {table}) to stdout (format binary)", layout.expressions());
        let rows = tx.copy_out(&sql).await?;
        let mut rows = pin!(BinaryCopyOutStream::new(rows, &vec![Type::BYTEA; width]));
        let (hand_over, handed) = mpsc::channel(HAND_OVERS);
        let (folder, layout, codec) = (self.draft.path().to_owned(), layout.clone(), self.options.codec);
        let writing =
            in_thread(move || write(FileWriter::create(&folder, file, layout, codec)?, width, handed));
        let mut batch = Vec::new();
        let mut bytes = 0;
        let streaming = async {
            while let Some(row) = rows.try_next().await? {
                // A row in memory has a range for each column, null or not.
                bytes += width * size_of::<Option<std::ops::Range<usize>>>();
                bytes += values(&row, width).flatten().map(<[u8]>::len).sum::<usize>();
                batch.push(row);
                if bytes >= HAND_OVER_BYTES {
                    bytes = 0;
                    // If the channel is closed, the thread has failed, and returns the error.
                    if hand_over.send(std::mem::take(&mut batch)).await.is_err() {
                        break;
                    }
                }
            }
            let _ = hand_over.send(batch).await; // as above
            Ok::<_, AvroError>(())
        };
        let streamed = streaming.await;
        drop(hand_over);
        let written = writing.await;
        streamed?;
        written
    }
}

/// Writes the rows that Postgres sends. Returns the columns that have a value without a form in Avro, if there are any.
fn write(
    mut file: FileWriter,
    width: usize,
    mut handed: mpsc::Receiver<Vec<BinaryCopyOutRow>>,
) -> Result<Result<TableFile, BTreeSet<usize>>, AvroError> {
    while let Some(batch) = handed.blocking_recv() {
        for row in batch {
            file.row(values(&row, width))?;
        }
    }
    file.finish()
}

/// Returns the values of a row.
fn values(row: &BinaryCopyOutRow, width: usize) -> impl Iterator<Item = Option<&[u8]>> {
    (0..width).map(|column| row.get(column))
}

fn create_private(folder: &Path) -> Result<(), AvroError> {
    let created = DirBuilder::new().mode(0o700).create(folder);
    created.map_err(AvroError::io("create the folder", folder))
}
