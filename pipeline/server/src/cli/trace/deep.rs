//! The search for all lines of a key in the files that still exist. Files are streamed, and only the newest lines are
//! kept.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::Path;

use indicatif::ProgressBar;
use tidegate_core::manifest::Dataset;
use tidegate_core::position::Position;
use tidegate_core::split::Fields;
use tidegate_files::{FileLine, Lines};
use tidegate_node::Settings;
use tidegate_store::Store;
use tidegate_store::trace::{self, SourceFilter, TracedSource};
use tracing::{debug, warn};

use super::files;
use super::key::RowKey;
use super::story::{Story, TraceEvent};
use crate::Failure;
use crate::cli::progress;

/// How many bytes are read between two updates of the bar.
const TICK_BYTES: u64 = 4 << 20;

/// The newest lines of a key, up to a limit.
#[derive(Debug)]
pub(crate) struct NewestLines {
    positions: BTreeSet<Position>,
    limit: usize,
    left_out: bool,
}

impl NewestLines {
    pub(crate) fn new(limit: usize) -> Self {
        Self { positions: BTreeSet::new(), limit: limit.max(1), left_out: false }
    }

    pub(crate) fn insert(&mut self, position: Position) {
        self.positions.insert(position);
        if self.positions.len() > self.limit {
            self.positions.pop_first();
            self.left_out = true;
        }
    }

    /// The lines; warns if some were left out.
    pub(crate) fn finish(self) -> BTreeSet<Position> {
        if self.left_out {
            warn!("there are older lines of this key; --limit {} leaves them out", self.limit);
        }
        self.positions
    }
}

/// Searches every file of the dataset for the key. Lines of sources go to `newest`. Returns the stories of lines that
/// have not entered yet.
pub(crate) async fn search(
    settings: &Settings,
    store: &Store,
    index: usize,
    key: &RowKey,
    newest: &mut NewestLines,
) -> Result<Vec<Story>, Failure> {
    let dataset = &settings.manifest.datasets[index];
    let which = SourceFilter { dataset: Some(&dataset.name), ..SourceFilter::default() };
    let sources = trace::sources(store, which).await?;
    let mut by_name: HashMap<&str, Vec<&TracedSource>> = HashMap::new();
    for source in &sources {
        by_name.entry(&source.name).or_default().push(source);
    }
    let mut search = KeySearch {
        dataset,
        key,
        fields: Fields::default(),
        bar: progress::of_bytes(sources.iter().filter_map(|source| source.bytes).sum()),
    };
    let mut without_file = 0;
    for source in &sources {
        match files::open(settings, index, source, &by_name[source.name.as_str()]).await {
            Ok((path, mut file)) => {
                let lines = source.lines.unwrap_or(u64::MAX);
                search.file(&path, &mut file, |line| {
                    if line.number <= lines {
                        newest.insert(Position::new(source.source, line.number));
                    }
                })?;
            }
            Err(why) => {
                debug!(source = source.source, "{why}");
                without_file += 1;
            }
        }
    }
    if without_file > 0 {
        warn!(
            "{without_file} of {} sources have no file any more: not all their lines can be seen",
            sources.len()
        );
    }
    let mut stories = VecDeque::new();
    for (name, path) in files_of(settings, index)? {
        let Ok(mut file) = Lines::open(&path, &name, &settings.manifest, index, None, None).await else {
            continue;
        };
        let namesakes = by_name.get(name.as_str());
        let last = namesakes.and_then(|namesakes| namesakes.last()).map(|last| last.source);
        let known = namesakes.into_iter().flatten().map(|known| (known.source, &known.fingerprint[..]));
        if last.is_some_and(|last| file.sources(known).contains(&last)) {
            continue;
        }
        search.file(&path, &mut file, |line| {
            stories.push_back(unregistered(&dataset.name, &name, &path, line));
            if stories.len() > newest.limit {
                stories.pop_front();
                newest.left_out = true;
            }
        })?;
    }
    Ok(stories.into())
}

/// The files of the landing folder that belong to a dataset, by name.
fn files_of(settings: &Settings, dataset: usize) -> Result<Vec<(String, std::path::PathBuf)>, Failure> {
    let entries = match std::fs::read_dir(&settings.landing) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let is_its = settings.manifest.dataset_of_file(name).is_some_and(|(i, _)| i == dataset);
        if is_its && !name.starts_with('.') && path.is_file() {
            files.push((name.to_owned(), path.clone()));
        }
    }
    files.sort();
    Ok(files)
}

fn unregistered(dataset: &str, name: &str, path: &Path, line: FileLine<'_>) -> Story {
    let what = format!("{} was not taken yet: 'tidegate run' takes it", path.display());
    Story {
        line: Some(line.number),
        dataset: dataset.to_owned(),
        name: Some(name.to_owned()),
        physical_line: Some(line.physical_line),
        text: Some(String::from_utf8_lossy(line.text).into_owned()),
        events: vec![TraceEvent::new("not_entered", what).with("file", path.to_string_lossy())],
        ..Story::default()
    }
}

/// A search for the lines of a key in one file after the other.
struct KeySearch<'a> {
    dataset: &'a Dataset,
    key: &'a RowKey,
    fields: Fields,
    bar: ProgressBar,
}

impl KeySearch<'_> {
    /// Passes every line of the key to `found`.
    fn file(
        &mut self,
        path: &Path,
        file: &mut Lines,
        mut found: impl FnMut(FileLine<'_>),
    ) -> Result<(), Failure> {
        let mut read = 0;
        let unreadable = |error| Failure::new(format!("{} cannot be read: {error}", path.display()));
        while let Some(line) = file.next_line().map_err(unreadable)? {
            read += line.length + 1;
            if read >= TICK_BYTES {
                self.bar.inc(std::mem::take(&mut read));
            }
            // If the columns cannot be matched by name, the file's order is assumed for the key.
            let text = line.ordered.unwrap_or(line.text);
            let dialect = line.form.dialect(self.dataset);
            if self.key.is_in(&mut self.fields, text, dialect, &self.dataset.key) == Some(true) {
                found(line);
            }
        }
        self.bar.inc(read);
        Ok(())
    }
}
