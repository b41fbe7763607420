//! Trying again: what may pass is waited for, however long it takes, and said.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tidegate_core::contract::Error;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(5);

/// Evaluates an expression of type `Result<T, Error>` anew until it is `Ok` or an error for good, with
/// pauses. Gives `Ok(None)` if the run was stopped while it waited.
///
/// A macro, because the future of an async closure that borrows is not `Send` enough for a task.
macro_rules! persist {
    ($what:expr, $stop:expr, $attempt:expr) => {{
        let mut patience = $crate::patience::Patience::new($what);
        loop {
            match $attempt {
                Ok(value) => {
                    patience.rewarded();
                    break Ok(Some(value));
                }
                Err(error) => match patience.wait(error, $stop).await {
                    Ok(true) => {}
                    Ok(false) => break Ok(None),
                    Err(error) => break Err(error),
                },
            }
        }
    }};
}
pub(crate) use persist;

/// One thing that is tried until it works.
pub(crate) struct Patience {
    what: &'static str,
    delays: ExponentialBackoff,
    tried: bool,
}

impl Patience {
    pub(crate) fn new(what: &'static str) -> Self {
        let delays = ExponentialBuilder::default()
            .with_min_delay(DELAY_MIN)
            .with_max_delay(DELAY_MAX)
            .with_jitter()
            .without_max_times()
            .build();
        Self { what, delays, tried: false }
    }

    /// Waits before the next try; longer each time. `false` if the run was stopped.
    ///
    /// # Errors
    ///
    /// The error itself, if no retry heals it.
    pub(crate) async fn wait(&mut self, error: Error, stop: &CancellationToken) -> Result<bool, Error> {
        if !error.retry {
            return Err(error);
        }
        let delay = self.delays.next().unwrap_or(DELAY_MAX);
        warn!(retry_in_ms = delay.as_millis() as u64, "{} failed: {error}", self.what);
        self.tried = true;
        tokio::select! {
            biased;
            () = tokio::time::sleep(delay) => Ok(true),
            () = stop.cancelled() => Ok(false),
        }
    }

    pub(crate) fn rewarded(&self) {
        if self.tried {
            info!("{} works again", self.what);
        }
    }
}
