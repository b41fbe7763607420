//! `tidegate status`: who runs which stage, on which partitions, and how far behind.

use tidegate_connectors::postgres::Member;
use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_core::dead_letter::Stage;
use uuid::Uuid;

use crate::cli::{Global, StatusArguments};
use crate::settings::Settings;
use crate::{Failure, output, run};

/// `tidegate status`.
///
/// # Errors
///
/// If Postgres cannot be asked, or no instance of the stage that is asked about runs on this machine.
pub async fn command(global: &Global, arguments: &StatusArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let members = settings.database(Uuid::nil())?.members().await;
    if let Some(stage) = arguments.ready {
        return assert_here(&members?, stage.into());
    }
    if let Some(stage) = arguments.alive {
        // Who is cut off from Postgres does not become better by a restart.
        return members.map_or(Ok(()), |members| assert_here(&members, stage.into()));
    }
    output::write(&relation(&members?), arguments.format).await
}

fn assert_here(members: &[Member], stage: Stage) -> Result<(), Failure> {
    let host = run::holder().host;
    if members.iter().any(|member| member.stage == stage.as_str() && member.holder.host == host) {
        return Ok(());
    }
    Err(Failure::new(format!("nobody runs the {} on {host}", stage.as_str())))
}

fn relation(members: &[Member]) -> Relation {
    let columns = vec![
        Column::new("stage", ColumnKind::Text),
        Column::new("host", ColumnKind::Text),
        Column::new("pid", ColumnKind::Number),
        Column::new("partitions", ColumnKind::Text),
        Column::new("lag_records", ColumnKind::Number),
    ];
    let row = |member: &Member| {
        let partitions: Vec<String> = member.partitions.iter().map(u32::to_string).collect();
        vec![
            Some(member.stage.clone()),
            Some(member.holder.host.clone()),
            Some(member.holder.pid.to_string()),
            Some(partitions.join(",")),
            member.lag_records.map(|lag| lag.to_string()),
        ]
    };
    Relation { columns, rows: members.iter().map(row).collect() }
}
