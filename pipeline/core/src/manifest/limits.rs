//! Limits on lengths and numbers, shared by the parser and the starter.

use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) use crate::suggestion::IDENTIFIER_BYTES_MAX;

/// For the name of the pipeline.
pub(super) const PIPELINE_CHARS_MAX: usize = 32;

/// For the name of a dataset.
pub(super) const DATASET_CHARS_MAX: usize = 48;

/// Fluvio's limit for the name of a topic.
pub(super) const TOPIC_BYTES_MAX: usize = 63;

/// Postgres's limit is 1600, and each table has the columns `_source` and `_line` besides.
pub(super) const COLUMNS_MAX: usize = 1598;

/// The columns that Tidegate adds to each table, and Postgres's system columns.
pub(super) const TAKEN_COLUMNS: [&str; 8] =
    ["_source", "_line", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// For the columns of a key, which are the columns of an index.
pub(super) const KEY_COLUMNS_MAX: usize = 32;

/// For a glob. The matcher does not compile globs that are much longer.
pub(super) const GLOB_BYTES_MAX: usize = 1024;

/// For the replicas of a partition. No cluster has SPUs for more.
pub(super) const REPLICATION_MAX: u32 = 32;

/// Fluvio's minimum for the retention of records.
pub(super) const RETENTION_MIN: Duration = Duration::from_secs(10);

/// Ten years.
pub(super) const RETENTION_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

/// A cluster accepts batches of up to 32 MiB by default, and a dead letter may be six times as long as its line.
pub(super) const FLUVIO_RECORD_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// For the delimiter, in bytes.
pub(super) const DELIMITER_BYTES_MAX: usize = 16;

/// For the beginning of comments, in bytes.
pub(super) const COMMENT_BYTES_MAX: usize = 64;

/// For the patterns of lines that are skipped. Each is tried on each line.
pub(super) const SKIP_PATTERNS_MAX: usize = 32;

/// For the lines before the header.
pub(super) const SKIP_LINES_MAX: u32 = 1_000_000;

/// For the place of a character in a line. No line is longer: see `max_record_bytes`.
pub(super) const LINE_CHARS_MAX: u32 = 16 * 1024 * 1024;

/// For a request body that is held in memory: a smaller limit would leave no room for rows, a larger one would use
/// too much memory.
pub(super) const BODY_BYTES: RangeInclusive<u64> = 1024..=64 * 1024 * 1024;

/// For an upload, which goes to disk.
pub(super) const UPLOAD_BYTES: RangeInclusive<u64> = 1024..=i64::MAX as u64;

/// For connections. One process has no descriptors for more.
pub(super) const CONNECTIONS_MAX: u32 = 65_536;

/// For the time between the beginnings of two backups.
pub(super) const BACKUP_EVERY: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3650 * 24 * 3600);

/// For the number of backups that are kept. A user would not look through more.
pub(super) const BACKUPS_MAX: u32 = 100_000;

/// The length of a UUID as text.
pub(super) const UUID_CHARS: u32 = 36;

/// For a list of texts of a column: null markers, words, texts to strip.
pub(super) const TEXTS_MAX: usize = 64;

/// For the formats of a column. Every two are compared.
pub(super) const FORMATS_MAX: usize = 16;
