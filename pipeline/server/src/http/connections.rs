//! The open connections, and which of them is closed when there are too many.
//!
//! **An idle connection makes room.** A connection without a request in hand costs its client nothing to lose, so it is
//! no reason to refuse another client. When the limit of connections is reached, the one that has been idle for longest
//! is closed for the next. If all of them are busy, a few more are let in, which may only ask for liveness, readiness
//! and metrics.
//!
//! **The answers in memory have a limit**, however slowly clients read them: an answer beyond the limit is replaced by
//! 503. An answer is sent in pieces, each when the client has room, and counts until its last piece is sent.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many connections beyond the limit are let in for monitoring.
pub(super) const RESERVE: usize = 32;
/// How many more connections may be about to close.
const CLOSING_MAX: usize = 64;
/// How long a client may read nothing of an answer before its connection counts as idle, if room is needed.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// How many bytes of answers may be in memory, and how many more for monitoring.
const ANSWERS_BYTES: usize = 256 << 20;
const WATCHED_BYTES: usize = 16 << 20;
/// Answers up to this size, in bytes, are not counted.
const SMALL_BYTES: u64 = 4 << 10;
/// The size of the pieces of an answer, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// The memory for answers that are being sent, a permit for each byte.
struct Answers {
    all: Arc<Semaphore>,
    watched: Arc<Semaphore>,
}

impl Answers {
    /// Takes room for an answer; fails if there is none. A small answer takes none. An answer of unknown size takes none
    /// either, because it is made piece by piece while it is sent.
    fn room(&self, body: &Body, is_watched: bool) -> Result<Option<OwnedSemaphorePermit>, TryAcquireError> {
        let bytes = body.size_hint().exact().unwrap_or_default();
        if bytes <= SMALL_BYTES {
            return Ok(None);
        }
        let take = |room: &Arc<Semaphore>, bytes_max: usize| {
            room.clone().try_acquire_many_owned(bytes.min(bytes_max as u64) as u32)
        };
        match take(&self.all, ANSWERS_BYTES) {
            Err(_) if is_watched => take(&self.watched, WATCHED_BYTES).map(Some),
            taken => taken.map(Some),
        }
    }
}

/// All open connections.
pub(super) struct ClientConnections {
    open: Mutex<BTreeMap<u64, Arc<ClientConnection>>>,
    max: usize,
    answers: Arc<Answers>,
    /// Notified when a connection has ended.
    ended: Notify,
}

/// The state of a connection.
pub(super) struct ClientConnection {
    number: u64,
    /// Whether the connection may only ask for what is served to monitoring.
    pub(super) is_reserved: bool,
    /// Cancelled when the connection is told to end. A request in hand may end first.
    pub(super) leave: CancellationToken,
    answers: Arc<Answers>,
    activity: Mutex<Activity>,
}

/// What a connection does at the moment.
pub(super) struct Activity {
    /// How many requests are being handled.
    handling: usize,
    /// How many answers are being sent.
    answering: usize,
    /// When a request last came or was answered.
    asked: Instant,
    /// When the client last read a piece of an answer.
    moved: Instant,
    /// Since when a write is pending because the client does not read.
    stuck: Option<Instant>,
}

impl ClientConnections {
    /// Allows at most `max` connections.
    pub(super) fn new(max: usize) -> Self {
        Self {
            open: Mutex::default(),
            max,
            answers: Arc::new(Answers {
                all: Arc::new(Semaphore::new(ANSWERS_BYTES)),
                watched: Arc::new(Semaphore::new(WATCHED_BYTES)),
            }),
            ended: Notify::new(),
        }
    }

