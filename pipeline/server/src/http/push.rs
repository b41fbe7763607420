//! Rows and files in. An answer says that every line is durable and has its position.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_connectors::csv;
use tidegate_connectors::postgres::{
    Answer, NewSource, Receipt as Known, Request, SourceKind, source_identity,
};
use tidegate_core::ledger::Effects;
use tidegate_core::manifest::Generated;
use tidegate_core::shape::Shape;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::auth::{Caller, Ingest};
use super::body::{self, Chunks, Sent};
use super::form::Form;
use super::idempotency::{self, IdempotencyKey};
use super::receipts::{Receipt, RowOutcome};
use super::rows::{self, ROWS_MAX, Table};
use super::{App, Asked, Named, Problem, Service};
use crate::intake::Offered;
use crate::spool::{Spooled, Spooling};

/// How long Postgres may take to say that it is there, before a file is taken.
const ASK_WITHIN: Duration = Duration::from_secs(3);
/// How long a client waits for its rows if it does not say, and at most.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How much of an upload is collected before it is written.
const WRITE_BYTES: usize = 128 << 10;
const NAME_CHARS_MAX: usize = 200;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(push)).routes(routes!(push_several))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Waiting {
    /// Wait until every line is accounted for, and tell what became of each.
    wait: Option<bool>,
    /// How long to wait, at most: 10 s if it is not given. Then the answer is 202.
    #[param(minimum = 1, maximum = 60)]
    timeout_seconds: Option<u64>,
}

impl Waiting {
    /// How long to wait, if at all.
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
struct Pushed {
    #[serde(flatten)]
    receipt: Receipt,
    /// With `wait=true`: what became of each row, of the first 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<RowOutcome>>,
}

/// What was sent for several datasets.
#[derive(Debug, Serialize, ToSchema)]
struct PushedSeveral {
    /// One for each dataset, in the order in which they were sent.
    receipts: Vec<Pushed>,
}

/// Send rows or a file of one dataset
///
/// JSON (`{"rows": [...]}`) and NDJSON take 1 to 1000 rows; `text/csv`, or the field `file` of a form, takes a file of any
/// size. With an `Idempotency-Key` it may be sent again until it is answered, and enters once.
#[utoipa::path(post, path = "/v1/datasets/{dataset}/rows", tag = "push",
    params(("dataset" = String, Path, description = "the name of the dataset"), Waiting, IdempotencyKey),
    request_body(description = "the rows", content(
        (Object = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"), (Object = "multipart/form-data"))),
    responses(
    (status = 202, body = Pushed, description = "every line is durable and has its position"),
    (status = 200, body = Pushed, description = "with wait=true: every line is accounted for"),
))]
async fn push(
    State(app): State<App>,
    Ingest(caller): Ingest,
    Named(dataset): Named<String>,
    Asked(waiting): Asked<Waiting>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let (index, _) = app.dataset(&dataset)?;
    let within = waiting.within()?;
    let form = Sent::of(request.headers())?;
    let identity = identity(&caller, &request)?;
    let name = name_of(request.headers());
    let accepted = match form {
        Sent::Csv | Sent::Multipart => upload(&app, (index, identity, name), form, request).await?,
        Sent::Json | Sent::Ndjson => {
            let body = body::read(&app.room, request.into_body(), app.http.max_body_bytes).await?;
            let rows =
                body::aside(|| if form == Sent::Json { rows::json(&body) } else { rows::ndjson(&body) })?;
            enter_rows(&app, (identity, name), &body, vec![(index, rows)]).await?
        }
    };
    let (status, mut pushed) = answer(&app, accepted, within).await?;
    let pushed = pushed.pop().ok_or_else(|| Problem::internal("a request became no source"))?;
    let location = format!("/v1/receipts/{}", pushed.receipt.source());
    let location = HeaderValue::from_str(&location).map_err(Problem::internal)?;
    Ok((status, [(header::LOCATION, location)], Json(pushed)).into_response())
}

/// Send rows of several datasets
///
/// `{"departments": [...], "jobs": [...]}`, 1 to 1000 rows together. All of them enter or none.
#[utoipa::path(post, path = "/v1/rows", tag = "push",
    params(Waiting, IdempotencyKey),
    request_body(content_type = "application/json", content = Object),
    responses(
    (status = 202, body = PushedSeveral, description = "every line is durable and has its position"),
    (status = 200, body = PushedSeveral, description = "with wait=true: every line is accounted for"),
    (status = 404, body = Problem, content_type = "application/problem+json", description = "there is no such dataset"),
))]
async fn push_several(
    State(app): State<App>,
    Ingest(caller): Ingest,
    Asked(waiting): Asked<Waiting>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let within = waiting.within()?;
    if Sent::of(request.headers())? != Sent::Json {
        return Err(body::unsupported("rows of several datasets come as application/json".to_owned()));
    }
    let identity = identity(&caller, &request)?;
    let name = name_of(request.headers());
    let body = body::read(&app.room, request.into_body(), app.http.max_body_bytes).await?;
    let mut datasets = Vec::new();
    for (name, rows) in body::aside(|| rows::several(&body, |name| app.dataset(name).map(|_| ())))? {
        let (index, _) = app.dataset(&name)?;
        if !rows.is_empty() {
            datasets.push((index, rows));
        }
    }
    let accepted = enter_rows(&app, (identity, name), &body, datasets).await?;
    let (status, receipts) = answer(&app, accepted, within).await?;
    Ok((status, Json(PushedSeveral { receipts })).into_response())
}

