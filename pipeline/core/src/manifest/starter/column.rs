//! What the values of one column look like.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::super::{Instant, Kind, is_decimal};
use super::dates::Dates;
use super::markers::{MARKERS, marker_of};
use super::numbers::{NUMERIC, Written};
use super::shapes::Shapes;

/// The share of values that a type must fit, so that a few broken rows do not make a column text.
const FIT_PERCENT: u64 = 90;

/// A column with more empty fields than this is optional.
const EMPTY_PERCENT: u64 = 20;

/// A key may be missing in this share of rows, which are broken then.
const LACKING_PERCENT: u64 = 5;

/// Above this share of values like `007`, numbers are codes, and text.
const CODE_PERCENT: u64 = 1;

/// What was seen of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSample {
    /// From the header, or `column_1` and so on.
    pub name: String,
    /// The name in the header, where a table cannot have it.
    pub renamed: Option<String>,
    /// The narrowest type that nine of ten values fit, and that loads none of them as something else.
    pub kind: Kind,
    /// What the values are, where the types of the manifest do not read them as they are written.
    pub meant: Option<Meant>,
    /// How many fields had a value.
    pub filled: u64,
    /// How many fields were empty.
    pub empty: u64,
    /// How many values do not fit the type.
    pub misfits: u64,
    /// How often each text stood there that seems to mean a missing value, in the order of [`MARKERS`]. A column of
    /// text counts them as values too.
    pub(super) markers: Vec<u64>,
    /// How many of these stood in quotes, where the pipeline takes them for values.
    pub(super) quoted_markers: u64,
    /// How many values are whole numbers that fit into eight bytes.
    pub(super) whole: u64,
    /// Of texts the average length, in bytes.
    pub(super) length: u64,
    /// A hash of each value, in the order of rows; 0 where there is none.
    pub(super) hashes: Vec<u64>,
    pub(super) distinct: bool,
}

/// What values are that the manifest's types do not read as they are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Meant {
    /// What they would be.
    pub kind: Kind,
    /// How they are written.
    pub how: String,
    /// One of them.
    pub example: String,
    /// Whether all values allow only this reading.
    pub sure: bool,
}

impl ColumnSample {
    /// How many fields were seen.
    pub fn rows(&self) -> u64 {
        self.filled + self.empty + self.missing()
    }

    /// Fields that hold a text which means a missing value.
    pub(super) fn missing(&self) -> u64 {
        if self.is_text() { 0 } else { self.marked() }
    }

    /// How many fields hold a text that may mean a missing value.
    pub(super) fn marked(&self) -> u64 {
        self.markers.iter().sum()
    }

    /// Whether its values are nothing but text.
    pub(super) fn is_text(&self) -> bool {
        self.kind == Kind::Text && self.meant.is_none()
    }

    /// Whether so many fields are empty, or marked as missing, that this seems to be meant.
    pub fn optional(&self) -> bool {
        self.empty * 100 > self.rows() * EMPTY_PERCENT
    }

    /// Whether no value came twice.
    pub fn distinct(&self) -> bool {
        self.distinct
    }

    /// Whether it could be a key: a value in each row but for a few broken ones, and none twice.
    pub fn identifies(&self) -> bool {
        let lacking = self.empty + self.missing();
        self.distinct && self.filled > 0 && lacking * 100 <= self.rows() * LACKING_PERCENT
    }

    /// Whether its values are whole numbers, but for a few broken ones.
    pub(super) fn is_whole(&self) -> bool {
        let is_number = matches!(self.kind, Kind::Integer | Kind::BigInt | Kind::Numeric { .. });
        is_number && self.whole * 100 >= (self.filled - self.misfits) * (100 - CODE_PERCENT)
    }
}

/// Counts what the values of a column fit.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) filled: u64,
    empty: u64,
    codes: u64,
    integers: u64,
    bigints: u64,
    numbers: u64,
    json: u64,
    /// Of the kinds in [`OTHERS`], in their order.
    others: [u64; OTHERS.len()],
    /// Of the pairs in [`WORDS`], both words.
    words: [[u64; 2]; WORDS.len()],
    written: Written,
    dates: Dates,
    markers: [u64; MARKERS.len()],
    quoted_markers: u64,
    bytes: u64,
    pub(super) shapes: Shapes,
    hashes: Vec<u64>,
}

