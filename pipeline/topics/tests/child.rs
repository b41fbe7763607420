//! A second process: this test binary, which runs one of the ignored tests below.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;

use crate::log::{TOPIC, TempLog, append, open, values};
use tidegate_core::failpoint::Failpoint;
use tidegate_core::record::Batch;
use tidegate_topics::embedded::EmbeddedOptions;
use tidegate_topics::{Durability, Embedded, ErrorKind, Topics};

/// Tells the child where the log is. Without it the ignored tests do nothing.
const DIRECTORY: &str = "TIDEGATE_TEST_LOG";
/// What the child leaves: how many batches were acknowledged.
const ACKNOWLEDGED: &str = "acknowledged";
/// Tells the child which failpoint to arm.
const FAILPOINT: &str = "TIDEGATE_TEST_FAILPOINT";
const SEGMENT_BYTES: u64 = 1 << 20;
const SMALL_SEGMENT: u64 = 1 << 10;
/// More than the child may write to a file, whether `ulimit -f` counts in 512 or 1024 bytes.
const LARGE: usize = 100 << 10;

/// Runs the ignored test in a process of its own, after `prelude` in the shell.
fn run(prelude: &str, test: &str, temp: &TempLog) {
    let output = child(prelude, test, temp).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    assert!(stdout.contains("1 passed"), "'{test}' was not found\n{stdout}");
}

fn child(prelude: &str, test: &str, temp: &TempLog) -> Command {
    let script = format!("{prelude} exec \"$0\" --exact \"$1\" --ignored --nocapture");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(std::env::current_exe().unwrap()).arg(test).env(DIRECTORY, temp.path());
    command
}

fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

fn numbered(number: usize, bytes: usize) -> Batch {
    let mut batch = Batch::default();
    batch.push(b"", format!("{number}{}", " ".repeat(bytes)).as_bytes());
    batch
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_no_end() {
    let temp = TempLog::new();
    run("trap '' XFSZ; ulimit -f 700;", "child::child_fills_the_disk", &temp);
    let acknowledged: usize =
        std::fs::read_to_string(temp.path().join(ACKNOWLEDGED)).unwrap().parse().unwrap();
    assert!(acknowledged > 3, "{acknowledged}");
    let log = open(temp.path(), SEGMENT_BYTES);
    assert_eq!(log.end(TOPIC, 0).await.unwrap(), acknowledged as u64);
    log.append(TOPIC, 0, &numbered(acknowledged, LARGE), Durability::Synced).await.unwrap();
    for (number, value) in values(&log).await.iter().enumerate() {
        assert_eq!(value.trim().parse::<usize>().unwrap(), number);
    }
    assert_eq!(log.end(TOPIC, 0).await.unwrap(), acknowledged as u64 + 1);
}

#[tokio::test]
#[ignore = "runs under a file size limit, as the child of another test"]
async fn child_fills_the_disk() {
    let Some(directory) = directory() else { return };
    let log = open(&directory, SEGMENT_BYTES);
    log.create(TOPIC, 0, 0).await.unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match log.append(TOPIC, 0, &numbered(acknowledged, LARGE), Durability::Buffered).await {
            Ok(base) => assert_eq!(base, acknowledged as u64),
            Err(error) => break error,
        }
        acknowledged += 1;
        assert!(acknowledged < 100, "there is no limit");
    };
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(error.retryable() && error.to_string().contains(TOPIC), "{error}");
    // Nothing of the batch is there; it may be tried again, and a smaller one still fits.
    assert_eq!(log.end(TOPIC, 0).await.unwrap(), acknowledged as u64);
    assert_eq!(log.read(TOPIC, 0, acknowledged as u64).await.unwrap(), None);
    assert_eq!(values(&log).await.len(), acknowledged);
    let again = log.append(TOPIC, 0, &numbered(acknowledged, LARGE), Durability::Synced).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Full);
    let small = log.append(TOPIC, 0, &numbered(acknowledged, 10), Durability::Synced).await;
    assert_eq!(small.unwrap(), acknowledged as u64);
    acknowledged += 1;
    assert_eq!(values(&log).await.len(), acknowledged);
    std::fs::write(directory.join(ACKNOWLEDGED), acknowledged.to_string()).unwrap();
}

#[tokio::test]
async fn a_full_disk_takes_away_what_every_reader_has_passed() {
    let temp = TempLog::new();
    run("trap '' XFSZ; ulimit -f 700;", "child::child_passes_what_fills_the_disk", &temp);
    let log = open(temp.path(), SEGMENT_BYTES);
    assert!(log.start(TOPIC, 0).await.unwrap() > 0, "offsets go on, and none is given out twice");
    assert_eq!(log.end(TOPIC, 0).await.unwrap(), PASSED as u64 + 1);
    let last = values(&log).await;
    assert_eq!(last.last().unwrap().trim().parse::<usize>().unwrap(), PASSED);
}

/// More batches than fit under the limit together.
const PASSED: usize = 30;

