//! The search for lines of lost sources in files and topics.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use tidegate_core::contract::ConsumerOffset;
use tidegate_core::dead_letter::DeadLetter;
use tidegate_core::record::Line;
use tidegate_engine::read_on;
use tidegate_files::{DoneFile, Fingerprint};
use tidegate_topics::Topics;
use tracing::warn;

use super::lost::LineLocation;
use crate::Failure;
use crate::journal::Entry;
use crate::settings::Settings;

/// The files that may hold lines of lost sources.
pub(super) struct CandidateFiles<'a> {
    settings: &'a Settings,
    done: HashMap<&'a str, Vec<&'a DoneFile>>,
    /// By path and dataset.
    fingerprints: HashMap<(PathBuf, usize), Fingerprint>,
}

impl<'a> CandidateFiles<'a> {
    pub(super) fn new(settings: &'a Settings, files: &'a [DoneFile]) -> Self {
        let mut done: HashMap<_, Vec<_>> = HashMap::new();
        for file in files {
            done.entry(&file.name[..]).or_default().push(file);
        }
        Self { settings, done, fingerprints: HashMap::new() }
    }

    /// Finds a file with the content of a source.
    pub(super) async fn find(&mut self, entry: &Entry, owners: &HashMap<&[u8], u64>) -> LineLocation {
        let manifest = &self.settings.manifest;
        let Some((dataset, _)) = manifest.dataset(&entry.dataset) else { return LineLocation::Nowhere };
        let mut candidates = Vec::new();
        if manifest.dataset_of_file(&entry.name).is_some_and(|(its, _)| its == dataset) {
            candidates.push(LineLocation::Landing(self.settings.landing.join(&entry.name)));
        }
        let mut done: Vec<&DoneFile> =
            self.done.get(&entry.name[..]).into_iter().flatten().copied().collect();
        done.sort_by_key(|file| file.source != entry.source); // its own file first: others may have the same content
        candidates.extend(done.into_iter().map(|file| LineLocation::Done(file.path.clone())));
        for candidate in candidates {
            let (LineLocation::Landing(path) | LineLocation::Done(path)) = &candidate else { continue };
            let bytes = std::fs::symlink_metadata(path).ok().map(|metadata| metadata.len());
            if bytes.is_none() || (entry.bytes.is_some() && entry.bytes != bytes) {
                continue;
            }
            match self.fingerprint(path, &entry.name, dataset).await {
                Ok(print) if print.is(entry.fingerprint(), |own| owners.get(own).copied()) => {
                    return candidate;
                }
                Ok(_) => {}
                Err(error) => warn!("'{}' cannot be read: {error}", path.display()),
            }
        }
        LineLocation::Nowhere
    }

    pub(super) async fn fingerprint(
        &mut self,
        path: &Path,
        name: &str,
        dataset: usize,
    ) -> io::Result<Fingerprint> {
        let key = (path.to_owned(), dataset);
        if let Some(known) = self.fingerprints.get(&key) {
            return Ok(known.clone());
        }
        let print = Fingerprint::of(path, name, dataset, &self.settings.manifest).await?;
        self.fingerprints.insert(key, print.clone());
        Ok(print)
    }
}

/// Those of the given sources that have records on a topic. Embedded topics are in `directory`.
pub(super) async fn on_topics(
    settings: &Settings,
    directory: &Path,
    mut sources: HashSet<u64>,
) -> Result<Vec<u64>, Failure> {
    let manifest = &settings.manifest;
    let mut found = Vec::new();
    if sources.is_empty() || (manifest.fluvio.is_none() && !directory.exists()) {
        return Ok(found);
    }
    let log = settings.topics(directory)?;
    let (letters, own) = (manifest.dead_letters_topic(), manifest.topics());
    for topic in log.list().await?.into_iter().filter(|topic| own.contains(topic)) {
        for partition in 0..manifest.partitions() {
            let next = log.start(&topic, partition).await?;
            let mut cursor = ConsumerOffset { topic: topic.clone(), partition, next };
            while let Some(fetched) = read_on(&mut cursor, &log).await? {
                for record in fetched.batch.iter() {
                    let source = if topic == letters {
                        DeadLetter::parse(record.value).ok().map(|letter| letter.position().source)
                    } else {
                        Line::parse(record.value).map(|line| line.position.source)
                    };
                    found.extend(source.filter(|source| sources.remove(source)));
                }
            }
        }
    }
    Ok(found)
}
