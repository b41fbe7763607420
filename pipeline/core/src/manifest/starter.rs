//! A first manifest, inferred from samples of files.
//!
//! Feed the rows of a file to an [`Inference`], and give the [`Sample`]s of all files to [`write()`]. What
//! comes out is a guess for a person to check: [`Manifest::parse`](super::Manifest::parse) accepts it, unless no key was
//! found for a dataset, which a comment says.
//!
//! # Layout
//!
//! * `inference`: rows to tallies, these to columns. `header` tells whether the first row names them, by their types and
//!   by what texts have in common: `shapes`.
//! * `column`: the type of a column. `numbers`, `dates` and `markers` know how people and programs write values.
//! * `key`, `references`: what identifies a row, and what leads to other datasets.
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

pub use column::{ColumnSample, Meant};
pub use inference::{Inference, Oddities};
pub use remarks::Remarks;
pub use text::{Starter, write};

use key::KeyGuess;
use markers::MARKERS;

/// How a file is written, and how much of it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What stands between its fields.
    pub delimiter: u8,
    /// How many fields most of its lines have.
    pub width: usize,
    /// How many bytes of the file were looked at.
    pub bytes: u64,
    /// Whether these are all.
    pub whole: bool,
    /// What keeps the pipeline from reading the file as it is, each with what to do.
    pub obstacles: Vec<String>,
    /// What may be otherwise.
    pub doubts: Vec<String>,
}

impl Layout {
    /// Of a file of plain UTF-8 with lines of so many fields, of which all was looked at.
    pub fn plain(delimiter: u8, width: usize) -> Self {
        Self { delimiter, width, bytes: 0, whole: true, obstacles: Vec::new(), doubts: Vec::new() }
    }
}

/// What the rows of one file look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The file's name, without its folder.
    pub file_name: String,
    /// How it is written.
    pub layout: Layout,
    /// The names in its first record, where that seems to be a header.
    pub header: Option<Vec<String>>,
    /// Whether nothing speaks against that.
    pub sure_of_header: bool,
    /// What is odd about the first row.
    pub odd: Oddities,
    /// Its columns, in order.
    pub columns: Vec<ColumnSample>,
    /// How many rows were looked at, without the header.
    pub rows: u64,
    /// How many besides have another number of fields than most.
    pub ragged: u64,
}

impl Sample {
    /// The text that means a missing value most often, if one does.
    pub fn null(&self) -> Option<&'static str> {
        self.null_marker().map(|marker| MARKERS[marker])
    }

    /// Its number among the markers.
    fn null_marker(&self) -> Option<usize> {
        let mut counts = [0; MARKERS.len()];
        for column in &self.columns {
            for (marker, count) in column.markers.iter().enumerate() {
                if !column.is_text() || markers::is_no_word(marker) {
                    counts[marker] += count;
                }
            }
        }
        // Of equal ones the first, as `max_by_key` gives the last.
        let most = counts.into_iter().enumerate().rev().max_by_key(|(_, count)| *count);
        most.filter(|(_, count)| *count > 0).map(|(marker, _)| marker)
    }
}

/// A dataset as it will be written.
struct Guess<'a> {
    name: String,
    files: String,
    sample: &'a Sample,
    layout: &'a Layout,
    key: KeyGuess,
    null: Option<usize>,
    columns: &'a [ColumnSample],
}

impl Guess<'_> {
    /// How often the chosen text for a missing value stands in a column.
    fn nulls(&self, column: &ColumnSample) -> u64 {
        self.null.map_or(0, |null| column.markers[null])
    }

    /// Whether a column may lack values.
    fn is_optional(&self, index: usize) -> bool {
        let column = &self.columns[index];
        let nulls = self.nulls(column);
        let is_meant = nulls > 0 && (!column.is_text() || self.means_missing(column));
        self.key.column() != Some(index) && (column.optional() || is_meant)
    }

    /// Whether the text for a missing value means that in a column of text too. Not among codes, where `NA` is Namibia.
    fn means_missing(&self, column: &ColumnSample) -> bool {
        let is_code = column.length <= 3;
        self.null.is_some_and(markers::is_no_word) || !is_code
    }
}
