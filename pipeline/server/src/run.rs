//! `tidegate run`: the pipeline itself.

mod ending;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::json;
use tidegate_connectors::csv::{Inbox, Landing};
use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_connectors::postgres::views::View;
use tidegate_connectors::postgres::{self, Holder, Postgres, Registered};
use tidegate_core::contract;
use tidegate_core::ledger::{Effects, Fate};
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_engine::{Counts, Pipeline, Until, already_sent};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::Failure;
use crate::backups::Schedule;
use crate::cli::{Format, Global, RunArguments};
use crate::data_dir::DataDir;
use crate::errands::Errands;
use crate::http::{self, App, Serving};
use crate::intake::Intake;
use crate::mover::{self, Mover};
use crate::output;
use crate::recover::{self, Recovery};
use crate::refresher::{self, Refresher};
use crate::settings::Settings;
use crate::spool::Spool;
use crate::{stages, watch};
pub use ending::{Allowed, Files};
pub(crate) use ending::{fail_with, left};

/// How often a lease is renewed while it lasts.
const RENEWALS: u32 = 3;
/// How long a run that has ended waits to give its leases back.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);
/// How long a run that was stopped waits for its summary: Postgres may be just coming back.
const SUMMARY_WITHIN: Duration = Duration::from_secs(5);
/// How long a run that is stopped waits for the batch in hand.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// `tidegate run`.
///
/// # Errors
///
/// If the pipeline cannot start, stops for good, leaves files it cannot read, or leaves more dead letters
/// than allowed.
pub async fn command(global: &Global, arguments: &RunArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let until = if arguments.until_idle { Until::Idle } else { Until::Stopped };
    let outcome = pipeline(&settings, until, arguments.take_over).await?;
    match arguments.format {
        Format::Json => output::print(&outcome.json()?)?,
        Format::Table => {
            output::write(&outcome.datasets.clone().without_zeros("uncounted"), Format::Table).await?;
        }
        format => output::write(&outcome.datasets, format).await?,
    }
    if arguments.format == Format::Table {
        output::print(&format!("{}\n", outcome.in_words()))?;
        if let Some(words) = outcome.files.passed_over_in_words() {
            output::print(&format!("{words}\n"))?;
        }
    }
    ending::fail_with(ending::faults(&outcome, arguments.max_dead_letters, until == Until::Idle))
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Of each dataset: its sources and what became of their lines, as the ledger stands now.
    pub datasets: Relation,
    /// What became of files.
    pub files: Files,
    /// Files whose every line was rejected, by source and name.
    pub wholly_rejected: Vec<(u64, String)>,
    /// Sources whose lines are not all accounted for although the run was idle, with their names.
    pub incomplete: Vec<(u64, String)>,
    /// Of each dataset that gets no row into its table, what happened and what to do.
    pub datasets_stopped: Vec<String>,
    /// How many more lines are rejected, or wait, than before the run.
    pub new_dead_letters: u64,
    /// How many lines entered in this run.
    pub lines: u64,
    /// How long it took.
    pub took: Duration,
    /// What the process has used.
    pub usage: Usage,
    /// Whether it was stopped before it was done.
    pub stopped: bool,
}

/// What this process has used since it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time, its own and the kernel's for it.
    pub cpu_seconds: f64,
    /// The most memory it held at once.
    pub peak_memory_bytes: u64,
}

impl Usage {
    fn now() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Self::default() };
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        // Linux counts in KiB, macOS in bytes.
        let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
        Self {
            cpu_seconds: seconds(usage.user_time()) + seconds(usage.system_time()),
            peak_memory_bytes: usage.max_rss() as u64 * unit,
        }
    }
}

impl Outcome {
    /// What it came to as a whole, in a line of the summary.
    pub fn in_words(&self) -> String {
        let seconds = self.took.as_secs_f64();
        let rate = self.lines as f64 / seconds.max(0.001);
        let stopped = if self.stopped { "; stopped: the next run goes on from here" } else { "" };
        format!(
            "{} lines in {seconds:.2} s ({rate:.0} lines/s), {} new dead letters{stopped}",
            self.lines, self.new_dead_letters
        )
    }

