//! Whether the rows of a file are rows of a dataset, and which field is which column.

use std::collections::HashMap;

use apache_avro::schema::{DecimalSchema, Name, RecordField, UuidSchema};
use apache_avro::types::Value;
use apache_avro::{Schema, schema::UnionSchema};
use tidegate_core::manifest::{Dataset, Kind, nearest};

use super::layout::{COLUMN, DATASET, Layout, POSITION, TEXT, record_name};
use super::text::text;

/// Which fields of a file are which columns.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    /// For each column that is wanted, the field that it is in.
    columns: Vec<Option<Taken>>,
}

/// A field of a file.
#[derive(Clone, Debug)]
struct Taken {
    index: usize,
    /// For each branch of its union, or for the only one, how many digits stand behind the point of a decimal.
    scales: Vec<usize>,
}

/// What the file says that its rows are rows of.
pub(super) fn dataset_name(schema: &Schema) -> Option<&str> {
    let Schema::Record(record) = schema else { return None };
    match record.attributes.get(DATASET) {
        Some(serde_json::Value::String(name)) => Some(name),
        _ => Some(record.name.name()),
    }
}

impl Fit {
    /// Finds the columns of a dataset among the fields of a file.
    ///
    /// # Errors
    ///
    /// All differences that are in the way.
    pub(super) fn of(schema: &Schema, dataset: &Dataset) -> Result<Self, Vec<String>> {
        let Schema::Record(record) = schema else {
            return Err(vec![format!("its rows are of type {}, not records", in_words(schema))]);
        };
        let names = definitions(schema);
        let layout = Layout::of(dataset);
        let mut differences = Vec::new();
        let mut used = vec![false; record.fields.len()];
        let mut columns = Vec::new();
        for (column, ours) in dataset.columns.iter().zip(&layout.fields) {
            let candidates = find(&record.fields, &column.name, &ours.name);
            if candidates.len() > 1 {
                let names: Vec<_> =
                    candidates.iter().map(|i| format!("'{}'", record.fields[*i].name)).collect();
                differences.push(format!(
                    "the fields {} are all the column '{}'",
                    names.join(" and "),
                    column.name
                ));
            }
            let Some(index) = candidates.first().copied() else {
                if !column.optional {
                    differences.push(format!("the required column '{}' is missing", column.name));
                }
                columns.push(None);
                continue;
            };
            candidates.iter().for_each(|i| used[*i] = true);
            let field = &record.fields[index];
            let is_text = field.custom_attributes.get(TEXT) == Some(&serde_json::Value::Bool(true));
            for branch in branches(&field.schema, &names) {
                if let Some(expected) = unfit(branch, column.kind, is_text) {
                    differences.push(format!(
                        "the column '{}' is {}, its field is of type {}; {expected}",
                        column.name,
                        column.kind,
                        in_words(branch)
                    ));
                }
            }
            let is_always_missing =
                branches(&field.schema, &names).all(|branch| matches!(branch, Schema::Null));
            if is_always_missing && !column.optional {
                differences.push(format!("the required column '{}' is always null", column.name));
            }
            columns.push(Some(Taken { index, scales: scales(&field.schema, &names) }));
        }
        for (field, used) in record.fields.iter().zip(used) {
            if !used && !POSITION.contains(&field.name.as_str()) {
                let known = dataset.columns.iter().map(|column| column.name.as_str());
                let hint = nearest(&field.name, known).map(|known| format!(", did you mean '{known}'?"));
                differences.push(format!(
                    "the field '{}' is no column of '{}'{}",
                    field.name,
                    dataset.name,
                    hint.unwrap_or_default()
                ));
            }
        }
        if differences.is_empty() { Ok(Self { columns }) } else { Err(differences) }
    }

    /// All fields, as they stand in the file; with the columns that they are.
    pub(super) fn of_all(schema: &Schema) -> Result<(Self, Vec<String>), Vec<String>> {
        let Schema::Record(record) = schema else {
            return Err(vec![format!("its rows are of type {}, not records", in_words(schema))]);
        };
        let names = definitions(schema);
        let columns = record
            .fields
            .iter()
            .enumerate()
            .map(|(index, field)| Some(Taken { index, scales: scales(&field.schema, &names) }));
        let called = record.fields.iter().map(|field| called(field).unwrap_or(&field.name).to_owned());
        Ok((Self { columns: columns.collect() }, called.collect()))
    }

