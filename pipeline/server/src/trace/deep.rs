//! All lines of a key, in all files that are still there. Files are streamed; of the lines the newest are kept.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::IsTerminal;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use tidegate_connectors::csv::{FileLine, Lines};
use tidegate_connectors::postgres::Postgres;
use tidegate_connectors::postgres::trace::{TracedSource, WhichSources};
use tidegate_core::manifest::Dataset;
use tidegate_core::position::Position;
use tidegate_core::references::same_key;
use tidegate_core::split::{Dialect, Fields};
use tracing::{debug, warn};

use super::files;
use super::story::{Event, Story};
use crate::Failure;
use crate::settings::Settings;

/// How many bytes are read between two looks at the bar.
const TICK_BYTES: u64 = 4 << 20;

/// The lines that are kept: the newest.
#[derive(Debug)]
pub(crate) struct Newest {
    positions: BTreeSet<Position>,
    limit: usize,
    left_out: bool,
}

impl Newest {
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

    /// The lines; says so where some were left out.
    pub(crate) fn finish(self) -> BTreeSet<Position> {
        if self.left_out {
            warn!("there are older lines of this key; --limit {} leaves them out", self.limit);
        }
        self.positions
    }
}

/// The key of a line, as it stands there; `None` if it has no such field.
pub(crate) fn key_in<'a>(
    fields: &'a mut Fields,
    text: &'a [u8],
    dialect: Dialect,
    key: usize,
) -> Option<&'a [u8]> {
    let is_split = fields.split(text, dialect).is_ok();
    let fields: &'a Fields = fields;
    if is_split {
        return (key < fields.len()).then(|| fields.get(key, text));
    }
    text.split(|byte| *byte == dialect.delimiter).nth(key)
}

/// Looks for the key in every file of the dataset: lines of sources go to `newest`. Gives the stories of
/// those that have not entered yet.
pub(crate) async fn search(
    settings: &Settings,
    postgres: &Postgres,
    (index, dataset): (usize, &Dataset),
    key: &str,
    newest: &mut Newest,
) -> Result<Vec<Story>, Failure> {
    let which = WhichSources { dataset: Some(&dataset.name), ..WhichSources::default() };
    let sources = postgres.trace_sources(which).await?;
    let mut by_name: HashMap<&str, Vec<&TracedSource>> = HashMap::new();
    for source in &sources {
        by_name.entry(&source.name).or_default().push(source);
    }
    let mut search = Search::new(dataset, key, sources.iter().filter_map(|source| source.bytes).sum());
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
        let Ok(mut file) = Lines::open(&path, &name, &settings.manifest, index, None).await else {
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
    search.bar.finish_and_clear();
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
        events: vec![Event::new("not_entered", what).with("file", path.to_string_lossy())],
        ..Story::default()
    }
}

/// A search through files.
struct Search<'a> {
    dataset: &'a Dataset,
    key: &'a [u8],
    dialect: Dialect,
    fields: Fields,
    bar: ProgressBar,
}

impl<'a> Search<'a> {
    fn new(dataset: &'a Dataset, key: &'a str, bytes: u64) -> Self {
        let style = ProgressStyle::with_template("{spinner} {bytes} of {total_bytes} read  [{elapsed}]");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        let is_seen = std::io::stderr().is_terminal();
        let bar = if is_seen { ProgressBar::new(bytes).with_style(style) } else { ProgressBar::hidden() };
        let dialect = Dialect { delimiter: dataset.csv.delimiter, quote: dataset.csv.quote };
        Self { dataset, key: key.as_bytes(), dialect, fields: Fields::default(), bar }
    }

    /// Gives every line of the key to `found`.
    fn file(
        &mut self,
        path: &Path,
        file: &mut Lines,
        mut found: impl FnMut(FileLine<'_>),
    ) -> Result<(), Failure> {
        let kind = self.dataset.key_column().kind;
        let mut read = 0;
        let unreadable = |error| Failure::new(format!("{} cannot be read: {error}", path.display()));
        while let Some(line) = file.next_line().map_err(unreadable)? {
            read += line.length + 1;
            if read >= TICK_BYTES {
                self.bar.inc(std::mem::take(&mut read));
            }
            // Where the columns cannot be told, the key may be in the order of the file.
            let text = line.ordered.unwrap_or(line.text);
            let key = key_in(&mut self.fields, text, self.dialect, self.dataset.key);
            if key.is_some_and(|key| same_key(kind, key, self.key)) {
                found(line);
            }
        }
        self.bar.inc(read);
        Ok(())
    }
}