    fn json(&self) -> Result<String, Failure> {
        let datasets: Vec<serde_json::Value> = self
            .datasets
            .rows
            .iter()
            .map(|row| {
                let pairs = self.datasets.columns.iter().zip(row).map(|(column, value)| {
                    let value = value.as_deref().unwrap_or_default();
                    let value = match column.kind {
                        ColumnKind::Number => json!(value.parse::<u64>().unwrap_or_default()),
                        _ => json!(value),
                    };
                    (column.name.clone(), value)
                });
                serde_json::Value::Object(pairs.collect())
            })
            .collect();
        let with_reason = |(path, reason): &(String, String)| json!({"path": path, "reason": reason});
        let Files { refused, left, unread, passed_over, .. } = &self.files;
        let passed_over =
            passed_over.iter().map(|passed| json!({"file": passed.name, "source": passed.source}));
        let sources = |sources: &[(u64, String)]| {
            let of = |(source, name): &(u64, String)| json!({"source": source, "file": name});
            sources.iter().map(of).collect::<Vec<_>>()
        };
        let summary = json!({
            "datasets": datasets,
            "lines": self.lines,
            "new_dead_letters": self.new_dead_letters,
            "seconds": self.took.as_secs_f64(),
            "cpu_seconds": self.usage.cpu_seconds,
            "peak_memory_bytes": self.usage.peak_memory_bytes,
            "stopped": self.stopped,
            "refused": refused.iter().map(with_reason).collect::<Vec<_>>(),
            "left": unread.iter().chain(left).map(with_reason).collect::<Vec<_>>(),
            "passed_over": passed_over.collect::<Vec<_>>(),
            "wholly_rejected": sources(&self.wholly_rejected),
            "incomplete": sources(&self.incomplete),
            "datasets_stopped": self.datasets_stopped,
        });
        Ok(format!("{}\n", serde_json::to_string_pretty(&summary)?))
    }
}

/// Runs the pipeline of `settings`, until it is idle or until a signal comes. With `take_over` in the place of a
/// process that runs it already.
///
/// # Errors
///
/// If it cannot start or stops for good.
pub async fn pipeline(settings: &Settings, until: Until, take_over: bool) -> Result<Outcome, Failure> {
    pipeline_of(None, settings, until, take_over).await
}

