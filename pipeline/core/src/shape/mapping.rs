//! Lines of a shape, written in the columns of their dataset.

use super::Shape;
use crate::dead_letter::{Code, Reason};
use crate::manifest::{ColumnsUnknown, Dataset, Reading};
use crate::split::{Fields, setting_for_count, write_field, write_quoted};

/// Maps lines of a shape to the columns of a dataset by name, in the order of the manifest and in RFC 4180. A column
/// that the shape lacks is written as missing. A field that the dataset has no column for is left out. Values stay as
/// they are, and quoted values stay quoted.
#[derive(Debug)]
pub struct Mapping {
    from: Shape,
    /// For each field, whether a text that means missing in the shape is written as missing, because it may be a value
    /// today.
    resolves_null: Vec<bool>,
    /// For each column of the dataset, the index of its field.
    fields: Vec<Option<usize>>,
    /// For each column of the dataset, the value that it has in all lines without one.
    values: Vec<Option<String>>,
    /// The texts that mean missing in the dataset.
    null: Vec<String>,
    /// The column whose missing values are generated, by its index, and how its texts are read.
    generated: Option<(usize, Reading)>,
    /// The indices of the fields that no column has any more.
    gone: Vec<usize>,
    scratch: Fields,
}

impl Mapping {
    pub(super) fn new(shape: &Shape, dataset: &Dataset) -> Self {
        let fields: Vec<_> = dataset.columns.iter().map(|column| shape.field(&column.name)).collect();
        let is_gone = |field: &usize| !shape.columns[*field].is_empty() && !fields.contains(&Some(*field));
        let gone = match dataset.csv.columns_unknown {
            ColumnsUnknown::Refuse => (0..shape.columns.len()).filter(is_gone).collect(),
            ColumnsUnknown::Ignore => Vec::new(),
        };
        Self {
            from: shape.clone(),
            resolves_null: shape.columns.iter().map(|name| resolves_null(shape, dataset, name)).collect(),
            values: vec![None; fields.len()],
            null: dataset.csv.null.clone(),
            generated: dataset.generated().map(|(key, _)| (key, dataset.columns[key].reading.clone())),
            fields,
            gone,
            scratch: Fields::default(),
        }
    }

    /// Gives columns, by index, the values that they have in all lines that have none there.
    pub fn with_values(mut self, values: impl IntoIterator<Item = (usize, String)>) -> Self {
        values.into_iter().for_each(|(column, value)| self.values[column] = Some(value));
        self
    }

    /// Appends a line in the dataset's columns. `key` is the key that is generated for the line, if it has none.
    ///
    /// # Errors
    ///
    /// If the line's fields cannot be matched with the names: its quotes are faulty, or it has more or fewer fields
    /// than names.
    pub fn write(&mut self, text: &[u8], key: Option<&str>, out: &mut Vec<u8>) -> Result<(), Reason> {
        if let Err(unclosed) = self.scratch.split(text, self.from.dialect()) {
            return Err(Reason::new(Code::InvalidCharacter, None, unclosed.to_string(), text));
        }
        self.assert_count(text)?;
        for (column, field) in self.fields.iter().enumerate() {
            if column > 0 {
                out.push(b',');
            }
            let field = field.filter(|field| *field < self.scratch.len());
            let its_key = key.filter(|_| self.generated.as_ref().is_some_and(|(its, _)| *its == column));
            if let Some(value) = its_key.or(self.values[column].as_deref())
                && self.has_no_value(column, field, text)
            {
                match self.null.iter().any(|null| null == value) {
                    true => write_quoted(value.as_bytes(), out),
                    false => write_field(value.as_bytes(), out),
                }
            } else if let Some(field) = field {
                self.write_value(field, text, out);
            }
        }
        Ok(())
    }

