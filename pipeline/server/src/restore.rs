//! `tidegate restore`: rows of Avro files into the pipeline, or an empty database as it was.
//!
//! A restore is asked for in Postgres, with the files as they were checked. Whoever runs the pipeline takes it up:
//! all files are read once more, to lines in the spool; then they are registered, one after the other, each under an
//! identity that the restore and the file make. So one that was killed goes on where it was, and enters once.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar};
use tidegate_connectors::avro::{self, Checked, exact};
use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_connectors::postgres::restores::{Restore, RestoreFile, RestoreState};
use tidegate_connectors::postgres::{
    Answer, NewSource, Postgres, Receipt, Request, SourceKind, source_identity,
};
use tidegate_core::contract;
use tidegate_core::failpoint::Failpoint;
use tidegate_core::manifest::Manifest;
use tidegate_core::shape::Shape;
use tidegate_engine::Until;
use tracing::{info, warn};
use uuid::Uuid;

use crate::cli::{Format, Global, RestoreArguments};
use crate::data_dir::DataDir;
use crate::intake::{Intake, Offered};
use crate::settings::Settings;
use crate::spool::{Spool, Spooled, Spooling};
use crate::{Failure, letters, output, run, watch};

/// How often it is asked how far a restore is.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it is said where nobody sees a bar.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Lines are written to the spool in pieces of so many bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// `tidegate restore`.
///
/// # Errors
///
/// If a file is not whole or does not fit, the database cannot be asked, or the pipeline cannot run.
pub async fn command(global: &Global, arguments: &RestoreArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    if arguments.exact {
        return bring_back(&settings, arguments).await;
    }
    let checked = check(&settings, arguments.path.clone(), arguments.datasets.clone()).await?;
    let files = files(&settings.manifest, &checked)?;
    let postgres = settings.database(Uuid::nil())?;
    postgres.migrate().await?;
    let id = Uuid::now_v7();
    let by = letters::named(arguments.by.as_deref());
    postgres.ask_for_restore(id, None, &files, &by, None).await?;
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    info!(restore = %id, rows, "the files are whole and fit; the restore is asked for");
    let found = async || {
        let restore = postgres.restore_of(id).await?;
        restore.ok_or_else(|| Failure::new("the restore is gone from the database"))
    };
    let what = format!("restore {id}");
    let state = async || Ok(entry(found().await?));
    let receipts = until_accounted(&settings, &postgres, &what, rows, state).await?;
    let restore = found().await?;
    output::write(&relation(&restore, &receipts), arguments.format).await?;
    if arguments.format == Format::Table {
        output::print(&format!("restored: {rows} rows, every one accounted for\n"))?;
    }
    Ok(())
}

/// Reads all files to their ends.
async fn check(settings: &Settings, path: PathBuf, datasets: Vec<String>) -> Result<Vec<Checked>, Failure> {
    let manifest = settings.manifest.clone();
    let checking = tokio::task::spawn_blocking(move || avro::check(&manifest, &path, &datasets));
    Ok(watch::during("checking the files", checking).await??)
}

