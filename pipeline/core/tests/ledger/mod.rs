//! The ledger against plain sets.

mod chunk;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidegate_core::ledger::{CHUNK_LINES, Chunk, Fate, MalformedSet, chunk_of};

/// Four sets of lines, of which at most one holds a line.
#[derive(Clone, Debug, Default)]
struct Model([BTreeSet<u64>; 4]);

impl Model {
    fn fate(&self, line: u64) -> Option<Fate> {
        Fate::ALL.into_iter().find(|fate| self.0[*fate as usize].contains(&line))
    }

    fn enter(&mut self, line: u64, fate: Fate) -> bool {
        self.fate(line).is_none() && self.0[fate as usize].insert(line)
    }

    fn shift(&mut self, line: u64, from: Fate, to: Fate) -> bool {
        self.0[from as usize].remove(&line) && self.0[to as usize].insert(line)
    }

    /// Takes in what another holds of one chunk, or nothing.
    fn absorb(&mut self, other: &Self, chunk: u64) -> bool {
        let entered = || other.lines().filter(|(line, _)| chunk_of(*line) == chunk);
        if entered().any(|(line, _)| self.fate(line).is_some()) {
            return false;
        }
        entered().for_each(|(line, fate)| assert!(self.enter(line, fate)));
        true
    }

    fn lines(&self) -> impl Iterator<Item = (u64, Fate)> {
        let sets = Fate::ALL.into_iter().zip(&self.0);
        sets.flat_map(|(fate, set)| set.iter().map(move |line| (*line, fate)))
    }
}

/// A source's ledger: its chunks, as the sink keeps them.
#[derive(Clone, Debug, Default)]
struct Ledger(BTreeMap<u64, Chunk>);

impl Ledger {
    fn chunk(&mut self, line: u64) -> &mut Chunk {
        self.0.entry(chunk_of(line)).or_default()
    }

    fn fate(&self, line: u64) -> Option<Fate> {
        self.0.get(&chunk_of(line)).and_then(|chunk| chunk.fate(line))
    }

    fn count(&self, fate: Fate) -> u64 {
        self.0.values().map(|chunk| chunk.count(fate)).sum()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enter(u64, Fate),
    EnterRun(u64, u64, Fate),
    Shift(u64, Fate, Fate),
    Absorb(Vec<(u64, Fate)>),
    Store,
}

/// Few lines, so that they meet again, at both ends of three chunks and of one far away.
fn line() -> impl Strategy<Value = u64> {
    let chunk = prop_oneof![0..3_u64, Just(1 << 40)];
    let within = prop_oneof![1..20_u64, CHUNK_LINES - 10..=CHUNK_LINES];
    (chunk, within).prop_map(|(chunk, within)| chunk * CHUNK_LINES + within)
}

fn fate() -> impl Strategy<Value = Fate> {
    prop::sample::select(&Fate::ALL[..])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (line(), fate()).prop_map(|(line, fate)| Step::Enter(line, fate)),
        1 => (line(), 1..2_000_u64, fate()).prop_map(|(line, count, fate)| Step::EnterRun(line, count, fate)),
        4 => (line(), fate(), fate()).prop_map(|(line, from, to)| Step::Shift(line, from, to)),
        2 => prop::collection::vec((line(), fate()), 0..6).prop_map(Step::Absorb),
        1 => Just(Step::Store),
    ]
}

fn stored(chunk: &mut Chunk) -> [Vec<u8>; 4] {
    Fate::ALL.map(|fate| chunk.encode(fate))
}

fn decoded(sets: &[Vec<u8>; 4]) -> Result<Chunk, MalformedSet> {
    Chunk::decode([&sets[0], &sets[1], &sets[2], &sets[3]])
}

