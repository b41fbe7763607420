//! `tidegate dead-letters replay` and `discard`: requests a move, and waits until it is made.

use std::io::Read;
use std::time::{Duration, Instant};

use tidegate_engine::patiently;
use tidegate_node::alone::alone;
use tidegate_node::{Settings, workers};
use tidegate_store::filter::LetterFilter;
use tidegate_store::moves::ask::{self, MoveRequest};
use tidegate_store::moves::{self, BulkMove, Job, Kind, Move, MoveOutcome, Preview, jobs};
use tidegate_store::{Store, prepare};
use tokio_util::sync::CancellationToken;

use super::{LettersFormat, MoveArguments, ReplayArguments, relations, write, write_one};
use crate::Failure;
use crate::cli::requester::requester;
use crate::cli::{output, progress, signals};

/// The pause between two checks whether a move is made.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Moves one line or many, and prints the outcome.
pub(super) async fn carry_out(
    settings: &Settings,
    store: &Store,
    kind: Kind,
    line: Option<String>,
    arguments: &MoveArguments,
    format: LettersFormat,
) -> Result<(), Failure> {
    let (by, note) = (requester(arguments.by.as_deref()), arguments.note.clone());
    let waiter = MoveWaiter { settings, store, wait: arguments.wait };
    if let Some(position) = arguments.position {
        let asked =
            ask::ask(store, position, &MoveRequest { kind, line, by, note, idempotency_key: None }).await?;
        let number = asked.number;
        let done = waiter
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
    let done = waiter
        .until(&format!("job {job}"), async || Ok(jobs::find(store, job).await?.filter(Job::has_ended)))
        .await?;
    write_job(&done, format)
}

/// Waits for requested moves.
struct MoveWaiter<'a> {
    settings: &'a Settings,
    store: &'a Store,
    wait: Duration,
}

impl MoveWaiter<'_> {
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
                        "{what} is requested, but was not made within {}; a process that runs the pipeline makes it later: \
                         see 'tidegate dead-letters jobs' or 'show', or give a longer --wait",
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

/// The edited line of the flags, without the line ending of its file.
pub(super) fn edited_line(arguments: &ReplayArguments) -> Result<Option<String>, Failure> {
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

pub(super) fn write_job(job: &Job, format: LettersFormat) -> Result<(), Failure> {
    write_one(job, &job_in_words(job), format)
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
