//! Receives rows and files. A successful answer means that every line is durable and has its position.

use std::io::Write;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::Request as HttpRequest;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_core::ledger::Effects;
use tidegate_core::shape::{self, Shape};
use tidegate_files::UnregisteredFile;
use tidegate_node::ingest_queue::Payload;
use tidegate_node::spool::{SpoolFile, SpoolWriter};
use tidegate_store::{
    Answer, NewSource, Receipt, Request, SourceKind, generated_keys, receipts, registry, source_identity,
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::{Caller, Ingest};
use super::body::{self, BodyChunks, MediaType};
use super::csv_parameters::CsvParameters;
use super::form::Form;
use super::idempotency::{self, IdempotencyHeader};
use super::receipts::{ReceiptBody, RowOutcome};
use super::rows::{self, ROWS_MAX, RowTable};
use super::{PathParams, Problem, QueryParams, Service};

/// How long Postgres may take to answer a check before an upload is accepted.
const ASK_WITHIN: Duration = Duration::from_secs(3);
/// How long a client waits for its rows: the default and the maximum.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How many bytes of an upload are buffered before they are written.
const WRITE_BYTES: usize = 128 << 10;
const NAME_CHARS_MAX: usize = 200;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitParams {
    /// Wait until every line is accounted for, and tell what became of each.
    wait: Option<bool>,
    /// How long to wait, at most: 10 s if it is not given. Then the answer is 202.
    #[param(minimum = 1, maximum = 60)]
    timeout_seconds: Option<u64>,
}

impl WaitParams {
    /// How long to wait; `None` if the request does not wait.
    fn within(&self) -> Result<Option<Duration>, Problem> {
        let within = self.timeout_seconds.map_or(WAIT_DEFAULT, Duration::from_secs);
        if within.is_zero() || within > WAIT_MAX {
            let max = WAIT_MAX.as_secs();
            return Err(Problem::bad_request(format!(
                "timeout_seconds is {}; it is 1 to {max}",
                within.as_secs()
            )));
        }
        Ok(self.wait.unwrap_or(false).then_some(within))
    }
}

/// What was sent for one dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pushed {
    #[serde(flatten)]
    receipt: ReceiptBody,
    /// With `wait=true`: what became of each row, of the first 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<RowOutcome>>,
}

/// What was sent for several datasets.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PushedSeveral {
    /// One for each dataset, in the order in which they were sent.
    receipts: Vec<Pushed>,
}

