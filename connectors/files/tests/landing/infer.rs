//! The beginning of a file to a guess of its columns.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tidegate_core::manifest::Kind;
use tidegate_core::manifest::starter::Sample;
use tidegate_files::infer;

/// What is inferred from a file of these bytes.
pub(super) async fn inferred(bytes: impl AsRef<[u8]>) -> Sample {
    try_inferred(bytes).await.unwrap()
}

async fn try_inferred(bytes: impl AsRef<[u8]>) -> Result<Sample, tidegate_core::contract::Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("people.csv");
    fs::write(&path, bytes).unwrap();
    infer::sample(&path, infer::SAMPLE_BYTES).await
}

fn names(sample: &Sample) -> Vec<&str> {
    sample.columns.iter().map(|column| column.name.as_str()).collect()
}

#[track_caller]
fn assert_obstacle(sample: &Sample, with: &str) {
    let obstacles = &sample.layout.obstacles;
    assert!(obstacles.iter().any(|obstacle| obstacle.contains(with)), "no '{with}' in {obstacles:?}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn the_delimiter_and_the_columns_of_a_file_are_found() {
    for (delimiter, name) in [(',', "Ann; B."), (';', "Ann, B."), ('\t', "Ann, B."), ('|', "Ann, B.")] {
        let mut content = "\u{feff}id,name,born\n".replace(',', &delimiter.to_string());
        for id in 1..50 {
            content.push_str(&format!("{id}{delimiter}{name}{delimiter}2020-01-01\n"));
        }
        let inferred = inferred(content).await;
        assert_eq!(inferred.layout.delimiter() as char, delimiter);
        let columns = &inferred.columns;
        assert_eq!(inferred.header.as_ref().unwrap(), &["id", "name", "born"]);
        assert_eq!((columns.len(), columns[0].kind, columns[0].rows()), (3, Kind::Integer, 49));
    }
    assert_eq!(inferred("one\ntwo, three\n").await.layout.delimiter(), b',');
    let error = infer::sample(Path::new("/nowhere/none.csv"), 1).await.unwrap_err();
    assert!(error.message.starts_with("cannot read '"), "{error}");
}

#[tokio::test]
async fn decimal_commas_are_no_delimiters() {
    assert_eq!(inferred("1;1,5;2,5\n2;2,5;3,5\n").await.layout.delimiter(), b';');
    assert_eq!(inferred("id;a;b\n1;1,5;2,5\n2;2,5;3,5\n").await.layout.delimiter(), b';');
    assert_eq!(inferred("1;1,5\n2;2,5\n").await.layout.delimiter(), b';');
}

#[tokio::test]
async fn all_lines_are_looked_at_not_the_first_alone() {
    let mut content = "id,v\n".to_owned();
    (1..20_000).for_each(|id| content.push_str(&format!("{id},1\n")));
    content.push_str("20000,2.5\n");
    let sample = inferred(&content).await;
    assert_eq!(sample.columns[1].kind, Kind::Numeric { precision: None, scale: None });
    content.push_str("1,1\n");
    assert!(!inferred(&content).await.columns[0].identifies(), "a key comes again in the last line");
    assert!(sample.layout.whole && sample.layout.bytes == content.len() as u64 - 4);
}

#[tokio::test]
async fn a_sample_that_is_cut_off_says_so_and_counts_whole_lines_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, "id,v\n1,é\n2,b\n3,c\n").unwrap();
    let sample = infer::sample(&path, 14).await.unwrap();
    assert_eq!((sample.rows, sample.layout.whole, sample.layout.bytes), (2, false, 14));
}

