//! Backups and restores.
//!
//! Clients name backups of the pipeline's own folder, and never a path.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tidegate_connectors::avro::{self, Options, Written};
use tidegate_connectors::postgres::restores::{Restore as Known, RestoreState};
use tidegate_connectors::postgres::{Before, Postgres, Receipt};
use tidegate_core::contract;
use tidegate_core::manifest::Codec;
use tokio::io::AsyncReadExt;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::auth::{Operate, Read};
use super::idempotency::{self, IdempotencyKey, told};
use super::{App, Asked, Named, Problem, page_limit};
use crate::{backups, restore};

/// How long whoever asks for a backup waits until it is there; it goes on after that.
const ANSWER_WITHIN: Duration = Duration::from_secs(25);
const PIECE_BYTES: usize = 64 * 1024;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, take))
        .routes(routes!(show))
        .routes(routes!(download))
        .routes(routes!(ask))
        .routes(routes!(follow))
}

/// All tables, or some, as they were at one moment.
#[derive(Debug, Serialize, ToSchema)]
struct Backup {
    /// Its name: the time, and a number behind it if there are several of one second.
    id: String,
    /// The moment, RFC 3339.
    taken_at: String,
    /// The largest number of a source at that moment.
    largest_source: u64,
    /// `deflate`, `snappy` or `zstandard`.
    codec: String,
    /// Whether it has all that `tidegate restore --exact` needs.
    exact: bool,
    datasets: Vec<BackupFile>,
}

/// The rows of a dataset.
#[derive(Debug, Serialize, ToSchema)]
struct BackupFile {
    dataset: String,
    rows: u64,
    bytes: u64,
    /// BLAKE3 of the file, in hexadecimal digits.
    blake3: String,
    /// Where it can be downloaded.
    href: String,
}

impl From<avro::Backup> for Backup {
    fn from(backup: avro::Backup) -> Self {
        let file = |Written { name, rows, bytes, blake3, .. }: Written| BackupFile {
            href: format!("/v1/backups/{}/{name}.avro", backup.id),
            dataset: name,
            rows,
            bytes,
            blake3,
        };
        Self {
            exact: !backup.state.is_empty(),
            datasets: backup.datasets.into_iter().map(file).collect(),
            taken_at: backup.taken_at,
            largest_source: backup.largest_source,
            codec: backup.codec,
            id: backup.id.clone(),
        }
    }
}

/// Backups, the newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Backups {
    backups: Vec<Backup>,
    /// What to give as `before` to get the next ones; null at the end.
    next: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Only those that are listed behind this one.
    before: Option<String>,
    /// How many, at most: 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// What is to be backed up.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct BackupRequest {
    /// The datasets; all if none is given.
    datasets: Vec<String>,
    /// `deflate`, `snappy` or `zstandard`; the manifest's if it is not given.
    codec: Option<CodecName>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CodecName {
    Deflate,
    Snappy,
    Zstandard,
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

/// List backups, the newest first
#[utoipa::path(get, path = "/v1/backups", tag = "backups", params(Page), responses(
    (status = 200, body = Backups),
))]
async fn list(State(app): State<App>, _: Read, Asked(page): Asked<Page>) -> Result<Json<Backups>, Problem> {
    let limit = page_limit(page.limit)?;
    let folder = backups::folder(&app.settings);
    let backups = in_thread(move || {
        let names = folder.names()?;
        let start = match &page.before {
            Some(before) => names.iter().position(|name| name == before).map_or(names.len(), |at| at + 1),
            None => 0,
        };
        let page = names[start..].iter().take(limit as usize);
        // One may be pruned at this moment.
        let backups: Vec<Backup> =
            page.filter_map(|name| folder.backup(name).ok()).map(Backup::from).collect();
        let is_end = names.len() <= start + limit as usize;
        let next = backups.last().filter(|_| !is_end).map(|backup| backup.id.clone());
        Ok(Backups { backups, next })
    });
    Ok(Json(backups.await?))
}

