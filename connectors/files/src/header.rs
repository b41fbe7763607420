//! The header of a file: the record of its column names.

use std::io::{self, Read};
use std::path::Path;

use tidegate_core::manifest::{ColumnsAbsent, Dataset, Manifest, nearest};
use tidegate_core::printable::printable_line;
use tidegate_core::split::{Dialect, Fields, Splitter, Step};

use crate::file;
use crate::sniff::nature::odd_line_ends;

/// Reads the names of a header. Returns the fault, in words, if the header is not UTF-8 or has wrong quotes.
pub(super) fn read(record: &[u8], dialect: Dialect) -> Result<Vec<String>, String> {
    if std::str::from_utf8(record).is_err() {
        return Err(NO_UTF8.into());
    }
    let mut scratch = Fields::default();
    scratch.split(record, dialect).map_err(|unclosed| format!("in the header {unclosed}"))?;
    let name = |field| String::from_utf8_lossy(scratch.get(field, record)).into_owned();
    Ok((0..scratch.len()).map(name).collect())
}

/// Compares the names of a header with a dataset. An optional column may be missing if the manifest allows that. The
/// key may be missing if the caller `can_generate` keys. Returns all faults, in words, if the names do not fit.
pub(super) fn check(
    names: &[String],
    record: &[u8],
    dialect: Dialect,
    dataset: &Dataset,
    can_generate: bool,
) -> Result<(), String> {
    let mut faults = Vec::new();
    for (field, name) in names.iter().enumerate() {
        if !dataset.columns.iter().any(|column| column.name == *name) {
            faults.push(unknown(name, dataset));
        } else if names[..field].contains(name) {
            faults.push(format!("the header names the column '{name}' twice"));
        }
    }
    for column in dataset.columns.iter().filter(|column| !names.contains(&column.name)) {
        let name = &column.name;
        if column.optional {
            if dataset.csv.columns_absent == ColumnsAbsent::Refuse {
                faults.push(format!(
                    "the header lacks the optional column '{name}', which would become null in rows that have a value \
                     there; add it to the file, or allow that: set 'columns_absent: null' in 'csv' of '{}'",
                    dataset.name
                ));
            }
        } else if !(can_generate && column.generated.is_some()) {
            faults.push(format!("the header lacks the required column '{name}'"));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(match odd_line_ends(record).map(str::to_owned).or_else(|| divided_by(record, dialect, dataset)) {
        Some(cause) => format!("{cause}; so {}", faults[0]),
        None => faults.join("; "),
    })
}

/// The warning for a file without a header whose first line holds the column names.
pub const FIRST_LINE_OF_NAMES: &str = "its first line names the columns, and is read as a row: set 'csv: {header: true}', or \
                                       take the line away if all files of the dataset have none";

/// How many bytes of a file are searched for its first line.
const FIRST_LINE_BYTES: u64 = 64 << 10;

/// Returns whether the first line of a file without a header holds the names of its columns, in any order and case.
pub fn names_the_columns(path: &Path, dataset: usize, manifest: &Manifest) -> io::Result<bool> {
    let dataset = &manifest.datasets[dataset];
    if dataset.csv.header {
        return Ok(false);
    }
    let (file, _) = file::open(path)?;
    let mut head = Vec::new();
    file.take(FIRST_LINE_BYTES).read_to_end(&mut head)?;
    let dialect = dataset.csv.dialect();
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

/// Returns a hint if another delimiter divides the header into as many names as there are columns.
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
