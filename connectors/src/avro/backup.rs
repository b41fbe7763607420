//! Taking a backup: all tables of one moment, each to a file.
//!
//! Postgres streams a table in binary; a thread beside makes the file of it, and holds Postgres back where the disk is
//! slower. So memory does not grow with the tables, and the moment lasts as long as it takes to read them.

use std::path::Path;
use std::pin::pin;

use bytes::{Buf, Bytes};
use deadpool_postgres::ClientWrapper;
use futures_util::StreamExt;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::{Codec, Manifest};
use tokio::sync::mpsc;
use tracing::warn;

use super::file::{FileWriter, Written};
use super::folder::{Backup, Draft, Folder, RequestId, STATE};
use super::{Error, Layout, expressions};
use crate::postgres::snapshot::Snapshot;
use crate::postgres::table::table_name;
use crate::postgres::{Keyed, Postgres};

/// So many bytes are handed to the thread at once, and so many times before Postgres is held back.
const HAND_OVER_BYTES: usize = 256 * 1024;
const HAND_OVERS: usize = 4;

/// What is backed up, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The datasets; none means all, and Tidegate's own tables besides.
    pub datasets: Vec<String>,
    /// How blocks are compressed.
    pub codec: Codec,
    /// How the request names itself, if it does: sent again, it is one backup, as long as that is kept.
    pub keyed: Option<Keyed>,
}

/// Takes a backup. It is in the folder, whole and on disk, when this returns; before, nothing is under its name.
///
/// # Errors
///
/// If there is no such dataset, the database cannot be read, or the disk does not take it.
pub async fn backup(postgres: &Postgres, folder: &Folder, options: &Options) -> Result<Backup, Error> {
    backup_named(postgres, folder, options, |_| {}).await
}

/// The same; tells the name that the backup will have as soon as its moment is known, before tables are read.
///
/// # Errors
///
/// As [`backup`].
pub async fn backup_named(
    postgres: &Postgres,
    folder: &Folder,
    options: &Options,
    named: impl FnOnce(&str) + Send,
) -> Result<Backup, Error> {
    let manifest = postgres.manifest();
    let datasets = chosen(manifest, &options.datasets)?;
    let begun = in_thread({
        let (folder, keyed) = (folder.clone(), options.keyed);
        move || {
            let draft = folder.begin()?;
            // Asked behind the lock, so that whoever was faster is seen.
            let known = keyed.map_or(Ok(None), |keyed| folder.of_request(&keyed));
            Ok((draft, known?))
        }
    });
    let draft = match begun.await? {
        (_, Some(known)) => return Ok(known),
        (draft, None) => draft,
    };
    let mut connection = postgres.connection_for_snapshot().await?;
    let work = Work { postgres, manifest, draft: &draft, options };
    let backup = work.take(&mut connection, &datasets, named).await?;
    drop(connection);
    let backup = in_thread(move || draft.publish(backup, || Ok(Failpoint::BackupOnDisk.pass()?))).await?;
    Failpoint::BackupPublished.pass()?;
    Ok(backup)
}

/// The indexes of datasets by their names, in the order of their references; of all of them if there are no names.
pub(super) fn chosen(manifest: &Manifest, names: &[String]) -> Result<Vec<usize>, Error> {
    let mut chosen = Vec::new();
    for name in names {
        match manifest.dataset(name) {
            Some((index, _)) => chosen.push(index),
            None => {
                let known: Vec<&str> =
                    manifest.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
                return Err(Error::Unknown(format!(
                    "there is no dataset '{}'; the datasets are: {}",
                    name.escape_debug(),
                    known.join(", ")
                )));
            }
        }
    }
    if names.is_empty() {
        chosen = (0..manifest.datasets.len()).collect();
    }
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

/// Does what blocks beside the runtime.
pub(super) async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let stopped = |error| Error::Io("finish".to_owned(), std::io::Error::other(error));
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

struct Work<'a> {
    postgres: &'a Postgres,
    manifest: &'a Manifest,
    draft: &'a Draft,
    options: &'a Options,
}

