//! Replays and discards of dead letters, of one line or many.

use std::pin::pin;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::Request as HttpRequest;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidegate_core::dead_letter::Reason;
use tidegate_core::position::Position;
use tidegate_store::Store;
use tidegate_store::filter::ReasonSchema;
use tidegate_store::moves::ask::{self, MoveRequest};
use tidegate_store::moves::{self, BulkMove, Job, Kind, MoveError, Refusal, jobs};
use utoipa::{IntoParams, ToSchema};

use super::auth::{Caller, Operate, Read};
use super::dead_letters::{Filter, PositionParam, Summary, read_position};
use super::idempotency::{self, IdempotencyHeader, keyed_json};
use super::{App, JsonResult, PathParams, Problem, QueryParams, body, page_limit};

/// How long a request that moves a line waits until it is moved. After that the answer is 202.
const WAIT_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A replay or a discard, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Move)]
pub(super) struct MoveBody {
    number: u64,
    /// Where the line stands: `SOURCE:LINE`.
    position: String,
    /// `replay` or `discard`.
    kind: &'static str,
    /// The job that it is of, if it is of one.
    job: Option<u64>,
    /// The number of the replay; of a discard, of the last one.
    attempt: u32,
    /// Who asked for it.
    by: String,
    note: Option<String>,
    /// What it was: `rejected` or `waiting`.
    status_before: &'static str,
    /// What was against it.
    #[schema(value_type = Vec<ReasonSchema>)]
    reasons_before: Vec<Reason>,
    /// The line as it is to be, if it was edited.
    text_edited: Option<String>,
    /// The line as it was, if it was edited and was text.
    text_before: Option<String>,
    asked_at: String,
    /// When it was made; null while it is not.
    done_at: Option<String>,
    /// `accepted`; `superseded`: accepted, and a newer line holds the row; `rejected` again; `waiting` for a reference;
    /// `discarded`; `passed_over`: it was no dead letter any more. Null while it is not made.
    outcome: Option<&'static str>,
    /// The newer line that holds the row: `SOURCE:LINE`.
    newer: Option<String>,
    /// What is against the line now.
    #[schema(value_type = Vec<ReasonSchema>)]
    reasons: Vec<Reason>,
}

impl From<moves::Move> for MoveBody {
    fn from(made: moves::Move) -> Self {
        Self {
            number: made.number,
            position: made.position().to_string(),
            kind: made.kind.as_str(),
            job: made.job,
            attempt: made.attempt,
            by: made.by,
            note: made.note,
            status_before: made.status_before.as_str(),
            reasons_before: made.reasons_before,
            text_edited: made.text_edited,
            text_before: made.text_before,
            asked_at: made.asked_at,
            done_at: made.done_at,
            outcome: made.outcome.map(|outcome| outcome.as_str()),
            newer: made.newer,
            reasons: made.reasons,
        }
    }
}

/// Bulk replays and discards, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Jobs {
    jobs: Vec<Job>,
    /// What to give as `before` to get the next ones; null at the end.
    next: Option<u64>,
}

/// How a line is to be replayed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Replay {
    /// The line as it is to be: all fields in the manifest's order, in the dialect of the dataset. As it was, if it is
    /// not given.
    #[schema(pattern = "^[^\\x00]*$")]
    line: Option<String>,
    /// Why: it is kept.
    #[schema(max_length = 2000, pattern = "^[^\\x00]*$")]
    note: Option<String>,
}

/// How a line is to be discarded.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Discard {
    /// Why: it is kept.
    #[schema(max_length = 2000, pattern = "^[^\\x00]*$")]
    note: Option<String>,
}

/// Which lines are to be moved, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Many {
    /// Which; `{}` for all that are rejected or wait.
    filter: Filter,
    /// Only say how many it would be, by reason.
    #[serde(default)]
    dry_run: bool,
    /// At most so many lines, the oldest.
    #[serde(default, deserialize_with = "body::whole_number")]
    #[schema(minimum = 1)]
    limit: Option<u64>,
    /// At most so many lines a second.
    #[schema(exclusive_minimum = 0, maximum = 1000000000)]
    rate: Option<f64>,
    /// Why: it is kept.
    #[schema(max_length = 2000, pattern = "^[^\\x00]*$")]
    note: Option<String>,
}

