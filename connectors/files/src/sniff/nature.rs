//! Detects the format of a file by its first bytes.

use std::fmt;

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

/// The format of a file that is not plain text in UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
    /// UTF-32 of either order.
    Utf32,
    /// gzip.
    Gzip,
    /// A workbook of Excel or of another office program.
    Workbook,
    /// A file of an Office before 2007, most likely a workbook.
    OldOffice,
    /// Compressed by the named program.
    Compressed(&'static str),
    /// An archive of the named kind.
    Archive(&'static str),
    /// The named data format, which is not text.
    Format(&'static str),
    /// A page or a document in the named markup language.
    Markup(&'static str),
    /// Text in UTF-8 behind two byte order marks.
    TwoMarks,
}

/// How many bytes of a file suffice.
pub(crate) const NATURE_BYTES: usize = 4096;

const MARK: &[u8] = b"\xef\xbb\xbf";

/// The first bytes of the formats. A longer signature stands before one that is a prefix of it.
const SIGNATURES: [(&[u8], Nature); 26] = [
    (b"\xff\xfe\0\0", Nature::Utf32),
    (b"\0\0\xfe\xff", Nature::Utf32),
    (b"\xff\xfe", Nature::Utf16Le),
    (b"\xfe\xff", Nature::Utf16Be),
    (b"\x1f\x8b", Nature::Gzip),
    (b"PK\x03\x04", Nature::Archive("zip")),
    (b"PK\x05\x06", Nature::Archive("zip")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Nature::OldOffice),
    (b"BZh", Nature::Compressed("bzip2")),
    (b"\xfd7zXZ\0", Nature::Compressed("xz")),
    (b"\x28\xb5\x2f\xfd", Nature::Compressed("zstd")),
    (b"\x04\x22\x4d\x18", Nature::Compressed("lz4")),
    (b"\x1f\x9d", Nature::Compressed("compress")),
    (b"LZIP", Nature::Compressed("lzip")),
    (b"\xff\x06\0\0sNaPpY", Nature::Compressed("snappy")),
    (b"7z\xbc\xaf\x27\x1c", Nature::Archive("7-Zip")),
    (b"Rar!\x1a\x07", Nature::Archive("RAR")),
    (b"%PDF-", Nature::Format("PDF")),
    (b"PAR1", Nature::Format("Parquet")),
    (b"Obj\x01", Nature::Format("Avro")),
    (b"ORC", Nature::Format("ORC")),
    (b"ARROW1", Nature::Format("Arrow")),
    (b"SQLite format 3\0", Nature::Format("SQLite")),
    (b"PGCOPY\n\xff\r\n\0", Nature::Format("binary copy of Postgres")),
    (b"\x89PNG\r\n", Nature::Format("PNG")),
    (b"{\\rtf", Nature::Markup("RTF")),
];

impl Nature {
    /// Returns the format of a file that begins with `head`; `None` if it may be text in UTF-8. Four KiB suffice.
    pub fn of(head: &[u8]) -> Option<Self> {
        let found =
            SIGNATURES.iter().find(|(signature, nature)| head.starts_with(signature) && nature.holds(head));
        match found {
            Some((_, Self::Archive("zip"))) if is_workbook(head) => Some(Self::Workbook),
            Some((_, nature)) => Some(*nature),
            None if head.get(257..262) == Some(b"ustar") => Some(Self::Archive("tar")),
            None if head.starts_with(&[MARK, MARK].concat()) => Some(Self::TwoMarks),
            None => markup(head).or_else(|| unmarked_utf16(head)),
        }
    }

    /// Returns whether the bytes after a signature confirm it, where text may begin with the same letters.
    fn holds(self, head: &[u8]) -> bool {
        match self {
            Self::Compressed("bzip2") => {
                head.get(4..10) == Some(b"1AY&SY") || head.get(4..10) == Some(b"\x17\x72\x45\x38\x50\x90")
            }
            // A text may begin with these three or four letters too.
            Self::Format("Parquet" | "ORC") | Self::Compressed("lzip") => {
                head.iter().any(|byte| matches!(byte, 0..=8))
            }
            _ => true,
        }
    }

    /// Returns the encoding in which such a file is text.
    pub fn encoding(self) -> Option<&'static Encoding> {
        match self {
            Self::Utf16Le => Some(UTF_16LE),
            Self::Utf16Be => Some(UTF_16BE),
            _ => None,
        }
    }

    /// Returns whether no line of such a file can be read as it is.
    pub fn is_no_text(self) -> bool {
        !matches!(self, Self::TwoMarks | Self::Markup(_))
    }
}

impl fmt::Display for Nature {
    /// Writes what the file is, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Utf16Le => f.write_str(
                "it is UTF-16 (little-endian) without a byte order mark: 'encoding: utf-16le' in 'csv' would read it",
            ),
            Self::Utf16Be => f.write_str(
                "it is UTF-16 (big-endian) without a byte order mark: 'encoding: utf-16be' in 'csv' would read it",
            ),
            Self::Utf32 => f.write_str("it is UTF-32: convert it: iconv -f UTF-32 -t UTF-8"),
            Self::Gzip => f.write_str("it is compressed by gzip: unpack it first, with 'gunzip'"),
            Self::Workbook => f.write_str(
                "it is a workbook (Excel .xlsx or the like), whatever its name says: open it and save the sheet as \
                 'CSV UTF-8'",
            ),
            Self::OldOffice => f.write_str(
                "it is a file of an old Office program (Excel .xls), whatever its name says: open it and save the sheet \
                 as 'CSV UTF-8'",
            ),
            Self::Compressed(by) => write!(f, "it is compressed by {by}: unpack it first"),
            Self::Archive(kind) => write!(f, "it is a {kind} archive: unpack it, and drop the files in it"),
            Self::Format(name) => write!(f, "it is {name}, not text: export it as CSV in UTF-8"),
            Self::Markup(name) => write!(
                f,
                "it is {name}, not CSV (perhaps a page that an error or a login sent in its place): look into it, and \
                 export it as CSV in UTF-8"
            ),
            Self::TwoMarks => f.write_str(
                "it begins with two byte order marks, of which one is taken for text: remove one, for example with \
                 \"sed '1s/^\\xEF\\xBB\\xBF//'\"",
            ),
        }
    }
}

