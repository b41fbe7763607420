//! The state that handlers share.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query};
use tidegate_core::manifest::{Dataset, Http};
use tidegate_engine::Counts;
use tidegate_node::ingest_queue::IngestQueue;
use tidegate_node::{Access, Node, Settings};
use tidegate_store::Store;
use tokio::sync::Semaphore;

use super::Problem;
use super::auth::Tokens;
use super::body::ROOM_BYTES;
use super::health::LeaseCheck;
use super::metrics::{LedgerTotals, RequestMetrics};
use super::pending_backups::PendingBackups;
use super::receipts::Watcher;
use crate::Failure;

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1000;

/// The state of all handlers.
pub(super) type App = Arc<Service>;

/// The state that handlers share.
pub(super) struct Service {
    pub(super) settings: Settings,
    pub(super) http: Http,
    /// The database, with the pipeline's leases.
    pub(super) store: Store,
    pub(super) counts: Arc<Counts>,
    pub(super) tokens: Tokens,
    /// The requests that wait for sources.
    pub(super) watcher: Watcher,
    /// The database for read-only queries.
    pub(super) readers: Store,
    /// The database for monitoring, which slow queries of readers do not hold up.
    pub(super) watchers: Store,
    pub(super) lease_check: LeaseCheck,
    pub(super) request_metrics: RequestMetrics,
    pub(super) totals: LedgerTotals,
    /// The topics, and the ingest queue while the pipeline runs.
    pub(super) access: Arc<Access>,
    pub(super) pending_backups: PendingBackups,
    /// The memory for bodies of requests, a permit for each byte.
    pub(super) room: Arc<Semaphore>,
}

impl Service {
    /// The state beside a node. With `is_open`, callers need no token while there is none.
    pub(super) fn new(node: &Node, http: Http, is_open: bool) -> Result<App, Failure> {
        let (settings, store) = (node.settings(), node.store());
        Ok(Arc::new(Self {
            readers: settings.readers(store)?,
            watchers: settings.readers(store)?,
            lease_check: LeaseCheck::default(),
            settings: settings.clone(),
            http,
            tokens: Tokens::new(is_open),
            watcher: Watcher::default(),
            room: Arc::new(Semaphore::new(ROOM_BYTES)),
            pending_backups: PendingBackups::default(),
            store: store.clone(),
            counts: node.counts().clone(),
            request_metrics: RequestMetrics::default(),
            totals: LedgerTotals::default(),
            access: node.access().clone(),
        }))
    }

    /// The ingest queue; 503 while the pipeline starts or stops.
    pub(super) fn ingest_queue(&self) -> Result<IngestQueue, Problem> {
        self.access
            .ingest_queue()
            .ok_or_else(|| Problem::unavailable("the pipeline is starting or stopping; send it again"))
    }

    /// Whether the pipeline accepts requests.
    pub(super) fn is_running(&self) -> bool {
        self.access.ingest_queue().is_some()
    }

    /// The dataset of that name, with its index; 404 if there is none.
    pub(super) fn dataset(&self, name: &str) -> Result<(usize, &Dataset), Problem> {
        let manifest = &self.settings.manifest;
        manifest.dataset(name).ok_or_else(|| {
            let known: Vec<_> = manifest.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
            Problem::not_found(format!("there is no dataset '{name}'; there are {}", known.join(", ")))
        })
    }
}

/// The answer of a handler: JSON, or the problem that there was.
pub(super) type JsonResult<T> = Result<Json<T>, Problem>;

/// Returns how many entries a page of a list has at most; 400 if the limit is out of range. The description states the
/// same limits.
pub(super) fn page_limit(given: Option<u32>) -> Result<u32, Problem> {
    let limit = given.unwrap_or(LIMIT_DEFAULT);
    match (1..=LIMIT_MAX).contains(&limit) {
        true => Ok(limit),
        false => Err(Problem::bad_request(format!("limit is {limit}; it is 1 to {LIMIT_MAX}"))),
    }
}

/// The query parameters of a request. A faulty query becomes a [`Problem`].
#[derive(FromRequestParts)]
#[from_request(via(Query), rejection(Problem))]
pub(super) struct QueryParams<T>(pub(super) T);

/// The path parameters of a request. A faulty path becomes a [`Problem`].
#[derive(FromRequestParts)]
#[from_request(via(Path), rejection(Problem))]
pub(super) struct PathParams<T>(pub(super) T);
