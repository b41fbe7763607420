//! `tidegate trace`: the story of a line. It changes nothing, and may look beside a running pipeline.
//!
//! Files and topics are looked at first and Postgres last, so that what became of a line is never older than
//! where it was seen.
//!
//! # Layout
//!
//! * [`place`]: which line is asked about.
//! * `files`, `topics`: where lines are. `deep`: all lines of a key.
//! * `events`, `story`: what is known as events in order, and how they are written.

mod deep;
mod events;
mod files;
pub mod place;
mod story;
pub(crate) mod topics;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use tidegate_connectors::csv::parse_done_name;
use tidegate_connectors::postgres::Postgres;
use tidegate_connectors::postgres::trace::{TracedLetter, TracedRow, TracedSource, WhichSources};
use tidegate_core::dead_letter::Stage;
use tidegate_core::ledger::Fate;
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::position::Position;
use tidegate_core::references::same_key;
use tidegate_core::shape::Shape;
use tidegate_core::split::{Dialect, Fields};
use tidegate_core::validate::{Scratch, Validator};
use tracing::{info, warn};
use uuid::Uuid;

use crate::Failure;
use crate::cli::{Global, TraceArguments};
use crate::settings::Settings;
use deep::{Newest, key_in};
use files::InFile;
use place::Place;
use story::{Event, Story};
use topics::{OnTopic, TopicStage};

/// The event of a line that its source does not have.
const BEYOND_END: &str = "beyond_end";

/// `tidegate trace`.
///
/// # Errors
///
/// If there is no such line, or the database, a topic or a file cannot be read.
pub async fn command(global: &Global, arguments: &TraceArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let tracer = Tracer { postgres: settings.database(Uuid::nil())?, settings };
    let stories = match (&arguments.place, &arguments.dataset, &arguments.key) {
        (Some(place), ..) => tracer.of_place(place).await?,
        (None, Some(dataset), Some(key)) => tracer.of_key(dataset, key, arguments).await?,
        _ => return Err(Failure::usage("name a line, or a row with --dataset and --key")),
    };
    story::write(&stories, arguments.format).await
}

struct Tracer {
    settings: Settings,
    postgres: Postgres,
}

/// A source that is asked about, with what its file says.
struct Asked {
    source: TracedSource,
    /// The index of its dataset, unless the manifest has none of that name.
    dataset: Option<usize>,
    file: InFile,
}

/// A line that could be a row: its key, and its value for each column.
struct Checked {
    key: String,
    values: Vec<Option<String>>,
}

impl Tracer {
    fn manifest(&self) -> &Manifest {
        &self.settings.manifest
    }

