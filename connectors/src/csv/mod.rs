//! Files of CSV in: the landing folder, and a look at files for a first manifest.
//!
//! # Layout
//!
//! * [`Landing`]: the landing folder as a source of lines. It reads as a state machine: watching,
//!   registering a file, reading it.
//! * `folder`: which files there are, and which may be taken. `done`: where they go in the end.
//! * `file`: one open file: what tells that it changed, its hash, its identity.
//! * `reading`: a registered file to lines with their positions. `blocks` gives it the records, `passed`
//!   tells which lines it need not give out again, `header` puts their columns in order.
//! * `pending`: files that were read and whose lines are not all accounted for yet.
//! * [`Registry`]: what the landing folder asks of Postgres.
//! * [`infer`]: the first rows of a file to a guess of its columns.

mod registry;
mod landing;
mod folder;
mod done;
mod file;
mod reading;
mod blocks;
mod header;
mod passed;
mod pending;
pub mod infer;

pub use landing::Landing;
pub use registry::Registry;
