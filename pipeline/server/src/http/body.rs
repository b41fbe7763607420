//! Bodies of requests: their types, and the limits of their size and duration.

use std::ops::Deref;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::{Problem, Service, encoding};

/// How long a body may stall before the request is refused.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The lowest rate of a body, in bytes a second, as an average over `PACE_OVER`.
const BYTES_PER_SECOND_MIN: u64 = 256;
const PACE_OVER: Duration = Duration::from_secs(60);
/// How long a body that is held in memory may take to arrive.
const HELD_WITHIN: Duration = Duration::from_secs(60);
/// How many bytes of bodies may be in memory at once.
pub(super) const ROOM_BYTES: usize = 128 << 20;

/// The forms in which rows can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    Ndjson,
    Csv,
    Multipart,
}

impl MediaType {
    /// The form that the `Content-Type` names.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let essence = essence(headers);
        match essence.as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines" => Ok(Self::Ndjson),
            "text/csv" | "application/csv" => Ok(Self::Csv),
            "multipart/form-data" => Ok(Self::Multipart),
            _ => Err(unsupported(format!(
                "rows come as application/json, application/x-ndjson, text/csv or multipart/form-data, and this is \
                 '{essence}': set Content-Type"
            ))),
        }
    }
}

/// The `Content-Type` without its parameters.
fn essence(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

pub(super) fn unsupported(detail: impl Into<String>) -> Problem {
    let (status, word) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type");
    Problem::new(status, word, "the media type is not supported", detail)
}

/// A body in memory, with the room that it takes up.
pub(super) struct BufferedBody {
    bytes: BytesMut,
    room: OwnedSemaphorePermit,
}

impl Deref for BufferedBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body of at most `http.max_body_bytes`, for which there must be room.
pub(super) async fn read(app: &Service, body: Body) -> Result<BufferedBody, Problem> {
    let bytes_max = app.http.max_body_bytes;
    let take = |bytes: usize| {
        app.room.clone().try_acquire_many_owned(bytes as u32).map_err(|_| {
            Problem::unavailable("more is being sent at once than fits here; send it again in a moment")
        })
    };
    let mut chunks = BodyChunks::new(body);
    let reading = async {
        let mut whole = BufferedBody { bytes: BytesMut::new(), room: take(0)? };
        while let Some(chunk) = chunks.next().await? {
            if whole.len() + chunk.len() > bytes_max {
                return Err(Problem::too_large(format!(
                    "the body is longer than {bytes_max} bytes; send less at once, or a file as text/csv"
                )));
            }
            whole.room.merge(take(chunk.len())?);
            whole.bytes.extend_from_slice(&chunk);
        }
        Ok(whole)
    };
    tokio::time::timeout(HELD_WITHIN, reading).await.unwrap_or_else(|_| Err(timeout()))
}

/// Reads a JSON body, which may be empty.
pub(super) async fn read_json(app: &Service, request: Request) -> Result<BufferedBody, Problem> {
    let is_json = essence(request.headers()) == "application/json";
    let body = read(app, request.into_body()).await?;
    if is_json || is_blank(&body) {
        return Ok(body);
    }
    Err(unsupported("this comes as application/json: set Content-Type"))
}

/// Parses a JSON body; `None` if it is empty or `null`.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<Option<T>, Problem> {
    if is_blank(body) {
        return Ok(None);
    }
    let faulty =
        |error: serde_json::Error| Problem::bad_request(format!("the body is not as it must be: {error}"));
    blocking(|| serde_json::from_slice(body)).map_err(faulty)
}

/// Above this, a number of JSON does not represent every whole number exactly.
const EXACT_MAX: f64 = 9e15;

/// Deserializes a whole number. JSON has one kind of numbers, so `5.0` is 5.
pub(super) fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else { return Ok(None) };
    let is_whole = |float: &f64| float.fract() == 0.0 && (0.0..EXACT_MAX).contains(float);
    let whole = number.as_u64().or_else(|| number.as_f64().filter(is_whole).map(|float| float as u64));
    let unexpected = || D::Error::custom(format!("{number} is no whole number, or one that is too large"));
    whole.map(Some).ok_or_else(unexpected)
}

