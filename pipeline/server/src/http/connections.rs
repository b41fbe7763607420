//! The connections that are open, and who has to go when there are too many.
//!
//! **Whoever does nothing makes room.** A connection without a request in hand costs its client nothing, so it is no
//! reason to send another client away: when there are as many connections as may be, the one that has been idle for
//! longest is closed for the next. Where all of them are busy, a few more are let in, which may only ask whether the
//! service lives, whether it is ready, and for its metrics.
//!
//! **What is being sent has a limit**, however slowly it is taken: an answer beyond it is 503. It leaves in pieces, each
//! when the client has room, and counts until its last one has left.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::room::{Place, Room};

/// How many connections beyond the limit are let in for whoever watches.
pub(super) const RESERVE: usize = 32;
/// How many may be about to close beside them.
const CLOSING_MAX: usize = 64;
/// How long nothing may be taken of an answer before its connection counts as one that does nothing, if room is needed.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// How many bytes of answers may be on their way, and how many more for whoever watches.
const ANSWERS_BYTES: usize = 256 << 20;
const WATCHED_BYTES: usize = 16 << 20;
/// Answers up to this size are not counted.
const SMALL_BYTES: u64 = 4 << 10;
/// How much of an answer is handed over at once.
const PIECE_BYTES: usize = 64 << 10;

/// Where answers are that are on their way.
struct Answers {
    all: Arc<Room>,
    watched: Arc<Room>,
}

impl Answers {
    /// A place for an answer; an error if there is none. What is small has none, and what is of unknown size neither: it
    /// is made while it is taken, piece by piece.
    fn place(&self, body: &Body, is_watched: bool) -> Result<Option<Place>, Full> {
        let bytes = body.size_hint().exact().unwrap_or_default();
        if bytes <= SMALL_BYTES {
            return Ok(None);
        }
        let place = self.all.take(bytes as usize);
        let place = if is_watched { place.or_else(|| self.watched.take(bytes as usize)) } else { place };
        place.map(Some).ok_or(Full)
    }
}

/// There is no room for an answer.
struct Full;

/// All that are open.
pub(super) struct Connections {
    open: Mutex<BTreeMap<u64, Arc<Connection>>>,
    max: usize,
    answers: Arc<Answers>,
    next: AtomicU64,
    /// Rings when one has ended.
    ended: Notify,
}

/// What is known of one.
pub(super) struct Connection {
    number: u64,
    /// Whether it may only ask for what is served to whoever watches.
    pub(super) is_reserved: bool,
    /// When it is told to end: what has begun may end as well.
    pub(super) leave: CancellationToken,
    answers: Arc<Answers>,
    opened: Instant,
    /// How many requests are with their handlers.
    handling: AtomicUsize,
    /// How many answers are being sent.
    answering: AtomicUsize,
    /// When a request came or was answered last, and when something of an answer was taken last, in milliseconds since
    /// it was opened.
    asked_ms: AtomicU64,
    moved_ms: AtomicU64,
    /// Whether what is to be written is not taken.
    stuck: AtomicBool,
    stuck_ms: AtomicU64,
}

impl Connections {
    /// For at most `max` of them.
    pub(super) fn new(max: usize) -> Self {
        Self {
            open: Mutex::default(),
            max,
            answers: Arc::new(Answers { all: Room::of(ANSWERS_BYTES), watched: Room::of(WATCHED_BYTES) }),
            next: AtomicU64::new(0),
            ended: Notify::new(),
        }
    }

