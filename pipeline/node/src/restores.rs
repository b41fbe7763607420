//! Restores of rows: rows of Avro files become lines in the spool, and the lines enter the pipeline.
//!
//! All files of a restore are converted to lines first. Then they are registered one after another, each under an
//! identity made of the restore and the file. A restore that was killed resumes, and each file enters once.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use tidegate_avro::CheckedFile;
use tidegate_core::contract::Error;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Manifest;
use tidegate_core::shape::{Form, Shape};
use tidegate_store::restores::{self, Restore, RestoreFile};
use tidegate_store::{Answer, NewSource, Request, SourceKind, Store, requests, source_identity};
use tracing::{info, warn};
use uuid::Uuid;

use crate::Failure;
use crate::ingest_queue::{IngestQueue, Payload};
use crate::settings::Settings;
use crate::spool::{Spool, SpoolFile, SpoolWriter};

/// The size of the pieces in which lines are written to the spool, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// The files of a restore request. Fails if the path of a file is not UTF-8.
pub fn files(manifest: &Manifest, checked: &[CheckedFile]) -> Result<Vec<RestoreFile>, Failure> {
    let file = |checked: &CheckedFile| {
        let path = std::path::absolute(&checked.path)?;
        let path = path.to_str().ok_or_else(|| {
            Failure::usage(format!("the path '{}' is not UTF-8; rename the file", path.display()))
        })?;
        Ok(RestoreFile {
            dataset: manifest.datasets[checked.dataset].name.clone(),
            path: path.to_owned(),
            rows: checked.rows,
            blake3: checked.blake3.clone(),
        })
    };
    checked.iter().map(file).collect()
}

/// Takes up the requested restores. If a file of a restore can no longer be restored, the whole restore is refused.
pub(crate) async fn take_up(
    settings: &Settings,
    store: &Store,
    ingest_queue: &IngestQueue,
) -> Result<(), Error> {
    let mut waiting = None;
    for restore in restores::open(store).await? {
        let id = restore.id;
        match enter(settings, store, ingest_queue, &restore).await {
            Ok(sources) => {
                restores::entered(store, id, &sources).await?;
                info!(restore = %id, sources = ?sources, by = restore.asked_by, "restoring");
            }
            // Other restores need not wait for this one.
            Err(error) if error.retry => waiting = Some(error),
            Err(error) => {
                warn!(restore = %id, "a restore is refused: {error}");
                let mut entered = Vec::new();
                for file in &restore.files {
                    entered.extend(known(store, identity(id, file)).await?);
                }
                restores::failed(store, id, &error.message, &entered).await?;
            }
        }
    }
    waiting.map_or(Ok(()), Err)
}

/// A file of a restore that is about to enter.
struct RestoreInput<'a> {
    file: &'a RestoreFile,
    /// The index of its dataset.
    dataset: usize,
    identity: [u8; 32],
    /// Its lines; `None` if it was registered before.
    lines: Option<SpoolFile>,
    known: Vec<u64>,
}

/// Converts all files of a restore to lines in the spool and then registers them. Returns their sources.
async fn enter(
    settings: &Settings,
    store: &Store,
    ingest_queue: &IngestQueue,
    restore: &Restore,
) -> Result<Vec<u64>, Error> {
    let mut inputs = Vec::new();
    // A file without rows becomes no source.
    for file in restore.files.iter().filter(|file| file.rows > 0) {
        let identity = identity(restore.id, file);
        let Some((dataset, _)) = settings.manifest.dataset(&file.dataset) else {
            return Err(Error::halt(format!("the manifest has no dataset '{}' any more", file.dataset)));
        };
        let known = known(store, identity).await?;
        if known.is_empty() && restores::may_double(store, dataset).await? {
            return Err(Error::halt(format!(
                "the rows of '{}' have no key, so restored rows would not replace those that are in its table, but stand \
                 beside them: empty the table first, or restore an empty database with --exact",
                file.dataset
            )));
        }
        let lines = match known.is_empty() {
            true => Some(convert(settings, ingest_queue.spool.clone(), dataset, file).await?),
            false => None,
        };
        inputs.push(RestoreInput { file, dataset, identity, lines, known });
    }
    let mut sources = Vec::new();
    for mut input in inputs {
        let Some(lines) = input.lines.take() else {
            sources.extend(input.known);
            continue;
        };
        let answer = register(&settings.manifest, ingest_queue, &input, lines).await?;
        if answer == Answer::Another {
            return Err(Error::halt(format!("'{}' has entered with other lines before", input.file.path)));
        }
        sources.extend(answer.sources());
        Failpoint::RestoreEntered.pass()?;
    }
    Ok(sources)
}

/// The identity of a file of a restore.
fn identity(restore: Uuid, file: &RestoreFile) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"restore").update(restore.as_bytes());
    for text in [&file.dataset, &file.path, &file.blake3] {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// The sources that were registered under an identity.
async fn known(store: &Store, identity: [u8; 32]) -> Result<Vec<u64>, Error> {
    let request = Request { identity, content: [0; 32], parameters: Vec::new(), sources: Vec::new() };
    Ok(requests::sources_of(store, &[request]).await?.concat())
}

/// Writes the rows of a file to the spool, as lines.
async fn convert(
    settings: &Settings,
    spool: Spool,
    dataset: usize,
    file: &RestoreFile,
) -> Result<SpoolFile, Error> {
    let manifest = settings.manifest.clone();
    let (path, blake3) = (PathBuf::from(&file.path), file.blake3.clone());
    let checked = CheckedFile { dataset, path, rows: file.rows, blake3 };
    let converting = tokio::task::spawn_blocking(move || {
        let spooling = spool.begin().map_err(of_spool)?;
        let mut lines = BufWriter::with_capacity(PIECE_BYTES, spooling);
        checked.convert(&manifest, &mut lines)?;
        lines.into_inner().map_err(|error| error.into_error()).and_then(SpoolWriter::end).map_err(of_spool)
    });
    let stopped = |error| Error::retry(format!("converting was stopped: {error}"));
    converting.await.map_err(stopped)?
}

fn of_spool(error: std::io::Error) -> Error {
    Error::retry(format!("the spool cannot be written: {error}; make room on the disk of the data directory"))
}

/// Registers the lines of a file as a source.
async fn register(
    manifest: &Manifest,
    ingest_queue: &IngestQueue,
    &RestoreInput { file, dataset, identity, .. }: &RestoreInput<'_>,
    lines: SpoolFile,
) -> Result<Answer, Error> {
    let (content, bytes) = (lines.content, lines.bytes);
    let definition = &manifest.datasets[dataset];
    let shape = Shape::of_rows(manifest, definition, Form::Canonical);
    let source = source_identity(&identity, &file.dataset);
    let (path, fresh) = ingest_queue.spool.keep(lines, &source).await.map_err(of_spool)?;
    let new = NewSource {
        dataset: file.dataset.clone(),
        kind: SourceKind::Restore,
        name: name_of(Path::new(&file.path)),
        bytes,
        lines: None,
        text: None,
        first_key: None,
        shape,
    };
    let request = Request { identity, content, parameters: Vec::new(), sources: vec![new] };
    ingest_queue.enter(request, vec![Payload::File { dataset, path, fresh }]).await
}

/// The source's name: the name of the file, and before it that of its backup.
fn name_of(path: &Path) -> String {
    let name =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match path.parent() {
        Some(folder) if folder.join("manifest.json").exists() => format!("{}/{}", name(folder), name(path)),
        _ => name(path),
    }
}
