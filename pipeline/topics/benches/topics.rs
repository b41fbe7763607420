//! How fast topics are: a million records are appended and read, one after the other and both at once.
//!
//! `cargo bench -p tidegate-topics`, where `TIDEGATE_TEST_FLUVIO=host:port` adds a cluster to the embedded log.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement, for people")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tidegate_core::manifest::{self, Compression};
use tidegate_core::record::Batch;
use tidegate_topics::embedded::EmbeddedOptions;
use tidegate_topics::{Durability, Embedded, Fluvio, Topics};

const RECORDS: u64 = 1_000_000;
const ROUNDS: u32 = 3;
/// About what a stage appends at once.
const BATCH_BYTES: usize = 1 << 20;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(directory.path(), EmbeddedOptions::default()).unwrap();
        measure("embedded", Arc::new(embedded)).await;
        let Ok(endpoint) = std::env::var("TIDEGATE_TEST_FLUVIO") else {
            println!("SKIPPED fluvio: no cluster is named; set TIDEGATE_TEST_FLUVIO=host:port");
            return;
        };
        for compression in [Compression::None, Compression::Lz4] {
            let options = manifest::FluvioOptions {
                endpoint: Some(endpoint.clone()),
                profile: None,
                tls: None,
                partitions: 1,
                replication: 1,
                compression,
                retention: Duration::from_secs(600),
                transform: Default::default(),
            };
            let fluvio = Fluvio::open(&options, Path::new("")).unwrap();
            measure(&format!("fluvio {compression}"), Arc::new(fluvio)).await;
        }
    });
}

async fn measure<T: Topics>(name: &str, topics: Arc<T>) {
    let batches = Arc::new(batches());
    for round in 0..ROUNDS {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
        let topic = format!("bench-{now:x}-{round}");
        topics.create(&topic, 0, 0).await.unwrap();
        let appending = append(&*topics, &topic, &batches).await;
        let reading = read(&*topics, &topic, 0).await;
        let (writer, written, to) = (Arc::clone(&topics), Arc::clone(&batches), topic.clone());
        let begun = Instant::now();
        let writer = tokio::spawn(async move { append(&*writer, &to, &written).await });
        read(&*topics, &topic, RECORDS).await;
        writer.await.unwrap();
        let both = begun.elapsed();
        println!(
            "{name}: append {}, read {}, both at once {} records/s",
            rate(appending),
            rate(reading),
            rate(both)
        );
    }
}

async fn append(topics: &impl Topics, topic: &str, batches: &[Batch]) -> Duration {
    let begun = Instant::now();
    for batch in batches {
        topics.append(topic, 0, batch, Durability::Buffered).await.unwrap();
    }
    begun.elapsed()
}

/// Reads [`RECORDS`] from an offset on.
async fn read(topics: &impl Topics, topic: &str, from: u64) -> Duration {
    let (begun, mut next) = (Instant::now(), from);
    while next < from + RECORDS {
        match topics.read(topic, 0, next).await.unwrap() {
            Some(fetched) => next = fetched.next,
            None => drop(topics.wait(topic, 0, next).await.unwrap()),
        }
    }
    begun.elapsed()
}

fn batches() -> Vec<Batch> {
    let mut batches = vec![Batch::with_capacity(BATCH_BYTES + 128)];
    for number in 0..RECORDS {
        if batches.last().is_some_and(|batch| batch.as_bytes().len() >= BATCH_BYTES) {
            batches.push(Batch::with_capacity(BATCH_BYTES + 128));
        }
        let value = format!("0,3,{number},{number},Marcelo Gonzalez,2021-07-27T16:02:08Z,1,2");
        batches.last_mut().unwrap().push(number.to_string().as_bytes(), value.as_bytes());
    }
    batches
}

fn rate(time: Duration) -> String {
    format!("{:.0},000", RECORDS as f64 / time.as_secs_f64() / 1000.0)
}
