//! Taking backups: one moment for all tables, whatever goes on; on time; and nothing half written.

use tidegate::generate::Company;

use super::{back_up, ingested, path_of, run};
use crate::company;
use crate::home::until;

#[tokio::test]
async fn a_backup_says_what_it_has() {
    let home = ingested().await;
    let backup = back_up(&home, "").await;
    assert_eq!((&backup["pipeline"], &backup["codec"]), (&"company".into(), &"deflate".into()));
    assert_eq!(backup["largest_source"], 3);
    let rows: Vec<_> =
        backup["datasets"].as_array().unwrap().iter().map(|dataset| dataset["rows"].as_u64()).collect();
    let counted = home.query("select count(*) from departments union all select count(*) from jobs union all select count(*) from hired_employees").await;
    assert_eq!(rows.iter().map(|rows| rows.unwrap().to_string()).collect::<Vec<_>>(), counted);
    let folder = path_of(&home, &backup);
    for file in
        ["departments.avro", "jobs.avro", "hired_employees.avro", "manifest.json", "_tidegate/ledger.avro"]
    {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let said = home.run("backup nobody").await.failed_with(1).stderr;
    assert!(said.contains("the datasets are: departments, jobs, hired_employees"), "{said}");
    let some = back_up(&home, "jobs --to elsewhere --codec snappy").await;
    assert_eq!((some["datasets"].as_array().unwrap().len(), &some["codec"]), (1, &"snappy".into()));
    assert!(path_of(&home, &some).starts_with(home.path("elsewhere")));
}

#[tokio::test]
async fn a_backup_while_rows_come_in_is_of_one_moment() {
    let home =
        company::embedded(&company::MANIFEST.replace("stable_for", "max_lag_bytes: 64KiB\nstable_for")).await;
    let folder = tempfile::tempdir().unwrap();
    let generated = Company { employees: 120_000, rejects_percent: 3.0, seed: 5, ..Company::default() };
    generated.write(folder.path()).unwrap();
    let read = |table: &str| std::fs::read_to_string(folder.path().join(format!("{table}.csv"))).unwrap();
    let employees = read("hired_employees");
    let employees: Vec<&str> = employees.split_inclusive('\n').collect();
    // Employees first, so that many wait, and are healed while backups are taken.
    home.drop("hired_employees-0.csv", employees[..60_000].concat());
    home.drop("hired_employees-1.csv", employees[60_000..].concat());
    let running = home.spawn("run");
    until("rows come in", async || home.count("select count(*) from tidegate.ledger").await > 0).await;
    let mut backups = vec![back_up(&home, "--codec snappy").await];
    home.drop("departments.csv", read("departments"));
    home.drop("jobs.csv", read("jobs"));
    for _ in 0..4 {
        until("more are accepted", async || home.count("select count(*) from hired_employees").await > 0)
            .await;
        backups.push(back_up(&home, "--codec snappy").await);
    }
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.ended().await.succeeded();
    let mut rows = Vec::new();
    for backup in &backups {
        let other = company::embedded(company::MANIFEST).await;
        let path = path_of(&home, backup);
        run(&other, &["restore", "--exact", path.to_str().unwrap()]).await.succeeded();
        // Ledger, rows, dead letters, references and views agree only if they are of one moment.
        other.run("verify").await.succeeded();
        rows.push(
            other
                .count("select sum(accepted_count + waiting_count + rejected_count) from tidegate.ledger")
                .await,
        );
    }
    assert!(rows.iter().any(|count| *count > 0), "{rows:?}");
}

#[tokio::test]
async fn backups_are_taken_on_time_and_old_ones_go() {
    let manifest =
        format!("{}backup: {{every: 1s, keep: 2, to: kept, codec: zstandard}}\n", company::MANIFEST);
    let home = company::embedded(&manifest).await;
    company::drop_example(&home);
    // What was killed has left a folder.
    std::fs::create_dir_all(home.path("kept/.backup-x.partial")).unwrap();
    let running = home.spawn("run");
    let mut seen = std::collections::BTreeSet::new();
    until("four backups were taken", async || {
        seen.extend(home.names_in("kept").into_iter().filter(|name| !name.starts_with('.')));
        seen.len() >= 4
    })
    .await;
    until("old ones are gone", async || {
        home.names_in("kept").iter().filter(|name| !name.starts_with('.')).count() <= 2
    })
    .await;
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.ended().await.succeeded();
    assert!(!home.path("kept/.backup-x.partial").exists());
    assert!(home.names_in("kept").contains(seen.last().unwrap()), "the newest is kept");
}

#[tokio::test]
async fn a_schedule_that_cannot_be_kept_does_not_stop_the_pipeline() {
    let manifest = format!("{}backup: {{every: 1s, to: kept}}\n", company::MANIFEST);
    let home = company::embedded(&manifest).await;
    std::fs::write(home.path("kept"), "in the way").unwrap();
    company::drop_example(&home);
    let mut running = home.spawn("run");
    running.says("no backup was made").await;
    until("all is in", async || {
        home.count("select count(*) from tidegate.sources where completed_at is not null").await == 3
    })
    .await;
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.ended().await.succeeded();
}
