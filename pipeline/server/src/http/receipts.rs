//! Receipts: what became of what was sent.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tidegate_connectors::postgres::{LineFate, Postgres, Receipt as Known};
use tokio::sync::{Notify, oneshot};
use tracing::debug;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Anybody, Read};
use super::{App, Asked, Named, Problem, page_limit};

/// How often it is looked whether sources that somebody waits for are accounted for.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How often those who follow a source are told.
const TELL_EVERY: Duration = Duration::from_millis(250);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(events))
}

/// What became of a source: a request for one dataset, an upload, a file, a restore.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Receipt {
    /// The number of the source, the first part of its lines' positions.
    source: u64,
    dataset: String,
    /// `file`, `upload`, `request` or `restore`.
    kind: String,
    /// The file's name, or the Idempotency-Key.
    name: String,
    /// Its size.
    bytes: Option<u64>,
    /// How many lines it has; null until it was read to its end.
    lines: Option<u64>,
    /// Lines accepted: the sum of the next four.
    accepted: u64,
    /// Accepted lines that inserted a row.
    inserted: u64,
    /// Accepted lines that updated one.
    updated: u64,
    /// Accepted lines that wrote nothing, because a newer line held their key.
    superseded: u64,
    /// Lines accepted by a version of Tidegate that did not count this.
    uncounted: u64,
    /// Accepted lines whose key another line of the source has too, so that they inserted no row.
    repeated: u64,
    rejected: u64,
    /// Lines whose reference does not exist yet.
    waiting: u64,
    discarded: u64,
    /// Lines on their way; null while it is not known how many there are.
    in_flight: Option<u64>,
    /// Whether it was found that every line is accounted for: it has one of the four fates.
    complete: bool,
    /// When it was registered, RFC 3339.
    registered_at: String,
    /// When it was found complete, RFC 3339; null while it is not.
    completed_at: Option<String>,
}

/// A server-sent event.
#[derive(ToSchema)]
#[allow(dead_code)] // the documentation's
struct ReceiptEvent {
    /// `receipt`
    event: String,
    /// A receipt as JSON.
    data: String,
}

impl Receipt {
    /// Whether every line is accounted for.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// The number of the source.
    pub(super) fn source(&self) -> u64 {
        self.source
    }
}

impl From<Known> for Receipt {
    fn from(known: Known) -> Self {
        let time = |at| humantime::format_rfc3339_millis(at).to_string();
        let [accepted, rejected, waiting, discarded] = known.fates;
        Self {
            in_flight: known.in_flight(),
            complete: known.complete(),
            source: known.source,
            bytes: known.bytes,
            lines: known.lines,
            accepted,
            inserted: known.effects.inserted,
            updated: known.effects.updated,
            superseded: known.effects.superseded,
            uncounted: known.effects.uncounted,
            repeated: known.repeated,
            rejected,
            waiting,
            discarded,
            registered_at: time(known.registered_at),
            completed_at: known.completed_at.map(time),
            dataset: known.dataset,
            kind: known.kind,
            name: known.name,
        }
    }
}

/// What became of one row.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct RowOutcome {
    /// Its line in the source: the row's place in what was sent, from 1.
    line: u64,
    /// `accepted`, `rejected`, `waiting`, `discarded` or `in_flight`.
    outcome: &'static str,
    /// Why it is not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    reasons: Option<serde_json::Value>,
}

impl From<LineFate> for RowOutcome {
    fn from(LineFate { line, fate, reasons }: LineFate) -> Self {
        Self { line, outcome: fate.map_or("in_flight", |fate| fate.as_str()), reasons }
    }
}

/// Receipts, the newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Receipts {
    receipts: Vec<Receipt>,
    /// What to give as `before` to get the next ones; null at the end.
    next: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only those of this dataset.
    dataset: Option<String>,
    /// Only sources with a smaller number.
    #[param(minimum = 1)]
    before: Option<u64>,
    /// How many, at most: 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// List receipts, the newest first
#[utoipa::path(get, path = "/v1/receipts", tag = "receipts", params(Page), responses(
    (status = 200, body = Receipts),
))]
async fn list(State(app): State<App>, _: Read, Asked(page): Asked<Page>) -> Result<Json<Receipts>, Problem> {
    let limit = page_limit(page.limit)?;
    let before = page.before.map(source_number).transpose()?;
    let known = app.readers.receipts(page.dataset.as_deref(), before, limit).await?;
    let next = known.last().filter(|_| known.len() as u32 == limit).map(|last| last.source);
    Ok(Json(Receipts { receipts: known.into_iter().map(Receipt::from).collect(), next }))
}

