//! Retries with exponential back-off, without a limit on their number. Each failure is logged.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tidegate_core::contract::Error;
use tokio_util::sync::CancellationToken;
use tracing::warn;

const DELAY_MAX: Duration = Duration::from_secs(5);

/// Evaluates an expression of type `Result<T, Error>` until it is `Ok(T)`, then gives `Ok(Some(T))`. Between
/// attempts it backs off. Gives an error that must not be retried, and `Ok(None)` if the run was stopped while
/// it backed off: an attempt runs to its end.
///
/// A macro, because the future of an async closure that borrows cannot be shown to be `Send`, as a task
/// requires.
macro_rules! persist {
    ($what:literal, $stop:expr, $attempt:expr) => {{
        let mut retries: Option<$crate::retry::Retries> = None;
        loop {
            match $attempt {
                Ok(value) => {
                    if retries.is_some() {
                        tracing::info!("{} works again", $what);
                    }
                    break Ok(Some(value));
                }
                Err(error) => {
                    let retries = retries.get_or_insert_with($crate::retry::Retries::of_stage);
                    tokio::select! {
                        biased;
                        paused = retries.pause(concat!($what, " failed"), error) => {
                            if let Err(error) = paused {
                                break Err(error);
                            }
                        }
                        () = $stop.cancelled() => break Ok(None),
                    }
                }
            }
        }
    }};
}
pub(crate) use persist;

/// Retries `attempt` until it succeeds, with delays from 100 ms to 5 s. For calls to Postgres and the topics before the
/// stages start and after they have ended. Fails if `stop` is cancelled, also during an attempt, and on an error that a
/// retry cannot mend.
pub async fn patiently<T, E: Into<Error>>(
    stop: &CancellationToken,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, Error> {
    let mut retries = Retries::new(ExponentialBuilder::new().with_min_delay(Duration::from_millis(100)));
    let attempts = async {
        loop {
            match attempt().await.map_err(E::into) {
                Ok(value) => return Ok(value),
                Err(error) => retries.pause("waiting", error).await?,
            }
        }
    };
    let stopped = || Err(Error::halt("stopped before Postgres had answered"));
    stop.run_until_cancelled(attempts).await.unwrap_or_else(stopped)
}

/// The delays between the attempts of one operation.
pub(crate) struct Retries(ExponentialBackoff);

impl Retries {
    fn new(delays: ExponentialBuilder) -> Self {
        Self(delays.with_max_delay(DELAY_MAX).without_max_times().build())
    }

    pub(crate) fn of_stage() -> Self {
        Self::new(ExponentialBuilder::new().with_min_delay(Duration::from_millis(50)).with_jitter())
    }

    /// Logs `error` and waits before the next attempt. Returns an `error` that must not be retried.
    pub(crate) async fn pause(&mut self, what: &str, error: Error) -> Result<(), Error> {
        if !error.retry {
            return Err(error);
        }
        let delay = self.0.next().unwrap_or(DELAY_MAX);
        warn!(retry_in_ms = delay.as_millis() as u64, "{what}: {error}");
        tokio::time::sleep(delay).await;
        Ok(())
    }
}
