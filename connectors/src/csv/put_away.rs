//! Files that were moved to `done/`: whether somebody goes on writing to them.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::Path;
use std::time::Duration;

use tidegate_core::contract::Error;
use tidegate_core::manifest::Manifest;
use tokio::time::Instant;

use super::Registry;
use super::done::{DoneFile, Moved, done_files};
use super::file::Stamp;

/// So many files that were moved last are looked at again, this often.
const WATCHED_MAX: usize = 1_000;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many files of earlier processes are looked at together.
const TOGETHER_MAX: usize = 1_000;

/// Files in `done/`.
#[derive(Debug, Default)]
pub(super) struct PutAway {
    watched: VecDeque<Moved>,
    /// When these were looked at last.
    looked: Option<Instant>,
    /// Those of earlier processes that were not looked at yet; `None` while they are not listed.
    earlier: Option<Vec<DoneFile>>,
}

impl PutAway {
    /// Notes a file that was moved.
    pub(super) fn add(&mut self, moved: Moved) {
        if self.watched.len() == WATCHED_MAX {
            self.watched.pop_front();
        }
        self.watched.push_back(moved);
        self.looked = None;
    }

    /// The files that were moved by this process and are longer or shorter now, with their stamps. They are not looked at
    /// again.
    pub(super) fn rewritten(&mut self) -> Vec<(Moved, Stamp)> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Vec::new();
        }
        self.looked = Some(Instant::now());
        let mut rewritten = Vec::new();
        self.watched.retain(|moved| {
            let now = moved.rewritten();
            rewritten.extend(now.map(|stamp| (moved.clone(), stamp)));
            now.is_none()
        });
        rewritten
    }

    /// Of the next files of earlier processes those that are longer or shorter than what was read of them.
    pub(super) async fn rewritten_earlier(
        &mut self,
        landing: &Path,
        manifest: &Manifest,
        registry: &impl Registry,
    ) -> Result<Vec<(Moved, Stamp)>, Error> {
        let earlier = match &mut self.earlier {
            Some(earlier) => earlier,
            None => self.earlier.insert(done_files(landing).map_err(|error| {
                Error::retry(format!("cannot read done/ in '{}': {error}", landing.display()))
            })?),
        };
        let rest = earlier.len().saturating_sub(TOGETHER_MAX);
        let sources: Vec<u64> = earlier[rest..].iter().map(|file| file.source).collect();
        let read = if sources.is_empty() { Vec::new() } else { registry.files_read(&sources).await? };
        let read: HashMap<_, _> =
            read.iter().map(|(source, dataset, bytes)| (*source, (dataset, *bytes))).collect();
        let mut rewritten = Vec::new();
        for DoneFile { path, source, name } in earlier.drain(rest..) {
            let Some((dataset, bytes)) = read.get(&source).copied() else { continue };
            let Some((dataset, _)) = manifest.dataset(dataset) else { continue };
            let moved = Moved { path, name, dataset, bytes };
            if let Some(stamp) = moved.rewritten() {
                rewritten.push((moved, stamp));
            }
        }
        Ok(rewritten)
    }

    /// Whether all files of earlier processes were looked at.
    pub(super) fn is_looked_through(&self) -> bool {
        self.earlier.as_ref().is_some_and(Vec::is_empty)
    }
}

/// Of a file in `done/`, how long it is.
pub fn size_of(file: &DoneFile) -> Option<u64> {
    fs::symlink_metadata(&file.path).ok().map(|metadata| metadata.len())
}
