//! What the values of one column look like.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::super::{Instant, Kind, is_decimal};
use super::dates::Dates;
use super::markers::{MARKERS, marker_of};
use super::numbers::NumberStyles;
use super::shapes::TextTraits;
use crate::spelling::Value;

/// The share of values that must fit a type, so that a few broken rows do not make a column text.
const FIT_PERCENT: u64 = 90;

/// A column with more empty fields than this is optional.
const EMPTY_PERCENT: u64 = 20;

/// A key may be missing in this share of rows, which are then taken for broken.
const LACKING_PERCENT: u64 = 5;

/// If the share of values like `007` is larger, the column holds codes, which are text.
const CODE_PERCENT: u64 = 1;

/// What the sample shows of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSample {
    /// The name in the header, or `column_1` and so on.
    pub name: String,
    /// The name in the header, if a table cannot have it.
    pub renamed: Option<String>,
    /// The narrowest type that nine of ten values fit, and as which no value is loaded with another meaning.
    pub kind: Kind,
    /// What the values mean, if the manifest's types cannot read them as they are written.
    pub meaning: Option<Meaning>,
    /// How many fields had a value.
    pub filled: u64,
    /// How many fields were empty.
    pub empty: u64,
    /// How many values do not fit the type.
    pub misfits: u64,
    /// How often each text was seen that seems to mean a missing value, in the order of [`MARKERS`]. A column of text
    /// counts these as values too.
    pub(super) markers: [u64; MARKERS.len()],
    /// How many of these were in quotes. The pipeline takes them for values.
    pub(super) quoted_markers: u64,
    /// How many values are whole numbers that fit into eight bytes.
    pub(super) whole: u64,
    /// The average length of texts, in bytes.
    pub(super) length: u64,
    /// A hash of each value, in the order of rows; 0 if the value is missing.
    pub(super) hashes: Vec<u64>,
    /// Whether no value occurs twice.
    pub(super) distinct: bool,
}

/// The meaning of values that the manifest's types cannot read as they are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    /// The type that they would have.
    pub kind: Kind,
    /// How they are written.
    pub how: String,
    /// One of the values.
    pub example: String,
    /// Whether all values allow only this reading.
    pub sure: bool,
}

impl ColumnSample {
    /// How many fields were seen.
    pub fn rows(&self) -> u64 {
        self.filled + self.empty + self.missing()
    }

    /// How many fields hold a text that means a missing value.
    pub(super) fn missing(&self) -> u64 {
        if self.is_text() { 0 } else { self.marked() }
    }

    /// How many fields hold a text that may mean a missing value.
    pub(super) fn marked(&self) -> u64 {
        self.markers.iter().sum()
    }

    /// Whether the values are plain text.
    pub(super) fn is_text(&self) -> bool {
        self.kind == Kind::Text && self.meaning.is_none()
    }

    /// Whether so many fields are empty that the column seems to be optional.
    pub fn optional(&self) -> bool {
        self.empty * 100 > self.rows() * EMPTY_PERCENT
    }

    /// Whether the column could be a key: each row has a value, except a few broken rows, and none occurs twice.
    pub fn identifies(&self) -> bool {
        let lacking = self.empty + self.missing();
        self.distinct && self.filled > 0 && lacking * 100 <= self.rows() * LACKING_PERCENT
    }

    /// Whether the values are integers, except a few broken ones.
    pub(super) fn is_whole(&self) -> bool {
        let is_number = matches!(self.kind, Kind::Integer | Kind::BigInt | Kind::Numeric { .. });
        is_number && self.whole * 100 >= (self.filled - self.misfits) * (100 - CODE_PERCENT)
    }
}

/// Counts the types that the values of a column fit.
#[derive(Debug, Default)]
pub(super) struct ColumnTally {
    pub(super) filled: u64,
    empty: u64,
    codes: u64,
    integers: u64,
    bigints: u64,
    numbers: u64,
    json: u64,
    /// By kind, in the order of [`OTHERS`].
    others: [u64; OTHERS.len()],
    /// By pair, in the order of [`WORDS`], for each of the two words.
    words: [[u64; 2]; WORDS.len()],
    numbers_as_written: NumberStyles,
    dates: Dates,
    markers: [u64; MARKERS.len()],
    quoted_markers: u64,
    bytes: u64,
    pub(super) shapes: TextTraits,
    hashes: Vec<u64>,
}

/// The kinds other than numbers and text, in the order in which they are tried.
const OTHERS: [Kind; 6] =
    [Kind::Boolean, Kind::Date, Kind::Timestamp, Kind::Timestamptz, Kind::Time, Kind::Uuid];

/// Other words for true and false. They count as such only if both words of a pair are in the column.
const WORDS: [[&str; 2]; 4] = [["yes", "no"], ["y", "n"], ["t", "f"], ["on", "off"]];

impl ColumnTally {
    /// A tally of a column whose first row holds this text.
    pub(super) fn below(first: &str) -> Self {
        Self { shapes: TextTraits::below(first), ..Self::default() }
    }

