//! Reloads of sources.

use axum::Json;
use axum::extract::Request as HttpRequest;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidegate_store::{KeyUse, Store, TaskState, receipts, reloads};
use utoipa::ToSchema;

use super::auth::{Operate, Read};
use super::idempotency::{self, IdempotencyHeader, keyed_json};
use super::receipts::{ReceiptBody, no_such, receipt, source_number};
use super::{JsonResult, PathParams, Problem};

/// A source that is read again, as a new one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reload)]
pub(super) struct ReloadBody {
    /// Its number among reloads.
    reload: u64,
    /// What is read again.
    source: u64,
    /// `asked`; `running`; `done`, when every line is accounted for; `failed`, when it was refused.
    state: &'static str,
    /// Why it failed.
    error: Option<String>,
    asked_by: String,
    /// When, RFC 3339.
    asked_at: String,
    /// What it has become; null while it has no number.
    receipt: Option<ReceiptBody>,
}

/// Nothing.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReloadRequest {}

/// Read a source again
///
/// The file of the source is read from `done/` once more, under a new number, by the manifest as it is now; so its rows
/// are newer than all that is there.
#[utoipa::path(post, path = "/v1/receipts/{source}/reload", tag = "receipts", params(
    ("source" = u64, Path, description = "the number of the source"), IdempotencyHeader),
    request_body(content = Option<ReloadRequest>, description = "nothing, or an empty object"), responses(
    (status = 202, body = ReloadBody, description = "it is asked for",
        headers(("Location" = String, description = "where to follow it"))),
    (status = 404, description = "there is no such source"),
    (status = 409, description = "it is no file, so its lines are not kept; or it is not complete yet"),
    (status = 422, description = "the Idempotency-Key was used for other content"),
))]
pub(super) async fn ask(
    Operate(app, caller): Operate,
    PathParams(source): PathParams<u64>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let (_, idempotency_key) = keyed_json::<ReloadRequest>(&app, &caller, request).await?;
    let known = receipts::of_sources(&app.store, &[source_number(source)?]).await?.pop();
    let known = known.ok_or_else(|| no_such(source))?;
    if let Some(why) = tidegate_node::reloads::refusal(&known) {
        return Err(Problem::conflict(why));
    }
    let asked = reloads::ask(&app.store, source, &caller.name, idempotency_key.as_ref()).await?;
    let reload = match asked {
        KeyUse::Known(Some(reload)) => reload,
        KeyUse::Reused => return Err(idempotency::reused()),
        KeyUse::Known(None) | KeyUse::New => return Err(no_such(source)),
    };
    let location = format!("/v1/reloads/{reload}");
    let body = reload_of(&app.store, reload).await?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)).into_response())
}

/// Show what became of a source that is read again
#[utoipa::path(get, path = "/v1/reloads/{reload}", tag = "receipts",
    params(("reload" = u64, Path, description = "the number of the reload")), responses(
    (status = 200, body = ReloadBody),
))]
pub(super) async fn follow(
    Read(app, _): Read,
    PathParams(reload): PathParams<u64>,
) -> JsonResult<ReloadBody> {
    Ok(Json(reload_of(&app.readers, reload).await?))
}

async fn reload_of(store: &Store, number: u64) -> Result<ReloadBody, Problem> {
    let found = match i64::try_from(number) {
        Ok(_) => reloads::find(store, number).await?,
        Err(_) => None,
    };
    let known = found.ok_or_else(|| Problem::not_found(format!("there is no reload {number}")))?;
    let became = match known.source {
        Some(source) => Some(receipt(store, source).await?),
        None => None,
    };
    let is_done = became.as_ref().is_some_and(|receipt| receipt.complete);
    Ok(ReloadBody {
        reload: known.reload,
        source: known.old_source,
        state: state_word(known.state, is_done),
        error: known.error,
        asked_by: known.asked_by,
        asked_at: known.asked_at,
        receipt: became,
    })
}

/// The state as clients see it. An entered task is done when every line is accounted for.
pub(super) fn state_word(state: TaskState, is_done: bool) -> &'static str {
    match state {
        TaskState::Asked => "asked",
        TaskState::Failed => "failed",
        TaskState::Entered if is_done => "done",
        TaskState::Entered => "running",
    }
}
