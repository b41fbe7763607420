//! What would become of a file, by the manifest alone.

use std::fs;

use tidegate_core::dead_letter::Code;
use tidegate_core::manifest::Manifest;
use tidegate_files::{Extent, Preview, preview};

pub(super) const ALL: Extent = Extent { bytes_max: None, rows_max: 20 };

/// The preview of a file of these bytes as the first dataset of a manifest.
pub(super) fn previewed(manifest: &Manifest, name: &str, bytes: &[u8], extent: Extent) -> Preview {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    preview(&path, name, manifest, 0, extent, |_| ()).unwrap()
}

fn people(csv: &str) -> Manifest {
    let text = format!(
        "pipeline: p\ndatasets:\n  people:\n    key: id\n    csv: {{{csv}}}\n    columns:\n      id: integer\n      \
         name: {{type: text, optional: true}}\n      born: {{type: date, optional: true}}\n"
    );
    Manifest::parse(&text, &|_| None).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

fn values(preview: &Preview, row: usize) -> Vec<Option<&str>> {
    preview.rows[row].values.iter().map(|value| value.as_deref()).collect()
}

#[test]
fn rows_are_shown_as_they_would_be_stored_and_rejects_are_counted_by_reason() {
    let text = "Name,id,born\nAnn,1,2021-07-27\n,2,\nBob,x,2021-07-28\nCy,y,soon\n";
    let found = previewed(&people("header: true"), "people.csv", text.as_bytes(), ALL);
    assert_eq!((found.lines, found.accepted, found.rejected, found.whole), (4, 2, 2, true));
    assert_eq!(values(&found, 0), [Some("1"), Some("Ann"), Some("2021-07-27")]);
    assert_eq!(values(&found, 1), [Some("2"), None, None]);
    assert_eq!(found.columns[1].from, "field 1, 'Name'");
    let reason = &found.reasons[0];
    assert_eq!((reason.column.as_deref(), reason.code, reason.lines), (Some("id"), Code::InvalidInteger, 2));
    let example = &reason.example;
    assert_eq!((example.line, example.physical_line, example.value.as_str()), (3, 4, "x"));
    assert_eq!(found.skipped.header, 1);
    assert_eq!(found.refused, None);
}

#[test]
fn a_header_that_does_not_fit_refuses_the_file_and_says_why() {
    let found = previewed(&people("header: true"), "people.csv", b"id;name;born\n1;Ann;\n", ALL);
    assert!(found.refused.as_ref().unwrap().contains("delimiter"), "{:?}", found.refused);
    assert_eq!((found.lines, found.encoding.as_str()), (0, "utf-8"));
    let nature = previewed(&people("header: false"), "people.csv", b"PK\x03\x04\x14\0\0\0\x08\0a.csv", ALL);
    assert!(nature.refused.as_ref().unwrap().contains("zip"), "{:?}", nature.refused);
}

#[test]
fn names_in_the_first_line_of_a_file_without_a_header_are_a_warning() {
    let found = previewed(&people("header: false"), "people.csv", b"id,name,born\n1,Ann,\n", ALL);
    assert_eq!((found.warnings.len(), found.accepted, found.rejected), (1, 1, 1));
}

#[test]
fn only_as_much_is_read_as_is_asked_for() {
    let text: String = (1..200_000).map(|id| format!("{id},Ann,2021-07-27\n")).collect();
    let some = Extent { bytes_max: Some(1 << 20), rows_max: 3 };
    let found = previewed(&people("header: false"), "people.csv", text.as_bytes(), some);
    assert!(!found.whole && found.bytes_read < found.bytes && found.lines > 1000, "{found:?}");
    assert_eq!((found.rows.len(), found.rejected), (3, 0), "a line that the end cuts is not judged");
    let whole = previewed(&people("header: false"), "people.csv", text.as_bytes(), ALL);
    assert_eq!((whole.lines, whole.whole), (199_999, true));
}

#[test]
fn lines_that_are_no_text_or_too_long_are_rejects_with_their_reason() {
    let long = "x".repeat(2 << 20);
    let bytes = [&b"1,\xe9,\n2,"[..], long.as_bytes(), b",\n3,Cy,\n"].concat();
    let found = previewed(&people("header: false"), "people.csv", &bytes, ALL);
    let codes: Vec<Code> = found.reasons.iter().map(|reason| reason.code).collect();
    assert_eq!((found.lines, found.accepted, codes), (3, 1, vec![Code::RecordTooLong, Code::InvalidUtf8]));
}

#[test]
fn dialect_and_fields_without_a_column_are_told() {
    let manifest = people("header: true, delimiter: \";\", skip_lines: 1, columns_unknown: ignore");
    let found = previewed(&manifest, "people.csv", b"Report\nid;name;born;x\n1;Ann;;7\n", ALL);
    assert_eq!((found.accepted, found.ignored), (1, vec!["x".to_owned()]));
    assert_eq!(found.skipped.before_header, 1);
    assert_eq!(
        found.syntax,
        *serde_json::json!({"delimiter": ";", "header": true, "skip_lines": 1}).as_object().unwrap()
    );
}
