//! Whatever is killed, and whenever: the outcome is that of an undisturbed run, byte for byte.
//!
//! Each test kills one kind of thing, 20 times, or as often as `TIDEGATE_KILLS` says. `TIDEGATE_SEED` makes the
//! choices of an earlier run again, though never its moments. For thousands:
//!
//! ```text
//! TIDEGATE_KILLS=1000 cargo test --release -p tidegate --test main -- kills:: --nocapture
//! ```

use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::company;
use crate::home::{Home, Running, until};
use crate::load::{self, Load, accounted};
use crate::server::OwnServer;

/// How many kills of each kind, unless `TIDEGATE_KILLS` says otherwise.
const KILLS: u64 = 20;
/// How many recoveries are measured at least, and how long the median of them may be.
const RECOVERIES: u64 = 20;
const RECOVERY_MEDIAN_MAX: Duration = Duration::from_secs(2);
/// Files of employees with rows of their own.
const FILES: usize = 60;
/// So many files are not ingested yet whenever something is killed.
const FILES_AHEAD: usize = 3;
/// Who is connected for the pipeline.
const SESSIONS: &str =
    "from pg_stat_activity where application_name = 'tidegate' and datname = current_database()";

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// `tidegate run`, by SIGKILL. It is started again.
    Process,
    /// A process of Postgres that serves the pipeline, by SIGKILL. Postgres restarts all of them.
    Backend,
    /// Postgres, by an immediate stop. It is started again after a while.
    Server,
    /// `tidegate run` is not killed but stands still for longer than its lease, while another one, with a data
    /// directory of its own, takes over. Then it goes on.
    Stopped,
}

#[tokio::test]
async fn a_run_killed_at_any_moment_is_completed_by_the_next() {
    survive(Kind::Process).await;
}

#[tokio::test]
async fn a_run_whose_sessions_are_killed_at_any_moment_goes_on() {
    survive(Kind::Backend).await;
}

#[tokio::test]
async fn a_run_whose_postgres_crashes_at_any_moment_goes_on() {
    survive(Kind::Server).await;
}

#[tokio::test]
async fn a_run_that_stood_still_at_any_moment_and_was_taken_over_commits_nothing_more() {
    survive(Kind::Stopped).await;
}

async fn survive(kind: Kind) {
    let mut ordeal = Ordeal::begin(kind).await;
    while !ordeal.is_enough() {
        ordeal.keep_loaded().await;
        ordeal.wait_for_the_moment().await;
        ordeal.strike().await;
    }
    ordeal.end().await;
}

/// A pipeline under load, and how often it was struck.
struct Ordeal {
    kind: Kind,
    server: Option<OwnServer>,
    home: Home,
    load: Load,
    running: Running,
    /// The data directories: of the running process, and of the next that takes over.
    data_dirs: [&'static str; 2],
    dice: Dice,
    wanted: u64,
    kills: u64,
    /// How long it takes from the start of a process until a file is in.
    pace: Duration,
    /// When it was struck last, and what was accounted for then.
    struck: Option<(Instant, u64)>,
    recoveries: Vec<Duration>,
}

impl Ordeal {
    async fn begin(kind: Kind) -> Self {
        let dice = Dice::new();
        eprintln!("{kind:?}: TIDEGATE_SEED={}", dice.0); // shown if the test fails
        let server = match kind {
            Kind::Backend | Kind::Server => Some(OwnServer::start().await),
            Kind::Process | Kind::Stopped => None,
        };
        let home = match &server {
            Some(server) => company::furnished(Home::on(server.url(), &load::manifest())),
            // On a cluster nobody takes over: see `cluster`.
            None if kind == Kind::Stopped => company::embedded(&load::manifest()).await,
            None => company::with_manifest(&load::manifest()).await,
        };
        let mut load = Load::new(FILES, load::LINES);
        load.drop_parents(&home);
        load.drop_employees(&home, FILES_AHEAD);
        let data_dirs = ["one", "other"];
        let begun = Instant::now();
        let running = home.spawn(&format!("run --data-dir {}", data_dirs[0]));
        until("a file is in", async || accounted(&home).await > load::LINES as u64).await;
        Self {
            kind,
            server,
            home,
            load,
            running,
            data_dirs,
            dice,
            wanted: number("TIDEGATE_KILLS").unwrap_or(KILLS),
            kills: 0,
            pace: begun.elapsed(),
            struck: None,
            recoveries: Vec::new(),
        }
    }

