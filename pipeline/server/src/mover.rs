//! Makes the replays and discards of dead letters that somebody asked for: beside a sink, and to the end of a run.

use std::time::Duration;

use tidegate_connectors::postgres::Postgres;
use tidegate_core::contract;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::Failure;
use crate::run::patiently;

/// How often it is asked whether something is to be done: whoever has asked in another process is waiting. In this one
/// a bell rings.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How soon it is looked again, at the soonest, while there is more to do.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// How long a move that cannot be made is left alone.
const PAUSE: Duration = Duration::from_secs(10);

/// Makes moves until it is dropped. What is in hand then is made by the next.
pub(crate) struct Mover(JoinHandle<()>);

impl Mover {
    /// For a `postgres` that holds the leases of the sink.
    pub(crate) fn start(postgres: Postgres) -> Self {
        Self(tokio::spawn(async move {
            loop {
                let rest = look(&postgres).await;
                // Those who ask while it works have their turn together.
                let _ = tokio::time::timeout(rest, postgres.moves_asked()).await;
            }
        }))
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Does what is to be done now; gives how long to rest.
pub(crate) async fn look(postgres: &Postgres) -> Duration {
    match postgres.work_on_moves().await {
        Ok(worked) => {
            if worked.lines > 0 {
                info!(lines = worked.lines, "dead letters were replayed or discarded");
            }
            worked.next.unwrap_or(LOOK_EVERY).clamp(PAUSE_MIN, LOOK_EVERY)
        }
        Err(error) => {
            let error = contract::Error::from(error);
            // A database that is away others tell of.
            match error.retry {
                true => debug!("moves of dead letters wait: {error}"),
                false => warn!("dead letters cannot be moved: {error}"),
            }
            if error.retry { LOOK_EVERY } else { PAUSE }
        }
    }
}

/// Makes all moves that are asked for, and waits for those that are to be made slowly.
///
/// # Errors
///
/// If it was stopped, or a move cannot be made.
pub(crate) async fn finish(postgres: &Postgres, stop: &CancellationToken) -> Result<(), Failure> {
    while let Some(next) = patiently(stop, async || postgres.work_on_moves().await).await?.next {
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            () = stop.cancelled() => break,
        }
    }
    Ok(())
}
