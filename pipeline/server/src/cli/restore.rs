//! `tidegate restore`: restores rows of Avro files through the pipeline, or an empty database exactly.
//!
//! The command stores a requested restore in Postgres, with the files that it has checked, and a running pipeline takes
//! it up. First the pipeline converts all files to lines in the spool. Then it registers them one after another, each
//! under an identity made of the restore and the file. Therefore a restore that was killed resumes, and each file
//! enters once.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{HumanCount, ProgressBar};
use serde_json::json;
use tidegate_avro::{CheckedFile, exact};
use tidegate_engine::{Until, patiently};
use tidegate_node::Settings;
use tidegate_node::alone::{holder, leased};
use tidegate_node::data_dir::DataDir;
use tidegate_node::restores::files;
use tidegate_postgres::relation::ColumnKind::{Number, Text};
use tidegate_postgres::relation::Relation;
use tidegate_postgres::schema;
use tidegate_store::restores::{self, Restore};
use tidegate_store::{Receipt, Store, TaskState, moves, receipts};
use tracing::{info, warn};
use uuid::Uuid;

use crate::Failure;
use crate::cli::requester::requester;
use crate::cli::{Format, Global, output, progress, run, settings, signals};

/// Flags of `restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate restore backups/20261121T203000Z          the rows of all datasets, as new lines
  tidegate restore backups/20261121T203000Z jobs     those of one dataset
  tidegate restore people.avro hired_employees       a file that another tool wrote
  tidegate restore --exact backups/20261121T203000Z  an empty database, as it was