impl From<MoveError> for Problem {
    fn from(error: MoveError) -> Self {
        let refused = match error {
            MoveError::Postgres(error) => return error.into(),
            MoveError::Refused(refused) => refused,
        };
        let detail = refused.to_string();
        match refused {
            Refusal::Unknown(_) | Refusal::NoJob(_) => Self::not_found(detail),
            Refusal::Settled(..) | Refusal::Asked { .. } | Refusal::Dataset(..) | Refusal::JobEnded(_) => {
                Self::conflict(detail)
            }
            Refusal::NeedsLine(..) | Refusal::Line(_) => {
                let (status, word) = (StatusCode::UNPROCESSABLE_ENTITY, "unusable-line");
                Self::new(status, word, "the line cannot be replayed as it is given", detail)
            }
            Refusal::Malformed(_) => Self::bad_request(detail),
            Refusal::KeyReused => idempotency::reused(),
        }
    }
}

/// Try a line again, at its own position, as it was or edited
///
/// The answer is 200 when it is done, with what came of it; 202 if that takes longer than 10 s. What is asked for is
/// done in any case.
#[utoipa::path(post, path = "/v1/dead-letters/{position}/replay", tag = "dead letters",
    params(PositionParam, IdempotencyHeader), request_body(content = Option<Replay>), responses(
    (status = 200, body = MoveBody, description = "it is done; `outcome` says what came of it"),
    (status = 202, body = MoveBody, description = "it is asked for, and not done yet"),
    (status = 409, description = "it is none any more, or is being moved"),
    (status = 422, description = "the line is no record, or one must be given; or the Idempotency-Key was used for other content"),
))]
pub(super) async fn replay(
    Operate(app, caller): Operate,
    PathParams(position): PathParams<String>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let position = read_position(&position)?;
    let (told, idempotency_key) = keyed_json(&app, &caller, request).await?;
    let Replay { line, note } = told.unwrap_or_default();
    ask_and_wait(
        &app.store,
        position,
        &MoveRequest { kind: Kind::Replay, line, by: caller.name, note, idempotency_key },
    )
    .await
}

/// Give a line up
#[utoipa::path(post, path = "/v1/dead-letters/{position}/discard", tag = "dead letters",
    params(PositionParam, IdempotencyHeader), request_body(content = Option<Discard>), responses(
    (status = 200, body = MoveBody, description = "it is done; `outcome` says what came of it"),
    (status = 202, body = MoveBody, description = "it is asked for, and not done yet"),
    (status = 409, description = "it is none any more, or is being moved"),
))]
pub(super) async fn discard(
    Operate(app, caller): Operate,
    PathParams(position): PathParams<String>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let position = read_position(&position)?;
    let (told, idempotency_key) = keyed_json(&app, &caller, request).await?;
    let Discard { note } = told.unwrap_or_default();
    let wanted = MoveRequest { kind: Kind::Discard, line: None, by: caller.name, note, idempotency_key };
    ask_and_wait(&app.store, position, &wanted).await
}

/// Requests a move, and waits for a while until it is made.
async fn ask_and_wait(store: &Store, position: Position, wanted: &MoveRequest) -> Result<Response, Problem> {
    let asked = ask::ask(store, position, wanted).await?;
    let begun = Instant::now();
    loop {
        let mut made = pin!(moves::made(store));
        made.as_mut().enable();
        match moves::find(store, asked.number).await {
            Ok(Some(made)) if made.done_at.is_some() => {
                return Ok((StatusCode::OK, Json(MoveBody::from(made))).into_response());
            }
            Ok(_) if begun.elapsed() < WAIT_MAX => {
                // If another process makes the move, no notification comes.
                let _ = tokio::time::timeout(LOOK_EVERY, made).await;
            }
            // The request is stored, so the client must not send it again.
            _ => return Ok((StatusCode::ACCEPTED, Json(MoveBody::from(asked))).into_response()),
        }
    }
}

