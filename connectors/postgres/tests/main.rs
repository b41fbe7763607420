//! The tests of the private server, in one binary.

#![allow(clippy::unwrap_used)] // the whole crate is tests; the lint knows only `#[test]` functions

mod private_postgres;