/// Show the receipt of a source
#[utoipa::path(get, path = "/v1/receipts/{source}", tag = "receipts",
    params(("source" = u64, Path, description = "the number of the source", minimum = 1)), responses(
    (status = 200, body = Receipt),
))]
async fn show(
    State(app): State<App>,
    _: Anybody,
    Named(source): Named<u64>,
) -> Result<Json<Receipt>, Problem> {
    Ok(Json(receipt(&app.readers, source).await?))
}

/// Follow a source until every line is accounted for, as server-sent events
///
/// Each event `receipt` has a receipt as its data; the last one is complete.
#[utoipa::path(get, path = "/v1/receipts/{source}/events", tag = "receipts",
    params(("source" = u64, Path, description = "the number of the source", minimum = 1)), responses(
    (status = 200, content_type = "text/event-stream", body = ReceiptEvent),
))]
async fn events(
    State(app): State<App>,
    _: Anybody,
    Named(source): Named<u64>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let first = receipt(&app.readers, source).await?;
    let told = stream::unfold(Some((app, None, Some(first))), move |state| async move {
        let (app, told, mut found) = state?;
        while found.is_some() || app.is_running() {
            let now = match found.take() {
                Some(found) => Some(found),
                // Postgres is away for a moment: nothing is told.
                None => receipt(&app.readers, source).await.ok(),
            };
            if let Some(now) = now
                && told.as_ref() != Some(&now)
            {
                let event = Event::default().event("receipt").json_data(&now).unwrap_or_default();
                let next = (!now.complete).then_some((app, Some(now), None));
                return Some((Ok(event), next));
            }
            tokio::time::sleep(TELL_EVERY).await;
        }
        None
    });
    Ok(Sse::new(told).keep_alive(KeepAlive::default()))
}

/// The receipt of a source.
pub(crate) async fn receipt(postgres: &Postgres, source: u64) -> Result<Receipt, Problem> {
    let found = postgres.receipts_of(&[source_number(source)?]).await?.pop();
    found.map(Receipt::from).ok_or_else(|| no_such(source))
}

/// A number as Postgres can hold it.
pub(super) fn source_number(source: u64) -> Result<u64, Problem> {
    if i64::try_from(source).is_ok() { Ok(source) } else { Err(no_such(source)) }
}

pub(super) fn no_such(source: u64) -> Problem {
    Problem::not_found(format!("there is no source {source}"))
}

/// Looks after those who wait for sources, all in one query.
#[derive(Default)]
pub(crate) struct Watcher {
    waiting: Mutex<Vec<Waiting>>,
    bell: Notify,
}

struct Waiting {
    sources: Vec<u64>,
    done: oneshot::Sender<()>,
}

impl Watcher {
    /// Resolves when every line of the sources is accounted for; `false` if that takes longer than `within`.
    pub(super) async fn wait(&self, sources: &[u64], within: Duration) -> bool {
        let (done, is_done) = oneshot::channel();
        self.waiting().push(Waiting { sources: sources.to_vec(), done });
        self.bell.notify_one();
        matches!(tokio::time::timeout(within, is_done).await, Ok(Ok(())))
    }

    /// Looks, again and again while somebody waits.
    pub(super) async fn watch(&self, postgres: &Postgres) {
        loop {
            let wanted: HashSet<u64> = {
                let mut waiting = self.waiting();
                waiting.retain(|waiting| !waiting.done.is_closed());
                waiting.iter().flat_map(|waiting| &waiting.sources).copied().collect()
            };
            if wanted.is_empty() {
                self.bell.notified().await;
                continue;
            }
            let wanted: Vec<u64> = wanted.into_iter().collect();
            match postgres.accounted(&wanted).await {
                Ok(accounted) => self.tell(&accounted.into_iter().collect()),
                Err(error) => debug!("receipts cannot be asked for: {error}"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn tell(&self, accounted: &HashSet<u64>) {
        let mut waiting = self.waiting();
        let is_done = |waiting: &mut Waiting| {
            waiting.sources.retain(|source| !accounted.contains(source));
            waiting.sources.is_empty()
        };
        for done in waiting.extract_if(.., is_done) {
            let _ = done.done.send(()); // who waited may have gone
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
