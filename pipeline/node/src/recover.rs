//! Recovery of a Postgres that is older than what was ingested: it was restored to an earlier moment, or failed over to
//! a replica that lagged.
//!
//! Such a Postgres would give new files the numbers of lines that are already on the topics. It would also wait in vain
//! for lines of files that were moved to `done/` long ago. Therefore `run` does not start on it, and `tidegate recover`
//! ([`Node::recover`](crate::Node::recover)) brings it up to date. Two witnesses tell that Postgres is older: the
//! journal of sources in the data directory, and the numbers in `done/` if the journal is lost.
//!
//! A recovery registers the lost sources again, under their numbers. Then it runs until idle: it reads the topics from
//! their start, and the files of `done/` once more. The ledger drops lines that it already has. **The journal says that
//! a source was complete until a recovery has ended**, so a recovery that was killed is repeated.

mod registry_diff;
mod lost;
mod salvage;

use std::collections::HashMap;
use std::path::PathBuf;

use tidegate_core::failpoint::Failpoint;
use tidegate_engine::patiently;
use tidegate_postgres::{PgError, schema};
use tidegate_store::{RegisteredSource, Store, registry};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::Failure;
use crate::alone::holder;
use crate::data_dir::DataDir;
use crate::journal::{Entry, Journal, JournaledRegistry, Notes};
use crate::settings::Settings;
use registry_diff::RegistryDiff;

pub use lost::Findings;
pub(crate) use registry_diff::NotedSources;

/// Finds what Postgres lacks, and changes nothing.
pub async fn look(settings: &Settings) -> Result<Findings, Failure> {
    let (path, pipeline) = (&settings.data_dir, &settings.manifest.pipeline);
    let data_dir = DataDir::open(path, pipeline, &holder(), false)?;
    let store = settings.database(data_dir.owner())?;
    let noted = NotedSources::read(settings, &data_dir)?;
    let registered = match schema::identity(&store).await? {
        Some(database) => {
            data_dir.assert_of(database)?;
            registry::list(&store, noted.sources()).await?
        }
        None => Vec::new(),
    };
    RegistryDiff::new(noted, registered).findings(settings, &data_dir).await
}

/// What a recovery found, and the state of the sources after it.
#[derive(Debug, Default)]
pub struct Recovery {
    /// What Postgres lacked.
    pub findings: Findings,
    /// The sources after the recovery.
    pub now: Vec<RegisteredSource>,
}

impl Recovery {
    /// Ends the recovery. The caller must hold the leases, and the pipeline must have been idle. Sources that are
    /// incomplete now stay incomplete for good, which does not keep a run from starting.
    pub(crate) async fn end(
        &mut self,
        settings: &Settings,
        data_dir: &DataDir,
        store: &Store,
    ) -> Result<(), Failure> {
        let forgets = registry_diff::forgets(settings);
        let noted = Journal::read(&data_dir.journal(), forgets)?.unwrap_or_default();
        self.now = registered(store, registry_diff::sources(Some(&noted)).collect()).await?;
        let entries = entries(&self.now, noted.entries.values());
        let as_they_are = entries
            .zip(&self.now)
            .map(|(entry, now)| (entry.source, Entry { complete: now.complete, ..entry }));
        let notes = Notes { entries: as_they_are.collect(), forgotten: noted.forgotten };
        Journal::write(&data_dir.journal(), notes, forgets).map(drop)
    }
}

/// Fails if Postgres is older than what was ingested. The caller need not hold the leases: another process may run the
/// pipeline.
pub(crate) async fn assert_current(
    settings: &Settings,
    data_dir: &DataDir,
    store: &Store,
) -> Result<(), Failure> {
    let noted = NotedSources::read(settings, data_dir)?;
    let registered = registry::list(store, noted.sources()).await?;
    RegistryDiff::new(noted, registered).assert_nothing_lost(&settings.manifest)
}

/// The registry and the files that a source starts with.
pub(crate) struct Start {
    pub(crate) registry: JournaledRegistry,
    /// Files of `done/` to read once more: source, path, name, index of the dataset.
    pub(crate) files: Vec<(u64, PathBuf, String, usize)>,
    /// Whether every registered source is complete.
    pub(crate) is_complete: bool,
}

