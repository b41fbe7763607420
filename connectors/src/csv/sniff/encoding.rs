//! Bytes to text: by a byte order mark, by whether they are UTF-8, and else by what is likeliest.

use chardetng::EncodingDetector;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::nature::Nature;

/// Text that was decoded.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) text: String,
    /// From which encoding, if it was not UTF-8.
    pub(crate) encoding: Option<&'static str>,
    /// Whether another encoding may have been meant.
    pub(crate) guessed: bool,
    /// How many lines are no text in UTF-8, where all others are.
    pub(crate) broken_lines: usize,
}

/// Decodes the beginning of a file; what a cut leaves of the last character is left out.
pub(crate) fn decode(bytes: &[u8], nature: Option<Nature>) -> Decoded {
    let marked = Encoding::for_bom(bytes).map(|(encoding, _)| encoding).filter(|encoding| *encoding != UTF_8);
    let unmarked = match nature {
        Some(Nature::Utf16Le) => Some(UTF_16LE),
        Some(Nature::Utf16Be) => Some(UTF_16BE),
        _ => None,
    };
    if let Some(encoding) = marked.or(unmarked) {
        let (text, _) = encoding.decode_with_bom_removal(bytes);
        return Decoded {
            text: text.into_owned(),
            encoding: Some(encoding.name()),
            guessed: false,
            broken_lines: 0,
        };
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let plain = |text: String, broken_lines| Decoded { text, encoding: None, guessed: false, broken_lines };
    match std::str::from_utf8(bytes) {
        Ok(text) => return plain(text.to_owned(), 0),
        Err(error) if error.error_len().is_none() => {
            return plain(String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned(), 0);
        }
        Err(_) => {}
    }
    let (letters, broken) = utf8_letters(bytes);
    if letters > broken * 10 {
        let lines = bytes.split(|byte| *byte == b'\n');
        let broken_lines = lines.filter(|line| std::str::from_utf8(line).is_err()).count();
        return plain(String::from_utf8_lossy(bytes).into_owned(), broken_lines);
    }
    let encoding = guess(bytes);
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    Decoded { text: text.into_owned(), encoding: Some(encoding.name()), guessed: true, broken_lines: 0 }
}

/// What single bytes most likely stand for.
fn guess(bytes: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new();
    detector.feed(bytes, true);
    let guess = detector.guess(None, false);
    if guess == UTF_8 { WINDOWS_1252 } else { guess }
}

/// How many letters beyond ASCII are UTF-8, and how many bytes are not.
fn utf8_letters(bytes: &[u8]) -> (usize, usize) {
    let (mut letters, mut broken) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        letters += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        broken += usize::from(!chunk.invalid().is_empty());
    }
    (letters, broken)
}
