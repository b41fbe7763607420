//! `tidegate status`: which processes run which stage, on which partitions, and how far behind.

use clap::Args;
use clap::builder::TypedValueParser;
use serde_json::json;
use tidegate_core::dead_letter::Stage;
use tidegate_node::alone::holder;
use tidegate_postgres::relation::ColumnKind::{Number, Text};
use tidegate_store::{Member, group};

use crate::Failure;
use crate::cli::{Format, Global, one_of, output, settings};

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
    #[arg(long, value_parser = stage(), value_name = "STAGE", conflicts_with = "alive")]
    pub ready: Option<Stage>,
    /// Exit with 1 if Postgres says that no instance of this stage runs on this machine
    #[arg(long, value_parser = stage(), value_name = "STAGE")]
    pub alive: Option<Stage>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

fn stage() -> impl TypedValueParser<Value = Stage> {
    one_of([
        (Stage::Source, "source", "From the landing folder to the raw topics"),
        (Stage::Transform, "transform", "From the raw topics to the accepted ones and `dead-letters`"),
        (Stage::Sink, "sink", "From there into Postgres"),
    ])
}

/// Runs `tidegate status`.
pub async fn command(global: &Global, arguments: &StatusArguments) -> Result<(), Failure> {
    let (_, store) = settings::load_with_store(global)?;
    let members = group::members(&store).await;
    if let Some(stage) = arguments.ready {
        return assert_here(&members?, stage);
    }
    if let Some(stage) = arguments.alive {
        // If Postgres cannot be reached, the instance counts as alive, because a restart would not help.
        return members.map_or(Ok(()), |members| assert_here(&members, stage));
    }
    let columns =
        [("stage", Text), ("host", Text), ("pid", Number), ("partitions", Text), ("lag_records", Number)];
    let rows = members?.into_iter().map(|Member { stage, holder, partitions, lag_records }| {
        let partitions: Vec<String> = partitions.iter().map(u32::to_string).collect();
        json!([stage, holder.host, holder.pid, partitions.join(","), lag_records])
    });
    output::write(&output::relation(&columns, rows), arguments.format).await
}

fn assert_here(members: &[Member], stage: Stage) -> Result<(), Failure> {
    let host = holder().host;
    if members.iter().any(|member| member.stage == stage && member.holder.host == host) {
        return Ok(());
    }
    Err(Failure::new(format!("no instance of the {} runs on '{host}'", stage.as_str())))
}
