//! `tidegate trace`: the story of a line. The command changes nothing, and a pipeline may run meanwhile.
//!
//! Files and topics are read first and Postgres last. Therefore the fate of a line is never older than the place where
//! the line was seen.
//!
//! # Layout
//!
//! * [`place`], `key`: the line, or the row, that the user asks about.
//! * `files`, `topics`: where lines are. `deep`: all lines of a key.
//! * `row`: which line owns the row of an accepted line.
//! * `events`, `story`: the events of a line in order, and how they are written.

mod deep;
mod events;
mod files;
mod key;
pub mod place;
mod row;
mod story;
pub(crate) mod topics;

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use tidegate_core::dead_letter::Stage;
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::position::Position;
use tidegate_core::shape::Shape;
use tidegate_core::split::Fields;
use tidegate_core::syntax::Dialect;
use tidegate_files::parse_done_name;
use tidegate_node::Settings;
use tidegate_store::Store;
use tidegate_store::trace::{self, SourceFilter, TracedLetter, TracedRow, TracedSource};
use tracing::{info, warn};

use crate::Failure;
use crate::cli::{Format, Global, settings};
use deep::NewestLines;
use files::SourceFile;
use key::{RowKey, row_name};
use place::Place;
use row::foreign;
use story::{Story, TraceEvent};
use topics::TopicRecord;

/// Flags of `trace`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate trace hired_employees.csv:117                  a line of a file, by its name or path
  tidegate trace 3:117 --format json                      the same by its source
  tidegate trace --dataset departments --key 7            the row of a key, and its dead letters
  tidegate trace --dataset departments --key 7 --deep     all its lines, as far as files still have them
  tidegate trace --dataset weather --key EWR,2013-01-01   the row of a key of two columns

LINE counts records from 1, without header and blank lines. A bare number is a source; write ./123:4 for a
file of that name. The docs list the events: docs/trace.md.")]
pub struct TraceArguments {
    /// Which line
    #[arg(
        value_name = "FILE:LINE|SOURCE:LINE",
        required_unless_present = "key",
        conflicts_with_all = ["dataset", "key"]
    )]
    pub place: Option<Place>,
    /// The dataset of the row
    #[arg(long, requires = "key")]
    pub dataset: Option<String>,
    /// The key of the row; of several columns, their values with commas between them
    #[arg(long, requires = "dataset", allow_hyphen_values = true)]
    pub key: Option<String>,
    /// Look for lines of the key in all files of the landing folder and of done/ as well
    #[arg(long, requires = "key")]
    pub deep: bool,
    /// At most so many lines of the key, the newest
    #[arg(long, requires = "key", default_value_t = 100)]
    pub limit: usize,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// The event of a line number beyond the end of its source.
const BEYOND_END: &str = "beyond_end";

/// Runs `tidegate trace`.
pub async fn command(global: &Global, arguments: &TraceArguments) -> Result<(), Failure> {
    let (settings, store) = settings::load_with_store(global)?;
    let tracer = Tracer { settings, store };
    let stories = match (&arguments.place, &arguments.dataset, &arguments.key) {
        (Some(place), ..) => tracer.of_place(place).await?,
        (None, Some(dataset), Some(key)) => tracer.of_key(dataset, key, arguments).await?,
        _ => return Err(Failure::usage("name a line, or a row with --dataset and --key")),
    };
    story::write(&stories, arguments.format).await
}

struct Tracer {
    settings: Settings,
    store: Store,
}

/// A source that the user asks about, with its lines in its file.
struct SourceTrace {
    source: TracedSource,
    /// The index of its dataset; `None` if the manifest has no dataset of that name.
    dataset: Option<usize>,
    file: SourceFile,
}

impl Tracer {
    fn manifest(&self) -> &Manifest {
        &self.settings.manifest
    }

    /// The stories of a line of one source, or of that line in every source of a file name.
    async fn of_place(&self, place: &Place) -> Result<Vec<Story>, Failure> {
        let (sources, line) = match place {
            Place::Source(position) => (vec![self.known_source(position.source).await?], position.line),
            Place::File { name, line } => (self.sources_of_file(name).await?, *line),
        };
        if let [first, _, ..] = &sources[..] {
            info!(
                "{} sources have the name '{}', each with other content; the newest is last",
                sources.len(),
                first.name
            );
        }
        let positions = sources.iter().map(|source| Position::new(source.source, line)).collect();
        let stories = self.stories_of(&positions).await?;
        let beyond =
            |story: &Story| Some(story.events.iter().find(|event| event.event == BEYOND_END)?.what.clone());
        let all_beyond: Option<Vec<_>> = stories.iter().map(beyond).collect();
        all_beyond.map_or(Ok(stories), |why| Err(Failure::new(why.join("; "))))
    }