    /// The stories of a line of a source, or of that line in every source of a name.
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
        let stories = self.tell(&positions).await?;
        let beyond = |story: &Story| {
            story.events.iter().find(|event| event.event == BEYOND_END).map(|e| e.what.clone())
        };
        let all_beyond: Option<Vec<String>> = stories.iter().map(beyond).collect();
        all_beyond.map_or(Ok(stories), |why| Err(Failure::new(why.join("; "))))
    }

    /// The stories of the row of a key, of all dead letters that have this key and, if wanted, of all lines in
    /// the files that are still there.
    async fn of_key(&self, name: &str, key: &str, arguments: &TraceArguments) -> Result<Vec<Story>, Failure> {
        let Some((index, dataset)) = self.manifest().dataset(name) else {
            let names: Vec<&str> =
                self.manifest().datasets.iter().map(|dataset| dataset.name.as_str()).collect();
            return Err(Failure::new(format!(
                "there is no dataset '{name}'; there are: {}",
                names.join(", ")
            )));
        };
        let mut newest = Newest::new(arguments.limit);
        self.letters_of_key(dataset, key, &mut newest).await?;
        let not_entered = match arguments.deep {
            true => deep::search(&self.settings, &self.postgres, (index, dataset), key, &mut newest).await?,
            false => Vec::new(),
        };
        let mut positions = newest.finish();
        let row = row_name(dataset, key);
        let no_line = match self.postgres.trace_key(index, key).await? {
            None => {
                let kind = dataset.key_column().kind;
                Some(Event::new("no_row", format!("there can be no {row}: the key is no {kind}")))
            }
            Some(_) => match self.postgres.trace_row(index, key, None).await? {
                None => Some(Event::new("no_row", format!("there is no {row}"))),
                Some(TracedRow { position, written_at, .. }) => match self.of_source(position).await? {
                    Some(position) => {
                        positions.insert(position);
                        None
                    }
                    None => Some(foreign(&row).at(written_at)),
                },
            },
        };
        let mut stories = self.tell(&positions).await?;
        stories.extend(not_entered);
        if let Some(event) = no_line {
            stories.push(Story { dataset: name.to_owned(), events: vec![event], ..Story::default() });
        }
        Ok(stories)
    }

    async fn letters_of_key(&self, dataset: &Dataset, key: &str, newest: &mut Newest) -> Result<(), Failure> {
        let given = Dialect { delimiter: dataset.csv.delimiter, quote: dataset.csv.quote };
        let kind = dataset.key_column().kind;
        let (mut fields, mut untold) = (Fields::default(), 0);
        let look = |position, stage, text: Option<&str>, shape: Option<&Shape>| {
            let given = shape.map_or(given, Shape::dialect);
            let dialect = if stage == Stage::Sink { Dialect::STANDARD } else { given };
            let place = match shape {
                Some(shape) => shape.field(&dataset.key_column().name),
                None => Some(dataset.key),
            };
            let text = text.map(str::as_bytes).zip(place);
            match text.and_then(|(text, place)| key_in(&mut fields, text, dialect, place)) {
                Some(found) if same_key(kind, found, key.as_bytes()) => newest.insert(position),
                Some(_) => {}
                None => untold += 1,
            }
        };
        self.postgres.trace_letters(&dataset.name, look).await?;
        if untold > 0 {
            warn!(
                "{untold} dead letters of '{}' have no key that can be told; see 'tidegate dead-letters'",
                dataset.name
            );
        }
        Ok(())
    }

    /// The stories of lines, oldest position first.
    async fn tell(&self, positions: &BTreeSet<Position>) -> Result<Vec<Story>, Failure> {
        let mut wanted: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for position in positions {
            wanted.entry(position.source).or_default().insert(position.line);
        }
        let mut asked = BTreeMap::new();
        let mut topics = Vec::new();
        for (number, lines) in &wanted {
            let asking = self.asked(self.known_source(*number).await?, lines).await?;
            let dataset = asking.dataset.map(|index| &self.manifest().datasets[index]);
            for topic in dataset.into_iter().flat_map(|dataset| topics::of_dataset(self.manifest(), dataset))
            {
                if !topics.contains(&topic) {
                    topics.push(topic);
                }
            }
            asked.insert(*number, asking);
        }
        let mut records = topics::find(&self.settings, &topics, positions).await?;
        let mut stories = Vec::new();
        for position in positions {
            let Some(asked) = asked.get(&position.source) else { continue };
            let records = records.remove(position).unwrap_or_default();
            stories.push(self.story(asked, position.line, &records).await?);
        }
        Ok(stories)
    }

    async fn asked(&self, source: TracedSource, lines: &BTreeSet<u64>) -> Result<Asked, Failure> {
        let Some((dataset, _)) = self.manifest().dataset(&source.dataset) else {
            let why = format!("the manifest has no dataset '{}' any more", source.dataset);
            return Ok(Asked { source, dataset: None, file: InFile::missing(why) });
        };
        let which = WhichSources { source: None, name: Some(&source.name), dataset: Some(&source.dataset) };
        let namesakes = self.postgres.trace_sources(which).await?;
        let namesakes: Vec<&TracedSource> = namesakes.iter().collect();
        let file = files::look_up(&self.settings, dataset, &source, &namesakes, lines).await;
        Ok(Asked { source, dataset: Some(dataset), file })
    }

    async fn story(&self, asked: &Asked, line: u64, records: &[OnTopic]) -> Result<Story, Failure> {
        let Asked { source, dataset, file } = asked;
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
            story.events.push(Event::new(BEYOND_END, what));
            return Ok(story);
        }
        let traced = self.postgres.trace_line(position).await?;
        let letter = traced.letter.as_ref();
        story.fate = Some(traced.fate.map_or("in_flight", Fate::as_str));
        story.text = text_of(asked, line, records, letter);
        story.bytes = letter.and_then(|letter| letter.bytes.clone());
        story.events = vec![events::entered(source), events::in_file(line, file)];
        story.events.extend(events::on_topics(records, &self.settings));
        let mut of_row = Vec::new();
        let mut committed_at = None;
        match (traced.fate, *dataset) {
            (None, _) => story.events.push(events::in_flight(records, file)),
            (Some(Fate::Accepted), Some(dataset)) => {
                let checked = self.checked(dataset, asked, line, records, letter);
                (of_row, committed_at) = self.row(dataset, position, checked, letter).await?;
            }
            _ => {}
        }
        story.events.extend(events::fate(&traced, source, committed_at.as_deref()));
        story.events.extend(of_row);
        Ok(story)
    }

    /// The line as the row that it would be, from wherever it still is.
    fn checked(
        &self,
        dataset: usize,
        asked: &Asked,
        line: u64,
        records: &[OnTopic],
        letter: Option<&TracedLetter>,
    ) -> Option<Checked> {
        let in_file =
            asked.file.lines.get(&line).and_then(|found| found.ordered.as_deref()).map(|text| (text, false));
        let on_topic = records.iter().filter(|record| record.stage != TopicStage::DeadLetters);
        let on_topic =
            || on_topic.clone().find_map(|r| Some((r.text.as_deref()?, r.stage == TopicStage::Accepted)));
        let dataset = &self.manifest().datasets[dataset];
        let kept = letter.and_then(|letter| Some((kept_text(dataset, letter)?, letter.stage == Stage::Sink)));
        let kept = || kept.as_ref().map(|(text, is_canonical)| (&text[..], *is_canonical));
        // A replay may have changed the line.
        let (text, is_canonical) =
            if is_replayed(letter) { kept()? } else { in_file.or_else(on_topic).or_else(kept)? };
        let validator = if is_canonical { Validator::canonical(dataset) } else { Validator::new(dataset) };
        let mut scratch = Scratch::default();
        let row = validator.check(text, &mut scratch).ok()?;
        let owned = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let values = (0..dataset.columns.len()).map(|column| row.value(column).map(owned)).collect();
        Some(Checked { key: owned(row.key()), values })
    }

    /// Which line holds the row of an accepted one; and when the row was written, if it is its own.
    async fn row(
        &self,
        dataset: usize,
        position: Position,
        checked: Option<Checked>,
        letter: Option<&TracedLetter>,
    ) -> Result<(Vec<Event>, Option<String>), Failure> {
        let (key, values) = match checked {
            Some(Checked { key, values }) => (Some(key), Some(values).filter(|_| !is_replayed(letter))),
            None => (self.postgres.trace_row_of(dataset, position).await?, None),
        };
        let of = &self.manifest().datasets[dataset];
        let Some(key) = key else {
            let what = format!(
                "no row of {} is of this line: a newer line took its place, or another application changed or \
                 deleted it; without its text its key cannot be told",
                of.name
            );
            return Ok((vec![Event::new("not_held", what)], None));
        };
        let name = row_name(of, &key);
        let row = self.postgres.trace_row(dataset, &key, values.as_deref()).await?;
        let Some(TracedRow { position: holder, written_at, mut differing }) = row else {
            let what = match self.postgres.trace_row_of(dataset, position).await? {
                Some(key) => format!(
                    "there is no {name}: {} is of this line, so a trigger or another application gave the row another key",
                    row_name(of, &key)
                ),
                None => format!("there is no {name} any more: another application deleted it"),
            };
            return Ok((vec![Event::new("row_gone", what)], None));
        };
        let Some(holder) = self.of_source(holder).await? else {
            return Ok((vec![foreign(&name).at(written_at)], None));
        };
        if holder != position {
            return Ok((vec![self.replaced(position, holder, &name).await?.at(written_at)], None));
        }
        let mut events = vec![Event::new("held", format!("{name} is of this line")).at(written_at.clone())];
        // What the source had no column for is the table's own affair.
        if let Some(shape) = self.known_source(position.source).await?.shape {
            differing.retain(|column| shape.has(column));
        }
        if differing.is_empty() {
            return Ok((events, written_at));
        }
        let what = format!(
            "its values are not the line's any more: another application or a trigger changed {}",
            differing.join(", ")
        );
        events.push(Event::new("row_changed", what).with("columns", differing));
        Ok((events, None))
    }

    async fn replaced(&self, position: Position, holder: Position, row: &str) -> Result<Event, Failure> {
        let name = self.known_source(holder.source).await?.name;
        let (event, what) = match holder > position {
            true => ("replaced", format!("{row} is of the newer line {holder} of '{name}'")),
            false => (
                "row_older",
                format!(
                    "{row} is of the older line {holder} of '{name}': another application has taken this \
                     line's row away before"
                ),
            ),
        };
        Ok(Event::new(event, what)
            .with("by_source", holder.source)
            .with("by_line", holder.line)
            .with("by_name", name))
    }

    /// The position of a row, if it is one: another application may have written any numbers.
    async fn of_source(&self, position: Option<Position>) -> Result<Option<Position>, Failure> {
        let Some(position) = position else { return Ok(None) };
        Ok(self.source(position.source).await?.map(|_| position))
    }

    async fn source(&self, number: u64) -> Result<Option<TracedSource>, Failure> {
        let which = WhichSources { source: Some(number), ..WhichSources::default() };
        Ok(self.postgres.trace_sources(which).await?.pop())
    }

    async fn known_source(&self, number: u64) -> Result<TracedSource, Failure> {
        let unknown = || format!("there is no source {number}; 'tidegate sources' lists all there are");
        self.source(number).await?.ok_or_else(|| Failure::new(unknown()))
    }

    /// The sources of a name, oldest first; or the one whose name it is in `done/`.
    async fn sources_of_file(&self, name: &str) -> Result<Vec<TracedSource>, Failure> {
        let which = WhichSources { name: Some(name), ..WhichSources::default() };
        let named = self.postgres.trace_sources(which).await?;
        if !named.is_empty() {
            return Ok(named);
        }
        if let Some((source, name)) = parse_done_name(name) {
            let which = WhichSources { source: Some(source), name: Some(name), dataset: None };
            let done = self.postgres.trace_sources(which).await?;
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

/// The line that a dead letter keeps, in the columns that its dataset has now.
fn kept_text<'a>(dataset: &Dataset, letter: &'a TracedLetter) -> Option<Cow<'a, [u8]>> {
    let text = letter.text.as_deref()?.as_bytes();
    let shape = letter.shape.as_deref();
    let Some(mut mapping) = shape.and_then(|shape| shape.mapping(dataset, letter.stage == Stage::Sink))
    else {
        return Some(Cow::Borrowed(text));
    };
    let mut mapped = Vec::new();
    mapping.write(text, None, &mut mapped).ok()?;
    Some(Cow::Owned(mapped))
}

/// The line, as exact as it can be had.
fn text_of(asked: &Asked, line: u64, records: &[OnTopic], letter: Option<&TracedLetter>) -> Option<String> {
    let in_file = asked.file.lines.get(&line).map(|found| &found.text[..]);
    let kept = || letter.and_then(|letter| letter.text.as_deref()).map(str::as_bytes);
    let on_topic = || records.iter().find_map(|record| record.text.as_deref());
    let text = in_file.or_else(kept).or_else(on_topic)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

fn is_replayed(letter: Option<&TracedLetter>) -> bool {
    letter.is_some_and(|letter| letter.attempt > 0 || letter.status == "replayed")
}

fn row_name(dataset: &Dataset, key: &str) -> String {
    format!("row of {} with {} {key}", dataset.name, dataset.key_column().name)
}

fn foreign(row: &str) -> Event {
    Event::new("row_foreign", format!("the {row} has no position of any line: another application wrote it"))
}
