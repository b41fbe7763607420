//! Decodes bytes to text: by a byte order mark, as UTF-8 if the bytes are UTF-8, otherwise by the likeliest encoding.

use chardetng::EncodingDetector;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::nature::Nature;

#[derive(Debug)]
pub(crate) struct DecodedText {
    pub(crate) text: String,
    /// The name of its encoding; `None` for UTF-8.
    pub(crate) encoding: Option<&'static str>,
    pub(crate) guessed: bool,
    /// The number of lines that are not UTF-8, where all others are.
    pub(crate) broken_lines: usize,
}

/// Decodes the beginning of a file. If the cut divides the last character, that character is left out.
pub(crate) fn decode(bytes: &[u8], nature: Option<Nature>) -> DecodedText {
    let marked = Encoding::for_bom(bytes).map(|(encoding, _)| encoding).filter(|encoding| *encoding != UTF_8);
    let unmarked = match nature {
        Some(Nature::Utf16Le) => Some(UTF_16LE),
        Some(Nature::Utf16Be) => Some(UTF_16BE),
        _ => None,
    };
    if let Some(encoding) = marked.or(unmarked) {
        let text = encoding.decode_with_bom_removal(bytes).0.into_owned();
        return DecodedText { text, encoding: Some(encoding.name()), guessed: false, broken_lines: 0 };
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let plain = |bytes: &[u8], broken_lines| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        DecodedText { text, encoding: None, guessed: false, broken_lines }
    };
    match std::str::from_utf8(bytes) {
        Ok(_) => return plain(bytes, 0),
        Err(error) if error.error_len().is_none() => return plain(&bytes[..error.valid_up_to()], 0),
        Err(_) => {}
    }
    let (letters, broken) = utf8_letters(bytes);
    if letters > broken * 10 {
        let lines = bytes.split(|byte| *byte == b'\n');
        let broken_lines = lines.filter(|line| std::str::from_utf8(line).is_err()).count();
        return plain(bytes, broken_lines);
    }
    let encoding = guess(bytes);
    let text = encoding.decode_without_bom_handling(bytes).0.into_owned();
    DecodedText { text, encoding: Some(encoding.name()), guessed: true, broken_lines: 0 }
}

/// Guesses the encoding of bytes that are not UTF-8.
pub(crate) fn guess(bytes: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new();
    detector.feed(bytes, true);
    let guess = detector.guess(None, false);
    if guess == UTF_8 { WINDOWS_1252 } else { guess }
}

/// Counts the characters beyond ASCII that are UTF-8, and the byte sequences that are not.
fn utf8_letters(bytes: &[u8]) -> (usize, usize) {
    let (mut letters, mut broken) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        letters += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    (letters, broken)
}
