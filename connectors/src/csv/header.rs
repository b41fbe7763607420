//! The record of column names at the head of a file, and lines put in the manifest's order.

use std::io::{self, Read};
use std::path::Path;

use tidegate_core::dead_letter::{Code, Reason};
use tidegate_core::manifest::{Dataset, Manifest, nearest};
use tidegate_core::printable::printable_line;
use tidegate_core::split::{Dialect, Fields, Splitter, Step};

use super::file;
use super::sniff::nature::odd_line_ends;

/// How the fields of a file become the columns of its dataset.
#[derive(Debug)]
pub(super) struct Order {
    /// For each column of the dataset, the field it is in.
    fields: Vec<Option<usize>>,
    /// How many fields the header has.
    width: usize,
    dialect: Dialect,
    null: Option<String>,
    scratch: Fields,
}

/// Reads a header. `None` if it names the columns just as the manifest does. A column may be missing that is optional,
/// or the key if that `can_generate`.
///
/// # Errors
///
/// All that is wrong with it, in words.
pub(super) fn read(
    record: &[u8],
    dataset: &Dataset,
    dialect: Dialect,
    can_generate: bool,
) -> Result<Option<Order>, String> {
    if std::str::from_utf8(record).is_err() {
        return Err(NO_UTF8.into());
    }
    let mut scratch = Fields::default();
    scratch.split(record, dialect).map_err(|unclosed| format!("in the header {unclosed}"))?;
    let mut fields = vec![None; dataset.columns.len()];
    let mut faults = Vec::new();
    for field in 0..scratch.len() {
        let name = String::from_utf8_lossy(scratch.get(field, record)).into_owned();
        match dataset.columns.iter().position(|column| column.name == name) {
            None => faults.push(unknown(&name, dataset)),
            Some(column) if fields[column].is_some() => {
                faults.push(format!("the header names the column '{name}' twice"));
            }
            Some(column) => fields[column] = Some(field),
        }
    }
    for (column, field) in dataset.columns.iter().zip(&fields) {
        if field.is_none() && !column.optional && !(can_generate && column.generated.is_some()) {
            faults.push(format!("the header lacks the required column '{}'", column.name));
        }
    }
    if !faults.is_empty() {
        return Err(
            match odd_line_ends(record).map(str::to_owned).or_else(|| divided_by(record, dialect, dataset)) {
                Some(cause) => format!("{cause}; so {}", faults[0]),
                None => faults.join("; "),
            },
        );
    }
    let is_the_manifests = fields.iter().enumerate().all(|(column, field)| *field == Some(column));
    let order = Order {
        fields,
        width: scratch.len(),
        dialect,
        null: dataset.csv.null.clone(),
        scratch: Fields::default(),
    };
    Ok((!is_the_manifests).then_some(order))
}

/// What to say of a file without a header whose first line names the columns.
pub const FIRST_LINE_OF_NAMES: &str = "its first line names the columns, and is read as a row: set 'csv: {header: true}', or \
                                       take the line away if all files of the dataset have none";

/// How much of a file its first line is looked for in.
const FIRST_LINE_BYTES: u64 = 64 << 10;

/// Whether the first line of a file without a header holds the names of its columns, in any order and case.
///
/// # Errors
///
/// If the file cannot be read.
pub fn names_the_columns(path: &Path, dataset: usize, manifest: &Manifest) -> io::Result<bool> {
    let dataset = &manifest.datasets[dataset];
    if dataset.csv.header {
        return Ok(false);
    }
    let (file, _) = file::open(path)?;
    let mut head = Vec::new();
    file.take(FIRST_LINE_BYTES).read_to_end(&mut head)?;
    let dialect = Dialect { delimiter: dataset.csv.delimiter, quote: dataset.csv.quote };
    let Step::Record { text, .. } = Splitter::new(dialect, head.len()).next(&head, true) else {
        return Ok(false);
    };
    let (record, mut fields) = (&head[text], Fields::default());
    if fields.split(record, dialect).is_err() || fields.len() != dataset.columns.len() {
        return Ok(false);
    }
    let name = |index| String::from_utf8_lossy(fields.get(index, record)).trim().to_lowercase();
    let mut names: Vec<String> = (0..fields.len()).map(name).collect();
    let mut columns: Vec<String> =
        dataset.columns.iter().map(|column| column.name.trim().to_lowercase()).collect();
    names.sort_unstable();
    columns.sort_unstable();
    Ok(names == columns)
}

