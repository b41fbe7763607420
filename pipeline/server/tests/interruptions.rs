//! Whatever ends a run, the next one completes it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tidegate::generate;

use crate::company::{self, TABLES};
use crate::home::{Home, until};

const EMPLOYEES: usize = 60_000;
/// Small files, so that there are many transactions to be killed between and within.
const FILES: usize = 12;
/// A run that is told to stop has this long.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// The manifest of the company, for small transactions.
fn manifest() -> String {
    company::MANIFEST.replace("settle: 10ms", "settle: 10ms\nmax_lag_bytes: 64KiB")
}

/// The files of a company, in the order of [`TABLES`].
fn files() -> [String; 3] {
    let folder = tempfile::tempdir().unwrap();
    let options = generate::Options {
        employees: EMPLOYEES as u64,
        rejects_percent: 3.0,
        seed: 7,
        ..generate::Options::default()
    };
    generate::company(folder.path(), &options).unwrap();
    TABLES.map(|table| std::fs::read_to_string(folder.path().join(format!("{table}.csv"))).unwrap())
}

fn drop_parents(home: &Home, files: &[String; 3]) {
    for (table, file) in TABLES.iter().zip(files).take(2) {
        home.drop(&format!("{table}.csv"), file);
    }
}

fn drop_employees(home: &Home, files: &[String; 3]) {
    let lines: Vec<&str> = files[2].split_inclusive('\n').collect();
    for (i, lines) in lines.chunks(EMPLOYEES / FILES).enumerate() {
        home.drop(&format!("hired_employees-{i:02}.csv"), lines.concat());
    }
}

/// A company whose files are dropped, and nothing has run yet.
async fn loaded() -> Home {
    let (home, files) = (company::with_manifest(&manifest()).await, files());
    drop_parents(&home, &files);
    drop_employees(&home, &files);
    home
}

/// Everything, positions included: the order of registration was the same.
pub(crate) async fn state(home: &Home) -> Vec<String> {
    let mut state = company::state(home).await;
    let sql =
        "select source, dataset, name, lines, completed_at is not null from tidegate.sources order by source";
    state.extend(home.query(sql).await);
    state.extend(home.query("select id, _source, _line from hired_employees order by id").await);
    let ledger =
        "select source, chunk, accepted, rejected, waiting, discarded from tidegate.ledger order by 1, 2";
    state.extend(home.query(ledger).await);
    state
}

async fn assert_as_if_undisturbed(home: &Home) {
    company::assert_accounted(home).await;
    let undisturbed = loaded().await;
    undisturbed.ingest().await;
    let sums = "select count(*), count(distinct id), sum(id) from hired_employees";
    assert_eq!(home.query(sums).await, undisturbed.query(sums).await);
    company::assert_same("disturbed and undisturbed", &state(home).await, &state(&undisturbed).await);
    assert_eq!(home.names_in("landing"), ["done"]);
    assert_eq!(home.names_in("landing/done").len(), FILES + 2);
}

async fn employees(home: &Home) -> u64 {
    home.count("select count(*) from hired_employees").await
}

/// Waits until more than `count` employees are there. `false` if the run ends before.
async fn grown_beyond(home: &Home, running: &mut crate::home::Running, count: u64) -> bool {
    let mut has_ended = false;
    until("the load grows or ends", async || {
        has_ended = running.has_ended();
        has_ended || employees(home).await > count
    })
    .await;
    !has_ended
}

