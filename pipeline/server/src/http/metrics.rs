//! What there is to watch, as Prometheus reads it.
//!
//! Most of it the process knows by itself; what only Postgres knows is left out while that does not answer, and
//! `tidegate_postgres_up` says so. The names are documented in `docs/http.md`, which a test holds against them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tidegate_connectors::postgres::LedgerTotal;
use tidegate_core::contract::Tally;
use tidegate_core::dead_letter::Stage;
use tidegate_core::ledger::Effects;
use tidegate_engine::{Flow, Lag};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exposition::Exposition;
use super::health::{self, Missing};
use super::{App, Problem, Service};

/// How long topics and Postgres may take to tell what only they know.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// Postgres is left in peace so many times as long as it took to add the ledger up.
const REST: u32 = 20;
/// What it has told may be so old, at most.
const AGE_MAX: Duration = Duration::from_secs(300);

type Labels<const N: usize> = [(&'static str, String); N];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// Requests that were answered.
pub(crate) struct Requests {
    answered: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
}

/// What Postgres has told last of all that ever entered.
#[derive(Default)]
pub(crate) struct Totals {
    /// Who has it asks.
    turn: Arc<tokio::sync::Mutex<()>>,
    known: Mutex<Option<Known>>,
}

struct Known {
    totals: Vec<LedgerTotal>,
    told: Instant,
    /// How long adding it up took.
    took: Duration,
}

impl Totals {
    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.told.elapsed() < self.took * REST
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: String,
}

impl Default for Requests {
    fn default() -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_5, 2.0, 18));
        Self { answered: Family::default(), seconds: Family::new_with_constructor(seconds) }
    }
}

/// Counts a request and how long it took to begin its answer. Routes are those of the description, so that no client
/// can make up labels.
pub(super) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = match request.method().as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    };
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let status = u32::from(response.status().as_u16());
    let Requests { answered, seconds } = &app.requests;
    seconds
        .get_or_create_owned(&RouteLabels { method, route: route.clone() })
        .observe(begun.elapsed().as_secs_f64());
    answered.get_or_create_owned(&RequestLabels { method, route, status }).inc();
    response
}

/// Show what there is to watch, for Prometheus
///
/// OpenMetrics 1.0 for who asks for `application/openmetrics-text`, else Prometheus's text format 0.0.4.
#[utoipa::path(get, path = "/metrics", tag = "operations", security(()), responses(
    (status = 200, description = "the metrics",
        content((String = "text/plain"), (String = "application/openmetrics-text")))
))]
async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let mut registry = Registry::with_prefix("tidegate");
    let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
    registry.register("build", "The version that runs", Info::new(version));
    stages(&app, &mut registry);
    // What asks others does so at once.
    let (lags, totals, missing) = tokio::join!(lags(&app), totals(&app), health::missing(&app));
    let ready = Gauge::<i64>::default();
    ready.set(i64::from(missing.is_empty()));
    registry.register("ready", "Whether /readyz says that the pipeline runs", ready);
    if let Some(lags) = lags {
        behind(&lags, &mut registry);
    }
    let up = Gauge::<i64>::default();
    let is_up = !missing.iter().any(Missing::is_postgres);
    up.set(i64::from(is_up));
    registry.register("postgres_up", "Whether Postgres answers", up);
    if let Some(totals) = totals.filter(|_| is_up) {
        ledger(&totals, &mut registry);
    }
    let Requests { answered, seconds } = &app.requests;
    registry.register("http_requests", "Requests that were answered", answered.clone());
    registry.register("http_request_seconds", "How long it took to begin an answer", seconds.clone());
    let mut text = String::new();
    encode(&mut text, &registry).map_err(Problem::internal)?;
    let exposition = Exposition::of(&headers);
    let about = [(header::CONTENT_TYPE, exposition.content_type()), (header::VARY, "accept")];
    Ok((about, exposition.write(text)).into_response())
}

