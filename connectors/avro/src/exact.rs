//! Restores an empty database to the state of a backup: rows at their positions, registry, ledger, dead letters.
//! Views are created anew.
//!
//! All files are read to their end first. Then one transaction fills all tables, so that a restore that is killed has
//! changed nothing.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use deadpool_postgres::Transaction;
use futures_util::SinkExt;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_postgres::PgError;
use tidegate_postgres::session::end_with_us;
use tidegate_postgres::table::{self, quoted, table_name};
use tidegate_store::{Store, begin_copy, leases, prepare};
use tidegate_views::View;
use tokio::sync::mpsc;

use crate::AvroError;
use crate::backup::in_thread;
use crate::blocks::{ContainerReader, Damage};
use crate::check::check_backup;
use crate::file::TableFile;
use crate::fit::FieldMap;
use crate::folder::{Backup, DESCRIPTION, describe, file_in_backup};
use crate::snapshot::own_tables;

/// How many bytes are sent to Postgres at once, and how many such batches may be read ahead.
const HAND_OVER_BYTES: usize = 256 * 1024;
const HAND_OVERS: usize = 4;

/// A backup of everything. Each of its files was read to its end.
#[derive(Clone, Debug)]
pub struct ExactBackup {
    folder: PathBuf,
    /// The description of the backup.
    pub backup: Backup,
}

/// Checks all files of a backup. Fails if the folder is not a backup of everything that the manifest has, or any of its
/// files is damaged or does not fit.
pub fn check(manifest: &Manifest, folder: &Path) -> Result<ExactBackup, AvroError> {
    let Some(backup) = describe(folder)? else {
        return Err(AvroError::refused(format!(
            "'{}' is no backup: it has no {DESCRIPTION}",
            folder.display()
        )));
    };
    if backup.pipeline != manifest.pipeline {
        return Err(AvroError::refused(format!(
            "the backup is of the pipeline '{}', the manifest is of '{}'",
            backup.pipeline, manifest.pipeline
        )));
    }
    if backup.state.is_empty() {
        return Err(AvroError::refused(
            "the backup is of some datasets alone, without registry and ledger; restore it without --exact",
        ));
    }
    // The table of several datasets is there once, under the name of any of them.
    let is_there = |dataset: &Dataset| {
        let mut written = backup.datasets.iter().filter_map(|written| manifest.dataset(&written.name));
        written.any(|(_, its)| its.of_table == dataset.of_table)
    };
    let lacking = manifest.tables().filter(|(_, dataset)| !is_there(dataset));
    let lacking: Vec<&str> = lacking.map(|(_, dataset)| dataset.name.as_str()).collect();
    if !lacking.is_empty() {
        return Err(AvroError::refused(format!(
            "the manifest has datasets that the backup has not: {}; restore with the manifest of then, and add them after",
            lacking.join(", ")
        )));
    }
    check_backup(manifest, folder, &backup, &[])?;
    for written in &backup.state {
        let path = folder.join(file_in_backup(written)?);
        let blocks = ContainerReader::open(&path, Some(written.clone()))?;
        let (fit, _) = all_of(&blocks, &path)?;
        blocks.read(|fields| fit.texts(fields).map(drop).map_err(Damage::What))?;
    }
    Ok(ExactBackup { folder: folder.to_owned(), backup })
}

fn all_of(blocks: &ContainerReader, path: &Path) -> Result<(FieldMap, Vec<String>), AvroError> {
    FieldMap::of_all(&blocks.schema).map_err(|differences| {
        AvroError::refused(format!("'{}' cannot be restored: {}", path.display(), differences.join("; ")))
    })
}

