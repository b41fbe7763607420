//! The shape of a line: the names of its fields, in order, and the dialect that they are written in.
//!
//! A line is read by the names that its fields had when it was written, even if the manifest has changed since:
//! **text is never put into the columns of another shape by place.** Only [`Mapping`] leads from a shape to the
//! columns of a dataset.

use crate::dead_letter::{Code, Reason};
use crate::manifest::{Csv, Dataset, Manifest};
use crate::split::{Dialect, Fields};

/// The names of a text's fields, and the dialect that they are written in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The names of the fields, in order.
    pub columns: Vec<String>,
    /// Whether a source of this shape begins with a record of these names.
    pub header: bool,
    /// The byte between fields.
    pub delimiter: u8,
    /// The byte around fields.
    pub quote: u8,
    /// A text that means missing, besides the empty field.
    pub null: Option<String>,
    /// Identifies the rules of the dataset at that time: see [`rules`]. Empty if they are not known.
    pub rules: String,
}

impl Shape {
    /// The shape of a line without a header, as the manifest defines it.
    pub fn of(manifest: &Manifest, dataset: &Dataset) -> Self {
        let columns = dataset.columns.iter().map(|column| column.name.clone()).collect();
        let Csv { delimiter, quote, null, .. } = dataset.csv.clone();
        Self { columns, header: false, delimiter, quote, null, rules: rules(manifest, dataset) }
    }

    /// The delimiter and the quote of the fields.
    pub fn dialect(&self) -> Dialect {
        Dialect { delimiter: self.delimiter, quote: self.quote }
    }

    /// Whether a text of this shape needs no mapping to be a line of `dataset`.
    pub fn fits(&self, dataset: &Dataset) -> bool {
        let csv = &dataset.csv;
        self.reads_as(dataset) && (self.dialect(), &self.null) == (csv.dialect(), &csv.null)
    }

    /// Whether the fields are the columns of `dataset`, in the same order.
    fn reads_as(&self, dataset: &Dataset) -> bool {
        self.columns.len() == dataset.columns.len()
            && self.columns.iter().zip(&dataset.columns).all(|(name, column)| *name == column.name)
    }

    /// The mapping from a text of this shape to the columns of `dataset`; if `is_canonical`, from and to canonical
    /// text. `None` if no mapping is needed.
    pub fn mapping(&self, dataset: &Dataset, is_canonical: bool) -> Option<Mapping> {
        if !is_canonical {
            return (!self.fits(dataset)).then(|| Mapping::new(self, dataset));
        }
        let Dialect { delimiter, quote } = Dialect::STANDARD;
        (!self.reads_as(dataset)).then(|| {
            let canonical = Self { delimiter, quote, null: None, ..self.clone() };
            Mapping::between(&canonical, dataset, Dialect::STANDARD, None)
        })
    }

    /// The index, from 0, of the field that has this name.
    pub fn field(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|name| name == column)
    }

    /// Whether a field has this name.
    pub fn has(&self, column: &str) -> bool {
        self.field(column).is_some()
    }
}

/// Identifies the rules of a dataset: the names of its columns in any order, what each value must be, and whether it
/// may be missing.
pub fn rules(manifest: &Manifest, dataset: &Dataset) -> String {
    let mut columns: Vec<String> = dataset
        .columns
        .iter()
        .map(|column| {
            let references = column.references.map(|parent| manifest.datasets[parent].name.as_str());
            format!("{:?}", (&column.name, column.kind, column.optional, references, &column.rules))
        })
        .collect();
    columns.sort_unstable();
    let text = format!("{columns:?} {} {}", dataset.key_column().name, manifest.max_record_bytes);
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

/// The fingerprint of a dataset's columns and dialect, which lines carry on topics. Never 0.
pub fn fingerprint(dataset: &Dataset) -> u32 {
    let columns: Vec<_> = dataset.columns.iter().map(|column| (&column.name, column.kind)).collect();
    let Csv { delimiter, quote, null, .. } = &dataset.csv;
    let hash = blake3::hash(format!("{columns:?} {delimiter} {quote} {null:?}").as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d]).max(1)
}

/// Whether a line with this fingerprint on a topic has the columns of a dataset whose fingerprint is `own`. A line's
/// fingerprint of 0 says nothing, and passes.
pub fn is_read_in(line: u32, own: u32) -> bool {
    line == 0 || line == own
}

