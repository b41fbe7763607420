//! Which lines of a source need not be given out again.

use tidegate_core::contract::Error;
use tidegate_core::ledger::{CHUNK_LINES, Chunk, chunk_of};

use super::Registry;

/// The lines that are on the raw topic or in the ledger. It saves work only: the ledger decides.
#[derive(Debug)]
pub(super) struct Passed {
    /// Lines up to here are on the raw topic.
    sent_to: u64,
    /// The chunk of the ledger for the lines up to `covered_to`.
    chunk: Chunk,
    /// Whether the chunk holds no line.
    chunk_is_empty: bool,
    /// Behind this line the ledger must be asked again.
    covered_to: u64,
}

impl Passed {
    /// Of a source that was never read before: none.
    pub(super) fn none() -> Self {
        Self { sent_to: 0, chunk: Chunk::default(), chunk_is_empty: true, covered_to: u64::MAX }
    }

    /// Lines up to `sent_to`, and what the ledger holds.
    pub(super) fn up_to(sent_to: u64) -> Self {
        Self { covered_to: sent_to, sent_to, ..Self::none() }
    }

    /// Whether the ledger must be asked before [`Passed::holds`] can tell about `line`.
    pub(super) fn must_ask(&self, line: u64) -> bool {
        line > self.covered_to
    }

    /// Asks the ledger about `line` and those around it.
    pub(super) async fn ask(
        &mut self,
        registry: &impl Registry,
        source: u64,
        line: u64,
    ) -> Result<(), Error> {
        self.chunk = registry.ledger_chunk(source, line).await?;
        self.chunk_is_empty = self.chunk.is_empty();
        self.covered_to = (chunk_of(line) + 1) * CHUNK_LINES;
        Ok(())
    }

    /// Whether `line` need not be given out.
    pub(super) fn holds(&self, line: u64) -> bool {
        line <= self.sent_to || (!self.chunk_is_empty && self.chunk.fate(line).is_some())
    }

    /// The largest line, not before `line`, that is known to have been given out.
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
