//! What may be in a file.

use tidegate_core::contract::PollAnswer;

use super::Bench;

#[tokio::test]
async fn every_line_is_given_out_once_with_its_position_and_key() {
    let mut bench = Bench::new();
    bench.drop_file("hired.csv", "7,Ann,1\n\n8,,2\n9,\"O, \"\"x\"\"\",3\n");
    bench.read(1).await;
    assert_eq!(bench.texts(), ["7,Ann,1", "8,,2", "9,\"O, \"\"x\"\"\",3"]);
    assert_eq!(
        (bench.numbers(), bench.keys.clone()),
        (vec![1, 2, 3], vec!["7".into(), "8".into(), "9".into()])
    );
    assert_eq!(bench.memory.source(1).lines, Some(3));
    assert!(bench.path("hired.csv").exists());
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["1-hired.csv"]);
    assert!(!bench.path("hired.csv").exists());
}

#[tokio::test]
async fn an_empty_file_is_a_source_without_lines() {
    let mut bench = Bench::new();
    bench.drop_file("jobs.csv", "");
    bench.idle().await;
    assert_eq!((bench.memory.source(1).lines, bench.done()), (Some(0), vec!["1-jobs.csv".to_owned()]));
}

#[tokio::test]
async fn a_byte_order_mark_crlf_and_a_missing_last_newline_are_no_data() {
    let mut bench = Bench::new();
    bench.drop_file("jobs.csv", "\u{feff}1,a\r\n\r\n2,b\rc\r\n3,d");
    bench.read(1).await;
    assert_eq!(bench.texts(), ["1,a", "2,b\rc", "3,d"]);
}

#[tokio::test]
async fn what_is_no_text_is_a_dead_letter_and_its_neighbours_are_lines() {
    let mut bench = Bench::new();
    bench.drop_file("jobs.csv", b"1,\"a\nb\"\n2,\xff\n3,c\n4,\0\n5,\xc3\xa9\n6,\xe2\x82");
    bench.read(1).await;
    assert_eq!(bench.texts(), ["1,\"a\nb\"", "3,c", "5,é"]);
    assert_eq!(bench.codes(), ["invalid_utf8", "invalid_character", "invalid_utf8"]);
    let letter = &bench.letters[0];
    assert_eq!(
        letter["reasons"][0]["message"],
        "record 2 (physical line 3): byte 3 of the line is not UTF-8; if the file is in another encoding, set \
         'encoding' in 'csv'"
    );
    assert_eq!((&letter["line"], &letter["stage"]), (&2.into(), &"source".into()));
    assert_eq!((&letter["bytes"], letter["text"].is_null()), (&"Miz/".into(), true));
    bench.account();
    bench.idle().await;
}

#[tokio::test]
async fn a_line_that_is_too_long_is_a_dead_letter_with_its_length() {
    let mut bench = Bench::new();
    let long = "x".repeat(2 << 20);
    bench.drop_file("jobs.csv", format!("1,a\n2,{long}\n3,b\n"));
    bench.read(1).await;
    assert_eq!((bench.texts(), bench.numbers()), (vec!["1,a", "3,b"], vec![1, 3]));
    assert_eq!(bench.codes(), ["record_too_long"]);
    assert_eq!(bench.letters[0]["length"], (2 << 20) + 2);
    let message = bench.letters[0]["reasons"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("record 2 (physical line 2): the line is 2097154 bytes long"), "{message}");
}

#[tokio::test]
async fn characters_cut_by_the_end_of_a_block_are_whole() {
    let mut bench = Bench::new();
    let content: String = (1..=200_000).map(|line| format!("{line},ééééééé\n")).collect();
    bench.drop_file("jobs.csv", &content);
    bench.read(1).await;
    assert_eq!(bench.letters, Vec::<serde_json::Value>::new());
    assert_eq!(bench.texts(), content.lines().collect::<Vec<_>>());
}

#[tokio::test]
async fn an_intake_of_tiny_lines_or_of_dead_letters_stays_small() {
    let mut bench = Bench::new();
    bench.drop_file("jobs.csv", "1\n".repeat(1 << 19));
    bench.drop_file("jobs_bytes.csv", b"\xff\n".repeat(1 << 16));
    let mut count = 0;
    while let PollAnswer::SourceBatch(batch) = bench.try_poll(false).await.unwrap() {
        assert!(batch.records.as_bytes().len() < (3 << 20) + 100);
        assert!(batch.dead_letters.as_bytes().len() < (3 << 20) + 1000);
        count += batch.records.len() + batch.dead_letters.len();
    }
    assert_eq!(count, (1 << 19) + (1 << 16));
}
