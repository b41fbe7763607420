//! How the bytes of a file become records and fields.
//!
//! A [`Syntax`] is a part of a [`Shape`](crate::shape::Shape): a source is always read by the syntax under which its
//! lines were numbered, however the manifest has changed since.

mod pattern;
mod settings;

use encoding_rs::{Encoding, UTF_8, X_USER_DEFINED};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use pattern::Pattern;

/// How a record is divided into its fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dialect {
    /// What stands between fields.
    pub delimiter: Delimiter,
    /// The ASCII byte around a field that holds delimiters, quotes or line ends; doubled inside one. `None` if no
    /// byte has that meaning.
    pub quote: Option<u8>,
    /// The ASCII byte that takes its special meaning from the next byte, or from the next line end, which then is
    /// data. An unquoted field that is `\N` keeps the escape, because that is how a missing value is written.
    pub escape: Option<u8>,
    /// Whether letters behind the escape mean what they mean in C: `\n` is a line feed. Known are `n`, `t`, `r`,
    /// `b`, `f`, `v`, `x` with one or two hexadecimal digits, and one to three octal digits.
    pub c_escapes: bool,
    /// Whether blanks and tabs around fields, and around their quotes, are left out.
    pub trim: bool,
}

/// What stands between fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delimiter {
    /// An ASCII byte.
    Byte(u8),
    /// Several bytes.
    Text(String),
    /// One or more blanks and tabs. Those at the beginning and at the end of a record divide nothing.
    Whitespace,
    /// Nothing: each field has its place in the line, and blanks around it are left out. No byte is a quote or an
    /// escape, and each physical line is a record.
    Widths(Vec<Width>),
}

/// The place of a field in a line of fixed width, in characters from 1, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Width {
    /// The first character.
    pub from: u32,
    /// The last character.
    pub to: u32,
}

/// The encoding of a label of the WHATWG's Encoding Standard. Two encodings of it are no encodings here: `replacement`
/// decodes nothing, and `x-user-defined` decodes to no letters.
pub fn encoding_of(label: &str) -> Option<&'static Encoding> {
    let found = Encoding::for_label_no_replacement(label.as_bytes());
    found.filter(|encoding| *encoding != X_USER_DEFINED)
}

impl Dialect {
    /// RFC 4180, which is what Postgres's `copy ... (format csv)` reads.
    pub const STANDARD: Self = Self {
        delimiter: Delimiter::Byte(b','),
        quote: Some(b'"'),
        escape: None,
        c_escapes: false,
        trim: false,
    };
}

impl Default for Dialect {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// All that decides how the bytes of a file become records and fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Syntax {
    /// The encoding. A byte order mark in the file overrules it.
    pub encoding: &'static Encoding,
    /// How a record is divided into its fields.
    pub dialect: Dialect,
    /// Whether the first record names the columns.
    pub header: bool,
    /// Whether a later record that equals the header is no record either.
    pub repeated_header: bool,
    /// Whether the first line names the delimiter for Excel, `sep=;`, and is no record.
    pub sep_line: bool,
    /// The number of physical lines before the header, or before the first record.
    pub skip_lines: u32,
    /// The beginning of lines that are comments.
    pub comment: Option<String>,
    /// A line that matches one of these is no record.
    pub skip: Vec<Pattern>,
    /// A line that does not match this is no record. The header need not match.
    pub record: Option<Pattern>,
    /// Whether a delimiter ends each record.
    pub trailing_delimiter: bool,
    /// Whether a record may have fewer fields than there are names. The missing fields are missing values.
    pub pads: bool,
    /// Whether a record may have more fields than there are names. The fields beyond are left out.
    pub cuts: bool,
}

impl Syntax {
    /// The syntax of lines without a header that need no more than a dialect.
    pub fn of_dialect(dialect: Dialect) -> Self {
        Self { dialect, ..Self::default() }
    }

    /// The settings that differ from those of RFC 4180 in UTF-8, as a JSON object. The same settings give the same
    /// text.
    pub fn to_json(&self) -> String {
        let settings = |syntax: &Self| serde_json::to_value(syntax).unwrap_or_default();
        let standard = settings(&Self::default());
        let mut all = settings(self);
        if let Value::Object(all) = &mut all {
            all.retain(|name, value| standard[name.as_str()] != *value);
        }
        all.to_string()
    }

    /// What identifies the division of a file into records. If nothing but header, delimiter and quote has been set,
    /// it has these three bytes, as in versions that knew no other settings.
    ///
    /// Settings that decide which fields a record has are left out. So is what the file itself tells, whether a header
    /// may be repeated and whether the first line names the delimiter: a file is the same file for versions that did not
    /// recognise that, and the number of its lines tells if it differs.
    pub fn identity(&self) -> Vec<u8> {
        let divides = Self {
            repeated_header: false,
            sep_line: false,
            trailing_delimiter: false,
            pads: false,
            cuts: false,
            ..self.clone()
        };
        match divides.plain() {
            Some((delimiter, quote)) => vec![u8::from(divides.header), delimiter, quote],
            None => divides.to_json().into_bytes(),
        }
    }

    /// The syntax that has a delimiter and a quote alone.
    pub fn of_bytes(delimiter: u8, quote: u8) -> Self {
        let delimiter = Delimiter::Byte(delimiter);
        Self::of_dialect(Dialect { delimiter, quote: Some(quote), ..Dialect::STANDARD })
    }

    /// Delimiter and quote, if the syntax has nothing more than these and perhaps a header.
    pub fn plain(&self) -> Option<(u8, u8)> {
        let (Delimiter::Byte(delimiter), Some(quote)) = (&self.dialect.delimiter, self.dialect.quote) else {
            return None;
        };
        let plain = Self { header: self.header, ..Self::of_bytes(*delimiter, quote) };
        (*self == plain).then_some((*delimiter, quote))
    }
}

impl Default for Syntax {
    fn default() -> Self {
        Self {
            encoding: UTF_8,
            dialect: Dialect::STANDARD,
            header: false,
            repeated_header: false,
            sep_line: false,
            skip_lines: 0,
            comment: None,
            skip: Vec::new(),
            record: None,
            trailing_delimiter: false,
            pads: false,
            cuts: false,
        }
    }
}
