//! Stages over a cluster: `tidegate source`, `transform` and `sink`, and `run` for all three in one process.
//!
//! Instances of a stage share its partitions by leases in Postgres. Each works for those that fall to it until that
//! changes: then it finishes the batch in hand, gives back what is another's now, and begins anew with the rest. So
//! a stage's own loop knows nothing of others, and every transaction holds the leases of the partitions that it
//! works for.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_connectors::csv::{Inbox, Landing};
use tidegate_connectors::postgres::views::View;
use tidegate_connectors::postgres::{Holder, Membership, Postgres, Share};
use tidegate_core::contract::Error;
use tidegate_core::dead_letter::Stage;
use tidegate_core::manifest::{Dataset, Engine};
use tidegate_engine::{Counts, Pipeline, TRANSFORM_READER, Until, already_sent, create_all, lag_records};
use tidegate_topics::Broker;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::backups::Schedule;
use crate::cli::{Global, Partitions, SourceArguments, StageArguments};
use crate::data_dir::DataDir;
use crate::errands::Errands;
use crate::http::App;
use crate::intake::{Intake, Registering};
use crate::journal::Journaled;
use crate::mover::Mover;
use crate::refresher::{self, Refresher};
use crate::run::{self, Files, Ran, patiently};
use crate::settings::Settings;
use crate::spool::Spool;
use crate::{Failure, recover, watch as watching};

/// How often an instance says that it lives, at least; more often where leases are short.
const BEAT_EVERY: Duration = Duration::from_secs(1);
const BEATS: u32 = 3;
/// How long a beat waits for the topics to tell how far behind it is.
const LAG_WITHIN: Duration = Duration::from_secs(1);
/// A stage that fails so often, each time so soon after it has begun, does not begin anew; else after this pause.
const FAILURES_MAX: u32 = 3;
const FAILURES_WITHIN: Duration = Duration::from_secs(30);
const FAILURE_PAUSE: Duration = Duration::from_millis(300);
/// How long an instance that ends waits to give its leases back.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// `tidegate source`.
///
/// # Errors
///
/// If it cannot start, stops for good, or leaves files that it cannot read.
pub async fn source(global: &Global, arguments: &SourceArguments) -> Result<(), Failure> {
    let settings = on_cluster(global, "source")?;
    let me = run::holder();
    let mut data_dir = DataDir::open(&settings.data_dir, &settings.manifest.pipeline, &me, false)?;
    let until = if arguments.until_idle { Until::Idle } else { Until::Stopped };
    let views = settings.load_views()?;
    let stop = stop_on_signals()?;
    let postgres = settings.database(data_dir.owner())?;
    let database = patiently(&stop, async || postgres.migrate().await).await?;
    data_dir.bind(database, run::form(&settings.manifest))?;
    let cluster = Cluster::join(&settings, &postgres, me, &views, &stop).await?;
    let shown = watching::start(cluster.counts.clone());
    let mut files = Files::default();
    let work = async |partitions: Vec<u32>, postgres: Postgres, generation: CancellationToken| {
        cluster.read_files((&data_dir, None), (partitions, postgres, &generation), until, &mut files).await
    };
    let ended = cluster.share(Stage::Source, arguments.stage.partitions.as_ref(), work).await;
    shown.end().await;
    ended?;
    run::fail_with(if until == Until::Idle { run::left(&files) } else { Vec::new() })
}

/// `tidegate transform`.
///
/// # Errors
///
/// If it cannot start or stops for good.
pub async fn transform(global: &Global, arguments: &StageArguments) -> Result<(), Failure> {
    alone(global, Stage::Transform, arguments).await
}

/// `tidegate sink`.
///
/// # Errors
///
/// If it cannot start or stops for good.
pub async fn sink(global: &Global, arguments: &StageArguments) -> Result<(), Failure> {
    alone(global, Stage::Sink, arguments).await
}

