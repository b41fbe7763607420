//! A Postgres that is older than what was ingested: restored to an earlier moment, or failed over to a replica
//! that lagged.
//!
//! It would give numbers to new files under which lines of others stand on the topics, and it waits in vain for
//! lines of files that were moved to `done/` long ago. So `run` does not start on it ([`begin`]), and `tidegate
//! recover` ([`command`]) brings it back to where it was. What tells: the journal of sources in the data
//! directory, and where that is lost, the numbers in `done/`.
//!
//! Recovering registers the lost sources again, under their numbers; then it is a run until idle that reads the
//! topics from their start and the files of `done/` once more. The ledger drops what it has. **The journal says
//! that a source was complete until a recovery has ended**, so one that is killed is done again.

mod evidence;
mod lost;
mod holders;

use std::collections::HashMap;
use std::path::PathBuf;

use tidegate_connectors::postgres::report::Relation;
use tidegate_connectors::postgres::{Postgres, Registered};
use tidegate_core::failpoint::Failpoint;
use tidegate_engine::Until;
use tracing::warn;

use crate::cli::{Format, Global, RecoverArguments};
use crate::data_dir::DataDir;
use crate::journal::{Entry, Journal, Journaled, Notes};
use crate::settings::Settings;
use crate::{Failure, output, run};
use evidence::Evidence;
pub(crate) use evidence::Noted;
use lost::Findings;

/// `tidegate recover`.
///
/// # Errors
///
/// If the pipeline cannot run, or something is missing for good.
pub async fn command(global: &Global, arguments: &RecoverArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    if arguments.dry_run {
        let findings = look(&settings).await?;
        return show(&findings.relation(None), &findings.in_words(), arguments.format).await;
    }
    let mut recovery = Recovery::default();
    let outcome = run::pipeline_of(Some(&mut recovery), &settings, Until::Idle, false).await?;
    if outcome.stopped {
        return Err(Failure::new("stopped before it was done; 'tidegate recover' goes on from here"));
    }
    let Recovery { findings, now } = recovery;
    show(&findings.relation(Some(&now)), &outcome.in_words(), arguments.format).await?;
    findings.assert_recovered(&now)
}

async fn show(relation: &Relation, in_words: &str, format: Format) -> Result<(), Failure> {
    output::write(relation, format).await?;
    if format == Format::Table { output::print(&output::shown(&format!("{in_words}\n"))) } else { Ok(()) }
}

/// What is missing; changes nothing.
async fn look(settings: &Settings) -> Result<Findings, Failure> {
    let (path, pipeline) = (&settings.data_dir, &settings.manifest.pipeline);
    let data_dir = DataDir::open(path, pipeline, &run::holder(), false)?;
    let postgres = settings.database(data_dir.owner())?;
    let noted = Noted::read(settings, &data_dir)?;
    let registered = match postgres.identity().await? {
        Some(database) => {
            data_dir.assert_of(database)?;
            postgres.registered(noted.sources()).await?
        }
        None => Vec::new(),
    };
    Evidence::new(noted, registered).findings(settings, &data_dir).await
}

/// What a recovery found, and how things are when it has ended.
#[derive(Debug, Default)]
pub(crate) struct Recovery {
    findings: Findings,
    now: Vec<Registered>,
}

impl Recovery {
    /// To be called under the leases, when the pipeline was idle. What is incomplete now is missing for good, and no
    /// reason not to run any more.
    pub(crate) async fn end(
        &mut self,
        settings: &Settings,
        data_dir: &DataDir,
        postgres: &Postgres,
    ) -> Result<(), Failure> {
        let forgets = evidence::forgets(settings);
        let noted = Journal::read(&data_dir.journal(), forgets)?.unwrap_or_default();
        self.now = run::registered(postgres, || evidence::sources(Some(&noted))).await?;
        let entries = entries(&self.now, noted.entries.values());
        let as_they_are = entries
            .zip(&self.now)
            .map(|(entry, now)| (entry.source, Entry { complete: now.complete, ..entry }));
        let notes = Notes { entries: as_they_are.collect(), forgotten: noted.forgotten };
        Journal::write(&data_dir.journal(), notes, forgets)?;
        Ok(())
    }
}

