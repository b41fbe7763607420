//! The files that lines came with, and their lines there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use tidegate_connectors::csv::{FileLine, Lines, done_path};
use tidegate_connectors::postgres::trace::TracedSource;

use crate::settings::Settings;

/// Lines of a source, as they stand in its file.
#[derive(Debug)]
pub(crate) struct InFile {
    /// Where the file is; or why there is none, in words.
    pub(crate) path: Result<PathBuf, String>,
    pub(crate) lines: BTreeMap<u64, FoundLine>,
    /// How many lines there are, if the file was read to its end.
    pub(crate) end: Option<u64>,
}

/// A line in a file.
#[derive(Clone, Debug)]
pub(crate) struct FoundLine {
    pub(crate) physical_line: u64,
    /// Byte for byte; of a line that is too long, its beginning.
    pub(crate) text: Vec<u8>,
    /// In the manifest's order.
    pub(crate) ordered: Option<Vec<u8>>,
}

impl InFile {
    /// No file.
    pub(crate) fn missing(why: String) -> Self {
        Self { path: Err(why), lines: BTreeMap::new(), end: None }
    }
}

impl From<FileLine<'_>> for FoundLine {
    fn from(line: FileLine<'_>) -> Self {
        Self {
            physical_line: line.physical_line,
            text: line.text.to_vec(),
            ordered: line.ordered.map(<[u8]>::to_vec),
        }
    }
}

/// Opens the file of a source: in `done/`, or still in the landing folder. `namesakes` are all sources of its
/// name and dataset, oldest first.
pub(crate) async fn open(
    settings: &Settings,
    dataset: usize,
    source: &TracedSource,
    namesakes: &[&TracedSource],
) -> Result<(PathBuf, Lines), String> {
    let done = done_path(&settings.landing, source.source, &source.name);
    let landing = settings.landing.join(&source.name);
    let mut why = Vec::new();
    // Looked for in `done/` once more: it may be moved there right now.
    for path in [done.clone(), landing, done] {
        match Lines::open(&path, &source.name, &settings.manifest, dataset, source.shape.clone()).await {
            Ok(lines) => {
                let known = namesakes.iter().map(|known| (known.source, &known.fingerprint[..]));
                if lines.sources(known).contains(&source.source) {
                    return Ok((path, lines));
                }
                why.push(format!("{} has other content, or is split in another way today", path.display()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => why.push(format!("{} cannot be read: {error}", path.display())),
        }
    }
    if why.is_empty() {
        why.push(format!("'{}' is in {} no more", source.name, settings.landing.display()));
    }
    Err(why.join("; "))
}

/// Looks up lines in the file of a source.
pub(crate) async fn look_up(
    settings: &Settings,
    dataset: usize,
    source: &TracedSource,
    namesakes: &[&TracedSource],
    wanted: &BTreeSet<u64>,
) -> InFile {
    let (path, mut file) = match open(settings, dataset, source, namesakes).await {
        Ok(opened) => opened,
        Err(why) => return InFile::missing(why),
    };
    let (mut lines, mut last) = (BTreeMap::new(), 0);
    let read = loop {
        if lines.len() == wanted.len() {
            break Ok(None);
        }
        match file.next_line() {
            Ok(Some(line)) => {
                last = line.number;
                if wanted.contains(&last) {
                    lines.insert(last, line.into());
                }
            }
            Ok(None) => break Ok(Some(last)),
            Err(error) => break Err(format!("{} cannot be read: {error}", path.display())),
        }
    };
    match read {
        Ok(end) => InFile { path: Ok(path), lines, end },
        Err(why) => InFile { path: Err(why), lines, end: None },
    }
}
