//! Whether the process lives, and whether it is ready.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tidegate_connectors::postgres::Postgres;
use tidegate_core::dead_letter::Stage;
use tidegate_core::manifest::Engine;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{App, Problem, Service};

/// How long Postgres may take to say that it is there.
const POSTGRES_WITHIN: Duration = Duration::from_secs(2);
/// How long what it has said is told to others who ask.
const FRESH_FOR: Duration = Duration::from_millis(100);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(alive)).routes(routes!(ready))
}

/// What a process says of itself.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// `alive` or `ready`.
    #[schema(example = "alive")]
    status: &'static str,
}

/// Something that is missing.
#[derive(Debug, Serialize)]
pub(super) struct Missing {
    /// `pipeline`, `stages`, `postgres` or `lease`.
    what: &'static str,
    /// What about it.
    why: String,
}

impl Missing {
    /// Whether it is Postgres that is missing.
    pub(super) fn is_postgres(&self) -> bool {
        self.what == "postgres"
    }
}

/// Say that the process lives
#[utoipa::path(get, path = "/healthz", tag = "operations", security(()), responses((status = 200, body = Health)))]
async fn alive() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// Say whether the pipeline runs, and what is missing if it does not
#[utoipa::path(get, path = "/readyz", tag = "operations", security(()), responses(
    (status = 200, body = Health),
    (status = 503, body = Problem, content_type = "application/problem+json",
        description = "not ready; `missing` lists what is missing: `pipeline`, `stages`, `postgres`, `lease`")
))]
async fn ready(State(app): State<App>) -> Result<Json<Health>, Problem> {
    let missing = missing(&app).await;
    if missing.is_empty() {
        return Ok(Json(Health { status: "ready" }));
    }
    let why: Vec<&str> = missing.iter().map(|missing| missing.why.as_str()).collect();
    let problem = Problem::not_ready(why.join("; "));
    Err(problem.with("missing", serde_json::to_value(&missing).unwrap_or_default()))
}

/// What the pipeline lacks to do its work.
pub(super) async fn missing(app: &Service) -> Vec<Missing> {
    let mut missing = Vec::new();
    if !app.is_running() {
        let why = "the pipeline is starting or stopping".to_owned();
        missing.push(Missing { what: "pipeline", why });
    } else {
        let running = app.counts.running();
        let wanted = Stage::ALL.into_iter().filter(|stage| {
            // Arroyo runs its transform elsewhere.
            *stage != Stage::Transform || app.settings.manifest.engine() == Engine::Tidegate
        });
        let lacks: Vec<&str> = wanted.filter(|stage| !running.contains(stage)).map(Stage::as_str).collect();
        if !lacks.is_empty() {
            missing.push(Missing { what: "stages", why: format!("no {} runs here", lacks.join(", no ")) });
        }
    }
    match app.leases.holder(&app.watchers).await {
        Known::Free => {}
        // On a cluster others hold the leases of their partitions.
        Known::Taken(_) if app.settings.manifest.fluvio.is_some() => {}
        Known::Taken(holder) => {
            let why = format!("{holder} has taken the pipeline over");
            missing.push(Missing { what: "lease", why });
        }
        // What Postgres says of itself is for the log.
        Known::Unreachable => {
            missing.push(Missing { what: "postgres", why: "Postgres cannot be reached".to_owned() })
        }
        Known::Silent => {
            missing.push(Missing { what: "postgres", why: "Postgres does not answer".to_owned() });
        }
    }
    missing
}

/// What Postgres has said of the pipeline's leases. However many want to know, it is asked by one at a time.
#[derive(Default)]
pub(crate) struct Leases(tokio::sync::Mutex<Option<(Instant, Known)>>);

/// What is known of them.
#[derive(Clone, Debug)]
enum Known {
    /// Nobody else holds them.
    Free,
    /// Another process does.
    Taken(String),
    /// Postgres cannot be asked.
    Unreachable,
    /// It does not answer in time.
    Silent,
}

impl Leases {
    async fn holder(&self, postgres: &Postgres) -> Known {
        let mut known = self.0.lock().await;
        if let Some((told, known)) = &*known
            && told.elapsed() < FRESH_FOR
        {
            return known.clone();
        }
        let now = match tokio::time::timeout(POSTGRES_WITHIN, postgres.taken_by()).await {
            Ok(Ok(None)) => Known::Free,
            Ok(Ok(Some(holder))) => Known::Taken(holder.to_string()),
            Ok(Err(_)) => Known::Unreachable,
            Err(_) => Known::Silent,
        };
        *known = Some((Instant::now(), now.clone()));
        now
    }
}
