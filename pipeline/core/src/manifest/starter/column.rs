//! What the values of one column look like.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::super::{Instant, Kind, is_decimal};

/// How many distinct values are remembered; what was distinct up to there counts as distinct.
const DISTINCT_MAX: usize = 100_000;

/// The share of values that a type must fit, so that a few broken rows do not make a column text.
const FIT_PERCENT: u64 = 90;

/// A column with more empty fields than this is optional.
const EMPTY_PERCENT: u64 = 20;

/// Above this share of values like `007`, numbers are codes, and text.
const CODE_PERCENT: u64 = 1;

/// What was seen of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSample {
    /// From the header, or `column_1` and so on.
    pub name: String,
    /// The narrowest type that nine of ten values fit.
    pub kind: Kind,
    /// How many fields had a value.
    pub filled: u64,
    /// How many fields were empty.
    pub empty: u64,
    /// How many values do not fit the type.
    pub misfits: u64,
    /// Whether no value came twice.
    pub distinct: bool,
}

impl ColumnSample {
    /// How many fields were seen.
    pub fn rows(&self) -> u64 {
        self.filled + self.empty
    }

    /// Whether so many fields are empty that this seems to be meant.
    pub fn optional(&self) -> bool {
        self.empty * 100 > self.rows() * EMPTY_PERCENT
    }

    /// Whether it could be a key: a value in each row, and none twice.
    pub fn identifies(&self) -> bool {
        self.distinct && self.empty == 0 && self.filled > 0
    }
}

/// Counts what the values of a column fit.
#[derive(Debug, Default)]
pub(super) struct Tally {
    filled: u64,
    empty: u64,
    codes: u64,
    integers: u64,
    bigints: u64,
    numbers: u64,
    /// Of the kinds in [`OTHERS`], in their order.
    others: [u64; OTHERS.len()],
    distinct: Distinct,
}

/// The kinds besides numbers and text, in the order in which they are tried.
const OTHERS: [Kind; 5] = [Kind::Boolean, Kind::Date, Kind::Timestamp, Kind::Timestamptz, Kind::Uuid];

const NUMERIC: Kind = Kind::Numeric { precision: None, scale: None };

impl Tally {
    pub(super) fn observe(&mut self, value: &str) {
        if value.is_empty() {
            self.empty += 1;
            return;
        }
        self.filled += 1;
        self.distinct.observe(BuildHasherDefault::<DefaultHasher>::default().hash_one(value));
        if is_code(value) {
            self.codes += 1;
        } else if is_decimal(value) {
            self.integers += u64::from(fits(Kind::Integer, value));
            self.bigints += u64::from(fits(Kind::BigInt, value));
            self.numbers += 1;
        } else if let Some(index) = OTHERS.iter().position(|kind| fits(*kind, value)) {
            self.others[index] += 1;
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind_and_fits().0
    }

    pub(super) fn finish(self, name: String) -> ColumnSample {
        let (kind, fitting) = self.kind_and_fits();
        let Self { filled, empty, distinct, .. } = self;
        let misfits = filled - fitting;
        ColumnSample { name, kind, filled, empty, misfits, distinct: !distinct.repeated }
    }

    fn kind_and_fits(&self) -> (Kind, u64) {
        let enough = |count: u64| self.filled > 0 && count * 100 >= self.filled * FIT_PERCENT;
        if enough(self.numbers) && self.codes * 100 <= self.filled * CODE_PERCENT {
            // Among numbers the widest wins, because a large or a broken one is rarely a mistake.
            let kind = match self.numbers {
                numbers if numbers == self.integers => Kind::Integer,
                numbers if numbers == self.bigints => Kind::BigInt,
                _ => NUMERIC,
            };
            return (kind, self.numbers);
        }
        let other = OTHERS.iter().zip(self.others).find(|(_, count)| enough(*count));
        other.map_or((Kind::Text, self.filled), |(kind, count)| (*kind, count))
    }
}

/// Whether a value is one of that kind.
pub(super) fn fits(kind: Kind, value: &str) -> bool {
    match kind {
        Kind::Integer => value.parse::<i32>().is_ok(),
        Kind::BigInt => value.parse::<i64>().is_ok(),
        Kind::Numeric { .. } => is_decimal(value),
        Kind::Boolean => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
        Kind::Uuid => value.len() == 36 && uuid::Uuid::try_parse(value).is_ok(),
        Kind::Date | Kind::Timestamp | Kind::Timestamptz => Instant::parse(kind, value.as_bytes()).is_ok(),
        _ => true,
    }
}

/// Whether a value looks like a number but would lose its leading zeros as one.
fn is_code(value: &str) -> bool {
    value.len() > 1 && value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a value came twice, by hash.
#[derive(Debug, Default)]
struct Distinct {
    seen: HashSet<u64>,
    repeated: bool,
}

impl Distinct {
    fn observe(&mut self, hash: u64) {
        if self.repeated || self.seen.len() >= DISTINCT_MAX {
            return;
        }
        self.repeated = !self.seen.insert(hash);
        if self.repeated {
            self.seen = HashSet::new();
        }
    }
}
