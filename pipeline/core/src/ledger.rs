//! The ledger: what became of every line of a source.
//!
//! Four sets of lines, disjoint: accepted, rejected, waiting, discarded. **A line in the ledger is a
//! duplicate when it comes again; a line missing from it is still in flight.** The sets of a source are
//! kept in [`Chunk`]s of [`CHUNK_LINES`] lines, so that a commit costs by the lines of its batch and
//! not by the length of the source.

use std::ops::RangeInclusive;

use roaring::RoaringBitmap;

/// How many lines one chunk covers: the lines `n * CHUNK_LINES + 1 ..= (n + 1) * CHUNK_LINES`.
pub const CHUNK_LINES: u64 = 65_536;

/// The chunk that covers `line`.
pub fn chunk_of(line: u64) -> u64 {
    (line - 1) / CHUNK_LINES
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// In its table, unless a newer line of its key holds the row.
    Accepted,
    /// A dead letter.
    Rejected,
    /// A dead letter whose only fault is a reference that does not exist yet.
    Waiting,
    /// A dead letter that somebody gave up.
    Discarded,
}

impl Fate {
    /// In the order in which they are stored.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Rejected, Self::Waiting, Self::Discarded];

    /// The column of the ledger, and the word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Waiting => "waiting",
            Self::Discarded => "discarded",
        }
    }
}

/// What accepted lines did to their table when they were accepted: each did one of these, so their sum is the number
/// of accepted lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Lines that made a row.
    pub inserted: u64,
    /// Lines that took the place of what the row of their key was.
    pub updated: u64,
    /// Lines that wrote nothing, because a newer line held their key, in the same batch or before it.
    pub superseded: u64,
    /// Lines accepted by a version of Tidegate that did not count this.
    pub uncounted: u64,
}

impl Effects {
    /// The words for people, in the order of [`Effects::in_order`].
    pub const NAMES: [&'static str; 4] = ["inserted", "updated", "superseded", "uncounted"];

    /// The counts, in the order in which they are shown.
    pub fn in_order(&self) -> [u64; 4] {
        [self.inserted, self.updated, self.superseded, self.uncounted]
    }

    /// How many lines these are.
    pub fn accepted(&self) -> u64 {
        self.in_order().iter().sum()
    }
}

impl std::ops::AddAssign for Effects {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.superseded += other.superseded;
        self.uncounted += other.uncounted;
    }
}

/// The four sets for one stretch of a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    sets: [RoaringBitmap; 4],
}

/// Stored sets that are not what [`Chunk::encode`] writes.
#[derive(Debug, thiserror::Error)]
pub enum MalformedSet {
    /// The bytes are no set, or more than one.
    #[error("the ledger holds a set that cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// A set has lines that its chunk does not cover.
    #[error("the ledger holds a set with lines of another chunk")]
    Stray,
    /// A line is in two sets.
    #[error("the ledger holds a line with two fates")]
    Overlapping,
}

impl Chunk {
    /// Reads the sets, in the order of [`Fate::ALL`], as [`Chunk::encode`] wrote them.
    ///
    /// # Errors
    ///
    /// Sets that a chunk cannot have, so that what is read has one fate for each line, always.
    pub fn decode(sets: [&[u8]; 4]) -> Result<Self, MalformedSet> {
        let chunk = Self::decode_overlapping(sets)?;
        let is_disjoint =
            |(i, set): (usize, &RoaringBitmap)| chunk.sets[..i].iter().all(|s| s.is_disjoint(set));
        if chunk.sets.iter().enumerate().all(is_disjoint) {
            Ok(chunk)
        } else {
            Err(MalformedSet::Overlapping)
        }
    }

    /// The same, but takes a line with two fates as it is: for an audit, which says which.
    ///
    /// # Errors
    ///
    /// Sets that cannot be read, or have lines that the chunk does not cover.
    pub fn decode_overlapping(sets: [&[u8]; 4]) -> Result<Self, MalformedSet> {
        let mut chunk = Self::default();
        for (set, bytes) in chunk.sets.iter_mut().zip(sets) {
            if !bytes.is_empty() {
                *set = decode_set(bytes)?;
            }
        }
        Ok(chunk)
    }

    /// One set in the portable format of roaring bitmaps; an empty set is no bytes.
    pub fn encode(&mut self, fate: Fate) -> Vec<u8> {
        let set = &mut self.sets[fate as usize];
        if set.is_empty() {
            return Vec::new();
        }
        set.optimize();
        let mut bytes = Vec::with_capacity(set.serialized_size());
        set.serialize_into(&mut bytes).expect("a vector takes all that is written to it");
        bytes
    }

    /// What became of `line`, counted from 1 in its source; `None` while it is in flight.
    pub fn fate(&self, line: u64) -> Option<Fate> {
        let bit = bit_of(line);
        Fate::ALL.into_iter().find(|fate| self.sets[*fate as usize].contains(bit))
    }

    /// Notes the fate of a line in flight. `false`, and no change, if the line has one.
    pub fn enter(&mut self, line: u64, fate: Fate) -> bool {
        self.fate(line).is_none() && self.sets[fate as usize].insert(bit_of(line))
    }

    /// Moves a line from one set to another. `false`, and no change, if it was not in the first.
    pub fn shift(&mut self, line: u64, from: Fate, to: Fate) -> bool {
        let bit = bit_of(line);
        self.sets[from as usize].remove(bit) && self.sets[to as usize].insert(bit)
    }