    /// Takes one in, for which another may have to go. It ends when `stop` does.
    pub(super) async fn admit(self: &Arc<Self>, stop: &CancellationToken) -> Admitted {
        loop {
            let ended = self.ended.notified();
            if let Some(connection) = self.try_admit(stop) {
                return Admitted { connection, connections: self.clone() };
            }
            // Those that are told to end do so in a moment.
            tokio::select! {
                () = ended => {}
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        }
    }

    fn try_admit(&self, stop: &CancellationToken) -> Option<Arc<Connection>> {
        let mut open = self.open();
        if open.len() >= self.max + RESERVE + CLOSING_MAX {
            return None;
        }
        let count = |open: &BTreeMap<u64, Arc<Connection>>, is_reserved| {
            let staying = open.values().filter(|connection| !connection.leave.is_cancelled());
            staying.filter(|connection| connection.is_reserved == is_reserved).count()
        };
        let mut is_reserved = false;
        if count(&open, false) >= self.max && !let_go_of_one(&open, false) {
            is_reserved = true;
            if count(&open, true) >= RESERVE && !let_go_of_one(&open, true) {
                return None;
            }
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let connection =
            Arc::new(Connection::new(number, is_reserved, stop.child_token(), self.answers.clone()));
        open.insert(number, connection.clone());
        Some(connection)
    }

    /// Closes one that does nothing: the system has no room for more.
    pub(super) fn make_room(&self) {
        let open = self.open();
        let _ = let_go_of_one(&open, true) || let_go_of_one(&open, false);
    }

    /// Resolves when none is open.
    pub(super) async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            if self.open().is_empty() {
                return;
            }
            ended.await;
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the one to end that has been doing nothing for longest; `false` if all are busy.
fn let_go_of_one(open: &BTreeMap<u64, Arc<Connection>>, is_reserved: bool) -> bool {
    let staying = open.values().filter(|connection| !connection.leave.is_cancelled());
    let of_kind = staying.filter(|connection| connection.is_reserved == is_reserved);
    let idle = of_kind.filter_map(|connection| Some((connection.idle_since()?, connection)));
    let longest = idle.min_by_key(|(since, _)| *since);
    longest.map(|(_, connection)| connection.leave.cancel()).is_some()
}

/// A connection while it is open.
pub(super) struct Admitted {
    pub(super) connection: Arc<Connection>,
    connections: Arc<Connections>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.open().remove(&self.connection.number);
        self.connections.ended.notify_waiters();
    }
}

impl Connection {
    fn new(number: u64, is_reserved: bool, leave: CancellationToken, answers: Arc<Answers>) -> Self {
        Self {
            number,
            is_reserved,
            leave,
            answers,
            opened: Instant::now(),
            handling: AtomicUsize::new(0),
            answering: AtomicUsize::new(0),
            asked_ms: AtomicU64::new(0),
            moved_ms: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            stuck_ms: AtomicU64::new(0),
        }
    }

    /// Notes that a request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Handling {
        self.handling.fetch_add(1, Ordering::Relaxed);
        self.note(&self.asked_ms);
        Handling(self.clone())
    }

    /// Whether a request is in hand, or its answer.
    pub(super) fn is_busy(&self) -> bool {
        self.handling.load(Ordering::Relaxed) + self.answering.load(Ordering::Relaxed) > 0
            || self.stuck.load(Ordering::Relaxed)
    }

    /// For how long it has neither got a request nor given an answer.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        (!self.is_busy()).then(|| self.since(&self.asked_ms).elapsed())
    }

    /// For how long nothing was taken of the answers that are being sent, if nothing else is done.
    pub(super) fn stalled_for(&self) -> Option<Duration> {
        let is_answering = self.answering.load(Ordering::Relaxed) > 0;
        let only = is_answering && self.handling.load(Ordering::Relaxed) == 0;
        only.then(|| self.since(&self.moved_ms).max(self.since(&self.asked_ms)).elapsed())
    }

    /// Notes whether what is written is taken.
    pub(super) fn note_stuck(&self, is_stuck: bool) {
        if self.stuck.swap(is_stuck, Ordering::Relaxed) != is_stuck {
            self.note(&self.stuck_ms);
        }
    }

