//! Backup and restore in Avro object container files.
//!
//! # Layout
//!
//! * [`backup`]: all tables of one moment to a [`Folder`] of backups. `snapshot` (in `postgres`) gives the rows.
//! * `layout`: a table's columns as the fields of a record. `encode`: a value of Postgres as Avro.
//!   `file`: a file, block by block.
//! * [`check`]: a file read to its end before anything is applied. `blocks`: the frame, and what is wrong with
//!   it. `fit`: which field is which column, or all differences. `text`: a value as lines have it.
//! * [`Checked::convert`]: its rows as a file of CSV, which enters the pipeline like any other.
//! * [`exact`]: an empty database as it was.

mod error;
mod layout;
mod encode;
mod file;
mod folder;
mod backup;

mod blocks;
mod fit;
mod text;
mod check;
pub mod exact;

pub use backup::{Options, backup, backup_named};
pub use check::{Checked, Converted, check, check_backup};
pub use error::Error;
pub use file::Written;
pub use folder::{Backup, Folder, describe};
pub(crate) use layout::{Layout, expressions};
