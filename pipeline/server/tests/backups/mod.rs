//! Backup and restore, end to end: while rows come in, when processes are killed, with files of others.

mod exact;
mod killed;
mod others;
mod over_http;
mod restoring;
mod slow;
mod taking;

use std::path::PathBuf;

use serde_json::Value;

use crate::company;
use crate::home::{Home, Outcome, Running};

/// The rows of all tables, without positions.
const ROWS: [&str; 3] = [
    "select id, department from departments order by id",
    "select id, job from jobs order by id",
    "select id, name, datetime, department_id, job_id from hired_employees order by id",
];

async fn rows(home: &Home) -> Vec<String> {
    let mut rows = Vec::new();
    for sql in ROWS {
        rows.extend(home.query(sql).await);
    }
    rows
}

/// A company whose example is ingested.
async fn ingested() -> Home {
    let home = company::embedded(company::MANIFEST).await;
    company::drop_example(&home);
    home.ingest().await;
    home
}

/// Takes a backup. Gives its description.
async fn back_up(home: &Home, arguments: &str) -> Value {
    home.run(&format!("backup --format json {arguments}")).await.succeeded().json()
}

fn path_of(home: &Home, backup: &Value) -> PathBuf {
    home.path(backup["path"].as_str().unwrap())
}

/// Runs a command with a path among its arguments, which may hold anything.
async fn run(home: &Home, arguments: &[&str]) -> Outcome {
    Running::start(home.command(arguments)).ended().await
}

/// Runs a command that is to end at a failpoint.
async fn killed_at(home: &Home, arguments: &[&str], point: &str) -> Outcome {
    let mut command = home.command(arguments);
    command.env("TIDEGATE_FAILPOINT", point);
    let outcome = Running::start(command).ended().await;
    assert_eq!(
        outcome.signal,
        Some(nix::sys::signal::Signal::SIGABRT as i32),
        "{point} is not passed: {outcome:?}"
    );
    outcome
}

async fn assert_sound(home: &Home) {
    home.ingest().await; // a source is marked complete a moment later than it is
    company::assert_accounted(home).await;
    home.run("verify").await.succeeded();
}
