//! Topics on a Fluvio cluster, where the manifest chooses them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// More partitions than these no topic has.
pub const PARTITIONS_MAX: u32 = 1024;

/// Which cluster holds the topics, and how they are created there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fluvio {
    /// The cluster's controller, as `host:port`; where neither it nor `profile` is set, the client's own
    /// current profile decides.
    pub endpoint: Option<String>,
    /// The name of a profile in the client's configuration. Never set together with `endpoint`.
    pub profile: Option<String>,
    /// How to encrypt, where `endpoint` is set; a profile says it itself.
    pub tls: Option<Tls>,
    /// How many partitions each topic has, from 1.
    pub partitions: u32,
    /// How many copies of each partition there are, from 1.
    pub replication: u32,
    /// How batches are compressed.
    pub compression: Compression,
    /// How long records are kept.
    pub retention: Duration,
    /// What runs the transform.
    pub transform: Engine,
}

/// Encryption of connections to a cluster. Paths are as written: relative to the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The domain that the cluster's certificate is for.
    pub domain: String,
    /// The certificate of the authority that signed it, as PEM.
    pub ca: PathBuf,
    /// Our certificate, as PEM.
    pub cert: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// What runs the transform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// `tidegate transform`, or `run`. It keeps its offsets in Postgres.
    #[default]
    Tidegate,
    /// A job of Arroyo, which tells nobody how far it is.
    Arroyo,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Tidegate, Self::Arroyo];

    /// The word in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tidegate => "tidegate",
            Self::Arroyo => "arroyo",
        }
    }
}

/// How batches are compressed on the way and in the topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip: small, and slow.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4: fast.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The word in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
