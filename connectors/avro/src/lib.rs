//! Backup and restore in Avro object container files.
//!
//! # Layout
//!
//! * [`backup`]: one snapshot of all tables to a [`Folder`] of backups. `snapshot`: what a backup reads besides rows.
//! * `layout`: a table's columns as the fields of a record. `encode`: a value in Postgres's binary form to Avro's.
//!   `file`: a file, block by block.
//! * [`check`]: reads a file to its end before anything is applied. `blocks`: the frames of blocks, and their damage.
//!   `fit`: the column of each field, or all differences. `text`: a value as the text that lines have.
//! * [`CheckedFile::convert`]: the rows of a file as CSV, which enters the pipeline like any other file.
//! * [`exact`]: an empty database to the state of a backup.

mod error;
mod layout;
mod encode;
mod file;
mod folder;
mod snapshot;
mod backup;

mod blocks;
mod fit;
mod text;
mod check;
pub mod exact;

pub use backup::{BackupOptions, backup, backup_named};
pub use check::{CheckedFile, check, check_backup};
pub use error::AvroError;
pub use file::TableFile;
pub use folder::{Backup, Folder, describe};
