//! Decides whether the rows of a file are rows of a dataset, and which field is which column.

use apache_avro::Schema;
use apache_avro::schema::{
    DecimalSchema, NamesRef, RecordField, RecordSchema, ResolvedSchema, UnionSchema, UuidSchema,
};
use apache_avro::types::Value;
use tidegate_core::manifest::{Dataset, Kind, nearest};

use crate::layout::{COLUMN, DATASET, POSITION, RecordLayout, TEXT, record_name};
use crate::text::text;

/// The fields of a file, by column.
#[derive(Clone, Debug)]
pub(super) struct FieldMap {
    /// For each column that is needed, its field.
    columns: Vec<Option<ColumnField>>,
}

/// A field of a file.
#[derive(Clone, Debug)]
struct ColumnField {
    index: usize,
    /// For each branch of the field's union, or for its only type, the scale if it is a decimal.
    scales: Vec<usize>,
}

impl ColumnField {
    fn new(index: usize, types: &[&Schema]) -> Self {
        let scale = |schema: &&Schema| match schema {
            Schema::Decimal(DecimalSchema { scale, .. }) => *scale,
            _ => 0,
        };
        Self { index, scales: types.iter().map(scale).collect() }
    }
}

/// Returns the name of the dataset whose rows the file holds, as the file gives it.
pub(super) fn dataset_name(schema: &Schema) -> Option<&str> {
    let Schema::Record(record) = schema else { return None };
    match record.attributes.get(DATASET) {
        Some(serde_json::Value::String(name)) => Some(name),
        _ => Some(record.name.name()),
    }
}

impl FieldMap {
    /// Finds the columns of a dataset among the fields of a file. If the file's rows are not rows of the dataset, the
    /// error holds all differences.
    pub(super) fn of(schema: &Schema, dataset: &Dataset) -> Result<Self, Vec<String>> {
        let (record, names) = parts(schema)?;
        let layout = RecordLayout::of(dataset);
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
            let types = types(&field.schema, &names);
            for branch in &types {
                if let Some(expected) = unfit(branch, column.kind, is_text) {
                    differences.push(format!(
                        "the column '{}' is {}, its field is of type {}; {expected}",
                        column.name,
                        column.kind,
                        in_words(branch)
                    ));
                }
            }
            if types.iter().all(|branch| matches!(branch, Schema::Null)) && !column.optional {
                differences.push(format!("the required column '{}' is always null", column.name));
            }
            columns.push(Some(ColumnField::new(index, &types)));
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

    /// Takes all fields in the order of the file. Also returns their columns.
    pub(super) fn of_all(schema: &Schema) -> Result<(Self, Vec<String>), Vec<String>> {
        let (record, names) = parts(schema)?;
        let fields = record.fields.iter().enumerate();
        let columns =
            fields.map(|(index, field)| Some(ColumnField::new(index, &types(&field.schema, &names))));
        let called = record.fields.iter().map(|field| called(field).unwrap_or(&field.name).to_owned());
        Ok((Self { columns: columns.collect() }, called.collect()))
    }

    /// Returns the texts of a row, one value for each column. Fails if the row has a value that no column can have.
    pub(super) fn texts(&self, mut fields: Vec<(String, Value)>) -> Result<Vec<Option<String>>, String> {
        let take = |taken: &Option<ColumnField>| {
            let Some(ColumnField { index, scales }) = taken else { return Ok(None) };
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

/// Returns the schema by which rows are read. A text in place of a uuid is an invalid value of a line, not of the
/// file, so texts are not parsed as uuids.
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

/// Returns the column's name that a field gives.
fn called(field: &RecordField) -> Option<&str> {
    field.custom_attributes.get(COLUMN).and_then(serde_json::Value::as_str)
}

/// Finds the fields that are a column: by the column name that they give, by their own name, by the name that the
/// column has in Avro, or by an alias. Only the first of these that finds a field counts.
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

/// Returns the record of a file's rows, and the types that are named within it.
fn parts(schema: &Schema) -> Result<(&RecordSchema, NamesRef<'_>), Vec<String>> {
    let Schema::Record(record) = schema else {
        return Err(vec![format!("its rows are of type {}, not records", in_words(schema))]);
    };
    let names = ResolvedSchema::new(schema).map_err(|error| vec![error.to_string()])?;
    Ok((record, names.get_names().clone()))
}

/// Returns the types that a value of a field may have.
fn types<'a>(schema: &'a Schema, names: &NamesRef<'a>) -> Vec<&'a Schema> {
    let branches = match schema {
        Schema::Union(union) => union.variants(),
        one => std::slice::from_ref(one),
    };
    let resolved = |branch: &'a Schema| match branch {
        Schema::Ref { name } => names.get(name).copied().unwrap_or(branch),
        _ => branch,
    };
    branches.iter().map(resolved).collect()
}

/// Returns what to write instead of a type, if its values do not fit a column of that kind.
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

/// Describes a type in words.
fn in_words(schema: &Schema) -> String {
    match schema {
        Schema::Record(record) => format!("record {}", record.name.name()),
        Schema::Fixed(fixed) => format!("fixed of {} bytes", fixed.size),
        Schema::Decimal(decimal) => format!("decimal({},{})", decimal.precision, decimal.scale),
        Schema::Union(_) => "union".to_owned(),
        other => {
            let json = serde_json::to_value(other).unwrap_or_default();
            let name = json["logicalType"].as_str().or(json["type"].as_str()).or(json.as_str());
            name.unwrap_or_default().to_owned()
        }
    }
}

/// Returns whether a file holds rows of a dataset, by the name of its record.
pub(super) fn is_of(schema: &Schema, dataset: &Dataset) -> bool {
    dataset_name(schema).is_some_and(|name| name == dataset.name || name == record_name(&dataset.name))
}
