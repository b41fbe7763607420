//! Converts rows of JSON to lines of CSV in their dataset's dialect.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tidegate_core::manifest::{Column, Dataset, Generated, Kind, nearest};
use tidegate_files::write_row;
use uuid::Uuid;

use super::{Problem, numbers};

/// The most rows in one request.
pub(super) const ROWS_MAX: usize = 1000;
/// Postgres's limit of columns in a table.
const COLUMNS_MAX: usize = 1600;
/// How many characters of an unknown name an error shows.
const NAME_CHARS_SHOWN: usize = 100;

/// A row as it was sent: its fields in order, with unparsed values.
#[derive(Debug)]
pub(super) struct JsonRow<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonRow<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = JsonRow<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row: an object of columns and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonRow<'de>, A::Error> {
                let mut fields: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                let mut names = HashSet::new();
                while let Some((JsonText(name), value)) = map.next_entry::<JsonText<'de>, &'de RawValue>()? {
                    if !names.insert(name.clone()) {
                        let name = excerpt(&name);
                        return Err(de::Error::custom(format!("the field '{name}' is there twice")));
                    }
                    if fields.len() == COLUMNS_MAX {
                        return Err(de::Error::custom(format!(
                            "the row has more than {COLUMNS_MAX} fields, and no table has so many columns"
                        )));
                    }
                    fields.push((name, value));
                }
                Ok(JsonRow(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// A name, borrowed from the body if possible.
#[derive(Deserialize)]
struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);

/// How many more rows may come; `None` if more have come. Parsing ends with the first row beyond the budget, however
/// long the body is.
type Budget = Cell<Option<usize>>;

/// The rows of an array, at most as many as the budget has.
struct RowArray<'b>(&'b Budget);

impl<'de> DeserializeSeed<'de> for RowArray<'_> {
    type Value = Vec<JsonRow<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for RowArray<'_> {
    type Value = Vec<JsonRow<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let Self(budget) = self;
        let mut rows = Vec::new();
        while let Some(row) = items.next_element()? {
            budget.set(budget.get().and_then(|left| left.checked_sub(1)));
            if budget.get().is_none() {
                return Err(de::Error::custom("there are too many rows"));
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

/// An object whose members are arrays of rows, under names that `admit` allows.
struct RowArrays<'b, F> {
    budget: &'b Budget,
    admit: F,
}

impl<'de, F: Fn(&str) -> Result<(), String>> Visitor<'de> for RowArrays<'_, F> {
    type Value = Vec<(String, Vec<JsonRow<'de>>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with arrays of rows")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(String, Vec<JsonRow<'de>>)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            (self.admit)(&name).map_err(de::Error::custom)?;
            // There are few members, because only names of datasets are admitted.
            if members.iter().any(|(known, _)| *known == name) {
                return Err(de::Error::custom(format!("'{name}' is there twice")));
            }
            members.push((name, map.next_value_seed(RowArray(self.budget))?));
        }
        Ok(members)
    }
}

/// Parses an object whose members are arrays of rows.
fn read_members<'a>(
    body: &'a [u8],
    admit: impl Fn(&str) -> Result<(), String>,
) -> Result<Vec<(String, Vec<JsonRow<'a>>)>, Problem> {
    let budget = Budget::new(Some(ROWS_MAX));
    let mut reader = serde_json::Deserializer::from_slice(without_bom(body));
    let read = reader.deserialize_map(RowArrays { budget: &budget, admit });
    match read.and_then(|members| reader.end().map(|()| members)) {
        Ok(members) if budget.get() == Some(ROWS_MAX) && !members.is_empty() => Err(none()),
        Ok(members) => Ok(members),
        Err(_) if budget.get().is_none() => Err(too_many()),
        Err(error) => Err(bad_json(&error)),
    }
}

/// Parses the rows of a JSON document, `{"rows": [...]}`.
pub(super) fn json(body: &[u8]) -> Result<Vec<JsonRow<'_>>, Problem> {
    let with_form =
        |problem: Problem| problem.with("expected", serde_json::json!({"rows": [{"column": "value"}]}));
    let admit = |name: &str| match name {
        "rows" => Ok(()),
        other => Err(format!("unknown field `{}`, expected `rows`", excerpt(other))),
    };
    let members = read_members(body, admit).map_err(with_form)?;
    let rows = members.into_iter().next().map(|(_, rows)| rows);
    rows.ok_or_else(|| {
        with_form(Problem::bad_request("the body is not what it must be: missing field `rows`"))
    })
}

