//! How fast a file is read; run it with `--release -- --ignored --nocapture`.

use std::time::Instant;

use tidegate_core::contract::{PollAnswer, Source};

use super::Bench;

#[tokio::test]
#[ignore = "a measurement"]
async fn a_file_of_100_megabytes() {
    let mut bench = Bench::new();
    let mut content = String::new();
    for id in 1..2_100_000 {
        content.push_str(&format!("{id},Harold Vogt of Nowhere in {},{}\n", 1900 + id % 120, id % 180));
    }
    bench.drop_file("hired.csv", &content);
    let start = Instant::now();
    let (mut lines, mut first) = (0, None);
    while let PollAnswer::SourceBatch(batch) = bench.landing.poll(false).await.unwrap() {
        first.get_or_insert_with(|| start.elapsed());
        lines += batch.records.len();
    }
    let (seconds, megabytes) = (start.elapsed().as_secs_f64(), content.len() as f64 / 1e6);
    let first = first.unwrap().as_secs_f64();
    assert_eq!(lines, content.lines().count());
    eprintln!(
        "{megabytes:.0} MB, {lines} lines: {seconds:.2} s with hashing, {:.0} MB/s; behind it {:.0} MB/s, {:.0} lines/s",
        megabytes / seconds,
        megabytes / (seconds - first),
        lines as f64 / (seconds - first),
    );
}
