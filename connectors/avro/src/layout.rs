//! The layout of a table's rows in an Avro file: one field for each column.
//!
//! Each field names the column's type in `tidegate.type`. If Avro does not accept the column's name, the field has
//! the name in `tidegate.column`. Other readers ignore both.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_core::manifest::{Dataset, Kind};
use tidegate_postgres::table::quoted;

/// The attribute with the column's type in Postgres, in the manifest's words.
pub(super) const TYPE: &str = "tidegate.type";
/// The attributes with the real name of a column, and of a dataset.
pub(super) const COLUMN: &str = "tidegate.column";
pub(super) const DATASET: &str = "tidegate.dataset";
/// The attribute that marks a column whose values are written as Postgres's text.
pub(super) const TEXT: &str = "tidegate.text";

/// The columns of a row's position.
pub(super) const POSITION: [&str; 2] = ["_source", "_line"];

/// Names that a record cannot have, since they are types.
const TYPES: [&str; 14] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string", "record", "enum", "array", "map",
    "union", "fixed",
];

/// The form in which a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AvroForm {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// A text whose binary form in Postgres begins with a version.
    Jsonb,
    Uuid,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Decimal {
        precision: u16,
        scale: u16,
    },
}

/// A column, and its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// The column's name.
    pub(super) column: String,
    /// The field's name.
    pub(super) name: String,
    /// The column's type, for readers of the file and for a restore.
    pub(super) kind: String,
    pub(super) form: AvroForm,
    pub(super) optional: bool,
    /// Whether Postgres sends the value as text, since no form of Avro holds it.
    pub(super) as_text: bool,
    pub(super) note: Option<&'static str>,
}

/// The fields of a file, in the order of a row's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordLayout {
    /// The dataset's name, or the table's.
    pub(super) table: String,
    pub(super) fields: Vec<Field>,
}

impl Field {
    /// Returns the field of a column. The layout gives it its name.
    fn new(column: &str, kind: String, form: AvroForm, optional: bool) -> Self {
        Self {
            column: column.to_owned(),
            name: String::new(),
            kind,
            form,
            optional,
            as_text: false,
            note: None,
        }
    }
}

impl RecordLayout {
    /// Returns the layout of a dataset's rows: its columns in the manifest's order, then the position of the row.
    pub(super) fn of(dataset: &Dataset) -> Self {
        let columns = dataset.columns.iter().map(|column| {
            let (form, note) = form_of(column.kind);
            Field { note, ..Field::new(&column.name, column.kind.to_string(), form, column.optional) }
        });
        let position = POSITION.map(|column| Field::new(column, "bigint".to_owned(), AvroForm::Long, false));
        Self { table: dataset.name.clone(), fields: columns.chain(position).collect() }.named()
    }

    /// Returns the layout of one of Tidegate's own tables. A column is its name, its type, and whether its value may
    /// be null. A column whose type has no form of its own becomes text.
    pub(super) fn of_table(table: &str, columns: &[(String, String, bool)]) -> Self {
        let fields = columns.iter().map(|(column, kind, optional)| {
            let form = match kind.as_str() {
                "smallint" | "integer" => Some(AvroForm::Int),
                "bigint" => Some(AvroForm::Long),
                "boolean" => Some(AvroForm::Boolean),
                "bytea" => Some(AvroForm::Bytes),
                "text" => Some(AvroForm::String),
                "uuid" => Some(AvroForm::Uuid),
                "timestamp with time zone" => Some(AvroForm::Timestamptz),
                _ => None,
            };
            let field = Field::new(column, kind.clone(), form.unwrap_or(AvroForm::String), *optional);
            Field { as_text: form.is_none(), ..field }
        });
        Self { table: table.to_owned(), fields: fields.collect() }.named()
    }

    /// Gives each field a name: the column's own if Avro accepts it, otherwise a similar one that no other field has.
    fn named(mut self) -> Self {
        let mut taken: Vec<String> =
            self.fields.iter().map(|field| &field.column).filter(|column| is_name(column)).cloned().collect();
        for field in &mut self.fields {
            if is_name(&field.column) {
                field.name.clone_from(&field.column);
                continue;
            }
            let like = name_like(&field.column);
            let free = (1..).map(|n| if n == 1 { like.clone() } else { format!("{like}_{n}") });
            field.name = free.into_iter().find(|name| !taken.contains(name)).unwrap_or(like);
            taken.push(field.name.clone());
        }
        self
    }

    /// Returns the layout with these columns, by index, as text.
    pub(super) fn with_texts(mut self, columns: &BTreeSet<usize>) -> Self {
        for column in columns {
            let field = &mut self.fields[*column];
            field.as_text = true;
            field.form = AvroForm::String;
            field.note = Some("as Postgres writes it, since one of the values has no form in Avro");
        }
        self
    }

