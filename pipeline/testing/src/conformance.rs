//! The conformance suites: one for each contract that has several implementations.

pub mod sink;
pub mod topics;
