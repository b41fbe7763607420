//! How the texts of a column are read, besides its type and rules.

use crate::kind::Kind;

pub use crate::instant::format::{Format, Strptime, Unit};
pub use crate::instant::zone::Zone;

/// How the texts of a column are read: which mean missing, and in which notation values are written. The settings of
/// the dataset are merged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The texts that mean a missing value, besides the empty field.
    pub nulls: Vec<String>,
    /// Whether such a text means a missing value in quotes too.
    pub quoted_null: bool,
    /// Whether an empty field in quotes is an empty text. Only in columns of text.
    pub empty_is_text: bool,
    /// Whether blanks and tabs around a value are no part of it, inside quotes too.
    pub trim: bool,
    /// The formats of a date or a time, besides ISO 8601. Without any, the forms that Postgres reads without ambiguity.
    pub formats: Vec<Format>,
    /// The zone of times without offset in a `timestamptz`. `None` is UTC.
    pub time_zone: Option<Zone>,
    /// The character before the decimal places of a number.
    pub decimal: char,
    /// The character between groups of digits of a number.
    pub thousands: Option<char>,
    /// Texts before or behind a number that are no part of it: `$`, `%`.
    pub strip: Vec<String>,
    /// Whether `(5)` and `5-` mean -5.
    pub accounting: bool,
    /// The words for true. If there are none, but words for false, Postgres's words for true are read.
    pub true_words: Vec<String>,
    /// The words for false. If there are none, but words for true, Postgres's words for false are read.
    pub false_words: Vec<String>,
    /// What a missing value becomes.
    pub default: Option<DefaultValue>,
}

/// What a missing value becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// This value, in the form in which Postgres reads it.
    Constant(String),
    /// The time at which the line is validated.
    Now,
    /// The table's own default: the value stays missing, and the sink leaves it to Postgres.
    Table,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            nulls: Vec::new(),
            quoted_null: false,
            empty_is_text: false,
            trim: false,
            formats: Vec::new(),
            time_zone: None,
            decimal: '.',
            thousands: None,
            strip: Vec::new(),
            accounting: false,
            true_words: Vec::new(),
            false_words: Vec::new(),
            default: None,
        }
    }
}

impl Reading {
    /// How canonical text of a column is read: nothing means missing, `""` is an empty text, and values are as Postgres
    /// has them. Of a column that may be null, a missing value is null. Of any other column the default applies, which
    /// is so if a line was written before the manifest had the column.
    pub(crate) fn canonical(&self, kind: Kind, optional: bool) -> Self {
        let applies = |default: &DefaultValue| !optional || *default == DefaultValue::Table;
        Self {
            empty_is_text: kind.is_text(),
            default: self.default.clone().filter(applies),
            ..Self::default()
        }
    }

    /// A field without the blanks and tabs that are no part of its value.
    pub(crate) fn value_of<'a>(&self, field: &'a [u8]) -> &'a [u8] {
        let mut value = field;
        while self.trim
            && let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value
        {
            value = rest;
        }
        value
    }

    /// Whether a value means a missing one. `is_literal` says that its field was in quotes.
    pub(crate) fn means_missing(&self, value: &[u8], is_literal: bool) -> bool {
        let is_empty = value.is_empty() && !(is_literal && self.empty_is_text);
        let is_null =
            || (!is_literal || self.quoted_null) && self.nulls.iter().any(|null| null.as_bytes() == value);
        is_empty || is_null()
    }

    /// Whether numbers are written otherwise than Postgres reads them.
    pub(crate) fn has_notation(&self) -> bool {
        self.decimal != '.' || self.thousands.is_some() || !self.strip.is_empty() || self.accounting
    }

    /// Whether booleans have words of their own.
    pub fn has_words(&self) -> bool {
        !self.true_words.is_empty() || !self.false_words.is_empty()
    }

    /// Whether the table's own default takes the place of a missing value.
    pub fn is_default_of_table(&self) -> bool {
        self.default == Some(DefaultValue::Table)
    }
}
