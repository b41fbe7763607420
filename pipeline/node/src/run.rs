//! The runs of a node.
//!
//! Over embedded topics, one node runs all stages alone. Over a cluster, nodes share the partitions of each stage; see
//! [`members`](crate::members). In both cases [`work`](crate::work) runs the stages for the node's partitions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::contract::TRANSFORM_READER;
use tidegate_core::dead_letter::Stage;
use tidegate_core::manifest::Engine;
use tidegate_engine::{Until, create_all, patiently};
use tidegate_postgres::schema;
use tidegate_store::{group, prepare, receipts};
use tidegate_topics::Broker;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::alone::leased;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::files::Files;
use crate::members::Members;
use crate::node::Node;
use crate::recover::{self, Recovery};
use crate::summary::{self, RunSummary, Usage};
use crate::work::{Generation, Work};

/// How long the summary of a stopped run waits for Postgres, which may be just coming back.
const SUMMARY_WITHIN: Duration = Duration::from_secs(5);

/// The result of a run, from which [`Node::summary`] makes the summary.
pub struct RunResult {
    files: Files,
    dead_letters_before: [u64; 2],
    /// The sources whose files were missing before the run; `None` if the summary does not list incomplete sources.
    awaited_before: Option<Vec<u64>>,
    until: Until,
}

impl Node {
    /// Runs all stages until `until` is reached or the node is stopped. Fails if the pipeline cannot start or stops for
    /// good.
    pub async fn run(&mut self, until: Until) -> Result<RunResult, Failure> {
        self.run_with(None, until).await
    }

    /// Runs all stages until idle, with a recovery of what Postgres has lost at the start and at the end. This node
    /// must be the only one that runs. Fails as [`Node::run`], or if Postgres cannot be brought back to where it was.
    pub async fn recover(&mut self, recovery: &mut Recovery) -> Result<RunResult, Failure> {
        self.run_with(Some(recovery), Until::Idle).await
    }

    async fn run_with(
        &mut self,
        recovery: Option<&mut Recovery>,
        until: Until,
    ) -> Result<RunResult, Failure> {
        let missing = || Failure::new("only a node with a data directory runs all stages");
        let mut data_dir = self.data_dir.take().ok_or_else(missing)?;
        let result = self.run_in(&mut data_dir, recovery, until).await;
        self.data_dir = Some(data_dir);
        result
    }

    async fn run_in(
        &self,
        data_dir: &mut DataDir,
        recovery: Option<&mut Recovery>,
        until: Until,
    ) -> Result<RunResult, Failure> {
        let is_shared = self.settings.manifest.fluvio.is_some() && recovery.is_none();
        let database = self.migrate().await?;
        data_dir.assert_of(database)?;
        // If nodes share the pipeline, another node's lines may be in flight at this moment.
        let awaited_before = match until == Until::Idle && !is_shared {
            true => Some(patiently(&self.stop, async || receipts::awaited_sources(&self.store).await).await?),
            false => None,
        };
        if self.takes_over {
            // Check before the take-over: the other process must not stop for a node that then fails to start.
            recover::assert_current(&self.settings, data_dir, &self.store).await?;
        }
        let fingerprint = self.settings.lines_fingerprint();
        let mut files = Files::default();
        // Runs are boxed: the compiler computes the layout of nested futures at once, and only to a certain depth.
        let dead_letters_before = if is_shared {
            if self.takes_over {
                return Err(Failure::usage(
                    "the topics are on a cluster, so all nodes share the pipeline; --take-over is for embedded \
                     topics: start without it",
                ));
            }
            data_dir.bind(database, fingerprint)?;
            Box::pin(self.run_shared(data_dir, until, &mut files)).await?
        } else {
            let work = async {
                data_dir.bind(database, fingerprint)?;
                Box::pin(self.run_alone(data_dir, recovery, until, &mut files)).await
            };
            leased(&self.store, &self.holder, self.takes_over, &self.stop, work).await?
        };
        Ok(RunResult { files, dead_letters_before, awaited_before, until })
    }

    /// Brings Tidegate's schema up to date, and returns the identity of the pipeline in the database. Waits while Postgres
    /// cannot be reached.
    async fn migrate(&self) -> Result<Uuid, Failure> {
        let database = patiently(&self.stop, async || schema::migrate(&self.store).await).await?;
        if let Some(warning) = self.store.unencrypted() {
            warn!("{warning}");
        }
        Ok(database)
    }

    /// Runs all stages for all partitions, under the leases of the whole pipeline.
    async fn run_alone(
        &self,
        data_dir: &DataDir,
        mut recovery: Option<&mut Recovery>,
        until: Until,
        files: &mut Files,
    ) -> Result<[u64; 2], Failure> {
        let Self { settings, store, stop, .. } = self;
        // This comes before the topics are opened: Postgres may no longer know the sources of the lines on them.
        let start = recover::start(recovery.as_deref_mut(), settings, data_dir, store, stop).await?;
        data_dir.remove_others_topics();
        patiently(stop, async || prepare::prepare(store, &self.views).await).await?;
        let topics = self.topics(&data_dir.topics())?;
        self.access.show(topics.clone());
        let dead_letters_before = patiently(stop, async || summary::dead_letters(store).await).await?;
        let partitions = (0..settings.manifest.partitions()).collect();
        let generation = Generation { partitions, store: store.clone(), stop: stop.clone() };
        Work { node: self, topics, stop, until }.all(data_dir, start, generation, files).await?;
        if let Some(recovery) = recovery
            && !stop.is_cancelled()
        {
            recovery.end(settings, data_dir, store).await?;
        }
        Ok(dead_letters_before)
    }

