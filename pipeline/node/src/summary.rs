//! The summary of a run.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use tidegate_core::ledger::{Effects, Fate};
use tidegate_postgres::relation::{Column, ColumnKind, Relation};
use tidegate_store::{Store, totals};

use crate::files::Files;

/// The summary of a run.
#[derive(Debug)]
pub struct RunSummary {
    /// A row for each dataset: its sources and the fates of their lines, as the ledger stands now.
    pub datasets: Relation,
    /// The outcome for the files of the landing folder.
    pub files: Files,
    /// Files whose every line was rejected, by source and name.
    pub wholly_rejected: Vec<(u64, String)>,
    /// Sources whose lines are not all accounted for although the run was idle, with their names.
    pub incomplete: Vec<(u64, String)>,
    /// For each dataset whose table gets no rows: what happened and what to do.
    pub datasets_stopped: Vec<String>,
    /// How many more lines are rejected or waiting than before the run.
    pub new_dead_letters: u64,
    /// How many lines entered during the run.
    pub lines: u64,
    /// How long the run took.
    pub took: Duration,
    /// The resources that the process has used.
    pub usage: Usage,
    /// Whether the run was stopped before it was idle.
    pub stopped: bool,
}

/// The resources that this process has used since it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time in seconds, in user mode and in the kernel.
    pub cpu_seconds: f64,
    /// The peak of resident memory, in bytes.
    pub peak_memory_bytes: u64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Self::default() };
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        // Linux counts in KiB, macOS in bytes.
        let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
        Self {
            cpu_seconds: seconds(usage.user_time()) + seconds(usage.system_time()),
            peak_memory_bytes: usage.max_rss() as u64 * unit,
        }
    }
}

impl RunSummary {
    /// The last line of the printed summary.
    pub fn in_words(&self) -> String {
        let seconds = self.took.as_secs_f64();
        let rate = self.lines as f64 / seconds.max(0.001);
        let stopped = if self.stopped { "; stopped: the next run goes on from here" } else { "" };
        format!(
            "{} lines in {seconds:.2} s ({rate:.0} lines/s), {} new dead letters{stopped}",
            self.lines, self.new_dead_letters
        )
    }
}

/// How many lines are rejected, and how many are waiting.
pub(crate) async fn dead_letters(store: &Store) -> Result<[u64; 2], tidegate_postgres::PgError> {
    let totals = totals::read(store).await?;
    let sum = |fate: Fate| totals.iter().map(|total| total.fates[fate as usize] as u64).sum();
    Ok([sum(Fate::Rejected), sum(Fate::Waiting)])
}

/// A row for each dataset: how many sources it has, and the fates of their lines.
pub(crate) async fn datasets(store: &Store) -> Result<Relation, tidegate_postgres::PgError> {
    let totals = totals::read(store).await?;
    let mut columns = vec![Column::new("dataset", ColumnKind::Text)];
    let counted = ["sources", "accepted"].into_iter().chain(Effects::NAMES);
    let counted = counted.chain(["rejected", "waiting", "discarded", "in_flight"]);
    columns.extend(counted.map(|name| Column::new(name, ColumnKind::Number)));
    let rows = store.manifest().datasets.iter().map(|dataset| {
        let mut sums = [0; 10];
        for total in totals.iter().filter(|total| total.dataset == dataset.name) {
            let [accepted, letters @ ..] = total.fates;
            let effects = total.effects.in_order().map(|lines| lines as i64);
            let counts = [total.sources, accepted].into_iter().chain(effects).chain(letters);
            let counts = counts.chain([total.in_flight]);
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let name = Some(dataset.name.clone());
        [name].into_iter().chain(sums.map(|sum| Some(sum.to_string()))).collect()
    });
    Ok(Relation { rows: rows.collect(), columns })
}
