//! The rows of one file to its columns.

use std::collections::{BTreeMap, HashSet};

use super::column::{Tally, fits};
use super::{Sample, names};
use crate::manifest::Kind;
use crate::manifest::limits::COLUMNS_MAX;

/// Looks at the rows of one file, one by one, and says what its columns seem to be.
#[derive(Debug)]
pub struct Inference {
    file_name: String,
    first: Option<Vec<String>>,
    columns: Vec<Tally>,
    /// How many rows had how many fields; the most frequent number is that of the columns.
    widths: BTreeMap<usize, u64>,
}

impl Inference {
    /// An inference for the file of that name, without its folder.
    pub fn new(file_name: &str) -> Self {
        Self { file_name: file_name.to_owned(), first: None, columns: Vec::new(), widths: BTreeMap::new() }
    }

    /// Takes the next row, from the first on, which may be a header.
    pub fn observe(&mut self, fields: &[&str]) {
        if self.first.is_none() {
            self.first = Some(fields.iter().map(|field| (*field).to_owned()).collect());
            return;
        }
        self.tally(fields);
    }

    /// What the columns seem to be.
    pub fn finish(mut self) -> Sample {
        let first = self.first.take().unwrap_or_default();
        let header = self.is_header(&first);
        if !header {
            let fields: Vec<&str> = first.iter().map(String::as_str).collect();
            self.tally(&fields);
        }
        let width = self.width();
        let mut columns = Vec::with_capacity(width);
        for (index, tally) in self.columns.into_iter().take(width).enumerate() {
            let name = match first.get(index) {
                Some(name) if header => names::column(name),
                _ => format!("column_{}", index + 1),
            };
            columns.push(tally.finish(name));
        }
        if let Some(column) = columns.first_mut()
            && !header
            && matches!(column.kind, Kind::Integer | Kind::BigInt)
            && column.identifies()
        {
            column.name = "id".into();
        }
        Sample { file_name: self.file_name, header: header.then_some(first), columns, delimiter: b',' }
    }

    fn tally(&mut self, fields: &[&str]) {
        let fields = &fields[..fields.len().min(COLUMNS_MAX)];
        if self.columns.len() < fields.len() {
            self.columns.resize_with(fields.len(), Tally::default);
        }
        for (column, field) in self.columns.iter_mut().zip(fields) {
            column.observe(field);
        }
        *self.widths.entry(fields.len()).or_default() += 1;
    }

    /// A first row is a header when it has a distinct name for each column, and stands above a column
    /// of a type that its name does not fit.
    fn is_header(&self, first: &[String]) -> bool {
        let distinct: HashSet<&String> = first.iter().collect();
        let named = first.iter().all(|name| names::is_like_a_column(name)) && distinct.len() == first.len();
        let typed = first.iter().zip(&self.columns).any(|(name, column)| {
            let kind = column.kind();
            kind != Kind::Text && !fits(kind, name)
        });
        named && typed && first.len() == self.width()
    }

    /// The most frequent number of fields; of equally frequent ones the largest.
    fn width(&self) -> usize {
        let most = self.widths.iter().max_by_key(|(_, rows)| **rows);
        most.map_or(0, |(width, _)| *width)
    }
}
