//! The pure heart of Tidegate: no I/O, no clock, no runtime.
//!
//! # Layout
//!
//! A line is read here in the order in which it lives:
//!
//! * [`manifest`]: what a pipeline is: its datasets, their columns, rules and references.
//! * [`printable`]: text of strangers, for a terminal and a log.
//! * `decimal`, `instant`: numbers and points in time as texts, of bounds and of values alike.
//! * [`position`]: the identity of a line, `(source, line)`, which orders lines for ever.
//! * [`split`]: bytes of a file to records of CSV, whatever the bytes are.
//! * [`record`]: a line with its position as it travels on a topic, and batches of them.
//! * [`validate`]: the pure function from a line to accepted, or to all the reasons against it.
//! * [`shape`]: the names that a line's fields have, and lines put into the columns of a dataset by them.
//! * [`references`]: which keys are known, the state of the transform.
//! * [`transform`]: a batch of raw records to accepted records and dead letters.
//! * [`dead_letter`]: a line that is not in its table, and why.
//! * [`ledger`]: what became of every line of a source.
//! * [`contract`]: what the engine asks of the world outside: a source, a registry, a sink.

pub mod manifest;
pub mod printable;
mod decimal;
mod instant;
pub mod position;
pub mod split;
pub mod record;
pub mod validate;
pub mod shape;
pub mod references;
pub mod transform;
pub mod dead_letter;
pub mod ledger;
pub mod contract;
pub mod failpoint;

/// Linked because a fuzzer's build instruments this crate's own tests too, and they need its symbols.
#[cfg(test)]
use bolero as _;
