//! The files of sources, and the lines in them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use tidegate_core::shape::Form;
use tidegate_files::{FileLine, Lines, done_path};
use tidegate_node::Settings;
use tidegate_store::trace::TracedSource;

/// Lines of a source, as they are in its file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// The path of the file, or why there is none, in words.
    pub(crate) path: Result<PathBuf, String>,
    pub(crate) lines: BTreeMap<u64, SourceLine>,
    /// How many lines the file has, if it was read to its end.
    pub(crate) end: Option<u64>,
}

/// A line in a file.
#[derive(Clone, Debug)]
pub(crate) struct SourceLine {
    pub(crate) physical_line: u64,
    /// The exact bytes; of a line that is too long, its beginning.
    pub(crate) text: Vec<u8>,
    /// The form of `ordered`.
    pub(crate) form: Form,
    /// The line with its fields in the manifest's order.
    pub(crate) ordered: Option<Vec<u8>>,
}

impl SourceFile {
    /// A source without a file.
    pub(crate) fn missing(why: String) -> Self {
        Self { path: Err(why), lines: BTreeMap::new(), end: None }
    }
}

impl From<FileLine<'_>> for SourceLine {
    fn from(line: FileLine<'_>) -> Self {
        Self {
            physical_line: line.physical_line,
            text: line.text.to_vec(),
            form: line.form,
            ordered: line.ordered.map(<[u8]>::to_vec),
        }
    }
}

/// Opens the file of a source, in `done/` or in the landing folder. `namesakes` are all sources of its name and
/// dataset, oldest first.
pub(crate) async fn open(
    settings: &Settings,
    dataset: usize,
    source: &TracedSource,
    namesakes: &[&TracedSource],
) -> Result<(PathBuf, Lines), String> {
    let done = done_path(&settings.landing, source.source, &source.name);
    let landing = settings.landing.join(&source.name);
    let mut why = Vec::new();
    // `done/` is searched twice, because the file may be moved there at this moment.
    for path in [done.clone(), landing, done] {
        let (shape, first_key) = (source.shape.clone(), source.first_key);
        match Lines::open(&path, &source.name, &settings.manifest, dataset, shape, first_key).await {
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
) -> SourceFile {
    let (path, mut file) = match open(settings, dataset, source, namesakes).await {
        Ok(opened) => opened,
        Err(why) => return SourceFile::missing(why),
    };
    let (mut lines, mut last) = (BTreeMap::new(), 0);
    while lines.len() < wanted.len() {
        match file.next_line() {
            Ok(Some(line)) => {
                last = line.number;
                if wanted.contains(&last) {
                    lines.insert(last, line.into());
                }
            }
            Ok(None) => return SourceFile { path: Ok(path), lines, end: Some(last) },
            Err(error) => {
                let why = format!("{} cannot be read: {error}", path.display());
                return SourceFile { path: Err(why), lines, end: None };
            }
        }
    }
    SourceFile { path: Ok(path), lines, end: None }
}
