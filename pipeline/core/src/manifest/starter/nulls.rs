//! Which texts mean a missing value, and in which columns.

use super::column::ColumnSample;
use super::markers::{MARKERS, is_no_word, is_sign_of_programs};

/// The settings about missing values of a dataset.
#[derive(Clone, Debug, Default)]
pub(super) struct NullGuess {
    /// For each column, the indices of the markers that mean missing in it.
    columns: Vec<Vec<usize>>,
    /// The markers of the dataset. Empty if columns need different ones.
    pub(super) shared: Vec<usize>,
    /// Whether a marker in quotes means missing too.
    pub(super) quoted: bool,
}

/// Decides for each column which texts mean missing. In a column with a type all do that are found there. In a column
/// of text a marker may be a value: `NA` is Namibia among codes. Without quotes among values in quotes it is none.
pub(super) fn guess(columns: &[ColumnSample]) -> NullGuess {
    let found = |column: &ColumnSample| {
        (0..MARKERS.len()).filter(|marker| column.markers[*marker] > 0).collect::<Vec<_>>()
    };
    let meant: Vec<Vec<usize>> = columns
        .iter()
        .map(|column| found(column).into_iter().filter(|marker| means_missing(*marker, column)).collect())
        .collect();
    let mut shared: Vec<usize> = meant.iter().flatten().copied().collect();
    shared.sort_unstable();
    shared.dedup();
    let is_value = |column: &ColumnSample, marker: &usize| {
        column.markers[*marker] > 0 && !means_missing(*marker, column)
    };
    if columns.iter().any(|column| shared.iter().any(|marker| is_value(column, marker))) {
        shared.clear();
    }
    let quoted =
        columns.iter().zip(&meant).any(|(column, meant)| column.quoted_markers > 0 && !meant.is_empty());
    NullGuess { columns: meant, shared, quoted }
}

/// Whether a marker means missing in a column that has it.
fn means_missing(marker: usize, column: &ColumnSample) -> bool {
    let is_code = column.length <= 3;
    let has_nothing_else = column.filled == column.marked();
    let is_told = !column.is_text() || has_nothing_else || column.bare_markers;
    is_told || is_no_word(marker) || (is_sign_of_programs(marker) && !is_code)
}

impl NullGuess {
    /// How many values of a column are missing by these texts.
    pub(super) fn count(&self, index: usize, column: &ColumnSample) -> u64 {
        let meant = self.columns.get(index).into_iter().flatten();
        meant.map(|marker| column.markers[*marker]).sum()
    }

    /// Whether a marker means missing in a column.
    pub(super) fn has(&self, index: usize, marker: usize) -> bool {
        self.columns.get(index).is_some_and(|meant| meant.contains(&marker))
    }

    /// The texts of the dataset.
    pub(super) fn shared(&self) -> Vec<String> {
        texts(&self.shared)
    }

    /// The texts that a column must name for itself.
    pub(super) fn own(&self, index: usize) -> Vec<String> {
        match self.columns.get(index) {
            Some(own) if self.shared.is_empty() => texts(own),
            _ => Vec::new(),
        }
    }

    /// All texts, each once.
    pub(super) fn all(&self) -> Vec<String> {
        let mut all: Vec<usize> = self.columns.iter().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        texts(&all)
    }
}

fn texts(markers: &[usize]) -> Vec<String> {
    markers.iter().map(|marker| MARKERS[*marker].to_owned()).collect()
}