/// Take a backup
///
/// All tables are read at one moment, while rows go on coming in. It is there, under its name, when all of it is on disk.
#[utoipa::path(post, path = "/v1/backups", tag = "backups", params(IdempotencyKey),
    request_body(content = Option<BackupRequest>, description = "what is backed up; everything if there is no body"),
    responses(
    (status = 201, body = Backup, description = "it is there", headers(("Location" = String, description = "where it is"))),
    (status = 202, body = Object, description = "it takes longer, and will be listed"),
    (status = 404, body = Problem, content_type = "application/problem+json", description = "there is no such dataset"),
    (status = 409, body = Problem, content_type = "application/problem+json", description = "another one is being written"),
))]
async fn take(
    State(app): State<App>,
    Operate(caller): Operate,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let (wanted, keyed) = told::<BackupRequest>(&app, &caller, request).await?;
    let wanted = wanted.unwrap_or_default();
    let codec = match wanted.codec {
        None => backups::codec(&app.settings),
        Some(CodecName::Deflate) => Codec::Deflate,
        Some(CodecName::Snappy) => Codec::Snappy,
        Some(CodecName::Zstandard) => Codec::Zstandard,
    };
    let options = Options { datasets: wanted.datasets, codec, keyed };
    let (folder, postgres) = (backups::folder(&app.settings), app.postgres.clone());
    // It goes on if the client goes away.
    let mut taking = tokio::spawn(async move {
        let taken = avro::backup(&postgres, &folder, &options).await;
        match &taken {
            Ok(backup) => tracing::info!(backup = backup.id, by = caller.name, "backed up"),
            Err(error) => tracing::warn!(by = caller.name, "no backup was made: {error}"),
        }
        taken
    });
    let Ok(taken) = tokio::time::timeout(ANSWER_WITHIN, &mut taking).await else {
        let body = serde_json::json!({"state": "running"});
        return Ok((StatusCode::ACCEPTED, Json(body)).into_response());
    };
    let backup = Backup::from(taken.map_err(Problem::internal)?.map_err(problem)?);
    let location = format!("/v1/backups/{}", backup.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(backup)).into_response())
}

/// Show a backup
#[utoipa::path(get, path = "/v1/backups/{id}", tag = "backups",
    params(("id" = String, Path, description = "the name of the backup")), responses(
    (status = 200, body = Backup),
))]
async fn show(State(app): State<App>, _: Read, Named(id): Named<String>) -> Result<Json<Backup>, Problem> {
    let folder = backups::folder(&app.settings);
    Ok(Json(in_thread(move || folder.backup(&id)).await?.into()))
}

/// Download the rows of a dataset, as an Avro object container file
#[utoipa::path(get, path = "/v1/backups/{id}/{file}", tag = "backups",
    params(("id" = String, Path, description = "the name of the backup"),
        ("file" = String, Path, description = "the dataset, and `.avro`")), responses(
    (status = 200, body = Vec<u8>, content_type = "application/vnd.apache.avro"),
))]
async fn download(
    State(app): State<App>,
    _: Read,
    Named((id, file)): Named<(String, String)>,
) -> Result<Response, Problem> {
    let folder = backups::folder(&app.settings);
    let dataset = file.strip_suffix(".avro").map(str::to_owned);
    let dataset =
        dataset.ok_or_else(|| Problem::not_found("the files of a backup are called like DATASET.avro"))?;
    let (file, written) = in_thread(move || folder.open(&id, &dataset)).await?;
    let pieces = stream::unfold(tokio::fs::File::from_std(file), async |mut file| {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        match file.read_buf(&mut piece).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(Bytes::from(piece)), file)),
            Err(error) => Some((Err(error), file)),
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.apache.avro"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(written.bytes));
    // Names of datasets are letters, digits and underlines.
    let name = format!("attachment; filename=\"{}.avro\"", written.name);
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).map_err(Problem::internal)?);
    let tag = format!("\"{}\"", written.blake3);
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).map_err(Problem::internal)?);
    Ok(response)
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

/// Does what blocks beside the runtime.
async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, avro::Error> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?.map_err(problem)
}

fn problem(error: avro::Error) -> Problem {
    match error {
        avro::Error::Unknown(detail) => Problem::not_found(detail),
        avro::Error::Busy(detail) => Problem::conflict(detail),
        avro::Error::KeyReused => idempotency::reused(),
        avro::Error::Refused(detail) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unfit-backup",
            "a file is damaged, or its rows do not fit",
            detail,
        ),
        error => contract::Error::from(error).into(),
    }
}
