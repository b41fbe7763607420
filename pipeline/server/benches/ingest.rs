//! How fast is the main job? One command, one private Postgres, one run:
//!
//! ```sh
//! cargo bench --bench ingest                       # 1 and 10 million employees
//! cargo bench --bench ingest -- 1000000 --rounds 5
//! ```
//!
//! For each size it times, in turn, `\copy` of clean rows into a table with its primary key, `\copy` into
//! one with the two foreign keys, and `tidegate run --until-idle` from a cold start over as many rows with
//! 3.5 % rejects; then it prints the medians, their ratios, and Tidegate's own CPU time and peak memory.

#![allow(clippy::print_stdout)] // what it measures is what it is for

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use tidegate::generate::{self, Options};
use tidegate_connectors::postgres::private::{self, Server};

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

const REJECTS_PERCENT: f64 = 3.5;
const MANIFEST: &str = include_str!("../../../examples/company/tidegate.yaml");

fn main() -> Anything<()> {
    let mut sizes: Vec<u64> = Vec::new();
    let mut rounds = 3;
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().ok_or("--rounds takes a number")?.parse()?,
            size => sizes.push(size.parse()?),
        }
    }
    if sizes.is_empty() {
        sizes = vec![1_000_000, 10_000_000];
    }
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let options =
        private::Options { dir: folder.path().join("postgres"), temporary: true, ..Default::default() };
    let server = runtime.block_on(Server::start(options))?;
    println!("rows in thousands per second; median of {rounds} rounds, taken in turn");
    println!(
        "| rows | \\copy bare | \\copy with foreign keys | tidegate | ÷ bare | ÷ foreign keys | CPU s | peak MiB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut ratios = Vec::new();
    for size in sizes {
        let bench = Bench { server: &server, folder: folder.path().join(size.to_string()), size };
        ratios.push(bench.run(rounds)?);
        std::fs::remove_dir_all(&bench.folder)?;
    }
    if let [first, .., last] = ratios[..] {
        println!("\nratio to bare at the largest size ÷ at the smallest: {:.2}", last / first);
    }
    runtime.block_on(server.stop())?;
    Ok(())
}

struct Bench<'a> {
    server: &'a Server,
    folder: PathBuf,
    size: u64,
}

/// What Tidegate says of a run of its own.
struct Run {
    took: Duration,
    cpu_seconds: f64,
    peak_mib: f64,
}

impl Bench<'_> {
    fn run(&self, rounds: usize) -> Anything<f64> {
        let (clean, broken) = (self.folder.join("clean"), self.folder.join("broken"));
        for (to, rejects_percent) in [(&clean, 0.0), (&broken, REJECTS_PERCENT)] {
            std::fs::create_dir_all(to)?;
            let options = Options { employees: self.size, rejects_percent, ..Options::default() };
            generate::company(to, &options)?;
        }
        let (mut bare, mut keyed, mut runs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            bare.push(self.copy(&clean, "", "")?.as_secs_f64());
            let (departments, jobs) = (" references departments", " references jobs");
            keyed.push(self.copy(&clean, departments, jobs)?.as_secs_f64());
            runs.push(self.tidegate(&broken)?);
        }
        let took = median(runs.iter().map(|run| run.took.as_secs_f64()).collect());
        let (bare, keyed) = (median(bare), median(keyed));
        let rate = |seconds: f64| self.size as f64 / seconds / 1000.0;
        println!(
            "| {} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} |",
            self.size,
            rate(bare),
            rate(keyed),
            rate(took),
            bare / took,
            keyed / took,
            median(runs.iter().map(|run| run.cpu_seconds).collect()),
            runs.iter().map(|run| run.peak_mib).fold(0.0, f64::max),
        );
        Ok(bare / took)
    }

    /// `\copy` into a fresh table.
    fn copy(&self, files: &Path, departments: &str, jobs: &str) -> Anything<Duration> {
        self.fresh_database()?;
        let url = self.server.database_url("bench");
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
        let copy =
            format!("\\copy hired_employees from '{}' csv", files.join("hired_employees.csv").display());
        let begun = Instant::now();
        psql(&url, &[&copy])?;
        Ok(begun.elapsed())
    }

    /// `tidegate run --until-idle`, from a cold start in a fresh database.
    fn tidegate(&self, files: &Path) -> Anything<Run> {
        self.fresh_database()?;
        let home = self.folder.join("home");
        let landing = home.join("landing");
        std::fs::create_dir_all(&landing)?;
        for name in ["departments.csv", "jobs.csv", "hired_employees.csv"] {
            std::fs::hard_link(files.join(name), landing.join(name))?;
            let hour_ago = SystemTime::now() - Duration::from_secs(3600);
            std::fs::File::open(landing.join(name))?.set_modified(hour_ago)?;
        }
        let views = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/views").canonicalize()?;
        let manifest = MANIFEST.replace("../../sql/views", &views.display().to_string());
        std::fs::write(home.join("tidegate.yaml"), manifest)?;
        let begun = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["run", "--until-idle", "--format", "json"])
            .current_dir(&home)
            .env("DATABASE_URL", self.server.database_url("bench"))
            .stderr(Stdio::inherit())
            .output()?;
        let took = begun.elapsed();
        if !output.status.success() {
            return Err("tidegate failed".into());
        }
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        std::fs::remove_dir_all(&home)?;
        Ok(Run {
            took,
            cpu_seconds: summary["cpu_seconds"].as_f64().ok_or("no cpu_seconds")?,
            peak_mib: summary["peak_memory_bytes"].as_f64().ok_or("no peak_memory_bytes")? / 1024.0 / 1024.0,
        })
    }

    fn fresh_database(&self) -> Anything<()> {
        let url = self.server.url();
        psql(&url, &["drop database if exists bench", "create database bench", "checkpoint"])
    }
}

fn psql(url: &str, commands: &[&str]) -> Anything<()> {
    let mut psql = Command::new("psql");
    psql.args([url, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]);
    for command in commands {
        psql.args(["-c", command]);
    }
    let status = psql.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("psql failed at {commands:?}").into()) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
