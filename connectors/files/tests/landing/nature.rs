//! A file that is no CSV is refused by the name of what it is.

use std::fs;

use tidegate_core::manifest::Manifest;
use tidegate_files::{Nature, UnregisteredFile, names_the_columns};

const MANIFEST: &str = "
pipeline: test
datasets:
  named: {key: id, csv: {header: true}, columns: {id: integer, name: text}}
  plain: {key: id, columns: {id: text, name: text}}
";

/// What is wrong with a file of those bytes, as one with a header or without.
fn fault(bytes: &[u8], dataset: usize) -> Option<String> {
    let manifest = Manifest::parse(MANIFEST, &|_| None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, bytes).unwrap();
    let file = UnregisteredFile { path: &path, name: "a.csv", dataset, syntax: None };
    file.shape(&manifest).unwrap().err()
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn a_file_that_is_no_text_is_named_whether_it_should_have_a_header_or_not() {
    let text = "id,name\r\n1,Ann\r\n2,Bob\r\n";
    let cases: [(Vec<u8>, &str); 14] = [
        (utf16(text, u16::to_le_bytes), "'encoding: utf-16le'"),
        (utf16(text, u16::to_be_bytes), "'encoding: utf-16be'"),
        (b"\xff\xfe\0\0i\0\0\0d\0\0\0".to_vec(), "UTF-32"),
        (b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), "gunzip"),
        (b"PK\x03\x04\x14\0\0\0\x08\0t.csv".to_vec(), "zip archive"),
        (b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0[Content_Types].xml".to_vec(), "Excel"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0".to_vec(), "Excel .xls"),
        (b"BZh91AY&SY\x01\x02".to_vec(), "bzip2"),
        (b"\xfd7zXZ\0\0\x04".to_vec(), "xz"),
        (b"\x28\xb5\x2f\xfd\x24".to_vec(), "zstd"),
        (b"%PDF-1.7\n".to_vec(), "PDF"),
        (b"PAR1\x15\x04".to_vec(), "Parquet"),
        (b"Obj\x01\x04".to_vec(), "Avro"),
        (b"SQLite format 3\0\x10".to_vec(), "SQLite"),
    ];
    for (bytes, name) in cases {
        for dataset in 0..2 {
            let fault = fault(&bytes, dataset).unwrap_or_else(|| panic!("{name} passes as {dataset}"));
            assert!(fault.starts_with("it is ") && fault.contains(name), "{name}: {fault}");
        }
    }
}

#[test]
fn utf_16_behind_a_byte_order_mark_is_text() {
    let text = "\u{feff}id,name\r\n1,Ann\r\n";
    for dataset in 0..2 {
        assert_eq!(fault(&utf16(text, u16::to_le_bytes), dataset), None);
        assert_eq!(fault(&utf16(text, u16::to_be_bytes), dataset), None);
    }
}

#[test]
fn what_text_may_begin_with_is_no_signature() {
    for text in ["PAR1,x\n", "ORC,1\n", "BZh,1\n", "LZIP,2\n", "a\0b,1\n", "1,2\n"] {
        assert_eq!(Nature::of(text.as_bytes()), None, "{text:?}");
        assert_eq!(fault(text.as_bytes(), 1), None, "{text:?}");
    }
}

#[test]
fn a_header_that_cannot_be_read_names_its_cause() {
    let named = |bytes: &[u8]| fault(bytes, 0).unwrap();
    assert!(named("\u{feff}\u{feff}id,name\n1,a\n".as_bytes()).contains("two byte order marks"));
    assert!(named(b"<!DOCTYPE html><html>\n").contains("HTML"));
    assert!(named(b"id,name\r\r\n1,a\r\r\n").contains("CR CR LF"));
    assert!(named(b"id,name\r1,a\r").contains("CR alone"));
    assert!(named(b"id;name\n1;a\n").contains("set apart by \";\""));
    assert!(named(b"id,pr\xe9nom\n1,Andr\xe9\n").contains("'encoding: windows-1252' in 'csv' would read it"));
    let escaped = named(b"id,\x1b[31mname\xe2\x80\xae\n1,a\n");
    assert!(
        escaped.contains("'\\u{1b}[31mname\\u{202e}'") && !escaped.contains(['\u{1b}', '\u{202e}']),
        "{escaped}"
    );
}

#[test]
fn a_first_line_of_names_is_seen_in_any_order_and_case_where_no_header_is_expected() {
    let manifest = Manifest::parse(MANIFEST, &|_| None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let named = |bytes: &str, dataset| {
        fs::write(&path, bytes).unwrap();
        names_the_columns(&path, dataset, &manifest).unwrap()
    };
    for text in ["id,name\na,Ann\n", "\u{feff}\"Name\",ID\r\n", "id,name"] {
        assert!(named(text, 1), "{text:?}");
        assert!(!named(text, 0), "with a header there is nothing to say of {text:?}");
    }
    fs::write(&path, utf16("\u{feff}id,name\n", u16::to_le_bytes)).unwrap();
    assert!(names_the_columns(&path, 1, &manifest).unwrap(), "a mark decides the encoding");
    for text in ["", "a,Ann\n", "id,name,x\n", "id\n", "id,\"name\n"] {
        assert!(!named(text, 1), "{text:?}");
    }
}
