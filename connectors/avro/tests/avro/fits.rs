//! Files as others write them: which fit a dataset, and all that keeps the others from it.

use std::path::{Path, PathBuf};

use apache_avro::types::Value;
use apache_avro::{Codec, Decimal, Schema, Writer};
use serde_json::json;
use tidegate_avro::check;
use tidegate_core::manifest::Manifest;

use super::database::{lines, parsed};

const MANIFEST: &str = "
pipeline: fits
datasets:
  people:
    key: id
    columns:
      id: integer
      name: text
      born: {type: date, optional: true}
      hired: {type: timestamptz, optional: true}
      pay: {type: 'numeric(8,2)', optional: true}
      rate: {type: double, optional: true}
      token: {type: uuid, optional: true}
";

fn written(folder: &Path, schema: serde_json::Value, rows: Vec<Vec<(&str, Value)>>) -> PathBuf {
    let schema = Schema::parse(&schema).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), Codec::Null).unwrap();
    for row in rows {
        let fields = row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        writer.append_value(Value::Record(fields)).unwrap();
    }
    let path = folder.join("file.avro");
    std::fs::write(&path, writer.into_inner().unwrap()).unwrap();
    path
}

fn record(fields: serde_json::Value) -> serde_json::Value {
    json!({"type": "record", "name": "people", "namespace": "org.example", "fields": fields})
}

fn differences(manifest: &Manifest, fields: serde_json::Value) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), record(fields), Vec::new());
    check(manifest, &path, &[]).unwrap_err().to_string()
}

#[test]
fn other_orders_widths_unions_and_aliases_fit_and_what_is_optional_may_be_missing() {
    let manifest = parsed(MANIFEST);
    let folder = tempfile::tempdir().unwrap();
    let union = |index, value| Value::Union(index, Box::new(value));
    let path = written(
        folder.path(),
        record(json!([
            {"name": "_source", "type": "long"},
            {"name": "rate", "type": ["float", "null", "int"]},
            {"name": "full_name", "aliases": ["name"], "type": ["null", "string"], "default": null},
            {"name": "pay", "type": [
                {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3},
                {"type": "fixed", "name": "cents", "size": 4, "logicalType": "decimal", "precision": 8, "scale": 2},
            ]},
            {"name": "token", "type": {"type": "fixed", "name": "u", "size": 16, "logicalType": "uuid"}},
            {"name": "hired", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "id", "type": "long"},
        ])),
        vec![
            vec![
                ("_source", Value::Long(9)),
                ("rate", union(0, Value::Float(0.1))),
                ("full_name", union(1, Value::String("a, b".into()))),
                ("pay", union(0, Value::Decimal(Decimal::from(vec![0x04, 0xd2])))),
                ("token", Value::Uuid(uuid::Uuid::from_u128(1))),
                ("hired", Value::TimestampMillis(1_500)),
                ("id", Value::Long(5_000_000_000)),
            ],
            vec![
                ("_source", Value::Long(9)),
                ("rate", union(2, Value::Int(3))),
                ("full_name", union(0, Value::Null)),
                ("pay", union(1, Value::Decimal(Decimal::from(vec![0xff, 0xff, 0xff, 0xff])))),
                ("token", Value::Uuid(uuid::Uuid::from_u128(2))),
                ("hired", Value::TimestampMillis(0)),
                ("id", Value::Long(2)),
            ],
        ],
    );
    let checked = check(&manifest, &path, &[]).unwrap();
    // Too large an id, a missing name: bad values are the business of the rules of lines.
    assert_eq!(
        lines(&manifest, &checked[0]),
        "5000000000,\"a, b\",,1970-01-01T00:00:01.5Z,1.234,0.1,00000000-0000-0000-0000-000000000001\n\
         2,,,1970-01-01T00:00:00Z,-0.01,3,00000000-0000-0000-0000-000000000002\n"
    );
}

#[test]
fn times_and_uuids_may_be_strings_whatever_they_say() {
    let manifest = parsed(MANIFEST);
    let folder = tempfile::tempdir().unwrap();
    let path = written(
        folder.path(),
        record(json!([
            {"name": "id", "type": "int"},
            {"name": "name", "type": {"type": "enum", "name": "names", "symbols": ["Ann", "Bob"]}},
            {"name": "hired", "type": "string"},
            {"name": "born", "type": ["null", "string"]},
            {"name": "token", "type": "string"},
        ])),
        vec![vec![
            ("id", Value::Int(1)),
            ("name", Value::Enum(1, "Bob".into())),
            ("hired", Value::String("2021-07-27T16:02:08Z".into())),
            ("born", Value::Union(0, Box::new(Value::Null))),
            ("token", Value::String("no uuid".into())),
        ]],
    );
    let checked = check(&manifest, &path, &[]).unwrap();
    assert_eq!(lines(&manifest, &checked[0]), "1,Bob,,2021-07-27T16:02:08Z,,,no uuid\n");
}

#[test]
fn all_differences_are_listed() {
    let manifest = parsed(MANIFEST);
    let said = differences(
        &manifest,
        json!([
            {"name": "id", "type": ["null", "string"]},
            {"name": "born", "type": "int"},
            {"name": "hired", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
            {"name": "pay", "type": "double"},
            {"name": "rate", "type": {"type": "array", "items": "double"}},
            {"name": "tokn", "type": "string"},
            {"name": "_line", "type": "long"},
        ]),
    );
    for expected in [
        "the column 'id' is integer, its field is of type string; write int or long",
        "the required column 'name' is missing",
        "the column 'born' is date, its field is of type int",
        "the column 'hired' is timestamptz, its field is of type local-timestamp-micros",
        "the column 'pay' is numeric(8,2), its field is of type double",
        "the column 'rate' is double, its field is of type array",
        "the field 'tokn' is no column of 'people', did you mean 'token'?",
    ] {
        assert!(said.contains(expected), "'{expected}' is not in: {said}");
    }
    assert!(!said.contains("_line"), "{said}");
}

#[test]
fn a_field_that_two_claim_and_one_that_is_always_null_do_not_fit() {
    let manifest = parsed(MANIFEST);
    let said = differences(
        &manifest,
        json!([
            {"name": "id", "type": "null"},
            {"name": "a", "aliases": ["name"], "type": "string"},
            {"name": "b", "aliases": ["name"], "type": "string"},
        ]),
    );
    assert!(said.contains("the fields 'a' and 'b' are all the column 'name'"), "{said}");
    assert!(said.contains("the required column 'id' is always null"), "{said}");
}

#[test]
fn whose_rows_they_are_is_told_by_the_record_or_the_file_or_the_user() {
    let manifest = parsed(MANIFEST);
    let folder = tempfile::tempdir().unwrap();
    let schema = json!({"type": "record", "name": "Person", "fields": [
        {"name": "id", "type": "int"}, {"name": "name", "type": "string"}
    ]});
    let path = written(
        folder.path(),
        schema,
        vec![vec![("id", Value::Int(1)), ("name", Value::String("x".into()))]],
    );
    let said = check(&manifest, &path, &[]).unwrap_err().to_string();
    assert!(said.contains("'Person'") && said.contains("people"), "{said}");
    assert_eq!(check(&manifest, &path, &["people".to_owned()]).unwrap()[0].rows, 1);
    let named = folder.path().join("people.avro");
    std::fs::rename(path, &named).unwrap();
    assert_eq!(check(&manifest, &named, &[]).unwrap()[0].rows, 1);
    let said = check(&manifest, &named, &["nobody".to_owned()]).unwrap_err().to_string();
    assert!(said.contains("the datasets are: people"), "{said}");
}
