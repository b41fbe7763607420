//! Dead letters as a stream of NDJSON or CSV. Its memory use does not grow with their number.

use tidegate_core::dead_letter::Reason;
use tidegate_core::position::Position;
use tidegate_core::split::write_field;
use tidegate_postgres::{Database, PgError};

use crate::filter::{self, KeptLetter, LetterFilter};

const PIECE_LETTERS: u64 = 1_000;
const CSV_HEADER: &str = "source,line,dataset,name,status,stage,attempt,codes,columns,messages,text,bytes,length,\
                          blake3,created_at,updated_at,text_columns,text_delimiter\n";

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// One JSON object a line.
    Ndjson,
    /// RFC 4180 with a header. A cell that a spreadsheet would take for a formula is prefixed with an apostrophe.
    Csv,
}

/// An export in progress. It holds no connection between its pieces, so a slow reader blocks no other task.
pub struct Export {
    database: Database,
    filter: LetterFilter,
    format: ExportFormat,
    after: Option<Position>,
    /// The number of letters that may still be written.
    room: u64,
    begun: bool,
}

/// Begins an export of the dead letters of a filter, oldest position first; with `limit`, of the first of them. Each
/// letter is written as it is when its piece is read.
pub fn export(database: &Database, filter: LetterFilter, format: ExportFormat, limit: Option<u64>) -> Export {
    let room = limit.unwrap_or(u64::MAX);
    Export { database: database.clone(), filter, format, after: None, room, begun: false }
}

impl Export {
    /// Returns the next piece, of some megabytes at most; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, PgError> {
        let mut out = Vec::new();
        if !self.begun && self.format == ExportFormat::Csv {
            out.extend_from_slice(CSV_HEADER.as_bytes());
        }
        let limit = self.room.min(PIECE_LETTERS) as u32;
        if limit > 0 {
            let page = filter::page(&self.database, &self.filter, self.after, limit).await?;
            for letter in &page.letters {
                match self.format {
                    ExportFormat::Ndjson => write_json(letter, &mut out),
                    ExportFormat::Csv => write_csv(letter, &mut out),
                }
            }
            self.after = page.next;
            self.room = page.next.map_or(0, |_| self.room - page.letters.len() as u64);
        }
        self.begun = true;
        Ok((!out.is_empty()).then_some(out))
    }
}

fn write_json(letter: &KeptLetter, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, letter).expect("texts and numbers always become JSON");
    out.push(b'\n');
}

fn write_csv(letter: &KeptLetter, out: &mut Vec<u8>) {
    let several = |of: fn(&Reason) -> String, between: &str| {
        letter.reasons.iter().map(of).collect::<Vec<_>>().join(between)
    };
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = [
        letter.source.to_string(),
        letter.line.to_string(),
        letter.dataset.clone(),
        text(&letter.name),
        letter.status.to_string(),
        letter.stage.as_str().to_owned(),
        letter.attempt.to_string(),
        several(|reason| reason.code.as_str().to_owned(), " "),
        several(|reason| reason.column.clone().unwrap_or_default(), " "),
        several(|reason| reason.message.clone(), "; "),
        text(&letter.text),
        text(&letter.bytes),
        number(letter.length),
        text(&letter.blake3),
        letter.created_at.clone(),
        letter.updated_at.clone(),
        letter.text_columns.as_ref().map(|columns| in_csv(columns)).unwrap_or_default(),
        text(&letter.text_delimiter),
    ];
    write_fields(cells.iter().map(|cell| harmless(cell)), out);
    out.push(b'\n');
}

/// Joins names to a line of CSV, like a header.
fn in_csv(names: &[String]) -> String {
    let mut line = Vec::new();
    write_fields(names.iter(), &mut line);
    String::from_utf8_lossy(&line).into_owned()
}

fn write_fields(fields: impl Iterator<Item = impl AsRef<str>>, out: &mut Vec<u8>) {
    for (i, field) in fields.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_field(field.as_ref().as_bytes(), out);
    }
}

/// Returns the cell in a form that no spreadsheet takes for a formula: a cell that begins like one is prefixed with
/// an apostrophe, as OWASP advises.
pub fn harmless(cell: &str) -> std::borrow::Cow<'_, str> {
    match cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        true => format!("'{cell}").into(),
        false => cell.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_is_made_harmless() {
        for formula in ["=1+1", "+1", "-1", "@sum(a1)", "\t=1", "\r=1"] {
            assert_eq!(harmless(formula), format!("'{formula}"));
        }
        for plain in ["", "a=1", "1-2", " =1"] {
            assert_eq!(harmless(plain), plain);
        }
    }
}
