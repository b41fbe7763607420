//! The tests of the private server and of TLS, in one binary.

#![allow(clippy::unwrap_used)] // the whole crate is tests; the lint knows only `#[test]` functions

mod private_postgres;
mod tls;
