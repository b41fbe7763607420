//! Errors as RFC 9457 has them: `application/problem+json`, with types that stay.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use tidegate_connectors::postgres;
use tidegate_core::contract;
use tracing::{error, warn};
use utoipa::ToSchema;

/// When whoever was sent away may ask again, in seconds.
const RETRY_AFTER_SECONDS: u64 = 1;
/// How long the words about a problem may be.
const DETAIL_CHARS_MAX: usize = 4000;

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What kind of problem it is: `/problems/` and a word that stays.
    #[serde(rename = "type")]
    kind: String,
    /// The kind in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened this time, where, and what to do.
    detail: String,
    /// More about it, where there is more: the row, the field.
    #[serde(flatten)]
    #[schema(ignore)]
    more: Map<String, Value>,
}

impl Problem {
    /// A problem of a kind that is the status in other words.
    pub(crate) fn new(status: StatusCode, word: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{word}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: within_limit(detail.into()),
            more: Map::new(),
        }
    }

    /// What was asked cannot be understood, or is not allowed as it stands: 400.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "the request is faulty", detail)
    }

    /// There is no such thing: 404.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "there is no such thing", detail)
    }

    /// It would be too much: 413.
    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the request is too large", detail)
    }

    /// Things are not as they must be for that: 409.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "things are not as they must be for that", detail)
    }

    /// Not now: 503, and when to ask again.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "not at the moment", detail)
    }

    /// The pipeline does not run as it should: 503.
    pub(crate) fn not_ready(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "the pipeline is not ready", detail)
    }

    /// It failed, and the server's log says why: 500.
    pub(crate) fn internal(what: impl std::fmt::Display) -> Self {
        error!("a request failed: {what}");
        let (status, detail) = (StatusCode::INTERNAL_SERVER_ERROR, "it failed; the server's log says why");
        Self::new(status, "internal", "the server failed", detail)
    }

    /// The same, with a member more.
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.more.insert(member.to_owned(), value.into());
        self
    }

    /// What happened, in words.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// What is wrong with a request may quote as much of it as it likes.
fn within_limit(mut detail: String) -> String {
    if let Some((end, _)) = detail.char_indices().nth(DETAIL_CHARS_MAX) {
        detail.truncate(end);
        detail.push('…');
    }
    detail
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
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
            // What Postgres says of itself is for the log.
            return Self::unavailable("Postgres or the pipeline is not there at the moment; send it again");
        }
        Self::internal(error)
    }
}

impl From<postgres::Error> for Problem {
    fn from(error: postgres::Error) -> Self {
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
