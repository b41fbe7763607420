//! Files that are not what the manifest says: what `run` says of them, and that nothing of them is loaded as something else.

use nix::sys::signal::Signal;

use crate::home::Home;

const MANIFEST: &str = "
pipeline: strange
stable_for: 10ms
datasets:
  named: {key: id, csv: {header: true}, columns: {id: integer, name: {type: text, optional: true}}}
  plain: {key: id, columns: {id: text, name: {type: text, optional: true}}}
";

mod a_file_that_is_no_text {
    use super::*;

    tidegate_testing::rows! { is_left_in_the_landing_folder_and_named:
        utf_16_under_a_header: ("named.csv", &utf16("id,name\r\n1,Ann\r\n"), "encoding: utf-16le"),
        utf_16_without_a_header: ("plain.csv", &utf16("1,Ann\r\n2,Bob\r\n"), "encoding: utf-16le"),
        a_zip_archive: ("named.csv", b"PK\x03\x04\x14\0\0\0\x08\0t.csv", "it is a zip archive"),
        gzip: ("plain.csv", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "it is compressed by gzip"),
    }

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    async fn is_left_in_the_landing_folder_and_named(name: &str, bytes: &[u8], what: &str) {
        let home = Home::new(MANIFEST).await;
        home.drop(name, bytes);
        let outcome = home.run("run --until-idle").await;
        assert_ne!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(what), "{}", outcome.stderr);
        assert_eq!(home.names_in("landing"), [name]);
        assert_eq!(home.query("select count(*) from tidegate.sources").await, ["0"]);
    }
}

#[tokio::test]
async fn a_header_reaches_no_terminal_raw() {
    let home = Home::new(MANIFEST).await;
    home.drop("named.csv", "id,\u{1b}[31mname\u{202e}\n1,Ann\n");
    let outcome = home.run("run --until-idle").await;
    assert!(outcome.stderr.contains("\\u{1b}[31mname\\u{202e}"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains(['\u{1b}', '\u{202e}']), "{:?}", outcome.stderr);
}

#[tokio::test]
async fn the_name_of_a_file_reaches_no_terminal_raw() {
    let home = Home::new(MANIFEST).await;
    home.drop("\u{1b}[2Jodd.txt", "x\n");
    home.drop("named\u{1b}[2J.csv", "id\nx\n");
    let outcome = home.run("run --until-idle").await;
    assert!(outcome.stderr.contains("\\u{1b}[2J"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains('\u{1b}'), "{:?}", outcome.stderr);
    let listed = home.run("dead-letters list").await.succeeded().stdout;
    assert!(!listed.contains('\u{1b}'), "{listed:?}");
}

#[tokio::test]
async fn a_first_line_of_names_where_no_header_is_expected_is_a_warning() {
    let home = Home::new(MANIFEST).await;
    home.drop("plain.csv", "id,name\na,Ann\n");
    let outcome = home.run("run --until-idle").await.succeeded();
    assert!(outcome.stderr.contains("its first line names the columns"), "{}", outcome.stderr);
}

#[tokio::test]
async fn quotes_behind_a_blank_never_become_a_part_of_the_value() {
    let home = Home::new(MANIFEST).await;
    home.drop("named.csv", "id,name\n1, \"Ann, Jr\"\n2, \"Bob\"\n3,Cy\n");
    home.ingest().await;
    assert_eq!(home.query("select id, name from named order by id").await, ["3|Cy"]);
    let letters = home.dead_letters().await;
    assert_eq!(letters.len(), 2, "{letters:?}");
    for letter in letters {
        assert_eq!(letter["code"], "invalid_character");
        assert!(letter["message"].as_str().unwrap().contains("stands behind a blank"), "{letter}");
    }
}

#[tokio::test]
async fn status_shows_a_plain_run() {
    let home = Home::embedded(MANIFEST).await;
    let mut run = home.spawn("run");
    run.says("running").await;
    let rows = home.run("status --format json").await.succeeded().rows();
    let stages: Vec<&str> = rows.iter().map(|row| row["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["source", "transform", "sink"], "{rows:?}");
    assert_eq!(rows[0]["partitions"], "0");
    home.run("status --ready sink").await.succeeded();
    run.signal(Signal::SIGTERM);
    run.ended().await.succeeded();
    assert!(home.run("status --format json").await.succeeded().rows().is_empty());
}
