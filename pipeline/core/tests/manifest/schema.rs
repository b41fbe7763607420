//! The published JSON Schema and the parser know the same keys and types.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;
use tidegate_core::manifest::{Codec, Compression, Kind, PARTITIONS_MAX, keys};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../../docs/tidegate.schema.json")).expect("the schema is JSON")
}

#[test]
fn the_schema_has_exactly_the_keys_that_the_parser_knows() {
    let schema = schema();
    let places: [(&str, &[&str]); 12] = [
        ("", &keys::MANIFEST),
        ("/$defs/topics", &keys::TOPICS),
        ("/$defs/fluvio", &keys::FLUVIO),
        ("/$defs/tls", &keys::TLS),
        ("/$defs/dataset", &keys::DATASET),
        ("/$defs/reference", &keys::REFERENCE),
        ("/$defs/csv", &keys::CSV),
        ("/$defs/column", &keys::COLUMN),
        ("/$defs/http", &keys::HTTP),
        ("/$defs/http_tls", &keys::HTTP_TLS),
        ("/$defs/backup", &keys::BACKUP),
        ("/$defs/generated", &keys::GENERATED),
    ];
    for (place, known) in places {
        let object = schema.pointer(place).unwrap();
        let properties: BTreeSet<&str> =
            object["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(properties, known.iter().copied().collect(), "{place}");
        assert_eq!(object["additionalProperties"], Value::Bool(false), "{place}");
    }
}

#[test]
fn the_schema_accepts_the_types_that_the_parser_knows() {
    let schema = schema();
    let of_type = schema.pointer("/$defs/type").unwrap();
    let pattern = Regex::new(of_type["pattern"].as_str().unwrap()).unwrap();
    let examples: Vec<&str> =
        of_type["examples"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(examples.len(), 15, "one for each kind");
    let kinds: BTreeSet<String> = examples
        .iter()
        .map(|text| format!("{:?}", std::mem::discriminant(&Kind::parse(text).unwrap())))
        .collect();
    assert_eq!(kinds.len(), examples.len(), "each for another kind");
    for text in examples.iter().chain(&["numeric", "numeric(9)"]) {
        assert!(pattern.is_match(text), "{text}");
    }
    for text in ["int", "varchar", "text(3)", "xtext"] {
        assert!(!pattern.is_match(text) && Kind::parse(text).is_err(), "{text}");
    }
}

#[test]
fn the_schema_accepts_the_compressions_that_the_parser_knows() {
    let schema = schema();
    let names = schema.pointer("/$defs/fluvio/properties/compression/enum").unwrap().as_array().unwrap();
    assert_eq!(*names, Compression::ALL.map(Compression::as_str));
    let partitions = schema.pointer("/$defs/fluvio/properties/partitions/maximum").unwrap();
    assert_eq!(*partitions, PARTITIONS_MAX);
}

#[test]
fn the_schema_accepts_the_codecs_that_the_parser_knows() {
    let schema = schema();
    let names = schema.pointer("/$defs/backup/properties/codec/enum").unwrap().as_array().unwrap();
    assert_eq!(*names, Codec::ALL.map(Codec::as_str));
}

#[test]
fn the_schema_accepts_what_the_parser_listens_on() {
    let schema = schema();
    let listen = schema.pointer("/$defs/listen").unwrap();
    let pattern = Regex::new(listen["pattern"].as_str().unwrap()).unwrap();
    for example in listen["examples"].as_array().unwrap() {
        let listen = example.as_str().unwrap();
        assert!(pattern.is_match(listen), "{listen}");
        assert_eq!(super::service::http(&format!("\"{listen}\"")).listen, listen);
    }
    for listen in super::service::NO_LISTEN {
        assert!(!pattern.is_match(listen) || listen.ends_with("65536"), "{listen}");
    }
}
