//! Files in other encodings than UTF-8.

use std::time::{Duration, Instant};

use base64::Engine as _;
use encoding_rs::{
    BIG5, EUC_JP, EUC_KR, Encoding, GB18030, GBK, IBM866, ISO_2022_JP, ISO_8859_2, ISO_8859_15, KOI8_R,
    MACINTOSH, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_874, WINDOWS_1251, WINDOWS_1252, WINDOWS_1255,
};
use proptest::prelude::*;
use tidegate_core::registry::hash_of;
use tidegate_core::validate::Validators;
use tidegate_files::{Fingerprint, Lines, NextLines, Reading, UnregisteredFile, open_done};
use tokio::runtime::Builder;

use super::Bench;

/// An encoding of each decoder that `encoding_rs` has, and some of its tables of single bytes.
pub(crate) const ENCODINGS: [&Encoding; 19] = [
    UTF_8,
    UTF_16LE,
    UTF_16BE,
    WINDOWS_1252,
    WINDOWS_1251,
    WINDOWS_1255,
    WINDOWS_874,
    ISO_8859_2,
    ISO_8859_15,
    MACINTOSH,
    IBM866,
    KOI8_R,
    GBK,
    GB18030,
    BIG5,
    EUC_JP,
    EUC_KR,
    SHIFT_JIS,
    ISO_2022_JP,
];

/// Notes in files of an encoding.
pub(crate) fn manifest(label: &str) -> String {
    format!(
        "
pipeline: test
stable_for: 0s
max_record_bytes: 1KiB
datasets:
  notes:
    key: id
    columns: {{id: text, note: {{type: text, optional: true}}}}
    csv: {{encoding: {label}}}
"
    )
}

/// The bench after a file of these bytes was read.
async fn read(label: &str, bytes: impl AsRef<[u8]>) -> Bench {
    let mut bench = Bench::with(&manifest(label));
    bench.drop_file("notes.csv", bytes);
    bench.read(1).await;
    bench
}

/// The bytes of a text, which the encoding must have; without a byte order mark.
fn encoded(text: &str, encoding: &'static Encoding) -> Option<Vec<u8>> {
    match encoding.name() {
        "UTF-16LE" => Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        "UTF-16BE" => Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        _ => {
            let (bytes, _, unmappable) = encoding.encode(text);
            (!unmappable).then(|| bytes.into_owned())
        }
    }
}

/// Line, code, message and exact bytes of each dead letter.
fn letters(bench: &Bench) -> Vec<(u64, &str, &str, Vec<u8>)> {
    let parts = |letter: &'_ serde_json::Value| {
        assert!(letter["text"].is_null(), "{letter}");
        base64::prelude::BASE64_STANDARD.decode(letter["bytes"].as_str().unwrap()).unwrap()
    };
    let each = bench.letters.iter().map(|letter| {
        let reason = &letter["reasons"][0];
        let (code, message) = (reason["code"].as_str().unwrap(), reason["message"].as_str().unwrap());
        (letter["line"].as_u64().unwrap(), code, message, parts(letter))
    });
    each.collect()
}

mod a_file_is_read_in_the_encoding_that_the_manifest_names {
    use super::*;

    tidegate_testing::rows! { as_text:
        latin1: ("latin1", b"1,Jos\xe9\n2,Mar\xeda\r\n", &["1,Jos\u{e9}", "2,Mar\u{ed}a"]),
        windows_1252: ("windows-1252", b"1,\x80 5\n2,\x93x\x94\n", &["1,\u{20ac} 5", "2,\u{201c}x\u{201d}"]),
        shift_jis: ("Shift_JIS", b"1,\x83A\x83\\\n2,\xb1\n", &["1,\u{30a2}\u{30bd}", "2,\u{ff71}"]),
        gb18030: ("gb18030", b"1,\xd6\xd0\n2,\x94\x39\xda\x33\n3,\x84\x31\xa4\x37\n", &[
            "1,\u{4e2d}", "2,\u{1f4a9}", "3,\u{fffd}",
        ]),
        iso_2022_jp: ("iso-2022-jp", b"1,\x1b$B4A;z\x1b(B\n2,a\n", &["1,\u{6f22}\u{5b57}", "2,a"]),
        utf_16le: ("utf-16", b"1\0,\0\xe9\0\n\x002\0,\0\xfd\xff\n\0", &["1,\u{e9}", "2,\u{fffd}"]),
        utf_16be: ("utf-16be", b"\x001\0,\0\xe9\0\n\x002\0,\xd8\x3d\xdc\xa9\0\n", &["1,\u{e9}", "2,\u{1f4a9}"]),
    }

