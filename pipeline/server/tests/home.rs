//! A pipeline of one test: a folder, a database, and the command run in it.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tidegate_testing::postgres;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

/// How long anything may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const POLL_EVERY: Duration = Duration::from_millis(5);

/// A folder with a manifest and a landing folder, and a database.
pub(crate) struct Home {
    /// The database as the command is told, as a superuser.
    pub(crate) url: String,
    /// The database as the tests ask it.
    direct: String,
    folder: TempDir,
    /// Opened anew when the server has closed it.
    client: tokio::sync::Mutex<Option<Client>>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A command that is still running. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Heard,
    stderr: Heard,
}

/// What a command writes, as it comes.
struct Heard {
    text: Arc<Mutex<String>>,
    hearing: JoinHandle<()>,
}

impl Home {
    /// A home with a manifest and an empty database. Its topics are on the cluster that `TIDEGATE_TEST_FLUVIO` names,
    /// if it names one.
    pub(crate) async fn new(manifest: &str) -> Self {
        Self::on(postgres::database().await, manifest)
    }

    /// The same on another server.
    pub(crate) fn on(url: String, manifest: &str) -> Self {
        match named_cluster() {
            Some(endpoint) if !manifest.contains("topics:") => {
                Self::embedded_on(url, &on_cluster(manifest, &endpoint, 2))
            }
            _ => Self::embedded_on(url, manifest),
        }
    }

    /// A home with embedded topics, whatever else the tests run on.
    pub(crate) async fn embedded(manifest: &str) -> Self {
        Self::embedded_on(postgres::database().await, manifest)
    }

    /// The same on another database.
    pub(crate) fn embedded_on(url: String, manifest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tidegate.yaml"), manifest).unwrap();
        std::fs::create_dir(folder.path().join("landing")).unwrap();
        Self { direct: url.clone(), url, folder, client: tokio::sync::Mutex::default() }
    }

    /// The same, whose command takes another way to its database.
    pub(crate) fn by_way_of(self, url: String) -> Self {
        Self { url, ..self }
    }

