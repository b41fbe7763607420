//! The `Idempotency-Key` of requests, by which a client can retry one until it is answered.

use std::borrow::Cow;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tidegate_store::IdempotencyKey;
use utoipa::IntoParams;

use super::auth::Caller;
use super::{Problem, Service, body};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const KEY_CHARS_MAX: usize = 255;

/// The header, for the description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)] // read by `identity`
pub(super) struct IdempotencyHeader {
    /// Names the request: sent again until it is answered, it is done once.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    key: Option<String>,
}

/// The identity of a request: its caller, its path and its key. `None` if it has no key.
pub(super) fn identity(
    caller: &Caller,
    headers: &HeaderMap,
    path: &str,
) -> Result<Option<[u8; 32]>, Problem> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(Problem::bad_request("a request has one Idempotency-Key, and this one has several"));
    }
    let key = key.as_bytes();
    if key.is_empty() || key.len() > KEY_CHARS_MAX || !key.iter().all(u8::is_ascii_graphic) {
        return Err(Problem::bad_request(format!(
            "an Idempotency-Key has 1 to {KEY_CHARS_MAX} printable ASCII characters without spaces"
        )));
    }
    let mut hasher = blake3::Hasher::new();
    // Different percent-encodings of a path are the same path.
    let path = Cow::from(percent_decode_str(path));
    for part in [caller.name.as_bytes(), b"POST", &path, key] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    Ok(Some(*hasher.finalize().as_bytes()))
}

/// The JSON body of a request, if it has one, and the request's key.
pub(super) async fn keyed_json<T: DeserializeOwned>(
    app: &Service,
    caller: &Caller,
    request: Request,
) -> Result<(Option<T>, Option<IdempotencyKey>), Problem> {
    let identity = identity(caller, request.headers(), request.uri().path())?;
    let body = body::read_json(app, request).await?;
    let idempotency_key =
        identity.map(|identity| IdempotencyKey { identity, content: *blake3::hash(&body).as_bytes() });
    Ok((body::json(&body)?, idempotency_key))
}

/// The key of a request as text.
pub(super) fn key(headers: &HeaderMap) -> Option<&str> {
    headers.get(KEY)?.to_str().ok()
}

/// 422: the key was used for other content.
pub(super) fn reused() -> Problem {
    let detail = "the Idempotency-Key was used for other content; use a new key, or send what was sent then";
    let (status, word) = (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused");
    Problem::new(status, word, "the key was used for another request", detail)
}
