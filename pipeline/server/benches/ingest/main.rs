//! How fast is the main job? One command, one private Postgres, one run:
//!
//! ```sh
//! cargo bench --bench ingest                       # 1 and 10 million employees
//! cargo bench --bench ingest -- 1000000 --rounds 5
//! cargo bench --bench ingest -- --dialects         # a million orders in each dialect, and nothing else
//! ```
//!
//! For each size it times, in turn, `\copy` of clean rows into a table with its primary key, `\copy` into
//! one with the two foreign keys, and `tidegate run --until-idle` from a cold start over as many rows with
//! 3.5 % rejects; then it prints the medians, their ratios, and Tidegate's own CPU time and peak memory. [`dialects`]
//! follows: the same rows in other dialects and with other keys.

#![allow(clippy::print_stdout)] // what it measures is what it is for

#[path = "../common/mod.rs"]
mod common;
mod dialects;

use std::path::Path;
use std::time::Instant;

use common::{Anything, Bench, REJECTS_PERCENT, Run, median, psql, shipped_views};

/// How many orders are loaded in each dialect.
const DIALECT_ROWS: u64 = 1_000_000;

fn main() -> Anything<()> {
    let mut sizes: Vec<u64> = Vec::new();
    let (mut rounds, mut of_dialects) = (3, false);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--dialects" => of_dialects = true,
            "--rounds" => rounds = arguments.next().ok_or("--rounds takes a number")?.parse()?,
            size => sizes.push(size.parse()?),
        }
    }
    let bench = Bench::start()?;
    if of_dialects {
        dialects::compare(&bench, sizes.first().copied().unwrap_or(DIALECT_ROWS), rounds)?;
        return bench.stop();
    }
    if sizes.is_empty() {
        sizes = vec![1_000_000, 10_000_000];
    }
    println!("rows in thousands per second; median of {rounds} rounds, taken in turn");
    println!(
        "| rows | \\copy bare | \\copy with foreign keys | tidegate | ÷ bare | ÷ foreign keys | CPU s | peak MiB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut ratios = Vec::new();
    for size in sizes {
        ratios.push(compare(&bench, size, rounds)?);
    }
    if let [first, .., last] = ratios[..] {
        println!("\nratio to bare at the largest size ÷ at the smallest: {:.2}", last / first);
    }
    dialects::compare(&bench, DIALECT_ROWS, rounds)?;
    bench.stop()
}

/// Times one size. Gives Tidegate's rate by that of the bare copy.
fn compare(bench: &Bench, size: u64, rounds: usize) -> Anything<f64> {
    let clean = bench.generate("clean", size, 0.0)?;
    let broken = bench.generate("broken", size, REJECTS_PERCENT)?;
    let views = shipped_views()?;
    let (mut bare, mut with_keys, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(copy(bench, &clean, "", "")?);
        with_keys.push(copy(bench, &clean, " references departments", " references jobs")?);
        runs.push(bench.tidegate(&broken, &views)?);
    }
    let (bare, with_keys, run) = (median(bare), median(with_keys), Run::summary(&runs));
    let rate = |seconds: f64| size as f64 / seconds / 1000.0;
    println!(
        "| {size} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} |",
        rate(bare),
        rate(with_keys),
        rate(run.seconds),
        bare / run.seconds,
        with_keys / run.seconds,
        run.cpu_seconds,
        run.peak_mib,
    );
    Ok(bare / run.seconds)
}

/// `\copy` into a fresh table. Gives the seconds.
fn copy(bench: &Bench, files: &Path, departments: &str, jobs: &str) -> Anything<f64> {
    let url = bench.fresh_database("bench")?;
    let columns = format!(
        "id integer primary key, name text not null, datetime timestamptz not null, \
         department_id integer not null{departments}, job_id integer not null{jobs}"
    );
    psql(
        &url,
        &[
            "create table departments (id integer primary key, department text not null)",
            "create table jobs (id integer primary key, job text not null)",
            &format!("create table hired_employees ({columns})"),
            &format!("\\copy departments from '{}' csv", files.join("departments.csv").display()),
            &format!("\\copy jobs from '{}' csv", files.join("jobs.csv").display()),
        ],
    )?;
    let copy = format!("\\copy hired_employees from '{}' csv", files.join("hired_employees.csv").display());
    let begun = Instant::now();
    psql(&url, &[&copy])?;
    Ok(begun.elapsed().as_secs_f64())
}
