//! A log is closed, or left by a killed process, and opened again.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::PermissionsExt;

use crate::log::{TOPIC, TempLog, append, batch, values, values_from};
use tidegate_topics::embedded::EmbeddedOptions;
use tidegate_topics::{Durability, Embedded, ErrorKind, Topics};

mod everything_is_there_after_reopening {
    use super::*;

    tidegate_testing::rows! { and_offsets_go_on:
        with_a_segment_a_batch: (1),
        with_small_segments: (100),
        with_one_segment: (1 << 20),
    }

    async fn and_offsets_go_on(segment_bytes: u64) {
        let temp = TempLog::new();
        let options = EmbeddedOptions { segment_bytes };
        for round in 0..4u64 {
            let log = Embedded::open(temp.path(), options.clone()).unwrap();
            if round > 0 {
                assert_eq!(log.list().await.unwrap(), [TOPIC]);
                assert_eq!(log.end(TOPIC, 0).await.unwrap(), round * 4);
            }
            let base = append(&log, &[&["a", "b"], &["c", "d"]]).await;
            assert_eq!(base, round * 4 + 2, "segments of {segment_bytes} bytes");
        }
        let log = Embedded::open(temp.path(), options).unwrap();
        assert_eq!(values(&log).await, ["a", "b", "c", "d"].repeat(4));
        for from in 0..16 {
            assert_eq!(values_from(&log, from).await.0.len() as u64, 16 - from);
        }
    }
}

