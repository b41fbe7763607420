//! The first rows of a file to a guess of its columns.

use std::fs;

use tidegate_connectors::csv::infer;
use tidegate_core::manifest::Kind;

#[tokio::test]
async fn the_delimiter_and_the_columns_of_a_file_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("people.csv");
    for (delimiter, name) in [(',', "Ann; B."), (';', "Ann, B."), ('\t', "Ann, B."), ('|', "Ann, B.")] {
        let mut content = "\u{feff}id,name,born\n".replace(',', &delimiter.to_string());
        for id in 1..50 {
            content.push_str(&format!("{id}{delimiter}{name}{delimiter}2020-01-01\n"));
        }
        fs::write(&path, content).unwrap();
        let inferred = infer::sample(&path, 40).await.unwrap();
        assert_eq!(inferred.delimiter as char, delimiter);
        let columns = &inferred.columns;
        assert_eq!(inferred.header.unwrap(), ["id", "name", "born"]);
        assert_eq!((columns.len(), columns[0].kind, columns[0].rows()), (3, Kind::Integer, 39));
    }
    assert_eq!(inferred_delimiter("one\ntwo, three\n", &path).await, b',');
    let error = infer::sample(&dir.path().join("none.csv"), 1).await.unwrap_err();
    assert!(error.message.starts_with("cannot read '"), "{error}");
}

async fn inferred_delimiter(content: &str, path: &std::path::Path) -> u8 {
    fs::write(path, content).unwrap();
    infer::sample(path, 10).await.unwrap().delimiter
}
