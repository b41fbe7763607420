//! Liveness and readiness of the process.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tidegate_core::dead_letter::Stage;
use tidegate_core::manifest::Engine;
use tidegate_store::{Store, leases};
use utoipa::ToSchema;

use super::{App, JsonResult, Problem, Service};

/// How long Postgres may take to answer a check.
const POSTGRES_WITHIN: Duration = Duration::from_secs(2);
/// How long an answer of Postgres is reused for other requests.
const FRESH_FOR: Duration = Duration::from_millis(100);

/// What a process says of itself.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `alive` or `ready`.
    #[schema(example = "alive")]
    status: &'static str,
}

/// Something that the pipeline lacks to do its work.
#[derive(Debug, Serialize)]
pub(super) struct Missing {
    /// `pipeline`, `stages`, `postgres` or `lease`.
    pub(super) what: &'static str,
    /// What is wrong with it.
    why: String,
}

/// Say that the process lives
#[utoipa::path(get, path = "/healthz", tag = "operations", security(()), responses((status = 200, body = Health)))]
pub(super) async fn alive() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// Say whether the pipeline runs, and what is missing if it does not
#[utoipa::path(get, path = "/readyz", tag = "operations", security(()), responses(
    (status = 200, body = Health),
    (status = 503, description = "not ready; `missing` lists what is missing: `pipeline`, `stages`, `postgres`, `lease`")
))]
pub(super) async fn ready(State(app): State<App>) -> JsonResult<Health> {
    let missing = missing(&app).await;
    if missing.is_empty() {
        return Ok(Json(Health { status: "ready" }));
    }
    let why: Vec<&str> = missing.iter().map(|missing| missing.why.as_str()).collect();
    let problem = Problem::not_ready(why.join("; "));
    Err(problem.with("missing", serde_json::to_value(&missing).unwrap_or_default()))
}

/// Everything that the pipeline lacks to do its work.
pub(super) async fn missing(app: &Service) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut lacks = |what, why: String| missing.push(Missing { what, why });
    if !app.is_running() {
        lacks("pipeline", "the pipeline is starting or stopping".to_owned());
    } else {
        let running = app.counts.running();
        let wanted = Stage::ALL.into_iter().filter(|stage| {
            // Arroyo runs its transform elsewhere.
            *stage != Stage::Transform || app.settings.manifest.engine() == Engine::Tidegate
        });
        let stages: Vec<&str> = wanted.filter(|stage| !running.contains(stage)).map(Stage::as_str).collect();
        if !stages.is_empty() {
            lacks("stages", format!("no {} runs here", stages.join(", no ")));
        }
    }
    match app.lease_check.holder(&app.watchers).await {
        LeaseState::Free => {}
        // On a cluster, other nodes hold the leases of their partitions.
        LeaseState::Taken(_) if app.settings.manifest.fluvio.is_some() => {}
        LeaseState::Taken(holder) => lacks("lease", format!("{holder} has taken the pipeline over")),
        // Postgres's own error message goes to the log only.
        LeaseState::Unreachable => lacks("postgres", "Postgres cannot be reached".to_owned()),
        LeaseState::Silent => lacks("postgres", "Postgres does not answer".to_owned()),
    }
    missing
}

/// The last answer of Postgres about the pipeline's leases. However many requests there are, one query runs at a time.
#[derive(Default)]
pub(super) struct LeaseCheck(tokio::sync::Mutex<Option<(Instant, LeaseState)>>);

/// The state of the leases.
#[derive(Clone, Debug)]
enum LeaseState {
    /// No other process holds them.
    Free,
    /// Another process holds them.
    Taken(String),
    /// Postgres cannot be reached.
    Unreachable,
    /// Postgres does not answer in time.
    Silent,
}

impl LeaseCheck {
    async fn holder(&self, store: &Store) -> LeaseState {
        let mut known = self.0.lock().await;
        if let Some((told, known)) = &*known
            && told.elapsed() < FRESH_FOR
        {
            return known.clone();
        }
        let now = match tokio::time::timeout(POSTGRES_WITHIN, leases::taken_by(store)).await {
            Ok(Ok(None)) => LeaseState::Free,
            Ok(Ok(Some(holder))) => LeaseState::Taken(holder.to_string()),
            Ok(Err(_)) => LeaseState::Unreachable,
            Err(_) => LeaseState::Silent,
        };
        *known = Some((Instant::now(), now.clone()));
        now
    }
}