/// Send rows or a file of one dataset
///
/// JSON (`{"rows": [...]}`) and NDJSON take 1 to 1000 rows; `text/csv`, or the field `file` of a form, takes a file of any
/// size. With an `Idempotency-Key` it may be sent again until it is answered, and enters once.
#[utoipa::path(post, path = "/v1/datasets/{dataset}/rows", tag = "push",
    params(("dataset" = String, Path, description = "the name of the dataset"), WaitParams, IdempotencyHeader),
    request_body(description = "the rows", content(
        (Object = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"), (Object = "multipart/form-data"))),
    responses(
    (status = 202, body = Pushed, description = "every line is durable and has its position"),
    (status = 200, body = Pushed, description = "with wait=true: every line is accounted for"),
))]
pub(super) async fn push(
    Ingest(app, caller): Ingest,
    PathParams(dataset): PathParams<String>,
    QueryParams(waiting): QueryParams<WaitParams>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let (index, _) = app.dataset(&dataset)?;
    let within = waiting.within()?;
    let form = MediaType::of(request.headers())?;
    let identity = identity(&caller, &request)?;
    let name = source_name(request.headers());
    let accepted = match form {
        MediaType::Csv | MediaType::Multipart => upload(&app, index, identity, name, form, request).await?,
        MediaType::Json | MediaType::Ndjson => {
            let body = body::read(&app, request.into_body()).await?;
            let read = if form == MediaType::Json { rows::json } else { rows::ndjson };
            let rows = body::blocking(|| read(&body))?;
            enter_rows(&app, identity, name, &body, vec![(index, rows)]).await?
        }
    };
    let (status, mut pushed) = answer(&app, accepted, within).await?;
    let pushed = pushed.pop().ok_or_else(|| Problem::internal("a request became no source"))?;
    let location = format!("/v1/receipts/{}", pushed.receipt.source);
    Ok((status, [(header::LOCATION, location)], Json(pushed)).into_response())
}

/// Send rows of several datasets
///
/// `{"departments": [...], "jobs": [...]}`, 1 to 1000 rows together. All of them enter or none.
#[utoipa::path(post, path = "/v1/rows", tag = "push",
    params(WaitParams, IdempotencyHeader),
    request_body(content_type = "application/json", content = Object),
    responses(
    (status = 202, body = PushedSeveral, description = "every line is durable and has its position"),
    (status = 200, body = PushedSeveral, description = "with wait=true: every line is accounted for"),
    (status = 404, description = "there is no such dataset"),
))]
pub(super) async fn push_several(
    Ingest(app, caller): Ingest,
    QueryParams(waiting): QueryParams<WaitParams>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let within = waiting.within()?;
    if MediaType::of(request.headers())? != MediaType::Json {
        return Err(body::unsupported("rows of several datasets come as application/json"));
    }
    let identity = identity(&caller, &request)?;
    let name = source_name(request.headers());
    let body = body::read(&app, request.into_body()).await?;
    let mut datasets = Vec::new();
    for (name, rows) in body::blocking(|| rows::datasets(&body, |name| app.dataset(name).map(|_| ())))? {
        let (index, _) = app.dataset(&name)?;
        if !rows.is_empty() {
            datasets.push((index, rows));
        }
    }
    let accepted = enter_rows(&app, identity, name, &body, datasets).await?;
    let (status, receipts) = answer(&app, accepted, within).await?;
    Ok((status, Json(PushedSeveral { receipts })).into_response())
}

/// The identity of a request. A request without a key has an identity of its own.
fn identity(caller: &Caller, request: &HttpRequest) -> Result<[u8; 32], Problem> {
    let named = idempotency::identity(caller, request.headers(), request.uri().path())?;
    let unnamed = || {
        let mut hasher = blake3::Hasher::new();
        hasher.update(Uuid::new_v4().as_bytes()).update(Uuid::new_v4().as_bytes());
        *hasher.finalize().as_bytes()
    };
    Ok(named.unwrap_or_else(unnamed))
}

/// The name of a source: the key of its request.
fn source_name(headers: &HeaderMap) -> String {
    printable(idempotency::key(headers).unwrap_or("request"))
}

/// A name that is safe to show.
fn printable(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
    if name.is_empty() { "upload".to_owned() } else { name }
}

/// A request that was registered.
struct RegisteredRequest {
    sources: Vec<NewSource>,
    answer: Answer,
}

