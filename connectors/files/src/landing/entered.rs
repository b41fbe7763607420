//! Sources that did not come through the landing folder: lines of requests, and files of the spool.

use std::io;

use tidegate_core::contract::SourceBatch;
use tidegate_core::registry::Registry;

use super::Landing;
use crate::content::FileFault;
use crate::file::OpenFile;
use crate::inbox::{Body, EnteredSource};
use crate::reading::give_lines;

impl<R: Registry> Landing<R> {
    /// Returns lines of requests, of one dataset, and not many more than a batch holds.
    pub(super) fn give_requests(&mut self) -> Option<SourceBatch> {
        let mut entered = self.inbox.next_lines(&self.stopped, None)?;
        let mut batch = SourceBatch { dataset: entered.dataset, ..SourceBatch::default() };
        let dataset = &self.manifest.datasets[entered.dataset];
        let validators = &self.validators[entered.dataset];
        while let Body::Lines(text) = &entered.body {
            let shape = entered.shape.as_deref();
            let max_record_bytes = self.manifest.max_record_bytes;
            give_lines(entered.source, text, shape, dataset, validators, max_record_bytes, &mut batch);
            self.pending.add_request(entered);
            let has_room = batch.records.as_bytes().len() < self.block_bytes;
            let next = || self.inbox.next_lines(&self.stopped, Some(batch.dataset));
            let Some(next) = has_room.then(next).flatten() else { break };
            entered = next;
        }
        Some(batch)
    }

    /// Opens the next file of the spool. Returns `false` if there is none.
    pub(super) fn take_spooled(&mut self) -> bool {
        while let Some(entered) = self.inbox.next_file() {
            let EnteredSource { source, dataset, name, shape, body } = entered;
            let Body::File { path, content, known, lines, keys } = body else { continue };
            if self.stopped.contains(&dataset) {
                continue;
            }
            let opened = OpenFile::spooled(path.clone(), name, dataset, content);
            let opened = opened.map_err(FileFault::from);
            match opened.and_then(|opened| self.content(OpenFile { keys, shape, ..opened })) {
                Ok(content) => {
                    self.begin_reading(source, content, known, lines);
                    return true;
                }
                Err(unfit) => {
                    let (path, error) = (path.display(), io::Error::from(unfit));
                    tracing::error!(
                        source,
                        "'{path}' in the spool cannot be read: {error}; the source stays incomplete: send it again under \
                         its key"
                    );
                }
            }
        }
        false
    }
}