/// Maps lines of a shape to the columns of a dataset by name, in the order of the manifest and in its dialect. A
/// column that the shape lacks is written as missing. A field that the dataset has no column for is left out.
#[derive(Debug)]
pub struct Mapping {
    from: Dialect,
    from_null: Option<String>,
    to: Dialect,
    to_null: Option<String>,
    names: Vec<String>,
    header: bool,
    /// For each column of the dataset, the index of its field.
    fields: Vec<Option<usize>>,
    /// The indices of the fields that no column has any more.
    gone: Vec<usize>,
    scratch: Fields,
}

impl Mapping {
    /// The mapping from a shape to a dataset, in the manifest's dialect.
    pub fn new(shape: &Shape, dataset: &Dataset) -> Self {
        Self::between(shape, dataset, dataset.csv.dialect(), dataset.csv.null.clone())
    }

    fn between(shape: &Shape, dataset: &Dataset, to: Dialect, to_null: Option<String>) -> Self {
        let fields: Vec<_> = dataset.columns.iter().map(|column| shape.field(&column.name)).collect();
        let gone = (0..shape.columns.len()).filter(|field| !fields.contains(&Some(*field))).collect();
        Self {
            from: shape.dialect(),
            from_null: shape.null.clone(),
            to,
            to_null,
            names: shape.columns.clone(),
            header: shape.header,
            fields,
            gone,
            scratch: Fields::default(),
        }
    }

    /// Appends a line in the dataset's columns and dialect. If the line has no value in the column of `key`, that
    /// value is written.
    ///
    /// # Errors
    ///
    /// If the line's fields cannot be matched with the names: its quotes are faulty, or it has more or fewer fields
    /// than names.
    pub fn write(
        &mut self,
        text: &[u8],
        key: Option<(usize, &str)>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        if let Err(unclosed) = self.scratch.split(text, self.from) {
            return Err(Reason::new(Code::InvalidCharacter, None, unclosed.to_string(), text));
        }
        if self.scratch.len() != self.names.len() {
            let (found, expected) = (self.scratch.len(), self.names.len());
            let message = if self.header {
                format!("the line has {found} fields, the header has {expected}")
            } else {
                format!("the line has {found} fields, its columns are {expected}: {}", self.names.join(", "))
            };
            return Err(Reason::new(Code::WrongColumnCount, None, message, text));
        }
        for (column, field) in self.fields.iter().enumerate() {
            if column > 0 {
                out.push(self.to.delimiter);
            }
            if let Some((its, value)) = key
                && its == column
                && field.is_none_or(|field| self.is_missing(field, text))
            {
                out.extend_from_slice(value.as_bytes());
            } else if let Some(field) = *field {
                self.write_field(field, text, out);
            }
        }
        Ok(())
    }

    /// The names of fields that the dataset has no column for any more.
    pub fn gone(&self) -> impl Iterator<Item = &str> {
        self.gone.iter().map(|field| self.names[*field].as_str())
    }

    /// The values that the last written line had in fields that the dataset has no column for any more.
    pub fn dropped<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let present = self.gone.iter().filter(|field| !self.is_missing(**field, text));
        present.map(|field| (self.names[*field].as_str(), self.scratch.get(*field, text)))
    }

    fn is_missing(&self, field: usize, text: &[u8]) -> bool {
        let value = self.scratch.get(field, text);
        value.is_empty() || (is(value, &self.from_null) && !self.scratch.is_quoted(field))
    }

    /// If the dialects are equal, a field without quotes reads the same at any place of a line, so it is written
    /// unchanged.
    fn write_field(&self, field: usize, text: &[u8], out: &mut Vec<u8>) {
        let (value, was_quoted) = (self.scratch.get(field, text), self.scratch.is_quoted(field));
        let is_same = (self.from, &self.from_null) == (self.to, &self.to_null);
        if is_same && !was_quoted {
            return out.extend_from_slice(value);
        }
        if self.is_missing(field, text) {
            return;
        }
        let Dialect { delimiter, quote } = self.to;
        let is_special = |byte: &u8| *byte == delimiter || *byte == quote || matches!(byte, b'\r' | b'\n');
        // Inside quotes, the text that means a missing value is a value.
        if !is(value, &self.to_null) && !value.iter().any(is_special) {
            return out.extend_from_slice(value);
        }
        out.push(quote);
        for byte in value {
            if *byte == quote {
                out.push(quote);
            }
            out.push(*byte);
        }
        out.push(quote);
    }
}

fn is(value: &[u8], null: &Option<String>) -> bool {
    null.as_ref().is_some_and(|null| null.as_bytes() == value)
}
