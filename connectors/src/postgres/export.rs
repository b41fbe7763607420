//! Dead letters as a stream of NDJSON or CSV, of any number in little memory.

use tidegate_core::dead_letter::Reason;
use tidegate_core::position::Position;
use tidegate_core::split::write_field;

use super::filter::{KeptLetter, LetterFilter};
use super::{Error, Postgres};

/// How many letters a piece has at most.
const PIECE_LETTERS: u32 = 1_000;
/// What the CSV has, in order.
const CSV_HEADER: &str = "source,line,dataset,name,status,stage,attempt,codes,columns,messages,text,bytes,length,\
                          blake3,created_at,updated_at,text_columns,text_delimiter\n";

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A JSON object a line.
    Ndjson,
    /// RFC 4180 with a header. What a spreadsheet would take for a formula gets an apostrophe in front.
    Csv,
}

/// An export that is under way. No connection is held between its pieces, so whoever reads may take their time.
pub struct Export {
    postgres: Postgres,
    filter: LetterFilter,
    format: ExportFormat,
    after: Option<Position>,
    /// How many letters may come yet.
    room: Option<u64>,
    begun: bool,
    done: bool,
}

impl Postgres {
    /// All dead letters that a filter means, or the first of them, oldest position first. Each stands there as it is
    /// when its piece is asked for.
    pub fn export_letters(&self, filter: LetterFilter, format: ExportFormat, limit: Option<u64>) -> Export {
        let postgres = self.clone();
        Export { postgres, filter, format, after: None, room: limit, begun: false, done: false }
    }
}

impl Export {
    /// The next piece, of some megabytes at most; `None` at the end.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut out = Vec::new();
        if !self.begun && self.format == ExportFormat::Csv {
            out.extend_from_slice(CSV_HEADER.as_bytes());
        }
        let limit = self
            .room
            .map_or(PIECE_LETTERS, |room| PIECE_LETTERS.min(u32::try_from(room).unwrap_or(u32::MAX)));
        if !self.done && limit > 0 {
            let page = self.postgres.letters(&self.filter, self.after, limit).await?;
            for letter in &page.letters {
                match self.format {
                    ExportFormat::Ndjson => write_json(letter, &mut out),
                    ExportFormat::Csv => write_csv(letter, &mut out),
                }
            }
            self.after = page.next;
            self.room = self.room.map(|room| room - page.letters.len() as u64);
            self.done = page.next.is_none() || self.room == Some(0);
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
    let code = |reason: &Reason| serde_json::json!(reason.code).as_str().unwrap_or_default().to_owned();
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = [
        letter.source.to_string(),
        letter.line.to_string(),
        letter.dataset.clone(),
        text(&letter.name),
        letter.status.clone(),
        letter.stage.clone(),
        letter.attempt.to_string(),
        several(code, " "),
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
    for (i, cell) in cells.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_field(harmless(cell).as_bytes(), out);
    }
    out.push(b'\n');
}

/// Names as a line of CSV, like a header.
fn in_csv(names: &[String]) -> String {
    let mut line = Vec::new();
    for (i, name) in names.iter().enumerate() {
        if i > 0 {
            line.push(b',');
        }
        write_field(name.as_bytes(), &mut line);
    }
    String::from_utf8_lossy(&line).into_owned()
}

/// A cell that no spreadsheet takes for a formula: what begins like one gets an apostrophe in front, as OWASP
/// advises.
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
