//! Which columns identify a row.
//!
//! A key that repeats merges rows, and a column that is distinct by chance repeats later. A column is therefore
//! chosen only if no value of it occurs twice in the sample, and its name or its place indicates a key. Several
//! columns are chosen only if so many rows would agree in them, were the columns independent, that it is no chance
//! that none do. Otherwise there is no key.

use std::collections::{HashMap, HashSet};

use super::column::ColumnSample;
use super::nulls::NullGuess;
use crate::manifest::Kind;

/// The result of the guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyGuess {
    /// This column.
    Column(usize),
    /// This column, with what speaks against it.
    Unsure(usize, String),
    /// These columns are distinct together, and it is no chance.
    Together(Vec<usize>),
    /// These columns are distinct together, perhaps by chance.
    Perhaps(Vec<usize>),
    /// Rows are the same in all columns.
    Repeated,
    /// No column. If a column is distinct, but in too few rows to prove anything, its index.
    None(Option<usize>),
}

impl KeyGuess {
    /// The columns that are written as the key. Empty if there is no key.
    pub(super) fn columns(&self) -> &[usize] {
        match self {
            Self::Column(column) | Self::Unsure(column, _) => std::slice::from_ref(column),
            Self::Together(columns) => columns,
            Self::Perhaps(_) | Self::Repeated | Self::None(_) => &[],
        }
    }

    /// The column that is written as the key alone.
    pub(super) fn column(&self) -> Option<usize> {
        match self.columns() {
            [column] => Some(*column),
            _ => None,
        }
    }
}

/// In fewer rows, values may be distinct by chance.
const ROWS_MANY: u64 = 100;

/// The combinations of at most this many columns are tried.
const TOGETHER_OF: usize = 12;

/// A key has at most this many columns.
const TOGETHER_MAX: usize = 4;

/// Were the columns of a combination independent, at least so many pairs of rows would have to agree in them for their
/// being distinct to prove a key.
const AGREEING_PAIRS_MIN: f64 = 10.0;

/// A column of text that is longer on average is not a key.
const LENGTH_MAX: u64 = 64;

/// Guesses the key of a dataset of this name. `nulls` tells which texts mean a missing value.
pub(super) fn guess(columns: &[ColumnSample], dataset: &str, nulls: &NullGuess) -> KeyGuess {
    let could_be = |index: usize| {
        let column = &columns[index];
        column.identifies() && (is_keylike(column) || (index == 0 && is_row_name(column)))
    };
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
    let all: Vec<usize> = (0..columns.len()).collect();
    together(columns, &names, nulls).unwrap_or_else(|| match find(&could_be) {
        None if columns.len() > 1 && !are_distinct(columns, &all) => KeyGuess::Repeated,
        found => KeyGuess::None(found),
    })
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

/// Whether the first column holds the names of rows, which R and pandas write without a name. They may be any
/// numbers.
fn is_row_name(column: &ColumnSample) -> bool {
    let is_unnamed = column.renamed.as_ref().is_some_and(|name| name.trim().is_empty());
    is_unnamed && matches!(column.kind, Kind::Numeric { .. }) && column.meaning.is_none()
}

/// Columns whose values are distinct together, though none is distinct by itself. The fewest are taken, and of several
/// combinations the one that is least by chance.
fn together(columns: &[ColumnSample], names: &[NameHint], nulls: &NullGuess) -> Option<KeyGuess> {
    let mut among: Vec<(usize, f64)> = (0..columns.len())
        .filter(|index| {
            let column = &columns[*index];
            let lacking = column.empty + column.missing() + nulls.count(*index, column);
            let filled = lacking == 0 && column.filled > 0;
            filled && !column.distinct && is_keylike(column) && names[*index] > NameHint::Measure
        })
        .map(|index| (index, agreement(&columns[index])))
        .filter(|(_, agreement)| *agreement < 1.0)
        .collect();
    among.sort_by_key(|(index, _)| (names[*index] < NameHint::Identifier, *index));
    among.truncate(TOGETHER_OF);
    let rows = columns.first().map_or(0, |column| column.hashes.len()) as f64;
    let pairs = rows * (rows - 1.0) / 2.0;
    let mut perhaps = None;
    for size in 2..=TOGETHER_MAX {
        let mut groups: Vec<(f64, Vec<usize>)> = combinations(among.len(), size)
            .into_iter()
            .map(|group| {
                let agreeing: f64 = group.iter().map(|at| among[*at].1).product();
                (agreeing * pairs, group.iter().map(|at| among[*at].0).collect())
            })
            .collect();
        if perhaps.is_none() && size < TOGETHER_MAX {
            perhaps =
                groups.iter().map(|(_, group)| group).find(|group| are_distinct(columns, group)).cloned();
        }
        groups.retain(|(agreeing, _)| *agreeing >= AGREEING_PAIRS_MIN);
        groups.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        if let Some((_, group)) = groups.into_iter().find(|(_, group)| are_distinct(columns, group)) {
            return Some(KeyGuess::Together(sorted(group)));
        }
    }
    perhaps.map(|group| KeyGuess::Perhaps(sorted(group)))
}

fn sorted(mut group: Vec<usize>) -> Vec<usize> {
    group.sort_unstable();
    group
}

/// All choices of `size` of the numbers below `of`, the first numbers first.
fn combinations(of: usize, size: usize) -> Vec<Vec<usize>> {
    let mut chosen: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..size {
        let longer = |group: &Vec<usize>| {
            let from = group.last().map_or(0, |last| last + 1);
            let group = group.clone();
            (from..of).map(move |next| [&group[..], &[next]].concat())
        };
        chosen = chosen.iter().flat_map(longer).collect();
    }
    chosen
}

/// The share of pairs of rows that have the same value in a column.
fn agreement(column: &ColumnSample) -> f64 {
    let mut counts: HashMap<u64, u64> = HashMap::new();
    for hash in &column.hashes {
        *counts.entry(*hash).or_default() += 1;
    }
    let rows = column.hashes.len() as f64;
    let agreeing: f64 = counts.values().map(|count| *count as f64 * (*count as f64 - 1.0)).sum();
    agreeing / (rows * (rows - 1.0)).max(1.0)
}

/// The hash of the values that a row has in some columns. 0 if one of them is missing.
pub(super) fn hash_together(columns: &[ColumnSample], which: &[usize], row: usize) -> u64 {
    let hashes = || which.iter().map(|index| columns[*index].hashes[row]);
    if hashes().any(|hash| hash == 0) {
        return 0;
    }
    hashes().fold(0u64, |all, hash| (all.rotate_left(21) ^ hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1)
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