    /// A session of its own, for what is to stay open.
    pub(crate) async fn session(&self) -> Client {
        session(&self.direct).await.unwrap()
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file into the landing folder, settled long ago, and newer than those dropped before.
    pub(crate) fn drop(&self, name: &str, bytes: impl AsRef<[u8]>) {
        static DROPPED: AtomicU64 = AtomicU64::new(0);
        let later = Duration::from_millis(DROPPED.fetch_add(1, Ordering::Relaxed));
        // Written aside and renamed, so that a watching run sees the whole of it.
        let aside = self.path(format!("{name}.aside"));
        std::fs::write(&aside, bytes).unwrap();
        let file = std::fs::File::options().write(true).open(&aside).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600) + later).unwrap();
        std::fs::rename(aside, self.path("landing").join(name)).unwrap();
    }

    /// The names of what is in a folder of this home, sorted.
    pub(crate) fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The command in this home, on its database, with nothing else from the environment of the tests.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(arguments).current_dir(self.folder.path()).env("DATABASE_URL", &self.url);
        for name in ["TIDEGATE_CONFIG", "TIDEGATE_DATA_DIR", "TIDEGATE_LANDING", "RUST_LOG"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the command with arguments as on a command line, without quotes.
    pub(crate) async fn run(&self, arguments: &str) -> Outcome {
        self.spawn(arguments).ended().await
    }

    /// Ingests what is in the landing folder. That every line of a file is rejected may be what a test wants.
    pub(crate) async fn ingest(&self) -> Outcome {
        let outcome = self.run("run --until-idle").await;
        if outcome.code == Some(5) { outcome } else { outcome.succeeded() }
    }

    /// Starts the command, and leaves it running.
    pub(crate) fn spawn(&self, arguments: &str) -> Running {
        Running::start(self.command(arguments.split_whitespace()))
    }

    /// The rows of a query as texts, null as `null`, the columns with `|` between them.
    pub(crate) async fn query(&self, sql: &str) -> Vec<String> {
        let messages = self.ask(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row_text = |row: &SimpleQueryRow| {
            let fields: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("null")).collect();
            fields.join("|")
        };
        rows.map(row_text).collect()
    }

    /// The only value of a query, as a number; 0 while what it asks for is not there.
    pub(crate) async fn count(&self, sql: &str) -> u64 {
        let Ok(messages) = self.ask(sql).await else { return 0 };
        let value = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Asks the database; waits while its server is down.
    async fn ask(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>, tokio_postgres::Error> {
        let begun = Instant::now();
        let mut client = self.client.lock().await;
        loop {
            match self.try_to_ask(&mut client, sql).await {
                Err(error) if is_down(&error) && begun.elapsed() < DEADLINE => *client = None,
                answer => return answer,
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    async fn try_to_ask(
        &self,
        client: &mut Option<Client>,
        sql: &str,
    ) -> Result<Vec<SimpleQueryMessage>, tokio_postgres::Error> {
        let client = match client {
            Some(client) => client,
            None => client.insert(session(&self.direct).await?),
        };
        client.simple_query(sql).await
    }

    /// Keeps the database as it is at this moment, as a copy of that name. No command may run.
    pub(crate) async fn back_up(&self, name: &str) {
        let database = self.database();
        self.while_nobody_is_connected(&[&copy_database(&database, &format!("{database}_{name}"))]).await;
    }

    /// Brings the database back to the moment of a copy. No command may run.
    pub(crate) async fn restore(&self, name: &str) {
        let database = self.database();
        let copy = copy_database(&format!("{database}_{name}"), &database);
        self.while_nobody_is_connected(&[&format!("drop database {database}"), &copy]).await;
    }

    fn database(&self) -> String {
        let config: tokio_postgres::Config = self.direct.parse().unwrap();
        config.get_dbname().unwrap().to_owned()
    }

    /// Executes statements on the server while nobody is connected to the database.
    async fn while_nobody_is_connected(&self, statements: &[&str]) {
        let mut config: tokio_postgres::Config = self.direct.parse().unwrap();
        let (outside, connection) = config.dbname("postgres").connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let leave = format!(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '{}'",
            self.database()
        );
        for sql in [leave.as_str()].iter().chain(statements) {
            outside.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
    }

    /// The sources as `tidegate sources` shows them.
    pub(crate) async fn sources(&self) -> Vec<Value> {
        self.run("sources --format json").await.succeeded().rows()
    }

    /// The dead letters as `tidegate dead-letters list --all` shows them, a row for each reason, oldest first.
    pub(crate) async fn dead_letters(&self) -> Vec<Value> {
        let list = "dead-letters list --all --limit 100000 --format json";
        let mut rows = self.run(list).await.succeeded().rows();
        rows.sort_by_key(|row| (row["source"].as_u64(), row["line"].as_u64()));
        rows
    }
}

/// A manifest with its topics on a cluster, under a name that no other test has.
pub(crate) fn on_cluster(manifest: &str, endpoint: &str, partitions: u32) -> String {
    let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let rest: Vec<&str> = manifest.lines().filter(|line| !line.starts_with("pipeline:")).collect();
    format!(
        "pipeline: {name}\ntopics: {{fluvio: {{endpoint: '{endpoint}', partitions: {partitions}}}}}\n{}\n",
        rest.join("\n")
    )
}

/// The cluster that tests may use; if there is none, says that this one is skipped.
pub(crate) fn cluster(test: &str) -> Option<String> {
    let endpoint = named_cluster();
    if endpoint.is_none() {
        skipped(test, "no cluster is named; set TIDEGATE_TEST_FLUVIO=host:port");
    }
    endpoint
}

/// Says loudly that a test was not run, and why.
pub(crate) fn skipped(test: &str, why: &str) {
    // Past the harness, which shows nothing of a test that passes.
    let _ = std::io::stderr().write_all(format!("\nSKIPPED {test}: {why}\n").as_bytes());
}

/// The cluster that homes are on, if there is one.
pub(crate) fn named_cluster() -> Option<String> {
    std::env::var("TIDEGATE_TEST_FLUVIO").ok().filter(|endpoint| !endpoint.is_empty())
}

async fn session(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute("set timezone = 'UTC'").await?;
    Ok(client)
}

fn copy_database(from: &str, to: &str) -> String {
    format!("create database {to} template {from}")
}

/// Whether the server is down, starts, or has closed the connection.
fn is_down(error: &tokio_postgres::Error) -> bool {
    error.code().is_none_or(|state| state.code().starts_with("57"))
}

impl Running {
    /// Starts a command.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let stdout = Heard::of(child.stdout.take().unwrap());
        let stderr = Heard::of(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("the process was not waited for yet")
    }

    /// What it has written to stdout so far.
    pub(crate) fn shown(&self) -> String {
        self.stdout.text.lock().unwrap().clone()
    }

    /// What it has written to stderr so far.
    pub(crate) fn said(&self) -> String {
        self.stderr.text.lock().unwrap().clone()
    }

    /// Waits until it has written `text` to stderr.
    pub(crate) async fn says(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.said().contains(text) {
            let ended = self.child.try_wait().unwrap();
            let is_over = ended.is_some() && self.stderr.hearing.is_finished();
            if (is_over && !self.said().contains(text)) || begun.elapsed() > DEADLINE {
                panic!("it never said '{text}' ({ended:?}):\n{}", self.said());
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Outcome {
        let Ok(status) = tokio::time::timeout(DEADLINE, self.child.wait()).await else {
            panic!("it did not end within {DEADLINE:?}:\n{}", self.said());
        };
        let status = status.unwrap();
        let (code, signal) = (status.code(), status.signal());
        Outcome { code, signal, stdout: self.stdout.all().await, stderr: self.stderr.all().await }
    }

    /// Kills it as a power failure would.
    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().await.unwrap();
    }
}

impl Heard {
    fn of(stream: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let heard = text.clone();
        let hearing = tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                heard.lock().unwrap().extend([line.as_str(), "\n"]);
            }
        });
        Self { text, hearing }
    }

    /// All of it, when the stream has ended.
    async fn all(self) -> String {
        self.hearing.await.unwrap();
        self.text.lock().unwrap().clone()
    }
}

impl Outcome {
    /// The same, having ended with exit code 0.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        self.failed_with(0)
    }

    /// The same, having ended with this exit code.
    #[track_caller]
    pub(crate) fn failed_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The same, having written every one of these texts to stderr.
    #[track_caller]
    pub(crate) fn saying(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "'{text}' is not in:\n{}", self.stderr);
        }
        self
    }

    /// stdout, read as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", self.stdout))
    }

    /// stdout, read as a JSON array.
    #[track_caller]
    pub(crate) fn rows(&self) -> Vec<Value> {
        self.json().as_array().unwrap_or_else(|| panic!("no array:\n{}", self.stdout)).clone()
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < DEADLINE, "within {DEADLINE:?} it did not come about that {what}");
        tokio::time::sleep(POLL_EVERY).await;
    }
}
