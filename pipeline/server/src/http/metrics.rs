//! Metrics for Prometheus.
//!
//! The process itself knows most of them. While Postgres does not answer, metrics that only it knows are left out, and
//! `tidegate_postgres_up` is 0. The names are documented in `docs/http.md`, and a test compares the two.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tidegate_core::contract::Tally;
use tidegate_core::dead_letter::Stage;
use tidegate_core::ledger::Effects;
use tidegate_engine::{Flow, Lag};
use tidegate_store::{LedgerTotal, totals};

use super::exposition::Exposition;
use super::health;
use super::{App, Problem, Service};

/// How long topics and Postgres may take to answer.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// The pause between two queries of the ledger's totals, as a multiple of the time that the last one took.
const REST: u32 = 20;
/// The greatest age of the totals that are shown.
const AGE_MAX: Duration = Duration::from_secs(300);

/// The methods that are labels; any other is `other`.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

type Labels<const N: usize> = [(&'static str, String); N];

/// Counts and durations of answered requests.
pub(super) struct RequestMetrics {
    answered: Family<Labels<3>, Counter>,
    seconds: Family<Labels<2>, Histogram, fn() -> Histogram>,
}

/// The ledger's totals as Postgres last returned them.
#[derive(Default)]
pub(super) struct LedgerTotals {
    /// Held by the one request that queries Postgres.
    turn: Arc<tokio::sync::Mutex<()>>,
    known: Mutex<Option<CachedTotals>>,
}

struct CachedTotals {
    totals: Vec<LedgerTotal>,
    told: Instant,
    /// How long the query took.
    took: Duration,
}

impl LedgerTotals {
    fn known(&self) -> MutexGuard<'_, Option<CachedTotals>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CachedTotals {
    fn is_fresh(&self) -> bool {
        self.told.elapsed() < self.took * REST
    }
}

impl Default for RequestMetrics {
    fn default() -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_5, 2.0, 18));
        Self { answered: Family::default(), seconds: Family::new_with_constructor(seconds) }
    }
}

/// Counts a request and the time until its answer begins. Routes are those of the description, so that clients cannot
/// make up labels.
pub(super) async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = METHODS.into_iter().find(|method| *method == request.method().as_str()).unwrap_or("other");
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let RequestMetrics { answered, seconds } = &app.request_metrics;
    let [method, route] = [("method", method.to_owned()), ("route", route)];
    let status = ("status", response.status().as_str().to_owned());
    seconds.get_or_create_owned(&[method.clone(), route.clone()]).observe(begun.elapsed().as_secs_f64());
    answered.get_or_create_owned(&[method, route, status]).inc();
    response
}

/// Show what there is to watch, for Prometheus
///
/// OpenMetrics 1.0 for who asks for `application/openmetrics-text`, else Prometheus's text format 0.0.4.
#[utoipa::path(get, path = "/metrics", tag = "operations", security(()), responses(
    (status = 200, description = "the metrics",
        content((String = "text/plain"), (String = "application/openmetrics-text")))
))]
pub(super) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let mut registry = Registry::with_prefix("tidegate");
    let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
    registry.register("build", "The version that runs", Info::new(version));
    stage_metrics(&app, &mut registry);
    // The queries run concurrently.
    let (lags, totals, missing) = tokio::join!(lags(&app), totals(&app), health::missing(&app));
    gauge(&mut registry, "ready", "Whether /readyz says that the pipeline runs", missing.is_empty());
    if let Some(lags) = lags {
        lag_metrics(&lags, &mut registry);
    }
    let is_up = missing.iter().all(|missing| missing.what != "postgres");
    gauge(&mut registry, "postgres_up", "Whether Postgres answers", is_up);
    if let Some(totals) = totals.filter(|_| is_up) {
        ledger_metrics(&totals, &mut registry);
    }
    let RequestMetrics { answered, seconds } = &app.request_metrics;
    registry.register("http_requests", "Requests that were answered", answered.clone());
    registry.register("http_request_seconds", "How long it took to begin an answer", seconds.clone());
    let mut text = String::new();
    encode(&mut text, &registry).map_err(Problem::internal)?;
    let exposition = Exposition::of(&headers);
    let about = [(header::CONTENT_TYPE, exposition.content_type()), (header::VARY, "accept")];
    Ok((about, exposition.write(text)).into_response())
}

