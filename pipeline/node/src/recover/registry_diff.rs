//! The difference between the sources in Postgres and those noted outside of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidegate_core::manifest::Manifest;
use tidegate_files::{DoneFile, Fingerprint, done_files};
use tidegate_store::{RegisteredSource, SourceKind};

use super::lost::{Findings, LineLocation, LostSource};
use super::salvage::{CandidateFiles, on_topics};
use crate::Failure;
use crate::data_dir::DataDir;
use crate::journal::{Entry, Journal, Notes};
use crate::settings::Settings;

/// How many sources a message names.
const NAMED_MAX: usize = 3;

/// The sources in Postgres, and those noted in the journal and `done/`.
pub(super) struct RegistryDiff {
    /// In the order of source numbers.
    pub(super) registered: Vec<RegisteredSource>,
    /// Index in `registered` by identity.
    by_identity: HashMap<Vec<u8>, usize>,
    pub(super) noted: NotedSources,
}

/// The sources noted in the journal and `done/`. If the pipeline runs, read this before Postgres is queried, because a
/// source is in Postgres first.
pub(crate) struct NotedSources {
    /// `None` if it is lost or never existed.
    pub(super) journal: Option<Notes>,
    done: Vec<DoneFile>,
}

/// Whether the journal forgets complete sources. On a cluster it does not, because this pipeline may not drop what is
/// on the cluster's topics.
pub(super) fn forgets(settings: &Settings) -> bool {
    settings.manifest.fluvio.is_none()
}

impl NotedSources {
    /// The sources by number and, if known, identity.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (u64, &[u8])> {
        sources(self.journal.as_ref()).chain(self.done.iter().map(|file| (file.source, &[][..])))
    }

    pub(crate) fn read(settings: &Settings, data_dir: &DataDir) -> Result<Self, Failure> {
        let done = done_files(&settings.landing).map_err(|error| {
            Failure::new(format!("cannot read done/ in '{}': {error}", settings.landing.display()))
        })?;
        Ok(Self { journal: Journal::read(&data_dir.journal(), forgets(settings))?, done })
    }
}

/// The sources of a journal, by number and identity.
pub(super) fn sources(journal: Option<&Notes>) -> impl Iterator<Item = (u64, &[u8])> {
    let entries = journal.into_iter().flat_map(|notes| notes.entries.values());
    entries.map(|entry| (entry.source, &entry.identity[..]))
}

impl RegistryDiff {
    /// `registered` must contain every `noted` source that Postgres has.
    pub(super) fn new(noted: NotedSources, registered: Vec<RegisteredSource>) -> Self {
        let by_identity = registered.iter().enumerate().map(|(i, r)| (r.identity.clone(), i)).collect();
        Self { registered, by_identity, noted }
    }

    fn registered(&self, source: u64) -> Option<&RegisteredSource> {
        let found = self.registered.binary_search_by_key(&source, |registered| registered.source);
        found.ok().map(|i| &self.registered[i])
    }

    fn registered_as(&self, identity: &[u8]) -> Option<&RegisteredSource> {
        self.by_identity.get(identity).map(|i| &self.registered[*i])
    }

    fn noted(&self) -> impl Iterator<Item = &Entry> {
        self.noted.journal.iter().flat_map(|notes| notes.entries.values())
    }

