//! Whether the first row names the columns.
//!
//! As DuckDB's sniffer does: a row whose texts do not fit the types of the columns below is a header. Where all is text,
//! what tells are names that read like names, that no value repeats, and that look unlike the values below.

use std::collections::HashSet;

use super::column::Tally;
use crate::manifest::Kind;

/// What the first row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) is_header: bool,
    pub(super) is_sure: bool,
}

/// Longer texts are no names.
const NAME_CHARS_MAX: usize = 200;

/// What the first row is above columns of those tallies.
pub(super) fn judge(first: &[String], columns: &[Tally], delimiter: u8) -> Verdict {
    let named: Vec<&String> = first.iter().filter(|name| !name.is_empty()).collect();
    let distinct = named.iter().collect::<HashSet<_>>().len() == named.len();
    let readable = named.iter().all(|name| is_name(name));
    if named.is_empty() {
        return Verdict { is_header: false, is_sure: true };
    }
    if columns.iter().all(|column| column.kind_or_none(delimiter).is_none()) {
        let is_word = |name: &&String| Tally::of(name).kind(delimiter) == Kind::Text;
        let is_header = readable && distinct && named.len() == first.len() && named.iter().all(is_word);
        return Verdict { is_header, is_sure: !is_header };
    }
    let (mut unfit, mut fit) = (0, Vec::new());
    for (name, column) in first.iter().zip(columns) {
        match column.kind_or_none(delimiter) {
            None | Some(Kind::Text) => {}
            Some(_) if name.is_empty() || Tally::of(name).filled == 0 => {}
            Some(kind) if same_class(kind, Tally::of(name).kind(delimiter)) => fit.push(name.as_str()),
            Some(_) => unfit += 1,
        }
    }
    let repeats = first.iter().zip(columns).any(|(_, column)| column.shapes.has_first_again());
    let certain = |is_header| Verdict { is_header, is_sure: true };
    let unsure = |is_header| Verdict { is_header, is_sure: false };
    match (unfit, fit.len()) {
        // A broken first line is likelier than a header that a later line repeats.
        (1.., 0) if readable => Verdict { is_header: true, is_sure: distinct },
        (1.., 0) => certain(false),
        (0, 0) => among_texts(first, columns, readable && distinct && !repeats),
        _ if is_sequence(&fit) && readable && !repeats => unsure(true),
        (0, _) => certain(false),
        (unfit, fit) => unsure(readable && distinct && unfit > fit),
    }
}

impl Tally {
    /// The type of what stands in it; `None` if nothing does.
    fn kind_or_none(&self, delimiter: u8) -> Option<Kind> {
        (self.filled > 0).then(|| self.kind(delimiter))
    }
}

/// Where all columns are text.
fn among_texts(first: &[String], columns: &[Tally], could_be: bool) -> Verdict {
    let evidence: usize = first
        .iter()
        .zip(columns)
        .map(|(name, column)| usize::from(is_known_word(name)) + usize::from(column.shapes.stands_out(name)))
        .sum();
    let all_named = first.iter().skip(1).all(|name| !name.is_empty());
    let is_header = could_be && all_named && evidence > 0;
    // That text is unlike all other text in nothing proves little.
    Verdict { is_header, is_sure: if is_header { evidence > 1 } else { !could_be } }
}

/// Whether a text could name a column: it is no number, no date and no long text.
fn is_name(text: &str) -> bool {
    let is_plain = text.chars().count() <= NAME_CHARS_MAX && !text.contains('@') && !text.contains("://");
    is_plain && !text.starts_with(['{', '['])
}

/// Whether two types are read alike: what is no number is told from all numbers.
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

/// Whether numbers in the first row are years, or count on by one: names of the columns of a cross table.
fn is_sequence(texts: &[&str]) -> bool {
    let numbers: Option<Vec<i64>> = texts.iter().map(|text| text.parse().ok()).collect();
    let Some(numbers) = numbers.filter(|numbers| numbers.len() > 1) else { return false };
    let years = numbers.iter().all(|year| (1800..=2200).contains(year));
    let steps = numbers.windows(2).map(|pair| pair[1] - pair[0]);
    let mut even = steps.clone().zip(steps.skip(1)).all(|(a, b)| a == b);
    even &= numbers[1] - numbers[0] == 1 || years;
    even && (years || (numbers.len() > 2 && (0..=1).contains(&numbers[0])))
}

/// Words that headers are made of, and hardly any value is.
const WORDS: &[&str] = &[
    "id",
    "name",
    "names",
    "code",
    "date",
    "time",
    "datetime",
    "timestamp",
    "type",
    "status",
    "state",
    "city",
    "country",
    "region",
    "address",
    "street",
    "zip",
    "email",
    "mail",
    "phone",
    "title",
    "description",
    "desc",
    "category",
    "value",
    "price",
    "amount",
    "total",
    "count",
    "quantity",
    "qty",
    "number",
    "nr",
    "no",
    "key",
    "label",
    "comment",
    "comments",
    "note",
    "notes",
    "text",
    "url",
    "first",
    "last",
    "user",
    "customer",
    "product",
    "item",
    "order",
    "sku",
    "company",
    "department",
    "job",
    "gender",
    "sex",
    "age",
    "year",
    "month",
    "day",
    "unit",
    "currency",
    "carrier",
    "symbol",
    "author",
    "language",
    "lang",
    "version",
    "group",
    "class",
    "role",
    "nombre",
    "fecha",
    "codigo",
    "ciudad",
    "pais",
    "precio",
    "datum",
    "ort",
    "stadt",
    "land",
    "preis",
    "nom",
    "ville",
    "pays",
    "prix",
    "nome",
    "data",
    "cognome",
    "vorname",
    "nachname",
    "apellido",
    "surname",
    "firstname",
    "lastname",
    "fullname",
    "username",
];

/// Whether a text is a word of headers, or words put together as programs do.
fn is_known_word(text: &str) -> bool {
    let joined = text.contains('_') && text.chars().all(|c| c.is_alphanumeric() || c == '_');
    let humps = text.starts_with(char::is_lowercase)
        && text.contains(char::is_uppercase)
        && text.chars().all(char::is_alphanumeric);
    let lower = text.to_lowercase();
    let parts: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect();
    joined || humps || (parts.len() <= 3 && parts.last().is_some_and(|last| WORDS.contains(last)))
}
