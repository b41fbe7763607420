//! The label of an encoding.

use encoding_rs::Encoding;
use marked_yaml::Node;

use super::super::yaml::{NodeReader, Text};
use crate::suggestion::did_you_mean;
use crate::syntax::encoding_of;

/// The labels that are suggested in place of an unknown one: the name of each encoding, and its usual aliases.
const LABELS: [&str; 56] = [
    "utf-8",
    "utf-16le",
    "utf-16be",
    "utf-16",
    "latin1",
    "latin2",
    "latin3",
    "latin4",
    "latin5",
    "latin6",
    "ascii",
    "windows-874",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
    "cp1250",
    "cp1251",
    "cp1252",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-3",
    "iso-8859-4",
    "iso-8859-5",
    "iso-8859-6",
    "iso-8859-7",
    "iso-8859-8",
    "iso-8859-8-i",
    "iso-8859-9",
    "iso-8859-10",
    "iso-8859-13",
    "iso-8859-14",
    "iso-8859-15",
    "iso-8859-16",
    "macintosh",
    "x-mac-cyrillic",
    "ibm866",
    "cp866",
    "koi8-r",
    "koi8-u",
    "gbk",
    "gb2312",
    "gb18030",
    "big5",
    "big5-hkscs",
    "euc-jp",
    "euc-kr",
    "iso-2022-jp",
    "shift_jis",
    "sjis",
    "tis-620",
];

impl NodeReader<'_> {
    /// Reads the label of an encoding.
    pub(super) fn encoding(&mut self, node: &Node) -> Option<&'static Encoding> {
        let Text { value, place } = self.text(node, "the name of an encoding")?;
        let found = encoding_of(&value);
        if found.is_none() {
            let otherwise = || {
                "write a label of the WHATWG's Encoding Standard, such as utf-8, latin1, windows-1252, utf-16le or \
                 shift_jis"
                    .to_owned()
            };
            let hint = did_you_mean(&value.to_lowercase(), &LABELS, otherwise);
            self.fault(place, format!("\"{value}\" is no encoding"), hint);
        }
        found
    }
}
