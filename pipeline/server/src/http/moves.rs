//! What is done with dead letters: replays and discards, of one line or of many.

use std::pin::pin;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidegate_connectors::postgres::Postgres;
use tidegate_connectors::postgres::moves::ask::Wanted;
use tidegate_connectors::postgres::moves::{self, Bulk, Kind, MoveError, Refused};
use tidegate_core::position::Position;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Caller, Operate, Read};
use super::idempotency::{self, IdempotencyKey, told};
use super::letters::{Filter, Reason, Summary, Where, in_answer, read_position};
use super::{App, Asked, Named, Problem, page_limit};

/// How long whoever moves a line waits until it is moved; then the answer is 202.
const WAIT_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(replay))
        .routes(routes!(discard))
        .routes(routes!(replay_many))
        .routes(routes!(discard_many))
        .routes(routes!(jobs))
        .routes(routes!(job))
        .routes(routes!(cancel))
}

/// A replay or a discard, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Move {
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
    status_before: String,
    /// What was against it.
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
    reasons: Vec<Reason>,
}

impl From<moves::Move> for Move {
    fn from(made: moves::Move) -> Self {
        Self {
            number: made.number,
            position: made.position().to_string(),
            kind: made.kind.as_str(),
            job: made.job,
            attempt: made.attempt,
            by: made.by,
            note: made.note,
            status_before: made.status_before,
            reasons_before: in_answer(made.reasons_before),
            text_edited: made.text_edited,
            text_before: made.text_before,
            asked_at: made.asked_at,
            done_at: made.done_at,
            outcome: made.outcome.map(|outcome| outcome.as_str()),
            newer: made.newer,
            reasons: in_answer(made.reasons),
        }
    }
}

/// A bulk replay or discard, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
struct Job {
    job: u64,
    /// `replay` or `discard`.
    kind: &'static str,
    /// `running`, `done` or `cancelled`.
    state: String,
    by: String,
    note: Option<String>,
    /// The filter that gave the list, as it can be sent again.
    #[schema(value_type = Object)]
    filter: serde_json::Value,
    /// At most so many lines a second.
    rate: Option<f64>,
    /// How many lines the list had.
    lines: u64,
    /// How many of them are not moved yet; of a job that was cancelled, how many were not.
    left: u64,
    accepted: u64,
    /// Accepted, and a newer line holds the row.
    superseded: u64,
    /// Rejected again.
    rejected: u64,
    waiting: u64,
    discarded: u64,
    /// No dead letters any more when their turn came.
    passed_over: u64,
    cancelled_by: Option<String>,
    asked_at: String,
    done_at: Option<String>,
}

impl From<moves::Job> for Job {
    fn from(job: moves::Job) -> Self {
        Self {
            job: job.job,
            kind: job.kind.as_str(),
            state: job.state,
            by: job.by,
            note: job.note,
            filter: job.filter,
            rate: job.rate,
            lines: job.lines,
            left: job.left,
            accepted: job.accepted,
            superseded: job.superseded,
            rejected: job.rejected,
            waiting: job.waiting,
            discarded: job.discarded,
            passed_over: job.passed_over,
            cancelled_by: job.cancelled_by,
            asked_at: job.asked_at,
            done_at: job.done_at,
        }
    }
}

/// Bulk replays and discards, the latest first.
#[derive(Debug, Serialize, ToSchema)]
struct Jobs {
    jobs: Vec<Job>,
    /// What to give as `before` to get the next ones; null at the end.
    next: Option<u64>,
}

/// How a line is to be replayed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Replay {
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
struct Discard {
    /// Why: it is kept.
    #[schema(max_length = 2000, pattern = "^[^\\x00]*$")]
    note: Option<String>,
}

/// Which lines are to be moved, and how.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Many {
    /// Which; `{}` for all that are rejected or wait.
    filter: Filter,
    /// Only say how many it would be, by reason.
    #[serde(default)]
    dry_run: bool,
    /// At most so many lines, the oldest.
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
            Refused::Unknown(_) | Refused::NoJob(_) => Self::not_found(detail),
            Refused::Settled(..) | Refused::Asked { .. } | Refused::Dataset(..) | Refused::JobEnded(_) => {
                Self::conflict(detail)
            }
            Refused::NeedsLine(..) | Refused::Line(_) => {
                let (status, word) = (StatusCode::UNPROCESSABLE_ENTITY, "unusable-line");
                Self::new(status, word, "the line cannot be replayed so", detail)
            }
            Refused::Malformed(_) => Self::bad_request(detail),
            Refused::KeyReused => idempotency::reused(),
        }
    }
}

/// Try a line again, at its own position, as it was or edited
///
/// The answer is 200 when it is done, with what came of it; 202 if that takes longer than 10 s. What is asked for is
/// done in any case.
#[utoipa::path(post, path = "/v1/dead-letters/{position}/replay", tag = "dead letters",
    params(Where, IdempotencyKey), request_body(content = Option<Replay>), responses(
    (status = 200, body = Move, description = "it is done; `outcome` says what came of it"),
    (status = 202, body = Move, description = "it is asked for, and not done yet"),
    (status = 409, body = Problem, content_type = "application/problem+json", description = "it is none any more, or is being moved"),
    (status = 422, body = Problem, content_type = "application/problem+json", description = "the line is no record, or one must be given; or the Idempotency-Key was used for other content"),
))]
async fn replay(
    State(app): State<App>,
    Operate(caller): Operate,
    Named(position): Named<String>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let position = read_position(&position)?;
    let (told, keyed) = told(&app, &caller, request).await?;
    let Replay { line, note } = told.unwrap_or_default();
    moved(&app.postgres, position, &Wanted { kind: Kind::Replay, line, by: caller.name, note, keyed }).await
}

