//! CSV files as input: the landing folder as a source, and the inspection of sample files for a first manifest.
//!
//! # Layout
//!
//! * [`Landing`]: the landing folder as a source of lines. A state machine: watching, registering a file, reading it.
//! * `folder`: the files in the landing folder, and which may be taken, by `stillness` and `writers`. `done`: where
//!   files are moved once their lines are accounted for, and how they are found there again.
//! * `file`: one open file: its stamp, which tells that it changed, its hash, its identity.
//! * `content`: an open file, read up to its first line.
//! * `reading`: a registered file to lines with their positions. `blocks` gives it the records, in text that `decoding`
//!   decodes if the file is not UTF-8, `resume_point` tells which lines need not be emitted again, and `header` reads
//!   the names of the columns.
//! * `pending`: files that were read and whose lines are not all accounted for yet.
//! * [`Inbox`]: registered sources that did not come through the landing folder: lines in memory, and files of the
//!   spool.
//! * [`Lines`]: the lines of a file of the folder, or of `done/`, for inspection.
//! * [`preview()`]: what would become of a file, by the manifest alone.
//! * [`write_row`]: rows to lines of CSV, for what enters as JSON or Avro.
//! * [`GeneratedKeys`]: keys for lines that lack one. [`UnregisteredFile::keys_needed`]: those that a file needs.
//! * [`sniff`]: the format of a file, by its bytes. [`infer`]: the columns of a file, guessed from its beginning.

mod landing;
mod folder;
mod stillness;
mod writers;
mod put_away;
mod done;
mod file;
mod content;
mod reading;
mod blocks;
mod decoding;
mod header;
mod unregistered;
mod resume_point;
mod pending;
mod inbox;
mod lines;
mod preview;
mod sniff;
pub mod infer;
mod rows;
mod generated;

pub use done::{DONE, DoneFile, Fingerprint, done_files, done_path, open_done, parse_done_name};
pub use file::OpenFile;
pub use generated::GeneratedKeys;
pub use header::{FIRST_LINE_OF_NAMES, names_the_columns};
pub use inbox::{Body, EnteredSource, Inbox, QueuedReload};
pub use landing::{LISTED_MAX, Landing, PassedOver, remove_spooled};
pub use lines::{FileLine, Lines};
pub use preview::{ColumnFound, Example, Extent, Preview, PreviewRow, ReasonCount, preview};
pub use reading::{NextLines, Reading};
pub use rows::write_row;
pub use sniff::Nature;
pub use unregistered::UnregisteredFile;
