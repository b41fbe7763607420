//! Whether the first row names the columns.
//!
//! The rule is that of DuckDB's sniffer: a row whose texts do not fit the types of the columns below it is a header.
//! If all columns are text, it is a header if its texts read like names, no value repeats them, and they look unlike
//! the values below.

use std::collections::HashSet;

use super::column::ColumnTally;
use super::key::has_word;
use crate::manifest::Kind;

/// The decision about the first row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeaderGuess {
    pub(super) is_header: bool,
    pub(super) is_sure: bool,
}

/// A longer text is not a name.
const NAME_CHARS_MAX: usize = 200;

/// Decides what the first row is, above columns of these tallies. `is_repeated` tells that a later row is the same.
pub(super) fn judge(
    first: &[String],
    columns: &[ColumnTally],
    delimiter: u8,
    is_repeated: bool,
) -> HeaderGuess {
    let named: Vec<&String> = first.iter().filter(|name| !name.is_empty()).collect();
    let distinct = named.iter().collect::<HashSet<_>>().len() == named.len();
    let readable = named.iter().all(|name| is_name(name));
    if named.is_empty() {
        return HeaderGuess { is_header: false, is_sure: true };
    }
    if columns.iter().all(|column| column.kind_or_none(delimiter).is_none()) {
        let is_word = |name: &&String| ColumnTally::of(name).kind(delimiter) == Kind::Text;
        let are_named = first.iter().skip(1).all(|name| !name.is_empty());
        let is_header = readable && distinct && are_named && named.iter().all(is_word);
        return HeaderGuess { is_header, is_sure: !is_header };
    }
    let (mut unfit, mut fit) = (0, Vec::new());
    for (name, column) in first.iter().zip(columns) {
        match column.kind_or_none(delimiter) {
            None | Some(Kind::Text) => {}
            Some(_) if name.is_empty() || ColumnTally::of(name).filled == 0 => {}
            Some(kind) if same_class(kind, ColumnTally::of(name).kind(delimiter)) => fit.push(name.as_str()),
            Some(_) => unfit += 1,
        }
    }
    let repeats = is_repeated || first.iter().zip(columns).any(|(_, column)| column.shapes.has_first_again());
    let certain = |is_header| HeaderGuess { is_header, is_sure: true };
    let unsure = |is_header| HeaderGuess { is_header, is_sure: false };
    match (unfit, fit.len()) {
        // A broken first line is likelier than a header that a later line repeats.
        (1.., 0) if readable => HeaderGuess { is_header: true, is_sure: distinct },
        (1.., 0) => certain(false),
        (0, 0) => among_texts(first, columns, readable && distinct && !repeats),
        _ if is_sequence(&fit) && readable && !repeats => unsure(true),
        (0, _) if distinct && has_corner(first, columns) && is_ascending(&fit) => unsure(true),
        (0, _) => certain(false),
        (unfit, fit) => unsure(readable && distinct && unfit > fit),
    }
}

impl ColumnTally {
    /// The type of the column's values. `None` if it has none.
    fn kind_or_none(&self, delimiter: u8) -> Option<Kind> {
        (self.filled > 0).then(|| self.kind(delimiter))
    }
}

/// Decides if all columns are text.
fn among_texts(first: &[String], columns: &[ColumnTally], could_be: bool) -> HeaderGuess {
    let evidence: usize = first
        .iter()
        .zip(columns)
        .map(|(name, column)| usize::from(is_known_word(name)) + usize::from(column.shapes.stands_out(name)))
        .sum();
    let all_named = first.iter().skip(1).all(|name| !name.is_empty());
    let is_header = could_be && all_named && evidence > 0;
    // One difference from the texts below proves little.
    HeaderGuess { is_header, is_sure: if is_header { evidence > 1 } else { !could_be } }
}

/// Whether a text could be the name of a column: it is not long, not JSON, and neither an address nor a URL.
fn is_name(text: &str) -> bool {
    let is_plain = text.chars().count() <= NAME_CHARS_MAX && !text.contains('@') && !text.contains("://");
    is_plain && !text.starts_with(['{', '['])
}

/// Whether two types belong to the same class, such as numbers: the types of one class are not told apart here.
fn same_class(a: Kind, b: Kind) -> bool {
    let class = |kind| match kind {
        Kind::SmallInt | Kind::Integer | Kind::BigInt | Kind::Numeric { .. } | Kind::Real | Kind::Double => 0,
        Kind::Date | Kind::Timestamp | Kind::Timestamptz => 1,
        Kind::Boolean => 2,
        Kind::Uuid => 3,
        Kind::Jsonb => 4,
        Kind::Time => 5,
        Kind::Text | Kind::Varchar(_) => 6,
    };
    class(a) == class(b)
}

/// Whether the numbers in the first row are years or consecutive, as the column names of a cross table are.
fn is_sequence(texts: &[&str]) -> bool {
    let numbers: Option<Vec<i64>> = texts.iter().map(|text| text.parse().ok()).collect();
    let Some(numbers) = numbers.filter(|numbers| numbers.len() > 1) else { return false };
    let years = numbers.iter().all(|year| (1800..=2200).contains(year));
    let steps = numbers.windows(2).map(|pair| pair[1] - pair[0]);
    let mut even = steps.clone().zip(steps.skip(1)).all(|(a, b)| a == b);
    even &= numbers[1] - numbers[0] == 1 || years;
    even && (years || (numbers.len() > 2 && (0..=1).contains(&numbers[0])))
}

/// Whether the first field alone is empty, above a column that never is: the corner of a cross table.
fn has_corner(first: &[String], columns: &[ColumnTally]) -> bool {
    let are_named = first.iter().skip(1).all(|name| !name.is_empty());
    let is_empty = first.first().is_some_and(String::is_empty);
    is_empty && are_named && columns.first().is_some_and(ColumnTally::is_never_empty)
}

/// Whether the numbers in the first row rise from field to field, as the classes of a cross table do.
fn is_ascending(texts: &[&str]) -> bool {
    let numbers: Option<Vec<f64>> = texts.iter().map(|text| text.parse().ok()).collect();
    numbers.is_some_and(|numbers| numbers.len() > 2 && numbers.windows(2).all(|pair| pair[0] < pair[1]))
}

/// Words that are common in headers and rare among values, separated by blanks.
const WORDS: &str = "id name names code date time datetime timestamp type status state city country region \
    address street zip email mail phone title description desc category value price amount total \
    count quantity qty number nr no key label comment comments note notes text url first last \
    user customer product item order sku company department job gender sex age year month day \
    unit currency carrier symbol author language lang version group class role nombre fecha \
    codigo ciudad pais precio datum ort stadt land preis nom ville pays prix nome data cognome \
    vorname nachname apellido surname firstname lastname fullname username";

/// Whether a text is a word of headers, or several words joined as programs join them.
fn is_known_word(text: &str) -> bool {
    let joined = text.contains('_') && text.chars().all(|c| c.is_alphanumeric() || c == '_');
    let humps = text.starts_with(char::is_lowercase)
        && text.contains(char::is_uppercase)
        && text.chars().all(char::is_alphanumeric);
    let lower = text.to_lowercase();
    let parts: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect();
    joined || humps || (parts.len() <= 3 && parts.last().is_some_and(|last| has_word(WORDS, last)))
}
