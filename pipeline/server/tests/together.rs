//! A pipeline has one process.

use nix::sys::signal::Signal;

use crate::company;

#[tokio::test]
async fn a_second_run_on_the_same_data_directory_is_refused_and_names_the_first() {
    let home = company::home().await;
    let mut first = home.spawn("run");
    first.says("running").await;
    let process = format!("process {} has the data directory", first.pid());
    home.run("run --until-idle").await.failed_with(1).saying(&[&process, "--data-dir"]);
    first.signal(Signal::SIGTERM);
    first.ended().await.succeeded();
    home.ingest().await;
}

#[tokio::test]
async fn a_second_run_on_another_data_directory_is_refused_and_names_host_and_process() {
    let home = company::home().await;
    let mut first = home.spawn("run");
    first.says("running").await;
    let host = nix::unistd::gethostname().unwrap();
    let holder = format!("process {} on {}, started ", first.pid(), host.to_string_lossy());
    home.run("run --until-idle --data-dir other")
        .await
        .failed_with(1)
        .saying(&[&holder, "runs this pipeline already"]);
    first.signal(Signal::SIGTERM);
    first.ended().await.succeeded();
    home.run("run --until-idle --data-dir other").await.succeeded();
}

#[tokio::test]
async fn a_killed_run_is_followed_at_once_on_its_data_directory() {
    let home = company::home().await;
    let mut first = home.spawn("run");
    first.says("running").await;
    first.killed().await;
    home.ingest().await;
}

#[tokio::test]
async fn a_database_holds_one_pipeline() {
    let home = company::home().await;
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
    let home = company::home().await;
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