/// Returns whether the names of members in the head of a zip archive are those of a workbook.
fn is_workbook(head: &[u8]) -> bool {
    let names: [&[u8]; 4] = [b"xl/", b"[Content_Types].xml", b"opendocument.spreadsheet", b"docProps/"];
    names.iter().any(|name| memchr::memmem::find(head, name).is_some())
}

fn markup(head: &[u8]) -> Option<Nature> {
    let text = head.strip_prefix(MARK).unwrap_or(head).trim_ascii_start();
    let begins =
        |with: &str| text.get(..with.len()).is_some_and(|it| it.eq_ignore_ascii_case(with.as_bytes()));
    if begins("<!doctype html") || begins("<html") {
        return Some(Nature::Markup("HTML"));
    }
    begins("<?xml").then_some(Nature::Markup("XML"))
}

/// Detects UTF-16 without a byte order mark: in text of any European language every other byte is 0.
fn unmarked_utf16(head: &[u8]) -> Option<Nature> {
    let (pairs, _) = head[..head.len().min(512)].as_chunks::<2>();
    if pairs.len() < 2 {
        return None;
    }
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    let (most, few) = (pairs.len() * 8 / 10, pairs.len() / 10);
    match (zeros(0), zeros(1)) {
        (first, second) if first <= few && second > most => Some(Nature::Utf16Le),
        (first, second) if second <= few && first > most => Some(Nature::Utf16Be),
        _ => None,
    }
}

/// Describes the unusual line ends of a header, in words.
pub(crate) fn odd_line_ends(header: &[u8]) -> Option<&'static str> {
    let end = header.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
    let names = &header[..end];
    match (memchr::memchr2(b'\r', b'"', names), names.len() < header.len()) {
        (Some(at), _) if names[at] == b'\r' => Some(
            "its lines end in CR alone, which is taken for text: write LF, for example with \"tr '\\r' '\\n'\"",
        ),
        (_, true) => Some(
            "its lines end in CR CR LF, of which the first CR is taken for text (a program wrote CR LF to a file that \
             makes another CR LF of it): write CR LF or LF alone, for example with \"sed 's/\\r*$//'\"",
        ),
        _ => None,
    }
}
