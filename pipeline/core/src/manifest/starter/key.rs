//! Which column identifies a row.
//!
//! A key that repeats collapses rows, and one that is distinct by chance does so later. So a column is chosen only if
//! no value of it came twice in the sample, and if its name or its place says that it is one. Otherwise none is.

use std::collections::HashSet;

use super::column::ColumnSample;
use crate::manifest::Kind;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyGuess {
    /// This column.
    Column(usize),
    /// It seems to be this column, and something speaks against it.
    Unsure(usize, String),
    /// These columns are distinct together.
    Together(Vec<usize>),
    /// No column; perhaps one that is distinct in so few rows that it proves nothing.
    None(Option<usize>),
}

impl KeyGuess {
    /// The column that is written as the key.
    pub(super) fn column(&self) -> Option<usize> {
        match self {
            Self::Column(column) | Self::Unsure(column, _) => Some(*column),
            Self::Together(_) | Self::None(_) => None,
        }
    }
}

/// In fewer rows than these values may be distinct by chance.
const ROWS_MANY: u64 = 100;

/// Of so many columns at most the combinations are looked through.
const TOGETHER_OF: usize = 8;

/// A text longer than this on average is no key.
const LENGTH_MAX: u64 = 64;

/// The key of a dataset of that name.
pub(super) fn guess(columns: &[ColumnSample], dataset: &str) -> KeyGuess {
    let could_be = |index: usize| columns[index].identifies() && is_keylike(&columns[index]);
    let names: Vec<Name> = columns.iter().map(|column| Name::of(&column.name, dataset)).collect();
    let find = |wanted: &dyn Fn(usize) -> bool| (0..columns.len()).find(|index| wanted(*index));
    if let Some(own) = find(&|index| names[index] == Name::Own && could_be(index)) {
        return KeyGuess::Column(own);
    }
    if could_be_first(columns, &names) && could_be(0) {
        return match weakness(&columns[0], names[0]) {
            Some(weakness) => KeyGuess::Unsure(0, weakness),
            None => KeyGuess::Column(0),
        };
    }
    let repeated = find(&|index| names[index] >= Name::Identifier && !columns[index].distinct());
    let other = find(&|index| names[index] == Name::Identifier && could_be(index));
    match (other, repeated) {
        (Some(other), None) if columns[other].rows() >= ROWS_MANY => return KeyGuess::Column(other),
        (Some(other), Some(repeated)) if columns[other].rows() >= ROWS_MANY => {
            let what = format!("'{}' repeats, and this one does not", columns[repeated].name);
            return KeyGuess::Unsure(other, what);
        }
        _ => {}
    }
    match together(columns, &names) {
        Some(columns) => KeyGuess::Together(columns),
        None => KeyGuess::None(find(&could_be)),
    }
}

/// The first column is a key unless its name says what it measures.
fn could_be_first(columns: &[ColumnSample], names: &[Name]) -> bool {
    !columns.is_empty() && names[0] != Name::Measure
}

/// What speaks against a first column whose values are distinct.
fn weakness(column: &ColumnSample, name: Name) -> Option<String> {
    let kind = column.meant.as_ref().map_or(column.kind, |meant| meant.kind);
    let is_time = matches!(kind, Kind::Date | Kind::Timestamp | Kind::Timestamptz);
    if is_time {
        return Some("it is a time, of which there may be two rows later".into());
    }
    let numbers = matches!(kind, Kind::Integer | Kind::BigInt) || column.is_whole();
    let unproven = name == Name::Plain && !numbers && column.rows() < ROWS_MANY;
    unproven.then(|| format!("it is distinct in {} rows, which are few", column.rows()))
}

/// What the name of a column says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    /// An amount, a time, a description.
    Measure,
    /// Nothing.
    Plain,
    /// That it identifies something.
    Identifier,
    /// That it identifies the row.
    Own,
}

/// Last words of names of identifiers.
const IDENTIFIERS: [&str; 13] =
    ["id", "ids", "uuid", "guid", "key", "no", "nr", "num", "number", "code", "ref", "reference", "pk"];