    /// The texts of a row, a value for each column.
    ///
    /// # Errors
    ///
    /// If it has a value that no column has.
    pub(super) fn texts(&self, mut fields: Vec<(String, Value)>) -> Result<Vec<Option<String>>, String> {
        let take = |taken: &Option<Taken>| {
            let Some(Taken { index, scales }) = taken else { return Ok(None) };
            let Some((_, value)) = fields.get_mut(*index) else { return Err("it lacks a field".to_owned()) };
            let value = std::mem::replace(value, Value::Null);
            let branch = match &value {
                Value::Union(branch, _) => *branch as usize,
                _ => 0,
            };
            text(value, scales.get(branch).copied().unwrap_or_default())
        };
        self.columns.iter().map(take).collect()
    }
}

/// The schema as rows are read by: a text that is to be a uuid and is none is a bad value of a line, not of a file.
pub(super) fn lenient(schema: Schema) -> Schema {
    match schema {
        Schema::Uuid(UuidSchema::String) => Schema::String,
        Schema::Union(union) => {
            let variants: Vec<Schema> = union.variants().iter().cloned().map(lenient).collect();
            UnionSchema::new(variants).map_or(Schema::Union(union), Schema::Union)
        }
        Schema::Record(mut record) => {
            for field in &mut record.fields {
                field.schema = lenient(field.schema.clone());
            }
            Schema::Record(record)
        }
        other => other,
    }
}

/// What a field says that its column is called.
fn called(field: &RecordField) -> Option<&str> {
    field.custom_attributes.get(COLUMN).and_then(serde_json::Value::as_str)
}

/// The fields that are a column: by what they say, by its name, by the name that it has in Avro, or by an alias. Only
/// the first of these that finds one counts.
fn find(fields: &[RecordField], column: &str, name: &str) -> Vec<usize> {
    let all = |is_it: &dyn Fn(&RecordField) -> bool| -> Vec<usize> {
        fields.iter().enumerate().filter(|(_, field)| is_it(field)).map(|(i, _)| i).collect()
    };
    let ways: [&dyn Fn(&RecordField) -> bool; 4] = [
        &|field| called(field) == Some(column),
        &|field| called(field).is_none() && field.name == column,
        &|field| called(field).is_none() && field.name == name,
        &|field| {
            called(field).is_none() && field.aliases.iter().any(|alias| alias == column || alias == name)
        },
    ];
    ways.into_iter().map(all).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The types that a value of a field may have.
fn branches<'a>(
    schema: &'a Schema,
    names: &'a HashMap<Name, &'a Schema>,
) -> Box<dyn Iterator<Item = &'a Schema> + 'a> {
    match schema {
        Schema::Union(union) => Box::new(union.variants().iter().map(|variant| resolved(variant, names))),
        one => Box::new(std::iter::once(resolved(one, names))),
    }
}

fn resolved<'a>(schema: &'a Schema, names: &'a HashMap<Name, &'a Schema>) -> &'a Schema {
    match schema {
        Schema::Ref { name } => names.get(name).copied().unwrap_or(schema),
        other => other,
    }
}

/// The types that are given a name somewhere in a record, to be used again.
fn definitions(schema: &Schema) -> HashMap<Name, &Schema> {
    let Schema::Record(record) = schema else { return HashMap::new() };
    let fields = record.fields.iter().flat_map(|field| match &field.schema {
        Schema::Union(union) => union.variants(),
        one => std::slice::from_ref(one),
    });
    fields
        .filter(|schema| !matches!(schema, Schema::Ref { .. }))
        .filter_map(|s| Some((s.name()?.clone(), s)))
        .collect()
}

fn scales(schema: &Schema, names: &HashMap<Name, &Schema>) -> Vec<usize> {
    let scale = |schema: &Schema| match schema {
        Schema::Decimal(DecimalSchema { scale, .. }) => *scale,
        _ => 0,
    };
    branches(schema, names).map(scale).collect()
}

