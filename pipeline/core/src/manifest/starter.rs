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
//! * `column`: the type of a column. `numbers`, `dates` and `markers` know how people and programs write values.
//! * `key`, `references`: the column that identifies a row, and the columns that reference other datasets.
//! * `text`: the manifest. `remarks`: what a person should know about it.

mod inference;
mod header;
mod shapes;
mod column;
mod numbers;
mod dates;
mod markers;
mod key;
mod references;
mod names;
mod remarks;
mod text;

pub use column::{ColumnSample, Meaning};
pub use inference::{Inference, Oddities};
pub use remarks::Remarks;
pub use text::{Starter, write};

use key::KeyGuess;
use markers::MARKERS;

/// How a file is written, and how much of it was sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The byte between fields.
    pub delimiter: u8,
    /// How many fields most of its lines have.
    pub width: usize,
    /// How many bytes of the file were sampled.
    pub bytes: u64,
    /// Whether the whole file was sampled.
    pub whole: bool,
    /// What keeps the pipeline from reading the file as it is, each with what to do.
    pub obstacles: Vec<String>,
    /// What may be a wrong guess.
    pub doubts: Vec<String>,
}

impl Layout {
    /// The layout of a whole UTF-8 file whose lines have `width` fields.
    pub fn plain(delimiter: u8, width: usize) -> Self {
        Self { delimiter, width, bytes: 0, whole: true, obstacles: Vec::new(), doubts: Vec::new() }
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
}

impl Sample {
    /// The text that means a missing value most often. `None` if there is no such text.
    pub fn null(&self) -> Option<&'static str> {
        self.null_marker().map(|marker| MARKERS[marker])
    }

    /// The index of that text among the markers.
    fn null_marker(&self) -> Option<usize> {
        let mut counts = [0; MARKERS.len()];
        for column in &self.columns {
            for (marker, count) in column.markers.iter().enumerate() {
                if !column.is_text() || markers::is_no_word(marker) {
                    counts[marker] += count;
                }
            }
        }
        // Of equal counts the first wins, because `max_by_key` returns the last.
        let most = counts.into_iter().enumerate().rev().max_by_key(|(_, count)| *count);
        most.filter(|(_, count)| *count > 0).map(|(marker, _)| marker)
    }
}

/// A dataset as the manifest will have it.
struct DatasetGuess<'a> {
    name: String,
    files: String,
    sample: &'a Sample,
    key: KeyGuess,
    null: Option<usize>,
}

impl DatasetGuess<'_> {
    /// How often the chosen text for a missing value is in a column.
    fn nulls(&self, column: &ColumnSample) -> u64 {
        self.null.map_or(0, |null| column.markers[null])
    }

    /// Whether a column may lack values.
    fn is_optional(&self, index: usize) -> bool {
        let column = &self.sample.columns[index];
        let nulls = self.nulls(column);
        let is_meant = nulls > 0 && (!column.is_text() || self.means_missing(column));
        self.key.column() != Some(index) && (column.optional() || is_meant)
    }

    /// Whether the text for a missing value means missing in a column of text too. Among codes it does not: `NA` is
    /// Namibia.
    fn means_missing(&self, column: &ColumnSample) -> bool {
        let is_code = column.length <= 3;
        self.null.is_some_and(markers::is_no_word) || !is_code
    }
}