/// Fails if Postgres is older than what was ingested: for who does not hold the leases, beside a running pipeline.
pub(crate) async fn assert_current(
    settings: &Settings,
    data_dir: &DataDir,
    postgres: &Postgres,
) -> Result<(), Failure> {
    let noted = Noted::read(settings, data_dir)?;
    let registered = postgres.registered(noted.sources()).await?;
    Evidence::new(noted, registered).assert_nothing_lost(&settings.manifest)
}

/// What a pipeline starts with.
pub(crate) struct Start {
    pub(crate) registry: Journaled,
    /// Files of `done/` that are to be read once more: source, path, name, index of the dataset.
    pub(crate) files: Vec<(u64, PathBuf, String, usize)>,
}

/// Compares what Postgres has `registered` with what was `noted` outside of it, and opens the journal. To be called
/// under the pipeline's leases, before the topics are opened.
///
/// # Errors
///
/// If Postgres is older than what was ingested, and no `recovery` mends that.
pub(crate) async fn begin(
    recovery: Option<&mut Recovery>,
    settings: &Settings,
    data_dir: &DataDir,
    postgres: &Postgres,
    (noted, registered): (Noted, Vec<Registered>),
) -> Result<Start, Failure> {
    let evidence = Evidence::new(noted, registered);
    let findings = match recovery {
        None => {
            evidence.assert_nothing_lost(&settings.manifest)?;
            None
        }
        Some(recovery) => {
            recovery.findings = evidence.findings(settings, data_dir).await?;
            Some(&recovery.findings)
        }
    };
    // First of all: from now on nothing can be misread, however far this comes.
    if !evidence.topics_can_be_read() && data_dir.topics().exists() {
        warn!("whose lines are on the topics is not known any more: they are read again from the files");
        std::fs::remove_dir_all(data_dir.topics())?;
    }
    let registered = match findings {
        Some(findings) => {
            postgres.restore(&findings.registrations()).await?;
            Failpoint::SourcesRestored.pass()?;
            let lost = findings.lost.iter().map(|lost| (lost.entry.source, &lost.entry.identity[..]));
            let noted = evidence::sources(evidence.journal.as_ref());
            postgres.registered(noted.chain(lost)).await?
        }
        None => evidence.registered,
    };
    let lost = findings.into_iter().flat_map(|findings| &findings.lost);
    let noted = evidence.journal.unwrap_or_default();
    let entries = entries(&registered, noted.entries.values().chain(lost.map(|lost| &lost.entry)));
    let entries = entries.map(|entry| (entry.source, entry)).collect();
    let notes = Notes { entries, forgotten: noted.forgotten };
    let forgets = evidence::forgets(settings);
    let journal = match Journal::write(&data_dir.journal(), notes, forgets) {
        // On a full disk a run can begin all the same, and make room.
        Err(failure) if findings.is_none() && reaches_up_to_its_last(&noted, &registered) => {
            warn!("{}; it is left as it is", failure.message);
            Journal::reopen(&data_dir.journal(), &noted, forgets)?
        }
        written => written?,
    };
    let files =
        findings.map_or_else(Vec::new, |findings| findings.done_files(&settings.manifest, &registered));
    Ok(Start { registry: Journaled::new(postgres.clone(), journal), files })
}

/// Whether a journal lacks nothing that is registered, up to its own last source. What comes behind is noted when
/// it is registered once more.
fn reaches_up_to_its_last(Notes { entries, .. }: &Notes, registered: &[Registered]) -> bool {
    entries.last_key_value().is_some_and(|(last, _)| {
        registered
            .iter()
            .all(|registered| registered.source > *last || entries.contains_key(&registered.source))
    })
}

/// The journal of what is registered, with what was noted of the same sources before.
fn entries<'a>(
    registered: &'a [Registered],
    noted: impl Iterator<Item = &'a Entry>,
) -> impl Iterator<Item = Entry> {
    let noted: HashMap<&[u8], &Entry> = noted.map(|entry| (&entry.identity[..], entry)).collect();
    registered.iter().map(move |registered| {
        let mut entry = Entry::from(registered);
        if let Some(noted) = noted.get(&registered.identity[..]) {
            entry.content.clone_from(&noted.content);
            entry.fingerprint = entry.fingerprint.or_else(|| noted.fingerprint.clone());
            entry.lines = entry.lines.or(noted.lines);
            entry.complete |= noted.complete;
        }
        entry
    })
}
