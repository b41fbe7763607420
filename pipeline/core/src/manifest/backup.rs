//! Backups on a schedule, if the manifest asks for them.

use std::path::PathBuf;
use std::time::Duration;

/// How often backups are made, how many are kept, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSchedule {
    /// The time between the beginnings of two backups, at least a second.
    pub every: Duration,
    /// How many backups are kept, from 1. Older ones are removed.
    pub keep: u32,
    /// The folder that backups are written to, as written: relative to the manifest.
    pub to: PathBuf,
    /// How the files of a backup are compressed.
    pub codec: Codec,
}

words! {
    /// How the blocks of an Avro file are compressed.
    #[derive(Default)]
    pub enum Codec {
        /// Deflate, which every Avro reader supports.
        #[default]
        Deflate = "deflate",
        /// Snappy: fast.
        Snappy = "snappy",
        /// Zstandard: small and fast.
        Zstandard = "zstandard",
    }
}
