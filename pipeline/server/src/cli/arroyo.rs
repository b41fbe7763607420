//! `tidegate arroyo`: the transform on an Arroyo cluster.
//!
//! # Layout
//!
//! * `sql`: the job, as SQL over the topics.
//! * `udf`: the job's functions, as sources.
//! * `deploy`: the steps from what a cluster runs to what the manifest says. `api`: its calls to the cluster.

mod sql;
mod udf;
mod api;
mod deploy;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tidegate_udf::source::Function;

use crate::Failure;
use crate::cli::{Global, one_of, output, settings};

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
    #[arg(long, value_parser = one_of([
        (Function::Accept, "accept", "The canonical record, or null"),
        (Function::Reject, "reject", "The dead letter, or null"),
    ]))]
    pub function: Option<Function>,
    /// Write the sources to this folder, a file each, for Arroyo takes one function from a file
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
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

/// Runs `tidegate arroyo`.
pub async fn command(global: &Global, arguments: &ArroyoArguments) -> Result<(), Failure> {
    let settings = settings::load(global)?;
    let manifest = &settings.manifest;
    match &arguments.command {
        ArroyoCommand::Sql(arguments) => {
            let endpoint = sql::endpoint(manifest, arguments.endpoint.as_deref())?;
            output::print(sql::job(manifest, endpoint))
        }
        ArroyoCommand::Udf(arguments) => udf::command(manifest, arguments),
        ArroyoCommand::Deploy(arguments) => deploy::command(manifest, arguments).await,
    }
}
