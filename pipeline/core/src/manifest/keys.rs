//! Every key of the grammar, once. The parser refuses other keys, and a test holds the published JSON Schema to
//! these.

/// The keys at the top of the manifest.
pub const MANIFEST: [&str; 13] = [
    "pipeline",
    "landing",
    "views",
    "schema",
    "stable_for",
    "settle",
    "lease",
    "max_lag_bytes",
    "max_record_bytes",
    "topics",
    "http",
    "backup",
    "datasets",
];

/// The keys of `topics`, if it is written as a mapping.
pub const TOPICS: [&str; 1] = ["fluvio"];

/// The keys of `fluvio`, in `topics`.
pub const FLUVIO: [&str; 8] =
    ["endpoint", "profile", "tls", "partitions", "replication", "compression", "retention", "transform"];

/// The keys of `tls`, in `fluvio`.
pub const TLS: [&str; 4] = ["domain", "ca", "cert", "key"];

/// The keys of `http`, if it is written as a mapping.
pub const HTTP: [&str; 5] = ["listen", "tls", "max_body_bytes", "max_upload_bytes", "max_connections"];

/// The keys of `tls`, in `http`.
pub const HTTP_TLS: [&str; 2] = ["cert", "key"];

/// The keys of `backup`.
pub const BACKUP: [&str; 4] = ["every", "keep", "to", "codec"];

/// The keys of a dataset.
pub const DATASET: [&str; 6] = ["table", "files", "csv", "key", "columns", "references"];

/// The keys of an entry of `references`, in a dataset.
pub const REFERENCE: [&str; 2] = ["columns", "to"];

/// The keys of `csv`, in a dataset.
pub const CSV: [&str; 22] = [
    "encoding",
    "delimiter",
    "quote",
    "escape",
    "escapes",
    "trim",
    "header",
    "header_match",
    "skip_lines",
    "comment",
    "skip",
    "record",
    "trailing_delimiter",
    "short_rows",
    "null",
    "quoted_null",
    "empty",
    "time_zone",
    "decimal",
    "thousands",
    "columns_unknown",
    "columns_absent",
];

/// The keys of a column, if it is written as a mapping.
pub const COLUMN: [&str; 27] = [
    "type",
    "from",
    "from_path",
    "from_file",
    "optional",
    "references",
    "at",
    "generated",
    "min",
    "max",
    "min_length",
    "max_length",
    "pattern",
    "one_of",
    "trim",
    "null",
    "quoted_null",
    "empty",
    "format",
    "time_zone",
    "decimal",
    "thousands",
    "strip",
    "accounting",
    "true",
    "false",
    "default",
];

/// The keys of `generated`, in a column, if it is written as a mapping.
pub const GENERATED: [&str; 1] = ["start"];