/// A stage that keeps nothing on disk.
async fn alone(global: &Global, stage: Stage, arguments: &StageArguments) -> Result<(), Failure> {
    let settings = on_cluster(global, stage.as_str())?;
    let views = settings.load_views()?;
    let stop = stop_on_signals()?;
    let postgres = settings.database(Uuid::new_v4())?;
    patiently(&stop, async || postgres.migrate().await).await?;
    let cluster = Cluster::join(&settings, &postgres, run::holder(), &views, &stop).await?;
    let shown = watching::start(cluster.counts.clone());
    let ended = match stage {
        Stage::Sink => cluster.sink(arguments.partitions.as_ref()).await,
        _ => cluster.transform(arguments.partitions.as_ref()).await,
    };
    shown.end().await;
    ended
}

/// All stages in this process, which shares partitions with others as each of them alone would.
pub(crate) async fn all(
    settings: &Settings,
    postgres: &Postgres,
    data_dir: &DataDir,
    views: &[View],
    (until, stop): (Until, &CancellationToken),
    (counts, app): (Arc<Counts>, Option<&App>),
) -> Result<Ran, Failure> {
    let dead_letters_before = patiently(stop, async || run::dead_letters(postgres).await).await?;
    let ours = stop.child_token();
    let cluster = Cluster::join(settings, postgres, run::holder(), views, &ours).await?;
    let cluster = Cluster { counts, ..cluster };
    if let Some(app) = app {
        app.show(cluster.topics.clone());
    }
    let mut files = Files::default();
    let work = async |partitions: Vec<u32>, postgres: Postgres, generation: CancellationToken| {
        cluster.read_files((data_dir, app), (partitions, postgres, &generation), until, &mut files).await
    };
    info!(landing = %settings.landing.display(), pipeline = settings.manifest.pipeline, "running");
    let shown = watching::start(cluster.counts.clone());
    // Whichever ends first, for whatever reason, the others must not go on without it.
    let (read, transformed, delivered) = tokio::join!(
        ending(&ours, cluster.share(Stage::Source, None, work)),
        ending(&ours, cluster.transform_if_ours()),
        ending(&ours, cluster.sink(None)),
    );
    shown.end().await;
    read.and(transformed).and(delivered)?;
    if until == Until::Idle && !stop.is_cancelled() {
        // What is read after the run is of the run.
        tokio::select! {
            () = refresher::refresh_all(postgres) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(Ran { counts: cluster.counts.clone(), files, dead_letters_before })
}

/// Does something, and stops the others when it has ended.
async fn ending<T>(others: &CancellationToken, work: impl Future<Output = T>) -> T {
    let ended = work.await;
    others.cancel();
    ended
}

fn stop_on_signals() -> Result<CancellationToken, Failure> {
    run::stop_on_signals("stopping: the batch in hand is finished first; once more ends at once")
}

/// The settings of a pipeline whose stages can run alone.
fn on_cluster(global: &Global, stage: &str) -> Result<Settings, Failure> {
    let settings = Settings::load(global)?;
    if settings.manifest.fluvio.is_some() {
        return Ok(settings);
    }
    Err(Failure::usage(format!(
        "'tidegate {stage}' needs topics that other processes can reach, and those of this pipeline are embedded; \
         set 'topics: {{fluvio: ...}}' in '{}', or run all stages with 'tidegate run'",
        global.config.display()
    )))
}

/// A pipeline on a cluster, as one process takes part in it.
struct Cluster<'a> {
    settings: &'a Settings,
    postgres: &'a Postgres,
    topics: Arc<Broker>,
    counts: Arc<Counts>,
    /// In which form lines are on the topics, and with which views.
    form: String,
    me: Holder,
    stop: &'a CancellationToken,
}

impl<'a> Cluster<'a> {
    /// Makes topics, tables and views ready, or finds them so.
    async fn join(
        settings: &'a Settings,
        postgres: &'a Postgres,
        me: Holder,
        views: &[View],
        stop: &'a CancellationToken,
    ) -> Result<Self, Failure> {
        let manifest = &settings.manifest;
        let form = form(settings, views);
        let topics = Arc::new(settings.topics(&settings.data_dir)?);
        patiently(stop, async || create_all(manifest, &*topics).await).await?;
        let ends = async || create_all(manifest, &*topics).await;
        patiently(stop, async || postgres.join(&form, TRANSFORM_READER, ends).await).await?;
        patiently(stop, async || postgres.prepare_together(&form, views).await).await?;
        Ok(Self { settings, postgres, topics, counts: Arc::default(), form, me, stop })
    }

    /// Works for the partitions of a stage that fall to this instance, until `work` has ended by itself or all is
    /// to stop. `work` ends when its token is cancelled, with the batch in hand.
    async fn share(
        &self,
        stage: Stage,
        pinned: Option<&Partitions>,
        work: impl AsyncFnMut(Vec<u32>, Postgres, CancellationToken) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let partitions = self.settings.manifest.partitions();
        if let Some(beyond) = pinned.and_then(|pinned| pinned.0.iter().find(|p| **p >= partitions)) {
            return Err(Failure::usage(format!(
                "there is no partition {beyond}: the topics have {partitions}, from 0 on"
            )));
        }
        let pinned = pinned.map(|pinned| pinned.0.clone());
        let membership = Membership { stage, holder: self.me.clone(), pinned, form: self.form.clone() };
        let (tell, shares) = watch::channel(Share::default());
        let at_once = Notify::new();
        let ended = tokio::select! {
            failure = self.beat(&membership, &tell, &at_once) => Err(failure),
            ended = self.generations(&membership, shares, &at_once, work) => ended,
        };
        let _ = tokio::time::timeout(LEAVE_WITHIN, self.postgres.leave(stage)).await;
        ended
    }

    /// Says now and then that this instance lives, and tells what its share is. Gives why it cannot, for good.
    async fn beat(&self, me: &Membership, tell: &watch::Sender<Share>, at_once: &Notify) -> Failure {
        let manifest = &self.settings.manifest;
        loop {
            let held = tell.borrow().kept();
            let lag = lag_records(manifest, &*self.topics, self.postgres, me.stage, &held);
            // Whoever cannot tell is none the less alive.
            let lag = tokio::time::timeout(LAG_WITHIN.min(manifest.lease / (2 * BEATS)), lag)
                .await
                .ok()
                .and_then(Result::ok)
                .flatten();
            match self.postgres.beat(me, lag).await.map_err(Error::from) {
                Ok(share) => drop(tell.send_replace(share)),
                Err(error) if error.retry => warn!("the leases were not renewed: {error}"),
                Err(error) => return Failure::new(error),
            }
            tokio::select! {
                () = tokio::time::sleep(BEAT_EVERY.min(manifest.lease / BEATS)) => {}
                () = at_once.notified() => {}
            }
        }
    }

    /// Works for one share after the other.
    async fn generations(
        &self,
        me: &Membership,
        mut shares: watch::Receiver<Share>,
        at_once: &Notify,
        mut work: impl AsyncFnMut(Vec<u32>, Postgres, CancellationToken) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let stage = me.stage;
        let mut failures = 0;
        loop {
            let share = shares.borrow_and_update().clone();
            if !share.surplus.is_empty() {
                self.give_back(stage, &share.surplus, at_once).await;
            }
            let kept = share.kept();
            if kept.is_empty() {
                debug!(stage = stage.as_str(), "no partitions, so far");
                tokio::select! {
                    changed = shares.changed() => changed?,
                    () = self.stop.cancelled() => return Ok(()),
                }
                continue;
            }
            let partitions: Vec<u32> = kept.iter().copied().collect();
            info!(stage = stage.as_str(), ?partitions, "working for partitions");
            let (generation, acting) = (self.stop.child_token(), self.postgres.acting(stage, &partitions));
            let begun = Instant::now();
            let ended = tokio::select! {
                ended = work(partitions, acting, generation.clone()) => ended,
                never = end_when_changed(&mut shares, &kept, &generation) => never?,
            };
            match ended {
                _ if self.stop.is_cancelled() => return ended,
                Ok(()) if !generation.is_cancelled() => return Ok(()),
                Ok(()) => {}
                // What failed may be no more than that others have what was ours, or had it for a moment.
                Err(failure) => {
                    failures = if begun.elapsed() > FAILURES_WITHIN { 1 } else { failures + 1 };
                    if failures == FAILURES_MAX {
                        return Err(failure);
                    }
                    warn!(stage = stage.as_str(), "beginning anew: {}", failure.message);
                    at_once.notify_one();
                    tokio::time::sleep(FAILURE_PAUSE).await;
                }
            }
        }
    }

    /// Gives partitions back that are others' now. If that fails, their leases expire.
    async fn give_back(&self, stage: Stage, surplus: &BTreeSet<u32>, at_once: &Notify) {
        info!(stage = stage.as_str(), partitions = ?surplus, "giving partitions to others");
        match self.postgres.give_back(stage, surplus).await {
            Ok(()) => at_once.notify_one(),
            Err(error) => warn!("partitions were not given back: {error}"),
        }
    }

    async fn transform(&self, pinned: Option<&Partitions>) -> Result<(), Failure> {
        let work = async |partitions: Vec<u32>, postgres: Postgres, stop: CancellationToken| {
            let Some(pipeline) = unless_stopped(&stop, self.open(partitions, postgres)).await? else {
                return Ok(());
            };
            self.unless_overdue(pipeline.transform(&stop)).await
        };
        self.share(Stage::Transform, pinned, work).await
    }

    /// The transform, unless Arroyo runs it; then there is nothing to do until all is to stop.
    async fn transform_if_ours(&self) -> Result<(), Failure> {
        if self.settings.manifest.engine() == Engine::Tidegate {
            return self.transform(None).await;
        }
        self.stop.cancelled().await;
        Ok(())
    }

    async fn sink(&self, pinned: Option<&Partitions>) -> Result<(), Failure> {
        let work = async |partitions: Vec<u32>, postgres: Postgres, stop: CancellationToken| {
            let _refresher = Refresher::start(postgres.clone());
            let _mover = Mover::start(postgres.clone());
            let Some(pipeline) = unless_stopped(&stop, self.open(partitions, postgres)).await? else {
                return Ok(());
            };
            self.unless_overdue(pipeline.sink(&stop)).await
        };
        self.share(Stage::Sink, pinned, work).await
    }

    /// Reads the files of the landing folder that fall to some partitions.
    async fn read_files(
        &self,
        (data_dir, app): (&DataDir, Option<&App>),
        (partitions, postgres, stop): (Vec<u32>, Postgres, &CancellationToken),
        until: Until,
        files: &mut Files,
    ) -> Result<(), Failure> {
        let asked = postgres.clone();
        // Backups are one's business.
        let _backups = partitions.contains(&0).then(|| Schedule::start(self.settings, &postgres));
        let ready = async {
            let landing = self.landing(data_dir, &partitions, &postgres).await?;
            Ok((landing, self.open(partitions, postgres).await?))
        };
        let Some(((mut landing, intake, _registering), pipeline)) = unless_stopped(stop, ready).await? else {
            return Ok(());
        };
        let errands = Errands { settings: self.settings.clone(), postgres: asked, intake: intake.clone() };
        errands.take_up().await;
        let _errands = errands.run();
        admit(app, Some(intake));
        let ended = self.unless_overdue(pipeline.source(&mut landing, until, stop)).await;
        admit(app, None);
        files.add(&landing);
        ended
    }

    async fn landing(
        &self,
        data_dir: &DataDir,
        partitions: &[u32],
        postgres: &Postgres,
    ) -> Result<(Landing<Arc<Journaled>>, Intake, Registering), Failure> {
        let Self { settings, topics, stop, .. } = self;
        let manifest = &settings.manifest;
        // Read before Postgres is asked: other sources put files into done/ meanwhile.
        let noted = recover::Noted::read(settings, data_dir)?;
        let registered =
            patiently(stop, async || run::registered(postgres, || noted.sources()).await).await?;
        let is_complete = registered.iter().all(|source| source.complete);
        let start = recover::begin(None, settings, data_dir, postgres, (noted, registered)).await?;
        let sent = match is_complete {
            true => HashMap::new(),
            false => patiently(stop, async || already_sent(manifest, &**topics, postgres).await).await?,
        };
        let (registry, inbox) = (Arc::new(start.registry), Arc::new(Inbox::default()));
        let spool = Spool::open(data_dir.path())?;
        let (intake, registering) = patiently(stop, async || {
            Intake::open(spool.clone(), inbox.clone(), registry.clone(), postgres).await
        })
        .await?;
        let landing = Landing::new(settings.landing.clone(), manifest.clone(), registry, sent)
            .with_inbox(inbox)
            .sharing(partitions.to_vec(), manifest.partitions());
        Ok((landing, intake, registering))
    }

    async fn open(
        &self,
        partitions: Vec<u32>,
        postgres: Postgres,
    ) -> Result<Pipeline<Broker, Postgres>, Failure> {
        let Self { settings, topics, counts, .. } = self;
        let (manifest, sink) = (&settings.manifest, Arc::new(postgres));
        patiently(self.stop, async || {
            let (topics, partitions) = (topics.clone(), partitions.clone());
            Pipeline::open(manifest.clone(), topics, sink.clone(), partitions, counts.clone()).await
        })
        .await
    }

    async fn unless_overdue(&self, stage: impl Future<Output = Result<(), Error>>) -> Result<(), Failure> {
        let ended = tokio::select! {
            ended = stage => ended,
            error = run::overdue(self.stop) => Err(error),
        };
        Ok(ended?)
    }
}

/// Opens the way in for what is sent over HTTP, or closes it, where HTTP is served.
fn admit(app: Option<&App>, intake: Option<Intake>) {
    if let Some(app) = app {
        app.admit(intake);
    }
}

/// What a generation must have before it can begin; `None` if it is to end before.
async fn unless_stopped<T>(
    stop: &CancellationToken,
    ready: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(None),
        ready = ready => ready.map(Some),
    }
}