    /// The stories of a key: of its row and of all dead letters with this key. With `--deep`, also of all lines in the
    /// files that still exist.
    async fn of_key(&self, name: &str, key: &str, arguments: &TraceArguments) -> Result<Vec<Story>, Failure> {
        let Some((index, dataset)) = self.manifest().dataset(name) else {
            let names: Vec<_> = self.manifest().datasets.iter().map(|dataset| &dataset.name[..]).collect();
            let names = names.join(", ");
            return Err(Failure::new(format!("there is no dataset '{name}'; there are: {names}")));
        };
        let key = &RowKey::parse(dataset, key)?;
        let mut newest = NewestLines::new(arguments.limit);
        self.letters_of_key(dataset, key, &mut newest).await?;
        let not_entered = match arguments.deep {
            true => deep::search(&self.settings, &self.store, index, key, &mut newest).await?,
            false => Vec::new(),
        };
        let mut positions = newest.finish();
        let row = row_name(dataset, key.values());
        let no_line = match trace::is_key(&self.store, index, key.values()).await? {
            false => {
                let kinds = key.kinds();
                Some(TraceEvent::new("no_row", format!("there can be no {row}: the key is no {kinds}")))
            }
            true => match trace::row(&self.store, index, key.values(), None).await? {
                None => Some(TraceEvent::new("no_row", format!("there is no {row}"))),
                Some(TracedRow { position, written_at, .. }) => match self.of_source(position).await? {
                    Some(position) => {
                        positions.insert(position);
                        None
                    }
                    None => Some(foreign(&row).at(written_at)),
                },
            },
        };
        let mut stories = self.stories_of(&positions).await?;
        stories.extend(not_entered);
        if let Some(event) = no_line {
            stories.push(Story { dataset: name.to_owned(), events: vec![event], ..Story::default() });
        }
        Ok(stories)
    }

    async fn letters_of_key(
        &self,
        dataset: &Dataset,
        key: &RowKey,
        newest: &mut NewestLines,
    ) -> Result<(), Failure> {
        let (mut fields, mut untold) = (Fields::default(), 0);
        let look = |position, stage, text: Option<&str>, shape: Option<&Shape>| {
            let given = shape.map_or(&dataset.csv.syntax.dialect, Shape::dialect);
            let dialect = if stage == Stage::Sink { &Dialect::STANDARD } else { given };
            let places: Option<Vec<usize>> = match shape {
                Some(shape) => dataset.key_columns().map(|column| shape.field(&column.name)).collect(),
                None => Some(dataset.key.clone()),
            };
            let text = text.map(str::as_bytes).zip(places);
            match text.and_then(|(text, places)| key.is_in(&mut fields, text, dialect, &places)) {
                Some(true) => newest.insert(position),
                Some(false) => {}
                None => untold += 1,
            }
        };
        trace::letters(&self.store, &dataset.name, look).await?;
        if untold > 0 {
            warn!(
                "{untold} dead letters of '{}' have no key that can be told; see 'tidegate dead-letters'",
                dataset.name
            );
        }
        Ok(())
    }

    /// The stories of lines, in the order of positions.
    async fn stories_of(&self, positions: &BTreeSet<Position>) -> Result<Vec<Story>, Failure> {
        let mut wanted: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for position in positions {
            wanted.entry(position.source).or_default().insert(position.line);
        }
        let mut traces = BTreeMap::new();
        let mut topics = BTreeSet::new();
        for (number, lines) in &wanted {
            let trace = self.look_up(self.known_source(*number).await?, lines).await?;
            let dataset = trace.dataset.map(|index| &self.manifest().datasets[index]);
            topics
                .extend(dataset.into_iter().flat_map(|dataset| topics::of_dataset(self.manifest(), dataset)));
            traces.insert(*number, trace);
        }
        let mut records = topics::find(&self.settings, &topics, positions).await?;
        let mut stories = Vec::new();
        for position in positions {
            let Some(traced) = traces.get(&position.source) else { continue };
            let records = records.remove(position).unwrap_or_default();
            stories.push(self.story(traced, position.line, &records).await?);
        }
        Ok(stories)
    }

    async fn look_up(&self, source: TracedSource, lines: &BTreeSet<u64>) -> Result<SourceTrace, Failure> {
        let Some((dataset, _)) = self.manifest().dataset(&source.dataset) else {
            let why = format!("the manifest has no dataset '{}' any more", source.dataset);
            return Ok(SourceTrace { source, dataset: None, file: SourceFile::missing(why) });
        };
        let which = SourceFilter { source: None, name: Some(&source.name), dataset: Some(&source.dataset) };
        let namesakes = trace::sources(&self.store, which).await?;
        let namesakes: Vec<&TracedSource> = namesakes.iter().collect();
        let file = files::look_up(&self.settings, dataset, &source, &namesakes, lines).await;
        Ok(SourceTrace { source, dataset: Some(dataset), file })
    }

