//! Files that are still being written.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, Instant};

use tidegate_core::contract::PollAnswer;

use super::{Bench, age};

fn settling(settle: &str) -> Bench {
    Bench::with(&super::MANIFEST.replace("stable_for: 0s", &format!("stable_for: {settle}")))
}

#[tokio::test]
async fn a_time_long_ago_is_not_believed_while_nobody_has_seen_the_file_stand_still() {
    let mut bench = settling("300ms");
    let begun = Instant::now();
    let path = bench.drop_file("jobs.csv", "1,a\n");
    assert!(matches!(bench.poll_out(false).await, PollAnswer::Waiting));
    // It goes on, and its clock is far behind.
    File::options().append(true).open(&path).unwrap().write_all(b"2,b\n").unwrap();
    age(&path, 3600);
    bench.read(1).await;
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    assert_eq!(bench.texts(), ["1,a", "2,b"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_is_open_for_writing_is_not_taken_before_it_is_closed() {
    let mut bench = settling("20ms");
    let path = bench.path("jobs.csv");
    let mut writer = File::create(&path).unwrap();
    writer.write_all(b"1,a\n2,Rob").unwrap();
    age(&path, 3600);
    bench.drop_file("jobs_b.csv", "7,x\n");
    let begun = Instant::now();
    bench.poll_until(false, |_, _| begun.elapsed() > Duration::from_millis(500)).await;
    assert_eq!(bench.texts(), ["7,x"], "the other is taken");
    writer.write_all(b"erto\n").unwrap();
    drop(writer);
    bench.read(2).await;
    assert_eq!(bench.texts(), ["7,x", "1,a", "2,Roberto"]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_stays_open_is_left_and_named_and_taken_in_the_end() {
    let mut bench = settling("20ms");
    let path = bench.path("jobs.csv");
    let mut writer = File::create(&path).unwrap();
    writer.write_all(b"1,a\n").unwrap();
    bench.idle().await;
    let why = &bench.landing.left()[&path];
    assert!(why.contains(&format!("process {} (", std::process::id())), "{why}");
    assert!(why.contains("has it open for writing"), "{why}");
    assert!(bench.memory.sources().is_empty() && bench.landing.refused().is_empty());
    drop(writer);
    bench.read(1).await;
    assert!(bench.landing.left().is_empty());
}

#[tokio::test]
async fn a_file_whose_last_record_has_no_end_must_stand_still_for_longer() {
    for content in ["1,a\n2,Rob", "1,a\n2,\"Rob\n"] {
        let mut bench = settling("200ms");
        let begun = Instant::now();
        bench.drop_file("jobs.csv", content);
        bench.drop_file("jobs_b.csv", "7,x\n");
        bench.read(2).await;
        assert!(begun.elapsed() >= Duration::from_secs(1), "{content:?}: {:?}", begun.elapsed());
        assert_eq!(bench.texts()[0], "7,x", "the other did not wait for it");
    }
}

#[tokio::test]
async fn what_is_written_to_a_file_that_was_moved_comes_in_as_new_content() {
    let mut bench = Bench::new();
    let path = bench.path("jobs.csv");
    let mut writer = File::create(&path).unwrap();
    writer.write_all(b"1,a\n2,Rob").unwrap();
    // Who writes cannot be told, as if that were another machine.
    bench.change_landing(|landing| landing.with_writers(|_| None));
    bench.read(1).await;
    bench.account();
    bench.idle().await;
    assert_eq!((bench.texts(), bench.done()), (vec!["1,a", "2,Rob"], vec!["1-jobs.csv".to_owned()]));
    bench.lines.clear();
    writer.write_all(b"erto\n").unwrap();
    bench.read(2).await;
    assert_eq!(bench.texts(), ["1,a", "2,Roberto"]);
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["2-jobs.csv"]);
    // And so it is when another process runs by then.
    writer.write_all(b"3,c\n").unwrap();
    bench.lines.clear();
    bench.change_landing(|landing| landing.with_writers(|_| None));
    bench.read(3).await;
    assert_eq!(bench.texts(), ["1,a", "2,Roberto", "3,c"]);
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["3-jobs.csv"]);
}

#[tokio::test]
async fn files_of_no_dataset_are_left_and_folders_are_not_files() {
    let mut bench = Bench::new();
    fs::write(bench.path("unknown.csv"), "1\n").unwrap();
    fs::write(bench.path(".hidden"), "1\n").unwrap();
    fs::create_dir(bench.path("folder")).unwrap();
    bench.idle().await;
    let left = bench.landing.left();
    assert_eq!(left.keys().collect::<Vec<_>>(), [&bench.path("unknown.csv")]);
    assert!(left[&bench.path("unknown.csv")].contains("matches the 'files' of no dataset"));
}