    /// Takes in the lines that `entered` holds. `false`, and no change, if one of them has a fate here.
    pub fn absorb(&mut self, entered: &Self) -> bool {
        let overlaps = |a: &RoaringBitmap| entered.sets.iter().any(|b| !a.is_disjoint(b));
        if self.sets.iter().any(overlaps) {
            return false;
        }
        for (set, new) in self.sets.iter_mut().zip(&entered.sets) {
            *set |= new;
        }
        true
    }

    /// How many lines there are of a fate.
    pub fn count(&self, fate: Fate) -> u64 {
        self.sets[fate as usize].len()
    }

    /// How many lines have a fate.
    pub fn total(&self) -> u64 {
        self.sets.iter().map(RoaringBitmap::len).sum()
    }

    /// The lines of a fate, in order; `chunk` is the number of this chunk.
    pub fn lines(&self, chunk: u64, fate: Fate) -> impl Iterator<Item = u64> {
        self.sets[fate as usize].iter().map(move |bit| line_of(chunk, bit))
    }

    /// The lines that are in more than one set, for an audit: no way leads there.
    pub fn overlaps(&self, chunk: u64) -> impl Iterator<Item = u64> {
        let (mut once, mut twice) = (RoaringBitmap::new(), RoaringBitmap::new());
        for set in &self.sets {
            twice |= &once & set;
            once |= set;
        }
        twice.into_iter().map(move |bit| line_of(chunk, bit))
    }

    /// The stretches of lines, up to `last` of this chunk, that are in no set.
    pub fn holes(&self, chunk: u64, last: u64) -> Vec<RangeInclusive<u64>> {
        let mut missing = RoaringBitmap::new();
        missing.insert_range(0..=bit_of(last));
        self.sets.iter().for_each(|set| missing -= set);
        let mut holes: Vec<RangeInclusive<u64>> = Vec::new();
        for line in missing.into_iter().map(|bit| line_of(chunk, bit)) {
            match holes.last_mut() {
                Some(hole) if hole.end() + 1 == line => *hole = *hole.start()..=line,
                _ => holes.push(line..=line),
            }
        }
        holes
    }

    /// Whether no line has a fate yet.
    pub fn is_empty(&self) -> bool {
        self.sets.iter().all(RoaringBitmap::is_empty)
    }
}

fn decode_set(mut bytes: &[u8]) -> Result<RoaringBitmap, MalformedSet> {
    let set = RoaringBitmap::deserialize_from(&mut bytes).map_err(MalformedSet::Unreadable)?;
    if !bytes.is_empty() {
        return Err(MalformedSet::Unreadable(std::io::ErrorKind::InvalidData.into()));
    }
    match set.max() {
        Some(bit) if u64::from(bit) >= CHUNK_LINES => Err(MalformedSet::Stray),
        _ => Ok(set),
    }
}

fn bit_of(line: u64) -> u32 {
    ((line - 1) % CHUNK_LINES) as u32
}

fn line_of(chunk: u64, bit: u32) -> u64 {
    chunk * CHUNK_LINES + u64::from(bit) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_one_fate_and_keeps_it() {
        let mut chunk = Chunk::default();
        assert!(chunk.enter(1, Fate::Accepted));
        assert!(!chunk.enter(1, Fate::Rejected));
        assert!(chunk.enter(CHUNK_LINES, Fate::Waiting));
        assert_eq!(chunk.fate(1), Some(Fate::Accepted));
        assert_eq!(chunk.fate(2), None);
        assert!(!chunk.shift(1, Fate::Waiting, Fate::Accepted));
        assert!(chunk.shift(CHUNK_LINES, Fate::Waiting, Fate::Accepted));
        assert_eq!((chunk.count(Fate::Accepted), chunk.total()), (2, 2));
    }

    #[test]
    fn sets_survive_being_stored() {
        let mut chunk = Chunk::default();
        for line in 1..=CHUNK_LINES {
            let fate = if line % 29 == 0 { Fate::Rejected } else { Fate::Accepted };
            assert!(chunk.enter(line, fate));
        }
        let sets = Fate::ALL.map(|fate| chunk.encode(fate));
        assert!(sets.iter().map(Vec::len).sum::<usize>() < 17_000);
        let again = Chunk::decode([&sets[0], &sets[1], &sets[2], &sets[3]]).unwrap();
        assert_eq!(again, chunk);
        assert!(Chunk::decode([b"x", b"", b"", b""]).is_err());
    }

    #[test]
    fn an_audit_sees_lines_holes_and_overlaps() {
        let mut chunk = Chunk::default();
        let first = CHUNK_LINES + 1;
        for line in [first + 1, first + 4] {
            assert!(chunk.enter(line, Fate::Accepted));
        }
        assert_eq!(chunk.lines(1, Fate::Accepted).collect::<Vec<_>>(), [first + 1, first + 4]);
        assert_eq!(chunk.holes(1, first + 5), [first..=first, first + 2..=first + 3, first + 5..=first + 5]);
        assert_eq!(chunk.overlaps(1).count(), 0);
        let set = chunk.encode(Fate::Accepted);
        let torn = Chunk::decode_overlapping([&set, b"", &set, b""]).unwrap();
        assert!(Chunk::decode([&set, b"", &set, b""]).is_err());
        assert_eq!(torn.overlaps(1).collect::<Vec<_>>(), [first + 1, first + 4]);
    }

    #[test]
    fn a_chunk_covers_its_lines() {
        assert_eq!((chunk_of(1), chunk_of(CHUNK_LINES), chunk_of(CHUNK_LINES + 1)), (0, 0, 1));
    }
}
