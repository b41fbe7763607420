//! Writes rows as CSV in a dataset's own dialect, so that what enters as JSON or Avro becomes a file like any other.

use tidegate_core::manifest::Dataset;

/// Writes rows of a dataset in the form of its files.
#[derive(Clone, Copy, Debug)]
pub struct RowWriter<'a> {
    dataset: &'a Dataset,
}

impl<'a> RowWriter<'a> {
    /// Creates a writer for rows of `dataset`.
    pub fn new(dataset: &'a Dataset) -> Self {
        Self { dataset }
    }

    /// Appends the header, if files of the dataset have one.
    pub fn header(&self, out: &mut Vec<u8>) {
        if self.dataset.csv.header {
            self.row(self.dataset.columns.iter().map(|column| Some(column.name.as_str())), out);
        }
    }

    /// Appends a row: one value for each column in the manifest's order, as text; `None` is a missing value.
    pub fn row<'v>(&self, values: impl Iterator<Item = Option<&'v str>>, out: &mut Vec<u8>) {
        let start = out.len();
        for (i, value) in values.enumerate() {
            if i > 0 {
                out.push(self.dataset.csv.delimiter);
            }
            if let Some(value) = value {
                self.field(value, out);
            }
        }
        // A blank line would be no record.
        if out.len() == start {
            out.extend([self.dataset.csv.quote; 2]);
        }
        out.push(b'\n');
    }

    fn field(&self, value: &str, out: &mut Vec<u8>) {
        let csv = &self.dataset.csv;
        let must_quote = |byte| byte == csv.delimiter || byte == csv.quote || matches!(byte, b'\n' | b'\r');
        // A value that equals the dataset's word for null must be quoted, and so must one that begins with a BOM.
        let is_word = csv.null.as_deref() == Some(value) || value.starts_with('\u{feff}');
        if !is_word && !value.bytes().any(must_quote) {
            out.extend(value.as_bytes());
            return;
        }
        out.push(csv.quote);
        for byte in value.bytes() {
            if byte == csv.quote {
                out.push(byte);
            }
            out.push(byte);
        }
        out.push(csv.quote);
    }
}