#[tokio::test]
#[ignore = "runs under a file size limit, as the child of another test"]
async fn child_passes_what_fills_the_disk() {
    let Some(directory) = directory() else { return };
    let log = open(&directory, SEGMENT_BYTES);
    log.create(TOPIC, 0, 0).await.unwrap();
    for number in 0..PASSED {
        let base = log.append(TOPIC, 0, &numbered(number, LARGE), Durability::Synced).await;
        assert_eq!(base.unwrap(), number as u64);
        assert_eq!(log.read(TOPIC, 0, number as u64).await.unwrap().unwrap().batch.len(), 1);
        log.trim(TOPIC, 0, number as u64 + 1).await.unwrap();
    }
    // What is not passed stays, and so does the error.
    log.append(TOPIC, 0, &numbered(PASSED, 10), Durability::Synced).await.unwrap();
    let too_much = log.append(TOPIC, 0, &numbered(0, 10 * LARGE), Durability::Synced).await;
    assert_eq!(too_much.unwrap_err().kind(), ErrorKind::Full);
    assert!(log.read(TOPIC, 0, PASSED as u64).await.unwrap().is_some());
}

#[tokio::test]
async fn a_directory_is_open_once() {
    let temp = TempLog::new();
    let log = temp.open();
    let error = Embedded::open(temp.path(), EmbeddedOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    run("", "child::child_is_refused", &temp);
    let clone = log.clone();
    drop(log);
    run("", "child::child_is_refused", &temp);
    drop(clone);
    append(&temp.open(), &[&["a"]]).await;
}

#[test]
#[ignore = "needs a log that another process has open, as the child of another test"]
fn child_is_refused() {
    let Some(directory) = directory() else { return };
    let error = Embedded::open(&directory, EmbeddedOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert!(error.to_string().contains(directory.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_an_abort() {
    let temp = TempLog::new();
    run(
        // The child aborts; what the test harness would have printed is said for it.
        "ulimit -c 0; \"$0\" --exact child::child_aborts --ignored --nocapture; echo killed by $?;",
        "child::child_comes_back",
        &temp,
    );
    let log = temp.open();
    assert_eq!(values(&log).await, ["a", "b", "c"]);
}

#[tokio::test]
#[ignore = "aborts, as the child of another test"]
async fn child_aborts() {
    let Some(directory) = directory() else { return };
    append(&open(&directory, 1), &[&["a"], &["b"]]).await;
    std::process::abort();
}

#[tokio::test]
#[ignore = "comes after an abort, as the child of another test"]
async fn child_comes_back() {
    let Some(directory) = directory() else { return };
    assert_eq!(append(&open(&directory, 1), &[&["c"]]).await, 2);
}

#[tokio::test]
async fn a_log_whose_process_ends_at_any_step_holds_what_was_acknowledged() {
    for point in [Failpoint::BatchHalfWritten, Failpoint::SegmentBegun, Failpoint::SegmentTrimmed] {
        let temp = TempLog::new();
        let output = child("", "child::child_ends_at_a_failpoint", &temp)
            .env(FAILPOINT, format!("{}=abort@3", point.as_str()))
            .output()
            .unwrap();
        assert!(output.status.signal().is_some(), "{} is not passed", point.as_str());
        let acknowledged = std::fs::read_to_string(temp.path().join(ACKNOWLEDGED)).unwrap();
        let (acknowledged, trimmed) = acknowledged.split_once(' ').unwrap();
        let (acknowledged, trimmed): (u64, u64) = (acknowledged.parse().unwrap(), trimmed.parse().unwrap());
        let log = open(temp.path(), SMALL_SEGMENT);
        assert_eq!(log.end(TOPIC, 0).await.unwrap(), acknowledged, "{}", point.as_str());
        let start = log.start(TOPIC, 0).await.unwrap();
        assert!(start <= trimmed, "{}: {start}", point.as_str());
        let next =
            log.append(TOPIC, 0, &numbered(acknowledged as usize, 0), Durability::Synced).await.unwrap();
        assert_eq!(next, acknowledged);
        for (number, value) in (start as usize..).zip(values(&log).await) {
            assert_eq!(value.trim().parse::<usize>().unwrap(), number, "{}", point.as_str());
        }
    }
}

#[tokio::test]
#[ignore = "ends at a failpoint, as the child of another test"]
async fn child_ends_at_a_failpoint() {
    let (Some(directory), Ok(armed)) = (directory(), std::env::var(FAILPOINT)) else { return };
    tidegate_core::failpoint::arm(&armed).unwrap();
    let log = open(&directory, SMALL_SEGMENT);
    log.create(TOPIC, 0, 0).await.unwrap();
    for number in 0..1000_u64 {
        let trimmed = number.saturating_sub(20);
        std::fs::write(directory.join(ACKNOWLEDGED), format!("{number} {trimmed}")).unwrap();
        log.trim(TOPIC, 0, trimmed).await.unwrap();
        log.append(TOPIC, 0, &numbered(number as usize, 100), Durability::Buffered).await.unwrap();
    }
    panic!("the failpoint is not passed");
}
