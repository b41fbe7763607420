//! Which setting would take a record that has more or fewer fields than expected.

use super::Fields;
use crate::syntax::{Delimiter, Dialect};

/// The delimiters that are tried on a record of one field, the most frequent first.
const DELIMITERS: &[u8; 4] = b",;\t|";

/// The delimiter that divides a record of one field into fields that `fit`. `None` if the record has several fields, or
/// no delimiter does.
pub fn other_delimiter(text: &[u8], dialect: &Dialect, fit: impl Fn(&Fields) -> bool) -> Option<u8> {
    let mut fields = Fields::default();
    if matches!(dialect.delimiter, Delimiter::Widths(_))
        || (fields.split(text, dialect).is_ok() && fields.len() > 1)
    {
        return None;
    }
    DELIMITERS.iter().copied().find(|delimiter| {
        let other = Dialect { delimiter: Delimiter::Byte(*delimiter), ..dialect.clone() };
        other.delimiter != dialect.delimiter
            && dialect.quote != Some(*delimiter)
            && fields.split(text, &other).is_ok()
            && fit(&fields)
    })
}

/// The setting of `csv` that would take a record of other than `expected` fields, and what it does, as the end of a
/// message. Empty if none would.
#[cold]
pub(crate) fn setting_for_count(
    text: &[u8],
    fields: &Fields,
    dialect: &Dialect,
    expected: usize,
    has_header: bool,
) -> String {
    let found = fields.len();
    if let Some(delimiter) = other_delimiter(text, dialect, |fields| fields.len() == expected) {
        let delimiter = char::from(delimiter).escape_default();
        return format!("; 'delimiter: \"{delimiter}\"' in 'csv' divides it into {expected}");
    }
    let setting = if found < expected {
        "; 'short_rows: pad' in 'csv' takes the last ones for missing values"
    } else if found == expected + 1 && fields.get(expected, text).is_empty() {
        "; 'trailing_delimiter: true' in 'csv' lets a delimiter end each line"
    } else if !has_header {
        "; 'columns_unknown: ignore' in 'csv' leaves further fields out"
    } else {
        ""
    };
    setting.to_owned()
}
