//! Refreshes materialized views when their time has come, beside the pipeline.
//!
//! It holds no lease and no lock that a commit of the sink could wait for, and it ends with the run, however long a
//! refresh takes. Views are refreshed one at a time, and each rests at least as long as its refresh took: so
//! a schedule that cannot be kept does not keep the server busy for ever.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tidegate_connectors::postgres::Postgres;
use tidegate_connectors::postgres::views::{Due, Refreshed};
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// The shortest and the longest time between two looks.
const LOOK_EVERY_MIN: Duration = Duration::from_secs(1);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(60 * 60);
/// How long a view that could not be refreshed is left alone, first and at most.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

/// Refreshes views until it is dropped. A refresh in hand is given up then, and the view stays as it was.
pub(crate) struct Refresher(JoinHandle<()>);

impl Refresher {
    pub(crate) fn start(postgres: Postgres) -> Self {
        Self(tokio::spawn(refresh_on_time(postgres)))
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// When a view may be refreshed again, and how long the pause is that its last failure has brought.
#[derive(Default)]
struct Rest {
    until: Option<Instant>,
    pause: Duration,
}

impl Rest {
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

async fn refresh_on_time(postgres: Postgres) {
    let mut rests: HashMap<String, Rest> = HashMap::new();
    let mut of_asking = Rest::default();
    loop {
        let due = match postgres.due_views().await {
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
        for Due { view, after } in due {
            let rest = rests.entry(view.clone()).or_default();
            let after = after.max(rest.left());
            if !after.is_zero() {
                wait = wait.min(after);
                continue;
            }
            wait = LOOK_EVERY_MIN;
            match postgres.refresh_view(&view).await {
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

/// Refreshes all materialized views once. One that fails stays as it was, which is no fault of the run.
pub(crate) async fn refresh_all(postgres: &Postgres) {
    let due = match postgres.due_views().await {
        Ok(due) => due,
        Err(error) => return warn!("views were not refreshed at the end of the run: {error}"),
    };
    for Due { view, .. } in due {
        match postgres.refresh_view(&view).await {
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

fn log(Refreshed { view, concurrently, took }: &Refreshed) {
    info!(view, concurrently, ms = took.as_millis() as u64, "refreshed");
}