    pub(super) fn observe(&mut self, value: &str, quoted: bool) {
        if value.is_empty() {
            self.empty += 1;
            self.hashes.push(0);
            return;
        }
        self.hashes.push(hash(value));
        if let Some(marker) = marker_of(value) {
            self.markers[marker] += 1;
            self.quoted_markers += u64::from(quoted);
            return;
        }
        self.filled += 1;
        self.bytes += value.len() as u64;
        self.shapes.observe(value);
        self.numbers_as_written.observe(value);
        if is_code(value) {
            self.codes += 1;
        } else if is_decimal(value) {
            self.integers += u64::from(fits(Kind::Integer, value));
            self.bigints += u64::from(fits(Kind::BigInt, value));
            self.numbers += 1;
        } else if let Some(index) = OTHERS.iter().position(|kind| fits(*kind, value)) {
            self.others[index] += 1;
        } else if value.starts_with(['{', '[']) {
            self.json += u64::from(serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok());
        } else {
            self.dates.observe(value);
            for (counts, words) in self.words.iter_mut().zip(WORDS) {
                for (count, word) in counts.iter_mut().zip(words) {
                    *count += u64::from(value.eq_ignore_ascii_case(word));
                }
            }
        }
    }

    /// Whether all fields were empty.
    pub(super) fn is_blank(&self) -> bool {
        self.filled == 0 && self.markers.iter().all(|count| *count == 0)
    }

    /// A tally of this value alone.
    pub(super) fn of(value: &str) -> Self {
        let mut tally = Self::default();
        tally.observe(value, false);
        tally
    }

    /// The type of the column, or the type that its values mean if the manifest's types cannot read them.
    pub(super) fn kind(&self, delimiter: u8) -> Kind {
        let (kind, _, meaning) = self.judge(delimiter);
        meaning.map_or(kind, |meaning| meaning.kind)
    }

    pub(super) fn finish(self, name: String, renamed: Option<String>, delimiter: u8) -> ColumnSample {
        let (kind, fitting, meaning) = self.judge(delimiter);
        let Self { mut filled, empty, markers, quoted_markers, bytes, bigints: whole, hashes, .. } = self;
        let misfits = filled - fitting;
        let length = bytes / filled.max(1);
        if kind == Kind::Text && meaning.is_none() {
            filled += markers.iter().sum::<u64>();
        }
        let distinct = all_distinct(&hashes);
        ColumnSample {
            name,
            renamed,
            kind,
            meaning,
            filled,
            empty,
            misfits,
            markers,
            quoted_markers,
            whole,
            length,
            hashes,
            distinct,
        }
    }

    /// The type, how many values fit it, and the meaning of the values if it is another type.
    fn judge(&self, delimiter: u8) -> (Kind, u64, Option<Meaning>) {
        let enough = |count: u64| self.filled > 0 && count * 100 >= self.filled * FIT_PERCENT;
        let is_coded = self.codes * 100 > self.filled * CODE_PERCENT;
        if !is_coded && let Some(meaning) = self.numbers_as_written.meaning(self.filled, delimiter) {
            return (Kind::Text, self.filled, Some(meaning));
        }
        if enough(self.numbers) && !is_coded {
            // Among numbers the widest wins, because a large or a broken one is rarely a mistake.
            let kind = match self.numbers {
                numbers if numbers == self.integers => Kind::Integer,
                numbers if numbers == self.bigints => Kind::BigInt,
                _ => Kind::NUMERIC,
            };
            return (kind, self.numbers, None);
        }
        if enough(self.json) {
            return (Kind::Jsonb, self.json, None);
        }
        for [yes, no] in self.words {
            if yes > 0 && no > 0 && enough(yes + no + self.others[0]) {
                return (Kind::Boolean, yes + no + self.others[0], None);
            }
        }
        if let Some((kind, count)) = OTHERS.iter().zip(self.others).find(|(_, count)| enough(*count)) {
            return (*kind, count, None);
        }
        (Kind::Text, self.filled, self.dates.meaning(self.filled))
    }
}

/// Whether a value is of a kind.
fn fits(kind: Kind, value: &str) -> bool {
    match kind {
        Kind::Integer => value.parse::<i32>().is_ok(),
        Kind::BigInt => value.parse::<i64>().is_ok(),
        Kind::Boolean => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
        Kind::Uuid => value.len() == 36 && uuid::Uuid::try_parse(value).is_ok(),
        Kind::Date | Kind::Time | Kind::Timestamp | Kind::Timestamptz => {
            Instant::parse(kind, value.as_bytes()).is_ok()
        }
        _ => false,
    }
}

/// Whether a value looks like a number but would lose its leading zeros as one.
fn is_code(value: &str) -> bool {
    value.len() > 1 && value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// The hash by which a value is compared with others; never 0. Texts of one value share it, because a key of that type
/// does not tell them apart.
fn hash(value: &str) -> u64 {
    let could_be_typed = value.len() <= 40 && value.contains(|c: char| c.is_ascii_digit()) && !is_code(value);
    let kinds = [Kind::BigInt, Kind::Uuid, Kind::Timestamp, Kind::Timestamptz];
    let kind = kinds.into_iter().find(|kind| could_be_typed && fits(*kind, value));
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    let hash = match kind.and_then(|kind| Value::of(kind, value.as_bytes())) {
        Some(Value::Integer(number)) => hasher.hash_one(number),
        Some(Value::Uuid(uuid)) => hasher.hash_one(uuid),
        Some(Value::Instant(instant)) => hasher.hash_one((kind, instant)),
        Some(Value::Decimal(_)) | None => hasher.hash_one(value),
    };
    hash.max(1)
}

fn all_distinct(hashes: &[u64]) -> bool {
    let mut seen = HashSet::with_capacity(hashes.len().min(1 << 16));
    hashes.iter().filter(|hash| **hash != 0).all(|hash| seen.insert(*hash))
}
