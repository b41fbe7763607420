//! The workers that carry out what is asked of a running pipeline through Postgres: restores and reloads beside a
//! source, replays and discards of dead letters beside a sink. Each works when the process is notified and when more is
//! due. They are two, because a restore may take long.

use std::time::Duration;

use tidegate_core::contract::Error;
use tidegate_engine::patiently;
use tidegate_postgres::listener::Notifications;
use tidegate_store::Store;
use tidegate_store::sink::make_moves;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use crate::ingest_queue::IngestQueue;
use crate::settings::Settings;
use crate::{reloads, restores};

/// The pause before restores and reloads are looked at again, while one is open.
const OPEN_PAUSE: Duration = Duration::from_millis(300);
/// The time between two looks for moves that other nodes make.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The pause before a retry of moves: if Postgres is away, and if the error is one that a retry cannot mend.
const RETRY_AFTER: Duration = Duration::from_millis(200);
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// Takes up requested restores and reloads, those so far before this returns, until the handle is dropped. `store` holds
/// the leases of the source. Lines of restores enter by `queue`.
pub(crate) async fn take_up(
    settings: Settings,
    store: Store,
    queue: IngestQueue,
    mut notifications: Notifications,
) -> AbortOnDropHandle<()> {
    let mut told = None;
    let mut due = take_up_open(&settings, &store, &queue, &mut told).await;
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            notifications.next(due).await;
            due = take_up_open(&settings, &store, &queue, &mut told).await;
        }
    }))
}

/// Takes up the requests so far. Returns how soon to look again while one is open. Logs why one waits, unless that was
/// `told` last.
async fn take_up_open(
    settings: &Settings,
    store: &Store,
    queue: &IngestQueue,
    told: &mut Option<String>,
) -> Option<Duration> {
    let reloads = reloads::take_up(settings, store, queue).await;
    let restores = restores::take_up(settings, store, queue).await;
    let is_open = !matches!((&reloads, &restores), (Ok(false), Ok(())));
    let waits = reloads.map(drop).and(restores).err().map(|error| error.to_string());
    if let Some(why) = waits.as_ref().filter(|_| waits != *told) {
        warn!("a restore or reload that was asked for waits: {why}");
    }
    *told = waits;
    is_open.then_some(OPEN_PAUSE)
}

/// Makes requested moves of dead letters until the handle is dropped. The next worker finishes the moves in hand then.
/// `store` holds the leases of the sink.
pub(crate) fn make_moves(store: Store, mut notifications: Notifications) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let due = make_due(&store).await;
            notifications.next(due).await;
        }
    }))
}

/// Makes the moves that are due. Returns how soon the next are due, if that is known.
async fn make_due(store: &Store) -> Option<Duration> {
    match make_moves::work(store).await.map_err(Error::from) {
        Ok(worked) => {
            if worked.lines > 0 {
                info!(lines = worked.lines, "dead letters were replayed or discarded");
            }
            worked.next
        }
        // Other tasks report that Postgres is away.
        Err(error) if error.retry => {
            debug!("moves of dead letters wait: {error}");
            Some(RETRY_AFTER)
        }
        Err(error) => {
            warn!("dead letters cannot be moved: {error}");
            // However often the task polls: a look at once would only warn again.
            tokio::time::sleep(REFUSED_PAUSE).await;
            None
        }
    }
}

/// Waits until no move is requested any more. Nodes that share the pipeline make them meanwhile. A caller that is
/// stopped drops the future.
pub(crate) async fn until_moves_made(store: &Store) -> Result<(), Error> {
    let never = CancellationToken::new();
    while let Some(next) = patiently(&never, async || make_moves::next_moves(store).await).await? {
        tokio::time::sleep(next.max(LOOK_EVERY)).await;
    }
    Ok(())
}

/// Makes all requested moves, and waits for those of jobs with a rate. Fails if `stop` was cancelled during an attempt,
/// or a move cannot be made.
pub async fn finish_moves(store: &Store, stop: &CancellationToken) -> Result<(), Error> {
    while let Some(next) = patiently(stop, async || make_moves::work(store).await).await?.next {
        if stop.run_until_cancelled(tokio::time::sleep(next)).await.is_none() {
            break;
        }
    }
    Ok(())
}
