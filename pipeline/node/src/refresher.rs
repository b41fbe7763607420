//! The task that refreshes materialized views on time, beside the pipeline.
//!
//! The task holds no lease, and no lock that a commit of the sink could wait for. It ends with the run, however long a
//! refresh takes. Views are refreshed one at a time, and each rests at least as long as its refresh took. Therefore a
//! schedule that cannot be kept does not keep the server busy all the time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tidegate_store::Store;
use tidegate_views::{Refresh, RefreshedView, upkeep};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

/// The shortest and the longest time between two checks of what is due.
const LOOK_EVERY_MIN: Duration = Duration::from_secs(1);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(60 * 60);
/// The first and the longest back-off after a failed refresh.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

/// Refreshes views until the handle is dropped. A refresh in hand is then cancelled, and its view stays as it was.
pub(crate) fn start(store: Store) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(refresh_on_time(store)))
}

/// When a view may be refreshed again, and the back-off after its last failure.
#[derive(Default)]
struct RefreshPause {
    until: Option<Instant>,
    pause: Duration,
}

impl RefreshPause {
    fn left(&self) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    fn succeeded(&mut self, took: Duration) {
        *self = Self { until: Some(Instant::now() + took), pause: Duration::ZERO };
    }

    fn failed(&mut self) -> Duration {
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.until = Some(Instant::now() + self.pause);
        self.pause
    }
}

async fn refresh_on_time(store: Store) {
    let mut rests: HashMap<String, RefreshPause> = HashMap::new();
    let mut of_asking = RefreshPause::default();
    loop {
        let due = match upkeep::due(&store).await {
            Ok(due) => due,
            Err(error) => {
                let pause = of_asking.failed();
                warn!(
                    retry_in_s = pause.as_secs(),
                    "which views are to be refreshed cannot be asked: {error}"
                );
                tokio::time::sleep(pause).await;
                continue;
            }
        };
        of_asking.succeeded(Duration::ZERO);
        let mut wait = LOOK_EVERY_MAX;
        for RefreshedView { view, after } in due {
            let rest = rests.entry(view.clone()).or_default();
            let after = after.max(rest.left());
            if !after.is_zero() {
                wait = wait.min(after);
                continue;
            }
            wait = LOOK_EVERY_MIN;
            match upkeep::refresh(&store, &view).await {
                Ok(refreshed) => {
                    rest.succeeded(refreshed.took);
                    log(&refreshed);
                }
                Err(error) => {
                    let pause = rest.failed();
                    warn!(view, retry_in_s = pause.as_secs(), "a view was not refreshed: {error}");
                }
            }
        }
        tokio::time::sleep(wait.max(LOOK_EVERY_MIN)).await;
    }
}

/// Refreshes all materialized views once. A view whose refresh fails stays as it was; the run does not fail.
pub(crate) async fn refresh_all(store: &Store) {
    let due = match upkeep::due(store).await {
        Ok(due) => due,
        Err(error) => return warn!("views were not refreshed at the end of the run: {error}"),
    };
    for RefreshedView { view, .. } in due {
        match upkeep::refresh(store, &view).await {
            Ok(refreshed) => log(&refreshed),
            Err(error) => {
                warn!(
                    view,
                    "a view was not refreshed at the end of the run: {error}; see 'tidegate view refresh'"
                );
            }
        }
    }
}

fn log(Refresh { view, concurrently, took }: &Refresh) {
    info!(view, concurrently, ms = took.as_millis() as u64, "refreshed");
}
