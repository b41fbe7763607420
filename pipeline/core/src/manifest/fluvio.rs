//! Topics on a Fluvio cluster, if the manifest chooses one.

use std::path::PathBuf;
use std::time::Duration;

/// The most partitions that a topic may have.
pub const PARTITIONS_MAX: u32 = 1024;

/// Which cluster holds the topics, and how they are created there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FluvioOptions {
    /// The cluster's controller, as `host:port`. If neither it nor `profile` is set, the client's current profile
    /// decides.
    pub endpoint: Option<String>,
    /// The name of a profile in the client's configuration. Never set together with `endpoint`.
    pub profile: Option<String>,
    /// How to encrypt connections to `endpoint`. A profile has its own settings.
    pub tls: Option<Tls>,
    /// How many partitions each topic has, from 1.
    pub partitions: u32,
    /// How many replicas each partition has, from 1.
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
    /// The certificate of the authority that signed the cluster's certificate, as PEM.
    pub ca: PathBuf,
    /// The client certificate, as PEM.
    pub cert: PathBuf,
    /// The private key of the client certificate, as PEM.
    pub key: PathBuf,
}

words! {
    /// What runs the transform.
    #[derive(Default)]
    pub enum Engine {
        /// `tidegate transform` or `tidegate run`, which store the transform's offsets in Postgres.
        #[default]
        Tidegate = "tidegate",
        /// A job of Arroyo, which keeps its offsets to itself.
        Arroyo = "arroyo",
    }
}

words! {
    /// How batches are compressed in transit and in the topics.
    #[derive(Default)]
    pub enum Compression {
        /// Not at all.
        #[default]
        None = "none",
        /// gzip: small, and slow.
        Gzip = "gzip",
        /// Snappy.
        Snappy = "snappy",
        /// LZ4: fast.
        Lz4 = "lz4",
        /// Zstandard.
        Zstd = "zstd",
    }
}