    /// Since when it may have to go for another; `None` while it is busy.
    fn idle_since(&self) -> Option<Instant> {
        if !self.is_busy() {
            return Some(self.since(&self.asked_ms));
        }
        let is_stuck = self.stuck.load(Ordering::Relaxed) && self.handling.load(Ordering::Relaxed) == 0;
        let stuck_for = is_stuck.then(|| self.since(&self.stuck_ms).elapsed());
        let longest = stuck_for.max(self.stalled_for())?;
        (longest >= STUCK_AFTER).then(|| self.since(&self.asked_ms))
    }

    fn note(&self, at_ms: &AtomicU64) {
        at_ms.store(self.opened.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn since(&self, at_ms: &AtomicU64) -> Instant {
        self.opened + Duration::from_millis(at_ms.load(Ordering::Relaxed))
    }
}

/// A request that is with its handler.
pub(super) struct Handling(Arc<Connection>);

impl Handling {
    /// The same request while its answer is being sent, or `otherwise` where there is no room for it.
    pub(super) fn answer(
        self,
        response: Response,
        is_watched: bool,
        otherwise: impl FnOnce() -> Response,
    ) -> axum::http::Response<Answer> {
        let (response, place) = match self.0.answers.place(response.body(), is_watched) {
            Ok(place) => (response, place),
            Err(Full) => (otherwise(), None),
        };
        self.0.answering.fetch_add(1, Ordering::Relaxed);
        let connection = self.0.clone();
        response.map(|body| Answer { body, rest: Bytes::new(), connection, _place: place })
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.handling.fetch_sub(1, Ordering::Relaxed);
        self.0.note(&self.0.asked_ms);
    }
}

/// The body of an answer.
pub(super) struct Answer {
    body: Body,
    /// What was made of it and has not left.
    rest: Bytes,
    connection: Arc<Connection>,
    _place: Option<Place>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.answering.fetch_sub(1, Ordering::Relaxed);
        self.connection.note(&self.connection.asked_ms);
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.connection.note(&self.connection.moved_ms);
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

    async fn admitted(connections: &Arc<Connections>, stop: &CancellationToken) -> Admitted {
        tokio::time::advance(Duration::from_millis(10)).await;
        connections.admit(stop).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_been_idle_for_longest_makes_room_and_who_is_busy_stays() {
        let (connections, stop) = (Arc::new(Connections::new(3)), CancellationToken::new());
        let first = admitted(&connections, &stop).await;
        let second = admitted(&connections, &stop).await;
        let third = admitted(&connections, &stop).await;
        let busy = first.connection.begin();
        drop(third.connection.begin());
        tokio::time::advance(Duration::from_millis(10)).await;
        drop(second.connection.begin());
        let fourth = admitted(&connections, &stop).await;
        let gone = |admitted: &Admitted| admitted.connection.leave.is_cancelled();
        assert!(gone(&third) && !gone(&first) && !gone(&second) && !fourth.connection.is_reserved);
        let (_busy, _too) = (second.connection.begin(), fourth.connection.begin());
        let reserved = admitted(&connections, &stop).await;
        assert!(reserved.connection.is_reserved && !gone(&second) && !gone(&fourth));
        // An answer that is taken keeps its connection; one that is not taken does not.
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
        let (connections, stop) = (Arc::new(Connections::new(1)), CancellationToken::new());
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
        let is_sent = |body: &Answer| body.size_hint().exact() == Some(text.len() as u64);
        let mut waiting: Vec<Answer> = (0..1000).map(|_| answer(text.clone(), false)).collect();
        let on_their_way = waiting.iter().filter(|body| is_sent(body)).count();
        assert_eq!(on_their_way, ANSWERS_BYTES / text.len());
        assert!(is_sent(&answer(text.clone(), true)), "whoever watches has room of its own");
        waiting.remove(0);
        assert!(is_sent(&answer(text.clone(), false)), "what has left makes room");
    }

    #[tokio::test(start_paused = true)]
    async fn those_beyond_the_limit_are_bounded_too() {
        let (connections, stop) = (Arc::new(Connections::new(1)), CancellationToken::new());
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