/// Try many lines again
///
/// The list of lines is fixed when it is asked for. With `dry_run` it is only counted, by reason.
#[utoipa::path(post, path = "/v1/dead-letters/replay", tag = "dead letters", params(IdempotencyHeader), request_body = Many, responses(
    (status = 200, body = Summary, description = "with dry_run: what it would be"),
    (status = 202, body = Job, description = "the list is fixed; the job's path is in Location"),
))]
pub(super) async fn replay_many(
    Operate(app, caller): Operate,
    request: HttpRequest,
) -> Result<Response, Problem> {
    move_many(&app, Kind::Replay, caller, request).await
}

/// Give many lines up
///
/// The list of lines is fixed when it is asked for. With `dry_run` it is only counted, by reason.
#[utoipa::path(post, path = "/v1/dead-letters/discard", tag = "dead letters", params(IdempotencyHeader), request_body = Many, responses(
    (status = 200, body = Summary, description = "with dry_run: what it would be"),
    (status = 202, body = Job, description = "the list is fixed; the job's path is in Location"),
))]
pub(super) async fn discard_many(
    Operate(app, caller): Operate,
    request: HttpRequest,
) -> Result<Response, Problem> {
    move_many(&app, Kind::Discard, caller, request).await
}

async fn move_many(app: &App, kind: Kind, caller: Caller, request: HttpRequest) -> Result<Response, Problem> {
    let (told, idempotency_key) = keyed_json::<Many>(app, &caller, request).await?;
    let missing = || Problem::bad_request("there is no body; say which lines with {\"filter\": {...}}");
    let Many { filter, dry_run, limit, rate, note } = told.ok_or_else(missing)?;
    let bulk =
        BulkMove { kind, filter: filter.filter()?, limit, rate, by: caller.name, note, idempotency_key };
    if dry_run {
        let preview = jobs::preview(&app.readers, &bulk).await?;
        let need_a_line = (kind == Kind::Replay).then_some(preview.need_a_line);
        return Ok(Json(Summary::new(preview.counted, need_a_line)).into_response());
    }
    let job = jobs::ask(&app.store, &bulk).await?;
    let location = [(header::LOCATION, format!("/v1/dead-letters/jobs/{}", job.job))];
    Ok((StatusCode::ACCEPTED, location, Json(job)).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct JobsPage {
    /// Only jobs with a smaller number.
    #[param(minimum = 1)]
    before: Option<u64>,
    /// How many, at most: 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// List bulk replays and discards, the latest first
#[utoipa::path(get, path = "/v1/dead-letters/jobs", tag = "dead letters", params(JobsPage), responses(
    (status = 200, body = Jobs),
))]
pub(super) async fn jobs(Read(app, _): Read, QueryParams(page): QueryParams<JobsPage>) -> JsonResult<Jobs> {
    let limit = page_limit(page.limit)?;
    let found = jobs::list(&app.readers, page.before, limit).await?;
    let next = found.last().filter(|_| found.len() as u32 == limit).map(|last| last.job);
    Ok(Json(Jobs { jobs: found, next }))
}

/// Show how far a bulk replay or discard is
#[utoipa::path(get, path = "/v1/dead-letters/jobs/{job}", tag = "dead letters",
    params(("job" = u64, Path, description = "the number of the job", minimum = 1)), responses(
    (status = 200, body = Job),
))]
pub(super) async fn job(Read(app, _): Read, PathParams(job): PathParams<u64>) -> JsonResult<Job> {
    let found = jobs::find(&app.readers, job).await?;
    found.map(Json).ok_or_else(|| MoveError::from(Refusal::NoJob(job)).into())
}

/// End a bulk replay or discard
///
/// Lines whose turn has not come stay what they are.
#[utoipa::path(post, path = "/v1/dead-letters/jobs/{job}/cancel", tag = "dead letters",
    params(("job" = u64, Path, description = "the number of the job", minimum = 1)), responses(
    (status = 200, body = Job),
    (status = 409, description = "it has ended already")
))]
pub(super) async fn cancel(
    Operate(app, caller): Operate,
    PathParams(job): PathParams<u64>,
) -> JsonResult<Job> {
    Ok(Json(jobs::cancel(&app.store, job, &caller.name).await?))
}