    /// Returns the schema, as JSON.
    pub(super) fn schema(&self) -> Value {
        let mut record = json!({"type": "record", "name": record_name(&self.table)});
        if record["name"] != self.table.as_str() {
            record[DATASET] = json!(self.table);
        }
        record["fields"] = self.fields.iter().map(field_json).collect();
        record
    }

    /// Returns the expressions whose values Postgres sends, by `copy ... to stdout (format binary)`.
    pub(super) fn expressions(&self) -> String {
        let of = |field: &Field| {
            let column = quoted(&field.column);
            // Cast to text: values without a form in Avro, and numbers of any scale.
            let as_text = field.as_text || (field.form == AvroForm::String && field.kind == "numeric");
            if as_text { format!("{column}::text") } else { column }
        };
        self.fields.iter().map(of).collect::<Vec<_>>().join(", ")
    }
}

fn field_json(field: &Field) -> Value {
    let logical = |name: &str, logical: &str| json!({"type": name, "logicalType": logical});
    let form = match field.form {
        AvroForm::Boolean => json!("boolean"),
        AvroForm::Int => json!("int"),
        AvroForm::Long => json!("long"),
        AvroForm::Float => json!("float"),
        AvroForm::Double => json!("double"),
        AvroForm::Bytes => json!("bytes"),
        AvroForm::String | AvroForm::Jsonb => json!("string"),
        AvroForm::Uuid => logical("string", "uuid"),
        AvroForm::Date => logical("int", "date"),
        AvroForm::Time => logical("long", "time-micros"),
        AvroForm::Timestamp => logical("long", "local-timestamp-micros"),
        AvroForm::Timestamptz => logical("long", "timestamp-micros"),
        AvroForm::Decimal { precision, scale } => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
    };
    let mut json = json!({"name": field.name});
    if field.optional {
        json["type"] = json!(["null", form]);
        json["default"] = Value::Null;
    } else {
        json["type"] = form;
    }
    let called = (field.name != field.column).then(|| format!("the column '{}'", field.column));
    let doc: Vec<&str> = called.as_deref().into_iter().chain(field.note).collect();
    if !doc.is_empty() {
        json["doc"] = json!(doc.join("; "));
    }
    json[TYPE] = json!(field.kind);
    if called.is_some() {
        json[COLUMN] = json!(field.column);
    }
    if field.as_text {
        json[TEXT] = json!(true);
    }
    json
}

fn form_of(kind: Kind) -> (AvroForm, Option<&'static str>) {
    let form = match kind {
        Kind::SmallInt | Kind::Integer => AvroForm::Int,
        Kind::BigInt => AvroForm::Long,
        Kind::Numeric { precision: Some(precision), scale } => {
            AvroForm::Decimal { precision, scale: scale.unwrap_or(0) }
        }
        Kind::Real => AvroForm::Float,
        Kind::Double => AvroForm::Double,
        Kind::Boolean => AvroForm::Boolean,
        Kind::Text | Kind::Varchar(_) => AvroForm::String,
        Kind::Date => AvroForm::Date,
        Kind::Time => AvroForm::Time,
        Kind::Timestamp => AvroForm::Timestamp,
        Kind::Timestamptz => AvroForm::Timestamptz,
        Kind::Uuid => AvroForm::Uuid,
        Kind::Jsonb => return (AvroForm::Jsonb, Some("a JSON document")),
        // Avro's decimal has one scale for all values.
        Kind::Numeric { precision: None, .. } => return (AvroForm::String, Some("a decimal number")),
    };
    (form, None)
}

/// Returns whether Avro accepts a name for a field.
fn is_name(name: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(is_first)
        && name.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit())
}

/// Returns a name that Avro accepts, as similar to the given one as possible.
fn name_like(name: &str) -> String {
    let like: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if is_name(&like) { like } else { format!("_{like}") }
}

/// Returns the name of a table's record.
pub(super) fn record_name(table: &str) -> String {
    if TYPES.contains(&table) { format!("{table}_") } else { name_like(table) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(columns: &[&str]) -> Vec<String> {
        let columns: Vec<_> =
            columns.iter().map(|name| (name.to_string(), "text".to_owned(), false)).collect();
        RecordLayout::of_table("t", &columns).fields.into_iter().map(|field| field.name).collect()
    }

    #[test]
    fn names_that_avro_does_not_take_get_one_that_no_other_has() {
        assert_eq!(
            named(&["id", "Straße 1", "Straße_1", "Stra_e_1", "2nd", "", "_2nd"]),
            ["id", "Stra_e_1_2", "Stra_e_1_3", "Stra_e_1", "_2nd_2", "_", "_2nd"]
        );
        assert_eq!(record_name("string"), "string_");
        assert_eq!(record_name("2021_hires"), "_2021_hires");
    }
}
