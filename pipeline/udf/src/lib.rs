//! The transform as functions that Arroyo calls from SQL.
//!
//! Each dataset has two functions. For a record in Tidegate's format exactly one of them returns a value:
//!
//! * `accept_<dataset>` returns the canonical record, `fingerprint,source,line,canonical`, for the accepted topic;
//! * `reject_<dataset>` returns the JSON of a dead letter with all reasons, for `dead-letters`.
//!
//! Both run the validation of `tidegate-core`, as the stage `transform` does. A function sees no record but its own,
//! so **references are not decided here**. A line whose reference does not exist is accepted like any other, and the
//! sink, which decides references in any case, sets it aside as waiting. For a record that is not in Tidegate's
//! format both functions return null, so the record is skipped, as the stage does.
//!
//! # Layout
//!
//! * [`Functions`]: accept and reject for one dataset; all that runs in Arroyo.
//! * [`manifest`]: the part of a manifest that the functions need, written into what Arroyo compiles.
//! * [`source`]: the text that Arroyo compiles, one file for each function.

#![forbid(unsafe_code)] // the package only denies it, for the sake of one test

mod functions;
pub mod manifest;
pub mod source;

pub use functions::Functions;
