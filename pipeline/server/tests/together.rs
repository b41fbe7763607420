//! A pipeline has one process.

use nix::sys::signal::Signal;

use crate::company;
use crate::home::{Running, until};

#[tokio::test]
async fn a_second_run_on_the_same_data_directory_is_refused_and_names_the_first() {
    let home = company::embedded(company::MANIFEST).await;
    let mut first = home.spawn("run");
    first.says("running").await;
    home.run("run --until-idle").await.failed_with(1).saying(&[
        &holder(&first),
        "has the data directory",
        "--take-over",
        "--data-dir",
    ]);
    first.signal(Signal::SIGTERM);
    first.ended().await.succeeded();
    home.ingest().await;
}

#[tokio::test]
async fn a_second_run_on_another_data_directory_is_refused_and_names_host_and_process() {
    let home = company::embedded(company::MANIFEST).await;
    let mut first = home.spawn("run");
    first.says("running").await;
    home.run("run --until-idle --data-dir other").await.failed_with(1).saying(&[
        &holder(&first),
        "runs this pipeline already",
        "--take-over",
    ]);
    first.signal(Signal::SIGTERM);
    first.ended().await.succeeded();
    home.run("run --until-idle --data-dir other").await.succeeded();
}

/// How a process is named to the next.
fn holder(running: &Running) -> String {
    let host = nix::unistd::gethostname().unwrap();
    format!("process {} on {}, started ", running.pid(), host.to_string_lossy())
}

#[tokio::test]
async fn a_run_that_is_taken_over_says_by_whom_and_ends() {
    for data_dir in ["", " --data-dir other"] {
        let home = company::embedded(company::MANIFEST).await;
        let mut first = home.spawn("run");
        first.says("running").await;
        let mut second = home.spawn(&format!("run --take-over{data_dir}"));
        second.says("taken over from").await;
        assert!(second.said().contains(&holder(&first)), "{}", second.said());
        second.says("running").await;
        let taken = holder(&second);
        first.ended().await.failed_with(1).saying(&[&taken, "has taken this pipeline over"]);
        home.drop("departments.csv", "1,One\n");
        until("the second commits", async || home.count("select count(*) from departments").await == 1).await;
        second.signal(Signal::SIGTERM);
        second.ended().await.succeeded();
        home.run(&format!("run --until-idle{data_dir}")).await.succeeded();
    }
}

#[tokio::test]
async fn a_run_that_hangs_in_a_transaction_is_taken_over_and_commits_nothing_when_it_goes_on() {
    let home = company::embedded(company::MANIFEST).await;
    let mut first = home.spawn("run");
    first.says("running").await;
    // It stands still in the middle of a transaction, with its leases held.
    let other = home.session().await;
    other.batch_execute("begin; lock table departments in share mode").await.unwrap();
    home.drop("departments.csv", "1,One\n");
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    until("the first waits for the table", async || home.count(waiting).await > 0).await;
    first.signal(Signal::SIGSTOP);
    other.batch_execute("rollback").await.unwrap();
    let idle = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() \
                and state <> 'idle' and wait_event = 'ClientRead'";
    until("its transaction waits for it", async || home.count(idle).await > 0).await;
    let mut second = home.spawn("run --take-over");
    second.says("ended a session that held the leases").await;
    until("the second commits", async || home.count("select count(*) from departments").await == 1).await;
    let before = home.query("select xmin, * from departments").await;
    first.signal(Signal::SIGCONT);
    first.ended().await.failed_with(1).saying(&[&holder(&second), "has taken this pipeline over"]);
    assert_eq!(home.query("select xmin, * from departments").await, before);
    until("the file is put away", async || home.names_in("landing") == ["done"]).await;
    second.signal(Signal::SIGTERM);
    second.ended().await.succeeded();
    assert_eq!(home.names_in("landing/done"), ["1-departments.csv"]);
    assert_eq!(home.names_in(".tidegate").iter().filter(|name| name.starts_with("topics")).count(), 1);
}

#[tokio::test]
async fn a_killed_run_is_followed_at_once_on_its_data_directory() {
    let home = company::embedded(company::MANIFEST).await;
    let mut first = home.spawn("run");
    first.says("running").await;
    first.kill().await;
    home.ingest().await;
}

#[tokio::test]
async fn a_database_holds_one_pipeline() {
    let home = company::embedded(company::MANIFEST).await;
    home.ingest().await;
    let other = company::MANIFEST.replace("pipeline: company", "pipeline: other");
    std::fs::write(home.path("other.yaml"), other).unwrap();
    home.run("run --until-idle --config other.yaml --data-dir other")
        .await
        .failed_with(1)
        .saying(&["'company'", "'other'"]);
    home.run("run --until-idle --config other.yaml").await.failed_with(1).saying(&[
        "data directory",
        "'company'",
        "'other'",
    ]);
}

#[tokio::test]
async fn a_run_whose_pipeline_was_taken_over_commits_nothing_more() {
    let home = company::embedded(company::MANIFEST).await;
    let mut first = home.spawn("run");
    first.says("running").await;
    home.query(
        "update tidegate.leases set owner = gen_random_uuid(), expires_at = now() + interval '1 hour'",
    )
    .await;
    home.drop("departments.csv", "1,One\n");
    let outcome = first.ended().await;
    assert_ne!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(home.query("select count(*) from departments").await, ["0"]);
    assert_eq!(home.names_in("landing"), ["departments.csv"], "the file stays for whoever took over");
}
