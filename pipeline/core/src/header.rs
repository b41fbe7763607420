//! The names in the header of a file, and the columns that they belong to.
//!
//! A field belongs to the column that names it with `from:`, else to the column of that very name. If the dataset
//! allows it, the names that are left are compared loosely: without case, accents, blanks and punctuation. **A name
//! that fits two columns, and a column that two names fit, are faults**: which is meant is never guessed.

mod fault;
mod spelling;

use std::collections::HashMap;

use crate::manifest::{Column, ColumnsUnknown, Dataset, HeaderMatch, Origin};

use fault::Faults;
use spelling::loose;

/// A header that fits its dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// For each field the name of its column. A field that belongs to no column has its own name, or an empty one if a
    /// column or another field has that name.
    pub columns: Vec<String>,
    /// Whether the header ends with a delimiter, which is no field.
    pub trailing_delimiter: bool,
}

impl Header {
    /// Matches the names of a header with the columns of a dataset. An optional column may be absent if the manifest
    /// allows that, and a key that is generated.
    ///
    /// # Errors
    ///
    /// All faults, in words, if the names do not fit.
    pub fn of(names: &[String], dataset: &Dataset) -> Result<Self, Vec<String>> {
        let trailing_delimiter = ends_with_delimiter(names, dataset);
        let names = &names[..names.len() - usize::from(trailing_delimiter)];
        let matching = Matching::of(names, dataset);
        let faults = Faults::of(&matching);
        if !faults.is_empty() {
            return Err(faults);
        }
        // A name that is there twice, or that a column has, must not tell later whose value the field is.
        let is_column = |name: &str| dataset.columns.iter().any(|column| column.name == name);
        let mut times: HashMap<&str, usize> = HashMap::new();
        matching.names.iter().for_each(|name| *times.entry(name).or_default() += 1);
        let columns = matching.names.iter().zip(&matching.columns).map(|(name, column)| match column {
            Some(column) => dataset.columns[*column].name.clone(),
            None if is_column(name) || times[name] > 1 => String::new(),
            None => (*name).to_owned(),
        });
        Ok(Self { columns: columns.collect(), trailing_delimiter })
    }
}

/// How many columns of a dataset a line of names names, without doubt.
pub fn columns_named(names: &[String], dataset: &Dataset) -> usize {
    Matching::of(names, dataset).columns.iter().flatten().count()
}

/// Whether a line of names has the name of every column that has a field, and no other name.
pub fn names_all(names: &[String], dataset: &Dataset) -> bool {
    let named = columns_named(names, dataset);
    named == names.len() && named == dataset.fields().count()
}

/// Whether the last name is empty because a delimiter ends each line. A column may have the empty name: then that
/// name is the last one only if it is there once more.
fn ends_with_delimiter(names: &[String], dataset: &Dataset) -> bool {
    let [before @ .., last] = names else { return false };
    let is_empty = |name: &String| name.trim().is_empty();
    let is_nameless =
        |column: &Column| matches!(&column.origin, Origin::Names(from) if from.iter().any(String::is_empty));
    // Where other fields are left out, the last one may be such a field.
    is_empty(last)
        && dataset.csv.columns_unknown == ColumnsUnknown::Refuse
        && !before.is_empty()
        && (before.iter().any(is_empty) || !dataset.columns.iter().any(is_nameless))
}

/// Which field belongs to which column.
struct Matching<'a> {
    dataset: &'a Dataset,
    /// The names of the fields, without blanks around them.
    names: Vec<&'a str>,
    /// For each field the index of its column.
    columns: Vec<Option<usize>>,
    /// The fields whose column is found or in doubt.
    fields_settled: Vec<bool>,
    /// The columns whose field is found or in doubt.
    columns_settled: Vec<bool>,
    /// What cannot be decided.
    doubts: Vec<Doubt>,
}

/// Names and columns that fit, but not one to one. Fields and columns are meant by their indices.
struct Doubt {
    fields: Vec<usize>,
    columns: Vec<usize>,
    is_loose: bool,
}

impl<'a> Matching<'a> {
    fn of(names: &'a [String], dataset: &'a Dataset) -> Self {
        let names: Vec<&str> = names.iter().map(|name| name.trim()).collect();
        let columns = vec![None; names.len()];
        let (fields_settled, columns_settled) =
            (vec![false; names.len()], vec![false; dataset.columns.len()]);
        let doubts = Vec::new();
        let mut matching = Self { dataset, names, columns, fields_settled, columns_settled, doubts };
        let (exact, own) = (str::to_owned, |column: &'a Column| vec![column.name.as_str()]);
        matching.pair(false, exact, |column| from(column).to_vec());
        matching.pair(false, exact, own);
        if dataset.csv.header_match == HeaderMatch::Loose {
            let all = |column| from(column).iter().copied().chain(own(column)).collect();
            matching.pair(true, |name: &str| loose(name), all);
        }
        matching
    }

    /// Pairs the fields and columns that are free yet, if the name of a field is spelled like one `of` the column.
    fn pair<S: AsRef<str> + 'a>(
        &mut self,
        is_loose: bool,
        spelling: impl Fn(&str) -> String,
        of: impl Fn(&'a Column) -> Vec<S>,
    ) {
        let mut by_spelling: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, column) in self.dataset.fields().filter(|(index, _)| self.is_absent(*index)) {
            for name in of(column) {
                let columns = by_spelling.entry(spelling(name.as_ref())).or_default();
                if !columns.contains(&index) {
                    columns.push(index);
                }
            }
        }
        if is_loose {
            // Names without any letter are alike, and mean nothing.
            by_spelling.remove("");
        }
        let mut fields_of: HashMap<usize, Vec<usize>> = HashMap::new();
        let free: Vec<usize> = (0..self.names.len()).filter(|field| self.is_free(*field)).collect();
        for field in free {
            match by_spelling.get(&spelling(self.names[field])).map(Vec::as_slice) {
                None => {}
                Some([column]) => fields_of.entry(*column).or_default().push(field),
                Some(columns) => self.doubt(vec![field], columns.to_vec(), is_loose),
            }
        }
        let mut fields_of: Vec<_> = fields_of.into_iter().collect();
        fields_of.sort_unstable();
        for (column, fields) in fields_of {
            match fields[..] {
                [field] => {
                    // A column that is in doubt is a fault already.
                    self.columns[field] = self.is_absent(column).then_some(column);
                    (self.fields_settled[field], self.columns_settled[column]) = (true, true);
                }
                _ => self.doubt(fields, vec![column], is_loose),
            }
        }
    }

    fn doubt(&mut self, fields: Vec<usize>, columns: Vec<usize>, is_loose: bool) {
        fields.iter().for_each(|field| self.fields_settled[*field] = true);
        columns.iter().for_each(|column| self.columns_settled[*column] = true);
        self.doubts.push(Doubt { fields, columns, is_loose });
    }

    /// Whether no column has been found for a field, and none is in doubt.
    fn is_free(&self, field: usize) -> bool {
        !self.fields_settled[field]
    }

    /// Whether no field has been found for a column, and none is in doubt.
    fn is_absent(&self, column: usize) -> bool {
        !self.columns_settled[column]
    }
}

/// The names that a column gives its field besides its own.
fn from(column: &Column) -> Vec<&str> {
    match &column.origin {
        Origin::Names(names) => names.iter().map(|name| name.trim()).collect(),
        _ => Vec::new(),
    }
}