/// What is to be written instead of a type, if its values are none of a column of that kind.
fn unfit(schema: &Schema, kind: Kind, is_text: bool) -> Option<&'static str> {
    use Schema as S;
    let is_integer = matches!(schema, S::Int | S::Long);
    let is_string = matches!(schema, S::String);
    let is_null = matches!(schema, S::Null);
    let (fits, expected) = match kind {
        Kind::SmallInt | Kind::Integer | Kind::BigInt => (is_integer, "write int or long"),
        Kind::Numeric { precision: Some(_), .. } => {
            (is_integer || matches!(schema, S::Decimal(_)), "write bytes or fixed as decimal, int or long")
        }
        Kind::Numeric { precision: None, .. } => (
            is_integer || is_string || matches!(schema, S::Decimal(_) | S::Float | S::Double),
            "write a string, a decimal, int or long, float or double",
        ),
        Kind::Real | Kind::Double => {
            (is_integer || matches!(schema, S::Float | S::Double), "write float or double, int or long")
        }
        Kind::Boolean => (matches!(schema, S::Boolean), "write boolean"),
        Kind::Text | Kind::Varchar(_) => {
            (is_string || matches!(schema, S::Enum(_) | S::Uuid(UuidSchema::String)), "write string")
        }
        Kind::Date => (is_string || matches!(schema, S::Date), "write int as date, or a string"),
        Kind::Time => (
            is_string || matches!(schema, S::TimeMillis | S::TimeMicros),
            "write int as time-millis, long as time-micros, or a string",
        ),
        Kind::Timestamp => (
            is_string
                || matches!(
                    schema,
                    S::LocalTimestampMillis | S::LocalTimestampMicros | S::LocalTimestampNanos
                ),
            "write long as local-timestamp-millis, -micros or -nanos, or a string",
        ),
        Kind::Timestamptz => (
            is_string || matches!(schema, S::TimestampMillis | S::TimestampMicros | S::TimestampNanos),
            "write long as timestamp-millis, -micros or -nanos, or a string",
        ),
        Kind::Uuid => (
            is_string
                || matches!(schema, S::Uuid(_))
                || matches!(schema, S::Fixed(fixed) if fixed.size == 16),
            "write a string as uuid, or 16 bytes as fixed",
        ),
        Kind::Jsonb => (is_string, "write the document as a string"),
    };
    let fits = fits || is_null || (is_text && is_string);
    (!fits).then_some(expected)
}

/// A type, for people.
fn in_words(schema: &Schema) -> String {
    match schema {
        Schema::Record(record) => format!("record {}", record.name.name()),
        Schema::Enum(_) => "enum".to_owned(),
        Schema::Fixed(fixed) => format!("fixed of {} bytes", fixed.size),
        Schema::Array(_) => "array".to_owned(),
        Schema::Map(_) => "map".to_owned(),
        Schema::Union(_) => "union".to_owned(),
        Schema::Decimal(decimal) => format!("decimal({},{})", decimal.precision, decimal.scale),
        Schema::BigDecimal => "big-decimal".to_owned(),
        Schema::Uuid(_) => "uuid".to_owned(),
        Schema::Duration(_) => "duration".to_owned(),
        Schema::Ref { name } => format!("{name}"),
        Schema::Date => "date".to_owned(),
        Schema::TimeMillis => "time-millis".to_owned(),
        Schema::TimeMicros => "time-micros".to_owned(),
        Schema::TimestampMillis => "timestamp-millis".to_owned(),
        Schema::TimestampMicros => "timestamp-micros".to_owned(),
        Schema::TimestampNanos => "timestamp-nanos".to_owned(),
        Schema::LocalTimestampMillis => "local-timestamp-millis".to_owned(),
        Schema::LocalTimestampMicros => "local-timestamp-micros".to_owned(),
        Schema::LocalTimestampNanos => "local-timestamp-nanos".to_owned(),
        plain => plain.to_string().to_lowercase(),
    }
}

/// Whether a file is one of a dataset by what its record is called.
pub(super) fn is_of(schema: &Schema, dataset: &Dataset) -> bool {
    dataset_name(schema).is_some_and(|name| name == dataset.name || name == record_name(&dataset.name))
}