/// The same; where a recovery is given, it begins and ends with that.
pub(crate) async fn pipeline_of(
    recovery: Option<&mut Recovery>,
    settings: &Settings,
    until: Until,
    take_over: bool,
) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let me = holder();
    let shares = settings.manifest.fluvio.is_some() && recovery.is_none();
    let mut data_dir = DataDir::open(&settings.data_dir, &settings.manifest.pipeline, &me, take_over)?;
    let postgres = settings.database(data_dir.owner())?;
    let views = settings.load_views()?;
    let stop = stop_on_signals("stopping: the batch in hand is finished first; once more ends at once")?;
    let counts = Arc::new(Counts::default());
    let serving = match recovery {
        None => http::start(settings, &postgres, counts.clone()).await?,
        Some(_) => None, // what is missing comes before what is new
    };
    let database = patiently(&stop, async || postgres.migrate().await).await?;
    data_dir.assert_of(database)?;
    // Beside others lines may just be on the way.
    let tells_incomplete = until == Until::Idle && !shares;
    let missed_before = match tells_incomplete {
        true => patiently(&stop, async || postgres.awaited_sources().await).await?,
        false => Vec::new(),
    };
    if take_over {
        // Nobody is to stop for a process that then does not run.
        recover::assert_current(settings, &data_dir, &postgres).await?;
    }
    let Ran { counts, files, dead_letters_before } = if shares {
        if take_over {
            return Err(Failure::usage(
                "the topics are on a cluster, so whoever runs the pipeline shares it; --take-over is for embedded \
                 topics: start without it",
            ));
        }
        data_dir.bind(database, form(&settings.manifest))?;
        let app = serving.as_ref().map(Serving::app);
        Box::pin(stages::all(settings, &postgres, &data_dir, &views, (until, &stop), (counts, app))).await?
    } else {
        let app = serving.as_ref().map(Serving::app);
        let run = Run { settings, postgres: &postgres, views: &views, until, stop: &stop, counts, app };
        // Boxed: the compiler computes the layout of all futures within each other at once, and to a certain depth only.
        let work = Box::pin(async {
            data_dir.bind(database, form(&settings.manifest))?;
            run.under_leases(recovery, &data_dir).await
        });
        leased(&postgres, &me, take_over, &stop, work).await?
    };
    if let Some(serving) = serving {
        serving.end().await;
    }

    let took = begun.elapsed();
    let summary = async || {
        Ok::<_, postgres::Error>((
            dead_letters(&postgres).await?,
            datasets(&postgres).await?,
            ending::wholly_rejected(&postgres, &files).await?,
            match tells_incomplete && !stop.is_cancelled() {
                true => postgres.incomplete_sources(&missed_before).await?,
                false => Vec::new(),
            },
        ))
    };
    let (after, datasets, wholly_rejected, incomplete) = if stop.is_cancelled() {
        let never = CancellationToken::new();
        let soon = tokio::time::timeout(SUMMARY_WITHIN, patiently(&never, summary));
        let what = "stopped, and Postgres did not answer in time for a summary: 'tidegate sources' shows it";
        soon.await.map_err(|_| Failure::new(what))??
    } else {
        patiently(&stop, summary).await?
    };
    // Lines that healed hide no line that was rejected.
    let new_dead_letters = (0..2).map(|i| after[i].saturating_sub(dead_letters_before[i])).sum();
    Ok(Outcome {
        datasets,
        files,
        wholly_rejected,
        incomplete,
        datasets_stopped: counts.stopped().into_values().collect(),
        new_dead_letters,
        lines: counts.entered(),
        took,
        usage: Usage::now(),
        stopped: stop.is_cancelled() && until == Until::Idle,
    })
}

/// Does `work` under the pipeline's leases, which are renewed meanwhile and given back at its end.
pub(crate) async fn leased<T>(
    postgres: &Postgres,
    me: &Holder,
    take_over: bool,
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let lease = postgres.manifest().lease;
    patiently(stop, async || postgres.lease(me, lease, take_over).await).await?;
    let renewing = tokio::spawn(renew(postgres.clone(), lease, stop.clone()));
    let result = work.await;
    let lost = renewing.is_finished();
    renewing.abort();
    let _ = tokio::time::timeout(RELEASE_WITHIN, postgres.release()).await;
    if lost && let Ok(failure) = renewing.await {
        return Err(failure);
    }
    result
}

/// A run that has its leases.
struct Run<'a> {
    settings: &'a Settings,
    postgres: &'a Postgres,
    views: &'a [View],
    until: Until,
    stop: &'a CancellationToken,
    counts: Arc<Counts>,
    /// Where HTTP is served, what its handlers share.
    app: Option<&'a App>,
}

/// What a run leaves to tell of.
pub(crate) struct Ran {
    pub(crate) counts: Arc<Counts>,
    pub(crate) files: Files,
    pub(crate) dead_letters_before: [u64; 2],
}

