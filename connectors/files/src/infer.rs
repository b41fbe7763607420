//! Guesses the columns of a file from its beginning.

use std::path::Path;

use tidegate_core::contract::Error;
use tidegate_core::manifest::starter::{Inference, Layout, Sample};
use tidegate_core::split::Fields;

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
    let found = dialect::find(text, head.whole);
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut inference = Inference::new(&file_name, layout(&head, &decoded, &found));
    let misquoted = rows(&text.as_bytes()[found.start..], &found, head.whole, &mut inference);
    let mut sample = inference.finish();
    if let Some((line, why, lines)) = misquoted {
        let line = line + found.skipped_lines;
        sample.layout.doubts.push(format!("{lines} lines are rejected for their quotes; line {line}: {why}"));
    }
    Ok(sample)
}

/// Passes all rows to the inference. If rows have wrong quotes, returns the line of the first one, its fault, and the
/// number of such rows.
fn rows(
    text: &[u8],
    found: &TextLayout,
    whole: bool,
    inference: &mut Inference,
) -> Option<(u64, String, u64)> {
    let (mut fields, mut misquoted) = (Fields::default(), None);
    dialect::each_record(text, found.dialect(), whole, |place, line| {
        let record = &text[place];
        if let Err(error) = fields.split(record, found.dialect()) {
            let first = misquoted.get_or_insert((line, error.to_string(), 0));
            first.2 += 1;
            return;
        }
        let value = |index| std::str::from_utf8(fields.get(index, record)).unwrap_or_default();
        let values: Vec<&str> = (0..fields.len()).map(value).collect();
        let quoted: Vec<bool> = (0..fields.len()).map(|index| fields.is_quoted(index)).collect();
        inference.observe(&values, &quoted);
    });
    misquoted
}

/// Describes the bytes of the file, and what of them a run cannot read.
fn layout(head: &Head, decoded: &DecodedText, found: &TextLayout) -> Layout {
    let mut layout = Layout::plain(found.delimiter, found.width);
    (layout.bytes, layout.whole) = (head.bytes.len() as u64, head.whole);
    if head.gzip {
        layout.obstacles.push(Nature::Gzip.to_string());
    }
    match (head.nature, decoded.encoding) {
        (Some(nature), _) => layout.obstacles.push(nature.to_string()),
        (None, Some(encoding)) => layout
            .obstacles
            .push(format!("it is {encoding}, not UTF-8: convert it: iconv -f {encoding} -t UTF-8")),
        (None, None) => {}
    }
    if decoded.guessed {
        layout.doubts.push("the encoding is guessed from its letters: look at accents".into());
    }
    if decoded.broken_lines > 0 {
        layout.doubts.push(format!("{} lines are not UTF-8 and are rejected", decoded.broken_lines));
    }
    if found.sep_line {
        layout.obstacles.push(
            "its first line says the delimiter ('sep='), and a run takes it for the header: remove it".into(),
        );
    }
    let skipped = found.skipped_lines - u64::from(found.sep_line);
    if skipped > 0 {
        layout.obstacles.push(format!(
            "{skipped} lines stand before the header, which a run takes for it: remove them, for example with 'tail -n +{}'",
            found.skipped_lines + 1
        ));
    }
    layout
}