Every file is read to its end before anything is applied. Rows enter as a source of their own, under the
rules of any line, and are newer than all that is there. A running pipeline takes them in; if none runs,
this command runs it until it is idle.")]
pub struct RestoreArguments {
    /// A backup's folder, or an Avro file
    #[arg(value_name = "BACKUP|FILE")]
    pub path: PathBuf,
    /// Which datasets of a backup [default: all]; or whose rows a file has
    #[arg(value_name = "DATASET")]
    pub datasets: Vec<String>,
    /// Bring an empty database back as it was: positions, registry, ledger, dead letters, views
    #[arg(long, conflicts_with = "datasets")]
    pub exact: bool,
    /// Who asks; stored with the restore [default: the user of the machine]
    #[arg(long, value_name = "NAME", conflicts_with = "exact")]
    pub by: Option<String>,
    /// How to write what became of it
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// The pause between two looks at the state of a restore.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs `tidegate restore`.
pub async fn command(global: &Global, arguments: &RestoreArguments) -> Result<(), Failure> {
    let settings = settings::load(global)?;
    if arguments.exact {
        return restore_exactly(&settings, arguments).await;
    }
    let checked = check(&settings, arguments.path.clone(), arguments.datasets.clone()).await?;
    let files = files(&settings.manifest, &checked)?;
    let store = settings.database(Uuid::nil())?;
    schema::migrate(&store).await?;
    let id = Uuid::now_v7();
    let by = requester(arguments.by.as_deref());
    restores::ask(&store, id, None, &files, &by, None).await?;
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    info!(restore = %id, rows, "the files are whole and fit; the restore is asked for");
    let found = async || {
        let restore = restores::find(&store, id).await?;
        restore.ok_or_else(|| Failure::new("the restore is gone from the database"))
    };
    let what = format!("restore {id}");
    let state = async || Ok(state_of(found().await?));
    let receipts = until_accounted(&settings, &store, &what, rows, state).await?;
    let restore = found().await?;
    output::write(&relation(&restore, &receipts), arguments.format).await?;
    if arguments.format == Format::Table {
        output::print(format!("restored: {rows} rows, every one accounted for\n"))?;
    }
    Ok(())
}

/// Reads all files to their ends and checks them.
async fn check(
    settings: &Settings,
    path: PathBuf,
    datasets: Vec<String>,
) -> Result<Vec<CheckedFile>, Failure> {
    let manifest = settings.manifest.clone();
    let checking = tokio::task::spawn_blocking(move || tidegate_avro::check(&manifest, &path, &datasets));
    Ok(progress::during("checking the files", checking).await??)
}

/// The state of a request whose rows are about to enter.
pub(crate) enum RequestState {
    /// It waits for a pipeline to take it up.
    Asked,
    /// It has become these sources.
    Entered(Vec<u64>),
    /// It was refused.
    Failed(String),
}

/// The state of a restore.
fn state_of(restore: Restore) -> RequestState {
    match restore.state {
        TaskState::Asked => RequestState::Asked,
        TaskState::Entered => RequestState::Entered(restore.sources),
        TaskState::Failed => {
            let why = restore.error.unwrap_or_default();
            RequestState::Failed(match &restore.sources[..] {
                [] => format!("refused, and nothing of it is applied: {why}"),
                entered => {
                    format!("refused when a part of it had entered, as the sources {entered:?}: {why}")
                }
            })
        }
    }
}

/// Waits until a running pipeline has accounted for all lines of the request. If none runs, runs the pipeline until it
/// is idle. `what` names the request, and `rows` is its expected number of lines. Returns the receipts in the order of
/// their sources.
pub(crate) async fn until_accounted(
    settings: &Settings,
    store: &Store,
    what: &str,
    rows: u64,
    state: impl AsyncFn() -> Result<RequestState, Failure>,
) -> Result<Vec<Receipt>, Failure> {
    let progress = RequestProgress::start(rows);
    let mut ran = false;
    loop {
        match state().await? {
            RequestState::Failed(why) => return Err(Failure::new(why)),
            RequestState::Entered(sources) => {
                let mut receipts = receipts::of_sources(store, &sources).await?;
                progress.show(receipts.iter().flat_map(|receipt| receipt.fates).sum());
                if receipts.iter().all(Receipt::complete) {
                    receipts.sort_by_key(|receipt| receipt.source);
                    return Ok(receipts);
                }
            }
            RequestState::Asked => {}
        }
        if !moves::is_running(store).await? {
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
                // Another process may have started the pipeline first.
                Err(_) if moves::is_running(store).await? => {}
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

/// The progress of a request.
struct RequestProgress {
    bar: ProgressBar,
    rows: u64,
    told: Mutex<Instant>,
}

impl RequestProgress {
    fn start(rows: u64) -> Self {
        let bar = progress::spinner();
        bar.disable_steady_tick(); // a run in this process shows its own bar meanwhile
        Self { bar, rows, told: Mutex::new(Instant::now()) }
    }

    fn show(&self, lines: u64) {
        let (done, of) = (HumanCount(lines), HumanCount(self.rows));
        self.bar.set_message(format!("{done} of {of} lines accounted for"));
        self.bar.tick();
        if self.bar.is_hidden()
            && let Ok(mut told) = self.told.lock()
            && told.elapsed() >= progress::ELSEWHERE_EVERY
        {
            *told = Instant::now();
            info!(lines, of = self.rows, "accounted for");
        }
    }
}

/// A row for each dataset, with the fates of its restored rows.
fn relation(restore: &Restore, receipts: &[Receipt]) -> Relation {
    let columns = ["source", "rows", "accepted", "rejected", "waiting", "discarded"];
    let columns: Vec<_> = [("dataset", Text)].into_iter().chain(columns.map(|name| (name, Number))).collect();
    let rows = restore.files.iter().map(|file| {
        let receipt = receipts.iter().find(|receipt| receipt.dataset == file.dataset);
        let [accepted, rejected, waiting, discarded] = receipt.map_or([0; 4], |receipt| receipt.fates);
        let source = receipt.map(|receipt| receipt.source);
        json!([file.dataset, source, file.rows, accepted, rejected, waiting, discarded])
    });
    output::relation(&columns, rows)
}

/// Runs `tidegate restore --exact`.
async fn restore_exactly(settings: &Settings, arguments: &RestoreArguments) -> Result<(), Failure> {
    let views = settings.load_views()?;
    let (manifest, path) = (settings.manifest.clone(), arguments.path.clone());
    let checking = tokio::task::spawn_blocking(move || exact::check(&manifest, &path));
    let exact = progress::during("checking the files", checking).await??;
    let me = holder();
    let data_dir = DataDir::open(&settings.data_dir, &settings.manifest.pipeline, &me, false)?;
    let store = settings.database(data_dir.owner())?;
    let stop = signals::stop("stopping: nothing is changed")?;
    patiently(&stop, async || schema::migrate(&store).await).await?;
    let work = async {
        tokio::select! {
            filled = exact.fill(&store, &views, &|_, _| {}) => Ok(filled?),
            () = stop.cancelled() => Err(Failure::new("stopped; nothing is changed")),
        }
    };
    progress::during("filling the database", leased(&store, &me, false, &stop, work)).await?;
    let backup = &exact.backup;
    let rows = backup.datasets.iter().map(|of| json!([of.name, of.rows]));
    let relation = output::relation(&[("dataset", Text), ("rows", Number)], rows);
    output::write(&relation, arguments.format).await?;
    if arguments.format == Format::Table {
        output::print(format!(
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