/// Registers a gauge that is 1 or 0.
fn gauge(registry: &mut Registry, name: &str, help: &str, is_so: bool) {
    let gauge = Gauge::<i64>::default();
    gauge.set(i64::from(is_so));
    registry.register(name, help, gauge);
}

/// Registers a gauge for each set of labels. Values with the same labels are added up.
fn gauges<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels<N>, i64)>,
) {
    let family = Family::<Labels<N>, Gauge>::default();
    for (labels, value) in values {
        family.get_or_create_owned(&labels).inc_by(value);
    }
    registry.register(name, help, family);
}

/// Registers a counter for each set of labels.
fn counters<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Labels<N>, u64)>,
) {
    let family = Family::<Labels<N>, Counter>::default();
    for (labels, value) in values {
        family.get_or_create_owned(&labels).inc_by(value);
    }
    registry.register(name, help, family);
}

/// Registers the counts of this process's stages.
fn stage_metrics(app: &Service, registry: &mut Registry) {
    let counts = &app.counts;
    let datasets: Vec<_> =
        app.settings.manifest.datasets.iter().map(|dataset| ("dataset", dataset.name.clone())).collect();
    registry.register("batch_seconds", "How long a stage had a batch in hand", counts.batch_seconds());
    let running = counts.running();
    let running = Stage::ALL.map(|stage| ([stage_label(stage)], i64::from(running.contains(&stage))));
    gauges(registry, "stage_running", "Whether the stage runs in this process", running);
    let flows: Vec<(_, Flow)> = Stage::ALL
        .into_iter()
        .flat_map(|stage| {
            let flows = counts.flows(stage);
            let of = move |i: usize| flows.get(i).copied().unwrap_or_default();
            datasets
                .iter()
                .enumerate()
                .map(move |(i, dataset)| ([stage_label(stage), dataset.clone()], of(i)))
        })
        .collect();
    let lines_in = flows.iter().map(|(labels, flow)| (labels.clone(), flow.lines_in));
    counters(registry, "lines_in", "Lines that a stage has taken", lines_in);
    let lines_out = flows.into_iter().map(|(labels, flow)| (labels, flow.lines_out));
    counters(registry, "lines_out", "Lines that a stage has passed on, but for dead letters", lines_out);
    let tallies = counts.tallies();
    let of = |i: usize| tallies.get(i).copied().unwrap_or_default();
    let fates = datasets.iter().enumerate().flat_map(|(i, dataset)| {
        let Tally { accepted, rejected, waiting, duplicates, .. } = of(i);
        [("accepted", accepted), ("rejected", rejected), ("waiting", waiting), ("duplicate", duplicates)]
            .map(|(fate, lines)| ([dataset.clone(), ("fate", fate.to_owned())], lines))
    });
    counters(registry, "lines", "Lines that the sink has committed, by what became of them", fates);
    let effects = datasets.iter().enumerate().flat_map(|(i, dataset)| {
        let effects = Effects::NAMES.into_iter().zip(of(i).effects.in_order()).take(3);
        effects.map(|(effect, lines)| ([dataset.clone(), ("effect", effect.to_owned())], lines))
    });
    let help = "Of these the accepted ones, by what they did to their table";
    counters(registry, "accepted_lines", help, effects);
    let stopped = counts.stopped();
    let stopped = datasets
        .iter()
        .enumerate()
        .map(|(i, dataset)| ([dataset.clone()], i64::from(stopped.contains_key(&i))));
    let help = "Whether Postgres refuses every row of the dataset, so that its lines wait for the next run";
    gauges(registry, "dataset_stopped", help, stopped);
    let healed = Counter::<u64>::default();
    healed.inc_by(counts.healed());
    registry.register("healed_lines", "Waiting lines that wait no more", healed);
    let letters = counts.reasons().into_iter().filter_map(|((dataset, code), count)| {
        Some(([datasets.get(dataset)?.clone(), ("reason", code.as_str().to_owned())], count))
    });
    let help = "Dead letters that were committed; one with two reasons counts twice";
    counters(registry, "dead_letters", help, letters);
    registry.register("commit_seconds", "How long a transaction of the sink took", counts.commit_seconds());
}

