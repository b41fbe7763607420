//! Backups. Clients name those of the pipeline's own folder, and never a path.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tidegate_connectors::avro::{self, Options, Written};
use tidegate_core::contract;
use tidegate_core::manifest::Codec;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Caller, Operate, Read};
use super::idempotency::{self, IdempotencyKey, told};
use super::taking::Attempt;
use super::{App, Asked, Named, Problem, page_limit};
use crate::backups;

/// How long whoever asks for a backup waits until it is there; it goes on after that.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const PIECE_BYTES: usize = 64 * 1024;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, take)).routes(routes!(show)).routes(routes!(download))
}

/// All tables, or some, as they were at one moment.
#[derive(Debug, Serialize, ToSchema)]
struct Backup {
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

impl From<Attempt> for Backup {
    fn from(attempt: Attempt) -> Self {
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
/// All tables are read at one moment, while rows go on coming in. It is there, under its name, when all of it is on disk:
/// the answer is 201 then. If that takes longer than 10 s it is 202, and `Location` tells how far it is.
#[utoipa::path(post, path = "/v1/backups", tag = "backups", params(IdempotencyKey),
    request_body(content = Option<BackupRequest>, description = "what is backed up; everything if there is no body"),
    responses(
    (status = 201, body = Backup, description = "it is there", headers(("Location" = String, description = "where it is"))),
    (status = 202, body = Backup, description = "it takes longer; `state` at Location says how far it is",
        headers(("Location" = String, description = "where to follow it"))),
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
    if let Some(keyed) = &keyed
        && let Some(attempt) = app.taking.of_request(&keyed.identity)
    {
        let is_same = attempt.keyed == Some(*keyed);
        return if is_same { Ok(answer(attempt.into())) } else { Err(idempotency::reused()) };
    }
    let options = Options { datasets: wanted.datasets, codec, keyed };
    let (tell, mut named) = oneshot::channel();
    // It goes on if the client goes away.
    let mut taking = tokio::spawn(taken(app.clone(), caller, options, tell));
    let soon = tokio::time::timeout(ANSWER_WITHIN, &mut taking).await;
    let taken = match soon {
        Ok(taken) => taken,
        // One without a name is none yet: Postgres was not reached.
        Err(_) => tokio::select! {
            taken = &mut taking => taken,
            Ok(id) = &mut named => match app.taking.of(&id) {
                Some(attempt) => return Ok(answer(attempt.into())),
                None => taking.await,
            },
        },
    };
    Ok(answer(taken.map_err(Problem::internal)??.into()))
}

/// Takes a backup, and keeps account of it. Tells its name.
async fn taken(
    app: App,
    Caller { name: by }: Caller,
    options: Options,
    tell: oneshot::Sender<String>,
) -> Result<avro::Backup, Problem> {
    let (codec, keyed) = (options.codec.as_str(), options.keyed);
    let name = Arc::new(OnceLock::new());
    let named = |id: &str| {
        let id = id.to_owned();
        let _ = name.set(id.clone());
        app.taking.begin(Attempt { id: id.clone(), codec, keyed, begun_at: SystemTime::now(), error: None });
        let _ = tell.send(id); // who asked may have gone
    };
    let taken = avro::backup_named(&app.postgres, &backups::folder(&app.settings), &options, named).await;
    match taken {
        Ok(backup) => {
            tracing::info!(backup = backup.id, by, "backed up");
            app.taking.taken(&backup.id);
            Ok(backup)
        }
        Err(error) => {
            tracing::warn!(by, "no backup was made: {error}");
            let problem = problem(error);
            if let Some(id) = name.get() {
                app.taking.failed(id, problem.detail().to_owned());
            }
            Err(problem)
        }
    }
}

/// A backup that was asked for: it is there, or it is being taken.
fn answer(backup: Backup) -> Response {
    let status = if backup.state == "done" { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    let location = format!("/v1/backups/{}", backup.id);
    (status, [(header::LOCATION, location)], Json(backup)).into_response()
}

/// Show a backup, or how far it is
///
/// One that was not there when its process ended is not known any more.
#[utoipa::path(get, path = "/v1/backups/{id}", tag = "backups",
    params(("id" = String, Path, description = "the name of the backup")), responses(
    (status = 200, body = Backup),
))]
async fn show(State(app): State<App>, _: Read, Named(id): Named<String>) -> Result<Json<Backup>, Problem> {
    let folder = backups::folder(&app.settings);
    let attempt = app.taking.of(&id);
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

/// Does what blocks beside the runtime.
pub(super) async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, avro::Error> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?.map_err(problem)
}

pub(super) fn problem(error: avro::Error) -> Problem {
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
