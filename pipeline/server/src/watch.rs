//! What a person sees of a run: a bar in a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tidegate_core::contract::Tally;
use tidegate_engine::Counts;
use tokio::task::JoinHandle;
use tracing::info;

const IN_TERMINAL_EVERY: Duration = Duration::from_millis(200);
const ELSEWHERE_EVERY: Duration = Duration::from_secs(10);

/// Shows a run until it ends.
pub(crate) struct Watching {
    task: JoinHandle<()>,
    bar: Option<ProgressBar>,
}

/// Begins to show a run.
pub(crate) fn start(counts: Arc<Counts>) -> Watching {
    let bar = spinner();
    let task = tokio::spawn(show(counts, bar.clone()));
    Watching { task, bar }
}

/// A bar for work whose end is not known; `None` where nobody sees it.
pub(crate) fn spinner() -> Option<ProgressBar> {
    std::io::stderr().is_terminal().then(|| {
        let style = ProgressStyle::with_template("{spinner} {msg}  [{elapsed}]");
        ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
    })
}

/// Does `work`, and shows that it goes on.
pub(crate) async fn during<T>(what: &'static str, work: impl Future<Output = T>) -> T {
    let bar = spinner();
    if let Some(bar) = &bar {
        bar.set_message(what);
        bar.enable_steady_tick(IN_TERMINAL_EVERY);
    }
    let begun = Instant::now();
    let mut work = pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            () = tokio::time::sleep(ELSEWHERE_EVERY), if bar.is_none() => {
                info!(seconds = begun.elapsed().as_secs(), "{what}");
            }
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    done
}

impl Watching {
    /// Takes the bar away.
    pub(crate) async fn end(self) {
        self.task.abort();
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

async fn show(counts: Arc<Counts>, bar: Option<ProgressBar>) {
    let every = if bar.is_some() { IN_TERMINAL_EVERY } else { ELSEWHERE_EVERY };
    let mut last = (0, 0);
    loop {
        tokio::time::sleep(every).await;
        let Sums { accepted, rejected, waiting, healed } = Sums::of(&counts.tallies(), counts.healed());
        let entered = counts.entered();
        match &bar {
            Some(bar) => {
                let (entered, accepted) = (HumanCount(entered), HumanCount(accepted));
                bar.set_message(format!(
                    "{entered} lines in, {accepted} accepted, {rejected} rejected, {waiting} waiting, {healed} healed"
                ));
                bar.tick();
            }
            None if (entered, healed) != last => {
                info!(entered, accepted, rejected, waiting, healed, "lines so far");
                last = (entered, healed);
            }
            None => {}
        }
    }
}

/// What has become of the lines of a run so far.
#[derive(Debug, PartialEq, Eq)]
struct Sums {
    accepted: u64,
    rejected: u64,
    /// Lines that wait now, as far as they have come in this run.
    waiting: u64,
    healed: u64,
}

impl Sums {
    fn of(tallies: &[Tally], healed: u64) -> Self {
        let waited: u64 = tallies.iter().map(|tally| tally.waiting).sum();
        Self {
            accepted: tallies.iter().map(|tally| tally.accepted).sum(),
            rejected: tallies.iter().map(|tally| tally.rejected).sum(),
            // Lines of earlier runs may heal too.
            waiting: waited.saturating_sub(healed),
            healed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_has_healed_waits_no_more() {
        let tallies = [Tally { accepted: 5, waiting: 3, ..Tally::default() }];
        let waiting = |healed| Sums::of(&tallies, healed).waiting;
        assert_eq!((waiting(0), waiting(2), waiting(9)), (3, 1, 0));
    }
}
