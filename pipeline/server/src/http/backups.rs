//! Backups. Clients name backups in the pipeline's own folder, and never a path.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::body::Body;
use axum::extract::Request as HttpRequest;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidegate_avro::{AvroError, BackupOptions, TableFile};
use tidegate_core::contract;
use tidegate_core::manifest::Codec;
use tokio::sync::oneshot;
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};

use super::auth::{Caller, Operate, Read};
use super::idempotency::{self, IdempotencyHeader, keyed_json};
use super::pending_backups::PendingBackup;
use super::{App, JsonResult, PathParams, Problem, QueryParams, page_limit};

/// How long a request for a backup waits until it is complete. The backup goes on after that.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const PIECE_BYTES: usize = 64 * 1024;

/// How blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CodecName {
    Deflate,
    Snappy,
    Zstandard,
}

impl From<CodecName> for Codec {
    fn from(name: CodecName) -> Self {
        match name {
            CodecName::Deflate => Self::Deflate,
            CodecName::Snappy => Self::Snappy,
            CodecName::Zstandard => Self::Zstandard,
        }
    }
}

/// All tables, or some, as they were at one moment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Backup)]
pub(super) struct BackupBody {
    /// Its name: the time, and a number behind it if there are several of one second.
    id: String,
    /// `running`, while it is being taken; `done`, when it is there; `failed`, when it will not be.
    state: &'static str,
    /// Why it failed.
    error: Option<String>,
    /// The moment, RFC 3339; of one that is not there yet, when it was begun.
    taken_at: String,
    /// The largest number of a source at that moment; null while it is not there.
    largest_source: Option<u64>,
    /// `deflate`, `snappy` or `zstandard`.
    codec: String,
    /// Whether it has all that `tidegate restore --exact` needs.
    exact: bool,
    datasets: Vec<BackupFile>,
}

/// The rows of a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackupFile {
    dataset: String,
    rows: u64,
    bytes: u64,
    /// BLAKE3 of the file, in hexadecimal digits.
    blake3: String,
    /// Where it can be downloaded.
    href: String,
}

impl From<tidegate_avro::Backup> for BackupBody {
    fn from(backup: tidegate_avro::Backup) -> Self {
        let file = |TableFile { name, rows, bytes, blake3, .. }: TableFile| BackupFile {
            href: format!("/v1/backups/{}/{name}.avro", backup.id),
            dataset: name,
            rows,
            bytes,
            blake3,
        };
        Self {
            state: "done",
            error: None,
            exact: !backup.state.is_empty(),
            datasets: backup.datasets.into_iter().map(file).collect(),
            taken_at: backup.taken_at,
            largest_source: Some(backup.largest_source),
            codec: backup.codec,
            id: backup.id.clone(),
        }
    }
}

impl From<PendingBackup> for BackupBody {
    fn from(attempt: PendingBackup) -> Self {
        Self {
            id: attempt.id,
            state: if attempt.error.is_some() { "failed" } else { "running" },
            error: attempt.error,
            taken_at: humantime::format_rfc3339_micros(attempt.begun_at).to_string(),
            largest_source: None,
            codec: attempt.codec.to_owned(),
            exact: false,
            datasets: Vec::new(),
        }
    }
}

/// Backups, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Backups {
    backups: Vec<BackupBody>,
    /// What to give as `before` to get the next ones; null at the end.
    next: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BackupsPage {
    /// Only those that are listed behind this one.
    before: Option<String>,
    /// How many, at most: 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// What is to be backed up.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BackupRequest {
    /// The datasets; all if none is given.
    datasets: Vec<String>,
    /// `deflate`, `snappy` or `zstandard`; the manifest's if it is not given.
    codec: Option<CodecName>,
}

