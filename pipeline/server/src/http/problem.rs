//! Errors as in RFC 9457: `application/problem+json`, with types that do not change.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use tidegate_core::contract;
use tracing::{error, warn};
use utoipa::ToSchema;

/// After how many seconds a refused client may retry.
const RETRY_AFTER_SECONDS: u64 = 1;
/// The longest `detail` of a problem, in characters.
const DETAIL_CHARS_MAX: usize = 4000;

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Problem {
    /// What kind of problem it is: `/problems/` and a word that stays.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened this time, where, and what to do.
    pub(super) detail: String,
    /// More about it, where there is more: the row, the field.
    #[serde(flatten)]
    #[schema(ignore)]
    more: Map<String, Value>,
}

impl Problem {
    /// A problem whose type is `/problems/` and `word`.
    pub(super) fn new(status: StatusCode, word: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{word}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: within_limit(detail.into()),
            more: Map::new(),
        }
    }

    /// 400: the request cannot be understood, or is not allowed as it stands.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "the request is faulty", detail)
    }

    /// 404: the thing does not exist.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "not found", detail)
    }

    /// 413: the request is too large.
    pub(super) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the request is too large", detail)
    }

    /// 409: the current state does not allow the request.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "the current state does not allow the request", detail)
    }

    /// 503, with the time after which to retry: the request cannot be served at the moment.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "not available at the moment", detail)
    }

    /// 503: the pipeline does not run as it should.
    pub(super) fn not_ready(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "the pipeline is not ready", detail)
    }

    /// 500: the request failed. The error goes to the server's log.
    pub(super) fn internal(what: impl std::fmt::Display) -> Self {
        error!("a request failed: {what}");
        let (status, detail) = (StatusCode::INTERNAL_SERVER_ERROR, "it failed; the server's log says why");
        Self::new(status, "internal", "the server failed", detail)
    }

    /// Adds a member.
    pub(super) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.more.insert(member.to_owned(), value.into());
        self
    }
}

/// Cuts a message to its limit, because it may quote any amount of the request.
fn within_limit(mut detail: String) -> String {
    if let Some((end, _)) = detail.char_indices().nth(DETAIL_CHARS_MAX) {
        detail.truncate(end);
        detail.push('…');
    }
    detail
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<contract::Error> for Problem {
    fn from(error: contract::Error) -> Self {
        if error.retry {
            warn!("a request was sent away: {error}");
            // Postgres's own error message goes to the log only.
            return Self::unavailable("Postgres or the pipeline is not there at the moment; send it again");
        }
        Self::internal(error)
    }
}

impl From<tidegate_postgres::PgError> for Problem {
    fn from(error: tidegate_postgres::PgError) -> Self {
        contract::Error::from(error).into()
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::not_found(rejection.body_text())
    }
}
