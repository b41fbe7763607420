//! What the benches share: a private Postgres with fresh databases, generated files, `psql`, runs of the
//! command, medians.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use tidegate::generate::Company;
use tidegate_postgres::private::{self, Server};
use tokio::runtime::Runtime;

pub(crate) type Anything<T> = Result<T, Box<dyn std::error::Error>>;

/// How many of 100 lines are rejected where Tidegate ingests.
pub(crate) const REJECTS_PERCENT: f64 = 3.5;
const MANIFEST: &str = include_str!("../../../../examples/company/tidegate.yaml");

/// A private Postgres, and a folder for files.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) server: Server,
    folder: TempDir,
}

impl Bench {
    pub(crate) fn start() -> Anything<Self> {
        let folder = tempfile::tempdir()?;
        let runtime = Runtime::new()?;
        let options = private::ServerOptions {
            dir: folder.path().join("postgres"),
            temporary: true,
            ..Default::default()
        };
        let server = runtime.block_on(Server::start(options))?;
        Ok(Self { runtime, server, folder })
    }

    pub(crate) fn stop(self) -> Anything<()> {
        Ok(self.runtime.block_on(self.server.stop())?)
    }

    /// The files of a company, in a folder of this name.
    pub(crate) fn generate(&self, name: &str, employees: u64, rejects_percent: f64) -> Anything<PathBuf> {
        let files = self.folder.path().join(name);
        std::fs::create_dir_all(&files)?;
        Company { employees, rejects_percent, ..Company::default() }.write(&files)?;
        Ok(files)
    }

    /// An empty database in the place of any other of its name, and a checkpoint. Gives its url.
    pub(crate) fn fresh_database(&self, name: &str) -> Anything<String> {
        let (drop, create) = (format!("drop database if exists {name}"), format!("create database {name}"));
        psql(&self.server.url(), &[&drop, &create, "checkpoint"])?;
        Ok(self.server.database_url(name))
    }

    /// A folder of this name with the manifest of the example, whose views are those of another folder.
    pub(crate) fn home(&self, name: &str, views: &Path) -> Anything<PathBuf> {
        self.home_of(name, &MANIFEST.replace("../../sql/views", &views.display().to_string()))
    }

    /// A folder of this name with a manifest.
    pub(crate) fn home_of(&self, name: &str, manifest: &str) -> Anything<PathBuf> {
        let home = self.folder.path().join(name);
        std::fs::create_dir_all(home.join("landing"))?;
        std::fs::write(home.join("tidegate.yaml"), manifest)?;
        Ok(home)
    }

    /// The path for a file of this name.
    #[allow(dead_code)] // each bench is a program of its own, and not all write files
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `tidegate run --until-idle` over a company's files, from a cold start in a fresh database.
    pub(crate) fn tidegate(&self, files: &Path, views: &Path) -> Anything<Run> {
        let home = self.home("home", views)?;
        let files = ["departments.csv", "jobs.csv", "hired_employees.csv"].map(|name| files.join(name));
        self.ingest(&home, &files)
    }

    /// `tidegate run --until-idle` over some files, with the manifest in `home`, from a cold start in a fresh
    /// database. Removes `home`.
    pub(crate) fn ingest(&self, home: &Path, files: &[PathBuf]) -> Anything<Run> {
        let url = self.fresh_database("bench")?;
        for file in files {
            let landed = home.join("landing").join(file.file_name().ok_or("a file has a name")?);
            std::fs::hard_link(file, &landed)?;
            let hour_ago = SystemTime::now() - Duration::from_secs(3600);
            std::fs::File::open(landed)?.set_modified(hour_ago)?;
        }
        // As files stand there that lie ready when it starts: that they stand still is to be seen at once.
        std::thread::sleep(SETTLE);
        let begun = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["run", "--until-idle", "--format", "json"])
            .current_dir(home)
            .env("DATABASE_URL", url)
            .stderr(Stdio::inherit())
            .output()?;
        let seconds = begun.elapsed().as_secs_f64();
        if !output.status.success() {
            return Err("tidegate failed".into());
        }
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        std::fs::remove_dir_all(home)?;
        Ok(Run {
            seconds,
            cpu_seconds: summary["cpu_seconds"].as_f64().ok_or("no cpu_seconds")?,
            peak_mib: summary["peak_memory_bytes"].as_f64().ok_or("no peak_memory_bytes")? / 1024.0 / 1024.0,
        })
    }
}

/// For longer than a file must stand still, as the manifest has it.
const SETTLE: Duration = Duration::from_millis(1_200);

/// What a run of Tidegate took, and what it says of itself.
pub(crate) struct Run {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_mib: f64,
}

impl Run {
    /// The medians of the times, and the largest peak.
    pub(crate) fn summary(runs: &[Self]) -> Self {
        Self {
            seconds: median(runs.iter().map(|run| run.seconds).collect()),
            cpu_seconds: median(runs.iter().map(|run| run.cpu_seconds).collect()),
            peak_mib: runs.iter().map(|run| run.peak_mib).fold(0.0, f64::max),
        }
    }
}

/// The folder of the views that are shipped.
pub(crate) fn shipped_views() -> Anything<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sql/views").canonicalize()?)
}

/// Runs commands in one session of `psql`.
pub(crate) fn psql(url: &str, commands: &[&str]) -> Anything<()> {
    let mut psql = Command::new("psql");
    psql.args([url, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]);
    for command in commands {
        psql.args(["-c", command]);
    }
    let status = psql.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("psql failed at {commands:?}").into()) }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