/// Compares the registry of Postgres with the journal and `done/`, and opens the journal. The caller must hold the
/// leases of the source, and the topics must not be open yet. Fails if Postgres is older than what was ingested, and
/// there is no `recovery`.
pub(crate) async fn start(
    recovery: Option<&mut Recovery>,
    settings: &Settings,
    data_dir: &DataDir,
    store: &Store,
    stop: &CancellationToken,
) -> Result<Start, Failure> {
    // This comes before the query of Postgres, because other sources move files to done/ meanwhile.
    let noted = NotedSources::read(settings, data_dir)?;
    let registered = patiently(stop, async || registered(store, noted.sources().collect()).await).await?;
    let registry_diff = RegistryDiff::new(noted, registered);
    let findings = match recovery {
        None => {
            registry_diff.assert_nothing_lost(&settings.manifest)?;
            None
        }
        Some(recovery) => {
            recovery.findings = registry_diff.findings(settings, data_dir).await?;
            Some(&recovery.findings)
        }
    };
    // This comes first: from here on no line can be misread, wherever the recovery stops.
    if !registry_diff.topics_can_be_read() && data_dir.topics().exists() {
        warn!("whose lines are on the topics is not known any more: they are read again from the files");
        std::fs::remove_dir_all(data_dir.topics())?;
    }
    let registered = match findings {
        Some(findings) => {
            registry::restore(store, &findings.registrations()).await?;
            Failpoint::SourcesRestored.pass()?;
            let lost = findings.lost.iter().map(|lost| (lost.entry.source, &lost.entry.identity[..]));
            let noted = registry_diff::sources(registry_diff.noted.journal.as_ref());
            registry::list(store, noted.chain(lost)).await?
        }
        None => registry_diff.registered,
    };
    let is_complete = registered.iter().all(|source| source.complete);
    let lost = findings.into_iter().flat_map(|findings| &findings.lost);
    let noted = registry_diff.noted.journal.unwrap_or_default();
    let entries = entries(&registered, noted.entries.values().chain(lost.map(|lost| &lost.entry)));
    let entries = entries.map(|entry| (entry.source, entry)).collect();
    let notes = Notes { entries, forgotten: noted.forgotten };
    let forgets = registry_diff::forgets(settings);
    let journal = match Journal::write(&data_dir.journal(), notes, forgets) {
        // On a full disk a run can begin all the same, and free space.
        Err(failure) if findings.is_none() && reaches_up_to_its_last(&noted, &registered) => {
            warn!("{}; it is left as it is", failure.message);
            Journal::reopen(&data_dir.journal(), &noted, forgets)?
        }
        written => written?,
    };
    let files =
        findings.map_or_else(Vec::new, |findings| findings.done_files(&settings.manifest, &registered));
    Ok(Start { registry: JournaledRegistry::new(store.clone(), journal), files, is_complete })
}

/// Whether a journal has every registered source up to its own last one. Later sources are noted when they are
/// registered again.
fn reaches_up_to_its_last(Notes { entries, .. }: &Notes, registered: &[RegisteredSource]) -> bool {
    entries.last_key_value().is_some_and(|(last, _)| {
        registered.iter().all(|r| r.source > *last || entries.contains_key(&r.source))
    })
}

/// The journal's entries for the registered sources, with what was noted of them before.
fn entries<'a>(
    registered: &'a [RegisteredSource],
    noted: impl Iterator<Item = &'a Entry>,
) -> impl Iterator<Item = Entry> {
    let noted: HashMap<&[u8], &Entry> = noted.map(|entry| (&entry.identity[..], entry)).collect();
    registered.iter().map(move |registered| {
        let mut entry = Entry::from(registered);
        if let Some(noted) = noted.get(&registered.identity[..]) {
            entry.content.clone_from(&noted.content);
            if entry.fingerprint.is_empty() {
                entry.fingerprint.clone_from(&noted.fingerprint);
            }
            entry.first_key = entry.first_key.or(noted.first_key);
            entry.lines = entry.lines.or(noted.lines);
            entry.complete |= noted.complete;
        }
        entry
    })
}

/// Finds the `noted` sources as [`registry::list`] does. Sources whose every line is in the ledger are marked as
/// complete, because their file may be gone or changed, and no other step would mark them.
async fn registered(store: &Store, noted: Vec<(u64, &[u8])>) -> Result<Vec<RegisteredSource>, PgError> {
    let registered = registry::list(store, noted.iter().copied()).await?;
    let is_whole = |source: &&RegisteredSource| !source.complete && source.lines == Some(source.held);
    let whole: Vec<u64> = registered.iter().filter(is_whole).map(|source| source.source).collect();
    if whole.is_empty() {
        return Ok(registered);
    }
    registry::complete(store, &whole).await?;
    registry::list(store, noted.into_iter()).await
}
