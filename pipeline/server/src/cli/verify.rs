//! `tidegate verify`: audits whether a pipeline keeps its invariants. The command changes nothing.

use std::sync::Mutex;
use std::time::Duration;

use clap::Args;
use indicatif::HumanCount;
use serde_json::json;
use tidegate_engine::HEAL_EVERY;
use tidegate_postgres::relation::ColumnKind::{Number, Text};
use tidegate_postgres::relation::Relation;
use tidegate_verify::{Report, Watch};
use tracing::info;

use crate::Failure;
use crate::cli::{Format, Global, output, progress, settings};

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

/// How much longer than usual healing may take while a pipeline is busy.
const HEAL_SLACK: Duration = Duration::from_secs(30);

/// Runs `tidegate verify`.
pub async fn command(global: &Global, arguments: &VerifyArguments) -> Result<(), Failure> {
    let (settings, store) = settings::load_with_store(global)?;
    let (landing, heal_within) = (Some(settings.landing.as_path()), HEAL_EVERY + HEAL_SLACK);
    audit(arguments.format, async |watch| {
        tidegate_verify::run(&store, heal_within, landing, arguments.deep, watch).await
    })
    .await
}

/// Runs an audit, prints its findings, and fails if one is a violation.
pub(crate) async fn audit(
    format: Format,
    verify: impl AsyncFnOnce(&Watch<'_>) -> Result<Report, tidegate_postgres::PgError>,
) -> Result<(), Failure> {
    let (bar, told) = (progress::spinner(), Mutex::new(""));
    let watch = |check, count| {
        if !bar.is_hidden() {
            bar.set_message(format!("{check}: {}", HumanCount(count)));
        } else if told.lock().is_ok_and(|mut told| std::mem::replace(&mut *told, check) != check) {
            info!(check, "looking at");
        }
    };
    let report = verify(&watch).await;
    bar.finish_and_clear();
    let report = report?;
    output::write(&relation(&report), format).await?;
    match report.violations() {
        0 if format == Format::Table => output::print("no violation\n"),
        0 => Ok(()),
        1 => Err(Failure::new("there is a violation")),
        violations => Err(Failure::new(format!("there are {violations} violations"))),
    }
}

/// One row for each finding.
fn relation(report: &Report) -> Relation {
    let columns =
        [("check", Text), ("result", Text), ("count", Number), ("position", Text), ("message", Text)];
    let findings = report.checks.iter().flat_map(|check| check.findings.iter().map(|f| (check.name, f)));
    let rows = findings.map(|(check, finding)| {
        json!([check, finding.verdict.as_str(), finding.count, finding.position, finding.message])
    });
    output::relation(&columns, rows)
}
