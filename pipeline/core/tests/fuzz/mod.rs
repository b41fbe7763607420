//! Fuzz targets. Under `cargo test` each runs for at most a second on random inputs; a fuzzer goes on, led by
//! the code that an input reaches. It needs no nightly:
//!
//! ```sh
//! cargo install cargo-bolero
//! cargo bolero test fuzz::splitter::splitter -p tidegate-core --profile dev --sanitizer NONE -T 600s
//! ```
//!
//! It keeps its corpus and what fails in `__fuzz__`, and `cargo test` tries those too. A finding is fixed with
//! a test of its own.

mod formats;
mod line;
mod manifest;
mod splitter;

use std::time::Duration;

/// How long a target runs under `cargo test`.
const TEST_TIME: Duration = Duration::from_secs(1);
/// How many inputs it tries there, at most.
const ITERATIONS: usize = 20_000;

/// Bytes as they are or, so that random ones are worth reading too, the words that they choose.
fn in_words(choose: bool, bytes: &[u8], words: &[&str]) -> Vec<u8> {
    if !choose {
        return bytes.to_vec();
    }
    bytes.iter().flat_map(|byte| words[*byte as usize % words.len()].bytes()).collect()
}