    async fn story(
        &self,
        traced: &SourceTrace,
        line: u64,
        records: &[TopicRecord],
    ) -> Result<Story, Failure> {
        let SourceTrace { source, dataset, file } = traced;
        let position = Position::new(source.source, line);
        let found = file.lines.get(&line);
        let mut story = Story {
            source: Some(source.source),
            line: Some(line),
            dataset: source.dataset.clone(),
            name: Some(source.name.clone()),
            physical_line: found.map(|found| found.physical_line),
            ..Story::default()
        };
        if let Some(last) = source.lines.or(file.end).filter(|last| *last < line) {
            let what = format!(
                "source {} ('{}') has {last} lines, so there is no line {line}; lines count records from 1, \
                 without header and blank lines",
                source.source, source.name
            );
            story.events.push(TraceEvent::new(BEYOND_END, what));
            return Ok(story);
        }
        let known = trace::line(&self.store, position).await?;
        let letter = known.letter.as_ref();
        story.fate = Some(known.fate.map_or("in_flight", Fate::as_str));
        story.text = text_of(traced, line, records, letter);
        story.bytes = letter.and_then(|letter| letter.kept.bytes.clone());
        story.events = vec![events::entered(source), events::in_file(line, file)];
        story.events.extend(events::on_topics(records, &self.settings));
        let mut of_row = Vec::new();
        let mut committed_at = None;
        match (known.fate, *dataset) {
            (None, _) => story.events.push(events::in_flight(records, file)),
            (Some(Fate::Accepted), Some(dataset)) => {
                let valid = self.valid_line(dataset, traced, line, records, letter);
                (of_row, committed_at) = self.row(dataset, position, valid, letter).await?;
            }
            _ => {}
        }
        story.events.extend(events::fate(&known, source, committed_at.as_deref()));
        story.events.extend(of_row);
        Ok(story)
    }

    /// The position of a row, if it is one. Another application may have written arbitrary numbers.
    async fn of_source(&self, position: Option<Position>) -> Result<Option<Position>, Failure> {
        let Some(position) = position else { return Ok(None) };
        Ok(self.source(position.source).await?.map(|_| position))
    }

    async fn source(&self, number: u64) -> Result<Option<TracedSource>, Failure> {
        let which = SourceFilter { source: Some(number), ..SourceFilter::default() };
        Ok(trace::sources(&self.store, which).await?.pop())
    }

    async fn known_source(&self, number: u64) -> Result<TracedSource, Failure> {
        let unknown = || format!("there is no source {number}; 'tidegate sources' lists all there are");
        self.source(number).await?.ok_or_else(|| Failure::new(unknown()))
    }

    /// The sources of a name, oldest first; or the one source whose file in `done/` has that name.
    async fn sources_of_file(&self, name: &str) -> Result<Vec<TracedSource>, Failure> {
        let which = SourceFilter { name: Some(name), ..SourceFilter::default() };
        let named = trace::sources(&self.store, which).await?;
        if !named.is_empty() {
            return Ok(named);
        }
        if let Some((source, name)) = parse_done_name(name) {
            let which = SourceFilter { source: Some(source), name: Some(name), dataset: None };
            let done = trace::sources(&self.store, which).await?;
            if !done.is_empty() {
                return Ok(done);
            }
        }
        let what_to_do = match self.settings.landing.join(name).is_file() {
            false => "'tidegate sources' lists the names of all that were",
            true if self.manifest().dataset_of_file(name).is_none() => {
                "it is in the landing folder, but matches the 'files' of no dataset"
            }
            true => "it is in the landing folder: 'tidegate run' takes it",
        };
        Err(Failure::new(format!("no file '{name}' was taken yet; {what_to_do}")))
    }
}

/// The most exact text of the line that is available.
fn text_of(
    traced: &SourceTrace,
    line: u64,
    records: &[TopicRecord],
    letter: Option<&TracedLetter>,
) -> Option<String> {
    let in_file = traced.file.lines.get(&line).map(|found| &found.text[..]);
    let kept = || letter.and_then(|letter| letter.kept.text.as_deref()).map(str::as_bytes);
    let on_topic = || records.iter().find_map(|record| record.text.as_deref());
    let text = in_file.or_else(kept).or_else(on_topic)?;
    Some(String::from_utf8_lossy(text).into_owned())
}