/// Parses a body, which may take long, without holding up other tasks of the runtime.
pub(super) fn blocking<T>(read: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(read)
}

fn is_blank(body: &[u8]) -> bool {
    body.iter().all(u8::is_ascii_whitespace)
}

/// A body, read piece by piece.
pub(super) struct BodyChunks {
    stream: BodyDataStream,
    pace: ReceiveRate,
}

impl BodyChunks {
    pub(super) fn new(body: Body) -> Self {
        Self { stream: body.into_data_stream(), pace: ReceiveRate::begin() }
    }

    /// Returns the next piece; `None` at the end. Fails if the client is gone or stalls, or the body cannot be decoded.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        match tokio::time::timeout(IDLE_MAX, self.stream.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(chunk))) => {
                self.pace.keep(chunk.len())?;
                Ok(Some(chunk))
            }
            Ok(Some(Err(error))) => Err(encoding::broken(&error)),
            Err(_) => Err(timeout()),
        }
    }
}

/// The rate of a client. A client that holds its connection with a byte from time to time is refused.
struct ReceiveRate {
    /// When the rate was checked last.
    judged: Instant,
    /// How many bytes have come since.
    bytes: u64,
}

impl ReceiveRate {
    fn begin() -> Self {
        Self { judged: Instant::now(), bytes: 0 }
    }

    /// Counts bytes that have come; fails if they come too slowly.
    fn keep(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes as u64;
        let over = self.judged.elapsed();
        if over < PACE_OVER {
            return Ok(());
        }
        if self.bytes < BYTES_PER_SECOND_MIN * over.as_secs() {
            return Err(timeout());
        }
        *self = Self::begin();
        Ok(())
    }
}

fn timeout() -> Problem {
    let (status, word) = (StatusCode::REQUEST_TIMEOUT, "timeout");
    let (idle, held) = (IDLE_MAX.as_secs(), HELD_WITHIN.as_secs());
    let detail = format!(
        "nothing came for {idle} s, or less than {BYTES_PER_SECOND_MIN} bytes a second, or rows took longer than {held} \
         s; send it again"
    );
    Problem::new(status, word, "the client was too slow", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Limits {
        #[serde(deserialize_with = "whole_number")]
        a: Option<u64>,
        b: Option<Box<Limits>>,
    }

    #[test]
    fn a_whole_number_may_have_a_fraction_of_zero_and_no_member_is_there_twice() {
        let read = |text: &str| serde_json::from_slice::<Limits>(text.as_bytes());
        for (text, a) in [
            ("{}", None),
            (r#"{"a": null}"#, None),
            (r#"{"a": 5}"#, Some(5)),
            (r#"{"a": 5.0}"#, Some(5)),
            (r#"{"a": 2e1}"#, Some(20)),
            (r#"{"a": 18446744073709551615}"#, Some(u64::MAX)),
        ] {
            assert_eq!(read(text).unwrap(), Limits { a, b: None }, "{text}");
        }
        for wrong in [r#"{"a": 0.5}"#, r#"{"a": -2e1}"#, r#"{"a": 1e300}"#, r#"{"a": "5"}"#, r#"{"c": 1}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for twice in [r#"{"a": 1, "a": 1}"#, r#"{"b": {"a": 1, "\u0061": 1}}"#] {
            let said = read(twice).unwrap_err().to_string();
            assert!(said.contains("duplicate field `a`"), "{said}");
        }
        assert!(read(&"[".repeat(100_000)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_sends_a_byte_now_and_then_is_given_up_however_much_came_before() {
        let mut pace = ReceiveRate::begin();
        pace.keep(8 << 20).unwrap();
        let mut minutes = 0;
        while pace.keep(1).is_ok() {
            tokio::time::advance(IDLE_MAX).await;
            minutes += 1;
            assert!(minutes < 6, "it is not given up");
        }
        let mut slow = ReceiveRate::begin();
        for _ in 0..600 {
            tokio::time::advance(Duration::from_secs(1)).await;
            slow.keep(BYTES_PER_SECOND_MIN as usize).unwrap();
        }
    }
}