/// What the stages of this process have done.
fn stages(app: &Service, registry: &mut Registry) {
    let (counts, datasets) = (&app.counts, &app.settings.manifest.datasets);
    let (lines_in, lines_out) =
        (Family::<Labels<2>, Counter>::default(), Family::<Labels<2>, Counter>::default());
    let running = Family::<Labels<1>, Gauge>::default();
    let alive = counts.running();
    for stage in Stage::ALL {
        running.get_or_create_owned(&[of_stage(stage)]).set(i64::from(alive.contains(&stage)));
        let flows = counts.flows(stage);
        for (i, dataset) in datasets.iter().enumerate() {
            let Flow { lines_in: taken, lines_out: passed } = flows.get(i).copied().unwrap_or_default();
            let labels = [of_stage(stage), ("dataset", dataset.name.clone())];
            lines_in.get_or_create_owned(&labels).inc_by(taken);
            lines_out.get_or_create_owned(&labels).inc_by(passed);
        }
    }
    registry.register("batch_seconds", "How long a stage had a batch in hand", counts.batch_seconds());
    registry.register("stage_running", "Whether the stage runs in this process", running);
    registry.register("lines_in", "Lines that a stage has taken", lines_in);
    registry.register("lines_out", "Lines that a stage has passed on, but for dead letters", lines_out);
    let (fates, effects) = (Family::<Labels<2>, Counter>::default(), Family::<Labels<2>, Counter>::default());
    let tallies = counts.tallies();
    for (i, dataset) in datasets.iter().enumerate() {
        let Tally { accepted, rejected, waiting, duplicates, effects: its } =
            tallies.get(i).copied().unwrap_or_default();
        let each =
            [("accepted", accepted), ("rejected", rejected), ("waiting", waiting), ("duplicate", duplicates)];
        for (fate, lines) in each {
            let labels = [("dataset", dataset.name.clone()), ("fate", fate.to_owned())];
            fates.get_or_create_owned(&labels).inc_by(lines);
        }
        for (effect, lines) in Effects::NAMES.into_iter().zip(its.in_order()).take(3) {
            let labels = [("dataset", dataset.name.clone()), ("effect", effect.to_owned())];
            effects.get_or_create_owned(&labels).inc_by(lines);
        }
    }
    registry.register("lines", "Lines that the sink has committed, by what became of them", fates);
    registry.register(
        "accepted_lines",
        "Of these the accepted ones, by what they did to their table",
        effects,
    );
    let stopped = Family::<Labels<1>, Gauge>::default();
    let datasets_stopped = counts.stopped();
    for (i, dataset) in datasets.iter().enumerate() {
        let labels = [("dataset", dataset.name.clone())];
        stopped.get_or_create_owned(&labels).set(i64::from(datasets_stopped.contains_key(&i)));
    }
    registry.register(
        "dataset_stopped",
        "Whether Postgres refuses every row of the dataset, so that its lines wait for the next run",
        stopped,
    );
    let healed = Counter::<u64>::default();
    healed.inc_by(counts.healed());
    registry.register("healed_lines", "Waiting lines that wait no more", healed);
    let letters = Family::<Labels<2>, Counter>::default();
    for ((dataset, code), count) in counts.reasons() {
        let Some(dataset) = datasets.get(dataset) else { continue };
        letters
            .get_or_create_owned(&[("dataset", dataset.name.clone()), ("reason", code.as_str().to_owned())])
            .inc_by(count);
    }
    registry.register(
        "dead_letters",
        "Dead letters that were committed; one with two reasons counts twice",
        letters,
    );
    registry.register("commit_seconds", "How long a transaction of the sink took", counts.commit_seconds());
}

fn of_stage(stage: Stage) -> (&'static str, String) {
    ("stage", stage.as_str().to_owned())
}

/// What stands before the stages; `None` where the topics do not tell in time.
async fn lags(app: &Service) -> Option<BTreeMap<Stage, Lag>> {
    let topics = app.topics()?;
    tokio::time::timeout(ASK_WITHIN, app.counts.lags(&*topics)).await.ok()?.ok()
}

fn behind(lags: &BTreeMap<Stage, Lag>, registry: &mut Registry) {
    let (records, bytes) = (Family::<Labels<1>, Gauge>::default(), Family::<Labels<1>, Gauge>::default());
    for (stage, lag) in lags {
        records.get_or_create_owned(&[of_stage(*stage)]).set(lag.records as i64);
        bytes.get_or_create_owned(&[of_stage(*stage)]).set(lag.bytes as i64);
    }
    registry.register("lag_records", "Records on topics that a stage has not taken", records);
    registry.register("lag_bytes", "About how many bytes these have", bytes);
}

/// What Postgres holds of all that ever entered; `None` where it does not tell. Where there are so many sources that
/// it takes long, what was told before, for a while.
async fn totals(app: &App) -> Option<Vec<LedgerTotal>> {
    let turn = app.totals.turn.clone().lock_owned();
    if let Ok(turn) = tokio::time::timeout(ASK_WITHIN, turn).await
        && !app.totals.known().as_ref().is_some_and(Known::is_fresh)
    {
        let app = app.clone();
        let asking = tokio::spawn(async move {
            let _turn = turn;
            let begun = Instant::now();
            let totals = app.watchers.ledger_totals().await.ok();
            let (told, took) = (Instant::now(), begun.elapsed());
            *app.totals.known() = totals.map(|totals| Known { totals, told, took });
        });
        let _ = tokio::time::timeout(ASK_WITHIN, asking).await; // it goes on, for the next who asks
    }
    let known = app.totals.known();
    known.as_ref().filter(|known| known.told.elapsed() < AGE_MAX).map(|known| known.totals.clone())
}

fn ledger(totals: &[LedgerTotal], registry: &mut Registry) {
    let sources = Family::<Labels<3>, Gauge>::default();
    let (lines, effects) = (Family::<Labels<2>, Gauge>::default(), Family::<Labels<2>, Gauge>::default());
    let in_flight = Family::<Labels<1>, Gauge>::default();
    for total in totals {
        let state = if total.complete { "complete" } else { "incomplete" };
        let dataset = ("dataset", total.dataset.clone());
        let labels = [dataset.clone(), ("kind", total.kind.clone()), ("state", state.to_owned())];
        sources.get_or_create_owned(&labels).inc_by(total.sources);
        for (fate, count) in ["accepted", "rejected", "waiting", "discarded"].into_iter().zip(total.fates) {
            lines.get_or_create_owned(&[dataset.clone(), ("fate", fate.to_owned())]).inc_by(count);
        }
        for (effect, count) in Effects::NAMES.into_iter().zip(total.effects.in_order()) {
            let labels = [dataset.clone(), ("effect", effect.to_owned())];
            effects.get_or_create_owned(&labels).inc_by(count as i64);
        }
        in_flight.get_or_create_owned(&[dataset]).inc_by(total.in_flight);
    }
    registry.register("sources", "Sources that were ever registered", sources);
    registry.register("ledger_lines", "Lines in the ledger, by what became of them", lines);
    registry.register(
        "ledger_accepted_lines",
        "Accepted lines in the ledger, by what they did to their table",
        effects,
    );
    registry.register(
        "ledger_in_flight_lines",
        "Lines of sources read to their end that the ledger lacks",
        in_flight,
    );
}
