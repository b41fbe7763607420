//! The commands and their flags.

pub mod run;
pub mod stages;
pub mod demo;
pub mod status;
pub mod recover;
pub mod check;
pub mod verify;
pub mod init;
pub mod preview;
pub mod view;
pub mod sources;
pub mod reload;
pub mod dead_letters;
pub mod topic;
pub mod trace;
pub mod arroyo;
pub mod backup;
pub mod restore;
pub mod token;
pub mod generate;
pub mod settings;
mod signals;
pub mod output;
mod progress;
mod requester;

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

use arroyo::ArroyoArguments;
use backup::BackupArguments;
use dead_letters::LettersArguments;
use demo::DemoArguments;
use generate::GenerateArguments;
use init::InitArguments;
use preview::PreviewArguments;
use recover::RecoverArguments;
use restore::RestoreArguments;
use run::RunArguments;
use sources::SourcesArguments;
use stages::{SourceArguments, StageArguments};
use status::StatusArguments;
use token::TokenArguments;
use topic::TopicArguments;
use trace::TraceArguments;
use verify::VerifyArguments;
use view::ViewArguments;

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
  tidegate preview data/jobs.csv                 what would become of a file, without a database
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
    /// Show what would become of a file by the manifest, without a database: columns, rows, rejects
    Preview(PreviewArguments),
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

/// Parses a value that is one of several words, each with its help.
fn one_of<T: Clone + Send + Sync + 'static>(
    values: impl IntoIterator<Item = (T, &'static str, &'static str)>,
) -> impl TypedValueParser<Value = T> {
    let values: Vec<_> = values.into_iter().collect();
    let words = values.iter().map(|(_, word, help)| PossibleValue::new(*word).help(*help));
    PossibleValuesParser::new(words).try_map(move |given| {
        let value = values.iter().find(|(_, word, _)| *word == given);
        value.map(|(value, ..)| value.clone()).ok_or("there is no such value")
    })
}

impl Cli {
    /// The log level, unless `RUST_LOG` sets one.
    pub fn log_level(&self) -> &'static str {
        match self.global.verbose {
            0 => "warn,deadpool=error,tidegate=info",
            1 => "warn,deadpool=error,tidegate=debug",
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
