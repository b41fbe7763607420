//! The tests of the pure core, in one binary.

#![allow(clippy::unwrap_used)] // the whole crate is tests; the lint knows only `#[test]` functions

mod dead_letter;
mod fuzz;
mod ledger;
mod manifest;
mod mapping;
mod names;
mod printable;
mod record;
mod references;
mod split;
mod transform;
mod validate;
