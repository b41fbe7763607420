//! The tests of files, in one binary.

#![allow(clippy::unwrap_used)] // the whole crate is tests; the lint knows only `#[test]` functions

mod landing;
mod fuzz;
