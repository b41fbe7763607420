//! How the rows of a table stand in an Avro file: one field for each column.
//!
//! Each field says with `tidegate.type` which type its column has, and with `tidegate.column` what the column is
//! called where Avro does not take that name. Other readers pass over both.

use serde_json::{Value, json};
use tidegate_core::manifest::{Dataset, Kind};

/// Which type a column has in Postgres, in the manifest's words.
pub(super) const TYPE: &str = "tidegate.type";
/// What a column, or a dataset, is really called.
pub(super) const COLUMN: &str = "tidegate.column";
pub(super) const DATASET: &str = "tidegate.dataset";
/// Set where the values of a column are written as Postgres writes them as text.
pub(super) const TEXT: &str = "tidegate.text";

/// What a row carries besides its columns.
pub(super) const POSITION: [&str; 2] = ["_source", "_line"];

/// Names that a record cannot have, since they are types.
const TYPES: [&str; 14] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string", "record", "enum", "array", "map",
    "union", "fixed",
];

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// A text whose binary form has a version before it.
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

/// A column, and the field it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// The column's name.
    pub(crate) column: String,
    /// The field's name.
    pub(crate) name: String,
    /// The column's type, for people and for who restores it.
    pub(crate) kind: String,
    pub(crate) form: Form,
    pub(crate) optional: bool,
    /// Whether Postgres is to give the value as text, since no form of Avro's holds it.
    pub(crate) as_text: bool,
    pub(crate) note: Option<&'static str>,
}

/// The fields of a file, in the order in which rows have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The dataset's name, or the table's.
    pub(crate) table: String,
    pub(crate) fields: Vec<Field>,
}

impl Layout {
    /// How the rows of a dataset are written: its columns in the manifest's order, and where each row came from.
    pub(crate) fn of(dataset: &Dataset) -> Self {
        let columns = dataset.columns.iter().map(|column| {
            let (form, note) = form_of(column.kind);
            Field {
                column: column.name.clone(),
                name: String::new(),
                kind: column.kind.to_string(),
                form,
                optional: column.optional,
                as_text: false,
                note,
            }
        });
        let position = POSITION.map(|column| Field {
            column: column.to_owned(),
            name: String::new(),
            kind: "bigint".to_owned(),
            form: Form::Long,
            optional: false,
            as_text: false,
            note: None,
        });
        Self { table: dataset.name.clone(), fields: columns.chain(position).collect() }.named()
    }

    /// How the rows of one of Tidegate's own tables are written. Columns come as name, type, and whether a value may
    /// be missing; what has no form of its own is text.
    pub(crate) fn of_table(table: &str, columns: &[(String, String, bool)]) -> Self {
        let fields = columns.iter().map(|(column, kind, optional)| {
            let form = match kind.as_str() {
                "smallint" | "integer" => Some(Form::Int),
                "bigint" => Some(Form::Long),
                "boolean" => Some(Form::Boolean),
                "bytea" => Some(Form::Bytes),
                "text" => Some(Form::String),
                "uuid" => Some(Form::Uuid),
                "timestamp with time zone" => Some(Form::Timestamptz),
                _ => None,
            };
            Field {
                column: column.clone(),
                name: String::new(),
                kind: kind.clone(),
                form: form.unwrap_or(Form::String),
                optional: *optional,
                as_text: form.is_none(),
                note: None,
            }
        });
        Self { table: table.to_owned(), fields: fields.collect() }.named()
    }

    /// Gives each field a name: the column's own where Avro takes it, else one like it that no other has.
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

    /// The same with these columns, by index, as text.
    pub(super) fn with_texts(mut self, columns: &[usize]) -> Self {
        for column in columns {
            let field = &mut self.fields[*column];
            field.as_text = true;
            field.form = Form::String;
            field.note = Some("as Postgres writes it, since one of the values has no form in Avro");
        }
        self
    }

    /// The schema, as JSON.
    pub(super) fn schema(&self) -> Value {
        let mut record = json!({"type": "record", "name": record_name(&self.table)});
        if record["name"] != self.table.as_str() {
            record[DATASET] = json!(self.table);
        }
        record["fields"] = self.fields.iter().map(field_json).collect();
        record
    }
}

fn field_json(field: &Field) -> Value {
    let plain = |name: &str| json!(name);
    let logical = |name: &str, logical: &str| json!({"type": name, "logicalType": logical});
    let form = match field.form {
        Form::Boolean => plain("boolean"),
        Form::Int => plain("int"),
        Form::Long => plain("long"),
        Form::Float => plain("float"),
        Form::Double => plain("double"),
        Form::Bytes => plain("bytes"),
        Form::String | Form::Jsonb => plain("string"),
        Form::Uuid => logical("string", "uuid"),
        Form::Date => logical("int", "date"),
        Form::Time => logical("long", "time-micros"),
        Form::Timestamp => logical("long", "local-timestamp-micros"),
        Form::Timestamptz => logical("long", "timestamp-micros"),
        Form::Decimal { precision, scale } => {
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

fn form_of(kind: Kind) -> (Form, Option<&'static str>) {
    let form = match kind {
        Kind::SmallInt | Kind::Integer => Form::Int,
        Kind::BigInt => Form::Long,
        Kind::Numeric { precision: Some(precision), scale } => {
            Form::Decimal { precision, scale: scale.unwrap_or(0) }
        }
        Kind::Real => Form::Float,
        Kind::Double => Form::Double,
        Kind::Boolean => Form::Boolean,
        Kind::Text | Kind::Varchar(_) => Form::String,
        Kind::Date => Form::Date,
        Kind::Time => Form::Time,
        Kind::Timestamp => Form::Timestamp,
        Kind::Timestamptz => Form::Timestamptz,
        Kind::Uuid => Form::Uuid,
        Kind::Jsonb => return (Form::Jsonb, Some("a JSON document")),
        // Avro's decimal has one scale for all values.
        Kind::Numeric { precision: None, .. } => return (Form::String, Some("a decimal number")),
    };
    (form, None)
}

/// Whether Avro takes it as the name of a field.
fn is_name(name: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(is_first)
        && name.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit())
}

/// A name that Avro takes, as like the given one as can be.
fn name_like(name: &str) -> String {
    let like: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if is_name(&like) { like } else { format!("_{like}") }
}

/// The name of a table's record.
pub(super) fn record_name(table: &str) -> String {
    if TYPES.contains(&table) { format!("{table}_") } else { name_like(table) }
}

/// How Postgres is to give the rows: `copy ... to stdout (format binary)` of these expressions.
pub(crate) fn expressions(layout: &Layout) -> String {
    let of = |field: &Field| {
        let column = crate::postgres::table::quoted(&field.column);
        // Text as it is where it has no form, and numbers of any scale.
        if field.as_text || (field.form == Form::String && field.kind == "numeric") {
            format!("{column}::text")
        } else {
            column
        }
    };
    layout.fields.iter().map(of).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(columns: &[&str]) -> Vec<String> {
        let columns: Vec<_> =
            columns.iter().map(|name| (name.to_string(), "text".to_owned(), false)).collect();
        Layout::of_table("t", &columns).fields.into_iter().map(|field| field.name).collect()
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
