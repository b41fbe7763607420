//! Where the values of a column come from, and which names of a header are a column's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use regex::Regex;

use super::{Column, Dataset, Kind};
use crate::printable::printable_line;

/// Where the values of a column come from.
#[derive(Clone, Debug, Default)]
pub enum Origin {
    /// The field that has the column's name; in files without a header, the field in the column's place.
    #[default]
    Own,
    /// The field that has one of these names, or else the column's own.
    Names(Vec<String>),
    /// The field with this number, from 1, in files without a header.
    Number(u32),
    /// The first group of a regular expression in the name of the file.
    Path(Regex),
    /// What is known of the file.
    File(FileFact),
}

words! {
    /// What is known of a file besides its content.
    pub enum FileFact {
        /// The name, without the folder.
        Name = "name",
        /// The time of the last modification.
        Modified = "modified",
    }
}

words! {
    /// When a name of a header is the one of a column.
    #[derive(Default)]
    pub enum HeaderMatch {
        /// If both are the same, apart from blanks around them.
        Exact = "exact",
        /// Also if they differ in case, blanks, punctuation and accents alone, where only one column has such a name.
        #[default]
        Loose = "loose",
    }
}

words! {
    /// What happens to a file with fields that belong to no column.
    #[derive(Default)]
    pub enum ColumnsUnknown {
        /// The file is left where it is.
        #[default]
        Refuse = "refuse",
        /// The fields are left out.
        Ignore = "ignore",
    }
}

/// The last second that RFC 3339 can write: the end of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

impl Column {
    /// Whether each line has a field for this column. The values of other columns come from the file.
    pub fn is_field(&self) -> bool {
        !matches!(self.origin, Origin::Path(_) | Origin::File(_))
    }
}

impl Dataset {
    /// The columns that have fields in the lines of files, with their indices.
    pub fn fields(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| column.is_field())
    }

    /// The values that all lines of a file have in the columns that come from the file, by the index of the column.
    ///
    /// # Errors
    ///
    /// If a value is not in the file's name. Says in words what is wrong.
    pub fn values_of_file(&self, name: &str, modified: SystemTime) -> Result<Vec<(usize, String)>, String> {
        let columns = self.columns.iter().enumerate().filter(|(_, column)| !column.is_field());
        columns.map(|(index, column)| Ok((index, value_of_file(column, name, modified)?))).collect()
    }
}

fn value_of_file(column: &Column, name: &str, modified: SystemTime) -> Result<String, String> {
    match &column.origin {
        Origin::Path(pattern) => {
            let found = pattern.captures(name);
            let may_be_missing = column.optional || column.reading.default.is_some();
            let group = found.and_then(|found| match found.get(1) {
                None if may_be_missing => Some(String::new()),
                group => group.map(|group| group.as_str().to_owned()),
            });
            group.ok_or_else(|| {
                format!(
                    "its name, '{}', does not have what the column '{}' takes from it: name the file so that \
                     'from_path: \"{}\"' matches, or change that",
                    printable_line(name),
                    column.name,
                    printable_line(pattern.as_str())
                )
            })
        }
        Origin::File(FileFact::Modified) => Ok(time_of(column.kind, modified)),
        _ => Ok(name.to_owned()),
    }
}

/// A time in UTC as a value of a column: RFC 3339, of which a `timestamp` has no offset and a `date` the first part.
fn time_of(kind: Kind, time: SystemTime) -> String {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = UNIX_EPOCH + since_1970.min(Duration::from_secs(LAST_SECOND));
    let mut text = humantime::format_rfc3339_micros(time).to_string();
    match kind {
        Kind::Date => text.truncate("2021-07-27".len()),
        Kind::Timestamp => text.truncate(text.len() - "Z".len()),
        _ => {}
    }
    text
}
