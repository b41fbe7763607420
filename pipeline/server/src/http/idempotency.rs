//! How requests name themselves, so that a client sends one again until it is answered: `Idempotency-Key`.

use std::borrow::Cow;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tidegate_connectors::postgres::Keyed;
use utoipa::IntoParams;

use super::auth::Caller;
use super::{Problem, Service, body};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const KEY_CHARS_MAX: usize = 255;

/// The header, for the description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code)] // read by `identity`
pub(super) struct IdempotencyKey {
    /// Names the request: sent again until it is answered, it is done once.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    key: Option<String>,
}

/// What makes a request one and the same: whose it is, where it goes, and how it names itself. `None` if it does not.
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
    // However it is written, it is one place.
    let path = Cow::from(percent_decode_str(path));
    for part in [caller.name.as_bytes(), b"POST", &path, key] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    Ok(Some(*hasher.finalize().as_bytes()))
}

/// What a request says in JSON, if it says anything, and how it names itself.
pub(super) async fn told<T: DeserializeOwned>(
    app: &Service,
    caller: &Caller,
    request: Request,
) -> Result<(Option<T>, Option<Keyed>), Problem> {
    let identity = identity(caller, request.headers(), request.uri().path())?;
    let body = body::read_json(app, request).await?;
    let keyed = identity.map(|identity| Keyed { identity, content: *blake3::hash(&body).as_bytes() });
    Ok((body::json(&body)?, keyed))
}

/// How a request names itself, for people.
pub(super) fn key(headers: &HeaderMap) -> Option<&str> {
    headers.get(KEY)?.to_str().ok()
}

/// A key was used for something else: 422.
pub(super) fn reused() -> Problem {
    let detail = "the Idempotency-Key was used for other content; use a new key, or send what was sent then";
    let (status, word) = (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused");
    Problem::new(status, word, "the key names another request", detail)
}
