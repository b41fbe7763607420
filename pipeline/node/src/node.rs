//! A node: a process that runs some stages of a pipeline for some of its partitions.
//!
//! [`run`](crate::run) says how a node gets its partitions, and [`work`](crate::work) what it does for them.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tidegate_engine::Counts;
use tidegate_postgres::listener::Listener;
use tidegate_store::{Holder, Store};
use tidegate_topics::Broker;
use tidegate_views::View;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::access::Access;
use crate::alone::holder;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::settings::Settings;

/// A process that runs stages of a pipeline.
pub struct Node {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    /// Topics that replace those of the settings, if given.
    pub(crate) topics: Option<Arc<Broker>>,
    /// `None` for a node whose stages keep nothing on disk.
    pub(crate) data_dir: Option<DataDir>,
    pub(crate) views: Vec<View>,
    pub(crate) holder: Holder,
    pub(crate) counts: Arc<Counts>,
    pub(crate) access: Arc<Access>,
    pub(crate) listener: Listener,
    pub(crate) stop: CancellationToken,
    pub(crate) takes_over: bool,
    pub(crate) begun: Instant,
}

impl Node {
    /// Opens a node with the data directory of `settings`. The node ends when `stop` is cancelled. With `take_over`, it
    /// replaces a process that already runs the pipeline. Fails if another process has the data directory open, or a
    /// view or the database's url cannot be read.
    pub fn open(settings: &Settings, stop: CancellationToken, take_over: bool) -> Result<Self, Failure> {
        let holder = holder();
        let data_dir = DataDir::open(&settings.data_dir, &settings.manifest.pipeline, &holder, take_over)?;
        Self::new(settings, stop, holder, Some(data_dir), take_over)
    }

    /// Opens a node that keeps nothing on disk, for the transform and the sink. Fails if a view or the database's url
    /// cannot be read.
    pub fn without_data_dir(settings: &Settings, stop: CancellationToken) -> Result<Self, Failure> {
        Self::new(settings, stop, holder(), None, false)
    }

    fn new(
        settings: &Settings,
        stop: CancellationToken,
        holder: Holder,
        data_dir: Option<DataDir>,
        takes_over: bool,
    ) -> Result<Self, Failure> {
        let store = settings.database(data_dir.as_ref().map_or_else(Uuid::new_v4, DataDir::owner))?;
        Ok(Self {
            settings: settings.clone(),
            listener: Listener::start(&store),
            store,
            topics: None,
            data_dir,
            views: settings.load_views()?,
            holder,
            counts: Arc::default(),
            access: Arc::default(),
            stop,
            takes_over,
            begun: Instant::now(),
        })
    }

    /// Returns the same node over `topics` instead of those of its settings.
    pub fn with_topics(self, topics: Broker) -> Self {
        Self { topics: Some(Arc::new(topics)), ..self }
    }

    pub(crate) fn topics(&self, directory: &Path) -> Result<Arc<Broker>, Failure> {
        self.topics.clone().map_or_else(|| self.settings.topics(directory).map(Arc::new), Ok)
    }

    /// The pipeline's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The pipeline's store, with the leases of the whole pipeline.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The counts of the stages.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// The parts of the node that other tasks of this process use.
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// The listener that tells this process of requests that other processes store for the pipeline.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }
}