impl ExactBackup {
    /// Fills the database in one transaction. The caller must hold the leases. `watch` is called with the table, and
    /// with how many of its rows have been sent. Fails if the database is not empty, with all tables that have rows. An
    /// error means that nothing has changed.
    pub async fn fill(
        &self,
        store: &Store,
        views: &[View],
        watch: &(dyn Fn(&str, u64) + Sync),
    ) -> Result<(), AvroError> {
        let mut connection = store.own_connection().await?;
        let tx = leases::fenced(store, &mut connection).await?;
        end_with_us(&tx).await?;
        table::ensure(&tx, store.manifest()).await?;
        // Each after the tables that it references.
        let datasets: Vec<String> =
            store.manifest().tables().map(|(_, dataset)| table_name(dataset)).collect();
        let own: Vec<String> = own_tables(&tx).await?.into_iter().map(|(name, _)| name).collect();
        let own_table = |name: &String| format!("tidegate.{}", quoted(name));
        let tables: Vec<String> = datasets.iter().cloned().chain(own.iter().map(own_table)).collect();
        let obstacles = obstacles(&tx, &tables).await?;
        if !obstacles.is_empty() {
            return Err(AvroError::refused(format!(
                "the database is not empty, and --exact brings back all of it or nothing:\n  {}\nuse an empty database, or \
                 restore without --exact",
                obstacles.join("\n  ")
            )));
        }
        let mut unknown: Vec<&str> = self.backup.state.iter().map(|written| written.name.as_str()).collect();
        unknown.retain(|name| !own.iter().any(|own| own == name));
        if !unknown.is_empty() {
            return Err(AvroError::refused(format!(
                "the backup, of Tidegate {}, has tables that this version does not know: {}",
                self.backup.tidegate,
                unknown.join(", ")
            )));
        }
        for (dataset, table) in store.manifest().datasets.iter().zip(&datasets) {
            self.table(&tx, &self.backup.datasets, &dataset.name, table, watch).await?;
        }
        for name in &own {
            self.table(&tx, &self.backup.state, name, &own_table(name), watch).await?;
        }
        for (name, last) in &self.backup.sequences {
            let sql = "select setval(format('tidegate.%I', $1::text)::regclass, $2)";
            tx.query_one(sql, &[name, last]).await?;
        }
        tx.execute("update tidegate.pipeline set identity = $1", &[&self.backup.identity]).await?;
        // The backup may be of a version without counts.
        tx.execute(include_str!("../../../sql/queries/count_restored.sql"), &[]).await?;
        Failpoint::RestoreFilled.pass()?;
        prepare::apply_in(store, tx, views, false).await?;
        Ok(Failpoint::RestoreCommitted.pass()?)
    }

    /// Fills a table, if the backup has a file for it among `files`.
    async fn table(
        &self,
        tx: &Transaction<'_>,
        files: &[TableFile],
        name: &str,
        table: &str,
        watch: &(dyn Fn(&str, u64) + Sync),
    ) -> Result<(), AvroError> {
        let Some(written) = files.iter().find(|written| written.name == name) else { return Ok(()) };
        let path = self.folder.join(file_in_backup(written)?);
        let expected = written.clone();
        let (blocks, fit, columns) = in_thread(move || {
            let blocks = ContainerReader::open(&path, Some(expected))?;
            let (fit, columns) = all_of(&blocks, &path)?;
            Ok((blocks, fit, columns))
        })
        .await?;
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let sql = format!("copy {table} ({}) from stdin (format csv)", columns.join(", "));
        let mut sink = std::pin::pin!(begin_copy(tx, &sql).await?);
        let (hand_over, mut handed) = mpsc::channel::<(u64, Bytes)>(HAND_OVERS);
        let reading = in_thread(move || read(blocks, &fit, &hand_over));
        let mut sent = Ok(());
        while sent.is_ok()
            && let Some((rows, lines)) = handed.recv().await
        {
            watch(table, rows);
            sent = sink.send(lines).await;
        }
        drop(handed);
        let read = reading.await;
        sent?;
        read?;
        let rows = sink.finish().await?;
        if rows != written.rows {
            return Err(AvroError::refused(format!(
                "{table} got {rows} rows, the backup has {}",
                written.rows
            )));
        }
        Ok(())
    }
}

/// Returns what prevents the database from being filled: the tables that are not empty.
async fn obstacles(tx: &Transaction<'_>, tables: &[String]) -> Result<Vec<String>, PgError> {
    let mut obstacles = Vec::new();
    for table in tables {
        let sql = format!("select count(*) from (select from {table} limit 1001) as few");
        match tx.query_one(&sql, &[]).await?.get::<_, i64>(0) {
            0 => {}
            1001 => obstacles.push(format!("{table} has more than 1000 rows")),
            1 => obstacles.push(format!("{table} has 1 row")),
            rows => obstacles.push(format!("{table} has {rows} rows")),
        }
    }
    Ok(obstacles)
}

/// Reads a file, and sends its rows as lines of CSV, with how many rows were sent so far. Values are quoted and nulls
/// are empty: in quotes even an empty text is a value, and `\.` does not end the rows.
fn read(
    blocks: ContainerReader,
    fit: &FieldMap,
    hand_over: &mpsc::Sender<(u64, Bytes)>,
) -> Result<(), AvroError> {
    let mut lines = Vec::new();
    let mut rows = 0;
    let gone = || Damage::Failed(AvroError::refused("Postgres takes no more rows")); // the sink returns the reason
    blocks.read(|fields| {
        for (i, text) in fit.texts(fields).map_err(Damage::What)?.into_iter().enumerate() {
            if i > 0 {
                lines.push(b',');
            }
            if let Some(text) = text {
                lines.push(b'"');
                lines.extend(text.replace('"', "\"\"").as_bytes());
                lines.push(b'"');
            }
        }
        lines.push(b'\n');
        rows += 1;
        if lines.len() >= HAND_OVER_BYTES {
            let lines = Bytes::from(std::mem::take(&mut lines));
            hand_over.blocking_send((rows, lines)).map_err(|_| gone())?;
        }
        Ok(())
    })?;
    if !lines.is_empty() {
        let _ = hand_over.blocking_send((rows, Bytes::from(lines))); // the sink returns the reason
    }
    Ok(())
}