/// Numbers that differ from run to run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[tokio::test]
async fn a_run_killed_at_any_moment_is_completed_by_the_next() {
    let home = loaded().await;
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
    println!("seed {seed}"); // shown if the test fails
    let mut dice = Dice(seed);
    let mut kills = 0;

    // Before anything can be there: while it starts, prepares the database and registers.
    for condition in [
        "select count(*) from pg_namespace where nspname = 'tidegate'",
        "select count(*) from tidegate.sources",
    ] {
        let running = home.spawn("run --until-idle");
        until("the run has begun", async || home.count(condition).await > 0).await;
        running.killed().await;
        kills += 1;
    }
    // In mid-load: right after a commit, or a little later.
    let mut floor = 0;
    loop {
        let mut running = home.spawn("run --until-idle");
        if !grown_beyond(&home, &mut running, floor).await {
            running.ended().await.succeeded();
            break;
        }
        let moment = Instant::now() + Duration::from_micros(dice.throw(60_000));
        until("the moment has come", async || Instant::now() >= moment).await;
        if running.has_ended() {
            break;
        }
        running.killed().await;
        kills += 1;
        floor = employees(&home).await + dice.throw(4_000);
    }
    assert!(kills >= 5, "only {kills} kills, seed {seed}");
    home.ingest().await;
    assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn a_run_killed_while_it_heals_is_completed_by_the_next() {
    let (home, files) = (company::with_manifest(&manifest()).await, files());
    drop_employees(&home, &files);
    home.ingest().await;
    assert_eq!(employees(&home).await, 0, "without departments and jobs they all wait");
    drop_parents(&home, &files);
    for floor in [0, 20_000] {
        let mut running = home.spawn("run --until-idle");
        if grown_beyond(&home, &mut running, floor).await {
            running.killed().await;
        }
    }
    home.ingest().await;
    company::assert_accounted(&home).await;
    let undisturbed = loaded().await;
    undisturbed.ingest().await;
    let (left, right) = (company::state(&home).await, company::state(&undisturbed).await);
    company::assert_same("healed and undisturbed", &left, &right);
}

#[tokio::test]
async fn a_run_that_is_told_to_stop_ends_soon_and_the_next_completes_it() {
    let home = loaded().await;
    for (signal, floor) in [(Signal::SIGTERM, 0), (Signal::SIGINT, 12_000)] {
        let mut running = home.spawn("run --until-idle --format json");
        assert!(grown_beyond(&home, &mut running, floor).await, "the load was over too soon for {signal}");
        running.signal(signal);
        let told = Instant::now();
        let outcome = running.ended().await.succeeded().saying(&["stopping"]);
        assert!(told.elapsed() < STOPS_WITHIN, "{signal} took {:?}", told.elapsed());
        assert_eq!(outcome.json()["stopped"], true, "{signal}");
        let count = employees(&home).await;
        assert!(count < EMPLOYEES as u64 * 9 / 10, "{signal} came too late: {count} rows");
    }
    home.ingest().await;
    assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn a_data_directory_that_is_lost_between_runs_loses_nothing() {
    let home = loaded().await;
    for floor in [0, 12_000, 25_000] {
        let mut running = home.spawn("run --until-idle");
        assert!(grown_beyond(&home, &mut running, floor).await, "the load was over too soon");
        running.signal(Signal::SIGTERM);
        running.ended().await.succeeded();
        std::fs::remove_dir_all(home.path(".tidegate")).unwrap();
    }
    home.ingest().await;
    assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn a_data_directory_that_is_lost_with_a_killed_run_loses_nothing() {
    let home = loaded().await;
    let mut running = home.spawn("run --until-idle");
    assert!(grown_beyond(&home, &mut running, 0).await, "the load was over too soon");
    running.killed().await;
    std::fs::remove_dir_all(home.path(".tidegate")).unwrap();
    // The dead process's leases would last a few seconds longer.
    home.run("run --until-idle").await.failed_with(1).saying(&["runs this pipeline already"]);
    home.query("update tidegate.leases set expires_at = now()").await;
    home.ingest().await;
    assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn a_postgres_that_drops_every_connection_in_mid_load_is_waited_for() {
    let home = loaded().await;
    let mut running = home.spawn("run --until-idle");
    for floor in [0, 10_000, 20_000] {
        assert!(grown_beyond(&home, &mut running, floor).await, "the load was over too soon");
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity \
                   where datname = current_database() and pid <> pg_backend_pid()";
        home.query(sql).await;
    }
    running.ended().await.succeeded();
    assert_as_if_undisturbed(&home).await;
}