impl Run<'_> {
    async fn under_leases(
        &self,
        mut recovery: Option<&mut Recovery>,
        data_dir: &DataDir,
    ) -> Result<Ran, Failure> {
        let Self { settings, postgres, views, until, stop, app, .. } = *self;
        let noted = recover::Noted::read(settings, data_dir)?;
        let known = patiently(stop, async || registered(postgres, || noted.sources()).await).await?;
        let start =
            recover::begin(recovery.as_deref_mut(), settings, data_dir, postgres, (noted, known)).await?;
        data_dir.remove_others_topics();
        patiently(stop, async || postgres.prepare(views).await).await?;

        let topics = Arc::new(settings.topics(&data_dir.topics())?);
        if let Some(app) = app {
            app.show(topics.clone());
        }
        let dead_letters_before = patiently(stop, async || dead_letters(postgres).await).await?;
        let (counts, sink) = (self.counts.clone(), Arc::new(postgres.clone()));
        let pipeline = patiently(stop, async || {
            let (manifest, partitions) = (settings.manifest.clone(), 0..settings.manifest.partitions());
            Pipeline::open(manifest, topics.clone(), sink.clone(), partitions.collect(), counts.clone()).await
        })
        .await?;
        let sent = async || already_sent(&settings.manifest, &*topics, postgres).await;
        let sent = patiently(stop, sent).await?;
        let (registry, inbox) = (Arc::new(start.registry), Arc::new(Inbox::default()));
        let spool = Spool::open(data_dir.path())?;
        let (intake, _registering) = patiently(stop, async || {
            Intake::open(spool.clone(), inbox.clone(), registry.clone(), postgres).await
        })
        .await?;
        let mut landing = Landing::new(settings.landing.clone(), settings.manifest.clone(), registry, sent)
            .with_inbox(inbox);
        for (source, path, name, dataset) in start.files {
            landing.take_back(source, path, name, dataset);
        }
        let due = patiently(stop, async || postgres.due_views().await).await?;
        let refresher = (!due.is_empty()).then(|| Refresher::start(postgres.clone()));
        let errands =
            Errands { settings: settings.clone(), postgres: postgres.clone(), intake: intake.clone() };
        errands.round().await;
        let (_restoring, _moving) = (errands.run(), Mover::start(postgres.clone()));
        let _backups = Schedule::start(settings, postgres);
        info!(landing = %settings.landing.display(), pipeline = settings.manifest.pipeline, "running");
        if let Some(app) = app {
            app.admit(Some(intake));
        }
        let watching = watch::start(counts.clone());
        let result = tokio::select! {
            result = pipeline.run(&mut landing, until, stop) => result,
            error = overdue(stop) => Err(error),
        };
        if let Some(app) = app {
            app.admit(None);
        }
        watching.end().await;
        drop(refresher);
        result?;
        if until == Until::Idle && !stop.is_cancelled() {
            // What was asked for until now is a part of the run.
            mover::finish(postgres, stop).await?;
        }
        if until == Until::Idle && !stop.is_cancelled() && !due.is_empty() {
            // What is read after the run is of the run.
            tokio::select! {
                () = refresher::refresh_all(postgres) => {}
                () = stop.cancelled() => {}
            }
        }
        if let Some(recovery) = recovery
            && !stop.is_cancelled()
        {
            recovery.end(settings, data_dir, postgres).await?;
        }
        let mut files = Files::default();
        files.add(&landing);
        Ok(Ran { counts, files, dead_letters_before })
    }
}

/// [`Postgres::registered`]. Sources whose every line is in the ledger are complete from now on: their file may have
/// gone, or changed, and nobody else would ask.
pub(crate) async fn registered<'a, N: Iterator<Item = (u64, &'a [u8])>>(
    postgres: &Postgres,
    noted: impl Fn() -> N,
) -> Result<Vec<Registered>, postgres::Error> {
    let registered = postgres.registered(noted()).await?;
    let is_whole = |source: &&Registered| !source.complete && source.lines == Some(source.held);
    let whole: Vec<u64> = registered.iter().filter(is_whole).map(|source| source.source).collect();
    if whole.is_empty() {
        return Ok(registered);
    }
    postgres.complete(&whole).await?;
    postgres.registered(noted()).await
}

/// Resolves when a run that was told to stop should have done so, with what is to be said then.
pub(crate) async fn overdue(stop: &CancellationToken) -> contract::Error {
    stop.cancelled().await;
    tokio::time::sleep(STOP_WITHIN).await;
    contract::Error::halt("stopped while Postgres did not answer: the next run does the batch in hand again")
}

/// Does what database and topics must do before the pipeline can start and when it has ended, however long that
/// takes to succeed.
pub(crate) async fn patiently<T, E: Into<contract::Error>>(
    stop: &CancellationToken,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, Failure> {
    let mut delay = Duration::from_millis(100);
    loop {
        let attempted = tokio::select! {
            attempted = attempt() => attempted,
            () = stop.cancelled() => return Err(stopped()),
        };
        match attempted.map_err(E::into) {
            Ok(value) => return Ok(value),
            Err(error) if error.retry => {
                warn!(retry_in_ms = delay.as_millis() as u64, "waiting: {error}");
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = stop.cancelled() => return Err(stopped()),
                }
                delay = (delay * 2).min(Duration::from_secs(5));
            }
            Err(error) => return Err(Failure::new(error)),
        }
    }
}

