//! What clients send: what it is, how much of it there may be, and how long it may take.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::room::{Place, Room};
use super::{Problem, Service, documents, encoding};

/// How long nothing may come of a body before its client is given up.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How slowly a body may come, on the average of each minute.
const BYTES_PER_SECOND_MIN: u64 = 256;
const PACE_OVER: Duration = Duration::from_secs(60);
/// How long a body may take that is held in memory.
const HELD_WITHIN: Duration = Duration::from_secs(60);
/// How many bytes of bodies may be in memory.
pub(super) const ROOM_BYTES: usize = 128 << 20;

/// The forms in which rows can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Json,
    Ndjson,
    Csv,
    Multipart,
}

impl Sent {
    /// The form that the headers name.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let given =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
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

pub(super) fn unsupported(detail: String) -> Problem {
    let (status, word) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type");
    Problem::new(status, word, "the server does not understand that form", detail)
}

/// A body in memory, with its place there.
pub(super) struct Held {
    bytes: BytesMut,
    place: Place,
}

impl Held {
    fn extend(&mut self, chunk: &[u8]) -> Result<(), Problem> {
        if !self.place.grow(chunk.len()) {
            return Err(Problem::unavailable(
                "more is being sent at once than fits here; send it again in a moment",
            ));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body of at most so many bytes.
pub(super) async fn read(room: &Arc<Room>, body: Body, bytes_max: usize) -> Result<Held, Problem> {
    let reading = tokio::time::timeout(HELD_WITHIN, read_whole(room, body, bytes_max));
    reading.await.unwrap_or_else(|_| Err(timeout()))
}

async fn read_whole(room: &Arc<Room>, body: Body, bytes_max: usize) -> Result<Held, Problem> {
    let mut chunks = Chunks::new(body);
    let mut whole = Held { bytes: BytesMut::new(), place: room.place() };
    while let Some(chunk) = chunks.next().await? {
        if whole.len() + chunk.len() > bytes_max {
            return Err(Problem::too_large(format!(
                "the body is longer than {bytes_max} bytes; send less at once, or a file as text/csv"
            )));
        }
        whole.extend(&chunk)?;
    }
    Ok(whole)
}

/// Reads a body of JSON, which may be empty.
pub(super) async fn read_json(app: &Service, request: Request) -> Result<Held, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).cloned();
    let body = read(&app.room, request.into_body(), app.http.max_body_bytes).await?;
    let essence = kind.as_ref().and_then(|kind| kind.to_str().ok()?.split(';').next());
    let is_json = essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"));
    if is_json || is_blank(&body) {
        return Ok(body);
    }
    Err(unsupported("this comes as application/json: set Content-Type".to_owned()))
}

/// What a body of JSON says; `None` if there is none, or `null`.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<Option<T>, Problem> {
    if is_blank(body) {
        return Ok(None);
    }
    let faulty =
        |error: serde_json::Error| Problem::bad_request(format!("the body is not as it must be: {error}"));
    aside(|| documents::read(body)).map_err(faulty)
}

/// Makes something of a body, which may take its time: others go on meanwhile.
pub(super) fn aside<T>(read: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(read)
}

fn is_blank(body: &[u8]) -> bool {
    body.iter().all(u8::is_ascii_whitespace)
}

/// A body piece by piece.
pub(super) struct Chunks {
    stream: BodyDataStream,
    pace: Pace,
}

impl Chunks {
    pub(super) fn new(body: Body) -> Self {
        Self { stream: body.into_data_stream(), pace: Pace::begin() }
    }

    /// The next piece. `None` at the end.
    ///
    /// # Errors
    ///
    /// If the client has gone, stalls, or sends what cannot be decoded.
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

/// How fast a client sends: one that holds its connection with a byte now and then is given up.
struct Pace {
    /// When it was judged last.
    judged: Instant,
    /// How much has come since.
    bytes: u64,
}

impl Pace {
    fn begin() -> Self {
        Self { judged: Instant::now(), bytes: 0 }
    }

    /// Notes that so many bytes have come.
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

    #[tokio::test(start_paused = true)]
    async fn whoever_sends_a_byte_now_and_then_is_given_up_however_much_came_before() {
        let mut pace = Pace::begin();
        pace.keep(8 << 20).unwrap();
        let mut minutes = 0;
        while pace.keep(1).is_ok() {
            tokio::time::advance(IDLE_MAX).await;
            minutes += 1;
            assert!(minutes < 6, "it is not given up");
        }
        let mut slow = Pace::begin();
        for _ in 0..600 {
            tokio::time::advance(Duration::from_secs(1)).await;
            slow.keep(BYTES_PER_SECOND_MIN as usize).unwrap();
        }
    }
}