#[tokio::test]
async fn any_offset_is_found_in_a_large_segment_that_nobody_has_read() {
    const BATCHES: u64 = 4000;
    let temp = TempLog::new();
    let long = "x".repeat(100);
    append(&temp.open(), &vec![&[long.as_str(), "short"][..]; BATCHES as usize]).await;
    append(&temp.open_with_a_segment_a_batch(), &[&["after"]]).await;
    assert!(std::fs::metadata(&temp.segments()[0]).unwrap().len() > 500_000);
    let log = temp.open();
    let mut last = u64::MAX;
    // The second pass finds marks and cursors that the first has left.
    for from in (0..2 * BATCHES).step_by(97).chain((0..2 * BATCHES).step_by(89)) {
        let fetched = log.read(TOPIC, 0, from).await.unwrap().unwrap();
        assert_eq!((fetched.base, fetched.next), (from, from - from % 2 + 2));
        let value = if from % 2 == 0 { &long } else { "short" };
        assert_eq!(fetched.batch.iter().next().unwrap().value, value.as_bytes(), "at {from}");
        last = fetched.next;
    }
    assert_eq!(values_from(&log, last).await.0.len() as u64, 2 * BATCHES - last + 1);
    assert_eq!(log.bytes_after(TOPIC, 0, 2 * BATCHES + 1).await.unwrap(), 0);
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_wherever_it_is_torn() {
    let whole = TempLog::new();
    append(&whole.open(), &[&["first", "second"]]).await;
    let kept = std::fs::read(&whole.segments()[0]).unwrap();
    append(&whole.open(), &[&["third", "fourth", "fifth"]]).await;
    let bytes = std::fs::read(&whole.segments()[0]).unwrap();
    assert!(bytes.len() > kept.len());

    let torn = TempLog::new();
    append(&torn.open(), &[]).await;
    let path = &torn.segments()[0];
    for len in kept.len()..bytes.len() {
        std::fs::write(path, &bytes[..len]).unwrap();
        let log = torn.open();
        assert_eq!(log.end(TOPIC, 0).await.unwrap(), 2, "torn at byte {len}");
        assert_eq!(std::fs::read(path).unwrap(), kept, "torn at byte {len}");
        assert_eq!(append(&log, &[&["again"]]).await, 2);
        assert_eq!(values(&log).await, ["first", "second", "again"], "torn at byte {len}");
    }
}

#[tokio::test]
async fn a_tail_of_zeros_is_cut_off() {
    let temp = TempLog::new();
    append(&temp.open(), &[&["first"]]).await;
    let file = OpenOptions::new().write(true).open(&temp.segments()[0]).unwrap();
    file.set_len(file.metadata().unwrap().len() + 8192).unwrap();
    let log = temp.open();
    assert_eq!(append(&log, &[&["second"]]).await, 1);
    assert_eq!(values(&log).await, ["first", "second"]);
}

#[tokio::test]
async fn readers_that_are_ahead_of_a_cut_get_no_offset_twice() {
    let temp = TempLog::new();
    append(&temp.open(), &[&["a"], &["b"], &["c"]]).await;
    let file = OpenOptions::new().write(true).open(&temp.segments()[0]).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let log = temp.open();
    let error = log.read(TOPIC, 0, 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BeyondEnd { end: 2 });
    log.create(TOPIC, 0, 3).await.unwrap();
    assert_eq!(append(&log, &[&["d"]]).await, 3);
    drop(log);
    let log = temp.open();
    assert_eq!(values(&log).await, ["a", "b", "d"]);
    assert_eq!(values_from(&log, 2).await.0, ["d"]);
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_roll_loses_nothing() {
    let temp = TempLog::new();
    append(&temp.open(), &[&["a", "b"]]).await;
    let directory = temp.segments()[0].parent().unwrap().to_owned();
    File::create(directory.join(format!("{:020}.log", 2))).unwrap();
    let log = temp.open();
    assert_eq!(values(&log).await, ["a", "b"]);
    assert_eq!(append(&log, &[&["c"]]).await, 2);
    assert_eq!(values(&log).await, ["a", "b", "c"]);
    drop(log);
    assert_eq!(values(&temp.open()).await, ["a", "b", "c"]);
    assert_eq!(temp.segments().len(), 2);
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_creation_leaves_no_topic() {
    let temp = TempLog::new();
    std::fs::create_dir_all(temp.path().join(TOPIC).join("0")).unwrap();
    let log = temp.open();
    assert_eq!(log.list().await.unwrap(), Vec::<String>::new());
    append(&log, &[&["a"]]).await;
    assert_eq!(values(&log).await, ["a"]);
}

#[tokio::test]
async fn trimming_deletes_whole_segments_but_never_the_active_one() {
    let temp = TempLog::new();
    let log = temp.open_with_a_segment_a_batch();
    append(&log, &[&["a", "b"], &["c", "d"], &["e", "f"]]).await;
    for (before, start) in [(1, 0), (2, 2), (3, 2), (6, 4), (6, 4)] {
        log.trim(TOPIC, 0, before).await.unwrap();
        assert_eq!(log.start(TOPIC, 0).await.unwrap(), start, "before {before}");
        assert_eq!(temp.segments().len() as u64, (6 - start) / 2, "before {before}");
    }
    drop(log);
    let log = temp.open_with_a_segment_a_batch();
    assert_eq!(log.start(TOPIC, 0).await.unwrap(), 4);
    assert_eq!(values(&log).await, ["e", "f"]);
    log.append(TOPIC, 0, &batch(&["g"]), Durability::Synced).await.unwrap();
    assert_eq!(values(&log).await, ["e", "f", "g"]);
}

#[tokio::test]
async fn readers_wake_at_the_end_across_segments() {
    let temp = TempLog::new();
    let log = temp.open_with_a_segment_a_batch();
    log.create(TOPIC, 0, 0).await.unwrap();
    let reader = tokio::spawn({
        let log = log.clone();
        async move {
            let (mut from, mut values) = (0, Vec::new());
            while from < 100 {
                match log.read(TOPIC, 0, from).await.unwrap() {
                    Some(fetched) => {
                        from = fetched.next;
                        values.extend(fetched.batch.iter().map(|record| record.value.to_vec()));
                    }
                    None => assert!(log.wait(TOPIC, 0, from).await.unwrap() > from),
                }
            }
            values
        }
    });
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    for value in &expected {
        append(&log, &[&[value]]).await;
        tokio::task::yield_now().await;
    }
    let got = reader.await.unwrap();
    assert_eq!(got, expected.iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_written_is_for_this_user_alone() {
    let temp = TempLog::new();
    let root = temp.path().join("data").join("topics");
    let log = Embedded::open(&root, EmbeddedOptions::default()).unwrap();
    append(&log, &[&["a"]]).await;
    let partition = root.join(TOPIC).join("0");
    let segment = partition.join(format!("{:020}.log", 0));
    for (path, mode) in [
        (root.parent().unwrap(), 0o700),
        (&root, 0o700),
        (&root.join("lock"), 0o600),
        (&root.join(TOPIC), 0o700),
        (&partition, 0o700),
        (&segment, 0o600),
    ] {
        let found = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "'{}' has {found:o}", path.display());
    }
}
