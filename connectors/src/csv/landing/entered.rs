//! What entered another way: lines of requests, files of the spool.

use std::io;

use tidegate_core::contract::Intake;

use super::{Landing, State};
use crate::csv::file::Opened;
use crate::csv::inbox::{Body, Entered};
use crate::csv::passed::Passed;
use crate::csv::reading::{Content, Reading, Unfit, give_lines};
use crate::csv::registry::Registry;

impl<R: Registry> Landing<R> {
    /// The lines of requests that have come, of one dataset and not many more than an intake holds.
    pub(super) fn give_requests(&mut self) -> Option<Intake> {
        let first = self.inbox.next_lines(&self.stopped)?;
        let mut intake = Intake { dataset: first.dataset, ..Intake::default() };
        let mut next = Some(first);
        while let Some(entered) = next {
            let Body::Lines(text) = &entered.body else { break };
            let dataset = &self.manifest.datasets[entered.dataset];
            let validator = &self.validators[entered.dataset];
            let lines = (entered.source, &text[..], entered.shape.as_deref());
            give_lines(lines, dataset, validator, self.manifest.max_record_bytes, &mut intake);
            self.pending.add_request(entered);
            next = (intake.records.as_bytes().len() < self.block_bytes)
                .then(|| self.inbox.next_lines(&self.stopped))
                .flatten();
            if next.as_ref().is_some_and(|entered| entered.dataset != intake.dataset) {
                next.take().into_iter().for_each(|entered| self.inbox.push_front(entered));
            }
        }
        Some(intake)
    }

    /// Opens the next file of the spool. `false` if there is none.
    pub(super) fn take_spooled(&mut self) -> bool {
        while let Some(entered) = self.inbox.next_file() {
            let Entered { source, dataset, name, shape, body } = entered;
            let Body::File { path, content, known, lines, keys } = body else { continue };
            if self.stopped.contains(&dataset) {
                continue;
            }
            let opened = Opened::spooled(path.clone(), name, dataset, content);
            let content = opened.map_err(Unfit::Failed).and_then(|opened| {
                Content::start(Opened { keys, shape, ..opened }, &self.manifest, self.block_bytes)
            });
            match content {
                Ok(content) => {
                    let sent_to = self.already_sent.get(&source).copied().unwrap_or(0);
                    let passed = if known { Passed::up_to(sent_to) } else { Passed::none() };
                    let reading = Reading::new(source, content, passed, lines.unwrap_or(0).max(sent_to));
                    self.state = State::Reading(Box::new(reading));
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
