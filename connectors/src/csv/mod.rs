//! Files of CSV in: the landing folder, and a look at files for a first manifest.
//!
//! # Layout
//!
//! * [`Landing`]: the landing folder as a source of lines. It reads as a state machine: watching,
//!   registering a file, reading it.
//! * `folder`: which files there are, and which may be taken. `done`: where they go in the end, and how they
//!   are found there again.
//! * `file`: one open file: what tells that it changed, its hash, its identity.
//! * `reading`: a registered file to lines with their positions. `blocks` gives it the records, `passed`
//!   tells which lines it need not give out again, `header` puts their columns in order.
//! * `pending`: files that were read and whose lines are not all accounted for yet.
//! * [`Lines`]: a file of the folder, or of `done/`, to look back at.
//! * `again`: files of `done/`, read once more for an audit.
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
mod lines;
pub(crate) mod again;
pub mod infer;

pub use done::{DoneFile, Fingerprint, done_files, done_path, parse_done_name};
pub use landing::Landing;
pub use lines::{FileLine, Lines};
pub use registry::{Arrival, Registry};
