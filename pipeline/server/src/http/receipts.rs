//! Receipts: what became of the lines of each source.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tidegate_core::split::SkippedLines;
use tidegate_store::{LineFate, Receipt, Store, receipts};
use tokio::sync::{Notify, oneshot};
use tracing::debug;
use utoipa::{IntoParams, ToSchema};

use super::auth::{Anybody, Read};
use super::{JsonResult, PathParams, Problem, QueryParams, page_limit};

/// How often it is checked whether the sources that requests wait for are accounted for.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How often clients that follow a source get an event.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// What became of a source: a request for one dataset, an upload, a file, a restore.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Receipt)]
pub(super) struct ReceiptBody {
    /// The number of the source, the first part of its lines' positions.
    pub(super) source: u64,
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
    /// Lines of a file that are no records, by the rule that skips them: `before_header`, `sep`, `header`, `blank`,
    /// `comment`, `pattern`, `other_kind` and `continuation`. They have no fate and are not among `lines`. Null if they
    /// were not counted.
    #[schema(value_type = Option<HashMap<String, u64>>)]
    skipped: Option<SkippedLines>,
    /// Lines on their way; null while it is not known how many there are.
    in_flight: Option<u64>,
    /// Whether it was found that every line is accounted for: it has one of the four fates.
    pub(super) complete: bool,
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

impl From<Receipt> for ReceiptBody {
    fn from(known: Receipt) -> Self {
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
            skipped: known.skipped,
            registered_at: time(known.registered_at),
            completed_at: known.completed_at.map(time),
            dataset: known.dataset,
            kind: known.kind.to_string(),
            name: known.name,
        }
    }
}

/// What became of one row.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct RowOutcome {
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
pub(super) struct Receipts {
    receipts: Vec<ReceiptBody>,
    /// What to give as `before` to get the next ones; null at the end.
    next: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReceiptsPage {
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
#[utoipa::path(get, path = "/v1/receipts", tag = "receipts", params(ReceiptsPage), responses(
    (status = 200, body = Receipts),
))]
pub(super) async fn list(
    Read(app, _): Read,
    QueryParams(page): QueryParams<ReceiptsPage>,
) -> JsonResult<Receipts> {
    let limit = page_limit(page.limit)?;
    let before = page.before.map(source_number).transpose()?;
    let known = receipts::list(&app.readers, page.dataset.as_deref(), before, limit).await?;
    let next = known.last().filter(|_| known.len() as u32 == limit).map(|last| last.source);
    Ok(Json(Receipts { receipts: known.into_iter().map(ReceiptBody::from).collect(), next }))
}

/// Show the receipt of a source
#[utoipa::path(get, path = "/v1/receipts/{source}", tag = "receipts",
    params(("source" = u64, Path, description = "the number of the source", minimum = 1)), responses(
    (status = 200, body = ReceiptBody),
))]
pub(super) async fn show(
    Anybody(app, _): Anybody,
    PathParams(source): PathParams<u64>,
) -> JsonResult<ReceiptBody> {
    Ok(Json(receipt(&app.readers, source).await?))
}

/// Follow a source until every line is accounted for, as server-sent events
///
/// Each event `receipt` has a receipt as its data; the last one is complete.
#[utoipa::path(get, path = "/v1/receipts/{source}/events", tag = "receipts",
    params(("source" = u64, Path, description = "the number of the source", minimum = 1)), responses(
    (status = 200, content_type = "text/event-stream", body = ReceiptEvent),
))]
pub(super) async fn events(
    Anybody(app, _): Anybody,
    PathParams(source): PathParams<u64>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let first = receipt(&app.readers, source).await?;
    let told = stream::unfold(Some((app, None, Some(first))), move |state| async move {
        let (app, told, mut found) = state?;
        while found.is_some() || app.is_running() {
            let now = match found.take() {
                Some(found) => Some(found),
                // Postgres may be away for a moment; no event is sent then.
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
pub(super) async fn receipt(store: &Store, source: u64) -> Result<ReceiptBody, Problem> {
    let found = receipts::of_sources(store, &[source_number(source)?]).await?.pop();
    found.map(ReceiptBody::from).ok_or_else(|| no_such(source))
}

/// Returns a number that Postgres can store; 404 otherwise.
pub(super) fn source_number(source: u64) -> Result<u64, Problem> {
    if i64::try_from(source).is_ok() { Ok(source) } else { Err(no_such(source)) }
}

pub(super) fn no_such(source: u64) -> Problem {
    Problem::not_found(format!("there is no source {source}"))
}

/// Checks the sources of all waiting requests in one query.
#[derive(Default)]
pub(super) struct Watcher {
    waiting: Mutex<Vec<SourceWait>>,
    arrived: Notify,
}

struct SourceWait {
    sources: Vec<u64>,
    done: oneshot::Sender<()>,
}

impl Watcher {
    /// Resolves to `true` when every line of the sources is accounted for; to `false` if that takes longer than
    /// `within`.
    pub(super) async fn wait(&self, sources: &[u64], within: Duration) -> bool {
        let (done, is_done) = oneshot::channel();
        self.waiting().push(SourceWait { sources: sources.to_vec(), done });
        self.arrived.notify_one();
        matches!(tokio::time::timeout(within, is_done).await, Ok(Ok(())))
    }

    /// Checks the sources again and again while requests wait.
    pub(super) async fn watch(&self, store: &Store) {
        loop {
            let wanted: HashSet<u64> = {
                let mut waiting = self.waiting();
                waiting.retain(|waiting| !waiting.done.is_closed());
                waiting.iter().flat_map(|waiting| &waiting.sources).copied().collect()
            };
            if wanted.is_empty() {
                self.arrived.notified().await;
                continue;
            }
            let wanted: Vec<u64> = wanted.into_iter().collect();
            match receipts::accounted(store, &wanted).await {
                Ok(accounted) => self.tell(&accounted.into_iter().collect()),
                Err(error) => debug!("receipts cannot be asked for: {error}"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn tell(&self, accounted: &HashSet<u64>) {
        let mut waiting = self.waiting();
        let is_done = |waiting: &mut SourceWait| {
            waiting.sources.retain(|source| !accounted.contains(source));
            waiting.sources.is_empty()
        };
        for done in waiting.extract_if(.., is_done) {
            let _ = done.done.send(()); // the waiting request may have gone
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<SourceWait>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
