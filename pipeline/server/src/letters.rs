//! `tidegate dead-letters`: what is not in its table, and what is done with it.
//!
//! A move is asked for in Postgres; a running pipeline makes it. Where none runs, this command takes the leases and
//! makes it itself.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde::Serialize;
use tidegate_connectors::postgres::export::ExportFormat;
use tidegate_connectors::postgres::filter::LetterFilter;
use tidegate_connectors::postgres::moves::ask::Wanted;
use tidegate_connectors::postgres::moves::{Bulk, Job, Kind, Move, Outcome, Preview};
use tidegate_connectors::postgres::report::{Column, ColumnKind, Relation};
use tidegate_connectors::postgres::{self, Postgres};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cli::{
    Format, Global, LettersArguments, LettersCommand, LettersFormat, MoveArguments, ReplayArguments,
};
use crate::data_dir::DataDir;
use crate::output::Cells;
use crate::settings::Settings;
use crate::{Failure, mover, output, run, watch};

/// How often it is asked whether a move is made.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// `tidegate dead-letters`.
///
/// # Errors
///
/// If there is no such dead letter or it cannot be moved, what was asked for is not done in time, or the database
/// cannot be asked.
pub async fn command(global: &Global, arguments: &LettersArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let postgres = settings.database(Uuid::nil())?;
    let format = arguments.format;
    let relation = match &arguments.command {
        None => postgres.dead_letters(&LetterFilter::default(), false, None, 1000).await?,
        Some(LettersCommand::List { which, all, after, limit }) => {
            let filter = which.filter();
            filter.check().map_err(Failure::usage)?;
            postgres.dead_letters(&filter, *all, *after, *limit).await?
        }
        Some(LettersCommand::Show { position }) => {
            let letter = postgres.dead_letter(position.source, position.line).await?;
            if letter.rows.is_empty() {
                return Err(Failure::new(format!("line {position} is no dead letter")));
            }
            letter
        }
        Some(LettersCommand::Summary { which }) => {
            let filter = which.filter();
            filter.check().map_err(Failure::usage)?;
            postgres.dead_letter_summary(&filter).await?
        }
        Some(LettersCommand::Jobs { job: None, limit }) => postgres.move_jobs(*limit).await?,
        Some(LettersCommand::Jobs { job: Some(number), .. }) => {
            let job = postgres.job(*number).await?;
            return write_job(&job.ok_or_else(|| Failure::new(format!("there is no job {number}")))?, format);
        }
        Some(LettersCommand::Cancel { job, by }) => {
            return write_job(&postgres.cancel_job(*job, &named(by.as_deref())).await?, format);
        }
        Some(LettersCommand::Export { which, limit }) => {
            return export(&postgres, which.filter(), *limit, format).await;
        }
        Some(LettersCommand::Replay(arguments)) => {
            let line = edited_line(arguments)?;
            return moved(&settings, &postgres, (Kind::Replay, line), &arguments.of, format).await;
        }
        Some(LettersCommand::Discard(arguments)) => {
            return moved(&settings, &postgres, (Kind::Discard, None), arguments, format).await;
        }
    };
    write(&relation, format).await
}

async fn write(relation: &Relation, format: LettersFormat) -> Result<(), Failure> {
    match format {
        LettersFormat::Table => output::write(relation, Format::Table).await,
        // Whoever sent a line chose what it begins with.
        LettersFormat::Csv => output::print(&output::csv(relation, Cells::Harmless).await?),
        LettersFormat::Json => output::write(relation, Format::Json).await,
        LettersFormat::Ndjson => output::print(&output::ndjson(relation)?),
    }
}

/// Writes what machines read as an object, and people as a sentence.
fn write_one(value: &impl Serialize, words: &str, format: LettersFormat) -> Result<(), Failure> {
    match format {
        LettersFormat::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(value)?)),
        LettersFormat::Ndjson => output::print(&format!("{}\n", serde_json::to_string(value)?)),
        LettersFormat::Table | LettersFormat::Csv => output::print(&output::shown(&format!("{words}\n"))),
    }
}

fn write_job(job: &Job, format: LettersFormat) -> Result<(), Failure> {
    write_one(job, &job_in_words(job), format)
}

