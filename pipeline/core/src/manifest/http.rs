//! The HTTP server, if the manifest asks for it.

use std::path::PathBuf;

/// Where HTTP is served, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The address to listen on, as `host:port`. With port 0 the system chooses a port.
    pub listen: String,
    /// How to encrypt; `None` serves plain HTTP.
    pub tls: Option<HttpTls>,
    /// The longest body that is held in memory, as of JSON and NDJSON, in bytes.
    pub max_body_bytes: usize,
    /// The longest upload after decompression, in bytes. Uploads go to disk.
    pub max_upload_bytes: u64,
    /// How many connections are served at the same time.
    pub max_connections: u32,
}

/// Encryption of connections from clients. Paths are as written: relative to the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTls {
    /// The server's certificate with its chain, as PEM.
    pub cert: PathBuf,
    /// The private key of the certificate, as PEM.
    pub key: PathBuf,
}
