//! The service over HTTP, where the manifest asks for it.

use std::path::PathBuf;

/// Where HTTP is served, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// What to listen on, as `host:port`. With port 0 the system chooses one.
    pub listen: String,
    /// How to encrypt; `None` serves plain HTTP.
    pub tls: Option<HttpTls>,
    /// The longest body that is held in memory: JSON and NDJSON.
    pub max_body_bytes: usize,
    /// The longest upload, after it was decompressed; it goes to disk.
    pub max_upload_bytes: u64,
    /// How many connections are served at once.
    pub max_connections: u32,
}

/// Encryption of what clients send and get. Paths are as written: relative to the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTls {
    /// Our certificate, with those that lead to its authority, as PEM.
    pub cert: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}
