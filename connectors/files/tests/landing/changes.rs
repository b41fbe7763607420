//! Files that change under the reader.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt;

use tidegate_core::contract::PollAnswer;

use super::{Bench, age, many_lines};

/// A bench in the middle of a file of 3 MiB, with its content.
async fn in_the_middle() -> (Bench, String) {
    let mut bench = Bench::new();
    let content = many_lines(3);
    bench.drop_file("hired.csv", &content);
    assert!(matches!(bench.try_poll(false).await.unwrap(), PollAnswer::SourceBatch(_)));
    (bench, content)
}

#[tokio::test]
async fn a_file_that_grows_is_closed_at_the_last_line_sent_and_is_a_new_source() {
    let (mut bench, content) = in_the_middle().await;
    let sent = bench.lines.len() as u64;
    File::options().append(true).open(bench.path("hired.csv")).unwrap().write_all(b"x,y,1\n").unwrap();
    bench.read(2).await;
    assert_eq!(bench.memory.source(1).lines, Some(sent));
    assert_eq!(bench.memory.source(2).lines, Some(content.lines().count() as u64 + 1));
    assert_eq!(bench.lines.iter().filter(|(source, ..)| *source == 1).count() as u64, sent);
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["2-hired.csv"]);
}

#[tokio::test]
async fn a_file_that_shrinks_or_is_written_over_is_a_new_source() {
    let (mut bench, _) = in_the_middle().await;
    let file = File::options().write(true).open(bench.path("hired.csv")).unwrap();
    file.set_len(1 << 19).unwrap();
    drop(file); // what somebody has open for writing is not taken
    bench.read(2).await;
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["2-hired.csv"]);

    let (mut bench, _) = in_the_middle().await;
    let file = File::options().write(true).open(bench.path("hired.csv")).unwrap();
    file.write_all_at(b"9,other,1\n", (2 << 20) + 99).unwrap();
    drop(file);
    bench.read(2).await;
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["2-hired.csv"]);
}

#[tokio::test]
async fn a_change_that_hides_behind_the_old_time_is_found() {
    let (mut bench, content) = in_the_middle().await;
    let path = bench.path("hired.csv");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"#", content.len() as u64 - 3).unwrap();
    file.set_modified(modified).unwrap();
    drop(file);
    bench.read(2).await;
    assert_ne!(bench.memory.source(1).lines, bench.memory.source(2).lines);
}

#[tokio::test]
async fn a_file_that_is_deleted_is_read_to_its_end() {
    let (mut bench, content) = in_the_middle().await;
    fs::remove_file(bench.path("hired.csv")).unwrap();
    bench.read(1).await;
    assert_eq!(bench.texts(), content.lines().collect::<Vec<_>>());
    bench.account();
    bench.idle().await;
    assert!(bench.memory.source(1).complete);
    assert!(bench.done().is_empty());
}

#[tokio::test]
async fn a_file_that_is_replaced_is_read_to_its_end_and_so_is_the_new_one() {
    let (mut bench, content) = in_the_middle().await;
    let new = bench.dir.path().join("new");
    fs::write(&new, "1,new,1\n").unwrap();
    age(&new, 60);
    fs::rename(&new, bench.path("hired.csv")).unwrap();
    bench.read(2).await;
    assert_eq!(bench.memory.source(1).lines, Some(content.lines().count() as u64));
    assert_eq!(bench.lines.last().unwrap(), &(2, 1, "1,new,1".to_owned()));
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["2-hired.csv"]);
}

#[tokio::test]
async fn a_file_that_is_replaced_after_it_was_read_is_not_moved_unread() {
    let mut bench = Bench::new();
    bench.drop_file("jobs.csv", "1,a\n");
    bench.read(1).await;
    bench.drop_file("jobs.csv", "1,b\n");
    bench.account();
    bench.read(2).await;
    assert!(bench.done().is_empty());
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["2-jobs.csv"]);
}

#[tokio::test]
async fn content_whose_source_was_closed_early_comes_back_as_a_source_of_its_own() {
    let (mut bench, content) = in_the_middle().await;
    bench.drop_file("hired.csv", "1,short,1\n");
    bench.read(2).await;
    bench.account();
    bench.idle().await;
    bench.drop_file("hired.csv", &content);
    bench.read(3).await;
    assert_eq!(bench.memory.source(3).lines, Some(content.lines().count() as u64));
}
