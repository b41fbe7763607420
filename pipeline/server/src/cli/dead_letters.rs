//! `tidegate dead-letters`: shows lines that are not in their tables, and replays or discards them.
//!
//! The command stores a requested move in Postgres, and a running pipeline makes it. If no pipeline runs, the command
//! acquires the leases and makes the move itself.

pub(super) mod relations;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tidegate_core::position::Position;
use tidegate_engine::patiently;
use tidegate_node::alone::alone;
use tidegate_node::{Settings, workers};
use tidegate_postgres::relation::Relation;
use tidegate_store::export::{self, ExportFormat};
use tidegate_store::filter::{self, LetterFilter, parse_time};
use tidegate_store::moves::ask::{self, MoveRequest};
use tidegate_store::moves::{self, BulkMove, Job, Kind, Move, MoveOutcome, Preview, jobs};
use tidegate_store::{Store, prepare};
use tokio_util::sync::CancellationToken;

use crate::Failure;
use crate::cli::output;
use crate::cli::{Format, Global, progress, settings, signals};
use crate::formats::{self, Cells};

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
    /// How many there are, by dataset, status and reason
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

/// The pause between two checks whether a move is made.
const LOOK_EVERY: Duration = Duration::from_millis(50);

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
            relations::counts(&filter::count(&store, &which.checked()?).await?)?
        }
        Some(LettersCommand::Jobs { job: None, limit }) => {
            relations::jobs(&jobs::list(&store, None, *limit).await?)?
        }
        Some(LettersCommand::Jobs { job: Some(number), .. }) => {
            let job = jobs::find(&store, *number).await?;
            return write_job(&job.ok_or_else(|| Failure::new(format!("there is no job {number}")))?, format);
        }
        Some(LettersCommand::Cancel { job, by }) => {
            return write_job(&jobs::cancel(&store, *job, &requester(by.as_deref())).await?, format);
        }
        Some(LettersCommand::Export { which, limit }) => {
            return export(&store, which.checked()?, *limit, format).await;
        }
        Some(LettersCommand::Replay(arguments)) => {
            let line = edited_line(arguments)?;
            return carry_out(&settings, &store, Kind::Replay, line, &arguments.of, format).await;
        }
        Some(LettersCommand::Discard(arguments)) => {
            return carry_out(&settings, &store, Kind::Discard, None, arguments, format).await;
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

fn write_job(job: &Job, format: LettersFormat) -> Result<(), Failure> {
    write_one(job, &job_in_words(job), format)
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

/// The edited line of the flags, without the line ending of its file.
fn edited_line(arguments: &ReplayArguments) -> Result<Option<String>, Failure> {
    let Some(path) = &arguments.line_file else { return Ok(arguments.line.clone()) };
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text).map(drop),
        false => std::fs::read_to_string(path).map(|read| text = read),
    };
    read.map_err(|error| Failure::new(format!("cannot read the line from '{}': {error}", path.display())))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Some(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

/// The name of the requester: `by`, or else the user of the machine.
pub(crate) fn requester(by: Option<&str>) -> String {
    let user = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    by.map(str::to_owned)
        .or_else(|| user().map(|user| user.name))
        .unwrap_or_else(|| format!("uid {}", nix::unistd::getuid()))
}

/// Moves one line or many, and prints the outcome.
async fn carry_out(
    settings: &Settings,
    store: &Store,
    kind: Kind,
    line: Option<String>,
    arguments: &MoveArguments,
    format: LettersFormat,
) -> Result<(), Failure> {
    let (by, note) = (requester(arguments.by.as_deref()), arguments.note.clone());
    let through = Through { settings, store, wait: arguments.wait };
    if let Some(position) = arguments.position {
        let asked =
            ask::ask(store, position, &MoveRequest { kind, line, by, note, idempotency_key: None }).await?;
        let number = asked.number;
        let done = through
            .until(&format!("the {} of line {position}", kind.as_str()), async || {
                Ok(moves::find(store, number).await?.filter(|asked| asked.done_at.is_some()))
            })
            .await?;
        write_one(&done, &in_words(&done), format)?;
        return match done.outcome {
            Some(MoveOutcome::Rejected) => Err(Failure::new(format!("line {position} was rejected again"))),
            Some(MoveOutcome::PassedOver) => {
                Err(Failure::new(format!("line {position} was no dead letter any more when its turn came")))
            }
            _ => Ok(()),
        };
    }
    let filter = arguments.which.filter();
    if filter == LetterFilter::default() && !arguments.all {
        return Err(Failure::usage(
            "name a line as SOURCE:LINE, or say which lines with a filter; --all for all that are rejected or wait",
        ));
    }
    let bulk = BulkMove {
        kind,
        filter,
        limit: arguments.limit,
        rate: arguments.rate,
        by,
        note,
        idempotency_key: None,
    };
    if arguments.dry_run {
        let preview = jobs::preview(store, &bulk).await?;
        return write_preview(&preview, kind, format).await;
    }
    let job = jobs::ask(store, &bulk).await?.job;
    let done = through
        .until(&format!("job {job}"), async || Ok(jobs::find(store, job).await?.filter(Job::has_ended)))
        .await?;
    write_job(&done, format)
}

/// Carries a stored request through.
struct Through<'a> {
    settings: &'a Settings,
    store: &'a Store,
    wait: Duration,
}

impl Through<'_> {
    /// Waits until a running pipeline has carried out the request. If none runs, carries it out.
    async fn until<T>(
        &self,
        what: &str,
        mut done: impl AsyncFnMut() -> Result<Option<T>, tidegate_postgres::PgError>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let work = async {
            loop {
                if let Some(done) = done().await? {
                    return Ok(done);
                }
                if begun.elapsed() > self.wait {
                    return Err(Failure::new(format!(
                        "{what} is asked for, and not done within {}; who runs the pipeline does it in time; \
                         'tidegate dead-letters jobs' and 'show' tell, --wait waits longer",
                        humantime::format_duration(self.wait)
                    )));
                }
                if !moves::is_running(self.store).await?
                    && let Err(failure) = self.alone(begun).await
                    // Another process may have started the pipeline first.
                    && !moves::is_running(self.store).await?
                {
                    return Err(failure);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        progress::during("waiting until it is done", work).await
    }

    /// Carries out the request under the pipeline's leases, which no process holds.
    async fn alone(&self, begun: Instant) -> Result<(), Failure> {
        let views = self.settings.load_views()?;
        let stop = signals::stop("stopping: the next run goes on with what was asked for")?;
        let work = async |store: &Store| {
            patiently(&stop, async || prepare::prepare(store, &views).await).await?;
            self.work(store, &stop, begun).await
        };
        alone(self.settings, &stop, work).await
    }

    async fn work(&self, store: &Store, stop: &CancellationToken, begun: Instant) -> Result<(), Failure> {
        let left = self.wait.saturating_sub(begun.elapsed());
        // When the time is up, the caller reports what is left, and the next run carries it out.
        tokio::time::timeout(left, workers::finish_moves(store, stop)).await.unwrap_or(Ok(()))?;
        match stop.is_cancelled() {
            true => Err(Failure::new("stopped; the next run goes on with what was asked for")),
            false => Ok(()),
        }
    }
}

async fn write_preview(preview: &Preview, kind: Kind, format: LettersFormat) -> Result<(), Failure> {
    if matches!(format, LettersFormat::Json | LettersFormat::Ndjson) {
        return write_one(preview, "", format);
    }
    write(&relations::counts(&preview.counted)?, format).await?;
    if format == LettersFormat::Table {
        let verb = if kind == Kind::Replay { "replayed" } else { "discarded" };
        output::print(format!("{} lines would be {verb}\n", preview.counted.lines))?;
        if preview.need_a_line > 0 {
            output::print(format!(
                "{} more are no text or too long: they can only be replayed one by one, with --line\n",
                preview.need_a_line
            ))?;
        }
    }
    Ok(())
}

fn in_words(done: &Move) -> String {
    let position = done.position();
    let reasons: Vec<&str> = done.reasons.iter().map(|reason| reason.message.as_str()).collect();
    let reasons = reasons.join("; ");
    match done.outcome {
        Some(MoveOutcome::Accepted) => format!("line {position} was accepted, at its own position"),
        Some(MoveOutcome::Superseded) => format!(
            "line {position} was accepted, at its own position; the newer line {} holds the row",
            done.newer.as_deref().unwrap_or_default()
        ),
        Some(MoveOutcome::Rejected) => format!("line {position} was rejected again: {reasons}"),
        Some(MoveOutcome::Waiting) => format!("line {position} waits for its references: {reasons}"),
        Some(MoveOutcome::Discarded) => format!("line {position} is discarded"),
        Some(MoveOutcome::PassedOver) | None => format!("nothing was done with line {position}"),
    }
}

fn job_in_words(job: &Job) -> String {
    let counts = [
        (job.accepted, "accepted"),
        (job.superseded, "accepted, with a newer line in the row"),
        (job.rejected, "rejected again"),
        (job.waiting, "waiting"),
        (job.discarded, "discarded"),
        (job.passed_over, "passed over: they were no dead letters any more"),
        (job.left, "to do"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let counts = if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") };
    let Job { job, kind, state, lines, cancelled_by, .. } = job;
    let by = cancelled_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    format!("job {job}, {} of {lines} lines, {state}{by}: {counts}", kind.as_str())
}
