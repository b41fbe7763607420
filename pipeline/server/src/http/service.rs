//! What handlers share.

use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tidegate_connectors::postgres::Postgres;
use tidegate_core::manifest::{Dataset, Http};
use tidegate_engine::Counts;
use tidegate_topics::Broker;

use super::Problem;
use super::auth::Tokens;
use super::body::ROOM_BYTES;
use super::health::Leases;
use super::metrics::{Requests, Totals};
use super::receipts::Watcher;
use super::room::Room;
use super::taking::Taking;
use crate::Failure;
use crate::intake::Intake;
use crate::settings::Settings;

const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1000;

/// The state of all handlers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Service>);

/// What handlers share.
pub(crate) struct Service {
    /// The pipeline as its manifest and the flags say.
    pub(crate) settings: Settings,
    /// Where HTTP is served, and how much of it.
    pub(crate) http: Http,
    /// Its database, with the pipeline's leases.
    pub(crate) postgres: Postgres,
    /// What the stages have done.
    pub(crate) counts: Arc<Counts>,
    /// Who may ask for what.
    pub(crate) tokens: Tokens,
    /// Who waits for sources.
    pub(crate) watcher: Watcher,
    /// The same for who only reads.
    pub(super) readers: Postgres,
    /// The same for whoever watches, whom slow reads do not hold up.
    pub(super) watchers: Postgres,
    /// What they were told of the leases.
    pub(super) leases: Leases,
    /// The requests that were answered.
    pub(super) requests: Requests,
    /// What the ledger holds, for whoever watches.
    pub(super) totals: Totals,
    /// The topics, once they are open.
    topics: RwLock<Option<Arc<Broker>>>,
    /// The backups that are being taken.
    pub(super) taking: Taking,
    /// What is being sent, in memory.
    pub(crate) room: Arc<Room>,
    /// The way in, while the pipeline runs.
    intake: RwLock<Option<Intake>>,
}

impl Deref for App {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.0
    }
}

impl App {
    pub(super) fn new(
        settings: &Settings,
        http: Http,
        postgres: Postgres,
        counts: Arc<Counts>,
    ) -> Result<Self, Failure> {
        let service = Service {
            readers: settings.readers(&postgres)?,
            watchers: settings.readers(&postgres)?,
            leases: Leases::default(),
            settings: settings.clone(),
            http,
            tokens: Tokens::default(),
            watcher: Watcher::default(),
            room: Room::of(ROOM_BYTES),
            taking: Taking::default(),
            postgres,
            counts,
            requests: Requests::default(),
            totals: Totals::default(),
            topics: RwLock::default(),
            intake: RwLock::default(),
        };
        Ok(Self(Arc::new(service)))
    }

    /// Lets whoever watches see how much is on the topics.
    pub(crate) fn show(&self, topics: Arc<Broker>) {
        *self.topics.write().unwrap_or_else(PoisonError::into_inner) = Some(topics);
    }

    /// Opens the way in, or closes it.
    pub(crate) fn admit(&self, intake: Option<Intake>) {
        *self.intake.write().unwrap_or_else(PoisonError::into_inner) = intake;
    }
}

impl Service {
    /// The way in.
    ///
    /// # Errors
    ///
    /// 503 while the pipeline starts or stops.
    pub(crate) fn intake(&self) -> Result<Intake, Problem> {
        let intake = self.intake.read().unwrap_or_else(PoisonError::into_inner).clone();
        intake.ok_or_else(|| Problem::unavailable("the pipeline is starting or stopping; send it again"))
    }

    /// The topics, if they are open.
    pub(super) fn topics(&self) -> Option<Arc<Broker>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the pipeline takes in what is sent.
    pub(crate) fn is_running(&self) -> bool {
        self.intake.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The dataset of that name, with its index.
    ///
    /// # Errors
    ///
    /// 404 if there is none.
    pub(crate) fn dataset(&self, name: &str) -> Result<(usize, &Dataset), Problem> {
        let manifest = &self.settings.manifest;
        manifest.dataset(name).ok_or_else(|| {
            let known: Vec<_> = manifest.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
            Problem::not_found(format!("there is no dataset '{name}'; there are {}", known.join(", ")))
        })
    }
}

/// How many entries a page of a list has, at most; the descriptions say so too.
///
/// # Errors
///
/// 400 if there is no such page.
pub(super) fn page_limit(given: Option<u32>) -> Result<u32, Problem> {
    let limit = given.unwrap_or(LIMIT_DEFAULT);
    match (1..=LIMIT_MAX).contains(&limit) {
        true => Ok(limit),
        false => Err(Problem::bad_request(format!("limit is {limit}; it is 1 to {LIMIT_MAX}"))),
    }
}

/// The query of a request. What is wrong with it is a [`Problem`].
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::from_request_parts(parts, state).await?;
        Ok(Self(query))
    }
}

/// What the path of a request names. What is wrong with it is a [`Problem`].
pub(crate) struct Named<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(named) = Path::from_request_parts(parts, state).await?;
        Ok(Self(named))
    }
}