proptest! {
    #[test]
    fn a_ledger_is_four_sets_of_which_one_holds_a_line(steps in prop::collection::vec(step(), 0..80)) {
        let (mut ledger, mut model) = (Ledger::default(), Model::default());
        for step in steps {
            match step {
                Step::Enter(line, fate) => {
                    prop_assert_eq!(ledger.chunk(line).enter(line, fate), model.enter(line, fate));
                }
                Step::EnterRun(first, count, fate) => {
                    for line in first..first + count {
                        prop_assert_eq!(ledger.chunk(line).enter(line, fate), model.enter(line, fate));
                    }
                }
                Step::Shift(line, from, to) => {
                    prop_assert_eq!(ledger.chunk(line).shift(line, from, to), model.shift(line, from, to));
                }
                Step::Absorb(lines) => {
                    let (mut batch, mut batch_model) = (Ledger::default(), Model::default());
                    for (line, fate) in lines {
                        prop_assert_eq!(batch.chunk(line).enter(line, fate), batch_model.enter(line, fate));
                    }
                    for (number, entered) in &batch.0 {
                        let chunk = ledger.0.entry(*number).or_default();
                        prop_assert_eq!(chunk.absorb(entered), model.absorb(&batch_model, *number));
                    }
                }
                Step::Store => {
                    for chunk in ledger.0.values_mut() {
                        let again = decoded(&stored(chunk)).unwrap();
                        prop_assert_eq!(&again, &*chunk);
                        *chunk = again;
                    }
                }
            }
            for (fate, set) in Fate::ALL.into_iter().zip(&model.0) {
                prop_assert_eq!(ledger.count(fate), set.len() as u64);
            }
            for (number, chunk) in &ledger.0 {
                let total = Fate::ALL.iter().map(|fate| chunk.count(*fate)).sum::<u64>();
                prop_assert_eq!((chunk.total(), chunk.is_empty()), (total, total == 0), "chunk {}", number);
            }
        }
        // With the counts: the same lines and no others, each with one fate.
        prop_assert!(model.lines().all(|(line, fate)| ledger.fate(line) == Some(fate)));
    }

    #[test]
    fn what_is_decoded_has_one_fate_for_each_line_whatever_the_bytes(
        lines in prop::collection::vec((1..=CHUNK_LINES, fate()), 0..40),
        run in 0..6000_u64,
        changes in prop::collection::vec((0..4_usize, any::<prop::sample::Index>(), any::<u8>()), 0..6),
        swap in (0..4_usize, 0..4_usize, any::<bool>()),
    ) {
        let mut chunk = Chunk::default();
        for (line, fate) in lines {
            chunk.enter(line, fate);
        }
        for line in 1..=run {
            chunk.enter(line * 2, Fate::Accepted);
        }
        let mut sets = stored(&mut chunk);
        for (set, at, byte) in changes {
            let bytes = &mut sets[set];
            match bytes.len() {
                0 => bytes.push(byte),
                length => bytes[at.index(length)] = byte,
            }
        }
        if let (from, to, true) = swap {
            sets[to] = sets[from].clone();
        }
        if let Ok(decoded) = decoded(&sets) {
            let found: Vec<_> = (1..=CHUNK_LINES).filter_map(|line| decoded.fate(line)).collect();
            prop_assert_eq!(found.len() as u64, decoded.total());
            for fate in Fate::ALL {
                prop_assert_eq!(found.iter().filter(|found| **found == fate).count() as u64, decoded.count(fate));
            }
        }
    }

    #[test]
    fn no_bytes_make_decoding_panic(
        beginning in prop::sample::select(vec![&b""[..], &[0x3a, 0x30, 0, 0], &[0x3b, 0x30]]),
        bytes in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let bytes = [beginning, &bytes[..]].concat();
        let _ = Chunk::decode([&bytes, b"", b"", b""]);
    }
}

fn set_of(bits: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let mut bytes = Vec::new();
    roaring::RoaringBitmap::from_iter(bits)
        .serialize_into(&mut bytes)
        .expect("a vector takes all that is written to it");
    bytes
}

#[test]
fn sets_that_no_chunk_can_have_are_refused() {
    let (one, two) = (set_of([7]), set_of([7, 8]));
    assert!(Chunk::decode([&two, b"", b"", b""]).is_ok_and(|chunk| chunk.fate(8) == Some(Fate::Accepted)));
    assert!(matches!(Chunk::decode([&two, b"", &one, b""]), Err(MalformedSet::Overlapping)));
    let stray = set_of([7, CHUNK_LINES as u32]);
    assert!(matches!(Chunk::decode([b"", &stray, b"", b""]), Err(MalformedSet::Stray)));
    let longer = [&one[..], b"x"].concat();
    assert!(matches!(Chunk::decode([&longer, b"", b"", b""]), Err(MalformedSet::Unreadable(_))));
}
