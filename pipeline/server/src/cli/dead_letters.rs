//! `tidegate dead-letters`: shows lines that are not in their tables, and replays or discards them.
//!
//! The command stores a requested move in Postgres, and a running pipeline makes it. If no pipeline runs, the command
//! acquires the leases and makes the move itself.

pub(super) mod relations;
mod moves;

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tidegate_core::position::Position;
use tidegate_postgres::relation::Relation;
use tidegate_store::Store;
use tidegate_store::export::{self, ExportFormat};
use tidegate_store::filter::{self, LetterFilter, parse_time};
use tidegate_store::moves::{Kind, jobs};

use crate::Failure;
use crate::advice;
use crate::cli::output;
use crate::cli::requester::requester;
use crate::cli::{Format, Global, settings};
use crate::formats::{self, Cells};

/// Flags of `dead-letters`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate dead-letters summary                             how many, by reason, and which setting would help
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
        which: FilterArguments,
        /// Also those that are healed, replayed or discarded
        #[arg(long, conflicts_with = "status")]
        all: bool,
        /// Only lines older than this one: the last of the page before
        #[arg(long, value_name = "SOURCE:LINE")]
        after: Option<Position>,
        /// At most so many lines
        #[arg(long, default_value_t = 1000)]
        limit: u64,
    },
    /// One dead letter, whole
    Show {
        /// Where the line stands, for example 3:117
        #[arg(value_name = "SOURCE:LINE")]
        position: Position,
    },
    /// How many there are, by dataset, status and reason, with the setting that would accept them
    Summary {
        /// Which
        #[command(flatten)]
        which: FilterArguments,
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
        which: FilterArguments,
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
        limit: u32,
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

/// A filter of dead letters. A letter matches if it meets every condition that is given.
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArguments {
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

impl FilterArguments {
    fn checked(&self) -> Result<LetterFilter, Failure> {
        let filter = self.filter();
        filter.check().map_err(Failure::usage)?;
        Ok(filter)
    }

    fn filter(&self) -> LetterFilter {
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
    pub which: FilterArguments,
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
    /// Why; stored with the move
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Who does it; stored with the move [default: the user of the machine]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// How long to wait until it is done
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    pub wait: Duration,
}

/// Runs `tidegate dead-letters`.
pub async fn command(global: &Global, arguments: &LettersArguments) -> Result<(), Failure> {
    let (settings, store) = settings::load_with_store(global)?;
    let format = arguments.format;
    let relation = match &arguments.command {
        None => relations::list(&store, &LetterFilter::default(), false, None, 1000).await?,
        Some(LettersCommand::List { which, all, after, limit }) => {
            relations::list(&store, &which.checked()?, *all, *after, *limit).await?
        }
        Some(LettersCommand::Show { position }) => {
            let letter = filter::find(&store, *position).await?;
            let none = || Failure::new(format!("line {position} is no dead letter"));
            relations::letter(&letter.ok_or_else(none)?)
        }
        Some(LettersCommand::Summary { which }) => {
            let filter = which.checked()?;
            let counts = filter::count(&store, &filter).await?;
            relations::advice(&advice::of_counts(&store, &settings.manifest, &filter, counts).await?)
        }
        Some(LettersCommand::Jobs { job: None, limit }) => {
            relations::jobs(&jobs::list(&store, None, *limit).await?)?
        }
        Some(LettersCommand::Jobs { job: Some(number), .. }) => {
            let job = jobs::find(&store, *number).await?;
            return moves::write_job(
                &job.ok_or_else(|| Failure::new(format!("there is no job {number}")))?,
                format,
            );
        }
        Some(LettersCommand::Cancel { job, by }) => {
            return moves::write_job(&jobs::cancel(&store, *job, &requester(by.as_deref())).await?, format);
        }
        Some(LettersCommand::Export { which, limit }) => {
            return export(&store, which.checked()?, *limit, format).await;
        }
        Some(LettersCommand::Replay(arguments)) => {
            let line = moves::edited_line(arguments)?;
            return moves::carry_out(&settings, &store, Kind::Replay, line, &arguments.of, format).await;
        }
        Some(LettersCommand::Discard(arguments)) => {
            return moves::carry_out(&settings, &store, Kind::Discard, None, arguments, format).await;
        }
    };
    write(&relation, format).await
}

async fn write(relation: &Relation, format: LettersFormat) -> Result<(), Failure> {
    match format {
        LettersFormat::Table => output::write(relation, Format::Table).await,
        // The sender of a line chose its first characters, which a spreadsheet could take for a formula.
        LettersFormat::Csv => output::print(formats::csv(relation, Cells::Harmless).await?),
        LettersFormat::Json => output::write(relation, Format::Json).await,
        LettersFormat::Ndjson => output::print(formats::ndjson(relation)?),
    }
}

/// Writes one result: an object in the formats for machines, a sentence for people.
fn write_one(value: &impl Serialize, words: &str, format: LettersFormat) -> Result<(), Failure> {
    match format {
        LettersFormat::Json => output::print(output::pretty(value)?),
        LettersFormat::Ndjson => output::print(format!("{}\n", serde_json::to_string(value)?)),
        LettersFormat::Table | LettersFormat::Csv => output::print(output::shown(&format!("{words}\n"))),
    }
}

async fn export(
    store: &Store,
    filter: LetterFilter,
    limit: Option<u64>,
    format: LettersFormat,
) -> Result<(), Failure> {
    let format = match format {
        LettersFormat::Csv => ExportFormat::Csv,
        LettersFormat::Table | LettersFormat::Ndjson => ExportFormat::Ndjson,
        LettersFormat::Json => return Err(Failure::usage("an export is --format ndjson or csv")),
    };
    let mut export = export::export(store, filter, format, limit);
    while let Some(piece) = export.next().await? {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(&piece).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    Ok(())
}