    async fn as_text(label: &str, bytes: &[u8], texts: &[&str]) {
        let bench = read(label, bytes).await;
        assert_eq!(bench.texts(), texts);
        assert!(bench.letters.is_empty(), "{:?}", bench.letters);
    }
}

mod a_byte_order_mark_decides_whatever_the_manifest_says {
    use super::*;

    tidegate_testing::rows! { the_encoding_and_is_no_text:
        utf_8_under_latin1: ("latin1", "\u{feff}1,\u{e9}\n".as_bytes()),
        utf_16le_under_utf_8: ("utf-8", b"\xff\xfe1\0,\0\xe9\0\n\0"),
        utf_16be_under_utf_16le: ("utf-16le", b"\xfe\xff\x001\0,\0\xe9\0\n"),
        the_mark_of_gb18030: ("gb18030", b"\x84\x31\x95\x331,\xa8\xa6\n"),
    }

    async fn the_encoding_and_is_no_text(label: &str, bytes: &[u8]) {
        assert_eq!(read(label, bytes).await.texts(), ["1,\u{e9}"]);
    }
}

#[tokio::test]
async fn the_unicode_text_of_excel_is_read_by_its_mark() {
    let mut bench = Bench::with(
        "
pipeline: test
stable_for: 0s
datasets:
  people: {key: id, csv: {header: true, delimiter: \"\\t\"}, columns: {name: text, id: integer}}
",
    );
    let text = "\u{feff}id\tname\r\n1\t\"Jos\u{e9}\r\n\u{110c}\"\r\n2\t\u{10a0}\r\n";
    bench.drop_file("people.csv", encoded(text, UTF_16LE).unwrap());
    bench.drop_file("people_big.csv", encoded(text, UTF_16BE).unwrap());
    bench.read(2).await;
    let rows = ["\"Jos\u{e9}\r\n\u{110c}\",1", "\u{10a0},2"];
    assert_eq!(bench.texts(), [rows, rows].concat());
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["1-people.csv", "2-people_big.csv"]);
}

mod bytes_that_the_encoding_does_not_know {
    use super::*;

    /// Each file has three lines. The dead letter is the second, and its first malformed byte has this number.
    type Case<'a> = (&'a str, &'a str, &'a [u8], usize, &'a [u8]);

    tidegate_testing::rows! { are_a_dead_letter_of_their_line_alone:
        shift_jis: ("shift_jis", "Shift_JIS", b"1,a\n2,\x83A\xa0\xa0\r\n3,b\n", 5, b"2,\x83A\xa0\xa0"),
        inside_quotes: (
            "shift_jis", "Shift_JIS", b"1,a\r\n2,\"\x83A\r\n\xfd\"\r\n3,b", 8, b"2,\"\x83A\r\n\xfd\"",
        ),
        a_lead_byte_before_the_line_end: ("euc-kr", "EUC-KR", b"1,a\n2,\xb0\n3,b\n", 3, b"2,\xb0"),
        half_a_character_of_four: ("gb18030", "gb18030", b"1,a\n2,\x81\x30\n3,b\n", 3, b"2,\x81\x30"),
        a_lone_surrogate: (
            "utf-16be", "UTF-16BE", b"\x001\0,\0a\0\n\x002\0,\xd8\x3d\0\r\0\n\x003\0,\0b", 5, b"\x002\0,\xd8\x3d",
        ),
        a_lone_surrogate_with_the_byte_of_a_line_feed: (
            "utf-16le", "UTF-16LE", b"1\0,\0a\0\n\x002\0,\0\x0a\xd8\n\x003\0,\0b\0", 5, b"2\0,\0\x0a\xd8",
        ),
        letters_that_are_left_open: (
            "iso-2022-jp", "ISO-2022-JP", b"1,a\n2,\x1b$B4A\n3,b\n", 8, b"2,\x1b$B4A",
        ),
    }

    async fn are_a_dead_letter_of_their_line_alone(
        label: &str,
        name: &str,
        bytes: &[u8],
        byte: usize,
        line: &[u8],
    ) {
        let case: Case<'_> = (label, name, bytes, byte, line);
        for block_bytes in [1, 2, 3, 7, 1 << 20] {
            assert_refused(case, block_bytes).await;
        }
    }

    async fn assert_refused((label, name, bytes, byte, line): Case<'_>, block_bytes: usize) {
        let mut bench = Bench::with(&manifest(label));
        bench.cut_into(block_bytes);
        bench.drop_file("notes.csv", bytes);
        bench.read(1).await;
        assert_eq!((bench.texts(), bench.numbers()), (vec!["1,a", "3,b"], vec![1, 3]));
        let message = format!(
            "record 2 (physical line 2): byte {byte} of the line is no {name}; if the file is in another encoding, set \
             'encoding' in 'csv'"
        );
        assert_eq!(letters(&bench), [(2, "invalid_encoding", &message[..], line.to_vec())]);
    }
}

#[tokio::test]
async fn a_unit_of_utf_16_that_is_cut_off_is_a_dead_letter_of_the_last_line() {
    let bench = read("utf-16le", b"1\0,\0a\0\n\x002\0,\0b\0\x0a").await;
    assert_eq!(bench.texts(), ["1,a"]);
    assert_eq!(letters(&bench)[0].3, b"2\0,\0b\0\x0a");
}

#[tokio::test]
async fn a_nul_in_another_encoding_is_a_dead_letter_with_the_exact_bytes() {
    let bench = read("latin1", b"1,a\n2,\xe9\0\xe9\n3,b\n").await;
    assert_eq!(bench.texts(), ["1,a", "3,b"]);
    let message = "record 2 (physical line 2): character 4 of the line is NUL, which Postgres cannot store";
    assert_eq!(letters(&bench), [(2, "invalid_character", message, b"2,\xe9\0\xe9".to_vec())]);
}

#[tokio::test]
async fn after_a_line_that_is_too_long_dead_letters_have_their_exact_bytes() {
    for (encoding, tail) in [(UTF_16LE, &b"\x00\xd8"[..]), (UTF_16BE, b"\xd8\x00"), (SHIFT_JIS, b"\xa0")] {
        for block_bytes in [1, 5, 64, 100_000] {
            let mut bench = Bench::with(&manifest(encoding.name()));
            bench.cut_into(block_bytes);
            let of = |text: &str| encoded(text, encoding).unwrap();
            let line = [&of("3,\u{3042}")[..], tail].concat();
            let long = format!("1,a\n2,{}\n", "\u{3042}".repeat(3_000));
            bench.drop_file("notes.csv", [&of(&long)[..], &line, &of("\r\n4,b\n")].concat());
            bench.read(1).await;
            assert_eq!(bench.texts(), ["1,a", "4,b"], "{block_bytes}");
            let message = bench.letters[0]["reasons"][0]["message"].as_str().unwrap();
            assert!(message.contains("the line is 9002 bytes long as UTF-8"), "{message}");
            let bytes = bench.letters[1]["bytes"].as_str().unwrap();
            assert_eq!(base64::prelude::BASE64_STANDARD.decode(bytes).unwrap(), line, "{block_bytes}");
        }
    }
}

#[tokio::test]
async fn a_file_of_dead_letters_costs_time_in_proportion_to_its_size() {
    let line = b"1,\"\xa0\n\xa0\xa0\xa0\"\n";
    let bench = read("shift_jis", line.repeat(1 << 15)).await;
    assert_eq!((bench.letters.len(), bench.lines.len()), (1 << 15, 0));
    assert!(letters(&bench).iter().all(|letter| letter.3 == line[..line.len() - 1]));
}

#[tokio::test]
async fn a_header_that_is_not_in_the_encoding_is_refused_with_the_setting_that_reads_it() {
    let headed = |label: &str| {
        manifest(label).replace("csv: {", "csv: {header: true, ").replace("note:", "\"se\u{f1}or\":")
    };
    let bytes = b"id,se\xf1or\n1,Jos\xe9\n";
    let mut bench = Bench::with(&headed("utf-8"));
    let path = bench.drop_file("notes.csv", bytes);
    bench.idle().await;
    let refused = &bench.landing.refused()[&path];
    assert!(
        refused.contains("line 1: the header is not UTF-8: 'encoding: windows-1252' in 'csv'"),
        "{refused}"
    );
    let mut bench = Bench::with(&headed("shift_jis"));
    let path = bench.drop_file("notes.csv", b"id,\xfd\n");
    bench.idle().await;
    let refused = &bench.landing.refused()[&path];
    assert!(refused.contains("line 1: the header is no Shift_JIS"), "{refused}");
    let mut bench = Bench::with(&headed("latin1"));
    bench.drop_file("notes.csv", bytes);
    bench.read(1).await;
    assert_eq!(bench.texts(), ["1,Jos\u{e9}"]);
}

#[tokio::test]
async fn utf_16_in_the_other_order_than_the_manifest_says_is_refused_by_its_name() {
    let mut bench = Bench::with(&manifest("utf-16le"));
    let path = bench.drop_file("notes.csv", encoded("1,Ann\n2,Bob\n", UTF_16BE).unwrap());
    bench.idle().await;
    assert!(bench.landing.refused()[&path].contains("'encoding: utf-16be' in 'csv' would read it"));
}

#[tokio::test]
async fn the_line_that_names_the_delimiter_is_found_in_utf_16_without_a_mark() {
    for encoding in [UTF_16LE, UTF_16BE] {
        let text = "sep=;\r\n1;Ann, Jr\r\n";
        let bench = read(&encoding.name().to_lowercase(), encoded(text, encoding).unwrap()).await;
        assert_eq!(bench.texts(), ["1,\"Ann, Jr\""]);
    }
}

#[tokio::test]
async fn the_same_bytes_in_another_encoding_are_another_source_unless_a_mark_decides() {
    let bench = Bench::with(&manifest("utf-8"));
    let fingerprint = async |bytes: &[u8], label: &str| {
        let path = bench.drop_file("notes.csv", bytes);
        let manifest = Bench::with(&manifest(label)).manifest;
        Fingerprint::of(&path, "notes.csv", 0, &manifest).await.unwrap().fingerprint
    };
    let plain = fingerprint(b"1,\xe9\n", "utf-8").await;
    let (content, limit) = (blake3::hash(b"1,\xe9\n"), 1024_usize.to_le_bytes());
    let known = hash_of(&[b"notes", b"notes.csv", content.as_bytes(), &[0, b',', b'"'], &limit]);
    assert_eq!(plain, known, "a file of UTF-8 has the identity that it always had");
    let latin = fingerprint(b"1,\xe9\n", "latin1").await;
    assert_ne!(latin, plain);
    assert_eq!(latin, fingerprint(b"1,\xe9\n", "windows-1252").await, "these are one encoding");
    assert_ne!(latin, fingerprint(b"1,\xe9\n", "iso-8859-15").await);
    let marked = b"\xff\xfe1\0\n\0";
    assert_eq!(fingerprint(marked, "latin1").await, fingerprint(marked, "utf-8").await);
}

#[tokio::test]
async fn what_reads_a_file_again_finds_the_same_lines_and_dead_letters() {
    let bytes = b"1,\x83A\n2,\xa0\n\n3,\"\x83A\n\xfd\"\n4,b\n";
    let mut bench = read("shift_jis", bytes).await;
    bench.account();
    bench.idle().await;
    let landing = bench.path("");
    let (manifest, validators) = (bench.manifest.clone(), Validators::new(&bench.manifest.datasets[0]));

    let opened = open_done(&landing, 1, "notes.csv", 0, None).await.unwrap().unwrap();
    let mut reading = Reading::again(1, opened, &manifest).unwrap();
    let (lines, found) = (bench.lines.clone(), letters_without_times(&bench.letters));
    (bench.lines, bench.letters) = (vec![], vec![]);
    while let NextLines::Lines(batch) = reading.next(&manifest, &validators, &bench.memory).await.unwrap() {
        bench.take_in(&batch);
    }
    assert_eq!((&bench.lines, letters_without_times(&bench.letters)), (&lines, found));

    let path = landing.join("done/1-notes.csv");
    let mut again = Lines::open(&path, "notes.csv", &manifest, 0, None, None).await.unwrap();
    let mut texts = Vec::new();
    while let Some(line) = again.next_line().unwrap() {
        texts.push((line.number, line.physical_line, String::from_utf8(line.text.to_vec()).unwrap()));
    }
    let expected =
        [(1, 1, "1,\u{30a2}"), (2, 2, "2,\u{fffd}"), (3, 4, "3,\"\u{30a2}\n\u{fffd}\""), (4, 6, "4,b")];
    assert_eq!(texts, expected.map(|(number, line, text)| (number, line, text.to_owned())));
    let file = UnregisteredFile { path: &path, name: "notes.csv", dataset: 0, syntax: None };
    assert!(file.shape(&manifest).unwrap().is_ok());
}

fn letters_without_times(letters: &[serde_json::Value]) -> Vec<serde_json::Value> {
    let mut letters = letters.to_vec();
    letters.iter_mut().for_each(|letter| drop(letter.as_object_mut().unwrap().remove("at")));
    letters
}

#[tokio::test]
async fn a_file_that_ends_a_line_in_utf_16_waits_no_longer_than_another() {
    let mut bench = Bench::with(&manifest("utf-16le").replace("0s", "1s"));
    let begun = Instant::now();
    bench.drop_file("notes.csv", b"1\0,\0a\0\n\0");
    bench.read(1).await;
    assert_eq!(bench.texts(), ["1,a"]);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

/// Letters that many encodings have, and the bytes that divide lines and fields.
const LETTERS: [&str; 20] = [
    "a", "9", ",", "\"", "\"\"", "\r\n", "\n", "\r", " ", "\\", "~", "é", "ß", "€", "Я", "漢", "ソ", "한",
    "ﾊ", "😀",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Letters that the encoding lacks are left out. What it has comes out as from the same text in UTF-8.
    #[test]
    fn a_file_is_read_as_its_text_in_utf_8_however_it_is_cut_into_blocks(
        encoding in 0..ENCODINGS.len(),
        letters in proptest::collection::vec(0..LETTERS.len(), 0..60),
        block_bytes in 1..64_usize,
        is_marked: bool,
    ) {
        let encoding = ENCODINGS[encoding];
        let letters = letters.into_iter().map(|letter| LETTERS[letter]);
        // ISO-2022-JP writes a narrow letter as a wide one.
        let has = |letter: &&str| {
            let bytes = encoded(letter, encoding);
            bytes.is_some_and(|bytes| encoding.decode_without_bom_handling(&bytes).0 == *letter)
        };
        let text: String = letters.filter(has).collect();
        let mark = if is_marked && encoding.name().starts_with("UTF") { "\u{feff}" } else { "" };
        let bytes = encoded(&format!("{mark}{text}"), encoding).unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let read = |label: &str, bytes: &[u8]| {
            let mut bench = Bench::with(&manifest(label));
            bench.cut_into(block_bytes);
            bench.drop_file("notes.csv", bytes);
            runtime.block_on(bench.read_or_refused());
            (bench.lines, bench.letters)
        };
        prop_assert_eq!(read(encoding.name(), &bytes), read("utf-8", text.as_bytes()));
    }
}