impl Work<'_> {
    async fn take(
        &self,
        connection: &mut ClientWrapper,
        datasets: &[usize],
        named: impl FnOnce(&str),
    ) -> Result<Backup, Error> {
        let snapshot = Snapshot::take(self.postgres, connection).await?;
        let moment = snapshot.moment().await?;
        let id = self.draft.free_name(&moment.id);
        named(&id);
        let mut backup = Backup {
            format: Backup::FORMAT,
            id,
            pipeline: self.manifest.pipeline.clone(),
            identity: moment.identity,
            taken_at: moment.taken_at,
            largest_source: moment.largest_source,
            codec: self.options.codec.as_str().to_owned(),
            request: self.options.keyed.as_ref().map(RequestId::of),
            tidegate: env!("CARGO_PKG_VERSION").to_owned(),
            schema: moment.schema,
            datasets: Vec::new(),
            state: Vec::new(),
            sequences: Default::default(),
        };
        for index in datasets {
            let dataset = &self.manifest.datasets[*index];
            let table = table_name(dataset);
            let written = self.table(&snapshot, &table, Layout::of(dataset), None).await?;
            backup.datasets.push(written);
            Failpoint::BackupFileWritten.pass()?;
        }
        if self.options.datasets.is_empty() {
            let folder = self.draft.path().join(STATE);
            create_private(&folder)?;
            for (name, columns) in snapshot.own_tables().await? {
                let table = format!("tidegate.{}", crate::postgres::table::quoted(&name));
                let layout = Layout::of_table(&name, &columns);
                backup.state.push(self.table(&snapshot, &table, layout, Some(STATE)).await?);
            }
            backup.sequences = snapshot.sequences().await?.into_iter().collect();
        }
        snapshot.end().await?;
        Ok(backup)
    }

    /// Writes a table to a file. A column of which a value has no form in Avro is written as text, in a second try.
    async fn table(
        &self,
        snapshot: &Snapshot<'_>,
        table: &str,
        layout: Layout,
        within: Option<&str>,
    ) -> Result<Written, Error> {
        let mut layout = layout;
        loop {
            match self.try_table(snapshot, table, &layout, within).await? {
                Ok(written) => return Ok(written),
                Err(columns) => {
                    let names: Vec<&str> =
                        columns.iter().map(|i| layout.fields[*i].column.as_str()).collect();
                    let all_text = columns.iter().all(|i| layout.fields[*i].as_text);
                    if all_text {
                        return Err(Error::refused(format!(
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
        snapshot: &Snapshot<'_>,
        table: &str,
        layout: &Layout,
        within: Option<&str>,
    ) -> Result<Result<Written, Vec<usize>>, Error> {
        let file = format!("{}.avro", layout.table);
        let file = within.map_or_else(|| file.clone(), |folder| format!("{folder}/{file}"));
        let path = self.draft.path().join(&file);
        let mut rows = pin!(snapshot.copy(table, &expressions(layout)).await?);
        let (hand_over, handed) = mpsc::channel(HAND_OVERS);
        let writing = {
            let (layout, codec) = (layout.clone(), self.options.codec);
            tokio::task::spawn_blocking(move || write(&path, layout, codec, handed))
        };
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut failed = None;
        loop {
            let next = rows.next().await;
            let is_end = !matches!(next, Some(Ok(_)));
            match next {
                Some(Ok(row)) => {
                    bytes += row.len();
                    batch.push(row);
                }
                Some(Err(error)) => failed = Some(error),
                None => {}
            }
            if failed.is_some() {
                break;
            }
            if bytes >= HAND_OVER_BYTES || is_end {
                bytes = 0;
                // If nobody takes it, the thread has failed, and says why.
                if hand_over.send(std::mem::take(&mut batch)).await.is_err() || is_end {
                    break;
                }
            }
        }
        drop(hand_over);
        let stopped = |error| Error::Io("finish".to_owned(), std::io::Error::other(error));
        let written = writing.await.map_err(stopped)?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        Ok(written?.map(|written| Written { file, ..written }))
    }
}

/// Makes a file of rows as Postgres sends them. Gives the columns of which a value has no form, if there are any.
fn write(
    path: &Path,
    layout: Layout,
    codec: Codec,
    mut handed: mpsc::Receiver<Vec<Bytes>>,
) -> Result<Result<Written, Vec<usize>>, Error> {
    let width = layout.fields.len();
    let mut file = FileWriter::create(path.to_owned(), layout, codec)?;
    let mut unfit: Vec<usize> = Vec::new();
    let mut is_first = true;
    while let Some(batch) = handed.blocking_recv() {
        for message in batch {
            let mut rest = message;
            if std::mem::take(&mut is_first) {
                skip_head(&mut rest)?;
            }
            while let Some(values) = row(&mut rest, width)? {
                let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
                if let Err(columns) = file.row(&values)? {
                    unfit.extend(columns);
                }
            }
        }
    }
    if unfit.is_empty() {
        return file.finish().map(Ok);
    }
    drop(file);
    std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    unfit.sort_unstable();
    unfit.dedup();
    Ok(Err(unfit))
}

/// Passes over what stands before the first row: a signature of eleven bytes, flags, and an extension.
fn skip_head(rest: &mut Bytes) -> Result<(), Error> {
    const HEAD: usize = 11 + 4 + 4;
    if rest.len() < HEAD || !rest.starts_with(b"PGCOPY\n\xff\r\n\0") {
        return Err(unreadable());
    }
    rest.advance(HEAD - 4);
    let extension = rest.get_u32() as usize;
    if rest.len() < extension {
        return Err(unreadable());
    }
    rest.advance(extension);
    Ok(())
}

/// The next row of a message; `None` at its end, and behind the last row.
fn row(rest: &mut Bytes, width: usize) -> Result<Option<Vec<Option<Bytes>>>, Error> {
    if rest.is_empty() {
        return Ok(None);
    }
    if rest.len() < 2 {
        return Err(unreadable());
    }
    match rest.get_i16() {
        -1 => return Ok(None),
        count if usize::try_from(count) == Ok(width) => {}
        _ => return Err(unreadable()),
    }
    let mut values = Vec::with_capacity(width);
    for _ in 0..width {
        if rest.len() < 4 {
            return Err(unreadable());
        }
        values.push(match rest.get_i32() {
            -1 => None,
            length => {
                let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
                Some(rest.split_to(length.ok_or_else(unreadable)?))
            }
        });
    }
    Ok(Some(values))
}

fn unreadable() -> Error {
    Error::refused("Postgres has sent rows in a form that is not known")
}

fn create_private(folder: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    let created = std::fs::DirBuilder::new().mode(0o700).create(folder);
    created.map_err(Error::io("create the folder", folder))
}
