//! `tidegate demo`: the whole of it over a copy of the example.

use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tidegate_postgres::private::binaries;
use tokio::process::Command;

use crate::company;
use crate::home::{Home, Running, until};

/// The command without a database of ours.
fn private(home: &Home, arguments: &[&str]) -> Command {
    let mut command = home.command(arguments);
    command.env_remove("DATABASE_URL");
    command
}

/// Whether a Postgres is installed here; without one a demo would fetch it.
fn can_be_private() -> bool {
    let installed = binaries::find(&binaries::installed()).is_some();
    if !installed {
        eprintln!("SKIPPED: no Postgres server is installed, so the demo's private one is NOT TESTED");
    }
    installed
}

/// Where the private server lives; removed with this if that is outside of the home.
struct Place(PathBuf);

impl Place {
    async fn of(home: &Home) -> Self {
        let asked = home.path(".tidegate/postgres");
        let mut place = asked.clone();
        until("the server has a place", async || {
            place = match std::fs::read_to_string(asked.join("location")) {
                Ok(elsewhere) if elsewhere.ends_with('\n') => elsewhere.trim().into(),
                _ => asked.clone(),
            };
            server_in(&place).is_some()
        })
        .await;
        Self(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // gone with the home, if it was there
    }
}

/// The number of the server whose cluster is in `place`.
fn server_in(place: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(place.join("data/postmaster.pid")).ok()?;
    Some(Pid::from_raw(text.lines().next()?.trim().parse().ok()?))
}

#[track_caller]
fn assert_gone(server: Pid) {
    assert_eq!(kill(server, None), Err(Errno::ESRCH), "the server {server} is still there");
}

#[track_caller]
fn assert_shows_everything(stdout: &str) {
    let words: Vec<String> = stdout
        .lines()
        .map(|line| line.split(['│', '┆', ' ']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
        .collect();
    for row in [
        "departments 1 12 12 0 0 0 0 0 0",
        "jobs 1 183 183 0 0 0 0 0 0",
        "hired_employees 1 1930 1930 0 0 66 4 0 0",
    ] {
        assert!(words.iter().any(|words| words == row), "'{row}' is not in:\n{stdout}");
    }
    for text in [
        "Dead letters by reason:",
        "missing_value",
        "Hires by department, job and quarter, 2021:",
        "Departments that hired more than the mean, 2021:",
        "What to try next",
        "TIDEGATE_CONFIG",
    ] {
        assert!(stdout.contains(text), "'{text}' is not in:\n{stdout}");
    }
}

#[tokio::test]
async fn a_demo_on_a_given_database_shows_everything_and_twice_changes_nothing() {
    let home = company::home().await;
    let first = home.run("demo").await.succeeded().stdout;
    assert_shows_everything(&first);
    assert!(!home.path(".tidegate/postgres").exists(), "no server of its own was started");
    company::assert_accounted(&home).await;

    let before = (company::state(&home).await, home.query("select s::text from tidegate.sources as s").await);
    let second = home.run("demo").await.succeeded().stdout;
    let after = (company::state(&home).await, home.query("select s::text from tidegate.sources as s").await);
    assert_eq!(after, before);
    let without_times = |text: &str| {
        text.lines().filter(|line| !line.contains(" lines in ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_times(&second), without_times(&first));
}

#[tokio::test]
async fn a_demo_with_a_postgres_of_its_own_leaves_no_process_behind() {
    if !can_be_private() {
        return;
    }
    let home = company::home().await;
    let (mut shown, mut places) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let running = Running::start(private(&home, &["demo"]));
        let place = Place::of(&home).await;
        let server = server_in(&place.0).unwrap();
        let outcome = running.ended().await.succeeded();
        assert_shows_everything(&outcome.stdout);
        assert_gone(server);
        shown.push(outcome.stdout);
        places.push(place); // the second demo finds the first one's data
    }
    assert!(shown[0].contains("2195 lines in"), "{}", shown[0]);
    assert!(shown[1].contains("\n0 lines in"), "a second demo ingests nothing:\n{}", shown[1]);
}

#[tokio::test]
async fn a_demo_that_holds_its_postgres_lets_it_go_when_it_is_told_to_end() {
    if !can_be_private() {
        return;
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let home = company::home().await;
        let running = Running::start(private(&home, &["demo", "--hold"]));
        let place = Place::of(&home).await;
        let server = server_in(&place.0).unwrap();
        until("the demo holds", async || running.shown().contains("until Ctrl-C")).await;
        assert_eq!(kill(server, None), Ok(()), "the server is up");
        running.signal(signal);
        running.ended().await.succeeded();
        assert_gone(server);
    }
}

#[tokio::test]
async fn a_demo_that_is_killed_takes_its_postgres_with_it() {
    if !can_be_private() {
        return;
    }
    let home = company::home().await;
    let mut running = Running::start(private(&home, &["demo", "--hold"]));
    let place = Place::of(&home).await;
    let server = server_in(&place.0).unwrap();
    running.kill().await;
    until("the server is gone", async || kill(server, None) == Err(Errno::ESRCH)).await;
}
