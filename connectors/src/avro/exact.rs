//! An empty database as it was: rows at their positions, registry, ledger, dead letters; views made afresh.
//!
//! All files are read to their end first. Then one transaction fills all tables, so that a restore that is killed
//! has done nothing.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::SinkExt;
use tidegate_core::manifest::Manifest;
use tokio::sync::mpsc;

use super::Error;
use super::backup::in_thread;
use super::blocks::{Blocks, RowError, Whole};
use super::check::check_backup;
use super::file::Written;
use super::fit::Fit;
use super::folder::{Backup, DESCRIPTION, describe, file_in_backup};
use crate::postgres::Postgres;
use crate::postgres::refill::Refill;
use crate::postgres::table::{quoted, table_name};
use crate::postgres::views::View;

/// So many bytes are sent to Postgres at once, and so many times ahead of it.
const HAND_OVER_BYTES: usize = 256 * 1024;
const HAND_OVERS: usize = 4;

/// A backup of everything, each file of which was read to its end.
#[derive(Clone, Debug)]
pub struct Exact {
    folder: PathBuf,
    /// What the backup is.
    pub backup: Backup,
}

/// Checks all files of a backup.
///
/// # Errors
///
/// If it is no backup of everything that the manifest has, or any of its files is not as it should be.
pub fn check(manifest: &Manifest, folder: &Path) -> Result<Exact, Error> {
    let Some(backup) = describe(folder)? else {
        return Err(Error::refused(format!("'{}' is no backup: it has no {DESCRIPTION}", folder.display())));
    };
    if backup.pipeline != manifest.pipeline {
        return Err(Error::refused(format!(
            "the backup is of the pipeline '{}', the manifest is of '{}'",
            backup.pipeline, manifest.pipeline
        )));
    }
    if backup.state.is_empty() {
        return Err(Error::refused(
            "the backup is of some datasets alone, without registry and ledger; restore it without --exact",
        ));
    }
    let lacks = |dataset: &&str| !backup.datasets.iter().any(|written| written.name == **dataset);
    let names = manifest.datasets.iter().map(|dataset| dataset.name.as_str());
    let lacking: Vec<&str> = names.filter(lacks).collect();
    if !lacking.is_empty() {
        return Err(Error::refused(format!(
            "the manifest has datasets that the backup has not: {}; restore with the manifest of then, and add them after",
            lacking.join(", ")
        )));
    }
    check_backup(manifest, folder, &backup, &[])?;
    for written in &backup.state {
        let path = folder.join(file_in_backup(written)?);
        let blocks = Blocks::open(&path, Some(written.clone()))?;
        let (fit, _) = all_of(&blocks, &path)?;
        blocks.read(|fields| fit.texts(fields).map(drop).map_err(RowError::Damaged))?;
    }
    Ok(Exact { folder: folder.to_owned(), backup })
}

fn all_of(blocks: &Blocks, path: &Path) -> Result<(Fit, Vec<String>), Error> {
    Fit::of_all(&blocks.schema).map_err(|differences| {
        Error::refused(format!("'{}' cannot be restored: {}", path.display(), differences.join("; ")))
    })
}

impl Exact {
    /// Fills the database. The leases must be held. `watch` is told the table, and how many of its rows are there.
    ///
    /// # Errors
    ///
    /// If the database is not empty: all that is in the way; or Postgres refuses anything. Then nothing has changed.
    pub async fn fill(
        &self,
        postgres: &Postgres,
        views: &[View],
        watch: &(dyn Fn(&str, u64) + Sync),
    ) -> Result<(), Error> {
        let mut connection = postgres.connection_for_refill().await?;
        let refill = Refill::begin(postgres, &mut connection).await?;
        let obstacles = refill.obstacles().await?;
        if !obstacles.is_empty() {
            return Err(Error::refused(format!(
                "the database is not empty, and --exact brings back all of it or nothing:\n  {}\nuse an empty database, or \
                 restore without --exact",
                obstacles.join("\n  ")
            )));
        }
        let own = refill.own_tables().await?;
        let unknown: Vec<&str> = self.backup.state.iter().map(|written| written.name.as_str()).collect();
        let unknown: Vec<_> =
            unknown.into_iter().filter(|name| !own.iter().any(|(own, _)| own == name)).collect();
        if !unknown.is_empty() {
            return Err(Error::refused(format!(
                "the backup, of Tidegate {}, has tables that this version does not know: {}",
                self.backup.tidegate,
                unknown.join(", ")
            )));
        }
        for dataset in &postgres.manifest().datasets {
            let written = self.backup.datasets.iter().find(|written| written.name == dataset.name);
            self.table(&refill, written, &table_name(dataset), watch).await?;
        }
        for (name, _) in &own {
            let written = self.backup.state.iter().find(|written| written.name == *name);
            self.table(&refill, written, &format!("tidegate.{}", quoted(name)), watch).await?;
        }
        for (name, last) in &self.backup.sequences {
            refill.sequence(name, *last).await?;
        }
        refill.end(self.backup.identity, views).await?;
        Ok(())
    }

    /// Fills a table, if the backup has a file of it.
    async fn table(
        &self,
        refill: &Refill<'_>,
        written: Option<&Written>,
        table: &str,
        watch: &(dyn Fn(&str, u64) + Sync),
    ) -> Result<(), Error> {
        let Some(written) = written else { return Ok(()) };
        let path = self.folder.join(file_in_backup(written)?);
        let (blocks, fit, columns) = in_thread({
            let written = written.clone();
            move || {
                let blocks = Blocks::open(&path, Some(written))?;
                let (fit, columns) = all_of(&blocks, &path)?;
                Ok((blocks, fit, columns))
            }
        })
        .await?;
        let mut sink = std::pin::pin!(refill.copy(table, &columns).await?);
        let (hand_over, mut handed) = mpsc::channel::<(u64, Bytes)>(HAND_OVERS);
        let reading = tokio::task::spawn_blocking(move || read(blocks, &fit, &hand_over));
        let mut sent = Ok(());
        while let Some((rows, lines)) = handed.recv().await {
            watch(table, rows);
            sent = sink.send(lines).await;
            if sent.is_err() {
                break;
            }
        }
        drop(handed);
        let stopped = |error| Error::Io("finish".to_owned(), std::io::Error::other(error));
        let read = reading.await.map_err(stopped)?;
        sent?;
        read?;
        let rows = sink.finish().await?;
        if rows != written.rows {
            return Err(Error::refused(format!("{table} got {rows} rows, the backup has {}", written.rows)));
        }
        Ok(())
    }
}

/// Reads a file, and hands its rows over as lines of CSV, with how many there are so far.
fn read(blocks: Blocks, fit: &Fit, hand_over: &mpsc::Sender<(u64, Bytes)>) -> Result<Whole, Error> {
    let mut lines = Vec::new();
    let mut rows = 0;
    let gone = || RowError::Failed(Error::refused("Postgres takes no more rows")); // and says why
    let whole = blocks.read(|fields| {
        let texts = fit.texts(fields).map_err(RowError::Damaged)?;
        for (i, text) in texts.iter().enumerate() {
            if i > 0 {
                lines.push(b',');
            }
            if let Some(text) = text {
                quote(text, &mut lines);
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
        let _ = hand_over.blocking_send((rows, Bytes::from(lines))); // who is gone says why
    }
    Ok(whole)
}

/// In quotes a value is one, and no end of the rows, whatever it is.
fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(b'"');
}
