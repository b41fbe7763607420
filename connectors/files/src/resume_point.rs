//! Which lines of a source need not be emitted again.

use tidegate_core::contract::Error;
use tidegate_core::ledger::{CHUNK_LINES, Chunk, chunk_of};
use tidegate_core::registry::Registry;

/// The lines that are on the raw topic or in the ledger. A resume point only saves work: the ledger decides.
#[derive(Debug)]
pub(super) struct ResumePoint {
    /// Lines up to this one are on the raw topic.
    sent_to: u64,
    /// The chunk of the ledger that covers the lines up to `covered_to`; `None` if it holds no line.
    chunk: Option<Chunk>,
    /// Beyond this line the ledger must be asked again.
    covered_to: u64,
}

impl ResumePoint {
    /// Returns the resume point of a source that was never read: no lines.
    pub(super) fn none() -> Self {
        Self { sent_to: 0, chunk: None, covered_to: u64::MAX }
    }

    /// Returns the resume point of a source with lines up to `sent_to` on the topic, and others perhaps in the
    /// ledger.
    pub(super) fn up_to(sent_to: u64) -> Self {
        Self { covered_to: sent_to, sent_to, ..Self::none() }
    }

    /// Returns whether the ledger must be asked before [`ResumePoint::holds`] can answer for `line`.
    pub(super) fn must_ask(&self, line: u64) -> bool {
        line > self.covered_to
    }

    /// Asks the ledger about the chunk of `line`.
    pub(super) async fn ask(
        &mut self,
        registry: &impl Registry,
        source: u64,
        line: u64,
    ) -> Result<(), Error> {
        self.chunk = Some(registry.ledger_chunk(source, line).await?).filter(|chunk| !chunk.is_empty());
        self.covered_to = (chunk_of(line) + 1) * CHUNK_LINES;
        Ok(())
    }

    /// Returns whether `line` need not be emitted.
    pub(super) fn holds(&self, line: u64) -> bool {
        line <= self.sent_to || self.chunk.as_ref().is_some_and(|chunk| chunk.fate(line).is_some())
    }

    /// Returns the largest line, at least `line`, that is known to have been emitted.
    pub(super) async fn last(&self, registry: &impl Registry, source: u64, line: u64) -> Result<u64, Error> {
        let mut last = line.max(self.sent_to);
        if self.covered_to == u64::MAX {
            return Ok(last);
        }
        let mut first = chunk_of(last + 1) * CHUNK_LINES + 1;
        loop {
            let chunk = registry.ledger_chunk(source, first).await?;
            if chunk.is_empty() {
                return Ok(last);
            }
            let held = (first..first + CHUNK_LINES).rev().find(|line| chunk.fate(*line).is_some());
            last = last.max(held.unwrap_or(0));
            first += CHUNK_LINES;
        }
    }
}