async fn export(
    postgres: &Postgres,
    filter: LetterFilter,
    limit: Option<u64>,
    format: LettersFormat,
) -> Result<(), Failure> {
    filter.check().map_err(Failure::usage)?;
    let format = match format {
        LettersFormat::Csv => ExportFormat::Csv,
        LettersFormat::Table | LettersFormat::Ndjson => ExportFormat::Ndjson,
        LettersFormat::Json => return Err(Failure::usage("an export is --format ndjson or csv")),
    };
    let mut export = postgres.export_letters(filter, format, limit);
    while let Some(piece) = export.next().await? {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(&piece).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    Ok(())
}

/// The line as it is to be, without the line ending that a file has.
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

/// Who asks, if nobody is named: the user of the machine.
pub(crate) fn named(by: Option<&str>) -> String {
    let user = || nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    by.map(str::to_owned)
        .or_else(|| user().map(|user| user.name))
        .unwrap_or_else(|| format!("uid {}", nix::unistd::getuid()))
}

/// Moves a line, or many, and tells what came of it.
async fn moved(
    settings: &Settings,
    postgres: &Postgres,
    (kind, line): (Kind, Option<String>),
    arguments: &MoveArguments,
    format: LettersFormat,
) -> Result<(), Failure> {
    let (by, note) = (named(arguments.by.as_deref()), arguments.note.clone());
    let through = Through { settings, postgres, wait: arguments.wait };
    if let Some(position) = arguments.position {
        let asked = postgres.ask_move(position, &Wanted { kind, line, by, note, keyed: None }).await?;
        let number = asked.number;
        let done = through
            .until(&format!("the {} of line {position}", kind.as_str()), async || {
                Ok(postgres.a_move(number).await?.filter(|asked| asked.done_at.is_some()))
            })
            .await?;
        write_one(&done, &in_words(&done), format)?;
        return match done.outcome {
            Some(Outcome::Rejected) => Err(Failure::new(format!("line {position} was rejected again"))),
            Some(Outcome::PassedOver) => {
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
    let bulk = Bulk { kind, filter, limit: arguments.limit, rate: arguments.rate, by, note, keyed: None };
    if arguments.dry_run {
        let preview = postgres.preview_moves(&bulk).await?;
        return write_preview(&preview, kind, format).await;
    }
    let job = postgres.ask_moves(&bulk).await?.job;
    let done = through
        .until(&format!("job {job}"), async || Ok(postgres.job(job).await?.filter(Job::has_ended)))
        .await?;
    write_job(&done, format)
}

/// Sees to it that something that was asked for is done.
struct Through<'a> {
    settings: &'a Settings,
    postgres: &'a Postgres,
    wait: Duration,
}

impl Through<'_> {
    /// Waits until a running pipeline has done it; if none runs, does it.
    async fn until<T>(
        &self,
        what: &str,
        mut done: impl AsyncFnMut() -> Result<Option<T>, postgres::Error>,
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
                if !self.postgres.is_running().await?
                    && let Err(failure) = self.alone(begun).await
                    // Somebody was faster.
                    && !self.postgres.is_running().await?
                {
                    return Err(failure);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        watch::during("waiting until it is done", work).await
    }

    /// Makes what was asked for under the pipeline's leases, which nobody has.
    async fn alone(&self, begun: Instant) -> Result<(), Failure> {
        let Settings { data_dir, manifest, .. } = self.settings;
        let me = run::holder();
        let data_dir = DataDir::open(data_dir, &manifest.pipeline, &me, false)?;
        let postgres = self.settings.database(data_dir.owner())?;
        let views = self.settings.load_views()?;
        let stop = run::stop_on_signals("stopping: the next run goes on with what was asked for")?;
        let database = run::patiently(&stop, async || postgres.migrate().await).await?;
        data_dir.assert_of(database)?;
        let work = async {
            run::patiently(&stop, async || postgres.prepare(&views).await).await?;
            self.work(&postgres, &stop, begun).await
        };
        run::leased(&postgres, &me, false, &stop, work).await
    }

    async fn work(
        &self,
        postgres: &Postgres,
        stop: &CancellationToken,
        begun: Instant,
    ) -> Result<(), Failure> {
        let left = self.wait.saturating_sub(begun.elapsed());
        // What is not done by then is told, and done by the next run.
        tokio::time::timeout(left, mover::finish(postgres, stop)).await.unwrap_or(Ok(()))?;
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
    let text = |name| Column::new(name, ColumnKind::Text);
    let columns = vec![
        text("dataset"),
        text("status"),
        text("code"),
        text("column"),
        Column::new("lines", ColumnKind::Number),
    ];
    let rows = preview.counted.reasons.iter().map(|reason| {
        let lines = Some(reason.lines.to_string());
        let (dataset, status) = (Some(reason.dataset.clone()), Some(reason.status.clone()));
        vec![dataset, status, Some(reason.code.clone()), reason.column.clone(), lines]
    });
    write(&Relation { columns, rows: rows.collect() }, format).await?;
    if format == LettersFormat::Table {
        let verb = if kind == Kind::Replay { "replayed" } else { "discarded" };
        output::print(&format!("{} lines would be {verb}\n", preview.counted.lines))?;
        if preview.need_a_line > 0 {
            output::print(&format!(
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
        Some(Outcome::Accepted) => format!("line {position} was accepted, at its own position"),
        Some(Outcome::Superseded) => format!(
            "line {position} was accepted, at its own position; the newer line {} holds the row",
            done.newer.as_deref().unwrap_or_default()
        ),
        Some(Outcome::Rejected) => format!("line {position} was rejected again: {reasons}"),
        Some(Outcome::Waiting) => format!("line {position} waits for its references: {reasons}"),
        Some(Outcome::Discarded) => format!("line {position} is discarded"),
        Some(Outcome::PassedOver) | None => format!("nothing was done with line {position}"),
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
