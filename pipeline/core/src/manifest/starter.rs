//! A first manifest, inferred from samples of files.
//!
//! Feed the rows of a file to an [`Inference`], and give the [`Sample`]s of all files to [`write()`]. The result is a
//! guess for a person to check. [`Manifest::parse`](super::Manifest::parse) accepts it, unless no key was found for a
//! dataset. A comment in the manifest then says so.
//!
//! # Layout
//!
//! * `inference`: rows to tallies, tallies to columns. `header` decides whether the first row names the columns, by
//!   the types below it and by what texts have in common: `shapes`.
//! * `column`: the type of a column. `numbers`, `dates`, `booleans` and `markers` know how people and programs write
//!   values, `notation` holds the settings that read them, `nulls` the texts that mean missing.
//! * `key`, `references`: the columns that identify a row, and the columns that reference other datasets.
//! * `text`: the manifest. `syntax` writes its `csv`. `remarks`: what a person should know about it.

mod inference;
mod header;
mod shapes;
mod column;
mod numbers;
mod dates;
pub(crate) mod booleans;
mod notation;
pub(crate) mod markers;
mod nulls;
mod key;
mod references;
mod names;
mod remarks;
mod syntax;
mod text;

pub use column::{ColumnSample, Meaning};
pub use inference::{Inference, Oddities};
pub use notation::Notation;
pub use remarks::Remarks;
pub use text::{Starter, write};

use crate::syntax::{Delimiter, Syntax};
use key::KeyGuess;
use nulls::NullGuess;

/// How a file is written, and how much of it was sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How its bytes become records and fields. Whether it has a header is inferred from its rows.
    pub syntax: Syntax,
    /// The label of its encoding, if the manifest must tell it.
    pub encoding: Option<String>,
    /// How many fields most of its lines have.
    pub width: usize,
    /// How many physical lines there are up to the end of the first row or header.
    pub first_lines: u32,
    /// How many bytes of the file were sampled.
    pub bytes: u64,
    /// Whether the whole file was sampled.
    pub whole: bool,
    /// What the settings of the syntax were found by.
    pub evidence: Vec<String>,
    /// What keeps the pipeline from reading the file as it is, each with what to do.
    pub obstacles: Vec<String>,
    /// What may be a wrong guess.
    pub doubts: Vec<String>,
}

impl Layout {
    /// The layout of a whole UTF-8 file whose lines have `width` fields.
    pub fn plain(delimiter: u8, width: usize) -> Self {
        Self {
            syntax: Syntax::of_bytes(delimiter, b'"'),
            encoding: None,
            width,
            first_lines: 1,
            bytes: 0,
            whole: true,
            evidence: Vec::new(),
            obstacles: Vec::new(),
            doubts: Vec::new(),
        }
    }

    /// The byte between fields; 0 if there is no such byte.
    pub fn delimiter(&self) -> u8 {
        if let Delimiter::Byte(delimiter) = self.syntax.dialect.delimiter { delimiter } else { 0 }
    }
}

/// What the rows of one file look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The file's name, without its folder.
    pub file_name: String,
    /// How the file is written.
    pub layout: Layout,
    /// The names in the first record, if that seems to be a header.
    pub header: Option<Vec<String>>,
    /// Whether nothing speaks against the decision about the header.
    pub sure_of_header: bool,
    /// What is unusual about the first row.
    pub odd: Oddities,
    /// The columns, in order.
    pub columns: Vec<ColumnSample>,
    /// How many rows were sampled, the header excluded.
    pub rows: u64,
    /// How many more lines have another number of fields than most.
    pub ragged: u64,
    /// How many of these have fewer fields.
    pub short: u64,
    /// How many more lines repeat the header.
    pub repeated_headers: u64,
}

/// A dataset as the manifest will have it.
struct DatasetGuess<'a> {
    name: String,
    files: String,
    sample: &'a Sample,
    key: KeyGuess,
    nulls: NullGuess,
}

impl DatasetGuess<'_> {
    /// Whether a column may lack values.
    fn is_optional(&self, index: usize) -> bool {
        let column = &self.sample.columns[index];
        let is_key = self.key.columns().contains(&index);
        !is_key && (column.optional() || self.nulls.count(index, column) > 0)
    }
}
