//! The shape of a line: the names of its fields, in order, and the dialect that says what they hold.
//!
//! A line is read by the names that it had when it was written, however the manifest has changed since: **text is
//! never put into the columns of another shape by place.** [`Mapping`] is the one way from a shape to the columns of
//! a dataset.

use crate::dead_letter::{Code, Reason};
use crate::manifest::{Csv, Dataset, Manifest};
use crate::split::{Dialect, Fields};

/// The names of the fields of a text, and how they are written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The names of its fields, in order.
    pub columns: Vec<String>,
    /// Whether a source of this shape begins with a record of these names.
    pub header: bool,
    /// Between fields.
    pub delimiter: u8,
    /// Around fields.
    pub quote: u8,
    /// A text that means missing, besides the empty field.
    pub null: Option<String>,
    /// What tells the rules of the dataset at that time from others: see [`rules`]. Empty where they are not known.
    pub rules: String,
}

impl Shape {
    /// The shape of a line without a header, as the manifest has it.
    pub fn of(manifest: &Manifest, dataset: &Dataset) -> Self {
        Self::named(
            manifest,
            dataset,
            dataset.columns.iter().map(|column| column.name.clone()).collect(),
            false,
        )
    }

    /// The shape of a source of these columns, in the dialect of the manifest.
    pub fn named(manifest: &Manifest, dataset: &Dataset, columns: Vec<String>, header: bool) -> Self {
        let Csv { delimiter, quote, null, .. } = dataset.csv.clone();
        Self { columns, header, delimiter, quote, null, rules: rules(manifest, dataset) }
    }

    /// How its fields are divided.
    pub fn dialect(&self) -> Dialect {
        Dialect { delimiter: self.delimiter, quote: self.quote }
    }

    /// The same names in canonical text: what the sink itself set aside.
    pub fn canonical(&self) -> Self {
        let Dialect { delimiter, quote } = Dialect::STANDARD;
        Self { delimiter, quote, null: None, ..self.clone() }
    }

    /// Whether a text of this shape is one of `dataset` as it stands.
    pub fn fits(&self, dataset: &Dataset) -> bool {
        let Csv { delimiter, quote, null, .. } = &dataset.csv;
        self.reads_as(dataset) && (self.delimiter, self.quote, &self.null) == (*delimiter, *quote, null)
    }

    /// Whether its fields are the columns of `dataset`, in its order.
    pub fn reads_as(&self, dataset: &Dataset) -> bool {
        self.columns.len() == dataset.columns.len()
            && self.columns.iter().zip(&dataset.columns).all(|(name, column)| *name == column.name)
    }

    /// What puts a text of this shape into the columns of `dataset`, or a canonical text of these columns; `None` where
    /// it is so already.
    pub fn mapping(&self, dataset: &Dataset, is_canonical: bool) -> Option<Mapping> {
        if is_canonical {
            return (!self.reads_as(dataset)).then(|| Mapping::canonical(&self.canonical(), dataset));
        }
        (!self.fits(dataset)).then(|| Mapping::new(self, dataset))
    }

    /// The number of the field that has a name, from 0.
    pub fn field(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|name| name == column)
    }

    /// Whether it has a column.
    pub fn has(&self, column: &str) -> bool {
        self.field(column).is_some()
    }
}

/// What tells the rules of a dataset from others: what its columns are called, whatever their order, what a value
/// must be and whether it may be missing.
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

/// A number that tells the form of a dataset's lines on topics from another form of them; never 0.
pub fn form(dataset: &Dataset) -> u32 {
    let columns: Vec<_> = dataset.columns.iter().map(|column| (&column.name, column.kind)).collect();
    let Csv { delimiter, quote, null, .. } = &dataset.csv;
    let hash = blake3::hash(format!("{columns:?} {delimiter} {quote} {null:?}").as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d]).max(1)
}

/// Whether a line that was put on a topic in one [`form`] is in the columns of a dataset whose form is `own`. One of
/// form 0 does not say.
pub fn is_read_in(line: u32, own: u32) -> bool {
    line == 0 || line == own
}

/// Puts lines of a shape into the columns of a dataset, by their names: in the order of the manifest and in its
/// dialect. A column that the shape lacks is missing; one that the dataset lacks is left out.
#[derive(Debug)]
pub struct Mapping {
    from: Dialect,
    from_null: Option<String>,
    to: Dialect,
    to_null: Option<String>,
    names: Vec<String>,
    header: bool,
    /// For each column of the dataset, the field it is in.
    fields: Vec<Option<usize>>,
    /// The fields that are of no column any more.
    gone: Vec<usize>,
    scratch: Fields,
}

impl Mapping {
    /// From a shape to a dataset as the manifest has it.
    pub fn new(shape: &Shape, dataset: &Dataset) -> Self {
        let Csv { delimiter, quote, null, .. } = dataset.csv.clone();
        Self::between(shape, dataset, (Dialect { delimiter, quote }, null))
    }

    /// The same to canonical text.
    pub fn canonical(shape: &Shape, dataset: &Dataset) -> Self {
        Self::between(shape, dataset, (Dialect::STANDARD, None))
    }

    fn between(shape: &Shape, dataset: &Dataset, (to, to_null): (Dialect, Option<String>)) -> Self {
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

    /// Appends a line as the dataset has it. Where it lacks the column of `key`, it gets that value.
    ///
    /// # Errors
    ///
    /// If it cannot be told which field is which.
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

    /// The columns that the dataset does not have any more.
    pub fn gone(&self) -> impl Iterator<Item = &str> {
        self.gone.iter().map(|field| self.names[*field].as_str())
    }

    /// What the line that was written last held of columns that the dataset does not have any more.
    pub fn dropped<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let present = self.gone.iter().filter(|field| !self.is_missing(**field, text));
        present.map(|field| (self.names[*field].as_str(), self.scratch.get(*field, text)))
    }

    fn is_missing(&self, field: usize, text: &[u8]) -> bool {
        let value = self.scratch.get(field, text);
        value.is_empty() || (is(value, &self.from_null) && !self.scratch.is_quoted(field))
    }

    /// In one dialect a field that came without quotes reads the same at any place of a line, so it stays as it is.
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
        // In quotes the text for a missing value is a value.
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