    /// Admits a connection, for which another may have to be closed. It ends when `stop` is cancelled.
    pub(super) async fn admit(self: &Arc<Self>, stop: &CancellationToken) -> OpenConnection {
        loop {
            let ended = self.ended.notified();
            if let Some(connection) = self.try_admit(stop) {
                return OpenConnection { connection, connections: self.clone() };
            }
            // Connections that are told to end do so in a moment.
            tokio::select! {
                () = ended => {}
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    }

    fn try_admit(&self, stop: &CancellationToken) -> Option<Arc<ClientConnection>> {
        let mut open = self.open();
        if open.len() >= self.max + RESERVE + CLOSING_MAX {
            return None;
        }
        let mut is_reserved = false;
        if staying(&open, false).count() >= self.max && !close_idle(&open, false) {
            is_reserved = true;
            if staying(&open, true).count() >= RESERVE && !close_idle(&open, true) {
                return None;
            }
        }
        let number = open.last_key_value().map_or(0, |(last, _)| last + 1);
        let now = Instant::now();
        let connection = Arc::new(ClientConnection {
            number,
            is_reserved,
            leave: stop.child_token(),
            answers: self.answers.clone(),
            activity: Mutex::new(Activity { handling: 0, answering: 0, asked: now, moved: now, stuck: None }),
        });
        open.insert(number, connection.clone());
        Some(connection)
    }

    /// Closes an idle connection, because the system has no room for more.
    pub(super) fn make_room(&self) {
        let open = self.open();
        let _ = close_idle(&open, true) || close_idle(&open, false);
    }

    /// Resolves when no connection is open.
    pub(super) async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.open().is_empty() {
                return;
            }
            ended.await;
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<ClientConnection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connections, reserved ones or others, that are not told to end.
fn staying(
    open: &BTreeMap<u64, Arc<ClientConnection>>,
    is_reserved: bool,
) -> impl Iterator<Item = &Arc<ClientConnection>> {
    open.values()
        .filter(move |connection| connection.is_reserved == is_reserved && !connection.leave.is_cancelled())
}

/// Tells the connection that has been idle for longest to end; returns `false` if all are busy.
fn close_idle(open: &BTreeMap<u64, Arc<ClientConnection>>, is_reserved: bool) -> bool {
    let idle = staying(open, is_reserved)
        .filter_map(|connection| Some((connection.activity().idle_since()?, connection)));
    let longest = idle.min_by_key(|(since, _)| *since);
    longest.map(|(_, connection)| connection.leave.cancel()).is_some()
}

/// A connection while it is open.
pub(super) struct OpenConnection {
    pub(super) connection: Arc<ClientConnection>,
    connections: Arc<ClientConnections>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connections.open().remove(&self.connection.number);
        self.connections.ended.notify_waiters();
    }
}

impl ClientConnection {
    /// Notes that a request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Handling {
        let mut activity = self.activity();
        activity.handling += 1;
        activity.asked = Instant::now();
        Handling(self.clone())
    }

    pub(super) fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Activity {
    /// Whether a request is being handled or its answer is being sent.
    pub(super) fn is_busy(&self) -> bool {
        self.handling + self.answering > 0 || self.stuck.is_some()
    }

    /// How long the connection has been idle, without a request or an answer; `None` while it is busy.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        (!self.is_busy()).then(|| self.asked.elapsed())
    }

    /// How long the client has read nothing of the answers, if the connection does nothing but send them.
    pub(super) fn stalled_for(&self) -> Option<Duration> {
        let only = self.answering > 0 && self.handling == 0;
        only.then(|| self.moved.max(self.asked).elapsed())
    }

    /// Notes whether a write is pending because the client does not read.
    pub(super) fn note_stuck(&mut self, is_stuck: bool) {
        self.stuck = is_stuck.then(|| self.stuck.unwrap_or_else(Instant::now));
    }

    /// Since when the connection may be closed for another; `None` while it is busy.
    fn idle_since(&self) -> Option<Instant> {
        if !self.is_busy() {
            return Some(self.asked);
        }
        let stuck_for = self.stuck.filter(|_| self.handling == 0).map(|since| since.elapsed());
        let longest = stuck_for.max(self.stalled_for())?;
        (longest >= STUCK_AFTER).then_some(self.asked)
    }
}

/// A request that is being handled.
pub(super) struct Handling(Arc<ClientConnection>);

impl Handling {
    /// Turns the request into an answer that is being sent. If there is no room for the answer, sends `otherwise`.
    pub(super) fn answer(
        self,
        response: Response,
        is_watched: bool,
        otherwise: impl FnOnce() -> Response,
    ) -> axum::http::Response<AnswerBody> {
        let (response, room) = match self.0.answers.room(response.body(), is_watched) {
            Ok(room) => (response, room),
            Err(_) => (otherwise(), None),
        };
        self.0.activity().answering += 1;
        let connection = self.0.clone();
        response.map(|body| AnswerBody { body, rest: Bytes::new(), connection, _room: room })
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        let mut activity = self.0.activity();
        activity.handling -= 1;
        activity.asked = Instant::now();
    }
}

/// The body of an answer.
pub(super) struct AnswerBody {
    body: Body,
    /// The part of the current piece that is not sent yet.
    rest: Bytes,
    connection: Arc<ClientConnection>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let mut activity = self.connection.activity();
        activity.answering -= 1;
        activity.asked = Instant::now();
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.connection.activity().moved = Instant::now();
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            match frame.map(|made| made.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        match hint.exact() {
            Some(bytes) => SizeHint::with_exact(bytes + rest),
            None => {
                hint.set_lower(hint.lower() + rest);
                hint
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn admitted(connections: &Arc<ClientConnections>, stop: &CancellationToken) -> OpenConnection {
        tokio::time::advance(Duration::from_millis(10)).await;
        connections.admit(stop).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_been_idle_for_longest_makes_room_and_who_is_busy_stays() {
        let (connections, stop) = (Arc::new(ClientConnections::new(3)), CancellationToken::new());
        let first = admitted(&connections, &stop).await;
        let second = admitted(&connections, &stop).await;
        let third = admitted(&connections, &stop).await;
        let busy = first.connection.begin();
        drop(third.connection.begin());
        tokio::time::advance(Duration::from_millis(10)).await;
        drop(second.connection.begin());
        let fourth = admitted(&connections, &stop).await;
        let gone = |admitted: &OpenConnection| admitted.connection.leave.is_cancelled();
        assert!(gone(&third) && !gone(&first) && !gone(&second) && !fourth.connection.is_reserved);
        let (_busy, _too) = (second.connection.begin(), fourth.connection.begin());
        let reserved = admitted(&connections, &stop).await;
        assert!(reserved.connection.is_reserved && !gone(&second) && !gone(&fourth));
        // An answer that the client reads keeps its connection open; one that it does not read does not.
        let small = Response::new(Body::from("x"));
        let mut answer = busy.answer(small, false, || unreachable!("there is room")).into_body();
        tokio::time::advance(STUCK_AFTER / 2).await;
        let _ = std::future::poll_fn(|cx| Pin::new(&mut answer).poll_frame(cx)).await;
        tokio::time::advance(STUCK_AFTER / 2).await;
        assert!(admitted(&connections, &stop).await.connection.is_reserved && !gone(&first));
        tokio::time::advance(STUCK_AFTER).await;
        assert!(!admitted(&connections, &stop).await.connection.is_reserved && gone(&first));
        stop.cancel();
        assert!(gone(&second));
    }

    #[tokio::test]
    async fn answers_leave_in_pieces_and_only_so_many_are_on_their_way() {
        let (connections, stop) = (Arc::new(ClientConnections::new(1)), CancellationToken::new());
        let admitted = connections.admit(&stop).await;
        let text: Bytes = (0..1_000_000u32).map(|i| i as u8).collect::<Vec<_>>().into();
        let answer = |bytes: Bytes, is_watched| {
            let response = Response::new(Body::from(bytes));
            let handling = admitted.connection.begin();
            handling.answer(response, is_watched, || Response::new(Body::from("no room"))).into_body()
        };
        let mut sent = Vec::new();
        let mut body = answer(text.clone(), false);
        while !body.is_end_stream() {
            assert_eq!(body.size_hint().exact(), Some((text.len() - sent.len()) as u64));
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
            let piece = frame.into_data().unwrap();
            assert!((1..=PIECE_BYTES).contains(&piece.len()));
            sent.extend_from_slice(&piece);
        }
        assert_eq!(sent, text);
        drop(body);
        let is_sent = |body: &AnswerBody| body.size_hint().exact() == Some(text.len() as u64);
        let mut waiting: Vec<AnswerBody> = (0..1000).map(|_| answer(text.clone(), false)).collect();
        let on_their_way = waiting.iter().filter(|body| is_sent(body)).count();
        assert_eq!(on_their_way, ANSWERS_BYTES / text.len());
        assert!(is_sent(&answer(text.clone(), true)), "whoever watches has room of its own");
        waiting.remove(0);
        assert!(is_sent(&answer(text.clone(), false)), "what has left makes room");
    }

    #[tokio::test(start_paused = true)]
    async fn those_beyond_the_limit_are_bounded_too() {
        let (connections, stop) = (Arc::new(ClientConnections::new(1)), CancellationToken::new());
        let mut open = Vec::new();
        for _ in 0..=RESERVE {
            let admitted = admitted(&connections, &stop).await;
            open.push((admitted.connection.begin(), admitted));
        }
        let next = tokio::time::timeout(Duration::from_secs(60), connections.admit(&stop));
        assert!(next.await.is_err(), "all are busy");
        open.pop();
        assert!(connections.admit(&stop).await.connection.is_reserved);
        drop(open);
        connections.all_ended().await;
    }
}
