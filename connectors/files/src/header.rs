//! The header of a file: the record of its column names.

use std::io::{self, Read};
use std::path::Path;

use tidegate_core::header::{Header, columns_named, names_all};
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::split::{Fields, Splitter, Step, other_delimiter};
use tidegate_core::syntax::{Dialect, Syntax};

use crate::decoding;
use crate::file;
use crate::sniff::nature::odd_line_ends;

/// Reads the names of a header in UTF-8. Returns the fault, in words, if the header has wrong quotes.
pub(super) fn read(record: &[u8], dialect: &Dialect) -> Result<Vec<String>, String> {
    let mut scratch = Fields::default();
    scratch.split(record, dialect).map_err(|unclosed| format!("in the header {unclosed}"))?;
    Ok(names(&scratch, record))
}

fn names(fields: &Fields, record: &[u8]) -> Vec<String> {
    (0..fields.len()).map(|field| String::from_utf8_lossy(fields.get(field, record)).into_owned()).collect()
}

/// Matches the names of a header, as [`read`] gives them, with a dataset. Returns what is wrong, in words, if the names
/// do not fit: if one cause is found for all of it, that cause. `later` searches for the names in later lines.
pub(super) fn check(
    names: Result<&[String], String>,
    record: &[u8],
    dialect: &Dialect,
    dataset: &Dataset,
    later: impl FnOnce() -> Option<String>,
) -> Result<Header, String> {
    let line_ends = odd_line_ends(record).map(str::to_owned);
    let faults = match names {
        Ok(names) => match Header::of(names, dataset) {
            Ok(header) if line_ends.is_none() => return Ok(header),
            matched => matched.err().unwrap_or_default(),
        },
        Err(fault) => vec![fault],
    };
    let divided = || divided_by(record, dialect, dataset);
    Err(match (line_ends.or_else(divided).or_else(later), faults.first()) {
        (Some(cause), Some(fault)) => format!("{cause}; so {fault}"),
        (Some(cause), None) => cause,
        (None, _) => faults.join("; "),
    })
}

/// Returns a hint if another delimiter divides a header of one name into as many names as there are columns, or into
/// names of columns.
fn divided_by(record: &[u8], dialect: &Dialect, dataset: &Dataset) -> Option<String> {
    let columns = dataset.fields().count();
    let names_columns = |fields: &Fields| {
        fields.len() > 1 && (fields.len() == columns || columns_named(&names(fields, record), dataset) > 1)
    };
    let other = other_delimiter(record, dialect, names_columns).filter(|_| columns > 1)?;
    let other = char::from(other).escape_default();
    Some(format!("its fields seem to be set apart by \"{other}\": say so in csv: {{delimiter: \"{other}\"}}"))
}

/// How many bytes of a file are searched for the line of its names.
pub(super) const HEAD_BYTES: usize = 64 << 10;
/// How many lines of a file are searched for that.
const HEAD_LINES: usize = 20;

/// Returns a hint if one of the first lines of a file, behind the physical line `header`, names most columns.
pub(super) fn later(head: &[u8], header: u64, dialect: &Dialect, dataset: &Dataset) -> Option<String> {
    let columns = dataset.fields().count();
    let lines = head.split(|byte| *byte == b'\n').enumerate().take(HEAD_LINES).skip(header as usize);
    for (before, line) in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let names = self::read(line, dialect).unwrap_or_default();
        if columns > 1 && columns_named(&names, dataset) * 2 > columns {
            let number = before + 1;
            return Some(format!(
                "line {number} seems to hold the names: set 'skip_lines: {before}' in csv to skip the lines before it"
            ));
        }
    }
    None
}

/// The warning for a file without a header whose first line holds the column names.
pub const FIRST_LINE_OF_NAMES: &str = "its first line names the columns, and is read as a row: set 'csv: {header: true}', or \
                                       take the line away if all files of the dataset have none";

/// Returns whether the first line of a file without a header holds the names of its columns, in any order, compared as
/// those of a header are.
pub fn names_the_columns(path: &Path, dataset: usize, manifest: &Manifest) -> io::Result<bool> {
    let dataset = &manifest.datasets[dataset];
    if dataset.csv.syntax.header {
        return Ok(false);
    }
    let (file, _) = file::open(path)?;
    let mut head = Vec::new();
    file.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    let encoding = decoding::marked(&head).unwrap_or(dataset.csv.syntax.encoding);
    let head = encoding.decode_without_bom_handling(&head).0;
    let syntax = Syntax { sep_line: true, ..dataset.csv.syntax.clone() };
    let mut splitter = Splitter::new(&syntax, head.len());
    let Step::Record { text, .. } = splitter.next(head.as_bytes(), true) else {
        return Ok(false);
    };
    let (record, mut fields) = (&head.as_bytes()[text], Fields::default());
    let is_split = fields.split(record, splitter.dialect()).is_ok();
    Ok(is_split && names_all(&names(&fields, record), dataset))
}
