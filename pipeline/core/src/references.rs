//! The state of the transform: which keys of the referenced datasets are known.
//!
//! The state only routes. The sink decides references, so the state may be lost, stale or approximate:
//! it keeps fingerprints, and beyond its limit it lets records pass undecided.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashSet};

use crate::decimal::{compare_decimals, is_decimal};
use crate::instant::Instant;
use crate::manifest::Kind;

/// A key in a form that is the same for all texts which Postgres reads as the same key: of an integer
/// without sign and leading zeros. Of types with more ways to write a value it is the text as it stands.
pub fn normal_key(kind: Kind, key: &[u8]) -> Vec<u8> {
    match integer(kind, key) {
        Some(number) => number.to_string().into_bytes(),
        None => key.to_vec(),
    }
}

/// Whether two texts are one key to Postgres, as far as both can be read as values of that kind.
pub fn same_key(kind: Kind, a: &[u8], b: &[u8]) -> bool {
    fn equal<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
        a.is_some() && a == b
    }
    let digits = |text: &[u8]| -> Vec<u8> {
        let digits = text.iter().filter(|byte| byte.is_ascii_hexdigit());
        digits.map(u8::to_ascii_lowercase).collect()
    };
    let instant = |text| Instant::parse(kind, text).ok();
    a == b
        || match kind {
            Kind::Numeric { .. } | Kind::Real | Kind::Double => {
                let texts = std::str::from_utf8(a).ok().zip(std::str::from_utf8(b).ok());
                texts.is_some_and(|(a, b)| is_decimal(a) && is_decimal(b) && compare_decimals(a, b).is_eq())
            }
            Kind::Uuid => digits(a).len() == 32 && digits(a) == digits(b),
            _ if kind.is_instant() => equal(instant(a), instant(b)),
            _ => equal(integer(kind, a), integer(kind, b)),
        }
}

fn integer(kind: Kind, key: &[u8]) -> Option<i64> {
    match kind {
        Kind::SmallInt | Kind::Integer | Kind::BigInt => std::str::from_utf8(key).ok()?.parse().ok(),
        _ => None,
    }
}

/// Hashes keys; texts with one [`normal_key`] have one fingerprint.
#[derive(Debug, Default)]
struct Fingerprinter {
    hasher: DefaultHashBuilder,
}

impl Fingerprinter {
    fn of(&self, kind: Kind, key: &[u8]) -> u64 {
        match integer(kind, key) {
            Some(number) => self.hasher.hash_one(number),
            None => self.hasher.hash_one(key),
        }
    }
}

/// The known keys of the datasets.
#[derive(Debug)]
pub struct KnownKeys {
    fingerprinter: Fingerprinter,
    /// By dataset; `None` where nobody references it or there are too many keys to know.
    sets: Vec<Option<HashSet<u64>>>,
    room: usize,
}

impl KnownKeys {
    /// No key known yet of the datasets marked in `referenced`; at most `limit` keys in all.
    pub fn new(referenced: &[bool], limit: usize) -> Self {
        let sets = referenced.iter().map(|is_referenced| is_referenced.then(HashSet::new)).collect();
        Self { fingerprinter: Fingerprinter::default(), sets, room: limit }
    }

    /// Whether the keys of a dataset are worth telling.
    pub fn is_wanted(&self, dataset: usize) -> bool {
        self.sets[dataset].is_some()
    }

    /// Learns a key of a dataset. Past the limit the dataset is given up: all its keys may exist.
    pub fn learn(&mut self, dataset: usize, kind: Kind, key: &[u8]) {
        let Some(set) = &mut self.sets[dataset] else { return };
        if set.insert(self.fingerprinter.of(kind, key)) {
            match self.room.checked_sub(1) {
                Some(room) => self.room = room,
                None => self.give_up(dataset),
            }
        }
    }

    /// Lets every reference to a dataset pass.
    pub fn give_up(&mut self, dataset: usize) {
        self.room += self.sets[dataset].take().map_or(0, |set| set.len());
    }

    /// Whether a key of a dataset may exist, as far as is known here.
    pub fn may_exist(&self, dataset: usize, kind: Kind, key: &[u8]) -> bool {
        match &self.sets[dataset] {
            Some(set) => set.contains(&self.fingerprinter.of(kind, key)),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_one_value_are_the_same_key() {
        let same = |kind, a: &str, b: &str| same_key(kind, a.as_bytes(), b.as_bytes());
        let numeric = Kind::Numeric { precision: None, scale: None };
        let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        assert!(same(Kind::Integer, "007", "+7") && !same(Kind::Integer, "7", "70"));
        assert!(same(Kind::Integer, "x", "x") && !same(Kind::Integer, "x", "y"), "no integers, but texts");
        assert!(same(numeric, "1.50", "15e-1") && !same(numeric, "1", "2") && !same(numeric, "a", "b"));
        assert!(same(Kind::Uuid, uuid, &uuid.to_uppercase().replace('-', "")));
        assert!(!same(Kind::Uuid, uuid, &uuid.replace('9', "8")) && !same(Kind::Uuid, "x-y", "z"));
        assert!(same(Kind::Timestamptz, "2021-01-01T00:00:00Z", "2021-01-01 01:00+01"));
        assert!(!same(Kind::Date, "2021-01-01", "2021-01-02") && !same(Kind::Date, "soon", "later"));
        assert!(!same(Kind::Text, "a", "A"));
    }

    #[test]
    fn keys_are_known_by_value_and_given_up_beyond_the_limit() {
        let mut known = KnownKeys::new(&[true, false], 2);
        assert!(!known.may_exist(0, Kind::Integer, b"7"));
        assert!(known.may_exist(1, Kind::Integer, b"7"), "nobody keeps the keys of dataset 1");
        known.learn(0, Kind::Integer, b"007");
        assert!(known.may_exist(0, Kind::Integer, b"+7"));
        known.learn(0, Kind::Integer, b"8");
        assert!(!known.may_exist(0, Kind::Integer, b"9"));
        known.learn(0, Kind::Integer, b"10");
        assert!(known.may_exist(0, Kind::Integer, b"9"), "too many keys: undecided");
    }
}
