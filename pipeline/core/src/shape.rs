//! The shape of a line: the names of its fields, in order, and the dialect that they are written in.
//!
//! A line is read by the names that its fields had when it was written, even if the manifest has changed since:
//! **text is never put into the columns of another shape by place.** Only [`Mapping`] leads from a shape to the
//! columns of a dataset.

mod fingerprint;
mod mapping;

use crate::manifest::{ColumnsUnknown, Dataset, Manifest, Origin};
use crate::syntax::{Delimiter, Dialect, Syntax};

pub use fingerprint::{fingerprints, form_of, rules};
pub use mapping::Mapping;

/// The names of a text's fields, and the syntax that they are written in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The names of the fields, in order.
    pub columns: Vec<String>,
    /// How the bytes of a source of this shape become records and fields.
    pub syntax: Syntax,
    /// Texts that mean missing, besides the empty field.
    pub null: Vec<String>,
    /// Whether the values are canonical: as Postgres has them, whatever formats the manifest gives the columns.
    pub canonical: bool,
    /// Identifies the rules of the dataset at that time: see [`rules`]. Empty if they are not known.
    pub rules: String,
}

/// How the text of a line on a topic is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As in the file: in the dataset's dialect.
    Given,
    /// In RFC 4180, with the columns of the manifest. The values are as in the file, and quoted if they are there.
    Mapped,
    /// In RFC 4180, with the columns of the manifest. The values are canonical.
    Canonical,
}

impl Form {
    /// All forms.
    pub const ALL: [Self; 3] = [Self::Given, Self::Mapped, Self::Canonical];

    /// The dialect of texts in this form.
    pub fn dialect(self, dataset: &Dataset) -> &Dialect {
        match self {
            Self::Given => &dataset.csv.syntax.dialect,
            Self::Mapped | Self::Canonical => &Dialect::STANDARD,
        }
    }
}

impl Shape {
    /// The shape of a line without a header, as the manifest defines it.
    pub fn of(manifest: &Manifest, dataset: &Dataset) -> Self {
        let syntax = Syntax { header: false, ..dataset.csv.syntax.clone() };
        Self { syntax, null: dataset.csv.null.clone(), ..Self::in_form(manifest, dataset, Form::Mapped) }
    }

    /// The shape of a file in a syntax, the manifest's or another, before the names of its header are known.
    pub fn of_file(manifest: &Manifest, dataset: &Dataset, mut syntax: Syntax) -> Self {
        syntax.repeated_header = syntax.header;
        syntax.cuts = !syntax.header && dataset.csv.columns_unknown == ColumnsUnknown::Ignore;
        Self { columns: fields_without_header(dataset), syntax, ..Self::of(manifest, dataset) }
    }

    /// The shape of a line on a topic.
    pub fn in_form(manifest: &Manifest, dataset: &Dataset, form: Form) -> Self {
        match form {
            Form::Given => Self::of(manifest, dataset),
            Form::Mapped | Form::Canonical => Self {
                columns: dataset.columns.iter().map(|column| column.name.clone()).collect(),
                syntax: Syntax::default(),
                null: if form == Form::Mapped { dataset.csv.null.clone() } else { Vec::new() },
                canonical: form == Form::Canonical,
                rules: rules(manifest, dataset),
            },
        }
    }

    /// The shape of rows that come as JSON or Avro, and are written in a form, each a line. A delimiter may end a line,
    /// because a row of one column without a value would be a blank line.
    pub fn of_rows(manifest: &Manifest, dataset: &Dataset, form: Form) -> Self {
        let mut shape = Self::in_form(manifest, dataset, form);
        shape.syntax.trailing_delimiter = dataset.columns.len() == 1;
        shape
    }

    /// The same shape with the delimiter that a file names for Excel, if it names one that can be a delimiter.
    pub fn with_delimiter(mut self, named: Option<u8>) -> Self {
        let Dialect { delimiter, quote, escape, .. } = &mut self.syntax.dialect;
        if let Some(named) = named
            && !matches!(delimiter, Delimiter::Widths(_))
            && ![*quote, *escape].contains(&Some(named))
        {
            *delimiter = Delimiter::Byte(named);
            self.syntax.sep_line = true;
        }
        self
    }

    /// The delimiter and the quote of the fields.
    pub fn dialect(&self) -> &Dialect {
        &self.syntax.dialect
    }

    /// The form that a text of this shape gets on a topic of `dataset`, and the mapping that gives it that form.
    /// Without a mapping the text has that form already.
    pub fn form(&self, dataset: &Dataset) -> (Form, Option<Mapping>) {
        let (form, has_form) = match self.canonical {
            true => (Form::Canonical, self.reads_as(dataset) && !self.syntax.trailing_delimiter),
            false if self.is_given(dataset) => (Form::Given, true),
            false => (Form::Mapped, false),
        };
        (form, (!has_form).then(|| Mapping::new(self, dataset)))
    }

    /// The mapping from this shape to RFC 4180 in the columns of `dataset`, which can also supply values.
    pub fn mapped(&self, dataset: &Dataset) -> Mapping {
        Mapping::new(self, dataset)
    }

    /// The form of a dead letter of this shape; canonical if the sink made it. See [`Shape::form`].
    pub fn form_of_letter(&self, dataset: &Dataset, by_sink: bool) -> (Form, Option<Mapping>) {
        if !by_sink || self.canonical {
            return self.form(dataset);
        }
        let (syntax, null) = (Syntax::default(), Vec::new());
        Self { syntax, null, canonical: true, ..self.clone() }.form(dataset)
    }

    /// Whether a text of this shape is one as the files of `dataset` have it, with its columns in order.
    fn is_given(&self, dataset: &Dataset) -> bool {
        let Syntax { dialect, trailing_delimiter, pads, cuts, .. } = &self.syntax;
        self.reads_as(dataset)
            && (dialect, &self.null) == (&dataset.csv.syntax.dialect, &dataset.csv.null)
            && !matches!(dialect.delimiter, Delimiter::Widths(_))
            && !(*trailing_delimiter || *pads || *cuts)
    }

    /// Whether the fields are the columns of `dataset`, in the same order.
    fn reads_as(&self, dataset: &Dataset) -> bool {
        self.columns.len() == dataset.columns.len()
            && self.columns.iter().zip(&dataset.columns).all(|(name, column)| *name == column.name)
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

/// The names of the fields of a file without a header, in order. A field without a column has an empty name.
fn fields_without_header(dataset: &Dataset) -> Vec<String> {
    let mut names = Vec::with_capacity(dataset.columns.len());
    for (_, column) in dataset.fields() {
        let field = match column.origin {
            Origin::Number(number) => number as usize - 1,
            _ => names.len(),
        };
        names.resize(names.len().max(field + 1), String::new());
        names[field].clone_from(&column.name);
    }
    names
}
