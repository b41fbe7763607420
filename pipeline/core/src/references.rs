//! The state of the transform: which keys of the referenced datasets are known.
//!
//! The state only routes. The sink decides references, so the state may be lost, stale or approximate: it keeps
//! hashes of keys, and beyond its limit it lets records pass undecided.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashSet};

use crate::kind::Kind;
use crate::spelling::integer;

/// The known keys of the datasets.
#[derive(Debug)]
pub struct KnownKeys {
    hasher: DefaultHashBuilder,
    /// By dataset. `None` if no dataset references it, or if it has too many keys to keep.
    sets: Vec<Option<HashSet<u64>>>,
    room: usize,
}

impl KnownKeys {
    /// Knows no key yet. Keeps keys of the datasets marked in `referenced`, at most `limit` in all.
    pub fn new(referenced: &[bool], limit: usize) -> Self {
        let sets = referenced.iter().map(|is_referenced| is_referenced.then(HashSet::new)).collect();
        Self { hasher: DefaultHashBuilder::default(), sets, room: limit }
    }

    /// Whether keys of a dataset are kept, so that it is worth reading them.
    pub fn is_wanted(&self, dataset: usize) -> bool {
        self.sets[dataset].is_some()
    }

    /// Learns a key of a dataset, as records on topics have it: the parts of a key of several columns are joined by
    /// commas. `kinds` are the types of the parts. Beyond the limit the dataset is given up.
    pub fn learn(&mut self, dataset: usize, kinds: &[Kind], key: &[u8]) {
        let Some(set) = &mut self.sets[dataset] else { return };
        if set.insert(hash(&self.hasher, kinds, key)) {
            match self.room.checked_sub(1) {
                Some(room) => self.room = room,
                None => self.give_up(dataset),
            }
        }
    }

    /// Forgets the keys of a dataset and lets every reference to it pass.
    pub fn give_up(&mut self, dataset: usize) {
        self.room += self.sets[dataset].take().map_or(0, |set| set.len());
    }

    /// Whether a key of a dataset may exist: its hash is known, or the dataset's keys are not kept.
    pub fn may_exist(&self, dataset: usize, kinds: &[Kind], key: &[u8]) -> bool {
        match &self.sets[dataset] {
            Some(set) => set.contains(&hash(&self.hasher, kinds, key)),
            None => true,
        }
    }
}

/// The hash of a key, which all spellings of an integer share.
fn hash(hasher: &DefaultHashBuilder, kinds: &[Kind], key: &[u8]) -> u64 {
    let part = |kind: Kind, part: &[u8]| match integer(kind, part) {
        Some(number) => hasher.hash_one(number),
        None => hasher.hash_one(part),
    };
    if let [kind] = kinds {
        return part(*kind, key);
    }
    // A part of text may hold commas too. Such a key is known in one spelling; in another one its line waits for the sink.
    let parts = || key.split(|byte| *byte == b',');
    if parts().count() != kinds.len() {
        return hasher.hash_one(key);
    }
    kinds.iter().zip(parts()).fold(0, |hash, (kind, text)| hasher.hash_one((hash, part(*kind, text))))
}
