//! The tests of the pure core, in one binary.

mod dead_letter;
mod fuzz;
mod ledger;
mod manifest;
mod printable;
mod record;
mod references;
mod split;
mod validate;
