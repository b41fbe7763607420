//! The tests of the connectors, in one binary.

#![allow(clippy::unwrap_used)] // the whole crate is tests; the lint knows only `#[test]` functions

mod avro;
mod constructs;
mod landing;
mod private_postgres;
mod sink;
