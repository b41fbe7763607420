//! Fuzz targets, like those of `tidegate-core`. Under `cargo test` each runs for at most a second on random inputs.

mod encoding;

use std::time::Duration;

/// How long a target runs under `cargo test`.
const TEST_TIME: Duration = Duration::from_secs(1);
/// How many inputs it tries there, at most.
const ITERATIONS: usize = 2_000;
