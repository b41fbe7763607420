//! What may be in the folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use tidegate_core::contract::PollAnswer;

use super::{Bench, age};

#[tokio::test]
async fn parents_come_first_then_older_files_then_names() {
    let mut bench = Bench::new();
    age(&bench.drop_file("hired.csv", "1,a,1\n"), 9000);
    age(&bench.drop_file("jobs_b.csv", "1,a\n"), 500);
    age(&bench.drop_file("jobs_c.csv", "2,a\n"), 700);
    let same = std::time::SystemTime::now() - std::time::Duration::from_secs(500);
    for name in ["jobs_b.csv", "jobs_a.csv"] {
        let path = bench.path(name);
        if !path.exists() {
            bench.drop_file(name, "3,a\n");
        }
        fs::File::options().append(true).open(path).unwrap().set_modified(same).unwrap();
    }
    bench.read(4).await;
    let names: Vec<_> = bench.memory.sources().into_iter().map(|source| source.name).collect();
    assert_eq!(names, ["jobs_c.csv", "jobs_a.csv", "jobs_b.csv", "hired.csv"]);
    assert_eq!(bench.memory.source(4).dataset, "hired");
}

#[tokio::test]
async fn only_files_of_a_dataset_are_taken() {
    let mut bench = Bench::new();
    bench.drop_file("unknown.csv", "1\n");
    bench.drop_file(".jobs.csv", "1,a\n");
    fs::create_dir(bench.path("jobs_folder.csv")).unwrap();
    let elsewhere = bench.dir.path().join("elsewhere");
    fs::write(&elsewhere, "1,a\n").unwrap();
    symlink(&elsewhere, bench.path("jobs_link.csv")).unwrap();
    assert!(matches!(bench.poll_out(false).await, PollAnswer::Idle));
    assert!(bench.memory.sources().is_empty());
    assert!(bench.landing.refused().is_empty());
}

#[tokio::test]
async fn a_missing_folder_is_made() {
    let mut bench = Bench::new();
    fs::remove_dir(bench.path("")).unwrap();
    assert!(matches!(bench.poll_out(false).await, PollAnswer::Idle));
    assert!(bench.path("").is_dir());
}

#[tokio::test]
async fn a_file_that_does_not_stand_still_is_not_touched() {
    let mut bench = Bench::with(&super::MANIFEST.replace("stable_for: 0s", "stable_for: 1s"));
    let path = bench.path("jobs.csv");
    fs::write(&path, "1,a\n").unwrap();
    assert!(matches!(bench.poll_out(false).await, PollAnswer::Waiting));
    // A time in the future tells nothing, so the file is watched for as long as that.
    let future = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    fs::File::options().append(true).open(&path).unwrap().set_modified(future).unwrap();
    let start = Instant::now();
    bench.read(1).await;
    assert!(start.elapsed() > std::time::Duration::from_millis(700), "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_same_file_dropped_twice_is_one_source() {
    let mut bench = Bench::new();
    bench.drop_file("jobs.csv", "1,a\n");
    bench.read(1).await;
    bench.account();
    bench.idle().await;
    let path = bench.drop_file("jobs.csv", "1,a\n");
    bench.poll_until(true, |_, _| !path.exists()).await;
    assert_eq!((bench.memory.sources().len(), bench.lines.len()), (1, 1));
    assert_eq!(bench.done(), ["1-jobs.csv"]);
    bench.drop_file("jobs_again.csv", "1,a\n");
    bench.read(2).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_moved_is_named_and_not_read_again() {
    let mut bench = Bench::new();
    fs::write(bench.path("done"), "in the way").unwrap();
    let path = bench.drop_file("jobs.csv", "1,a\n");
    bench.read(1).await;
    bench.account();
    bench.idle().await;
    let reason = &bench.landing.refused()[&path];
    assert!(reason.starts_with("every line is accounted for, but it cannot be moved to done/"), "{reason}");
    assert_eq!(bench.lines.len(), 1);
}

#[tokio::test]
async fn an_unreadable_file_is_named_and_tried_again() {
    if nix::unistd::geteuid().is_root() {
        // Root reads everything, so the test runs again as nobody.
        let nobody = 65_534;
        let name = "landing::folder::an_unreadable_file_is_named_and_tried_again";
        let child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact"])
            .uid(nobody)
            .gid(nobody)
            .output();
        match child {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(said.contains("1 passed"), "{said}");
            }
            Err(error) => eprintln!("SKIPPED: nobody cannot run this binary: {error}"),
        }
        return;
    }
    let mut bench = Bench::new();
    let path = bench.drop_file("jobs.csv", "1,a\n");
    bench.drop_file("jobs_b.csv", "2,b\n");
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    bench.read(1).await;
    bench.account();
    bench.idle().await;
    let reason = &bench.landing.refused()[&path];
    assert!(reason.starts_with("it cannot be read: Permission denied"), "{reason}");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    bench.read(2).await;
    assert!(bench.landing.refused().is_empty());
}
