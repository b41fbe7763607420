//! Every key of the grammar, once: the parser refuses others, and the published JSON Schema is held
//! equal to them by a test.

/// At the top of the manifest.
pub const MANIFEST: [&str; 12] = [
    "pipeline",
    "landing",
    "views",
    "schema",
    "settle",
    "lease",
    "max_lag_bytes",
    "max_record_bytes",
    "topics",
    "http",
    "backup",
    "datasets",
];

/// Of `topics`, where it is written as a mapping.
pub const TOPICS: [&str; 1] = ["fluvio"];

/// Of `fluvio`, in `topics`.
pub const FLUVIO: [&str; 8] =
    ["endpoint", "profile", "tls", "partitions", "replication", "compression", "retention", "transform"];

/// Of `tls`, in `fluvio`.
pub const TLS: [&str; 4] = ["domain", "ca", "cert", "key"];

/// Of `http`, where it is written as a mapping.
pub const HTTP: [&str; 5] = ["listen", "tls", "max_body_bytes", "max_upload_bytes", "max_connections"];

/// Of `tls`, in `http`.
pub const HTTP_TLS: [&str; 2] = ["cert", "key"];

/// Of `backup`.
pub const BACKUP: [&str; 4] = ["every", "keep", "to", "codec"];

/// Of one dataset.
pub const DATASET: [&str; 5] = ["table", "files", "csv", "key", "columns"];

/// Of `csv`, in a dataset.
pub const CSV: [&str; 5] = ["delimiter", "quote", "header", "null", "columns_absent"];

/// Of one column, where it is written as a mapping.
pub const COLUMN: [&str; 10] = [
    "type",
    "optional",
    "references",
    "generated",
    "min",
    "max",
    "min_length",
    "max_length",
    "pattern",
    "one_of",
];

/// Of `generated`, in a column, where it is written as a mapping.
pub const GENERATED: [&str; 1] = ["start"];