    /// The files in `done/` that are not in the journal and not complete in Postgres, with the index of their dataset.
    fn done_unaccounted<'a>(
        &'a self,
        manifest: &'a Manifest,
    ) -> impl Iterator<Item = (&'a DoneFile, usize)> + 'a {
        self.noted.done.iter().filter_map(|file| {
            let is_noted =
                self.noted.journal.as_ref().is_some_and(|notes| notes.entries.contains_key(&file.source));
            let is_complete = self.registered(file.source).is_some_and(|registered| registered.complete);
            let dataset = manifest.dataset_of_file(&file.name).map(|(dataset, _)| dataset);
            dataset.filter(|_| !is_noted && !is_complete).map(|dataset| (file, dataset))
        })
    }

    /// Whether every position on the topics names the same source as in Postgres, once all lost sources are registered
    /// again. Forgotten sources cannot be registered again.
    pub(super) fn topics_can_be_read(&self) -> bool {
        let last = self.last_registered();
        self.noted.journal.as_ref().is_some_and(|notes| notes.forgotten == 0 || notes.forgotten < last)
            && self.noted().all(|entry| {
                self.registered(entry.source).is_none_or(|registered| registered.identity == entry.identity)
                    && self.registered_as(&entry.identity).is_none_or(|r| r.source == entry.source)
            })
    }

    /// **A Postgres that is older than what was ingested takes in nothing new.** Fails on such a Postgres.
    pub(super) fn assert_nothing_lost(&self, manifest: &Manifest) -> Result<(), Failure> {
        let noted = self.noted().filter(|entry| {
            let registered = self.registered(entry.source);
            registered.is_none_or(|r| r.identity != entry.identity || (entry.complete && !r.complete))
        });
        let noted: Vec<_> = noted.map(|entry| (entry.source, &entry.name)).collect();
        let done: Vec<_> =
            self.done_unaccounted(manifest).map(|(file, _)| (file.source, &file.name)).collect();
        let count = noted.len() + done.len();
        if count == 0 {
            return Ok(());
        }
        let named = noted.iter().chain(&done).take(NAMED_MAX);
        let named: Vec<_> = named.map(|(source, name)| format!("{source} '{name}'")).collect();
        let elsewhere = if done.is_empty() {
            ""
        } else {
            "; but move files in done/ away first if they were put there by hand, or they were ingested into another \
             database: 'tidegate recover --dry-run' names them"
        };
        Err(Failure::new(format!(
            "Postgres is older than what was ingested (was it restored, or failed over to a replica that lagged?): \
             it lacks {count} sources or lines of them, such as {}; 'tidegate recover' lists them and brings them \
             back{elsewhere}",
            named.join(", ")
        )))
    }

    /// Finds what Postgres lacks, and which file or topic still holds it.
    pub(super) async fn findings(
        &self,
        settings: &Settings,
        data_dir: &DataDir,
    ) -> Result<Findings, Failure> {
        let manifest = &settings.manifest;
        let mut files = CandidateFiles::new(settings, &self.noted.done);
        let mut lost: BTreeMap<Vec<u8>, LostSource> = BTreeMap::new();
        for entry in self.noted().filter(|entry| self.registered_as(&entry.identity).is_none()) {
            let lines = entry.lines;
            lost.insert(entry.identity.clone(), self.lost(entry.clone(), lines));
        }
        for (file, dataset) in self.done_unaccounted(manifest) {
            let print = files
                .fingerprint(&file.path, &file.name, dataset)
                .await
                .map_err(|error| Failure::new(format!("cannot read '{}': {error}", file.path.display())))?;
            let registered = self.registered(file.source).and_then(|r| r.fingerprint.as_ref());
            if registered.is_none_or(|fingerprint| fingerprint[..] != print.fingerprint) {
                let came_before = self.registered_as(&print.fingerprint).is_some()
                    || lost.contains_key(&print.fingerprint[..]);
                let dataset = &manifest.datasets[dataset].name;
                let entry = done_entry(file, dataset, &print, came_before);
                lost.entry(entry.identity.clone()).or_insert_with(|| self.lost(entry, None));
            }
        }
        let noted: HashMap<_, _> = self.noted().map(|entry| (&entry.identity[..], entry)).collect();
        for registered in self.registered.iter().filter(|r| !r.complete && r.lines != Some(r.held)) {
            let noted = noted.get(&registered.identity[..]);
            let mut entry = noted.map_or_else(|| Entry::from(registered), |noted| (*noted).clone());
            entry.source = registered.source;
            let lines = registered.lines.or(entry.lines);
            let lines = lines.map(|lines| lines.saturating_sub(registered.held));
            lost.insert(entry.identity.clone(), self.lost(entry, lines));
        }
        let mut lost: Vec<LostSource> = lost.into_values().collect();
        lost.sort_by_key(|lost| lost.entry.source);
        let owners = self.owners();
        for lost in &mut lost {
            lost.location = files.find(&lost.entry, &owners).await;
            lost.entry.complete |= matches!(lost.location, LineLocation::Done(_));
        }
        if self.topics_can_be_read() {
            let without = lost.iter_mut().filter(|lost| lost.location == LineLocation::Nowhere);
            let mut without: HashMap<u64, &mut LostSource> =
                without.map(|lost| (lost.entry.source, lost)).collect();
            let sources = without.keys().copied().collect();
            for source in on_topics(settings, &data_dir.topics(), sources).await? {
                without.entry(source).and_modify(|lost| lost.location = LineLocation::Topics);
            }
        }
        let unknown = self.unknown(&lost);
        Ok(Findings { lost, unknown })
    }

    fn lost(&self, entry: Entry, lines: Option<u64>) -> LostSource {
        let is_registered = self.registered_as(&entry.identity).is_some();
        let is_taken = !is_registered && self.registered(entry.source).is_some();
        LostSource { entry, is_registered, is_taken, lines, location: LineLocation::Nowhere }
    }

    /// The source of each identity.
    fn owners(&self) -> HashMap<&[u8], u64> {
        let noted = self.noted().map(|entry| (&entry.identity[..], entry.source));
        noted.chain(self.registered.iter().map(|r| (&r.identity[..], r.source))).collect()
    }

    fn last_registered(&self) -> u64 {
        self.registered.last().map_or(0, |registered| registered.source)
    }

    /// Numbers given out after the last registered one whose sources are unknown, as ranges: first and last.
    fn unknown(&self, lost: &[LostSource]) -> Vec<(u64, u64)> {
        let known: BTreeSet<u64> = lost.iter().map(|lost| lost.entry.source).collect();
        let mut next = self.last_registered() + 1;
        let mut unknown = Vec::new();
        for known in known.range(next..) {
            if *known > next {
                unknown.push((next, known - 1));
            }
            next = known + 1;
        }
        unknown
    }
}

/// A source that is known from its file in `done/` alone.
fn done_entry(file: &DoneFile, dataset: &str, print: &Fingerprint, came_before: bool) -> Entry {
    Entry {
        source: file.source,
        dataset: dataset.to_owned(),
        kind: SourceKind::File,
        name: file.name.clone(),
        identity: print.identity(file.source, came_before).to_vec(),
        bytes: Some(print.bytes),
        content: Some(hex::encode(print.content)),
        fingerprint: print.fingerprint.to_vec(),
        first_key: None,
        lines: None,
        complete: true,
    }
}