/// Registers the rows of a body, which are of one or more datasets.
async fn enter_rows(
    app: &Service,
    identity: [u8; 32],
    name: String,
    body: &[u8],
    datasets: Vec<(usize, Vec<rows::JsonRow<'_>>)>,
) -> Result<RegisteredRequest, Problem> {
    let ingest_queue = app.ingest_queue()?;
    let manifest = &app.settings.manifest;
    let (mut sources, mut bodies) = (Vec::new(), Vec::new());
    for (index, rows) in datasets {
        let dataset = &manifest.datasets[index];
        let mut table = RowTable::new(dataset, rows)?;
        let first = match table.missing_numbers() {
            Some((start, count)) => generated_keys::take(&app.store, &dataset.name, start, count).await?,
            None => 0,
        };
        table.generate_keys(first);
        let text = table.lines(manifest.max_record_bytes)?;
        sources.push(NewSource {
            dataset: dataset.name.clone(),
            kind: SourceKind::Request,
            name: name.clone(),
            bytes: text.len() as u64,
            lines: Some(table.len() as u64),
            text: Some(text),
            first_key: None,
            shape: Shape::of_rows(manifest, dataset, shape::Form::Mapped),
        });
        bodies.push(Payload::Lines(index));
    }
    let content = *blake3::hash(body).as_bytes();
    let request = Request { identity, content, parameters: Vec::new(), sources: sources.clone() };
    let answer = ingest_queue.enter(request, bodies).await?;
    Ok(RegisteredRequest { sources, answer })
}

/// Receives a file: writes it to the spool, syncs it to disk and registers it.
async fn upload(
    app: &Service,
    index: usize,
    identity: [u8; 32],
    name: String,
    form: MediaType,
    request: HttpRequest,
) -> Result<RegisteredRequest, Problem> {
    // The Content-Type of a form is about the form, and not about the file in it.
    let parameters = match form {
        MediaType::Csv => CsvParameters::of(request.headers())?,
        _ => CsvParameters::default(),
    };
    let ingest_queue = app.ingest_queue()?;
    // Check before the client sends a file in vain.
    ingest_queue.assert_room()?;
    let reached = tokio::time::timeout(ASK_WITHIN, registry::largest(&app.store)).await;
    reached.map_err(|_| Problem::unavailable("Postgres does not answer; send it again"))??;
    let (mut spooling, mut form_name) = (ingest_queue.spool.begin().map_err(spool_problem)?, None);
    if form == MediaType::Csv {
        let mut chunks = BodyChunks::new(request.into_body());
        let mut collected = Vec::new();
        while let Some(chunk) = chunks.next().await? {
            collect(app, &mut spooling, &mut collected, &chunk)?;
        }
        write(&mut spooling, &mut collected)?;
    } else {
        form_name = spool_form(app, request, &mut spooling).await?;
    }
    if spooling.bytes() == 0 {
        return Err(Problem::bad_request("the file is empty"));
    }
    let name = form_name.unwrap_or(name);
    let manifest = &app.settings.manifest;
    let spooled = tokio::task::block_in_place(|| spooling.end()).map_err(spool_problem)?;
    let syntax = parameters.syntax(&manifest.datasets[index].csv.syntax)?;
    let file =
        UnregisteredFile { path: spooled.path(), name: &name, dataset: index, syntax: syntax.as_ref() };
    let shape = file.shape(manifest).map_err(spool_problem)?.map_err(Problem::bad_request)?;
    let dataset = &manifest.datasets[index].name;
    let first_key = first_key(app, &file).await?;
    let SpoolFile { content, bytes, .. } = spooled;
    let source = source_identity(&identity, dataset);
    let (path, fresh) = ingest_queue.spool.keep(spooled, &source).await.map_err(spool_problem)?;
    let new = NewSource {
        dataset: dataset.clone(),
        kind: SourceKind::Upload,
        name,
        bytes,
        lines: None,
        text: None,
        first_key,
        shape,
    };
    let sources = vec![new];
    // Parameters that say what the manifest says are none: the file may be sent again without them.
    let parameters = syntax.as_ref().map(|_| parameters.to_bytes()).unwrap_or_default();
    let request = Request { identity, content, parameters, sources: sources.clone() };
    let offered = Payload::File { dataset: index, path, fresh };
    let answer = ingest_queue.enter(request, vec![offered]).await?;
    Ok(RegisteredRequest { sources, answer })
}

/// The first generated key for lines that lack one, if the dataset's keys are generated.
async fn first_key(app: &Service, file: &UnregisteredFile<'_>) -> Result<Option<i64>, Problem> {
    let manifest = &app.settings.manifest;
    Ok(match file.keys_needed(manifest).await.map_err(spool_problem)? {
        None => None,
        Some(needed) => {
            let dataset = &manifest.datasets[file.dataset].name;
            Some(generated_keys::for_upload(&app.store, dataset, needed).await?)
        }
    })
}

/// Writes the file of a form to the spool. Returns its name as well.
async fn spool_form(
    app: &Service,
    request: HttpRequest,
    spooling: &mut SpoolWriter,
) -> Result<Option<String>, Problem> {
    let (parts, body) = request.into_parts();
    let mut form = Form::new(&parts.headers, BodyChunks::new(body))?;
    let mut name = None;
    while let Some(part) = form.next_part().await? {
        if part.name.as_deref() != Some("file") || name.is_some() {
            return Err(Problem::bad_request("a form has one field, 'file', with the file of CSV"));
        }
        name = Some(printable(part.file_name.as_deref().unwrap_or("upload")));
        let mut collected = Vec::new();
        while let Some(piece) = form.next_piece().await? {
            collect(app, spooling, &mut collected, &piece)?;
        }
        write(spooling, &mut collected)?;
    }
    if name.is_none() {
        return Err(Problem::bad_request("the form has no field 'file' with the file of CSV"));
    }
    Ok(name)
}

fn collect(
    app: &Service,
    spooling: &mut SpoolWriter,
    collected: &mut Vec<u8>,
    chunk: &Bytes,
) -> Result<(), Problem> {
    let max = app.http.max_upload_bytes;
    if spooling.bytes() + (collected.len() + chunk.len()) as u64 > max {
        return Err(Problem::too_large(format!("the file is longer than http.max_upload_bytes, {max}")));
    }
    collected.extend_from_slice(chunk);
    if collected.len() >= WRITE_BYTES { write(spooling, collected) } else { Ok(()) }
}

/// Writes the buffered bytes. Other tasks go on while the disk is busy.
fn write(spooling: &mut SpoolWriter, collected: &mut Vec<u8>) -> Result<(), Problem> {
    tokio::task::block_in_place(|| spooling.write_all(collected)).map_err(spool_problem)?;
    collected.clear();
    Ok(())
}

fn spool_problem(error: std::io::Error) -> Problem {
    tracing::warn!("the spool cannot be written: {error}; make room on the disk of the data directory");
    Problem::unavailable("the server has no room for the file at the moment; send it again")
}

/// The answer: at once, or when every line is accounted for.
async fn answer(
    app: &Service,
    RegisteredRequest { sources, answer }: RegisteredRequest,
    within: Option<Duration>,
) -> Result<(StatusCode, Vec<Pushed>), Problem> {
    if answer == Answer::Another {
        return Err(idempotency::reused());
    }
    let is_done = match within {
        Some(within) => app.watcher.wait(answer.sources(), within).await,
        None => false,
    };
    if let (Answer::New(numbers), None) = (&answer, within) {
        // These receipts are known without a query of Postgres.
        let each = sources.into_iter().zip(numbers);
        let pushed = each.map(|(new, source)| Pushed { receipt: new_receipt(new, *source), rows: None });
        return Ok((StatusCode::ACCEPTED, pushed.collect()));
    }
    let mut receipts = receipts::of_sources(&app.store, answer.sources()).await?;
    receipts.sort_by_key(|receipt| answer.sources().iter().position(|source| *source == receipt.source));
    let mut pushed = Vec::new();
    for receipt in receipts {
        let rows = match receipt.lines.filter(|_| is_done) {
            Some(lines) => {
                let fates = receipts::line_fates(&app.store, receipt.source, lines, ROWS_MAX as u64).await?;
                Some(fates.into_iter().map(RowOutcome::from).collect())
            }
            None => None,
        };
        pushed.push(Pushed { receipt: receipt.into(), rows });
    }
    Ok((if is_done { StatusCode::OK } else { StatusCode::ACCEPTED }, pushed))
}

/// The receipt of a source that was just registered.
fn new_receipt(new: NewSource, source: u64) -> ReceiptBody {
    let NewSource { dataset, kind, name, bytes, lines, .. } = new;
    let known = Receipt {
        source,
        dataset,
        kind,
        name,
        bytes: Some(bytes),
        lines,
        fates: [0; 4],
        effects: Effects::default(),
        repeated: 0,
        skipped: None,
        registered_at: SystemTime::now(),
        completed_at: None,
    };
    known.into()
}