/// Cancels a generation when its share changes, and waits on then: it ends by itself.
async fn end_when_changed(
    shares: &mut watch::Receiver<Share>,
    kept: &BTreeSet<u32>,
    generation: &CancellationToken,
) -> Result<Result<(), Failure>, Failure> {
    shares.wait_for(|share| share.kept() != *kept).await?;
    generation.cancel();
    std::future::pending().await
}

/// What all who share a pipeline must have alike: the cluster, what lines are held against, the views.
fn form(settings: &Settings, views: &[View]) -> String {
    let mut hash = blake3::Hasher::new();
    let mut views: Vec<(&str, &str)> =
        views.iter().map(|view| (&view.name[..], &view.definition[..])).collect();
    views.sort_unstable();
    for part in views.into_iter().flat_map(|(name, text)| [name, text]) {
        hash.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    let manifest = &settings.manifest;
    for dataset in &manifest.datasets {
        let Dataset { name, table, csv, columns, key, .. } = dataset;
        hash.update(format!("{:?}", (name, table, csv, columns, key)).as_bytes());
    }
    hash.update(&manifest.max_record_bytes.to_le_bytes());
    let cluster = manifest.fluvio.as_ref().map(|fluvio| (&fluvio.endpoint, &fluvio.profile));
    format!("{cluster:?}, {} partitions, {}", manifest.partitions(), hash.finalize().to_hex())
}
