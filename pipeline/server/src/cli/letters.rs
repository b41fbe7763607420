//! The flags of `dead-letters`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};
use tidegate_connectors::postgres::filter::{LetterFilter, parse_time};
use tidegate_core::position::Position;

/// Flags of `dead-letters`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate dead-letters summary                             how many, by dataset, status and reason
  tidegate dead-letters list --reason missing_value         one row for each reason
  tidegate dead-letters replay 3:117 --line '117,Ada,2021-07-27T16:02:08Z,1,2'
  tidegate dead-letters replay --reason not_allowed --dry-run
  tidegate dead-letters discard --source 3 --note 'a test file'
  tidegate dead-letters export --format csv > letters.csv

A replayed line keeps its position: it takes the place in history that it had.")]
pub struct LettersArguments {
    /// What to do [default: list]
    #[command(subcommand)]
    pub command: Option<LettersCommand>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t, global = true)]
    pub format: LettersFormat,
}

/// How dead letters are written to stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LettersFormat {
    /// For people; an export is NDJSON then.
    #[default]
    Table,
    /// RFC 4180, with a header row.
    Csv,
    /// An array of objects.
    Json,
    /// An object a line.
    Ndjson,
}

/// What to do with the dead letters.
#[derive(Debug, Subcommand)]
pub enum LettersCommand {
    /// One row for each reason of each dead letter that is open, newest first: rejected, waiting or claimed
    List {
        /// Which
        #[command(flatten)]
        which: Which,
        /// Those too that are healed, replayed or discarded
        #[arg(long, conflicts_with = "status")]
        all: bool,
        /// Only lines older than this one: the last of the page before
        #[arg(long, value_name = "SOURCE:LINE")]
        after: Option<Position>,
        /// At most so many lines
        #[arg(long, default_value_t = 1000)]
        limit: i64,
    },
    /// One dead letter, whole
    Show {
        /// Where the line stands, for example 3:117
        #[arg(value_name = "SOURCE:LINE")]
        position: Position,
    },
    /// How many there are, by dataset, status and reason
    Summary {
        /// Which
        #[command(flatten)]
        which: Which,
    },
    /// Try lines again, at their own positions: one, as it was or edited, or all that a filter means
    #[command(after_help = "\
Examples:
  tidegate dead-letters replay 3:117                                 as it was, when the manifest was wrong
  tidegate dead-letters replay 3:117 --line '117,Ada,2021-07-27T16:02:08Z,1,2' --note 'name from HR'
  tidegate dead-letters replay --dataset jobs --reason too_long --dry-run
  tidegate dead-letters replay --dataset jobs --reason too_long --limit 1000 --rate 200

An edited line has all fields in the manifest's order, in the dialect of the dataset, without a header.
Beside a running pipeline that one makes the move; if none runs, this command does. Exits with 1 if the
one line is rejected again.")]
    Replay(ReplayArguments),
    /// Give lines up: one, or all that a filter means
    #[command(after_help = "\
Examples:
  tidegate dead-letters discard 3:117 --note 'a test'
  tidegate dead-letters discard --source 3 --status rejected --note 'sent again as source 4'")]
    Discard(MoveArguments),
    /// Write dead letters to stdout as NDJSON or CSV, of any number
    #[command(after_help = "\
Examples:
  tidegate dead-letters export > letters.ndjson
  tidegate dead-letters export --format csv --dataset hired_employees > letters.csv

In CSV a cell that a spreadsheet would take for a formula (= + - @ tab CR LF first) gets an apostrophe
in front; NDJSON has every line exact.")]
    Export {
        /// Which
        #[command(flatten)]
        which: Which,
        /// At most so many lines
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Show bulk replays and discards, the latest first
    Jobs {
        /// Only this one
        #[arg(value_name = "JOB")]
        job: Option<u64>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: i64,
    },
    /// End a bulk replay or discard: lines whose turn has not come stay what they are
    Cancel {
        /// Its number
        #[arg(value_name = "JOB")]
        job: u64,
        /// Who does it [default: the user of the machine]
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
}

/// Which dead letters: those of which all that is given is true.
#[derive(Clone, Debug, Default, Args)]
pub struct Which {
    /// Of this dataset
    #[arg(long)]
    pub dataset: Option<String>,
    /// With this reason, for example missing_value
    #[arg(long, visible_alias = "code", value_name = "CODE")]
    pub reason: Option<String>,
    /// With a reason about this column
    #[arg(long)]
    pub column: Option<String>,
    /// With this status: rejected, waiting, claimed, healed, replayed, discarded
    #[arg(long)]
    pub status: Option<String>,
    /// Of this source
    #[arg(long)]
    pub source: Option<u64>,
    /// Made at this time or later: 2026-01-31, or 2026-01-31T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub since: Option<SystemTime>,
    /// Made before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<SystemTime>,
    /// Whose line has this text in it
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub contains: Option<String>,
}

impl Which {
    /// The filter.
    pub fn filter(&self) -> LetterFilter {
        let Self { dataset, reason, column, status, source, since, until, contains } = self.clone();
        LetterFilter { dataset, code: reason, column, status, source, since, until, contains }
    }
}

/// Flags of `dead-letters replay`.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// As for a discard
    #[command(flatten)]
    pub of: MoveArguments,
    /// The line as it is to be
    #[arg(long, value_name = "TEXT", requires = "position", allow_hyphen_values = true)]
    pub line: Option<String>,
    /// The line as it is to be, from a file; - for stdin
    #[arg(long, value_name = "FILE", requires = "position", conflicts_with = "line")]
    pub line_file: Option<PathBuf>,
}

/// Flags of `dead-letters replay` and `discard`.
#[derive(Debug, Args)]
pub struct MoveArguments {
    /// The one line
    #[arg(
        value_name = "SOURCE:LINE",
        conflicts_with_all = [
            "dataset", "reason", "column", "status", "source", "since", "until", "contains",
            "all", "dry_run", "limit", "rate",
        ]
    )]
    pub position: Option<Position>,
    /// Which lines
    #[command(flatten)]
    pub which: Which,
    /// All that are rejected or wait
    #[arg(long)]
    pub all: bool,
    /// Only say how many lines it would be, by reason
    #[arg(long)]
    pub dry_run: bool,
    /// At most so many lines, the oldest
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// At most so many lines a second
    #[arg(long, value_name = "LINES")]
    pub rate: Option<f64>,
    /// Why: it is kept
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Who does it: it is kept [default: the user of the machine]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// How long to wait until it is done
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    pub wait: Duration,
}
