//! How long and how many things may be, for the parser and for the starter alike.

use std::ops::RangeInclusive;
use std::time::Duration;

/// For the pipeline's name.
pub(super) const PIPELINE_CHARS_MAX: usize = 32;

/// For the name of a dataset.
pub(super) const DATASET_CHARS_MAX: usize = 48;

/// Fluvio's limit for the name of a topic.
pub(super) const TOPIC_BYTES_MAX: usize = 63;

/// Postgres's limit for the name of anything.
pub(super) const IDENTIFIER_BYTES_MAX: usize = 63;

/// Postgres's limit is 1600, and each table also has `_source` and `_line`.
pub(super) const COLUMNS_MAX: usize = 1598;

/// The columns that Tidegate adds to each table, and those that Postgres has in each.
pub(super) const TAKEN_COLUMNS: [&str; 8] =
    ["_source", "_line", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// For a glob. Of one much longer the matcher would not compile.
pub(super) const GLOB_BYTES_MAX: usize = 1024;

/// More copies of a partition than these nobody has SPUs for.
pub(super) const REPLICATION_MAX: u32 = 32;

/// Fluvio's limit, from which on records are kept.
pub(super) const RETENTION_MIN: Duration = Duration::from_secs(10);

/// Ten years.
pub(super) const RETENTION_MAX: Duration = Duration::from_secs(3650 * 24 * 3600);

/// A cluster takes batches of up to 32 MiB by default, and a dead letter may be six times its line.
pub(super) const FLUVIO_RECORD_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// For the body of a request that is held in memory: less would hold no rows, more would hold too much.
pub(super) const BODY_BYTES: RangeInclusive<u64> = 1024..=64 * 1024 * 1024;

/// For an upload, which goes to disk.
pub(super) const UPLOAD_BYTES: RangeInclusive<u64> = 1024..=i64::MAX as u64;

/// More connections than these one process has no descriptors for.
pub(super) const CONNECTIONS_MAX: u32 = 65_536;

/// Between the beginnings of two backups.
pub(super) const BACKUP_EVERY: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3650 * 24 * 3600);

/// More backups than these nobody looks through.
pub(super) const BACKUPS_MAX: u32 = 100_000;

/// The length of a UUID as text.
pub(super) const UUID_CHARS: u32 = 36;
