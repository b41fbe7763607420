//! A registry and a ledger in memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use tidegate_core::contract::Error;
use tidegate_core::ledger::{Chunk, Fate, chunk_of};
use tidegate_core::registry::{Arrival, ArrivalRole, KeysNeeded, Registration, Registry};
use tidegate_core::shape::Shape;
use tidegate_core::split::SkippedLines;

#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    sources: Vec<Known>,
    ledger: HashMap<u64, BTreeSet<u64>>,
    /// What reloads have become, and why others are refused.
    reloads: HashMap<u64, usize>,
    refused: HashMap<u64, String>,
    /// How many numbers of sequences were taken.
    taken: u64,
    /// How many calls from now on fail.
    failing: u32,
    /// Source and line of each question to the ledger.
    asked: Vec<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) dataset: String,
    pub(super) name: String,
    pub(super) fingerprint: Vec<u8>,
    pub(super) bytes: u64,
    pub(super) awaited: bool,
    pub(super) lines: Option<u64>,
    pub(super) complete: bool,
    pub(super) shape: Arc<Shape>,
    pub(super) skipped: Option<SkippedLines>,
    pub(super) first_key: Option<i64>,
}

impl State {
    fn first_key(&mut self, keys: KeysNeeded) -> i64 {
        match keys {
            KeysNeeded::Uuid => 1_700_000_000_000,
            KeysNeeded::Numbers { start, lines } => {
                self.taken += lines;
                start.saturating_add_unsigned(self.taken - lines)
            }
        }
    }
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

    /// Changes the shape of a source, as an earlier version stored another one.
    pub(super) fn change_shape(&self, source: u64, change: impl FnOnce(&mut Shape)) {
        let mut state = self.0.lock().unwrap();
        change(Arc::make_mut(&mut state.sources[source as usize - 1].shape));
    }

    pub(super) fn finished(&self) -> usize {
        self.sources().iter().filter(|source| source.lines.is_some()).count()
    }

    /// Why a reload is refused.
    pub(super) fn refused(&self, reload: u64) -> Option<String> {
        self.0.lock().unwrap().refused.get(&reload).cloned()
    }

    pub(super) fn asked(&self) -> Vec<(u64, u64)> {
        self.0.lock().unwrap().asked.clone()
    }
}

impl Registry for Memory {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        let Arrival { dataset, name, fingerprint, bytes, role, shape, keys, .. } = file;
        let mut state = self.call()?;
        let is_awaited = |known: &Known| known.awaited && !known.complete && known.fingerprint == fingerprint;
        let newest = state.sources.iter().rposition(|known| known.dataset == dataset && known.name == name);
        let above = if let ArrivalRole::Behind(source) = role { source as usize } else { 0 };
        let is_same = |index: &usize| state.sources[*index].fingerprint == fingerprint && *index >= above;
        let known = match role {
            ArrivalRole::Lost(source) => Some(source as usize - 1),
            ArrivalRole::Reload(reload) => state.reloads.get(&reload).copied(),
            _ => state.sources.iter().position(is_awaited).or_else(|| newest.filter(is_same)),
        };
        let index = known.unwrap_or_else(|| {
            let (dataset, name, fingerprint) = (dataset.to_owned(), name.to_owned(), fingerprint.to_vec());
            let (lines, skipped) = (None, None);
            let (complete, awaited) = (false, false);
            let shape = Arc::new(shape.clone());
            let first_key = keys.map(|keys| state.first_key(keys));
            let known = Known {
                dataset,
                name,
                fingerprint,
                bytes,
                awaited,
                lines,
                complete,
                shape,
                skipped,
                first_key,
            };
            state.sources.push(known);
            state.sources.len() - 1
        });
        if let ArrivalRole::Reload(reload) = role {
            state.reloads.insert(reload, index);
        }
        let Known { lines, complete, ref shape, first_key, .. } = state.sources[index];
        let shape = known.map(|_| shape.clone());
        let (source, identity) = (index as u64 + 1, vec![index as u8]);
        Ok(Registration { source, lines, complete, known: known.is_some(), identity, shape, first_key })
    }

    async fn shape(&self, fingerprint: &[u8; 32]) -> Result<Option<Arc<Shape>>, Error> {
        let state = self.call()?;
        let known = state.sources.iter().find(|source| source.fingerprint == fingerprint && !source.complete);
        Ok(known.map(|source| source.shape.clone()))
    }

    async fn finish(&self, source: u64, lines: u64, skipped: Option<&SkippedLines>) -> Result<(), Error> {
        let mut state = self.call()?;
        let source = &mut state.sources[source as usize - 1];
        if !source.complete {
            source.lines = Some(lines);
            source.skipped = skipped.cloned().or(source.skipped.take());
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

    async fn files_read(&self, sources: &[u64]) -> Result<Vec<(u64, String, u64)>, Error> {
        let state = self.call()?;
        let read = sources.iter().filter_map(|number| {
            let known = state.sources.get(*number as usize - 1).filter(|known| known.complete)?;
            Some((*number, known.dataset.clone(), known.bytes))
        });
        Ok(read.collect())
    }

    async fn await_file(&self, source: u64) -> Result<(), Error> {
        self.call()?.sources[source as usize - 1].awaited = true;
        Ok(())
    }

    async fn refuse_reload(&self, reload: u64, why: &str) -> Result<(), Error> {
        self.call()?.refused.insert(reload, why.to_owned());
        Ok(())
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
