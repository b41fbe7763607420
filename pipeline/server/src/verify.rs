//! `tidegate verify`: whether a pipeline keeps what it promises. It changes nothing.

use std::time::Duration;

use indicatif::{HumanCount, ProgressBar};
use tidegate_connectors::postgres;
use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_connectors::postgres::verify::{Report, Watch};
use tidegate_engine::HEAL_EVERY;
use tracing::info;
use uuid::Uuid;

use crate::cli::{Format, Global, VerifyArguments};
use crate::settings::Settings;
use crate::{Failure, output, watch};

/// How much longer than usual healing may take in a pipeline that is busy.
const HEAL_SLACK: Duration = Duration::from_secs(30);

/// `tidegate verify`.
///
/// # Errors
///
/// If anything is violated, or the database cannot be asked.
pub async fn command(global: &Global, arguments: &VerifyArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let postgres = settings.database(Uuid::nil())?;
    let (landing, heal_within) = (Some(settings.landing.as_path()), HEAL_EVERY + HEAL_SLACK);
    let verify = async |watch: &Watch<'_>| postgres.verify(heal_within, landing, arguments.deep, watch).await;
    audit(arguments.format, verify).await
}

/// Makes an audit, shows what it found, and fails if that is a violation.
pub(crate) async fn audit(
    format: Format,
    verify: impl AsyncFnOnce(&Watch<'_>) -> Result<Report, postgres::Error>,
) -> Result<(), Failure> {
    let progress = Progress::start();
    let report = verify(&|check, count| progress.show(check, count)).await;
    progress.end();
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
    let columns = vec![
        Column::new("check", ColumnKind::Text),
        Column::new("result", ColumnKind::Text),
        Column::new("count", ColumnKind::Number),
        Column::new("position", ColumnKind::Text),
        Column::new("message", ColumnKind::Text),
    ];
    let findings = report.checks.iter().flat_map(|check| check.findings.iter().map(|f| (check.name, f)));
    let rows = findings.map(|(check, finding)| {
        vec![
            Some(check.to_owned()),
            Some(finding.verdict.as_str().to_owned()),
            Some(finding.count.to_string()),
            finding.position.clone(),
            Some(finding.message.clone()),
        ]
    });
    Relation { columns, rows: rows.collect() }
}

/// What a person sees meanwhile: a bar in a terminal, a line for each check elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
    shown: std::sync::Mutex<&'static str>,
}

impl Progress {
    fn start() -> Self {
        let bar = watch::spinner();
        if let Some(bar) = &bar {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, shown: std::sync::Mutex::new("") }
    }

    fn show(&self, check: &'static str, count: u64) {
        if let Some(bar) = &self.bar {
            return bar.set_message(format!("{check}: {}", HumanCount(count)));
        }
        if let Ok(mut shown) = self.shown.lock()
            && std::mem::replace(&mut *shown, check) != check
        {
            info!(check, "looking at");
        }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
