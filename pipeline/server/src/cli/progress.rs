//! The progress of a command, for people: a bar in a terminal, a line from time to time elsewhere.

use std::io::IsTerminal;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tidegate_core::contract::Tally;
use tidegate_engine::Counts;
use tracing::info;

const IN_TERMINAL_EVERY: Duration = Duration::from_millis(200);
/// How often progress is logged if stderr is no terminal.
pub(crate) const ELSEWHERE_EVERY: Duration = Duration::from_secs(10);

/// A bar for work of unknown length. It is hidden if stderr is no terminal, and goes when it is dropped.
pub(crate) fn spinner() -> ProgressBar {
    styled(ProgressBar::new_spinner(), "{spinner} {msg}  [{elapsed}]")
}

/// A bar for files of so many bytes in all, as [`spinner`] in everything else.
pub(crate) fn of_bytes(bytes: u64) -> ProgressBar {
    styled(ProgressBar::new(bytes), "{spinner} {bytes} of {total_bytes} read  [{elapsed}]")
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    bar.enable_steady_tick(IN_TERMINAL_EVERY);
    bar.with_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()),
    )
}

/// Does `work` and shows the progress of the run meanwhile.
pub(crate) async fn of_run<T>(counts: Arc<Counts>, work: impl Future<Output = T>) -> T {
    let bar = spinner();
    let mut last = (0, 0);
    let show = || {
        let (entered, healed) = (counts.entered(), counts.healed());
        let [accepted, rejected, waiting] = fates(&counts.tallies(), healed);
        if bar.is_hidden() && (entered, healed) != last {
            info!(entered, accepted, rejected, waiting, healed, "lines so far");
            last = (entered, healed);
        }
        let (entered, accepted) = (HumanCount(entered), HumanCount(accepted));
        bar.set_message(format!(
            "{entered} lines in, {accepted} accepted, {rejected} rejected, {waiting} waiting, {healed} healed"
        ));
    };
    every(if bar.is_hidden() { ELSEWHERE_EVERY } else { IN_TERMINAL_EVERY }, show, pin!(work)).await
}

/// Does `work` and says `what` meanwhile.
pub(crate) async fn during<T>(what: &'static str, work: impl Future<Output = T>) -> T {
    let (bar, begun) = (spinner().with_message(what), Instant::now());
    let tell = || {
        if bar.is_hidden() {
            info!(seconds = begun.elapsed().as_secs(), "{what}");
        }
    };
    every(ELSEWHERE_EVERY, tell, pin!(work)).await
}

/// Does `work`, and calls `tell` after every pause until it is done.
async fn every<T>(pause: Duration, mut tell: impl FnMut(), mut work: Pin<&mut impl Future<Output = T>>) -> T {
    loop {
        match tokio::time::timeout(pause, work.as_mut()).await {
            Ok(done) => return done,
            Err(_) => tell(),
        }
    }
}

/// How many lines of the run are accepted, rejected, and waiting by now.
fn fates(tallies: &[Tally], healed: u64) -> [u64; 3] {
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
    // Lines of earlier runs may heal too.
    let waiting = sum(|tally| tally.waiting).saturating_sub(healed);
    [sum(|tally| tally.accepted), sum(|tally| tally.rejected), waiting]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_has_healed_waits_no_more() {
        let tallies = [Tally { accepted: 5, waiting: 3, ..Tally::default() }];
        let waiting = |healed| fates(&tallies, healed)[2];
        assert_eq!((waiting(0), waiting(2), waiting(9)), (3, 1, 0));
    }
}
