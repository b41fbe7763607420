//! Restores of backups.

use axum::Json;
use axum::extract::Request as HttpRequest;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidegate_store::{KeyUse, Receipt, Store, receipts, restores};
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::{Operate, Read};
use super::backups::in_thread;
use super::idempotency::{self, IdempotencyHeader, keyed_json};
use super::reloads::state_word;
use super::{JsonResult, PathParams, Problem};

/// What is to be restored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RestoreRequest {
    /// The name of a backup.
    backup: String,
    /// The datasets; all that the backup has if none is given.
    #[serde(default)]
    datasets: Vec<String>,
}

/// A restore, and what became of its rows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Restore)]
pub(super) struct RestoreBody {
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
pub(super) struct Restored {
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
#[utoipa::path(post, path = "/v1/restores", tag = "backups", params(IdempotencyHeader), request_body = RestoreRequest, responses(
    (status = 202, body = RestoreBody, description = "the files are whole and fit; the rows are on their way",
        headers(("Location" = String, description = "where to follow it"))),
    (status = 404, description = "there is no such backup or dataset"),
    (status = 422, description = "a file is damaged, or does not fit, and nothing is applied; or the Idempotency-Key was used for other content"),
))]
pub(super) async fn ask(Operate(app, caller): Operate, request: HttpRequest) -> Result<Response, Problem> {
    let (wanted, idempotency_key) = keyed_json::<RestoreRequest>(&app, &caller, request).await?;
    let wanted = wanted.ok_or_else(|| Problem::bad_request("name a backup: {\"backup\": \"...\"}"))?;
    if let Some(idempotency_key) = &idempotency_key
        && let Some(known) = earlier(restores::of_request(&app.store, idempotency_key).await?)?
    {
        // The files need not exist any more.
        return accepted(&app.store, known).await;
    }
    let manifest = app.settings.manifest.clone();
    let folder = tidegate_node::backups::folder(&app.settings);
    let RestoreRequest { backup: id, datasets } = wanted;
    for name in &datasets {
        app.dataset(name)?;
    }
    let backup = id.clone();
    let checked = in_thread(move || {
        let backup = folder.backup(&id)?;
        tidegate_avro::check_backup(&manifest, &folder.path().join(&backup.id), &backup, &datasets)
    });
    let files = tidegate_node::restores::files(&app.settings.manifest, &checked.await?);
    let files = files.map_err(|failure| Problem::internal(failure.message))?;
    let id = Uuid::now_v7();
    let before =
        restores::ask(&app.store, id, Some(&backup), &files, &caller.name, idempotency_key.as_ref()).await?;
    accepted(&app.store, earlier(before)?.unwrap_or(id)).await
}

/// The restore that an earlier request with this key has asked for.
fn earlier(before: KeyUse<Uuid>) -> Result<Option<Uuid>, Problem> {
    match before {
        KeyUse::New => Ok(None),
        KeyUse::Known(id) => Ok(Some(id)),
        KeyUse::Reused => Err(idempotency::reused()),
    }
}

async fn accepted(store: &Store, id: Uuid) -> Result<Response, Problem> {
    let restore = restore_of(store, id).await?;
    let location = format!("/v1/restores/{id}");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(restore)).into_response())
}

/// Show a restore, and what became of its rows
#[utoipa::path(get, path = "/v1/restores/{id}", tag = "backups",
    params(("id" = String, Path, description = "the restore, a uuid")), responses(
    (status = 200, body = RestoreBody),
))]
pub(super) async fn follow(Read(app, _): Read, PathParams(id): PathParams<Uuid>) -> JsonResult<RestoreBody> {
    Ok(Json(restore_of(&app.readers, id).await?))
}

async fn restore_of(store: &Store, id: Uuid) -> Result<RestoreBody, Problem> {
    let restore = restores::find(store, id).await?;
    let restore = restore.ok_or_else(|| Problem::not_found(format!("there is no restore '{id}'")))?;
    let receipts = receipts::of_sources(store, &restore.sources).await?;
    let restores::Restore { id, backup, files, asked_by, asked_at, state, error, .. } = restore;
    let state = state_word(state, receipts.iter().all(Receipt::complete));
    let datasets = files.into_iter().map(|file| {
        let receipt = receipts.iter().find(|receipt| receipt.dataset == file.dataset);
        let [accepted, rejected, waiting, discarded] = receipt.map_or([0; 4], |receipt| receipt.fates);
        let source = receipt.map(|receipt| receipt.source);
        Restored { dataset: file.dataset, rows: file.rows, source, accepted, rejected, waiting, discarded }
    });
    let datasets = datasets.collect();
    Ok(RestoreBody { id, backup, state, error, asked_by, asked_at, datasets })
}