/// The files as they are asked for.
pub(crate) fn files(manifest: &Manifest, checked: &[Checked]) -> Result<Vec<RestoreFile>, Failure> {
    let file = |checked: &Checked| {
        let path = std::path::absolute(&checked.path)?;
        let path = path.to_str().ok_or_else(|| {
            Failure::usage(format!("the path '{}' is no text; rename the file", path.display()))
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

/// How far something is that is to enter.
pub(crate) enum Entry {
    /// It waits for the pipeline.
    Asked,
    /// It has become these sources.
    Entered(Vec<u64>),
    /// It was refused.
    Failed(String),
}

/// How far a restore is.
fn entry(restore: Restore) -> Entry {
    match restore.state {
        RestoreState::Asked => Entry::Asked,
        RestoreState::Entered => Entry::Entered(restore.sources),
        RestoreState::Failed => {
            let why = restore.error.unwrap_or_default();
            Entry::Failed(match &restore.sources[..] {
                [] => format!("refused, and nothing of it is applied: {why}"),
                entered => {
                    format!("refused when a part of it had entered, as the sources {entered:?}: {why}")
                }
            })
        }
    }
}

/// Waits until the pipeline that runs has accounted for all lines of `what` was asked for, about so many; if none runs,
/// runs it until it is idle. Gives the receipts in the order of their sources.
pub(crate) async fn until_accounted(
    settings: &Settings,
    postgres: &Postgres,
    what: &str,
    rows: u64,
    state: impl AsyncFn() -> Result<Entry, Failure>,
) -> Result<Vec<Receipt>, Failure> {
    let progress = Progress::start(rows);
    let mut ran = false;
    loop {
        match state().await? {
            Entry::Failed(why) => return Err(Failure::new(why)),
            Entry::Entered(sources) => {
                let mut receipts = postgres.receipts_of(&sources).await?;
                progress.show(receipts.iter().flat_map(|receipt| receipt.fates).sum());
                if receipts.iter().all(Receipt::complete) {
                    progress.end();
                    receipts.sort_by_key(|receipt| receipt.source);
                    return Ok(receipts);
                }
            }
            Entry::Asked => {}
        }
        if !postgres.is_running().await? {
            match run::pipeline(settings, Until::Idle, false).await {
                Ok(outcome) if outcome.stopped => {
                    return Err(Failure::new(format!("stopped; the next run goes on with the {what}")));
                }
                Ok(_) if ran => {
                    return Err(Failure::new(format!(
                        "the pipeline is idle, and not every line of the {what} is accounted for: 'tidegate sources' shows them"
                    )));
                }
                Ok(_) => ran = true,
                // Somebody was faster.
                Err(_) if postgres.is_running().await? => {}
                Err(failure) => {
                    let message = format!("{}; the next run goes on with the {what}", failure.message);
                    return Err(Failure { message, ..failure });
                }
            }
            continue;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What a person sees meanwhile: a bar in a terminal, a line now and then elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    rows: u64,
    told: std::sync::Mutex<std::time::Instant>,
}

impl Progress {
    fn start(rows: u64) -> Self {
        Self { bar: watch::spinner(), rows, told: std::sync::Mutex::new(std::time::Instant::now()) }
    }

    fn show(&self, lines: u64) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!(
                "{} of {} lines accounted for",
                HumanCount(lines),
                HumanCount(self.rows)
            ));
            return bar.tick();
        }
        if let Ok(mut told) = self.told.lock()
            && told.elapsed() >= TELL_EVERY
        {
            *told = std::time::Instant::now();
            info!(lines, of = self.rows, "accounted for");
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What became of the rows, by dataset.
fn relation(restore: &Restore, receipts: &[Receipt]) -> Relation {
    let number = |name| Column::new(name, ColumnKind::Number);
    let mut columns = vec![Column::new("dataset", ColumnKind::Text), number("source"), number("rows")];
    columns.extend(["accepted", "rejected", "waiting", "discarded"].map(number));
    let rows = restore.files.iter().map(|file| {
        let receipt = receipts.iter().find(|receipt| receipt.dataset == file.dataset);
        let mut row = vec![Some(file.dataset.clone()), receipt.map(|receipt| receipt.source.to_string())];
        row.push(Some(file.rows.to_string()));
        row.extend(receipt.map_or([0; 4], |receipt| receipt.fates).map(|count| Some(count.to_string())));
        row
    });
    Relation { columns, rows: rows.collect() }
}

/// Takes up the restores that were asked for. Files that cannot be restored any more are refused, all of a restore.
///
/// # Errors
///
/// If Postgres or the spool cannot be reached at the moment.
pub(crate) async fn take_up(
    settings: &Settings,
    postgres: &Postgres,
    intake: &Intake,
) -> Result<(), contract::Error> {
    let mut waiting = None;
    for restore in postgres.asked_restores().await? {
        let id = restore.id;
        match enter(settings, postgres, intake, &restore).await {
            Ok(sources) => {
                postgres.restore_entered(id, &sources).await?;
                info!(restore = %id, sources = ?sources, by = restore.asked_by, "restoring");
            }
            // Others need not wait for it.
            Err(error) if error.retry => waiting = Some(error),
            Err(error) => {
                warn!(restore = %id, "a restore is refused: {error}");
                let mut entered = Vec::new();
                for file in &restore.files {
                    entered.extend(known(postgres, identity(id, file)).await?);
                }
                postgres.restore_failed(id, &error.message, &entered).await?;
            }
        }
    }
    waiting.map_or(Ok(()), Err)
}

/// A file of a restore that is to enter.
struct Entering<'a> {
    file: &'a RestoreFile,
    /// The index of its dataset.
    dataset: usize,
    identity: [u8; 32],
    /// Its lines; `None` if it was registered before.
    lines: Option<Spooled>,
    known: Vec<u64>,
}

/// Brings the files of a restore to the spool, all of them, and then in. Gives the sources that they have become.
async fn enter(
    settings: &Settings,
    postgres: &Postgres,
    intake: &Intake,
    restore: &Restore,
) -> Result<Vec<u64>, contract::Error> {
    let mut entering = Vec::new();
    // What has no rows is no source.
    for file in restore.files.iter().filter(|file| file.rows > 0) {
        let identity = identity(restore.id, file);
        let Some((dataset, _)) = settings.manifest.dataset(&file.dataset) else {
            return Err(contract::Error::halt(format!(
                "the manifest has no dataset '{}' any more",
                file.dataset
            )));
        };
        let known = known(postgres, identity).await?;
        let lines = match known.is_empty() {
            true => Some(convert(settings, intake.spool.clone(), dataset, file).await?),
            false => None,
        };
        entering.push(Entering { file, dataset, identity, lines, known });
    }
    let mut sources = Vec::new();
    for Entering { file, dataset, identity, lines, known } in entering {
        let Some(lines) = lines else {
            sources.extend(known);
            continue;
        };
        let answer = register(&settings.manifest, intake, (file, dataset, identity), lines).await?;
        if answer == Answer::Another {
            return Err(contract::Error::halt(format!(
                "'{}' has entered with other lines before",
                file.path
            )));
        }
        sources.extend(answer.sources());
        Failpoint::RestoreEntered.pass()?;
    }
    Ok(sources)
}

/// What makes a file of a restore one and the same.
fn identity(restore: Uuid, file: &RestoreFile) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"restore").update(restore.as_bytes());
    for text in [&file.dataset, &file.path, &file.blake3] {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// The sources that were registered under an identity.
async fn known(postgres: &Postgres, identity: [u8; 32]) -> Result<Vec<u64>, contract::Error> {
    let request = Request { identity, content: [0; 32], sources: Vec::new() };
    Ok(postgres.sources_of(&[request]).await?.concat())
}

/// Writes the rows of a file to the spool, as lines.
async fn convert(
    settings: &Settings,
    spool: Spool,
    dataset: usize,
    file: &RestoreFile,
) -> Result<Spooled, contract::Error> {
    let manifest = settings.manifest.clone();
    let (path, blake3) = (PathBuf::from(&file.path), file.blake3.clone());
    let checked = Checked { dataset, path, rows: file.rows, blake3 };
    let converting = tokio::task::spawn_blocking(move || {
        let spooling = spool.begin().map_err(of_spool)?;
        let mut lines = BufWriter::with_capacity(PIECE_BYTES, Lines(spooling));
        checked.convert(&manifest, &mut lines)?;
        let Lines(spooling) = lines.into_inner().map_err(|error| of_spool(error.into_error()))?;
        spooling.end().map_err(of_spool)
    });
    let stopped = |error| contract::Error::retry(format!("converting was stopped: {error}"));
    converting.await.map_err(stopped)?
}

/// Lines on their way to the spool.
struct Lines(Spooling);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn of_spool(error: std::io::Error) -> contract::Error {
    contract::Error::retry(format!(
        "the spool cannot be written: {error}; make room on the disk of the data directory"
    ))
}

/// Registers the lines of a file as a source.
async fn register(
    manifest: &Manifest,
    intake: &Intake,
    (file, dataset, identity): (&RestoreFile, usize, [u8; 32]),
    lines: Spooled,
) -> Result<Answer, contract::Error> {
    let (content, bytes) = (lines.content, lines.bytes);
    let definition = &manifest.datasets[dataset];
    let shape = Shape { header: definition.csv.header, ..Shape::of(manifest, definition) };
    let source = source_identity(&identity, &file.dataset);
    let fresh = !intake.spool.path(&source, &content).exists();
    let path = intake.spool.keep(lines, &source, &content).await.map_err(of_spool)?;
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
    let request = Request { identity, content, sources: vec![new] };
    intake.enter(request, vec![Offered::File { dataset, path, fresh }]).await
}

/// What people know the source by: the file, with the backup that it is of.
fn name_of(path: &Path) -> String {
    let name =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match path.parent() {
        Some(folder) if folder.join("manifest.json").exists() => format!("{}/{}", name(folder), name(path)),
        _ => name(path),
    }
}

/// `tidegate restore --exact`.
async fn bring_back(settings: &Settings, arguments: &RestoreArguments) -> Result<(), Failure> {
    let views = settings.load_views()?;
    let (manifest, path) = (settings.manifest.clone(), arguments.path.clone());
    let checking = tokio::task::spawn_blocking(move || exact::check(&manifest, &path));
    let exact = watch::during("checking the files", checking).await??;
    let me = run::holder();
    let data_dir = DataDir::open(&settings.data_dir, &settings.manifest.pipeline, &me, false)?;
    let postgres = settings.database(data_dir.owner())?;
    let stop = run::stop_on_signals("stopping: nothing is changed")?;
    run::patiently(&stop, async || postgres.migrate().await).await?;
    let work = async {
        tokio::select! {
            filled = exact.fill(&postgres, &views, &|_, _| {}) => Ok(filled?),
            () = stop.cancelled() => Err(Failure::new("stopped; nothing is changed")),
        }
    };
    watch::during("filling the database", run::leased(&postgres, &me, false, &stop, work)).await?;
    let backup = &exact.backup;
    let columns = vec![Column::new("dataset", ColumnKind::Text), Column::new("rows", ColumnKind::Number)];
    let rows = backup
        .datasets
        .iter()
        .map(|written| vec![Some(written.name.clone()), Some(written.rows.to_string())]);
    output::write(&Relation { columns, rows: rows.collect() }, arguments.format).await?;
    if arguments.format == Format::Table {
        output::print(&format!(
            "the database is as it was at {}, up to source {}\n",
            backup.taken_at, backup.largest_source
        ))?;
    }
    if data_dir.assert_of(backup.identity).is_err() {
        warn!(
            "the data directory '{}' belongs to another database: start the pipeline with another --data-dir, or remove it",
            settings.data_dir.display()
        );
    } else if data_dir.journal().exists() {
        info!(
            "what came after the backup: 'tidegate recover' lists it, and brings back what files still have"
        );
    }
    Ok(())
}
