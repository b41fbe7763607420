//! `tidegate source`, `transform` and `sink`: one stage of a pipeline over a cluster.

use std::collections::BTreeSet;
use std::str::FromStr;

use clap::Args;
use tidegate_core::dead_letter::Stage;
use tidegate_core::manifest::PARTITIONS_MAX;
use tidegate_engine::Until;
use tidegate_node::{Node, Settings};

use crate::Failure;
use crate::cli::{Global, progress, run, settings, signals};

/// Flags of `transform` and `sink`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Examples:
  tidegate transform                    share the partitions with all others that run the stage
  tidegate transform --partitions 0-3   these and no others

Start as many as you like: each takes its share, and a dead one's partitions are taken over when its
lease has expired. SIGTERM and Ctrl-C finish the batch in hand and give the partitions back.")]
pub struct StageArguments {
    /// Run for these partitions alone, for example 0-3 or 0,2; no other instance takes them meanwhile
    #[arg(long, value_name = "PARTITIONS")]
    pub partitions: Option<Partitions>,
}

/// Flags of `source`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "\
Examples:
  tidegate source                       share the files of the landing folder with all other sources
  tidegate source --until-idle          end when all that is in the landing folder is accounted for

Each source takes the files whose names fall to its partitions. All of them must see the same landing
folder; each has a data directory of its own.")]
pub struct SourceArguments {
    /// As for the other stages
    #[command(flatten)]
    pub stage: StageArguments,
    /// End when all that is in the landing folder is accounted for
    #[arg(long)]
    pub until_idle: bool,
}

/// Partitions as a flag names them: `0-3`, `0,2,5-7`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partitions(pub BTreeSet<u32>);

impl FromStr for Partitions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write partitions as 0-3 or 0,2,5-7";
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|n| *n < PARTITIONS_MAX).ok_or(FORM);
        let mut partitions = BTreeSet::new();
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(FORM.to_owned());
            }
            partitions.extend(first..=last);
        }
        Ok(Self(partitions))
    }
}

/// Runs `tidegate source`.
pub async fn source(global: &Global, arguments: &SourceArguments) -> Result<(), Failure> {
    let settings = on_cluster(global, Stage::Source)?;
    let until = if arguments.until_idle { Until::Idle } else { Until::Stopped };
    let mut node = Node::open(&settings, signals::stop_run()?, false)?;
    let pinned = arguments.stage.partitions.as_ref().map(|partitions| partitions.0.clone());
    let files = progress::of_run(node.counts().clone(), node.stage(Stage::Source, pinned, until)).await?;
    run::fail_with(if until == Until::Idle { run::left(&files) } else { Vec::new() })
}

/// Runs `tidegate transform` or `tidegate sink`.
pub async fn stage(global: &Global, stage: Stage, arguments: &StageArguments) -> Result<(), Failure> {
    let settings = on_cluster(global, stage)?;
    let mut node = Node::without_data_dir(&settings, signals::stop_run()?)?;
    let pinned = arguments.partitions.as_ref().map(|partitions| partitions.0.clone());
    progress::of_run(node.counts().clone(), node.stage(stage, pinned, Until::Stopped)).await?;
    Ok(())
}

/// Reads the settings of a pipeline whose stages can run alone, because its topics are on a cluster.
fn on_cluster(global: &Global, stage: Stage) -> Result<Settings, Failure> {
    let settings = settings::load(global)?;
    if settings.manifest.fluvio.is_some() {
        return Ok(settings);
    }
    Err(Failure::usage(format!(
        "'tidegate {}' needs topics that other processes can reach, and those of this pipeline are embedded; \
         set 'topics: {{fluvio: ...}}' in '{}', or run all stages with 'tidegate run'",
        stage.as_str(),
        global.config.display()
    )))
}
