//! What the values of one column look like.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::super::{Instant, Kind, is_decimal};
use super::booleans::Booleans;
use super::dates::Dates;
use super::key::{has_word, words};
use super::markers::{MARKERS, marker_of};
use super::notation::Notation;
use super::numbers::NumberStyles;
use super::shapes::TextTraits;
use crate::instant::loose;
use crate::spelling::Value;

/// The share of values that must fit a type, so that a few broken rows do not make a column text.
const FIT_PERCENT: u64 = 90;

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
    /// The settings with which the values are read.
    pub notation: Notation,
    /// A value that shows why these settings are needed; empty if they are not.
    pub example: String,
    /// What the values seem to mean, if that cannot be told for certain. They stay text.
    pub meaning: Option<Meaning>,
    /// Another type or setting that may be meant, in words.
    pub hint: Option<String>,
    /// How many fields had a value.
    pub filled: u64,
    /// How many fields were empty.
    pub empty: u64,
    /// How many values do not fit the type.
    pub misfits: u64,
    /// How often each text was seen that seems to mean a missing value, in the order of [`MARKERS`]. A column of text
    /// counts these as values too.
    pub(super) markers: [u64; MARKERS.len()],
    /// How many of these were in quotes.
    pub(super) quoted_markers: u64,
    /// Whether all values are in quotes, and none of these texts is.
    pub(super) bare_markers: bool,
    /// How many values are whole numbers that fit into eight bytes.
    pub(super) whole: u64,
    /// The average length of texts, in bytes.
    pub(super) length: u64,
    /// A hash of each value, in the order of rows; 0 if the value is missing.
    pub(super) hashes: Vec<u64>,
    /// Whether no value occurs twice.
    pub(super) distinct: bool,
}

/// What values seem to mean. Another reading is possible too.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    /// The type that they would have.
    pub kind: Kind,
    /// The settings in question, and what cannot be told.
    pub how: String,
    /// One of the values.
    pub example: String,
}

/// What the values of a column are.
pub(super) struct Finding {
    pub(super) kind: Kind,
    /// How many values are of that kind.
    pub(super) fitting: u64,
    pub(super) notation: Notation,
    /// A value that shows why the notation is needed.
    pub(super) example: String,
    /// What cannot be told, if anything.
    pub(super) doubt: Option<String>,
}

impl Finding {
    pub(super) fn plain(kind: Kind, fitting: u64) -> Self {
        Self { kind, fitting, notation: Notation::default(), example: String::new(), doubt: None }
    }
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

    /// Whether a field is empty, so that the column seems to be optional.
    pub fn optional(&self) -> bool {
        self.empty > 0
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
    /// Values of nothing but blanks.
    blank: u64,
    /// Values with blanks around them.
    padded: u64,
    codes: u64,
    integers: u64,
    bigints: u64,
    numbers: u64,
    /// Of the numbers, those like `1.0`.
    zero_fractions: u64,
    /// Whole numbers that may be times, in the order of [`TIMES`].
    times: [u64; TIMES.len()],
    json: u64,
    /// By kind, in the order of [`OTHERS`].
    others: [u64; OTHERS.len()],
    booleans: Booleans,
    numbers_as_written: NumberStyles,
    dates: Dates,
    markers: [u64; MARKERS.len()],
    quoted_markers: u64,
    /// How many of the values that are no markers were in quotes.
    quoted: u64,
    bytes: u64,
    pub(super) shapes: TextTraits,
    hashes: Vec<u64>,
}

/// The kinds other than numbers and text, in the order in which they are tried.
const OTHERS: [Kind; 6] =
    [Kind::Boolean, Kind::Date, Kind::Timestamp, Kind::Timestamptz, Kind::Time, Kind::Uuid];

/// What whole numbers may be besides numbers: their digits, their range, and what to write.
const TIMES: [(usize, std::ops::RangeInclusive<u64>, &str); 3] = [
    (10, 900_000_000..=4_102_444_800, "type: timestamptz, format: epoch_s"),
    (13, 900_000_000_000..=4_102_444_800_000, "type: timestamptz, format: epoch_ms"),
    (8, 19_000_101..=21_001_231, "type: date, format: \"%Y%m%d\""),
];

/// The last words of the names of times, separated by blanks.
const TIME_NAMES: &str =
    "date datetime time timestamp ts at on epoch created updated modified day fecha datum";

impl ColumnTally {
    /// A tally of a column whose first row holds this text.
    pub(super) fn below(first: &str) -> Self {
        Self { shapes: TextTraits::below(first), ..Self::default() }
    }

    pub(super) fn observe(&mut self, field: &str, quoted: bool) {
        if field.is_empty() {
            self.empty += 1;
            self.hashes.push(0);
            return;
        }
        let value = field.trim_matches([' ', '\t']);
        self.hashes.push(hash(value));
        self.padded += u64::from(value.len() != field.len());
        if value.is_empty() {
            self.blank += 1;
            return;
        }
        if let Some(marker) = marker_of(value) {
            self.markers[marker] += 1;
            self.quoted_markers += u64::from(quoted);
            return;
        }
        self.filled += 1;
        self.quoted += u64::from(quoted);
        self.bytes += value.len() as u64;
        self.shapes.observe(field);
        self.numbers_as_written.observe(value);
        if is_code(value) {
            self.codes += 1;
        } else if is_decimal(value) {
            self.observe_number(value);
        } else if let Some(index) = OTHERS.iter().position(|kind| fits(*kind, value)) {
            self.others[index] += 1;
        } else if value.starts_with(['{', '[']) {
            self.json += u64::from(serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok());
        } else {
            self.dates.observe(value);
            self.booleans.observe(value);
        }
    }