fn stage_label(stage: Stage) -> (&'static str, String) {
    ("stage", stage.as_str().to_owned())
}

/// The lag of each stage; `None` if the topics do not answer in time.
async fn lags(app: &Service) -> Option<BTreeMap<Stage, Lag>> {
    let topics = app.access.topics()?;
    tokio::time::timeout(ASK_WITHIN, app.counts.lags(&*topics)).await.ok()?.ok()
}

fn lag_metrics(lags: &BTreeMap<Stage, Lag>, registry: &mut Registry) {
    let records = lags.iter().map(|(stage, lag)| ([stage_label(*stage)], lag.records as i64));
    gauges(registry, "lag_records", "Records on topics that a stage has not taken", records);
    let bytes = lags.iter().map(|(stage, lag)| ([stage_label(*stage)], lag.bytes as i64));
    gauges(registry, "lag_bytes", "About how many bytes these have", bytes);
}

/// The totals of the ledger; `None` if Postgres does not answer. If there are so many sources that the query takes
/// long, the last totals are returned for a while.
async fn totals(app: &App) -> Option<Vec<LedgerTotal>> {
    let turn = app.totals.turn.clone().lock_owned();
    if let Ok(turn) = tokio::time::timeout(ASK_WITHIN, turn).await
        && !app.totals.known().as_ref().is_some_and(CachedTotals::is_fresh)
    {
        let app = app.clone();
        let asking = tokio::spawn(async move {
            let _turn = turn;
            let begun = Instant::now();
            let totals = totals::read(&app.watchers).await.ok();
            let (told, took) = (Instant::now(), begun.elapsed());
            *app.totals.known() = totals.map(|totals| CachedTotals { totals, told, took });
        });
        let _ = tokio::time::timeout(ASK_WITHIN, asking).await; // the query goes on, for the next request
    }
    let known = app.totals.known();
    known.as_ref().filter(|known| known.told.elapsed() < AGE_MAX).map(|known| known.totals.clone())
}

fn ledger_metrics(totals: &[LedgerTotal], registry: &mut Registry) {
    let dataset_label = |total: &LedgerTotal| ("dataset", total.dataset.clone());
    let sources = totals.iter().map(|total| {
        let state = if total.complete { "complete" } else { "incomplete" };
        let labels = [dataset_label(total), ("kind", total.kind.to_string()), ("state", state.to_owned())];
        (labels, total.sources)
    });
    gauges(registry, "sources", "Sources that were ever registered", sources);
    let lines = totals.iter().flat_map(|total| {
        let fates = ["accepted", "rejected", "waiting", "discarded"].into_iter().zip(total.fates);
        fates.map(|(fate, count)| ([dataset_label(total), ("fate", fate.to_owned())], count))
    });
    gauges(registry, "ledger_lines", "Lines in the ledger, by what became of them", lines);
    let effects = totals.iter().flat_map(|total| {
        let effects = Effects::NAMES.into_iter().zip(total.effects.in_order());
        effects.map(|(effect, count)| ([dataset_label(total), ("effect", effect.to_owned())], count as i64))
    });
    let help = "Accepted lines in the ledger, by what they did to their table";
    gauges(registry, "ledger_accepted_lines", help, effects);
    let in_flight = totals.iter().map(|total| ([dataset_label(total)], total.in_flight));
    let help = "Lines of sources read to their end that the ledger lacks";
    gauges(registry, "ledger_in_flight_lines", help, in_flight);
}