/// Give a line up
#[utoipa::path(post, path = "/v1/dead-letters/{position}/discard", tag = "dead letters",
    params(Where, IdempotencyKey), request_body(content = Option<Discard>), responses(
    (status = 200, body = Move, description = "it is done; `outcome` says what came of it"),
    (status = 202, body = Move, description = "it is asked for, and not done yet"),
    (status = 409, body = Problem, content_type = "application/problem+json", description = "it is none any more, or is being moved"),
))]
async fn discard(
    State(app): State<App>,
    Operate(caller): Operate,
    Named(position): Named<String>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let position = read_position(&position)?;
    let (told, keyed) = told(&app, &caller, request).await?;
    let Discard { note } = told.unwrap_or_default();
    let wanted = Wanted { kind: Kind::Discard, line: None, by: caller.name, note, keyed };
    moved(&app.postgres, position, &wanted).await
}

/// Asks for a move, and waits a while until it is made.
async fn moved(postgres: &Postgres, position: Position, wanted: &Wanted) -> Result<Response, Problem> {
    let asked = postgres.ask_move(position, wanted).await?;
    let begun = Instant::now();
    loop {
        let mut made = pin!(postgres.moves_made());
        made.as_mut().enable();
        match postgres.a_move(asked.number).await {
            Ok(Some(made)) if made.done_at.is_some() => {
                return Ok((StatusCode::OK, Json(Move::from(made))).into_response());
            }
            Ok(_) if begun.elapsed() < WAIT_MAX => {
                // Where another process makes it, nobody rings.
                let _ = tokio::time::timeout(LOOK_EVERY, made).await;
            }
            // It is kept that it was asked for, so it is not to be asked for again.
            _ => return Ok((StatusCode::ACCEPTED, Json(Move::from(asked))).into_response()),
        }
    }
}

/// Try many lines again
///
/// The list of lines is fixed when it is asked for. With `dry_run` it is only counted, by reason.
#[utoipa::path(post, path = "/v1/dead-letters/replay", tag = "dead letters", params(IdempotencyKey), request_body = Many, responses(
    (status = 200, body = Summary, description = "with dry_run: what it would be"),
    (status = 202, body = Job, description = "the list is fixed; the job's path is in Location"),
))]
async fn replay_many(
    State(app): State<App>,
    Operate(caller): Operate,
    request: HttpRequest,
) -> Result<Response, Problem> {
    many(&app, Kind::Replay, caller, request).await
}

/// Give many lines up
///
/// The list of lines is fixed when it is asked for. With `dry_run` it is only counted, by reason.
#[utoipa::path(post, path = "/v1/dead-letters/discard", tag = "dead letters", params(IdempotencyKey), request_body = Many, responses(
    (status = 200, body = Summary, description = "with dry_run: what it would be"),
    (status = 202, body = Job, description = "the list is fixed; the job's path is in Location"),
))]
async fn discard_many(
    State(app): State<App>,
    Operate(caller): Operate,
    request: HttpRequest,
) -> Result<Response, Problem> {
    many(&app, Kind::Discard, caller, request).await
}

async fn many(app: &App, kind: Kind, caller: Caller, request: HttpRequest) -> Result<Response, Problem> {
    let (told, keyed) = told::<Many>(app, &caller, request).await?;
    let missing = || Problem::bad_request("there is no body; say which lines with {\"filter\": {...}}");
    let Many { filter, dry_run, limit, rate, note } = told.ok_or_else(missing)?;
    let bulk = Bulk { kind, filter: filter.read()?, limit, rate, by: caller.name, note, keyed };
    if dry_run {
        let preview = app.readers.preview_moves(&bulk).await?;
        let need_a_line = (kind == Kind::Replay).then_some(preview.need_a_line);
        return Ok(Json(Summary::of_move(preview.counted, need_a_line)).into_response());
    }
    let job = app.postgres.ask_moves(&bulk).await?;
    let location = [(header::LOCATION, format!("/v1/dead-letters/jobs/{}", job.job))];
    Ok((StatusCode::ACCEPTED, location, Json(Job::from(job))).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct JobsPage {
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
async fn jobs(State(app): State<App>, _: Read, Asked(page): Asked<JobsPage>) -> Result<Json<Jobs>, Problem> {
    let limit = page_limit(page.limit)?;
    let found = app.readers.jobs(page.before, limit).await?;
    let next = found.last().filter(|_| found.len() as u32 == limit).map(|last| last.job);
    Ok(Json(Jobs { jobs: found.into_iter().map(Job::from).collect(), next }))
}

/// Show how far a bulk replay or discard is
#[utoipa::path(get, path = "/v1/dead-letters/jobs/{job}", tag = "dead letters",
    params(("job" = u64, Path, description = "the number of the job", minimum = 1)), responses(
    (status = 200, body = Job),
))]
async fn job(State(app): State<App>, _: Read, Named(job): Named<u64>) -> Result<Json<Job>, Problem> {
    let found = app.readers.job(job).await?;
    Ok(Json(found.ok_or_else(|| Problem::from(MoveError::from(Refused::NoJob(job))))?.into()))
}

/// End a bulk replay or discard
///
/// Lines whose turn has not come stay what they are.
#[utoipa::path(post, path = "/v1/dead-letters/jobs/{job}/cancel", tag = "dead letters",
    params(("job" = u64, Path, description = "the number of the job", minimum = 1)), responses(
    (status = 200, body = Job),
    (status = 409, body = Problem, content_type = "application/problem+json", description = "it has ended already")
))]
async fn cancel(
    State(app): State<App>,
    Operate(caller): Operate,
    Named(job): Named<u64>,
) -> Result<Json<Job>, Problem> {
    Ok(Json(app.postgres.cancel_job(job, &caller.name).await?.into()))
}
