//! Which column identifies a row.
//!
//! A key that repeats merges rows, and a column that is distinct by chance repeats later. A column is therefore
//! chosen only if no value of it occurs twice in the sample, and its name or its place indicates a key. Otherwise
//! there is no key.

use std::collections::HashSet;

use super::column::ColumnSample;
use crate::manifest::Kind;

/// The result of the guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyGuess {
    /// This column.
    Column(usize),
    /// This column, with what speaks against it.
    Unsure(usize, String),
    /// These columns are distinct together.
    Together(Vec<usize>),
    /// No column. If a column is distinct, but in too few rows to prove anything, its index.
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

/// In fewer rows, values may be distinct by chance.
const ROWS_MANY: u64 = 100;

/// The combinations of at most this many columns are tried.
const TOGETHER_OF: usize = 8;

/// A column of text that is longer on average is not a key.
const LENGTH_MAX: u64 = 64;

/// Guesses the key of a dataset of this name.
pub(super) fn guess(columns: &[ColumnSample], dataset: &str) -> KeyGuess {
    let could_be = |index: usize| columns[index].identifies() && is_keylike(&columns[index]);
    let names: Vec<NameHint> = columns.iter().map(|column| NameHint::of(&column.name, dataset)).collect();
    let find = |wanted: &dyn Fn(usize) -> bool| (0..columns.len()).find(|index| wanted(*index));
    if let Some(own) = find(&|index| names[index] == NameHint::Own && could_be(index)) {
        return KeyGuess::Column(own);
    }
    // The first column may be the key, unless its name says that it measures something.
    if names.first().is_some_and(|name| *name != NameHint::Measure) && could_be(0) {
        return match weakness(&columns[0], names[0]) {
            Some(weakness) => KeyGuess::Unsure(0, weakness),
            None => KeyGuess::Column(0),
        };
    }
    let repeated = find(&|index| names[index] >= NameHint::Identifier && !columns[index].distinct);
    let other = find(&|index| names[index] == NameHint::Identifier && could_be(index));
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

/// What speaks against a first column whose values are distinct.
fn weakness(column: &ColumnSample, name: NameHint) -> Option<String> {
    let kind = column.meaning.as_ref().map_or(column.kind, |meaning| meaning.kind);
    let is_time = matches!(kind, Kind::Date | Kind::Timestamp | Kind::Timestamptz);
    if is_time {
        return Some("it is a time, of which there may be two rows later".into());
    }
    let numbers = matches!(kind, Kind::Integer | Kind::BigInt) || column.is_whole();
    let unproven = name == NameHint::Plain && !numbers && column.rows() < ROWS_MANY;
    unproven.then(|| format!("it is distinct in {} rows, which are few", column.rows()))
}

/// What the name of a column indicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum NameHint {
    /// A measure: an amount, a time, a description.
    Measure,
    /// Nothing.
    Plain,
    /// An identifier of something.
    Identifier,
    /// The identifier of the row.
    Own,
}

/// The last words of names of identifiers.
const IDENTIFIERS: [&str; 13] =
    ["id", "ids", "uuid", "guid", "key", "no", "nr", "num", "number", "code", "ref", "reference", "pk"];

/// The last words of names of measures, separated by blanks.
const MEASURES: &str = "price amount total qty quantity value cost weight lat lon lng latitude longitude score count \
    age rate balance salary height width length percent share comment note description preis \
    precio saldo";

impl NameHint {
    fn of(name: &str, dataset: &str) -> Self {
        let words = words(name);
        let last = words.last().map_or("", String::as_str);
        let joined = words.concat();
        let dataset: String = dataset.chars().filter(|c| c.is_alphabetic()).collect();
        let singular = |text: &str| text.trim_end_matches('s').to_owned();
        let of_dataset = IDENTIFIERS
            .iter()
            .filter_map(|end| joined.strip_suffix(end))
            .any(|stem| !stem.is_empty() && singular(stem) == singular(&dataset));
        match last {
            "id" | "uuid" | "guid" | "pk" | "rowid" if words.len() == 1 || of_dataset => Self::Own,
            _ if of_dataset => Self::Own,
            _ if has_word(MEASURES, last) => Self::Measure,
            _ if IDENTIFIERS.contains(&last) || joined.ends_with("uuid") => Self::Identifier,
            _ => Self::Plain,
        }
    }
}

/// The words of a name, in lower case. `orderId`, `ORDER_ID` and `Order ID` have two.
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

/// Whether a list of words, separated by blanks, has this one.
pub(super) fn has_word(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == word)
}

/// Whether the values are of a kind that keys have.
fn is_keylike(column: &ColumnSample) -> bool {
    match column.meaning.as_ref().map_or(column.kind, |meaning| meaning.kind) {
        Kind::Text | Kind::Varchar(_) => column.length <= LENGTH_MAX,
        Kind::Integer | Kind::BigInt | Kind::SmallInt | Kind::Uuid | Kind::Date => true,
        Kind::Timestamp | Kind::Timestamptz => true,
        Kind::Numeric { .. } => column.meaning.is_none() && column.is_whole(),
        Kind::Real | Kind::Double | Kind::Boolean | Kind::Time | Kind::Jsonb => false,
    }
}

/// Two or three columns whose values are distinct together, though none is distinct by itself. Columns named as
/// identifiers are tried first, then the others in their order.
fn together(columns: &[ColumnSample], names: &[NameHint]) -> Option<Vec<usize>> {
    let mut among: Vec<usize> = (0..columns.len())
        .filter(|index| {
            let column = &columns[*index];
            let filled = column.empty == 0 && column.missing() == 0 && column.filled > 0;
            filled && !column.distinct && is_keylike(column) && names[*index] > NameHint::Measure
        })
        .collect();
    among.sort_by_key(|index| (names[*index] < NameHint::Identifier, *index));
    among.truncate(TOGETHER_OF);
    let pairs = (0..among.len()).flat_map(|a| (a + 1..among.len()).map(move |b| vec![a, b]));
    let triples = pairs
        .clone()
        .flat_map(|pair| (pair[1] + 1..among.len()).map(move |c| [pair.as_slice(), &[c]].concat()));
    let mut groups = pairs.chain(triples).map(|group| group.iter().map(|at| among[*at]).collect::<Vec<_>>());
    let mut together = groups.find(|group| are_distinct(columns, group))?;
    together.sort_unstable();
    Some(together)
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