/// Last words of names of what is measured.
const MEASURES: [&str; 30] = [
    "price",
    "amount",
    "total",
    "qty",
    "quantity",
    "value",
    "cost",
    "weight",
    "lat",
    "lon",
    "lng",
    "latitude",
    "longitude",
    "score",
    "count",
    "age",
    "rate",
    "balance",
    "salary",
    "height",
    "width",
    "length",
    "percent",
    "share",
    "comment",
    "note",
    "description",
    "preis",
    "precio",
    "saldo",
];

impl Name {
    fn of(name: &str, dataset: &str) -> Self {
        let words = words(name);
        let last = words.last().map_or("", String::as_str);
        let joined = words.concat();
        let (dataset, singular) =
            (words_of_dataset(dataset), |text: &str| text.trim_end_matches('s').to_owned());
        let of_dataset = IDENTIFIERS
            .iter()
            .filter_map(|end| joined.strip_suffix(end))
            .any(|stem| !stem.is_empty() && singular(stem) == singular(&dataset));
        match last {
            "id" | "uuid" | "guid" | "pk" | "rowid" if words.len() == 1 || of_dataset => Self::Own,
            _ if of_dataset => Self::Own,
            _ if MEASURES.contains(&last) => Self::Measure,
            _ if IDENTIFIERS.contains(&last) || joined.ends_with("uuid") => Self::Identifier,
            _ => Self::Plain,
        }
    }
}

/// The words of a name, in lower case: `orderId`, `ORDER_ID` and `Order ID` are two.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        let hump = before.is_lowercase() && c.is_uppercase();
        if (!c.is_alphanumeric() || hump) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

fn words_of_dataset(dataset: &str) -> String {
    dataset.chars().filter(|c| c.is_alphabetic()).collect()
}

/// Whether values are of a kind by which rows are told apart.
fn is_keylike(column: &ColumnSample) -> bool {
    match column.meant.as_ref().map_or(column.kind, |meant| meant.kind) {
        Kind::Text | Kind::Varchar(_) => column.length <= LENGTH_MAX,
        Kind::Integer | Kind::BigInt | Kind::SmallInt | Kind::Uuid | Kind::Date => true,
        Kind::Timestamp | Kind::Timestamptz => true,
        Kind::Numeric { .. } => column.meant.is_none() && column.is_whole(),
        Kind::Real | Kind::Double | Kind::Boolean | Kind::Time | Kind::Jsonb => false,
    }
}

/// Two or three columns whose values are distinct together, though none is by itself: first of all those that are called
/// identifiers, then those that stand first.
fn together(columns: &[ColumnSample], names: &[Name]) -> Option<Vec<usize>> {
    let mut among: Vec<usize> = (0..columns.len())
        .filter(|index| {
            let column = &columns[*index];
            let filled = column.empty == 0 && column.missing() == 0 && column.filled > 0;
            filled && !column.distinct() && is_keylike(column) && names[*index] > Name::Measure
        })
        .collect();
    among.sort_by_key(|index| (names[*index] < Name::Identifier, *index));
    among.truncate(TOGETHER_OF);
    for (i, a) in among.iter().enumerate() {
        for b in &among[i + 1..] {
            if are_distinct(columns, &[*a, *b]) {
                return Some(in_order([*a, *b]));
            }
        }
    }
    for (i, a) in among.iter().enumerate() {
        for (j, b) in among.iter().enumerate().skip(i + 1) {
            for c in &among[j + 1..] {
                if are_distinct(columns, &[*a, *b, *c]) {
                    return Some(in_order([*a, *b, *c]));
                }
            }
        }
    }
    None
}

fn in_order<const N: usize>(mut columns: [usize; N]) -> Vec<usize> {
    columns.sort_unstable();
    columns.to_vec()
}

fn are_distinct(columns: &[ColumnSample], which: &[usize]) -> bool {
    let rows = which.iter().map(|index| columns[*index].hashes.len()).min().unwrap_or(0);
    let mut seen = HashSet::with_capacity(rows.min(1 << 16));
    (0..rows).all(|row| {
        let together = which.iter().fold(0u64, |hash, index| {
            (hash.rotate_left(21) ^ columns[*index].hashes[row]).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        seen.insert(together)
    })
}
