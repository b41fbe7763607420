//! Detects files in `done/` that a process goes on writing to.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use tidegate_core::contract::Error;
use tidegate_core::manifest::Manifest;
use tidegate_core::registry::Registry;
use tokio::time::Instant;

use crate::done::{DoneFile, MovedFile, done_files};
use crate::file::Stamp;

/// How many of the files that were moved last are checked again, and how often.
const WATCHED_MAX: usize = 1_000;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many files of earlier processes are checked at once.
const TOGETHER_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct PutAway {
    watched: VecDeque<MovedFile>,
    /// When the watched files were last checked.
    looked: Option<Instant>,
    /// Files of earlier processes that are not checked yet; `None` until they are listed.
    earlier: Option<Vec<DoneFile>>,
    /// Files that were found to be rewritten and are not returned yet.
    rewritten: Vec<(MovedFile, Stamp)>,
}

impl PutAway {
    /// Notes a file that was moved.
    pub(super) fn add(&mut self, moved: MovedFile) {
        if self.watched.len() == WATCHED_MAX {
            self.watched.pop_front();
        }
        self.watched.push_back(moved);
        self.looked = None;
    }

    /// Returns the files that are longer or shorter now than the content that was read, with their stamps: those that
    /// this process has moved, and at first those of earlier processes. They are not checked again.
    pub(super) async fn rewritten(
        &mut self,
        landing: &Path,
        manifest: &Manifest,
        registry: &impl Registry,
    ) -> Result<Vec<(MovedFile, Stamp)>, Error> {
        let earlier = match &mut self.earlier {
            Some(earlier) => earlier,
            None => self.earlier.insert(done_files(landing).map_err(|error| {
                Error::retry(format!("cannot read done/ in '{}': {error}", landing.display()))
            })?),
        };
        while !earlier.is_empty() {
            let rest = earlier.len().saturating_sub(TOGETHER_MAX);
            let sources: Vec<u64> = earlier[rest..].iter().map(|file| file.source).collect();
            let read = registry.files_read(&sources).await?;
            let read: HashMap<_, _> =
                read.iter().map(|(source, of, bytes)| (*source, (of, *bytes))).collect();
            for DoneFile { path, source, name } in earlier.drain(rest..) {
                let Some((dataset, bytes)) = read.get(&source).copied() else { continue };
                let Some((dataset, _)) = manifest.dataset(dataset) else { continue };
                let moved = MovedFile { path, name, dataset, bytes };
                self.rewritten.extend(moved.rewritten().map(|stamp| (moved, stamp)));
            }
        }
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            self.looked = Some(Instant::now());
            self.watched.retain(|moved| {
                let now = moved.rewritten();
                self.rewritten.extend(now.map(|stamp| (moved.clone(), stamp)));
                now.is_none()
            });
        }
        Ok(std::mem::take(&mut self.rewritten))
    }
}
