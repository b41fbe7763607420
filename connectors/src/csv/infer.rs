//! The first rows of a file to a guess of its columns.

use std::collections::BTreeMap;
use std::path::Path;

use csv_async::{AsyncReaderBuilder, ByteRecord};
use tidegate_core::contract::Error;
use tidegate_core::manifest::starter::{Inference, Sample};
use tidegate_core::split::{Dialect, Fields, Splitter, Step};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// What may stand between fields, the likelier first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How much of a file is looked at for its delimiter.
const PROBE_BYTES: usize = 64 << 10;

/// Looks at the first `rows` rows of a file.
///
/// # Errors
///
/// If the file cannot be read.
pub async fn sample(path: &Path, rows: usize) -> Result<Sample, Error> {
    let fail =
        |error: &dyn std::fmt::Display| Error::halt(format!("cannot read '{}': {error}", path.display()));
    let mut file = File::open(path).await.map_err(|error| fail(&error))?;
    let mut probe = Vec::new();
    (&mut file).take(PROBE_BYTES as u64).read_to_end(&mut probe).await.map_err(|error| fail(&error))?;
    file.rewind().await.map_err(|error| fail(&error))?;
    let delimiter = delimiter_of(&probe);

    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut inference = Inference::new(&file_name);
    let mut reader = AsyncReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .create_reader(tokio::io::BufReader::new(file));
    let mut record = ByteRecord::new();
    for row in 0..rows {
        if !reader.read_byte_record(&mut record).await.map_err(|error| fail(&error))? {
            break;
        }
        let fields: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
        let mut fields: Vec<&str> = fields.iter().map(AsRef::as_ref).collect();
        if let (0, Some(first)) = (row, fields.first_mut()) {
            *first = first.trim_start_matches('\u{feff}');
        }
        inference.observe(&fields);
    }
    Ok(Sample { delimiter, ..inference.finish() })
}

/// The delimiter that gives most records the same number of fields; of equal ones that with more fields.
fn delimiter_of(probe: &[u8]) -> u8 {
    let rank = |delimiter: &u8| {
        let (consistent, width) = consistency(probe, *delimiter);
        if width > 1 { (consistent, width) } else { (0, 0) }
    };
    // Of the best the first, as `max_by_key` gives the last.
    DELIMITERS.into_iter().rev().max_by_key(rank).unwrap_or(b',')
}

/// How many records in a thousand have the most frequent number of fields, and that number.
fn consistency(probe: &[u8], delimiter: u8) -> (usize, usize) {
    let dialect = Dialect { delimiter, quote: b'"' };
    let mut splitter = Splitter::new(dialect, PROBE_BYTES);
    let mut fields = Fields::default();
    let mut widths = BTreeMap::new();
    let mut records = 0;
    let (mut rest, whole) = (probe, probe.len() < PROBE_BYTES);
    while let Step::Record { text, consumed } = splitter.next(rest, whole) {
        let text = &rest[text];
        let width = fields.split(text, dialect).map_or(0, |()| fields.len());
        *widths.entry(width).or_insert(0) += 1;
        records += 1;
        rest = &rest[consumed..];
    }
    let most = widths.into_iter().max_by_key(|(_, records)| *records);
    most.map_or((0, 0), |(width, most)| (most * 1000 / records, width))
}
