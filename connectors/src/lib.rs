//! Everything of Tidegate that touches the outside: files in, Postgres out.

pub mod csv;
pub mod avro;
pub mod postgres;
#[cfg(feature = "testing")]
pub mod memory;
#[cfg(feature = "testing")]
pub mod conformance;