/// Parses the rows of NDJSON, one a line. Blank lines are skipped.
pub(super) fn ndjson(body: &[u8]) -> Result<Vec<JsonRow<'_>>, Problem> {
    let mut rows = Vec::new();
    for (i, line) in without_bom(body).split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if rows.len() == ROWS_MAX {
            return Err(too_many());
        }
        let row = serde_json::from_slice(line);
        rows.push(row.map_err(|error| {
            Problem::bad_request(format!("line {} is no row: {error}", i + 1)).with("line", i + 1)
        })?);
    }
    if rows.is_empty() { Err(none()) } else { Ok(rows) }
}

/// Parses the rows of several datasets: `{"departments": [...], "jobs": [...]}`. `known` fails for a name that no
/// dataset has.
pub(super) fn datasets(
    body: &[u8],
    known: impl Fn(&str) -> Result<(), Problem>,
) -> Result<Vec<(String, Vec<JsonRow<'_>>)>, Problem> {
    let refused = RefCell::new(None);
    let admit = |name: &str| {
        // Names of datasets are shorter than the excerpt.
        known(&excerpt(name)).map_err(|problem| {
            refused.replace(Some(problem));
            "there is no such dataset".to_owned()
        })
    };
    let datasets = read_members(body, admit);
    match refused.take() {
        Some(problem) => Err(problem),
        None if matches!(&datasets, Ok(datasets) if datasets.is_empty()) => Err(none()),
        None => datasets,
    }
}

fn none() -> Problem {
    Problem::bad_request(format!("there is no row; send 1 to {ROWS_MAX}"))
}

fn too_many() -> Problem {
    Problem::too_large(format!(
        "there are more than {ROWS_MAX} rows; send them in several requests, or as a file of CSV"
    ))
}

fn bad_json(error: &serde_json::Error) -> Problem {
    Problem::bad_request(format!("the body is not what it must be: {error}"))
}

/// Rows of a dataset that are parsed and have no fault that would refuse the request.
pub(super) struct RowTable<'a> {
    dataset: &'a Dataset,
    /// A value for each column.
    rows: Vec<Vec<Option<Cow<'a, str>>>>,
}

impl<'a> RowTable<'a> {
    /// Puts rows in the order of the dataset's columns. Fails if a field has no column, or a string is not valid.
    pub(super) fn new(dataset: &'a Dataset, rows: Vec<JsonRow<'a>>) -> Result<Self, Problem> {
        let ordered = rows.into_iter().enumerate().map(|(i, row)| ordered(dataset, i + 1, row));
        Ok(Self { dataset, rows: ordered.collect::<Result<_, _>>()? })
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The start of the dataset's sequence, and how many keys it must generate.
    pub(super) fn missing_numbers(&self) -> Option<(i64, u64)> {
        let Some((key, Generated::Sequence { start })) = self.dataset.generated() else { return None };
        let missing = self.rows.iter().filter(|row| row[key].is_none()).count();
        (missing > 0).then_some((start, missing as u64))
    }

    /// Generates keys for rows that lack one: numbers from `first`, or UUIDs that sort by time.
    pub(super) fn generate_keys(&mut self, mut first: i64) {
        let Some((column, generated)) = self.dataset.generated() else { return };
        for row in &mut self.rows {
            let key = &mut row[column];
            if key.is_none() {
                *key = Some(Cow::Owned(match generated {
                    Generated::Uuid => Uuid::now_v7().to_string(),
                    Generated::Sequence { .. } => {
                        first += 1;
                        (first - 1).to_string()
                    }
                }));
            }
        }
    }

    /// The rows as lines of RFC 4180, without a header. Fails if a row is too long for a line.
    pub(super) fn lines(&self, max_record_bytes: usize) -> Result<Bytes, Problem> {
        let means_missing = |column: usize, value: &str| {
            self.dataset.columns[column].reading.nulls.iter().any(|null| null == value)
        };
        let mut text = Vec::new();
        for (i, row) in self.rows.iter().enumerate() {
            let start = text.len();
            write_row(row.iter().map(Option::as_deref), means_missing, &mut text);
            if text.len() - start > max_record_bytes {
                let detail = format!("row {} is longer than max_record_bytes, {max_record_bytes}", i + 1);
                return Err(Problem::too_large(detail).with("row", i + 1));
            }
        }
        Ok(text.into())
    }
}

/// The values of a row in the order of the columns.
fn ordered<'a>(
    dataset: &'a Dataset,
    number: usize,
    JsonRow(fields): JsonRow<'a>,
) -> Result<Vec<Option<Cow<'a, str>>>, Problem> {
    let mut values = vec![None; dataset.columns.len()];
    for (name, value) in fields {
        let Some(i) = dataset.columns.iter().position(|column| column.name == name) else {
            let known: Vec<&str> = dataset.columns.iter().map(|column| column.name.as_str()).collect();
            let meant = nearest(&name, known.iter().copied());
            let meant = meant
                .map_or_else(|| format!("it has {}", known.join(", ")), |n| format!("do you mean '{n}'?"));
            let name = excerpt(&name);
            let detail = format!("row {number}: '{}' has no column '{name}'; {meant}", dataset.name);
            return Err(Problem::bad_request(detail).with("row", number).with("field", name));
        };
        values[i] = text_of(value, &dataset.columns[i]).map_err(|error| {
            let detail = format!("row {number}, field '{name}': {error}");
            Problem::bad_request(detail).with("row", number).with("field", name.as_ref())
        })?;
    }
    Ok(values)
}

