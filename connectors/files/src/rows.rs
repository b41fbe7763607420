//! Writes rows as CSV, so that what enters as JSON or Avro becomes a text like any other.

use tidegate_core::split::{write_field, write_quoted};

/// Appends a row in RFC 4180: one value for each column in the manifest's order, as text; `None` is a missing value. A
/// value that would mean missing without quotes, in the column with that index, is `special`: it is written in quotes.
/// The shape of such lines is [`Shape::of_rows`](tidegate_core::shape::Shape::of_rows).
pub fn write_row<'v>(
    values: impl Iterator<Item = Option<&'v str>>,
    special: impl Fn(usize, &str) -> bool,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    for (i, value) in values.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match value {
            // Nothing would mean missing, and a mark at the beginning of a file its encoding.
            Some(value) if value.is_empty() || value.starts_with('\u{feff}') || special(i, value) => {
                write_quoted(value.as_bytes(), out);
            }
            Some(value) => write_field(value.as_bytes(), out),
            None => {}
        }
    }
    // A blank line would be no record.
    if out.len() == start {
        out.push(b',');
    }
    out.push(b'\n');
}
