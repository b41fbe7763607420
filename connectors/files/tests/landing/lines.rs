//! A file that is looked back at has the lines that entered.

use tidegate_files::{Lines, done_path};

use super::{Bench, many_lines};

const HEADED: &str = "
pipeline: test
stable_for: 0s
max_record_bytes: 1KiB
datasets:
  jobs:
    key: id
    csv: {header: true}
    columns: {id: integer, job: text}
";

async fn open(bench: &Bench, path: &std::path::Path, name: &str) -> Lines {
    let (dataset, _) = bench.manifest.dataset_of_file(name).unwrap();
    Lines::open(path, name, &bench.manifest, dataset, None, None).await.unwrap()
}

/// Which sources the registry knows the file as.
fn sources(bench: &Bench, lines: &Lines) -> Vec<u64> {
    let known = bench.memory.sources();
    lines.sources((1..).zip(known.iter().map(|source| &source.fingerprint[..])))
}

#[tokio::test]
async fn a_file_in_done_has_the_lines_that_entered() {
    let mut bench = Bench::with(HEADED);
    let long = "x".repeat(3000);
    let content =
        ["job,id\n\"a\nb\",1\n\nplain,2\nshort\n".as_bytes(), b"\xff,3\n", long.as_bytes(), b",4\nlast,5"];
    bench.drop_file("jobs.csv", content.concat());
    bench.read(1).await;
    bench.account();
    bench.idle().await;

    let path = done_path(&bench.path(""), 1, "jobs.csv");
    let mut lines = open(&bench, &path, "jobs.csv").await;
    assert_eq!(sources(&bench, &lines), [1]);
    let mut found = Vec::new();
    let mut ordered = Vec::new();
    while let Some(line) = lines.next_line().unwrap() {
        found.push((line.number, line.physical_line, line.text.to_vec(), line.length));
        if let Some(text) = line.ordered.filter(|text| std::str::from_utf8(text).is_ok()) {
            ordered.push((1, line.number, String::from_utf8(text.to_vec()).unwrap()));
        }
    }
    assert_eq!(ordered, bench.lines);
    let expected: [(u64, u64, &[u8], u64); 6] = [
        (1, 2, b"\"a\nb\",1", 7),
        (2, 5, b"plain,2", 7),
        (3, 6, b"short", 5),
        (4, 7, b"\xff,3", 3),
        (5, 8, &long.as_bytes()[..1024], 3002),
        (6, 9, b"last,5", 6),
    ];
    assert_eq!(
        found,
        expected.map(|(number, physical, text, length)| (number, physical, text.to_vec(), length))
    );
    assert!(lines.next_line().unwrap().is_none());
}

#[tokio::test]
async fn a_file_is_every_source_that_its_content_became() {
    let mut bench = Bench::new();
    let content = many_lines(3);
    bench.drop_file("hired.csv", &content);
    bench.try_poll(false).await.unwrap();
    // Its source is closed in the middle, and its content comes back.
    bench.drop_file("hired.csv", "1,short,1\n");
    bench.read(2).await;
    bench.account();
    bench.idle().await;
    let path = bench.drop_file("hired.csv", &content);
    bench.read(3).await;
    assert_eq!(sources(&bench, &open(&bench, &path, "hired.csv").await), [1, 3]);
    assert_eq!(
        sources(&bench, &open(&bench, &path, "hired-2.csv").await),
        [0; 0],
        "a name is part of a source"
    );
    let short = done_path(&bench.path(""), 2, "hired.csv");
    assert_eq!(sources(&bench, &open(&bench, &short, "hired.csv").await), [2]);
}
