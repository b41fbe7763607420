//! Files of any bytes in any encoding: however they are cut into blocks, they have the same lines and dead letters,
//! and a dead letter has bytes of the file.

use base64::Engine as _;
use encoding_rs::Encoding;
use tokio::runtime::Builder;

use super::{ITERATIONS, TEST_TIME};
use crate::landing::Bench;
use crate::landing::encodings::{ENCODINGS, manifest};

#[rustfmt::skip]
/// Pieces of characters, and all that lines are divided by.
const WORDS: [&[u8]; 32] = [
    b"\n", b"\r\n", b"\n\0", b"\0\n", b"\0\r\0\n", b"\r\0\n\0", b"\"", b"\"\0", b"\0\"", b",", b",\0", b"\0,",
    b"a", b"a\0", b"\0a", b"\0", b"0", b"9", b"\x1b", b"\x1b$B", b"\x1b(B", b"\x1b(I", b"\x1b(J", b"\x0e", b"\x81",
    b"\x81\x30\x81\x30", b"\xd8\x3d", b"\xdc\xa9", b"\x8f", b"\xfd\xff", b"\xff\xfe", b"\xef\xbb\xbf",
];

#[test]
fn encoding() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    bolero::check!().with_iterations(ITERATIONS).with_test_time(TEST_TIME).for_each(|input: &[u8]| {
        let Some(([encoding, block_bytes], bytes)) = input.split_first_chunk::<2>() else { return };
        let choose = |byte: &u8| WORDS[*byte as usize % WORDS.len()];
        let in_words = bytes.iter().flat_map(choose).copied().collect::<Vec<_>>();
        let bytes = if encoding & 0x80 == 0 { bytes } else { &in_words[..] };
        let encoding = ENCODINGS[(*encoding & 0x7f) as usize % ENCODINGS.len()];
        let whole = runtime.block_on(read(encoding, bytes, 1 << 20));
        let cut = runtime.block_on(read(encoding, bytes, 1 + *block_bytes as usize % 64));
        assert_eq!(cut, whole);
        for letter in whole.1.iter().filter_map(|letter| letter.2.as_deref()) {
            let letter = base64::prelude::BASE64_STANDARD.decode(letter).unwrap();
            assert!(!letter.is_empty() && bytes.windows(letter.len()).any(|window| window == letter));
        }
    });
}

/// The number of a dead letter's line, its reason and its bytes.
type Letter = (u64, String, Option<String>);

/// The lines and the dead letters of a file that is read in blocks of so many bytes.
async fn read(encoding: &'static Encoding, bytes: &[u8], block_bytes: usize) -> (Vec<String>, Vec<Letter>) {
    let mut bench = Bench::with(&manifest(encoding.name()));
    bench.cut_into(block_bytes);
    bench.drop_file("notes.csv", bytes);
    bench.read_or_refused().await;
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let letters = bench.letters.iter().map(|letter| {
        let message = text(&letter["reasons"][0]["message"]).unwrap();
        (letter["line"].as_u64().unwrap(), message, text(&letter["bytes"]))
    });
    (bench.lines.iter().map(|(_, _, text)| text.clone()).collect(), letters.collect())
}