/// List backups, the newest first
#[utoipa::path(get, path = "/v1/backups", tag = "backups", params(BackupsPage), responses(
    (status = 200, body = Backups),
))]
pub(super) async fn list(
    Read(app, _): Read,
    QueryParams(page): QueryParams<BackupsPage>,
) -> JsonResult<Backups> {
    let limit = page_limit(page.limit)?;
    let folder = tidegate_node::backups::folder(&app.settings);
    let backups = in_thread(move || {
        let names = folder.names()?;
        let start = match &page.before {
            Some(before) => names.iter().position(|name| name == before).map_or(names.len(), |at| at + 1),
            None => 0,
        };
        let page = names[start..].iter().take(limit as usize);
        // A backup may be pruned at this moment.
        let backups: Vec<BackupBody> =
            page.filter_map(|name| folder.backup(name).ok()).map(BackupBody::from).collect();
        let is_end = names.len() <= start + limit as usize;
        let next = backups.last().filter(|_| !is_end).map(|backup| backup.id.clone());
        Ok(Backups { backups, next })
    });
    Ok(Json(backups.await?))
}

/// Take a backup
///
/// All tables are read at one moment, while rows go on coming in. It is there, under its name, when all of it is on disk:
/// the answer is 201 then. If that takes longer than 10 s it is 202, and `Location` tells how far it is.
#[utoipa::path(post, path = "/v1/backups", tag = "backups", params(IdempotencyHeader),
    request_body(content = Option<BackupRequest>, description = "what is backed up; everything if there is no body"),
    responses(
    (status = 201, body = BackupBody, description = "it is there", headers(("Location" = String, description = "where it is"))),
    (status = 202, body = BackupBody, description = "it takes longer; `state` at Location says how far it is",
        headers(("Location" = String, description = "where to follow it"))),
    (status = 404, description = "there is no such dataset"),
    (status = 409, description = "another one is being written"),
))]
pub(super) async fn take(Operate(app, caller): Operate, request: HttpRequest) -> Result<Response, Problem> {
    let (wanted, idempotency_key) = keyed_json::<BackupRequest>(&app, &caller, request).await?;
    let wanted = wanted.unwrap_or_default();
    let codec = wanted.codec.map_or_else(|| tidegate_node::backups::codec(&app.settings), Into::into);
    if let Some(idempotency_key) = &idempotency_key
        && let Some(attempt) = app.pending_backups.of_request(&idempotency_key.identity)
    {
        let is_same = attempt.idempotency_key == Some(*idempotency_key);
        return if is_same { Ok(answer(attempt.into())) } else { Err(idempotency::reused()) };
    }
    let options = BackupOptions { datasets: wanted.datasets, codec, idempotency_key };
    let (tell, mut named) = oneshot::channel();
    // The backup goes on if the client is gone.
    let mut taking = tokio::spawn(take_and_track(app.clone(), caller, options, tell));
    let soon = tokio::time::timeout(ANSWER_WITHIN, &mut taking).await;
    let taken = match soon {
        Ok(taken) => taken,
        // A backup without a name has not begun: Postgres was not reached.
        Err(_) => tokio::select! {
            taken = &mut taking => taken,
            Ok(id) = &mut named => match app.pending_backups.of(&id) {
                Some(attempt) => return Ok(answer(attempt.into())),
                None => taking.await,
            },
        },
    };
    Ok(answer(taken.map_err(Problem::internal)??.into()))
}

/// Takes a backup and keeps track of it. Sends its name over `tell`.
async fn take_and_track(
    app: App,
    Caller { name: by }: Caller,
    options: BackupOptions,
    tell: oneshot::Sender<String>,
) -> Result<tidegate_avro::Backup, Problem> {
    let (codec, idempotency_key) = (options.codec.as_str(), options.idempotency_key);
    let mut name = None;
    let named = |id: &str| {
        let id = name.insert(id.to_owned()).clone();
        let begun_at = SystemTime::now();
        let pending = PendingBackup { id: id.clone(), codec, idempotency_key, begun_at, error: None };
        app.pending_backups.begin(pending);
        let _ = tell.send(id); // the caller may have gone
    };
    let folder = tidegate_node::backups::folder(&app.settings);
    match tidegate_avro::backup_named(&app.store, &folder, &options, named).await {
        Ok(backup) => {
            tracing::info!(backup = backup.id, by, "backed up");
            app.pending_backups.taken(&backup.id);
            Ok(backup)
        }
        Err(error) => {
            tracing::warn!(by, "no backup was made: {error}");
            let problem = problem(error);
            if let Some(id) = name {
                app.pending_backups.failed(&id, problem.detail.clone());
            }
            Err(problem)
        }
    }
}