#[tokio::test]
async fn text_in_another_encoding_is_decoded_and_the_encoding_named_unless_a_mark_decides() {
    let text = "id\tname\r\n1\tAnn\r\n2\tJosé\r\n";
    let units = || text.encode_utf16();
    let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
    for (bytes, encoding) in [
        ([b"\xff\xfe", &little[..]].concat(), None),
        ([b"\xfe\xff", &big[..]].concat(), None),
        (little.clone(), Some("utf-16le")),
        (big.clone(), Some("utf-16be")),
    ] {
        let sample = inferred(bytes).await;
        assert_eq!((names(&sample), sample.layout.delimiter(), sample.rows), (vec!["id", "name"], b'\t', 2));
        assert_eq!(sample.layout.encoding.as_deref(), encoding);
        assert!(sample.layout.obstacles.is_empty(), "{sample:?}");
    }
    let latin = inferred(b"Id;Nombre;Saldo\n1;Jos\xe9;1.234,56\n2;Mar\xeda;12,50\n").await;
    assert_eq!((names(&latin), latin.layout.delimiter()), (vec!["Id", "Nombre", "Saldo"], b';'));
    assert_eq!(latin.layout.encoding.as_deref(), Some("windows-1252"));
    assert!(latin.layout.obstacles.is_empty(), "{latin:?}");
    let broken = inferred(
        "id,v\n1,é\n2,ü\n3,ä\n4,ö\n5,é\n6,ü\n7,ä\n8,ö\n9,é\n10,ü\n11,ä\n"
            .as_bytes()
            .iter()
            .copied()
            .chain(*b"12,\xe9\n")
            .collect::<Vec<_>>(),
    )
    .await;
    assert!(
        broken.layout.obstacles.is_empty() && broken.layout.doubts[0].starts_with("1 lines"),
        "{broken:?}"
    );
}

#[tokio::test]
async fn gzip_is_read_by_its_content_in_all_its_members() {
    let bytes = [gzip(b"id,name\n1,Ann\n"), gzip(b"2,Bob\n")].concat();
    let sample = inferred(bytes).await;
    assert_eq!((names(&sample), sample.rows), (vec!["id", "name"], 2));
    assert_obstacle(&sample, "gzip");
}

#[tokio::test]
async fn what_is_no_text_is_refused_by_its_name() {
    for (bytes, name) in [
        (&b"PK\x03\x04\x14\0\0\0\x08\0xl/workbook.xml"[..], "Excel"),
        (b"PK\x03\x04\x14\0\0\0\x08\0a.csv", "zip"),
        (b"%PDF-1.7\n", "PDF"),
    ] {
        let error = try_inferred(bytes).await.unwrap_err();
        assert!(error.message.contains(name), "{error}");
    }
}

#[tokio::test]
async fn what_stands_before_the_header_is_skipped() {
    let report = inferred("Report\nGenerated 2021\n\nid,name\n1,Ann\n2,Bob\n").await;
    assert_eq!((names(&report), report.rows), (vec!["id", "name"], 2));
    assert_eq!(report.layout.syntax.skip_lines, 3);
    let padded = inferred("Sales report,,,\nid,name,v,d\n1,Ann,2,2020-01-01\n2,Bob,3,2020-01-02\n").await;
    assert_eq!((names(&padded), padded.rows), (vec!["id", "name", "v", "d"], 2));
    assert_eq!(padded.layout.syntax.skip_lines, 1);
    let told = inferred("sep=;\r\nid;name\r\n1;Ann\r\n").await;
    assert_eq!((names(&told), told.layout.delimiter()), (vec!["id", "name"], b';'));
    assert_eq!(told.layout.syntax.skip_lines, 0, "the line is recognised by itself");
}

#[tokio::test]
async fn lines_with_wrong_quotes_or_fields_are_counted_and_left_out() {
    let sample = inferred("id,name\n1,\"Ann\" Lee\n2,Bob\n3,Cy,x\n4,Di\n").await;
    assert_eq!((sample.rows, sample.ragged), (2, 1));
    let said = "1 lines are rejected for their quotes; line 2: the quote that opens field 2 closes before";
    assert!(sample.layout.doubts.iter().any(|doubt| doubt.starts_with(said)), "{sample:?}");
}