    /// Whether the line has as many fields as there are names, or as its syntax allows.
    fn assert_count(&self, text: &[u8]) -> Result<(), Reason> {
        let Shape { columns, syntax, .. } = &self.from;
        let expected = columns.len();
        if self.has_fitting_count(text) {
            return Ok(());
        }
        let mut message = if syntax.header {
            format!("the line has {}, the header has {expected}", self.scratch.count())
        } else {
            format!(
                "the line has {}, its columns are {expected}: {}",
                self.scratch.count(),
                columns.join(", ")
            )
        };
        if !self.from.canonical {
            message += &setting_for_count(text, &self.scratch, &syntax.dialect, expected, syntax.header);
        }
        Err(Reason::new(Code::WrongColumnCount, None, message, text))
    }

    fn has_fitting_count(&self, text: &[u8]) -> bool {
        let Shape { columns, syntax, .. } = &self.from;
        let (found, expected) = (self.scratch.len(), columns.len());
        let ends_with_delimiter =
            syntax.trailing_delimiter && found == expected + 1 && self.scratch.get(expected, text).is_empty();
        found == expected
            || ends_with_delimiter
            || (found < expected && syntax.pads)
            || (found > expected && syntax.cuts)
    }

    /// Whether a line has no value in a column of the dataset, by its index. A line whose fields cannot be matched with
    /// the names lacks none: it is rejected for that.
    pub fn lacks(&mut self, text: &[u8], column: usize) -> bool {
        self.scratch.split(text, self.from.dialect()).is_ok()
            && self.has_fitting_count(text)
            && self.has_no_value(
                column,
                self.fields[column].filter(|field| *field < self.scratch.len()),
                text,
            )
    }

    /// Whether a column, by its index, has no field in the line that was split last, or one without a value. A key is
    /// generated wherever its column would lack a value otherwise.
    fn has_no_value(&self, column: usize, field: Option<usize>, text: &[u8]) -> bool {
        let Some(field) = field else { return true };
        let is_missing_in = |reading: &Reading| {
            let value = reading.value_of(self.scratch.get(field, text));
            reading.means_missing(value, self.scratch.is_literal(field))
        };
        match self.generated.as_ref().filter(|(key, _)| *key == column && !self.from.canonical) {
            Some((_, reading)) => self.scratch.get(field, text).is_empty() || is_missing_in(reading),
            None => self.is_missing(field, text),
        }
    }

    /// The names of fields that the dataset has no column for any more.
    pub fn gone(&self) -> impl Iterator<Item = &str> {
        self.gone.iter().map(|field| self.from.columns[*field].as_str())
    }

    /// The values that the last written line had in fields that the dataset has no column for any more.
    pub fn dropped<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let present =
            self.gone.iter().filter(|field| **field < self.scratch.len() && !self.is_missing(**field, text));
        present.map(|field| (self.from.columns[*field].as_str(), self.scratch.get(*field, text)))
    }

    fn is_missing(&self, field: usize, text: &[u8]) -> bool {
        let value = self.scratch.get(field, text);
        value.is_empty() || self.is_null(field, value)
    }

    fn is_null(&self, field: usize, value: &[u8]) -> bool {
        !self.scratch.is_literal(field) && self.from.null.iter().any(|null| null.as_bytes() == value)
    }

    fn write_value(&self, field: usize, text: &[u8], out: &mut Vec<u8>) {
        let value = self.scratch.get(field, text);
        if self.scratch.is_literal(field) {
            write_quoted(value, out);
        } else if !(self.resolves_null[field] && self.is_null(field, value)) {
            write_field(value, out);
        }
    }
}

/// Whether the texts that meant missing in a dataset's shape are written as missing in a column: they mean it no more, and
/// the column has no such texts of its own.
fn resolves_null(shape: &Shape, dataset: &Dataset, column: &str) -> bool {
    let column = dataset.columns.iter().find(|its| its.name == column);
    shape.null != dataset.csv.null && column.is_some_and(|column| column.reading.nulls == dataset.csv.null)
}