/// The answer for a backup that is complete or being taken.
fn answer(backup: BackupBody) -> Response {
    let status = if backup.state == "done" { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    let location = format!("/v1/backups/{}", backup.id);
    (status, [(header::LOCATION, location)], Json(backup)).into_response()
}

/// Show a backup, or how far it is
///
/// One that was not there when its process ended is not known any more.
#[utoipa::path(get, path = "/v1/backups/{id}", tag = "backups",
    params(("id" = String, Path, description = "the name of the backup")), responses(
    (status = 200, body = BackupBody),
))]
pub(super) async fn show(Read(app, _): Read, PathParams(id): PathParams<String>) -> JsonResult<BackupBody> {
    let folder = tidegate_node::backups::folder(&app.settings);
    let attempt = app.pending_backups.of(&id);
    match (in_thread(move || folder.backup(&id)).await, attempt) {
        (Err(_), Some(attempt)) => Ok(Json(attempt.into())),
        (found, _) => Ok(Json(found?.into())),
    }
}

/// Download the rows of a dataset, as an Avro object container file
#[utoipa::path(get, path = "/v1/backups/{id}/{file}", tag = "backups",
    params(("id" = String, Path, description = "the name of the backup"),
        ("file" = String, Path, description = "the dataset, and `.avro`")), responses(
    (status = 200, body = Vec<u8>, content_type = "application/vnd.apache.avro"),
))]
pub(super) async fn download(
    Read(app, _): Read,
    PathParams((id, file)): PathParams<(String, String)>,
) -> Result<Response, Problem> {
    let folder = tidegate_node::backups::folder(&app.settings);
    let dataset = file.strip_suffix(".avro").map(str::to_owned);
    let dataset =
        dataset.ok_or_else(|| Problem::not_found("the files of a backup are called like DATASET.avro"))?;
    let (file, written) = in_thread(move || folder.open(&id, &dataset)).await?;
    let pieces = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE_BYTES);
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.apache.avro"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(written.bytes));
    // Names of datasets consist of letters, digits and underscores.
    let name = format!("attachment; filename=\"{}.avro\"", written.name);
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).map_err(Problem::internal)?);
    let tag = format!("\"{}\"", written.blake3);
    headers.insert(header::ETAG, HeaderValue::from_str(&tag).map_err(Problem::internal)?);
    Ok(response)
}

/// Runs blocking work on a thread of its own.
pub(super) async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AvroError> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?.map_err(problem)
}

pub(super) fn problem(error: AvroError) -> Problem {
    match error {
        AvroError::Unknown(detail) => Problem::not_found(detail),
        AvroError::Busy(detail) => Problem::conflict(detail),
        AvroError::KeyReused => idempotency::reused(),
        AvroError::Refused(detail) => {
            let (status, word) = (StatusCode::UNPROCESSABLE_ENTITY, "unfit-backup");
            Problem::new(status, word, "a file is damaged, or its rows do not fit", detail)
        }
        error @ AvroError::Io(..) => {
            let error = contract::Error::from(error);
            if !error.retry {
                return error.into();
            }
            tracing::warn!("a request was sent away: {error}");
            // The paths of the server go to the log only.
            Problem::unavailable("the folder of backups cannot be used at the moment; send it again")
        }
        error => contract::Error::from(error).into(),
    }
}