    /// Runs all stages, each for this node's share of the partitions.
    async fn run_shared(
        &self,
        data_dir: &DataDir,
        until: Until,
        files: &mut Files,
    ) -> Result<[u64; 2], Failure> {
        let Self { settings, store, .. } = self;
        let dead_letters_before = patiently(&self.stop, async || summary::dead_letters(store).await).await?;
        // When one stage ends, for whatever reason, the others must not continue without it.
        let stop = self.stop.child_token();
        let (topics, members) = self.join(&stop).await?;
        self.access.show(topics.clone());
        info!(landing = %settings.landing.display(), pipeline = settings.manifest.pipeline, "running");
        let work = Work { node: self, topics, stop: &stop, until };
        let source = async |generation: Generation| work.source(data_dir, generation, files).await;
        let transform = async |generation: Generation| work.transform(generation).await;
        let sink = async |generation: Generation| work.sink(generation).await;
        let source = async {
            members.share(Stage::Source, None, source).await?;
            // The sinks go on until then.
            work.until_moves_made(store).await
        };
        let transform = async {
            match settings.manifest.engine() {
                Engine::Tidegate => members.share(Stage::Transform, None, transform).await,
                Engine::Arroyo => {
                    stop.cancelled().await;
                    Ok(())
                }
            }
        };
        let (read, transformed, delivered) = tokio::join!(
            ending(&stop, source),
            ending(&stop, transform),
            ending(&stop, members.share(Stage::Sink, None, sink)),
        );
        read.and(transformed).and(delivered)?;
        work.refresh_at_end(store).await;
        Ok(dead_letters_before)
    }

    /// Runs one stage for this node's share of the partitions, or only for the `pinned` ones. Fails if the stage cannot
    /// start or stops for good.
    pub async fn stage(
        &mut self,
        stage: Stage,
        pinned: Option<BTreeSet<u32>>,
        until: Until,
    ) -> Result<Files, Failure> {
        let database = self.migrate().await?;
        let mut data_dir = self.data_dir.take();
        if let Some(data_dir) = &mut data_dir {
            data_dir.bind(database, self.settings.lines_fingerprint())?;
        }
        let (topics, members) = self.join(&self.stop).await?;
        let work = Work { node: self, topics, stop: &self.stop, until };
        let mut files = Files::default();
        let work = async |generation: Generation| match (stage, &data_dir) {
            (Stage::Source, Some(data_dir)) => work.source(data_dir, generation, &mut files).await,
            (Stage::Source, None) => Err(Failure::new("a source needs a data directory")),
            (Stage::Transform, _) => work.transform(generation).await,
            (Stage::Sink, _) => work.sink(generation).await,
        };
        members.share(stage, pinned, work).await?;
        Ok(files)
    }

    /// Prepares topics, tables and views for nodes that share the pipeline, unless another node has prepared them.
    async fn join<'a>(&'a self, stop: &'a CancellationToken) -> Result<(Arc<Broker>, Members<'a>), Failure> {
        let Self { settings, store, .. } = self;
        let fingerprint = settings.config_fingerprint(&self.views);
        let topics = self.topics(&settings.data_dir)?;
        let ends = async || create_all(&settings.manifest, &*topics).await;
        patiently(stop, ends).await?;
        patiently(stop, async || group::join(store, &fingerprint, TRANSFORM_READER, ends).await).await?;
        patiently(stop, async || prepare::prepare_together(store, &fingerprint, &self.views).await).await?;
        let members = Members { store, topics: topics.clone(), holder: &self.holder, fingerprint, stop };
        Ok((topics, members))
    }

    /// Makes the summary of a run from the ledger as it stands now. Fails if the node was stopped and Postgres does not
    /// answer soon.
    pub async fn summary(&self, ran: RunResult) -> Result<RunSummary, Failure> {
        let (store, took) = (&self.store, self.begun.elapsed());
        let RunResult { files, dead_letters_before, awaited_before, until } = ran;
        let is_stopped = self.stop.is_cancelled();
        let ask = async || {
            let incomplete = match &awaited_before {
                Some(before) if !is_stopped => receipts::incomplete_sources(store, before).await?,
                _ => Vec::new(),
            };
            let wholly_rejected = match files.complete.is_empty() {
                true => Vec::new(),
                false => receipts::wholly_rejected(store, &files.complete).await?,
            };
            let datasets = summary::datasets(store).await?;
            let after = summary::dead_letters(store).await?;
            Ok::<_, tidegate_postgres::PgError>((after, datasets, wholly_rejected, incomplete))
        };
        let (after, datasets, wholly_rejected, incomplete) = if is_stopped {
            let never = CancellationToken::new();
            let soon = tokio::time::timeout(SUMMARY_WITHIN, patiently(&never, ask));
            let what =
                "stopped, and Postgres did not answer in time for a summary: 'tidegate sources' shows it";
            soon.await.map_err(|_| Failure::new(what))??
        } else {
            patiently(&self.stop, ask).await?
        };
        // Rejected and waiting lines are subtracted separately, so that healed lines do not hide rejected ones.
        let new_dead_letters = (0..2).map(|i| after[i].saturating_sub(dead_letters_before[i])).sum();
        Ok(RunSummary {
            datasets,
            files,
            wholly_rejected,
            incomplete,
            datasets_stopped: self.counts.stopped().into_values().collect(),
            new_dead_letters,
            lines: self.counts.entered(),
            took,
            usage: Usage::now(),
            stopped: is_stopped && until == Until::Idle,
        })
    }
}

/// Runs `work` and then cancels `others`.
async fn ending<T>(others: &CancellationToken, work: impl Future<Output = T>) -> T {
    let ended = work.await;
    others.cancel();
    ended
}
