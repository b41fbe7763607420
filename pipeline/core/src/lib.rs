//! The pure core of Tidegate: no I/O, no clock, no runtime.
//!
//! # Layout
//!
//! First what the others are made of: `words`, the macro of enums that have a word a variant; `suggestion`, the known name
//! that was probably meant; `kind`, the types of columns; `decimal` and `instant`, numbers and points in time as texts, in
//! bounds and in values alike. Then, in the order in which a line meets them:
//!
//! * [`manifest`]: what a pipeline is: its datasets, their columns, rules and references.
//! * [`printable`]: text from outside, made safe for a terminal and a log.
//! * [`position`]: the identity of a line, `(source, line)`, which orders lines.
//! * [`split`]: bytes of a file to CSV records, for any bytes.
//! * [`record`]: a line with its position as a record of a topic, and batches of records.
//! * [`validate`]: the pure function from a line to accepted, or to all reasons against it.
//! * [`shape`]: the names of a line's fields, and the mapping of fields to a dataset's columns by these names.
//! * [`header`]: the names of a file's header, and the columns that they belong to.
//! * [`spelling`]: which texts are one value, and so one key.
//! * [`references`]: the known keys, which are the state of the transform.
//! * [`transform`]: a batch of raw records to accepted records and dead letters.
//! * [`dead_letter`]: a line that is not in its table, and why.
//! * [`ledger`]: the fate of every line of a source.
//! * [`contract`]: what the engine requires of a source, a sink and a store of offsets.
//! * [`registry`]: what a source requires of the registry of sources.

#[macro_use]
mod words;
mod suggestion;
mod decimal;
mod kind;
mod instant;
pub mod manifest;
pub mod printable;
pub mod position;
pub mod syntax;
pub mod split;
pub mod record;
pub mod validate;
mod parse;
pub mod shape;
pub mod header;
pub mod spelling;
pub mod references;
pub mod transform;
pub mod dead_letter;
pub mod ledger;
pub mod contract;
pub mod registry;
pub mod failpoint;

/// Linked because a fuzzer's build instruments this crate's own tests too, and they need its symbols.
#[cfg(test)]
use bolero as _;
