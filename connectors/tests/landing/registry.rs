//! A registry and a ledger in memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use tidegate_connectors::csv::{Arrival, Registry};
use tidegate_connectors::postgres::Registration;
use tidegate_core::contract::Error;
use tidegate_core::ledger::{Chunk, Fate, chunk_of};

#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    sources: Vec<Known>,
    ledger: HashMap<u64, BTreeSet<u64>>,
    /// How many calls from now on fail.
    failing: u32,
    /// Source and line of each question to the ledger.
    asked: Vec<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) dataset: String,
    pub(super) name: String,
    pub(super) identity: Vec<u8>,
    pub(super) lines: Option<u64>,
    pub(super) complete: bool,
}

impl Memory {
    fn call(&self) -> Result<std::sync::MutexGuard<'_, State>, Error> {
        let mut state = self.0.lock().unwrap();
        if state.failing > 0 {
            state.failing -= 1;
            return Err(Error::retry("the registry is down"));
        }
        Ok(state)
    }

    pub(super) fn fail(&self, calls: u32) {
        self.0.lock().unwrap().failing = calls;
    }

    pub(super) fn enter(&self, source: u64, line: u64) {
        self.0.lock().unwrap().ledger.entry(source).or_default().insert(line);
    }

    /// Forgets what became of a line, as a Postgres does that is restored to an earlier moment.
    pub(super) fn forget(&self, source: u64, line: u64) {
        let mut state = self.0.lock().unwrap();
        state.ledger.entry(source).or_default().remove(&line);
        let known = &mut state.sources[source as usize - 1];
        (known.complete, known.lines) = (false, None);
    }

    pub(super) fn sources(&self) -> Vec<Known> {
        self.0.lock().unwrap().sources.clone()
    }

    pub(super) fn source(&self, source: u64) -> Known {
        self.sources()[source as usize - 1].clone()
    }

    pub(super) fn finished(&self) -> usize {
        self.sources().iter().filter(|source| source.lines.is_some()).count()
    }

    pub(super) fn asked(&self) -> Vec<(u64, u64)> {
        self.0.lock().unwrap().asked.clone()
    }
}

impl Registry for Memory {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        let Arrival { dataset, name, identity, .. } = file;
        let mut state = self.call()?;
        let known = state.sources.iter().position(|source| source.identity == identity);
        let index = known.unwrap_or_else(|| {
            let (dataset, name, identity) = (dataset.to_owned(), name.to_owned(), identity.to_vec());
            state.sources.push(Known { dataset, name, identity, lines: None, complete: false });
            state.sources.len() - 1
        });
        let Known { lines, complete, .. } = state.sources[index];
        Ok(Registration { source: index as u64 + 1, lines, complete, known: known.is_some() })
    }

    async fn finish(&self, source: u64, lines: u64) -> Result<(), Error> {
        let mut state = self.call()?;
        let source = &mut state.sources[source as usize - 1];
        if !source.complete {
            source.lines = Some(lines);
        }
        Ok(())
    }

    async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        let mut state = self.call()?;
        let mut complete = Vec::new();
        for source in sources {
            let held = state.ledger.get(source).map_or(0, BTreeSet::len) as u64;
            let known = &mut state.sources[*source as usize - 1];
            known.complete |= known.lines == Some(held);
            if known.complete {
                complete.push(*source);
            }
        }
        Ok(complete)
    }

    async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, Error> {
        let mut state = self.call()?;
        state.asked.push((source, line));
        let mut chunk = Chunk::default();
        for held in state.ledger.get(&source).into_iter().flatten() {
            if chunk_of(*held) == chunk_of(line) {
                chunk.enter(*held, Fate::Accepted);
            }
        }
        Ok(chunk)
    }
}