const NO_UTF8: &str = "the header is not UTF-8: save the file as UTF-8, or convert it from what it is, for example with \
                       'iconv -f WINDOWS-1252 -t UTF-8'";

/// Says so if another delimiter divides the header into as many names as there are columns.
fn divided_by(record: &[u8], dialect: Dialect, dataset: &Dataset) -> Option<String> {
    let columns = dataset.columns.len();
    let is_one = columns > 1 && !record.contains(&dialect.delimiter);
    let other =
        b",;\t|".iter().find(|other| record.iter().filter(|byte| byte == other).count() + 1 == columns)?;
    is_one.then(|| {
        let other = char::from(*other).escape_default();
        format!("its fields seem to be set apart by \"{other}\": say so in csv: {{delimiter: \"{other}\"}}")
    })
}

fn unknown(name: &str, dataset: &Dataset) -> String {
    let names = dataset.columns.iter().map(|column| column.name.as_str());
    let hint = nearest(name, names).map(|known| format!(", did you mean '{known}'?")).unwrap_or_default();
    let name = printable_line(name);
    format!("the header names the column '{name}', which '{}' does not have{hint}", dataset.name)
}

impl Order {
    /// The manifest's own order, for files without a header.
    pub(super) fn of_manifest(dataset: &Dataset, dialect: Dialect) -> Self {
        let width = dataset.columns.len();
        let null = dataset.csv.null.clone();
        Self { fields: (0..width).map(Some).collect(), width, dialect, null, scratch: Fields::default() }
    }

    /// Writes a line in the manifest's order, in the dataset's own dialect. Where it lacks the column of `key`, it gets
    /// that value.
    ///
    /// # Errors
    ///
    /// If it cannot be told which field is which.
    pub(super) fn write(
        &mut self,
        text: &[u8],
        key: Option<(usize, &str)>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        if let Err(unclosed) = self.scratch.split(text, self.dialect) {
            return Err(Reason::new(Code::InvalidCharacter, None, unclosed.to_string(), text));
        }
        if self.scratch.len() != self.width {
            let message =
                format!("the line has {} fields, the header has {}", self.scratch.len(), self.width);
            return Err(Reason::new(Code::WrongColumnCount, None, message, text));
        }
        for (column, field) in self.fields.iter().enumerate() {
            if column > 0 {
                out.push(self.dialect.delimiter);
            }
            if let Some((its, value)) = key
                && its == column
                && field.is_none_or(|field| self.is_missing(field, text))
            {
                out.extend_from_slice(value.as_bytes());
            } else if let Some(field) = *field {
                self.write_field(self.scratch.get(field, text), self.scratch.is_quoted(field), out);
            }
        }
        Ok(())
    }

    fn is_missing(&self, field: usize, text: &[u8]) -> bool {
        let value = self.scratch.get(field, text);
        let is_null = self.null.as_ref().is_some_and(|null| null.as_bytes() == value);
        value.is_empty() || (is_null && !self.scratch.is_quoted(field))
    }

    /// A field that came without quotes reads the same at any place of a line, so it stays as it is.
    fn write_field(&self, value: &[u8], was_quoted: bool, out: &mut Vec<u8>) {
        let Dialect { delimiter, quote } = self.dialect;
        let is_special = |byte: &u8| *byte == delimiter || *byte == quote || matches!(byte, b'\r' | b'\n');
        // In quotes the text for a missing value is a value.
        let is_null = self.null.as_ref().is_some_and(|null| null.as_bytes() == value);
        if !was_quoted || !(is_null || value.iter().any(is_special)) {
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