fn stopped() -> Failure {
    Failure::new("stopped before Postgres had answered")
}

/// A token that the first SIGTERM or Ctrl-C cancels, which says so. A second one ends the process at once.
pub(crate) fn stop_on_signals(saying: &'static str) -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // A file-size limit is to be an error of the write, which is waited for, and not the end.
    let mut file_size = signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?;
    let token = stop.clone();
    tokio::spawn(async move {
        let mut signals = 0;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = file_size.recv() => continue,
            }
            signals += 1;
            if signals > 1 {
                std::process::exit(130);
            }
            info!("{saying}");
            token.cancel();
        }
    });
    Ok(stop)
}

pub(crate) fn holder() -> Holder {
    let host = nix::unistd::gethostname().map(|host| host.to_string_lossy().into_owned());
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Holder {
        host: host.unwrap_or_else(|_| "unknown".to_owned()),
        pid: std::process::id(),
        started: started.as_secs_f64(),
    }
}

/// Renews the leases while the run lasts; gives why it could not, for good. A database that is away is no reason
/// to stop: whether another process took over meanwhile shows at the next commit.
async fn renew(postgres: Postgres, lease: Duration, stop: CancellationToken) -> Failure {
    loop {
        tokio::time::sleep(lease / RENEWALS).await;
        let renewed = postgres.renew(lease).await;
        if let Err(error) = renewed.map_err(contract::Error::from) {
            warn!("the leases were not renewed: {error}");
            if !error.retry {
                stop.cancel();
                return Failure::new(error);
            }
        }
    }
}

/// What decides how a line stands on the topics: the columns of each dataset, and its dialect.
pub(crate) fn form(manifest: &Manifest) -> String {
    let of = |dataset: &Dataset| {
        let columns: Vec<_> = dataset.columns.iter().map(|c| format!("{}:{}", c.name, c.kind)).collect();
        format!("{} {:?} {}", dataset.name, dataset.csv, columns.join(","))
    };
    manifest.datasets.iter().map(of).collect::<Vec<_>>().join("; ")
}

/// How many lines are rejected, and how many wait.
pub(crate) async fn dead_letters(postgres: &Postgres) -> Result<[u64; 2], postgres::Error> {
    let totals = postgres.ledger_totals().await?;
    let sum = |fate: Fate| totals.iter().map(|total| total.fates[fate as usize] as u64).sum();
    Ok([sum(Fate::Rejected), sum(Fate::Waiting)])
}

/// Of each dataset: how many sources, and what became of their lines.
async fn datasets(postgres: &Postgres) -> Result<Relation, postgres::Error> {
    let totals = postgres.ledger_totals().await?;
    let mut columns = vec![Column::new("dataset", ColumnKind::Text)];
    let counted = ["sources", "accepted"].into_iter().chain(Effects::NAMES);
    let counted = counted.chain(["rejected", "waiting", "discarded", "in_flight"]);
    columns.extend(counted.map(|name| Column::new(name, ColumnKind::Number)));
    let rows = postgres.manifest().datasets.iter().map(|dataset| {
        let mut sums = [0; 10];
        for total in totals.iter().filter(|total| total.dataset == dataset.name) {
            let [accepted, rejected, waiting, discarded] = total.fates;
            let [inserted, updated, superseded, uncounted] =
                total.effects.in_order().map(|lines| lines as i64);
            let counts = [
                total.sources,
                accepted,
                inserted,
                updated,
                superseded,
                uncounted,
                rejected,
                waiting,
                discarded,
                total.in_flight,
            ];
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let name = Some(dataset.name.clone());
        [name].into_iter().chain(sums.map(|sum| Some(sum.to_string()))).collect()
    });
    let rows = rows.collect();
    Ok(Relation { columns, rows })
}
