//! Every key of the grammar, once: the parser refuses others, and the published JSON Schema is held
//! equal to them by a test.

/// At the top of the manifest.
pub const MANIFEST: [&str; 9] = [
    "pipeline",
    "landing",
    "views",
    "settle",
    "lease",
    "max_lag_bytes",
    "max_record_bytes",
    "topics",
    "datasets",
];

/// Of `topics`, where it is written as a mapping.
pub const TOPICS: [&str; 1] = ["fluvio"];

/// Of `fluvio`, in `topics`.
pub const FLUVIO: [&str; 8] =
    ["endpoint", "profile", "tls", "partitions", "replication", "compression", "retention", "transform"];

/// Of `tls`, in `fluvio`.
pub const TLS: [&str; 4] = ["domain", "ca", "cert", "key"];

/// Of one dataset.
pub const DATASET: [&str; 5] = ["table", "files", "csv", "key", "columns"];

/// Of `csv`, in a dataset.
pub const CSV: [&str; 4] = ["delimiter", "quote", "header", "null"];

/// Of one column, where it is written as a mapping.
pub const COLUMN: [&str; 9] =
    ["type", "optional", "references", "min", "max", "min_length", "max_length", "pattern", "one_of"];
