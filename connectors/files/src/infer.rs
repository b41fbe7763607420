//! Guesses the columns of a file from its beginning.

use std::ops::Range;
use std::path::Path;

use tidegate_core::contract::Error;
use tidegate_core::manifest::starter::{Inference, Layout, Sample};
use tidegate_core::split::{Fields, Splitter, Step};
use tidegate_core::syntax::{Dialect, Syntax};

use crate::decoding;
use crate::sniff::RECORD_BYTES_MAX;
use crate::sniff::dialect::{self, TextLayout};
use crate::sniff::encoding::{self, DecodedText};
use crate::sniff::head::Head;
use crate::sniff::nature::Nature;

/// How many bytes of a file are read, unless told otherwise: 8 MiB.
pub const SAMPLE_BYTES: usize = 8 << 20;

/// Samples the first `bytes_max` bytes of a file, after decompression. Fails if the file is not text.
pub async fn sample(path: &Path, bytes_max: usize) -> Result<Sample, Error> {
    let path = path.to_owned();
    let work = tokio::task::spawn_blocking(move || sample_now(&path, bytes_max));
    work.await.unwrap_or_else(|stopped| Err(Error::halt(stopped.to_string())))
}

fn sample_now(path: &Path, bytes_max: usize) -> Result<Sample, Error> {
    let fail = |why: &dyn std::fmt::Display| Error::halt(format!("cannot read '{}': {why}", path.display()));
    let head = Head::read(path, bytes_max).map_err(|error| fail(&error))?;
    let text_of = match head.nature {
        Some(Nature::Utf16Le | Nature::Utf16Be | Nature::TwoMarks) | None => head.nature,
        Some(other) => return Err(fail(&other)),
    };
    let decoded = encoding::decode(&head.bytes, text_of);
    let text = decoded.text.trim_start_matches('\u{feff}');
    let mut found = dialect::find(text, head.whole);
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let rows = Rows::of(text, &found.syntax, head.whole);
    found.doubts.extend(rows.misquoted.as_ref().map(|misquoted| {
        let Misquoted { line, why, count } = misquoted;
        format!("{count} lines are rejected for their quotes; line {line}: {why}")
    }));
    let layout = Layout { first_lines: rows.first_lines, ..layout(&head, &decoded, found) };
    let mut inference = Inference::new(&file_name, layout);
    rows.observe(text, &mut inference);
    Ok(inference.finish())
}

/// The records of a text.
struct Rows {
    dialect: Dialect,
    places: Vec<Range<usize>>,
    /// How many physical lines there are up to the end of the first record.
    first_lines: u32,
    misquoted: Option<Misquoted>,
}

/// Records that cannot be divided.
struct Misquoted {
    /// The physical line of the first one, and its fault.
    line: u64,
    why: String,
    count: u64,
}

impl Rows {
    /// The records of a text, as a run would split it. The rows tell whether the first of them is a header.
    fn of(text: &str, syntax: &Syntax, whole: bool) -> Self {
        let text = text.as_bytes();
        let mut splitter = Splitter::new(syntax, RECORD_BYTES_MAX);
        let mut rows =
            Self { dialect: syntax.dialect.clone(), places: Vec::new(), first_lines: 1, misquoted: None };
        let (mut fields, mut passed) = (Fields::default(), 0);
        loop {
            match splitter.next(&text[passed..], whole) {
                Step::Record { text: record, consumed } => {
                    let place = passed + record.start..passed + record.end;
                    passed += consumed;
                    if rows.places.is_empty() {
                        rows.first_lines = splitter.physical_lines() as u32;
                    }
                    match fields.split(&text[place.clone()], &rows.dialect) {
                        Ok(()) => rows.places.push(place),
                        Err(error) => {
                            let (line, why) = (splitter.physical_line(), error.to_string());
                            rows.misquoted.get_or_insert(Misquoted { line, why, count: 0 }).count += 1;
                        }
                    }
                }
                Step::TooLong { consumed, .. } => passed += consumed,
                Step::More { .. } | Step::End => return rows,
            }
        }
    }

    /// Passes all rows to the inference.
    fn observe(&self, text: &str, inference: &mut Inference) {
        let mut fields = Fields::default();
        for place in &self.places {
            let record = &text.as_bytes()[place.clone()];
            if fields.split(record, &self.dialect).is_err() {
                continue;
            }
            let value = |index| std::str::from_utf8(fields.get(index, record)).unwrap_or_default();
            let values: Vec<&str> = (0..fields.len()).map(value).collect();
            let quoted: Vec<bool> = (0..fields.len()).map(|index| fields.is_literal(index)).collect();
            inference.observe(&values, &quoted);
        }
    }
}

/// Describes the file, and what of it a run cannot read.
fn layout(head: &Head, decoded: &DecodedText, found: TextLayout) -> Layout {
    let TextLayout { syntax, width, evidence, doubts } = found;
    let (bytes, whole) = (head.bytes.len() as u64, head.whole);
    let mut layout = Layout { syntax, width, bytes, whole, evidence, doubts, ..Layout::plain(b',', width) };
    if head.gzip {
        layout.obstacles.push(Nature::Gzip.to_string());
    }
    if let Some(nature) = head.nature.filter(|nature| nature.encoding().is_none()) {
        layout.obstacles.push(nature.to_string());
    }
    // A byte order mark decides by itself.
    if decoding::marked(&head.bytes).is_none() {
        layout.encoding = decoded.encoding.map(str::to_lowercase);
    }
    if decoded.guessed {
        layout.doubts.push("the encoding is guessed from its letters: look at accents".into());
    }
    if decoded.broken_lines > 0 {
        layout.doubts.push(format!("{} lines are not UTF-8 and are rejected", decoded.broken_lines));
    }
    layout
}
