//! Files of CSV in: the landing folder, and a look at files for a first manifest.
//!
//! # Layout
//!
//! * [`Landing`]: the landing folder as a source of lines. It reads as a state machine: watching,
//!   registering a file, reading it.
//! * `folder`: which files there are, and which may be taken: `stillness`, `writers`. `done`: where they go in the end, and how they
//!   are found there again.
//! * `file`: one open file: what tells that it changed, its hash, its identity.
//! * `reading`: a registered file to lines with their positions. `blocks` gives it the records, `passed`
//!   tells which lines it need not give out again, `header` reads the names of their columns.
//! * `pending`: files that were read and whose lines are not all accounted for yet.
//! * [`Inbox`]: what entered another way and is registered: lines in memory, files of the spool.
//! * [`Lines`]: a file of the folder, or of `done/`, to look back at.
//! * `again`: files of `done/`, read once more for an audit.
//! * [`Registry`]: what the landing folder asks of Postgres.
//! * [`Rows`]: rows to lines, for what enters as JSON or Avro.
//! * [`GeneratedKeys`]: keys for lines of uploads that lack one.
//! * [`sniff`]: what a file is, by its bytes. [`infer`]: its beginning to a guess of its columns.

mod registry;
mod landing;
mod folder;
mod stillness;
mod writers;
mod put_away;
mod done;
mod file;
mod reading;
mod blocks;
mod header;
mod passed;
mod pending;
mod inbox;
mod lines;
pub(crate) mod again;
mod sniff;
pub mod infer;
mod rows;
mod generated;

pub use done::{DoneFile, Fingerprint, done_files, done_path, parse_done_name};
pub use file::{count_lines, shape, unfit};
pub use generated::GeneratedKeys;
pub use header::{FIRST_LINE_OF_NAMES, names_the_columns};
pub use inbox::{Again, Body, Entered, Inbox};
pub use landing::{LISTED_MAX, Landing, PassedOver, remove_spooled};
pub use lines::{FileLine, Lines};
pub use put_away::size_of;
pub use registry::{Arrival, Registry, Role};
pub use rows::Rows;
pub use sniff::Nature;