    fn observe_number(&mut self, value: &str) {
        self.integers += u64::from(fits(Kind::Integer, value));
        self.bigints += u64::from(fits(Kind::BigInt, value));
        self.numbers += 1;
        let fraction = value.split_once('.').map(|(_, fraction)| fraction);
        self.zero_fractions +=
            u64::from(fraction.is_some_and(|digits| digits.bytes().all(|byte| byte == b'0')));
        for (count, (digits, range, _)) in self.times.iter_mut().zip(&TIMES) {
            let is_time = value.len() == *digits && value.parse().is_ok_and(|number| range.contains(&number));
            *count += u64::from(is_time);
        }
    }

    /// Whether all fields were empty.
    pub(super) fn is_blank(&self) -> bool {
        self.filled + self.blank == 0 && self.markers.iter().all(|count| *count == 0)
    }

    /// Whether each field had a value.
    pub(super) fn is_never_empty(&self) -> bool {
        self.filled > 0 && self.empty + self.blank == 0
    }

    /// Whether all values were in quotes.
    pub(super) fn is_quoted(&self) -> bool {
        self.filled > 0 && self.quoted == self.filled
    }

    /// Whether there are numbers, none of which was in quotes.
    pub(super) fn has_bare_numbers(&self) -> bool {
        self.numbers > 0 && self.quoted == 0
    }

    /// A tally of this value alone.
    pub(super) fn of(value: &str) -> Self {
        let mut tally = Self::default();
        tally.observe(value, false);
        tally
    }

    /// The type that the values of the column seem to have.
    pub(super) fn kind(&self, delimiter: u8) -> Kind {
        self.judge(delimiter).kind
    }

    /// The column of this name. `quotes_tell` says that the file has quotes around texts, and none around numbers.
    pub(super) fn finish(
        self,
        name: String,
        renamed: Option<String>,
        delimiter: u8,
        quotes_tell: bool,
    ) -> ColumnSample {
        let mut finding = self.judge(delimiter);
        let is_number = matches!(finding.kind, Kind::Integer | Kind::BigInt | Kind::Numeric { .. });
        if quotes_tell && self.is_quoted() && is_number && finding.fitting < self.filled {
            finding = Finding::plain(Kind::Text, self.filled);
        }
        let Finding { kind, fitting, mut notation, example, doubt } = finding;
        let bare_markers = self.is_quoted() && self.quoted_markers == 0;
        let hint = self.hint(kind, &name);
        let Self { mut filled, mut empty, markers, quoted_markers, bytes, bigints: whole, hashes, .. } = self;
        let misfits = filled - fitting;
        let length = bytes / filled.max(1);
        let meaning = doubt.map(|how| Meaning { kind, how, example: example.clone() });
        let kind = if meaning.is_some() { Kind::Text } else { kind };
        match kind == Kind::Text {
            true => filled += self.blank,
            false => empty += self.blank,
        }
        notation.trim = kind != Kind::Text && self.padded > 0;
        if kind == Kind::Text && meaning.is_none() {
            filled += markers.iter().sum::<u64>();
        }
        let distinct = all_distinct(&hashes);
        ColumnSample {
            name,
            renamed,
            kind,
            notation,
            example,
            meaning,
            hint,
            filled,
            empty,
            misfits,
            markers,
            quoted_markers,
            bare_markers,
            whole,
            length,
            hashes,
            distinct,
        }
    }

    /// Another type that may be meant.
    fn hint(&self, kind: Kind, name: &str) -> Option<String> {
        if !matches!(kind, Kind::Integer | Kind::BigInt | Kind::Numeric { .. }) || self.numbers == 0 {
            return None;
        }
        if self.zero_fractions > 0 && self.zero_fractions + self.bigints == self.numbers {
            return Some("type: bigint reads the values too: all are whole".into());
        }
        let is_time = words(name).last().is_some_and(|word| has_word(TIME_NAMES, word));
        let found = self.times.iter().zip(&TIMES).find(|(count, _)| **count == self.filled && is_time);
        found.map(|(_, (_, _, setting))| format!("{setting}? by its name it may be a time"))
    }

    /// The type, how many values fit it, and how they are written.
    fn judge(&self, delimiter: u8) -> Finding {
        let enough = |count: u64| self.filled > 0 && count * 100 >= self.filled * FIT_PERCENT;
        let is_coded = self.codes * 100 > self.filled * CODE_PERCENT;
        if !is_coded && let Some(finding) = self.numbers_as_written.meaning(self.filled, delimiter) {
            return finding;
        }
        if enough(self.numbers) && !is_coded {
            // Among numbers the widest wins, because a large or a broken one is rarely a mistake.
            let kind = match self.numbers {
                numbers if numbers == self.integers => Kind::Integer,
                numbers if numbers == self.bigints => Kind::BigInt,
                _ => Kind::NUMERIC,
            };
            return Finding::plain(kind, self.numbers);
        }
        if enough(self.json) {
            return Finding::plain(Kind::Jsonb, self.json);
        }
        if let Some(finding) = self.booleans.finding(self.others[0], enough) {
            return finding;
        }
        if let Some((kind, count)) = OTHERS.iter().zip(self.others).find(|(_, count)| enough(*count)) {
            return Finding::plain(*kind, count);
        }
        let plain = |kind| {
            OTHERS.iter().zip(self.others).find(|(other, _)| **other == kind).map_or(0, |(_, count)| count)
        };
        self.dates.meaning(self.filled, plain).unwrap_or_else(|| Finding::plain(Kind::Text, self.filled))
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
            let bytes = value.as_bytes();
            // A day at midnight could be a date too, but more likely it is a time.
            let is_of_form = (kind == Kind::Date) != value.contains(':');
            Instant::parse(kind, bytes).is_ok() || (is_of_form && loose::parse(kind, bytes).is_ok())
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
