//! References from the rows of a dataset to rows of another one, or of the same one.

use super::Dataset;

/// Columns whose values must be those of a row of the referenced dataset. A row with a missing value in one of the
/// columns references nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The indices of the columns, each once.
    pub columns: Vec<usize>,
    /// The index, in [`Manifest::datasets`](super::Manifest::datasets), of the dataset that is referenced.
    pub dataset: usize,
    /// The indices of that dataset's columns, one for each of `columns` and of the same type: its key in order, or one
    /// other column, which the reference makes unique.
    pub to: Vec<usize>,
}

impl Reference {
    /// The names of the columns in `dataset`, whose reference this is: `origin, time_hour`.
    pub fn name(&self, dataset: &Dataset) -> String {
        dataset.names(&self.columns)
    }
}
