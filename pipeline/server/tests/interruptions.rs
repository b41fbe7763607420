//! Whatever ends a run, the next one completes it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::company;
use crate::home::{Home, Running, named_cluster, until};
use crate::load::{self, LINES, Load};

const FILES: usize = 30;
/// A run that is told to stop has this long.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// A company whose files are dropped, and nothing has run yet.
async fn loaded() -> (Home, Load) {
    let (home, mut load) = (company::with_manifest(&load::manifest()).await, Load::new(FILES, LINES));
    load.drop_parents(&home);
    load.drop_employees(&home, FILES);
    (home, load)
}

async fn employees(home: &Home) -> u64 {
    home.count("select count(*) from hired_employees").await
}

/// Waits until more than `count` employees are there. `false` if the run ends before.
async fn grown_beyond(home: &Home, running: &mut Running, count: u64) -> bool {
    let mut has_ended = false;
    until("the load grows or ends", async || {
        has_ended = running.has_ended();
        has_ended || employees(home).await > count
    })
    .await;
    !has_ended
}

#[tokio::test]
async fn a_run_killed_while_it_heals_is_completed_by_the_next() {
    let (home, mut load) = loaded().await;
    home.ingest().await;
    let waiting = home.count("select count(*) from tidegate.dead_letters where status = 'waiting'").await;
    assert!(waiting > 0, "nobody waits for the departments that come late");
    load.drop_late_parents(&home).await;
    let before = employees(&home).await;
    let mut running = home.spawn("run --until-idle");
    if grown_beyond(&home, &mut running, before).await {
        running.kill().await;
    }
    home.ingest().await;
    load.assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn a_run_that_is_told_to_stop_ends_soon_and_the_next_completes_it() {
    let (home, mut load) = loaded().await;
    for (signal, floor) in [(Signal::SIGTERM, 0), (Signal::SIGINT, 12_000)] {
        let mut running = home.spawn("run --until-idle --format json");
        assert!(grown_beyond(&home, &mut running, floor).await, "the load was over too soon for {signal}");
        running.signal(signal);
        let told = Instant::now();
        let outcome = running.ended().await.succeeded().saying(&["stopping"]);
        assert!(told.elapsed() < STOPS_WITHIN, "{signal} took {:?}", told.elapsed());
        assert_eq!(outcome.json()["stopped"], true, "{signal}");
        let count = employees(&home).await;
        assert!(count < (FILES * LINES) as u64 * 9 / 10, "{signal} came too late: {count} rows");
    }
    home.ingest().await;
    load.assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn a_data_directory_that_is_lost_between_runs_loses_nothing() {
    let (home, mut load) = loaded().await;
    for floor in [0, 12_000, 25_000] {
        let mut running = home.spawn("run --until-idle");
        assert!(grown_beyond(&home, &mut running, floor).await, "the load was over too soon");
        running.signal(Signal::SIGTERM);
        running.ended().await.succeeded();
        std::fs::remove_dir_all(home.path(".tidegate")).unwrap();
    }
    home.ingest().await;
    load.assert_as_if_undisturbed(&home).await;
}

#[tokio::test]
async fn a_data_directory_that_is_lost_with_a_killed_run_loses_nothing() {
    let (home, mut load) = loaded().await;
    let mut running = home.spawn("run --until-idle");
    assert!(grown_beyond(&home, &mut running, 0).await, "the load was over too soon");
    running.kill().await;
    std::fs::remove_dir_all(home.path(".tidegate")).unwrap();
    // The dead process's leases may last a little longer. On a cluster they are waited for.
    let take_over = if named_cluster().is_some() { "" } else { " --take-over" };
    home.run(&format!("run --until-idle{take_over}")).await.succeeded();
    load.assert_as_if_undisturbed(&home).await;
}