/// The kinds besides numbers and text, in the order in which they are tried.
const OTHERS: [Kind; 6] =
    [Kind::Boolean, Kind::Date, Kind::Timestamp, Kind::Timestamptz, Kind::Time, Kind::Uuid];

/// Words for true and false besides these, which are only meant so where both stand in a column.
const WORDS: [[&str; 2]; 4] = [["yes", "no"], ["y", "n"], ["t", "f"], ["on", "off"]];

impl Tally {
    /// Of a column that has this text in the first row.
    pub(super) fn below(first: &str) -> Self {
        Self { shapes: Shapes::below(first), ..Self::default() }
    }

    pub(super) fn observe(&mut self, value: &str, quoted: bool) {
        if value.is_empty() {
            self.empty += 1;
            self.hashes.push(0);
            return;
        }
        self.hashes.push(hash(&canonical(value)));
        if let Some(marker) = marker_of(value) {
            self.markers[marker] += 1;
            self.quoted_markers += u64::from(quoted);
            return;
        }
        self.filled += 1;
        self.bytes += value.len() as u64;
        self.shapes.observe(value);
        self.written.observe(value);
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

    /// Whether no field had anything in it.
    pub(super) fn is_blank(&self) -> bool {
        self.filled == 0 && self.markers.iter().all(|count| *count == 0)
    }

    /// What a column of this one value would be.
    pub(super) fn of(value: &str) -> Self {
        let mut tally = Self::default();
        tally.observe(value, false);
        tally
    }

    /// Its type; if its values are meant as one that the manifest cannot say, that.
    pub(super) fn kind(&self, delimiter: u8) -> Kind {
        let (kind, _, meant) = self.judge(delimiter);
        meant.map_or(kind, |meant| meant.kind)
    }

    pub(super) fn finish(self, name: String, renamed: Option<String>, delimiter: u8) -> ColumnSample {
        let (kind, fitting, meant) = self.judge(delimiter);
        let Self { mut filled, empty, markers, quoted_markers, bytes, bigints: whole, hashes, .. } = self;
        let misfits = filled - fitting;
        let length = bytes / filled.max(1);
        if kind == Kind::Text && meant.is_none() {
            filled += markers.iter().sum::<u64>();
        }
        let distinct = all_distinct(&hashes);
        let markers = markers.to_vec();
        ColumnSample {
            name,
            renamed,
            kind,
            meant,
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

    /// The type, how many values fit it, and what they are meant as if that is another one.
    fn judge(&self, delimiter: u8) -> (Kind, u64, Option<Meant>) {
        let enough = |count: u64| self.filled > 0 && count * 100 >= self.filled * FIT_PERCENT;
        let is_coded = self.codes * 100 > self.filled * CODE_PERCENT;
        if !is_coded && let Some(meant) = self.written.meant(self.filled, delimiter) {
            return (Kind::Text, self.filled, Some(meant));
        }
        if enough(self.numbers) && !is_coded {
            // Among numbers the widest wins, because a large or a broken one is rarely a mistake.
            let kind = match self.numbers {
                numbers if numbers == self.integers => Kind::Integer,
                numbers if numbers == self.bigints => Kind::BigInt,
                _ => NUMERIC,
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
        (Kind::Text, self.filled, self.dates.meant(self.filled))
    }
}

/// Whether a value is one of that kind.
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

/// One text for all that are the same value: a key of its type does not tell them apart.
fn canonical(value: &str) -> Cow<'_, str> {
    let could_be_typed =
        value.len() <= 40 && value.bytes().any(|byte| byte.is_ascii_digit()) && !is_code(value);
    if !could_be_typed {
        return value.into();
    }
    if let Ok(number) = value.parse::<i64>() {
        return number.to_string().into();
    }
    if let (36, Ok(uuid)) = (value.len(), uuid::Uuid::try_parse(value)) {
        return uuid.to_string().into();
    }
    let instant = [Kind::Timestamp, Kind::Timestamptz]
        .into_iter()
        .find_map(|kind| Some((kind, Instant::parse(kind, value.as_bytes()).ok()?)));
    instant.map_or(value.into(), |(kind, instant)| format!("{kind} {instant:?}").into())
}

/// Of a value, by which it is compared with others; never 0.
pub(super) fn hash(value: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value).max(1)
}

fn all_distinct(hashes: &[u64]) -> bool {
    let mut seen = HashSet::with_capacity(hashes.len().min(1 << 16));
    hashes.iter().filter(|hash| **hash != 0).all(|hash| seen.insert(*hash))
}
