//! How fast the log is. Run it with `--release --ignored --nocapture`.

use std::time::Instant;

use crate::log::{TOPIC, TempLog};
use tidegate_core::record::Batch;
use tidegate_topics::{Durability, Topics};

const BATCHES: u64 = 512;
const BATCH_BYTES: usize = 1 << 20;

#[tokio::test]
#[ignore = "a measurement"]
async fn batches_are_appended_and_read() {
    let temp = TempLog::new();
    let log = temp.open();
    log.create(TOPIC, 0, 0).await.unwrap();
    let mut batch = Batch::with_capacity(BATCH_BYTES + 128);
    while batch.as_bytes().len() < BATCH_BYTES {
        batch.push(b"117", b"0,3,117,117,Marcelo Gonzalez,2021-07-27T16:02:08Z,1,2");
    }
    let records = batch.len() as u64 * BATCHES;
    for durability in [Durability::Buffered, Durability::Synced] {
        let start = log.end(TOPIC, 0).await.unwrap();
        let begun = Instant::now();
        for _ in 0..BATCHES {
            log.append(TOPIC, 0, &batch, durability).await.unwrap();
        }
        let appended = begun.elapsed();
        let (mut from, begun) = (start, Instant::now());
        while let Some(fetched) = log.read(TOPIC, 0, from).await.unwrap() {
            from = fetched.next;
        }
        let read = begun.elapsed();
        assert_eq!(from, start + records);
        for (what, time) in [("append", appended), ("read", read)] {
            println!(
                "{durability:?} {what}: {:.0} MiB/s, {:.1} million records/s",
                BATCHES as f64 / time.as_secs_f64(),
                records as f64 / time.as_secs_f64() / 1e6
            );
        }
    }
}