/// What makes a request one and the same. One that does not name itself is like no other.
fn identity(caller: &Caller, request: &HttpRequest) -> Result<[u8; 32], Problem> {
    let named = idempotency::identity(caller, request.headers(), request.uri().path())?;
    let unnamed = || {
        let mut hasher = blake3::Hasher::new();
        hasher.update(Uuid::new_v4().as_bytes()).update(Uuid::new_v4().as_bytes());
        *hasher.finalize().as_bytes()
    };
    Ok(named.unwrap_or_else(unnamed))
}

/// What people know a source by: how its request names itself.
fn name_of(headers: &HeaderMap) -> String {
    printable(idempotency::key(headers).unwrap_or("request"))
}

/// A name that does no harm where it is shown.
fn printable(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
    if name.is_empty() { "upload".to_owned() } else { name }
}

/// A request that was registered.
struct Accepted {
    sources: Vec<NewSource>,
    answer: Answer,
}

/// Registers rows of one or more datasets, which `body` said.
async fn enter_rows(
    app: &Service,
    (identity, name): ([u8; 32], String),
    body: &[u8],
    datasets: Vec<(usize, Vec<rows::Row<'_>>)>,
) -> Result<Accepted, Problem> {
    let intake = app.intake()?;
    let manifest = &app.settings.manifest;
    let (mut sources, mut bodies) = (Vec::new(), Vec::new());
    for (index, rows) in datasets {
        let dataset = &manifest.datasets[index];
        let mut table = Table::new(dataset, rows)?;
        let first = match table.missing_numbers() {
            Some((start, count)) => app.postgres.take_keys(&dataset.name, start, count).await?,
            None => 0,
        };
        table.give_keys(first);
        let text = table.lines(manifest.max_record_bytes)?;
        sources.push(NewSource {
            dataset: dataset.name.clone(),
            kind: SourceKind::Request,
            name: name.clone(),
            bytes: text.len() as u64,
            lines: Some(table.len() as u64),
            text: Some(text),
            first_key: None,
            shape: Shape::of(manifest, dataset),
        });
        bodies.push(Offered::Lines(index));
    }
    let content = *blake3::hash(body).as_bytes();
    let request = Request { identity, content, sources: sources.clone() };
    let answer = intake.enter(request, bodies).await?;
    Ok(Accepted { sources, answer })
}

/// Takes a file in: to the spool, onto the disk, into the registry.
async fn upload(
    app: &Service,
    (index, identity, name): (usize, [u8; 32], String),
    form: Sent,
    request: HttpRequest,
) -> Result<Accepted, Problem> {
    let intake = app.intake()?;
    // Before a file is sent in vain.
    intake.assert_room()?;
    let reached = tokio::time::timeout(ASK_WITHIN, app.postgres.largest_source()).await;
    reached.map_err(|_| Problem::unavailable("Postgres does not answer; send it again"))??;
    let (mut spooling, mut kind_name) = (intake.spool.begin().map_err(disk)?, None);
    if form == Sent::Csv {
        let mut chunks = Chunks::new(request.into_body());
        let mut collected = Vec::new();
        while let Some(chunk) = chunks.next().await? {
            collect(app, &mut spooling, &mut collected, &chunk)?;
        }
        write(&mut spooling, &mut collected)?;
    } else {
        kind_name = spool_form(app, request, &mut spooling).await?;
    }
    if spooling.bytes() == 0 {
        return Err(Problem::bad_request("the file is empty"));
    }
    let manifest = &app.settings.manifest;
    let spooled = tokio::task::block_in_place(|| spooling.end()).map_err(disk)?;
    let shape = csv::shape(spooled.path(), index, manifest).map_err(disk)?;
    let shape = shape.map_err(Problem::bad_request)?;
    let dataset = &manifest.datasets[index].name;
    let first_key = first_key(app, index, &spooled).await?;
    let Spooled { content, bytes, .. } = spooled;
    let source = source_identity(&identity, dataset);
    let fresh = !intake.spool.path(&source, &content).exists();
    let path = intake.spool.keep(spooled, &source, &content).await.map_err(disk)?;
    let new = NewSource {
        dataset: dataset.clone(),
        kind: SourceKind::Upload,
        name: kind_name.unwrap_or(name),
        bytes,
        lines: None,
        text: None,
        first_key,
        shape,
    };
    let sources = vec![new];
    let request = Request { identity, content, sources: sources.clone() };
    let offered = Offered::File { dataset: index, path, fresh };
    let answer = intake.enter(request, vec![offered]).await?;
    Ok(Accepted { sources, answer })
}

/// What the keys of lines that lack one begin with, if the dataset's keys are generated.
async fn first_key(app: &Service, index: usize, spooled: &Spooled) -> Result<Option<i64>, Problem> {
    let manifest = &app.settings.manifest;
    let dataset = &manifest.datasets[index];
    Ok(match dataset.key_column().generated {
        None => None,
        Some(Generated::Uuid) => {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Some(since_1970.as_millis() as i64)
        }
        Some(Generated::Sequence { start }) => {
            let lines = csv::count_lines(spooled.path(), index, manifest).await.map_err(disk)?;
            Some(app.postgres.take_keys(&dataset.name, start, lines).await?)
        }
    })
}

/// Takes the file out of a form. Gives its name.
async fn spool_form(
    app: &Service,
    request: HttpRequest,
    spooling: &mut Spooling,
) -> Result<Option<String>, Problem> {
    let (parts, body) = request.into_parts();
    let mut form = Form::new(&parts.headers, Chunks::new(body))?;
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
    spooling: &mut Spooling,
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

/// Writes what was collected. A disk may take its time: others go on meanwhile.
fn write(spooling: &mut Spooling, collected: &mut Vec<u8>) -> Result<(), Problem> {
    tokio::task::block_in_place(|| spooling.write(collected)).map_err(disk)?;
    collected.clear();
    Ok(())
}

fn disk(error: std::io::Error) -> Problem {
    tracing::warn!("the spool cannot be written: {error}; make room on the disk of the data directory");
    Problem::unavailable("the server has no room for the file at the moment; send it again")
}

/// What to answer: at once, or when every line is accounted for.
async fn answer(
    app: &Service,
    Accepted { sources, answer }: Accepted,
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
        // Nothing that Postgres would have to be asked about.
        let each = sources.into_iter().zip(numbers);
        let pushed = each.map(|(new, source)| Pushed { receipt: fresh(new, *source), rows: None });
        return Ok((StatusCode::ACCEPTED, pushed.collect()));
    }
    let mut receipts = app.postgres.receipts_of(answer.sources()).await?;
    receipts.sort_by_key(|receipt| answer.sources().iter().position(|source| *source == receipt.source));
    let mut pushed = Vec::new();
    for receipt in receipts {
        let rows = match receipt.lines.filter(|_| is_done) {
            Some(lines) => {
                let fates = app.postgres.line_fates(receipt.source, lines, ROWS_MAX as u64).await?;
                Some(fates.into_iter().map(RowOutcome::from).collect())
            }
            None => None,
        };
        pushed.push(Pushed { receipt: receipt.into(), rows });
    }
    Ok((if is_done { StatusCode::OK } else { StatusCode::ACCEPTED }, pushed))
}

/// The receipt of a source that was registered just now.
fn fresh(new: NewSource, source: u64) -> Receipt {
    let NewSource { dataset, kind, name, bytes, lines, .. } = new;
    let known = Known {
        source,
        dataset,
        kind: kind.as_str().to_owned(),
        name,
        bytes: Some(bytes),
        lines,
        fates: [0; 4],
        effects: Effects::default(),
        repeated: 0,
        registered_at: SystemTime::now(),
        completed_at: None,
    };
    known.into()
}