    fn is_enough(&self) -> bool {
        // Kills of a process during its start are no recoveries: one waits until there are enough of both.
        let is_measured =
            self.kind != Kind::Process || self.recoveries.len() as u64 >= self.wanted.min(RECOVERIES);
        self.kills >= self.wanted && is_measured
    }

    /// Keeps the pipeline from running dry: there is always more to commit than when it was struck. In the middle
    /// come the departments that many lines wait for.
    async fn keep_loaded(&mut self) {
        if self.kills == self.wanted / 2 && self.kills > 0 {
            self.load.drop_late_parents(&self.home).await;
        }
        let ahead = self.home.names_in("landing").iter().filter(|name| *name != "done").count();
        self.load.drop_employees(&self.home, FILES_AHEAD.saturating_sub(ahead).max(1));
    }

    /// Half of the time a while after the first commit since it was struck, and half of the time any while after
    /// it was struck, be it at its start.
    async fn wait_for_the_moment(&mut self) {
        let struck = self.struck.take();
        let mut while_max = self.pace * 2;
        if self.dice.throw(2) == 0 {
            let floor = struck.map_or(0, |(_, floor)| floor);
            until("something is committed again", async || accounted(&self.home).await > floor).await;
            self.recoveries.extend(struck.map(|(at, _)| at.elapsed()));
            while_max = self.pace;
        }
        tokio::time::sleep(self.dice.fraction(while_max)).await;
    }

    async fn strike(&mut self) {
        assert!(!self.running.has_ended(), "it ended by itself:\n{}", self.running.said());
        let at = Instant::now();
        match self.kind {
            Kind::Process => self.kill_process().await,
            Kind::Backend => self.kill_backend().await,
            Kind::Server => self.kill_server().await,
            Kind::Stopped => self.stop_and_take_over().await,
        }
        // What was on its way when it was struck is in by now, or never will be.
        self.struck = Some((at, accounted(&self.home).await));
        self.kills += 1;
    }

    async fn kill_process(&mut self) {
        let pids = self.home.query(&format!("select pid {SESSIONS}")).await.join(", ");
        self.running.kill().await;
        self.running = self.home.spawn(&format!("run --data-dir {}", self.data_dirs[0]));
        if !pids.is_empty() {
            let left = format!("select count(*) {SESSIONS} and pid in ({pids})");
            until("its sessions are gone", async || self.home.count(&left).await == 0).await;
        }
    }

    async fn kill_backend(&mut self) {
        let mut pids = Vec::new();
        until("the pipeline is connected", async || {
            pids = self.home.query(&format!("select pid {SESSIONS} order by pid")).await;
            !pids.is_empty()
        })
        .await;
        let pid = &pids[self.dice.throw(pids.len() as u64) as usize];
        // It may have ended meanwhile.
        let _ = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL);
        // The server answers until it has noticed. Then all of its sessions end, and nothing is counted until it is
        // back, so none is one.
        let left = format!("select count(*) + 1 {SESSIONS} and pid = {pid}");
        until("the server has noticed", async || self.home.count(&left).await == 1).await;
    }

    async fn kill_server(&mut self) {
        let server = self.server.as_mut().expect("it has a server of its own");
        server.stop_immediately().await;
        tokio::time::sleep(self.dice.fraction(self.pace)).await;
        server.start_again().await;
    }

