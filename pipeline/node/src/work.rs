//! The stages as one node runs them for some partitions, until its share changes or the node is stopped.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_core::contract::Error;
use tidegate_engine::{Pipeline, Until, already_sent, patiently};
use tidegate_files::{Inbox, Landing};
use tidegate_store::Store;
use tidegate_topics::Broker;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use crate::data_dir::DataDir;
use crate::files::Files;
use crate::ingest_queue::IngestQueue;
use crate::journal::JournaledRegistry;
use crate::recover::{self, Start};
use crate::settings::Settings;
use crate::spool::Spool;
use crate::{Failure, Node, backups, refresher, workers};

/// How long a stopped run waits for the batch in hand.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// The stages of a pipeline as one node runs them.
pub(crate) struct Work<'a> {
    pub(crate) node: &'a Node,
    pub(crate) topics: Arc<Broker>,
    /// Stops all stages of this node.
    pub(crate) stop: &'a CancellationToken,
    pub(crate) until: Until,
}

/// What a node works for until its share changes.
pub(crate) struct Generation {
    pub(crate) partitions: Vec<u32>,
    /// A store with the leases of the partitions.
    pub(crate) store: Store,
    /// Ends this work after the batch in hand.
    pub(crate) stop: CancellationToken,
}

/// The source's inputs, with the tasks that feed them.
struct Inlet {
    landing: Landing<Arc<JournaledRegistry>>,
    queue: IngestQueue,
    _tasks: [Option<AbortOnDropHandle<()>>; 3],
}

