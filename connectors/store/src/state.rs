//! The state that a process keeps between transactions. [`SinkState`] and [`ShapeCache`] may be lost, at the cost of
//! repeated work. **The views must not be**: without them the direct copy would leave incremental views stale.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use deadpool_postgres::ClientWrapper;
use tidegate_core::shape::{Form, Shape};
use tidegate_core::validate::Validators;
use tidegate_postgres::Connection;
use tidegate_views::MaintainedStore;
use tokio::sync::{self, Notify, OnceCell};
use uuid::Uuid;

use crate::pace::Pace;

/// The maximum length of a back-off, in batches: after a failed direct copy so many batches take the staged upsert.
const BACKOFF_BATCHES_MAX: u32 = 64;

/// The numbers of the shapes of a dataset's lines on topics, by form.
pub(super) type ShapesByForm = [i64; Form::ALL.len()];

/// The state of a process.
pub(super) struct ProcessState {
    /// The validators of each dataset.
    pub(super) validators: Vec<Validators>,
    pub(super) owner: Uuid,
    pub(super) views: OnceLock<Vec<MaintainedStore>>,
    pub(super) sink: SinkState,
    /// Notified when moves were made.
    pub(super) moves_made: Notify,
    pub(super) shapes: ShapeCache,
}

/// The state that the sink keeps between batches. If it is lost, only repeated work is the cost.
#[derive(Default)]
pub(super) struct SinkState {
    pub(super) backoffs: Vec<FastPathBackoff>,
    pub(super) pace: Pace,
    /// The session that wrote the last batch, with its prepared statements.
    pub(super) session: sync::Mutex<Option<Connection>>,
    /// The second session, which computed the view delta of the last batch.
    pub(super) delta_session: sync::Mutex<Option<DeltaSession>>,
    /// The stopped datasets, of which no row can be written, each with what happened and what to do.
    stopped: Mutex<BTreeMap<usize, String>>,
    /// By dataset, whether this process has written a row to its table.
    pub(super) written: Vec<AtomicBool>,
}

impl SinkState {
    pub(super) fn new(datasets: usize) -> Self {
        Self {
            backoffs: (0..datasets).map(|_| FastPathBackoff::default()).collect(),
            written: (0..datasets).map(|_| AtomicBool::default()).collect(),
            ..Self::default()
        }
    }

    /// The stopped datasets, of which no row can be written, each with what happened and what to do.
    pub(super) fn stopped(&self) -> MutexGuard<'_, BTreeMap<usize, String>> {
        // Each entry is inserted in one step, so a poisoned map is consistent.
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_stopped(&self, dataset: usize) -> bool {
        self.stopped().contains_key(&dataset)
    }
}

/// The back-off of one dataset: after a failed direct copy the next batches take the staged upsert.
#[derive(Default)]
pub(super) struct FastPathBackoff {
    /// The number of batches that still take the staged upsert.
    left: AtomicU32,
    /// The length of the last back-off, in batches. It doubles with each failure.
    length: AtomicU32,
}

impl FastPathBackoff {
    pub(super) fn is_on(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    pub(super) fn begin(&self) {
        let length = (self.length.load(Ordering::Relaxed) * 2).clamp(1, BACKOFF_BATCHES_MAX);
        self.length.store(length, Ordering::Relaxed);
        self.left.store(length, Ordering::Relaxed);
    }

    /// Notes that a batch was written: by direct copy, which resets the back-off, or by staged upsert, which shortens
    /// it by one.
    pub(super) fn passed(&self, direct_copy: bool) {
        if direct_copy {
            self.length.store(0, Ordering::Relaxed);
        } else {
            let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        }
    }
}

/// The second session. A caller that fails in it drops it, which closes the connection and ends its statement.
pub(super) struct DeltaSession {
    pub(super) client: ClientWrapper,
    /// The settings of each transaction. They are set each time: behind a pooler each transaction may run in another
    /// session.
    pub(super) settings: String,
}

/// A process's cache of the stored shapes.
#[derive(Default)]
pub(super) struct ShapeCache {
    pub(super) stored: Mutex<StoredShapes>,
    /// For each dataset, the numbers of the shapes of its lines on topics, by form.
    pub(super) own: OnceCell<Vec<ShapesByForm>>,
    /// For each dataset, whether its sources may lack columns.
    pub(super) may_lack: OnceCell<Vec<bool>>,
}

#[derive(Default)]
pub(super) struct StoredShapes {
    pub(super) numbers: HashMap<(String, Shape), i64>,
    pub(super) shapes: HashMap<i64, Arc<Shape>>,
    pub(super) of_sources: HashMap<u64, Option<i64>>,
}

impl ShapeCache {
    pub(super) fn stored(&self) -> MutexGuard<'_, StoredShapes> {
        // No operation under the lock can stop half-way, so a poisoned cache is consistent.
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