    async fn stop_and_take_over(&mut self) {
        self.running.signal(Signal::SIGSTOP);
        let floor = accounted(&self.home).await;
        self.load.drop_employees(&self.home, 1);
        self.data_dirs.reverse();
        let second = self.take_over().await;
        until("the second commits", async || accounted(&self.home).await > floor).await;
        // Only the first can act now.
        second.signal(Signal::SIGSTOP);
        let before = self.standing_still().await;
        let first = std::mem::replace(&mut self.running, second);
        first.signal(Signal::SIGCONT);
        let outcome = first.ended().await.failed_with(1).saying(&["has taken this pipeline over"]);
        assert_eq!(self.writes().await, before, "the first has committed: {}", outcome.stderr);
        self.running.signal(Signal::SIGCONT);
    }

    /// A process that waits until the lease of the one that stands still is over.
    async fn take_over(&self) -> Running {
        loop {
            let mut next = self.home.spawn(&format!("run --data-dir {}", self.data_dirs[0]));
            let mut has_ended = false;
            until("it runs or is refused", async || {
                has_ended = next.has_ended();
                has_ended || next.said().contains("running")
            })
            .await;
            if !has_ended {
                return next;
            }
            next.ended().await.failed_with(1).saying(&["runs this pipeline already"]);
        }
    }

    /// The last transaction that wrote each table. Every commit that changes anything changes it.
    async fn writes(&self) -> Vec<String> {
        let tables =
            ["sources", "ledger", "dead_letters", "offsets", "leases"].map(|t| format!("tidegate.{t}"));
        let tables = tables.iter().map(String::as_str).chain(company::TABLES);
        let last = |table| format!("select '{table}', count(*), max(xmin::text::bigint) from {table}");
        // Of long tables several processes read, in any order.
        let all = format!("{} order by 1", tables.map(last).collect::<Vec<_>>().join(" union all "));
        self.home.query(&all).await
    }

    /// The same, when what was sent to Postgres is done.
    async fn standing_still(&self) -> Vec<String> {
        let at_work = format!(
            "select count(*) {SESSIONS} and state = 'active' and wait_event is distinct from 'ClientRead'"
        );
        let mut last = Vec::new();
        until("the second stands still", async || {
            tokio::time::sleep(Duration::from_millis(50)).await; // what is on the way arrives
            let is_idle = self.home.count(&at_work).await == 0;
            // Asked behind that, so that what was at work is in it.
            let before = std::mem::replace(&mut last, self.writes().await);
            is_idle && before == last
        })
        .await;
        last
    }

    async fn end(mut self) {
        until("all is in", async || self.home.names_in("landing") == ["done"]).await;
        // Nothing is counted while Postgres is away, so none is one.
        let healed = "select count(*) + 1 from tidegate.dead_letters where status = 'waiting'";
        until("all is healed", async || self.home.count(healed).await == 1).await;
        self.running.says("running").await; // it may have been started a moment ago
        self.running.signal(Signal::SIGTERM);
        self.running.ended().await.succeeded();
        self.home.run(&format!("run --until-idle --data-dir {}", self.data_dirs[0])).await.succeeded();
        self.home.run("verify --deep").await.succeeded();
        self.load.assert_as_if_undisturbed(&self.home).await;
        if let Some(mut server) = self.server {
            server.stop().await;
        }
        self.recoveries.sort();
        let median = self.recoveries[self.recoveries.len() / 2];
        eprintln!(
            "{:?}: {} kills, {} files; {} recoveries: median {median:?}, longest {:?}",
            self.kind,
            self.kills,
            self.load.files(),
            self.recoveries.len(),
            self.recoveries[self.recoveries.len() - 1],
        );
        if self.kind == Kind::Process {
            assert!(median <= RECOVERY_MEDIAN_MAX, "from a kill to the next commit: {median:?}");
        }
    }
}

pub(crate) fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is no number")))
}

/// Numbers that a seed decides.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let clock = || u64::from(SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
        Self(number("TIDEGATE_SEED").unwrap_or_else(clock).max(1))
    }

    pub(crate) fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    pub(crate) fn fraction(&mut self, of: Duration) -> Duration {
        of * self.throw(1_000) as u32 / 1_000
    }
}
