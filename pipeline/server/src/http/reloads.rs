//! Sources that are to be read again.

use axum::Json;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidegate_connectors::postgres::reloads::ReloadState;
use tidegate_connectors::postgres::{Before, Postgres};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Operate, Read};
use super::idempotency::{self, IdempotencyKey, told};
use super::receipts::{Receipt, receipt};
use super::{App, Named, Problem};
use crate::reloads;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(ask)).routes(routes!(follow))
}

/// A source that is read again, as a new one.
#[derive(Debug, Serialize, ToSchema)]
struct Reload {
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
    receipt: Option<Receipt>,
}

/// Nothing.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct ReloadRequest {}

/// Read a source again
///
/// The file of the source is read from `done/` once more, under a new number, by the manifest as it is now; so its rows
/// are newer than all that is there.
#[utoipa::path(post, path = "/v1/receipts/{source}/reload", tag = "receipts", params(
    ("source" = u64, Path, description = "the number of the source"), IdempotencyKey),
    request_body(content = Option<ReloadRequest>, description = "nothing, or an empty object"), responses(
    (status = 202, body = Reload, description = "it is asked for",
        headers(("Location" = String, description = "where to follow it"))),
    (status = 404, body = Problem, content_type = "application/problem+json", description = "there is no such source"),
    (status = 409, body = Problem, content_type = "application/problem+json",
        description = "it is no file, so its lines are not kept; or it is not complete yet"),
    (status = 422, body = Problem, content_type = "application/problem+json",
        description = "the Idempotency-Key was used for other content"),
))]
async fn ask(
    State(app): State<App>,
    Operate(caller): Operate,
    Named(source): Named<u64>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let (_, keyed) = told::<ReloadRequest>(&app, &caller, request).await?;
    let known = app.postgres.receipts_of(&[super::receipts::source_number(source)?]).await?.pop();
    let known = known.ok_or_else(|| super::receipts::no_such(source))?;
    if let Some(why) = reloads::refusal(&known) {
        return Err(Problem::conflict(why));
    }
    let reload = match app.postgres.ask_for_reload(source, &caller.name, keyed.as_ref()).await? {
        Before::Became(Some(reload)) => reload,
        Before::Another => return Err(idempotency::reused()),
        Before::Became(None) | Before::Nothing => return Err(super::receipts::no_such(source)),
    };
    let location = format!("/v1/reloads/{reload}");
    let body = reload_of(&app.postgres, reload).await?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)).into_response())
}

/// Show what became of a source that is read again
#[utoipa::path(get, path = "/v1/reloads/{reload}", tag = "receipts",
    params(("reload" = u64, Path, description = "the number of the reload")), responses(
    (status = 200, body = Reload),
))]
async fn follow(State(app): State<App>, _: Read, Named(reload): Named<u64>) -> Result<Json<Reload>, Problem> {
    Ok(Json(reload_of(&app.readers, reload).await?))
}

async fn reload_of(postgres: &Postgres, number: u64) -> Result<Reload, Problem> {
    let no_such = || Problem::not_found(format!("there is no reload {number}"));
    if i64::try_from(number).is_err() {
        return Err(no_such());
    }
    let known = postgres.reload_of(number).await?.ok_or_else(no_such)?;
    let became = match known.source {
        Some(source) => Some(receipt(postgres, source).await?),
        None => None,
    };
    let state = match known.state {
        ReloadState::Asked => "asked",
        ReloadState::Failed => "failed",
        ReloadState::Entered if became.as_ref().is_some_and(Receipt::is_complete) => "done",
        ReloadState::Entered => "running",
    };
    Ok(Reload {
        reload: known.reload,
        source: known.old_source,
        state,
        error: known.error,
        asked_by: known.asked_by,
        asked_at: known.asked_at,
        receipt: became,
    })
}
