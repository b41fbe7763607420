//! The tests of the embedded log, against real directories; and of Fluvio's topics, against a real cluster.

#![allow(clippy::unwrap_used, reason = "the lint spares test functions, but not what they share")]

mod child;
mod damage;
mod fluvio;
mod log;
mod memory;
mod reopening;
mod speed;

use std::cell::Cell;

use log::{TempLog, open};
use tidegate_testing::conformance::topics::{self as conformance, Gaps};
use tidegate_topics::Memory;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_log_conforms() {
    conforms(64 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_log_conforms_in_many_small_segments() {
    conforms(100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_in_memory_conform() {
    conformance::all(Gaps::LeftOut, async || Memory::default()).await;
}

async fn conforms(segment_bytes: u64) {
    let log = TempLog::new();
    let made = Cell::new(0);
    conformance::all(Gaps::LeftOut, async || {
        made.set(made.get() + 1);
        open(&log.path().join(made.get().to_string()), segment_bytes)
    })
    .await;
}
