//! The transform as functions that Arroyo calls from SQL.
//!
//! For each dataset there are two, and of a record of Tidegate's form exactly one of them gives a value:
//!
//! * `accept_<dataset>` gives the canonical record, `form,source,line,canonical`, for the accepted topic;
//! * `reject_<dataset>` gives the JSON of a dead letter with all reasons, for `dead-letters`.
//!
//! Both are the validation of `tidegate-core`, which the stage `transform` runs as well. They know no
//! other record than the one they are given, so **references are not decided here**: a line whose
//! reference does not exist is accepted like any other, and the sink, which decides them anyway, makes
//! it wait. A record that is not of Tidegate's form gives null twice and is left out, as the stage does.
//!
//! # Layout
//!
//! * [`Functions`]: accept and reject for one dataset; all that runs in Arroyo.
//! * [`manifest`]: as much of a manifest as they need, written into what Arroyo compiles.
//! * [`source`]: the text that Arroyo compiles, one file for each function.

#![forbid(unsafe_code)] // the package only denies it, for the sake of one test

mod functions;
pub mod manifest;
pub mod source;

pub use functions::Functions;