/// A value as a field of CSV. A string is unescaped. A number and a boolean are written in the notation of the column's
/// files: with its decimal mark, and with its first word for true or false. Whole numbers are written in digits in
/// columns of integers. Any other value stays as it is written. A value that does not fit its column makes the line a
/// dead letter, as for any line.
fn text_of<'a>(value: &'a RawValue, column: &'a Column) -> Result<Option<Cow<'a, str>>, serde_json::Error> {
    let (raw, kind, reading) = (value.get(), column.kind, &column.reading);
    let word = |words: &'a [String]| Cow::Borrowed(words.first().map_or(raw, String::as_str));
    Ok(match (raw.as_bytes().first(), kind) {
        (Some(b'n'), _) => None,
        (Some(b'"'), kind) if kind != Kind::Jsonb => Some(serde_json::from_str::<JsonText<'_>>(raw)?.0),
        (Some(b't'), Kind::Boolean) => Some(word(&reading.true_words)),
        (Some(b'f'), Kind::Boolean) => Some(word(&reading.false_words)),
        (_, kind) if kind.is_number() => {
            let number = if kind.is_integer() { numbers::whole(raw) } else { Cow::Borrowed(raw) };
            let is_own = reading.decimal != '.' && number.contains('.');
            let in_own = |number: Cow<'_, str>| number.replace('.', reading.decimal.encode_utf8(&mut [0; 4]));
            Some(if is_own { Cow::Owned(in_own(number)) } else { number })
        }
        _ => Some(Cow::Borrowed(raw)),
    })
}

/// The beginning of a name, for an error.
fn excerpt(name: &str) -> String {
    name.chars().take(NAME_CHARS_SHOWN).collect()
}

/// The body without the byte order mark that some clients send.
fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use tidegate_core::manifest::Manifest;

    use super::*;

    #[test]
    fn numbers_and_booleans_are_written_in_the_notation_of_their_column() {
        let text = "{pipeline: p, datasets: {d: {key: id, csv: {decimal: ','}, columns: {id: integer, \
                    n: {type: numeric, thousands: '.'}, b: {type: boolean, true: [Y], false: [N]}, t: text, \
                    x: {type: boolean, true: [X]}}}}}";
        let manifest = Manifest::parse(text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
        let columns = &manifest.datasets[0].columns;
        for (column, json, expected) in [
            (0, "7.0", Some("7")),
            (1, "1234.500", Some("1234,500")),
            (1, "\"1.234,5\"", Some("1.234,5")),
            (1, "null", None),
            (2, "true", Some("Y")),
            (2, "false", Some("N")),
            (2, "\"n\"", Some("n")),
            (3, "1.5", Some("1.5")),
            (3, "true", Some("true")),
            (4, "true", Some("X")),
            (4, "false", Some("false")),
        ] {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(text_of(raw, &columns[column]).unwrap().as_deref(), expected, "{json}");
        }
    }
}
