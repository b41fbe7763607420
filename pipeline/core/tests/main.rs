//! The tests of the pure core, in one binary.

mod fuzz;
mod ledger;
mod manifest;
mod record;
mod split;
mod validate;
