//! The key of a row, as a user writes it, and whether a line has it.

use tidegate_core::manifest::{Dataset, Kind};
use tidegate_core::spelling::same_key;
use tidegate_core::split::Fields;
use tidegate_core::syntax::{Delimiter, Dialect};

use crate::Failure;

/// A value for each column of a dataset's key.
#[derive(Clone, Debug)]
pub(crate) struct RowKey {
    kinds: Vec<Kind>,
    values: Vec<String>,
}

impl RowKey {
    /// Reads a key: its value, or the values of several columns as a line of CSV, like `EWR,2013-01-01`.
    pub(super) fn parse(dataset: &Dataset, text: &str) -> Result<Self, Failure> {
        let kinds = dataset.key_kinds();
        let name = &dataset.name;
        if kinds.is_empty() {
            return Err(Failure::usage(format!(
                "the rows of '{name}' have no key: each is of one line; name the line, as SOURCE:LINE or FILE:LINE"
            )));
        }
        let values = if kinds.len() == 1 { vec![text.to_owned()] } else { values(text) };
        if values.len() != kinds.len() {
            return Err(Failure::usage(format!(
                "the key of '{name}' is {}, so --key takes {} values with commas between them, not {}",
                dataset.names(&dataset.key),
                kinds.len(),
                values.len()
            )));
        }
        Ok(Self { kinds, values })
    }

    /// The values, in the order of the key.
    pub(super) fn values(&self) -> &[String] {
        &self.values
    }

    /// The types of the values, for messages: `integer`.
    pub(super) fn kinds(&self) -> String {
        let kinds: Vec<String> = self.kinds.iter().map(Kind::to_string).collect();
        kinds.join(", ")
    }

    /// Whether a line has this key in the fields `places`. `None` if it lacks one of the fields.
    pub(super) fn is_in(
        &self,
        fields: &mut Fields,
        text: &[u8],
        dialect: &Dialect,
        places: &[usize],
    ) -> Option<bool> {
        let is_split = fields.split(text, dialect).is_ok();
        let fields = &*fields;
        let field = |place: usize| match dialect.delimiter {
            _ if is_split => (place < fields.len()).then(|| fields.get(place, text)),
            Delimiter::Byte(delimiter) => text.split(|byte| *byte == delimiter).nth(place),
            _ => None,
        };
        let mut is_same = true;
        for ((kind, value), place) in self.kinds.iter().zip(&self.values).zip(places) {
            is_same &= same_key(*kind, field(*place)?, value.as_bytes());
        }
        Some(is_same)
    }
}

/// The row of a key, for messages: `row of jobs with id 7`.
pub(super) fn row_name(dataset: &Dataset, values: &[String]) -> String {
    if dataset.is_keyless() {
        return format!("row of {} of line {}", dataset.name, values.join(":"));
    }
    let columns = dataset.key_columns().zip(values);
    let columns: Vec<String> = columns.map(|(column, value)| format!("{} {value}", column.name)).collect();
    format!("row of {} with {}", dataset.name, columns.join(" and "))
}

fn values(text: &str) -> Vec<String> {
    let mut fields = Fields::default();
    if fields.split(text.as_bytes(), &Dialect::STANDARD).is_err() {
        return text.split(',').map(str::to_owned).collect();
    }
    (0..fields.len()).map(|i| String::from_utf8_lossy(fields.get(i, text.as_bytes())).into_owned()).collect()
}
