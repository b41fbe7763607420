//! `tidegate run`.

mod ending;

use clap::Args;
use serde_json::json;
use tidegate_engine::Until;
use tidegate_node::{Files, Node, RunSummary, Settings};

use crate::cli::{Format, Global, output, progress, settings, signals};
use crate::{Failure, formats, http};

pub use ending::DeadLetterLimit;
pub(crate) use ending::{fail_with, left};

/// Flags of `run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate run                                    watch the landing folder until stopped
  tidegate run --until-idle --format json         ingest what is there, and end
  tidegate run --until-idle --max-dead-letters 1%  the same, and exit with 3 if more lines were refused
  tidegate run --take-over                        in the place of a process that hangs, here or elsewhere

With --until-idle the exit code tells what is left to do: 3 more dead letters than --max-dead-letters, 5 every line of
a file was rejected, 4 something was left in the landing folder: files that cannot be read, that belong to no dataset,
or that a process holds open for writing. If several hold, the code is the first of 3, 5, 4.
SIGTERM and Ctrl-C finish the batch in hand and end; the next run goes on where this one stopped.")]
pub struct RunArguments {
    /// End when all that is in the landing folder is accounted for
    #[arg(long)]
    pub until_idle: bool,
    /// Run in the place of a process that runs the pipeline already; it can commit nothing from then on
    #[arg(long)]
    pub take_over: bool,
    /// Exit with 3 if this run leaves more new dead letters than so many, or than such a share of its lines
    #[arg(long, value_name = "N|N%")]
    pub max_dead_letters: Option<DeadLetterLimit>,
    /// How to write the summary
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Runs `tidegate run`.
pub async fn command(global: &Global, arguments: &RunArguments) -> Result<(), Failure> {
    let settings = settings::load(global)?;
    let until = if arguments.until_idle { Until::Idle } else { Until::Stopped };
    let outcome = pipeline(&settings, until, arguments.take_over).await?;
    match arguments.format {
        Format::Json => output::print(json(&outcome)?)?,
        Format::Csv => output::write(&outcome.datasets, Format::Csv).await?,
        Format::Table => {
            let table = output::table_here(&outcome.datasets.clone().without_zeros("uncounted"));
            let passed_over = outcome.files.passed_over_in_words().map(|words| words + "\n");
            output::print(format!("{table}{}\n{}", outcome.in_words(), passed_over.unwrap_or_default()))?;
        }
    }
    ending::fail_with(ending::faults(&outcome, arguments.max_dead_letters, until == Until::Idle))
}

/// Runs the pipeline of `settings` until it is idle or a signal comes. With `take_over`, replaces a process that
/// already runs it.
pub async fn pipeline(settings: &Settings, until: Until, take_over: bool) -> Result<RunSummary, Failure> {
    let mut node = Node::open(settings, signals::stop_run()?, take_over)?;
    let serving = http::start(&node).await?;
    let ran = progress::of_run(node.counts().clone(), node.run(until)).await?;
    if let Some(serving) = serving {
        serving.end().await;
    }
    node.summary(ran).await
}

fn json(summary: &RunSummary) -> Result<String, Failure> {
    let datasets: serde_json::Value = serde_json::from_str(&formats::json(&summary.datasets)?)?;
    let with_reason = |(path, reason): &(String, String)| json!({"path": path, "reason": reason});
    let Files { refused, left, unread, passed_over, .. } = &summary.files;
    let passed_over = passed_over.iter().map(|passed| json!({"file": passed.name, "source": passed.source}));
    let sources = |sources: &[(u64, String)]| {
        let of = |(source, name): &(u64, String)| json!({"source": source, "file": name});
        sources.iter().map(of).collect::<Vec<_>>()
    };
    let json = json!({
        "datasets": datasets,
        "lines": summary.lines,
        "new_dead_letters": summary.new_dead_letters,
        "seconds": summary.took.as_secs_f64(),
        "cpu_seconds": summary.usage.cpu_seconds,
        "peak_memory_bytes": summary.usage.peak_memory_bytes,
        "stopped": summary.stopped,
        "refused": refused.iter().map(with_reason).collect::<Vec<_>>(),
        "left": unread.iter().chain(left).map(with_reason).collect::<Vec<_>>(),
        "passed_over": passed_over.collect::<Vec<_>>(),
        "wholly_rejected": sources(&summary.wholly_rejected),
        "incomplete": sources(&summary.incomplete),
        "datasets_stopped": summary.datasets_stopped,
    });
    output::pretty(&json)
}
