//! Restores of backups.

use axum::Json;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidegate_connectors::avro;
use tidegate_connectors::postgres::restores::{Restore as Known, RestoreState};
use tidegate_connectors::postgres::{Before, Postgres, Receipt};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::auth::{Operate, Read};
use super::backups::in_thread;
use super::idempotency::{self, IdempotencyKey, told};
use super::{App, Named, Problem};
use crate::{backups, restore};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(ask)).routes(routes!(follow))
}

/// What is to be restored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RestoreRequest {
    /// The name of a backup.
    backup: String,
    /// The datasets; all that the backup has if none is given.
    #[serde(default)]
    datasets: Vec<String>,
}

/// A restore, and what became of its rows.
#[derive(Debug, Serialize, ToSchema)]
struct Restore {
    #[schema(value_type = String)]
    id: Uuid,
    /// The backup; null if a file was restored on the command line.
    backup: Option<String>,
    /// `asked`; `running`; `done`, when every row is accounted for; `failed`, when it was refused.
    state: &'static str,
    /// Why it failed.
    error: Option<String>,
    asked_by: String,
    /// When, RFC 3339.
    asked_at: String,
    datasets: Vec<Restored>,
}

/// What became of the rows of a dataset.
#[derive(Debug, Serialize, ToSchema)]
struct Restored {
    dataset: String,
    rows: u64,
    /// The source that they have become; null while they have not.
    source: Option<u64>,
    accepted: u64,
    rejected: u64,
    waiting: u64,
    discarded: u64,
}

/// Restore a backup
///
/// Every file is read to its end first. Then the rows enter as sources of their own, under the rules of any line, and
/// are newer than all that is there.
#[utoipa::path(post, path = "/v1/restores", tag = "backups", params(IdempotencyKey), request_body = RestoreRequest, responses(
    (status = 202, body = Restore, description = "the files are whole and fit; the rows are on their way",
        headers(("Location" = String, description = "where to follow it"))),
    (status = 404, body = Problem, content_type = "application/problem+json", description = "there is no such backup or dataset"),
    (status = 422, body = Problem, content_type = "application/problem+json",
        description = "a file is damaged, or does not fit, and nothing is applied; or the Idempotency-Key was used for other content"),
))]
async fn ask(
    State(app): State<App>,
    Operate(caller): Operate,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let (wanted, keyed) = told::<RestoreRequest>(&app, &caller, request).await?;
    let wanted = wanted.ok_or_else(|| Problem::bad_request("name a backup: {\"backup\": \"...\"}"))?;
    if let Some(keyed) = &keyed
        && let Some(known) = known(app.postgres.restore_of_request(keyed).await?)?
    {
        // Its files need not be there any more.
        return asked(&app.postgres, known).await;
    }
    let manifest = app.settings.manifest.clone();
    let folder = backups::folder(&app.settings);
    let RestoreRequest { backup: id, datasets } = wanted;
    for name in &datasets {
        app.dataset(name)?;
    }
    let backup = id.clone();
    let checked = in_thread(move || {
        let backup = folder.backup(&id)?;
        avro::check_backup(&manifest, &folder.path().join(&backup.id), &backup, &datasets)
    });
    let files = restore::files(&app.settings.manifest, &checked.await?);
    let files = files.map_err(|failure| Problem::internal(failure.message))?;
    let id = Uuid::now_v7();
    let before =
        app.postgres.ask_for_restore(id, Some(&backup), &files, &caller.name, keyed.as_ref()).await?;
    asked(&app.postgres, known(before)?.unwrap_or(id)).await
}

/// The restore that a request has asked for before.
fn known(before: Before<Uuid>) -> Result<Option<Uuid>, Problem> {
    match before {
        Before::Nothing => Ok(None),
        Before::Became(id) => Ok(Some(id)),
        Before::Another => Err(idempotency::reused()),
    }
}

async fn asked(postgres: &Postgres, id: Uuid) -> Result<Response, Problem> {
    let restore = restore_of(postgres, id).await?;
    let location = format!("/v1/restores/{id}");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(restore)).into_response())
}

/// Show a restore, and what became of its rows
#[utoipa::path(get, path = "/v1/restores/{id}", tag = "backups",
    params(("id" = String, Path, description = "the restore, a uuid")), responses(
    (status = 200, body = Restore),
))]
async fn follow(State(app): State<App>, _: Read, Named(id): Named<Uuid>) -> Result<Json<Restore>, Problem> {
    Ok(Json(restore_of(&app.readers, id).await?))
}

async fn restore_of(postgres: &Postgres, id: Uuid) -> Result<Restore, Problem> {
    let restore = postgres.restore_of(id).await?;
    let restore = restore.ok_or_else(|| Problem::not_found(format!("there is no restore '{id}'")))?;
    let receipts = postgres.receipts_of(&restore.sources).await?;
    let Known { id, backup, files, asked_by, asked_at, state, error, .. } = restore;
    let state = match state {
        RestoreState::Asked => "asked",
        RestoreState::Failed => "failed",
        RestoreState::Entered if receipts.iter().all(Receipt::complete) => "done",
        RestoreState::Entered => "running",
    };
    let datasets = files.into_iter().map(|file| {
        let receipt = receipts.iter().find(|receipt| receipt.dataset == file.dataset);
        let [accepted, rejected, waiting, discarded] = receipt.map_or([0; 4], |receipt| receipt.fates);
        let source = receipt.map(|receipt| receipt.source);
        Restored { dataset: file.dataset, rows: file.rows, source, accepted, rejected, waiting, discarded }
    });
    let datasets = datasets.collect();
    Ok(Restore { id, backup, state, error, asked_by, asked_at, datasets })
}
