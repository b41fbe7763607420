//! Backups on a schedule, where the manifest asks for them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How often backups are made, how many are kept, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// From the beginning of one to the beginning of the next, at least a second.
    pub every: Duration,
    /// How many are kept; older ones are removed. From 1.
    pub keep: u32,
    /// The folder they are written to, as written: relative to the manifest.
    pub to: PathBuf,
    /// How their files are compressed.
    pub codec: Codec,
}

/// How the blocks of an Avro file are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Deflate, which every reader of Avro knows.
    #[default]
    Deflate,
    /// Snappy: fast.
    Snappy,
    /// Zstandard: small and fast.
    Zstandard,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Deflate, Self::Snappy, Self::Zstandard];

    /// The word in the manifest, which is Avro's own.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deflate => "deflate",
            Self::Snappy => "snappy",
            Self::Zstandard => "zstandard",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
