//! The ledger: the fate of every line of a source.
//!
//! A source has four disjoint sets of lines: accepted, rejected, waiting, discarded. **A line in the ledger is a
//! duplicate when it comes again; a line missing from it is still in flight.** The sets are kept in [`Chunk`]s of
//! [`CHUNK_LINES`] lines, so that the cost of a commit grows with the lines of its batch, not with the length of the
//! source.

use std::ops::RangeInclusive;

use roaring::RoaringBitmap;

/// How many lines one chunk covers: the lines `n * CHUNK_LINES + 1 ..= (n + 1) * CHUNK_LINES`.
pub const CHUNK_LINES: u64 = 65_536;

/// The chunk that covers `line`.
pub fn chunk_of(line: u64) -> u64 {
    (line - 1) / CHUNK_LINES
}

words! {
    /// The fate of a line.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Fate {
        /// Accepted: in its table, unless a newer line of its key holds the row.
        Accepted = "accepted",
        /// A dead letter.
        Rejected = "rejected",
        /// A dead letter whose only fault is a reference that does not exist yet.
        Waiting = "waiting",
        /// A dead letter that a user discarded.
        Discarded = "discarded",
    }
}

/// The effects of accepted lines on their table at the time they were accepted. Each line has one effect, so their
/// sum is the number of accepted lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Lines that inserted a row.
    pub inserted: u64,
    /// Lines that updated the row of their key.
    pub updated: u64,
    /// Lines that wrote nothing, because a newer line held their key, in the same batch or before it.
    pub superseded: u64,
    /// Lines accepted by a version of Tidegate that did not count effects.
    pub uncounted: u64,
}

impl Effects {
    /// The words for people, in the order of [`Effects::in_order`].
    pub const NAMES: [&'static str; 4] = ["inserted", "updated", "superseded", "uncounted"];

    /// The counts, in the order in which they are shown.
    pub fn in_order(&self) -> [u64; 4] {
        [self.inserted, self.updated, self.superseded, self.uncounted]
    }

    /// The number of accepted lines.
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

/// The four sets of one chunk of a source's lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    sets: [RoaringBitmap; 4],
}

/// Stored sets that [`Chunk::encode`] did not write.
#[derive(Debug, thiserror::Error)]
pub enum MalformedSet {
    /// The bytes are not a set, or are more than one.
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
    /// If a set cannot be read, has lines that the chunk does not cover, or overlaps another: a decoded chunk has at
    /// most one fate for each line.
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

    /// Reads sets as [`Chunk::decode`] does, but accepts a line with two fates: an audit then names the line.
    ///
    /// # Errors
    ///
    /// If a set cannot be read, or has lines that the chunk does not cover.
    pub fn decode_overlapping(sets: [&[u8]; 4]) -> Result<Self, MalformedSet> {
        let mut chunk = Self::default();
        for (set, bytes) in chunk.sets.iter_mut().zip(sets) {
            if !bytes.is_empty() {
                *set = decode_set(bytes)?;
            }
        }
        Ok(chunk)
    }

    /// The set of a fate in the portable format of roaring bitmaps. An empty set has no bytes.
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

    /// The fate of `line`, counted from 1 in its source. `None` while it is in flight.
    pub fn fate(&self, line: u64) -> Option<Fate> {
        let bit = bit_of(line);
        Fate::ALL.into_iter().find(|fate| self.sets[*fate as usize].contains(bit))
    }

    /// Enters a line in flight with its fate. Returns `false` and changes nothing if the line has a fate already.
    pub fn enter(&mut self, line: u64, fate: Fate) -> bool {
        self.fate(line).is_none() && self.sets[fate as usize].insert(bit_of(line))
    }

    /// Moves a line from one set to another. Returns `false` and changes nothing if the line is not in the first.
    pub fn shift(&mut self, line: u64, from: Fate, to: Fate) -> bool {
        let bit = bit_of(line);
        self.sets[from as usize].remove(bit) && self.sets[to as usize].insert(bit)
    }

    /// Adds the lines of `entered`. Returns `false` and changes nothing if one of them has a fate here.
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

    /// How many lines have this fate.
    pub fn count(&self, fate: Fate) -> u64 {
        self.sets[fate as usize].len()
    }

    /// How many lines have any fate.
    pub fn total(&self) -> u64 {
        self.sets.iter().map(RoaringBitmap::len).sum()
    }

    /// The lines that have this fate, in order. `chunk` is the number of this chunk.
    pub fn lines(&self, chunk: u64, fate: Fate) -> impl Iterator<Item = u64> {
        self.sets[fate as usize].iter().map(move |bit| line_of(chunk, bit))
    }

    /// The lines that are in more than one set, for an audit. No method of a chunk makes such lines.
    pub fn overlaps(&self, chunk: u64) -> impl Iterator<Item = u64> {
        let (mut once, mut twice) = (RoaringBitmap::new(), RoaringBitmap::new());
        for set in &self.sets {
            twice |= &once & set;
            once |= set;
        }
        twice.into_iter().map(move |bit| line_of(chunk, bit))
    }

    /// The ranges of lines that are in no set, up to the line `last` of this chunk.
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
