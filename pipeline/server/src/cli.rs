//! The commands and their flags.

mod backups;
mod letters;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidegate_connectors::postgres::Role;
use tidegate_core::dead_letter::Stage;
use tidegate_core::manifest::PARTITIONS_MAX;

use crate::run::Allowed;
use crate::trace::place::Place;
pub use backups::{BackupArguments, CodecName, RestoreArguments};
pub use letters::{LettersArguments, LettersCommand, LettersFormat, MoveArguments, ReplayArguments, Which};

/// Streams CSV into Postgres with every line accounted for exactly once.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// For every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tidegate demo                                  the whole of it, with a Postgres of its own
  tidegate init --from data/*.csv                a manifest to start from
  tidegate check                                 what is missing before it can run
  tidegate run --until-idle                      ingest all that is in the landing folder
  tidegate view hires_by_quarter --where year=2021 --format csv
  tidegate dead-letters summary
  tidegate trace hired_employees.csv:117         the story of a line
  tidegate verify --deep                         whether every line is where it must be

Exit codes: 0 done, 1 failed or a violation, 2 asked wrongly or faulty manifest, 3 more dead letters than allowed;
with --until-idle also 5 every line of a file was rejected, 4 something was left in the landing folder. If several
hold, the code is the first of 1, 2, 3, 5, 4, and all are said.
Logs go to stderr; RUST_LOG sets their level.";

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The manifest
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_CONFIG",
        default_value = "tidegate.yaml",
        value_name = "FILE"
    )]
    pub config: PathBuf,
    /// The database, as postgres://user@host:5432/name
    #[arg(long, global = true, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// Where topics are kept [default: .tidegate beside the manifest]
    #[arg(long, global = true, env = "TIDEGATE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The folder that is watched [default: the manifest's]
    #[arg(long, global = true, env = "TIDEGATE_LANDING", value_name = "DIR")]
    pub landing: Option<PathBuf>,
    /// Say more on stderr; twice for everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole pipeline over the example, with a private Postgres unless one is given
    Demo(DemoArguments),
    /// Run the pipeline of the manifest
    Run(RunArguments),
    /// Run only the source, of a pipeline whose topics are on a cluster
    Source(SourceArguments),
    /// Run only the transform, of a pipeline whose topics are on a cluster
    Transform(StageArguments),
    /// Run only the sink, of a pipeline whose topics are on a cluster
    Sink(StageArguments),
    /// Show who runs which stage, on which partitions, and how far behind
    Status(StatusArguments),
    /// Bring back what a Postgres that was restored to an earlier moment lacks
    Recover(RecoverArguments),
    /// Say whether the pipeline can run, and what is missing; changes nothing
    Check(FormatArguments),
    /// Audit a pipeline, while it runs or rests: rows, ledger, dead letters, references, views
    Verify(VerifyArguments),
    /// Write a manifest to start from
    Init(InitArguments),
    /// Show a metric view; list, explain, apply, verify and refresh them
    View(ViewArguments),
    /// Show all sources and what became of their lines; read some again
    Sources(SourcesArguments),
    /// Show lines that are not in their table, with the reasons; replay, discard and export them
    DeadLetters(LettersArguments),
    /// Show the topics, and what is on them
    Topic(TopicArguments),
    /// Tell the story of a line: where it came from, what became of it, which row holds it
    Trace(TraceArguments),
    /// Run the transform on an Arroyo cluster: the job's SQL, its functions, and deploying both
    Arroyo(ArroyoArguments),
    /// Write all tables to Avro files, as they are at one moment
    Backup(BackupArguments),
    /// Bring rows of Avro files back, or an empty database as it was
    Restore(RestoreArguments),
    /// Say who may use the HTTP API: make, list and delete tokens
    Token(TokenArguments),
    /// Write example data of any size: departments, jobs and employees
    #[command(hide = true)]
    Generate(GenerateArguments),
}

/// `sources`.
#[derive(Clone, Debug, Args)]
pub struct SourcesArguments {
    /// What to do [default: show all]
    #[command(subcommand)]
    pub command: Option<SourcesCommand>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t, global = true)]
    pub format: Format,
}

/// What to do with sources.
#[derive(Clone, Debug, Subcommand)]
pub enum SourcesCommand {
    /// Read sources again, each as a new one, from their files in done/
    #[command(after_help = "\
Examples:
  tidegate sources reload 7        the file of source 7 once more, by the manifest as it is now
  tidegate sources reload 7 8 9    some more, in this order

The running pipeline does it; if none runs, this command runs it until it is idle. The new source is the newest: its
rows replace those of others with the same keys. Exits with 1 if a file in done/ is gone, or is not what was read.")]
    Reload(ReloadArguments),
}

/// `sources reload`.
#[derive(Clone, Debug, Args)]
pub struct ReloadArguments {
    /// Their numbers, as 'tidegate sources' shows them
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<u64>,
    /// Who asks [default: the user]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `token`.
#[derive(Debug, Args)]
pub struct TokenArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and show it this once
    #[command(after_help = "\
Examples:
  tidegate token create loader --role ingest                  for who sends rows
  tidegate token create dashboard --role read --expires-in 90d
  tidegate token create admin --role operate                  may do everything

Only the hash of a token is kept. A running pipeline knows of it within a second or two.")]
    Create {
        /// What people know it by
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: RoleName,
        /// How long it is good for: 12h, 90d
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
    },
    /// List tokens
    List(FormatArguments),
    /// Delete a token: whoever shows it is not known any more
    Delete {
        /// Its name
        name: String,
    },
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Send rows, and see what became of them
    Ingest,
    /// Look at everything
    Read,
    /// All of it: move dead letters, back up, restore
    Operate,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Ingest => Self::Ingest,
            RoleName::Read => Self::Read,
            RoleName::Operate => Self::Operate,
        }
    }
}

/// How a result is written to stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// RFC 4180, with a header row.
    Csv,
    /// An array of objects.
    Json,
}

/// `--format`.
#[derive(Clone, Copy, Debug, Args)]
pub struct FormatArguments {
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// Keep the private Postgres up until Ctrl-C, to look around in it
    #[arg(long)]
    pub hold: bool,
}

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
or that somebody holds open for writing. If several hold, the code is the first of 3, 5, 4.
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
    pub max_dead_letters: Option<Allowed>,
    /// How to write the summary
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

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

/// Flags of `status`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate status                       all instances of all stages
  tidegate status --format json         the same for machines
  tidegate status --ready sink          exit with 1 unless this machine runs the stage: a readiness probe
  tidegate status --alive sink          the same, but 0 while Postgres cannot be asked: a liveness probe")]
pub struct StatusArguments {
    /// Exit with 1 unless an instance of this stage runs on this machine
    #[arg(long, value_enum, value_name = "STAGE", conflicts_with = "alive")]
    pub ready: Option<StageName>,
    /// Exit with 1 if Postgres says that no instance of this stage runs on this machine
    #[arg(long, value_enum, value_name = "STAGE")]
    pub alive: Option<StageName>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// A stage of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StageName {
    /// From the landing folder to the raw topics.
    Source,
    /// From the raw topics to the accepted ones and `dead-letters`.
    Transform,
    /// From there into Postgres.
    Sink,
}

impl From<StageName> for Stage {
    fn from(name: StageName) -> Self {
        match name {
            StageName::Source => Self::Source,
            StageName::Transform => Self::Transform,
            StageName::Sink => Self::Sink,
        }
    }
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

/// Flags of `recover`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate recover --dry-run   list what is missing, and from where it can be brought back
  tidegate recover             bring it back, from the landing folder, done/ and the topics

Exits with 1 if something is missing for good. A file that is found later, in a backup, goes into the
landing folder under its name, and 'tidegate run' reads it under the number that it had.")]
pub struct RecoverArguments {
    /// Only list it
    #[arg(long)]
    pub dry_run: bool,
    /// How to write the list
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Flags of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate verify                  what is wrong, if anything is, with positions
  tidegate verify --format json    the same for machines
  tidegate verify --deep           the same, and each line of the files in done/

It reads one snapshot, locks and changes nothing, and a role that may only read will do.
Exits with 1 if there is a violation. What is worth knowing but breaks no promise is a note.")]
pub struct VerifyArguments {
    /// Read the files in done/ again, and compare each line with its row or dead letter
    #[arg(long)]
    pub deep: bool,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Flags of `init`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tidegate init --from departments.csv jobs.csv hired_employees.csv")]
pub struct InitArguments {
    /// Files to infer datasets, columns and types from
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub from: Vec<PathBuf>,
    /// Replace a manifest that is there
    #[arg(long)]
    pub force: bool,
}

/// Flags of `view`.
#[derive(Debug, Args)]
#[command(
    subcommand_negates_reqs = true,
    override_usage = "tidegate view [OPTIONS] <NAME>\n       tidegate view [OPTIONS] <COMMAND>",
    after_help = "\
Examples:
  tidegate view departments_above_mean --where year=2021 --format csv
  tidegate view list                              what there is, and how fresh
  tidegate view explain hires_by_quarter          how it is kept exact, or why it cannot be
  tidegate view apply --dry-run                   what the next start does about changed files
  tidegate view verify                            each view against its query computed afresh
  tidegate view refresh                           materialized views, now

'tidegate view NAME' is short for 'tidegate view show NAME', which also shows a view that is called
like one of the commands."
)]
pub struct ViewArguments {
    /// What to do [default: show]
    #[command(subcommand)]
    pub command: Option<ViewCommand>,
    /// The view to show
    #[arg(required = true)]
    pub name: Option<String>,
    /// Only rows where a column has a value; may be given more than once
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = parse_filter)]
    pub filters: Vec<(String, String)>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t, global = true)]
    pub format: Format,
}

/// What to do with the views.
#[derive(Debug, Subcommand)]
pub enum ViewCommand {
    /// The rows of a view
    Show {
        /// The view
        name: String,
        /// Only rows where a column has a value; may be given more than once
        #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = parse_filter)]
        filters: Vec<(String, String)>,
    },
    /// All views: what they are, what they read, how fresh they are
    List,
    /// What a view is, why, and how it is kept; what the next start does to it
    #[command(after_help = "\
Examples:
  tidegate view explain hires_by_quarter    the store behind it, and the query that reads it
  tidegate view explain                     all views
  tidegate view explain --format json       the same for machines")]
    Explain {
        /// The view [default: all]
        name: Option<String>,
    },
    /// Bring the views of the database to what the files say, as the start of a run does
    #[command(after_help = "\
Examples:
  tidegate view apply --dry-run    the plan; changes nothing, and a running pipeline does not mind
  tidegate view apply              make, rebuild, replace and drop views while no run is active
  tidegate view apply --cascade    the same, and drop what others have built on a view that has to go

Readers of a view go on reading while it is rebuilt. A dry run exits with 1 if others have built on a
view that has to go, as applying would.")]
    Apply {
        /// Only show the plan
        #[arg(long)]
        dry_run: bool,
        /// Drop what others have built on a view that has to be dropped
        #[arg(long)]
        cascade: bool,
    },
    /// Compare views with their queries computed afresh, and stores with their tables
    #[command(after_help = "\
It reads one snapshot, locks and changes nothing. Exits with 1 if a view or a store differs. A
refreshed view is not compared: it is as old as its last refresh, which is noted.")]
    Verify {
        /// The views [default: all]
        names: Vec<String>,
    },
    /// Refresh materialized views now, while the pipeline runs or rests
    Refresh {
        /// The views [default: all that are refreshed]
        names: Vec<String>,
    },
}

fn parse_filter(text: &str) -> Result<(String, String), String> {
    let (column, value) = text.split_once('=').ok_or("write column=value, for example year=2021")?;
    Ok((column.to_owned(), value.to_owned()))
}

/// Flags of `topic`.
#[derive(Debug, Args)]
pub struct TopicArguments {
    /// What to show [default: list]
    #[command(subcommand)]
    pub command: Option<TopicCommand>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t, global = true)]
    pub format: Format,
}

/// What to show of the topics.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// All topics, with their offsets
    List,
    /// The records of a topic
    Read {
        /// The topic
        name: String,
        /// The partition [default: all, one after the other]
        #[arg(long)]
        partition: Option<u32>,
        /// The first offset to show [default: the first there is]
        #[arg(long)]
        from: Option<u64>,
        /// At most so many records
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

/// Flags of `trace`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate trace hired_employees.csv:117                  a line of a file, by its name or path
  tidegate trace 3:117 --format json                      the same by its source
  tidegate trace --dataset departments --key 7            the row of a key, and its dead letters
  tidegate trace --dataset departments --key 7 --deep     all its lines, as far as files still have them

LINE counts records from 1, without header and blank lines. A bare number is a source; write ./123:4 for a
file of that name. The docs list the events: docs/trace.md.")]
pub struct TraceArguments {
    /// Which line
    #[arg(
        value_name = "FILE:LINE|SOURCE:LINE",
        required_unless_present = "key",
        conflicts_with_all = ["dataset", "key"]
    )]
    pub place: Option<Place>,
    /// The dataset of the row
    #[arg(long, requires = "key")]
    pub dataset: Option<String>,
    /// The key of the row
    #[arg(long, requires = "dataset", allow_hyphen_values = true)]
    pub key: Option<String>,
    /// Look for lines of the key in all files of the landing folder and of done/ as well
    #[arg(long, requires = "key")]
    pub deep: bool,
    /// At most so many lines of the key, the newest
    #[arg(long, requires = "key", default_value_t = 100)]
    pub limit: usize,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Flags of `arroyo`.
#[derive(Debug, Args)]
pub struct ArroyoArguments {
    /// What to do
    #[command(subcommand)]
    pub command: ArroyoCommand,
}

/// What to do with an Arroyo cluster, or for one.
#[derive(Debug, Subcommand)]
pub enum ArroyoCommand {
    /// Print the SQL of the whole job
    Sql(ArroyoSqlArguments),
    /// Print the source of a function with its dependencies, or write all of them to a folder
    #[command(disable_version_flag = true)]
    Udf(ArroyoUdfArguments),
    /// Bring the job of a cluster to what the manifest says, and wait until it runs
    #[command(disable_version_flag = true)]
    Deploy(ArroyoDeployArguments),
}

/// Flags of `arroyo sql`.
#[derive(Debug, Args)]
pub struct ArroyoSqlArguments {
    /// The Fluvio cluster as Arroyo reaches it, as host:port [default: the manifest's]
    #[arg(long, value_name = "HOST:PORT")]
    pub endpoint: Option<String>,
}

/// Where Arroyo's compiler finds the crate `tidegate-udf`.
#[derive(Debug, Args)]
pub struct ArroyoOriginArguments {
    /// In this git repository, at --tag
    #[arg(long, value_name = "URL", requires = "tag", conflicts_with_all = ["crate_version", "path"])]
    pub git: Option<String>,
    /// The tag of the repository
    #[arg(long, requires = "git")]
    pub tag: Option<String>,
    /// In its crates registry, in exactly this version [default: that of this command]
    #[arg(long = "version", value_name = "VERSION", conflicts_with = "path")]
    pub crate_version: Option<String>,
    /// In this folder, on the machine that compiles: for trying things out
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
}

/// Flags of `arroyo udf`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate arroyo udf --dataset jobs --function accept --git https://example.org/tidegate.git --tag v0.1.0
  tidegate arroyo udf --to functions     a file for each dataset and function")]
pub struct ArroyoUdfArguments {
    /// Where the crate is
    #[command(flatten)]
    pub origin: ArroyoOriginArguments,
    /// Of this dataset [default: all]
    #[arg(long)]
    pub dataset: Option<String>,
    /// This function [default: both]
    #[arg(long, value_enum)]
    pub function: Option<ArroyoFunction>,
    /// Write the sources to this folder, a file each, for Arroyo takes one function from a file
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

/// A function of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ArroyoFunction {
    /// The canonical record, or null
    Accept,
    /// The dead letter, or null
    Reject,
}

/// Flags of `arroyo deploy`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate arroyo deploy --api http://arroyo:5115 --dry-run    what would be done
  tidegate arroyo deploy --api http://arroyo:5115 --endpoint fluvio-sc:9003 --parallelism 4

If the cluster wants a token, set TIDEGATE_ARROYO_TOKEN. Deploying again is safe at any time: what runs
as it should is left alone, and what was interrupted is completed.")]
pub struct ArroyoDeployArguments {
    /// Where the cluster's API is
    #[arg(long, env = "TIDEGATE_ARROYO_API", hide_env_values = true, value_name = "URL")]
    pub api: String,
    /// The Fluvio cluster as Arroyo reaches it, as host:port [default: the manifest's]
    #[arg(long, value_name = "HOST:PORT")]
    pub endpoint: Option<String>,
    /// Where the crate is
    #[command(flatten)]
    pub origin: ArroyoOriginArguments,
    /// How many subtasks each part of the job has [default: as it is, 1 for a new job]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub parallelism: Option<u64>,
    /// How long Arroyo may take to compile the functions, to stop the old job and to start the new one
    #[arg(long, default_value = "30m", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub timeout: Duration,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

/// Flags of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArguments {
    /// Where to write the files
    #[arg(long, default_value = ".")]
    pub to: PathBuf,
    /// How many employees
    #[arg(long, default_value_t = 1_000_000)]
    pub employees: u64,
    /// How many of a hundred lines lack a field
    #[arg(long, default_value_t = 3.5)]
    pub rejects_percent: f64,
    /// The same seed gives the same files
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Cli {
    /// The level of logs where `RUST_LOG` does not set one.
    pub fn log_level(&self) -> &'static str {
        match self.global.verbose {
            0 => "warn,deadpool=error,tidegate=info,tidegate_engine=info,tidegate_connectors=info",
            1 => {
                "warn,deadpool=error,tidegate=debug,tidegate_engine=debug,tidegate_connectors=debug,tidegate_topics=debug"
            }
            _ => "debug",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
