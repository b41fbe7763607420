//! Bytes change, or files go, under the log.

use std::ops::Range;
use std::path::Path;

use crate::log::{TOPIC, TempLog, append, resume_at, values, values_from};
use tidegate_topics::{Embedded, ErrorKind, Topics};

const BATCHES: [&[&str]; 3] = [&["a", "b"], &["c", "d"], &["e", "f"]];
/// The size of the frame of each of them: the header, and two records of 8 + 3 + 1 bytes.
const FRAME_BYTES: usize = 24 + 2 * 12;

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

/// Two segments, the first of which holds [`BATCHES`] and the second "g".
async fn two_segments(temp: &TempLog) {
    let log = temp.open();
    append(&log, &BATCHES).await;
    drop(log);
    append(&temp.open_with_a_segment_a_batch(), &[&["g"]]).await;
    assert_eq!(temp.segments().len(), 2);
    assert_eq!(std::fs::metadata(&temp.segments()[0]).unwrap().len() as usize, 3 * FRAME_BYTES);
}

/// All values that can be read if one goes on after each error.
async fn all_that_is_left(log: &Embedded, file: &Path) -> Vec<String> {
    let (mut left, mut from) = (Vec::new(), 0);
    loop {
        let (values, error) = values_from(log, from).await;
        left.extend(values);
        if error.is_none() {
            return left;
        }
        let next = resume_at(error, file);
        assert!(next > from, "to resume at {next} after {from} is no progress");
        from = next;
    }
}

/// The parts of the second frame, as ranges of its bytes; see `embedded/frame.rs`.
macro_rules! for_each_part {
    ($check:path) => {
        tidegate_testing::rows! { $check:
            in_the_magic: (0..4),
            in_the_checksum: (4..8),
            in_the_length: (8..12),
            in_the_count: (12..16),
            in_the_base: (16..24),
            in_a_record: (24..FRAME_BYTES),
        }
    };
}

mod a_flipped_byte_in_the_last_segment {
    use super::*;

    for_each_part!(cuts_it_off_there);

    async fn cuts_it_off_there(part: Range<usize>) {
        for at in part.map(|at| FRAME_BYTES + at) {
            let temp = TempLog::new();
            append(&temp.open(), &BATCHES).await;
            flip(&temp.segments()[0], at);
            let log = temp.open();
            assert_eq!(log.end(TOPIC, 0).await.unwrap(), 2, "byte {at}");
            assert_eq!(append(&log, &[&["x"]]).await, 2);
            assert_eq!(values(&log).await, ["a", "b", "x"], "byte {at}");
        }
    }
}

mod a_flipped_byte_in_an_older_segment {
    use super::*;

    for_each_part!(costs_its_batch);

    async fn costs_its_batch(part: Range<usize>) {
        let temp = TempLog::new();
        two_segments(&temp).await;
        let path = &temp.segments()[0];
        let whole = std::fs::read(path).unwrap();
        for at in part {
            flip(path, FRAME_BYTES + at);
            let log = temp.open();
            let (before, error) = values_from(&log, 0).await;
            assert_eq!(before, ["a", "b"], "byte {at}");
            resume_at(error, path);
            let left = all_that_is_left(&log, path).await;
            // Without its magic or its length, where the next frame begins is unknown.
            let chain_lost = matches!(at, 0..4 | 8..12);
            let expected = if chain_lost { &["a", "b", "g"][..] } else { &["a", "b", "e", "f", "g"] };
            assert_eq!(left, expected, "byte {at}");
            // A reader that begins after the damage is spared, and one within it is not.
            if !chain_lost {
                assert_eq!(values_from(&log, 5).await.0, ["f", "g"], "byte {at}");
            }
            assert!(values_from(&log, 3).await.1.is_some(), "byte {at}");
            assert_eq!(values_from(&log, 6).await.0, ["g"], "byte {at}");
            assert_eq!(append(&log, &[]).await, 0);
            drop(log);
            std::fs::write(path, &whole).unwrap();
        }
        assert_eq!(values(&temp.open()).await, ["a", "b", "c", "d", "e", "f", "g"]);
    }
}

#[tokio::test]
async fn damage_under_an_open_log_is_noticed() {
    let temp = TempLog::new();
    let log = temp.open();
    append(&log, &BATCHES).await;
    let path = &temp.segments()[0];
    flip(path, 3 * FRAME_BYTES - 1);
    let (before, error) = values_from(&log, 0).await;
    assert_eq!(before, ["a", "b", "c", "d"]);
    assert_eq!(resume_at(error, path), 6);
    assert_eq!(append(&log, &[&["g"]]).await, 6);
    assert_eq!(all_that_is_left(&log, path).await, ["a", "b", "c", "d", "g"]);
}

mod an_older_segment_that_was_cut_short {
    use super::*;

    tidegate_testing::rows! { is_noticed:
        before_its_first_batch_ends: (0..FRAME_BYTES),
        within_its_second_batch: (FRAME_BYTES..2 * FRAME_BYTES),
        within_its_last_batch: (2 * FRAME_BYTES..3 * FRAME_BYTES),
    }

    async fn is_noticed(lengths: Range<usize>) {
        let temp = TempLog::new();
        two_segments(&temp).await;
        let path = &temp.segments()[0];
        let whole = std::fs::read(path).unwrap();
        for len in lengths {
            std::fs::write(path, &whole[..len]).unwrap();
            let log = temp.open();
            let mut expected = ["a", "b", "c", "d", "e", "f"][..len / FRAME_BYTES * 2].to_vec();
            expected.push("g");
            assert!(values_from(&log, 0).await.1.is_some(), "cut at byte {len}");
            assert_eq!(all_that_is_left(&log, path).await, expected, "cut at byte {len}");
        }
    }
}

#[tokio::test]
async fn a_segment_that_is_missing_in_the_middle_is_named_by_the_one_before() {
    let temp = TempLog::new();
    append(&temp.open_with_a_segment_a_batch(), &BATCHES).await;
    let paths = temp.segments();
    std::fs::remove_file(&paths[1]).unwrap();
    let log = temp.open();
    let (before, error) = values_from(&log, 0).await;
    assert_eq!(before, ["a", "b"]);
    assert_eq!(resume_at(error, &paths[0]), 4);
    assert_eq!(values_from(&log, 4).await.0, ["e", "f"]);
}

#[tokio::test]
async fn a_segment_that_is_missing_at_the_beginning_moves_the_start() {
    let temp = TempLog::new();
    append(&temp.open_with_a_segment_a_batch(), &BATCHES).await;
    std::fs::remove_file(&temp.segments()[0]).unwrap();
    let log = temp.open();
    assert_eq!(log.start(TOPIC, 0).await.unwrap(), 2);
    let error = log.read(TOPIC, 0, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BehindStart { start: 2 });
    assert!(error.to_string().contains("offset 1"), "{error}");
}

#[tokio::test]
async fn offsets_that_were_left_out_do_not_hide_damage_before_them() {
    let temp = TempLog::new();
    let log = temp.open();
    append(&log, &BATCHES).await;
    log.create(TOPIC, 0, 10).await.unwrap();
    append(&log, &[&["k"]]).await;
    drop(log);
    let path = &temp.segments()[0];
    let whole = std::fs::read(path).unwrap();
    std::fs::write(path, &whole[..2 * FRAME_BYTES]).unwrap();
    let log = temp.open();
    assert_eq!(resume_at(log.read(TOPIC, 0, 4).await.err(), path), 10);
    assert_eq!(values_from(&log, 6).await.0, ["k"]);
}
