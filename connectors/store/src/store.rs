//! A pipeline's store: its database, and the state that one process keeps about it.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use tidegate_core::dead_letter::Stage;
use tidegate_core::manifest::Manifest;
use tidegate_core::validate::Validators;
use tidegate_postgres::{Database, PgError};
use tidegate_views::MaintainedStore;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::state::{ProcessState, ShapeCache, SinkState};

/// A pipeline's [`Database`], and the state that one process keeps about it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
    pub(super) inner: Arc<ProcessState>,
    /// The leases that every writing transaction holds.
    pub(super) leases: Arc<Leases>,
}

impl Store {
    /// Creates the store of the pipeline of `manifest` in the database at `url`. `owner` is the identity that holds
    /// leases: that of the data directory.
    pub fn new(url: &str, manifest: Arc<Manifest>, owner: Uuid) -> Result<Self, PgError> {
        Ok(Self::over(Database::new(url, manifest)?, owner))
    }

    /// Creates the same store over [`Database::readers`].
    pub fn readers(&self, url: &str) -> Result<Self, PgError> {
        Ok(Self::over(self.database.readers(url)?, self.inner.owner))
    }

    fn over(database: Database, owner: Uuid) -> Self {
        let manifest = database.manifest();
        let inner = ProcessState {
            validators: manifest.datasets.iter().map(Validators::new).collect(),
            sink: SinkState::new(manifest.datasets.len()),
            shapes: ShapeCache::default(),
            owner,
            views: OnceLock::new(),
            moves_made: Notify::new(),
        };
        let partitions: Vec<u32> = (0..manifest.partitions()).collect();
        let leases = Leases::of(&Stage::ALL, &partitions);
        Self { database, inner: Arc::new(inner), leases: Arc::new(leases) }
    }

    /// The same store for a process that acts as one stage for some partitions. Its transactions hold the leases of
    /// `stage` and `partitions` instead of all leases of the pipeline.
    pub fn acting(&self, stage: Stage, partitions: &[u32]) -> Self {
        let leases = Arc::new(Leases::of(&[stage], partitions));
        Self { database: self.database.clone(), inner: self.inner.clone(), leases }
    }

    /// The validators of a dataset.
    pub fn validators(&self, dataset: usize) -> &Validators {
        &self.inner.validators[dataset]
    }

    /// The views that are maintained incrementally. None before the database is prepared.
    pub(super) fn views(&self) -> impl Iterator<Item = &MaintainedStore> {
        self.inner.views.get().into_iter().flatten()
    }

    /// The incrementally maintained views over a dataset's table, which may be that of several datasets. None before the
    /// database is prepared.
    pub(super) fn maintained(&self, dataset: usize) -> impl Iterator<Item = &MaintainedStore> {
        let first = self.manifest().datasets[dataset].of_table;
        self.views().filter(move |view| view.dataset == first)
    }
}

impl Deref for Store {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

/// Leases by stage and partition, as two columns of equal length.
#[derive(Clone, Debug)]
pub(super) struct Leases {
    pub(super) stages: Vec<&'static str>,
    pub(super) partitions: Vec<i32>,
}

impl Leases {
    /// Returns the leases of each of the stages for each of the partitions.
    pub(super) fn of(stages: &[Stage], partitions: &[u32]) -> Self {
        let each = stages.iter().flat_map(|stage| partitions.iter().map(|p| (stage.as_str(), *p as i32)));
        let (stages, partitions) = each.unzip();
        Self { stages, partitions }
    }

    pub(super) fn len(&self) -> usize {
        self.stages.len()
    }
}