impl Work<'_> {
    /// Runs all stages for all partitions.
    pub(crate) async fn all(
        &self,
        data_dir: &DataDir,
        start: Start,
        generation: Generation,
        files: &mut Files,
    ) -> Result<(), Failure> {
        let Settings { landing, manifest, .. } = self.node.settings();
        let pipeline = self.open(&generation).await?;
        let mut inlet = self.inlet(data_dir, start, &generation).await?;
        let Generation { store, stop, .. } = generation;
        let beside = self.beside_sink(&store);
        info!(landing = %landing.display(), pipeline = manifest.pipeline, "running");
        self.node.access().admit(Some(inlet.queue.clone()));
        let ended = self.unless_overdue(pipeline.run(&mut inlet.landing, self.until, &stop)).await;
        self.node.access().admit(None);
        drop(beside);
        ended?;
        self.finish(&store).await?;
        self.refresh_at_end(&store).await;
        files.add(&inlet.landing);
        Ok(())
    }

    /// Runs the source alone.
    pub(crate) async fn source(
        &self,
        data_dir: &DataDir,
        generation: Generation,
        files: &mut Files,
    ) -> Result<(), Failure> {
        let ready = async {
            let (settings, store) = (self.node.settings(), &generation.store);
            let start = recover::start(None, settings, data_dir, store, self.stop).await?;
            let inlet = self.inlet(data_dir, start, &generation).await?;
            Ok::<_, Failure>((inlet, self.open(&generation).await?))
        };
        let Some((mut inlet, pipeline)) = unless_stopped(&generation.stop, ready).await? else {
            return Ok(());
        };
        self.node.access().admit(Some(inlet.queue.clone()));
        let stages = pipeline.source(&mut inlet.landing, self.until, &generation.stop);
        let ended = self.unless_overdue(stages).await;
        self.node.access().admit(None);
        files.add(&inlet.landing);
        ended
    }

    /// Runs the transform alone.
    pub(crate) async fn transform(&self, generation: Generation) -> Result<(), Failure> {
        match unless_stopped(&generation.stop, self.open(&generation)).await? {
            Some(pipeline) => self.unless_overdue(pipeline.transform(&generation.stop)).await,
            None => Ok(()),
        }
    }

    /// Runs the sink alone.
    pub(crate) async fn sink(&self, generation: Generation) -> Result<(), Failure> {
        let beside = self.beside_sink(&generation.store);
        let opened = unless_stopped(&generation.stop, self.open(&generation)).await?;
        let Some(pipeline) = opened else { return Ok(()) };
        let ended = self.unless_overdue(pipeline.sink(&generation.stop)).await;
        drop(beside);
        ended
    }

    /// Starts the tasks that work beside a sink.
    fn beside_sink(&self, store: &Store) -> [AbortOnDropHandle<()>; 2] {
        let moves = workers::make_moves(store.clone(), self.node.listener().notifications());
        [moves, refresher::start(store.clone())]
    }

    /// Whether the run ends by itself, because it is idle, and not because the node was stopped.
    fn ends_idle(&self) -> bool {
        self.until == Until::Idle && !self.node.stop.is_cancelled()
    }

    /// Makes the requested replays and discards, if the run ends when it is idle.
    async fn finish(&self, store: &Store) -> Result<(), Failure> {
        match self.ends_idle() {
            true => Ok(workers::finish_moves(store, &self.node.stop).await?),
            false => Ok(()),
        }
    }

    /// Waits until the requested replays and discards are made, by this node or another one, if the run ends when it is
    /// idle.
    pub(crate) async fn until_moves_made(&self, store: &Store) -> Result<(), Failure> {
        match self.ends_idle() {
            // If another stage fails, the run ends with the failure of that stage.
            true => {
                let made = self.stop.run_until_cancelled(workers::until_moves_made(store)).await;
                Ok(made.unwrap_or(Ok(()))?)
            }
            false => Ok(()),
        }
    }

    /// Refreshes all materialized views, if the run ends when it is idle. Queries after the run then see its rows.
    pub(crate) async fn refresh_at_end(&self, store: &Store) {
        if self.ends_idle() {
            self.node.stop.run_until_cancelled(refresher::refresh_all(store)).await;
        }
    }

    async fn inlet(
        &self,
        data_dir: &DataDir,
        start: Start,
        Generation { partitions, store, .. }: &Generation,
    ) -> Result<Inlet, Failure> {
        let Self { node, topics, stop, .. } = self;
        let (settings, manifest) = (node.settings(), &node.settings().manifest);
        let sent = match start.is_complete {
            true => HashMap::new(),
            false => patiently(stop, async || already_sent(manifest, &**topics, store).await).await?,
        };
        let (registry, inbox) = (Arc::new(start.registry), Arc::new(Inbox::default()));
        let spool = Spool::open(data_dir.path())?;
        let (queue, registering) = patiently(stop, async || {
            IngestQueue::open(spool.clone(), inbox.clone(), registry.clone(), store).await
        })
        .await?;
        let mut landing = Landing::new(settings.landing.clone(), manifest.clone(), registry, sent)
            .with_inbox(inbox)
            .sharing(partitions.clone(), manifest.partitions());
        for (source, path, name, dataset) in start.files {
            landing.take_back(source, path, name, dataset);
        }
        let notifications = node.listener().notifications();
        let restores = workers::take_up(settings.clone(), store.clone(), queue.clone(), notifications).await;
        // If nodes share the pipeline, only the one with partition 0 takes backups.
        let backups = partitions.contains(&0).then(|| backups::start(settings, store)).flatten();
        Ok(Inlet { landing, queue, _tasks: [Some(registering), Some(restores), backups] })
    }

    async fn open(&self, generation: &Generation) -> Result<Pipeline<Broker, Store>, Failure> {
        let sink = Arc::new(generation.store.clone());
        let opened = patiently(self.stop, async || {
            let (manifest, counts) = (self.node.settings().manifest.clone(), self.node.counts().clone());
            let (topics, partitions) = (self.topics.clone(), generation.partitions.clone());
            Pipeline::open(manifest, topics, sink.clone(), partitions, counts).await
        });
        Ok(opened.await?)
    }

    /// Runs stages to their end, or until [`STOP_WITHIN`] after the stop.
    async fn unless_overdue(&self, stages: impl Future<Output = Result<(), Error>>) -> Result<(), Failure> {
        let overdue = async {
            self.stop.cancelled().await;
            tokio::time::sleep(STOP_WITHIN).await;
        };
        tokio::select! {
            ended = stages => Ok(ended?),
            () = overdue => Err(Failure::new(
                "stopped while Postgres did not answer: the next run does the batch in hand again",
            )),
        }
    }
}

/// Opens what a stage needs. If `stop` is cancelled first, returns `None`: the error with which the retries in `opening`
/// end then is no failure of the stage.
async fn unless_stopped<T>(
    stop: &CancellationToken,
    opening: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    match stop.run_until_cancelled(opening).await {
        Some(Err(_)) if stop.is_cancelled() => Ok(None),
        opened => opened.transpose(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_opening_that_a_stop_ends_with_an_error_is_no_failure() {
        let stop = CancellationToken::new();
        let failed = async || Err::<(), _>(Failure::new("stopped before Postgres had answered"));
        assert!(unless_stopped(&stop, failed()).await.is_err());
        stop.cancel();
        assert!(unless_stopped(&stop, failed()).await.unwrap().is_none());
    }
}
