//! The ledger against four plain sets.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tidegate_core::ledger::{CHUNK_LINES, Chunk, Fate};

/// Four sets, of which at most one holds a line.
#[derive(Clone, Debug, Default)]
struct Model([BTreeSet<u64>; 4]);

impl Model {
    fn holds(&self, line: u64) -> bool {
        self.0.iter().any(|set| set.contains(&line))
    }

    fn enter(&mut self, line: u64, fate: Fate) -> bool {
        !self.holds(line) && self.0[fate as usize].insert(line)
    }

    fn shift(&mut self, line: u64, from: Fate, to: Fate) -> bool {
        self.0[from as usize].remove(&line) && self.0[to as usize].insert(line)
    }

    fn absorb(&mut self, other: &Self) -> bool {
        if other.0.iter().flatten().any(|line| self.holds(*line)) {
            return false;
        }
        for (set, entered) in self.0.iter_mut().zip(&other.0) {
            set.extend(entered);
        }
        true
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enter(u64, Fate),
    Shift(u64, Fate, Fate),
    Absorb(Vec<(u64, Fate)>),
    Store,
}

/// Few lines, so that they meet again; of the chunk behind the first, so that numbers are large.
fn line() -> impl Strategy<Value = u64> {
    prop_oneof![1..40_u64, CHUNK_LINES - 20..=CHUNK_LINES].prop_map(|line| CHUNK_LINES + line)
}

fn fate() -> impl Strategy<Value = Fate> {
    prop::sample::select(&Fate::ALL[..])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (line(), fate()).prop_map(|(line, fate)| Step::Enter(line, fate)),
        4 => (line(), fate(), fate()).prop_map(|(line, from, to)| Step::Shift(line, from, to)),
        2 => prop::collection::vec((line(), fate()), 0..6).prop_map(Step::Absorb),
        1 => Just(Step::Store),
    ]
}

proptest! {
    #[test]
    fn a_chunk_is_four_sets_of_which_one_holds_a_line(steps in prop::collection::vec(step(), 0..80)) {
        let (mut chunk, mut model) = (Chunk::default(), Model::default());
        for step in steps {
            match step {
                Step::Enter(line, fate) => {
                    prop_assert_eq!(chunk.enter(line, fate), model.enter(line, fate));
                }
                Step::Shift(line, from, to) => {
                    prop_assert_eq!(chunk.shift(line, from, to), model.shift(line, from, to));
                }
                Step::Absorb(lines) => {
                    let (mut batch, mut batch_model) = (Chunk::default(), Model::default());
                    for (line, fate) in lines {
                        prop_assert_eq!(batch.enter(line, fate), batch_model.enter(line, fate));
                    }
                    prop_assert_eq!(chunk.absorb(&batch), model.absorb(&batch_model));
                }
                Step::Store => {
                    let sets = Fate::ALL.map(|fate| chunk.encode(fate));
                    let stored = Chunk::decode([&sets[0], &sets[1], &sets[2], &sets[3]]).unwrap();
                    prop_assert_eq!(&stored, &chunk);
                    chunk = stored;
                }
            }
            for (fate, set) in Fate::ALL.into_iter().zip(&model.0) {
                prop_assert_eq!(chunk.count(fate), set.len() as u64);
                prop_assert!(set.iter().all(|line| chunk.fate(*line) == Some(fate)));
            }
            prop_assert_eq!(chunk.total(), model.0.iter().flatten().count() as u64);
            prop_assert_eq!(chunk.is_empty(), chunk.total() == 0);
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = Chunk::decode([&bytes, b"", b"", b""]);
    }
}
