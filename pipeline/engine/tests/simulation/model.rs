//! A sink and a registry in memory: a small, faithful model of what Postgres does.
//!
//! A [`Database`] outlives the processes that use it. Each [`Memory`] is one process's handle on it: the
//! process's manifest, its identity as an owner of leases, and the view that it knows. A transaction works on a
//! copy of the [`State`], which replaces the old one at the commit.
//!
//! A [`Flaw`] plants a mistake, to show that the simulation finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::contract::{
    CommitReport, ConsumerOffset, Delivery, Error, Offsets, SINK_READER, Sink, Tally,
};
use tidegate_core::dead_letter::{Code, DeadLetter, Event, Reason, Stage};
use tidegate_core::ledger::{Chunk, Effects, Fate, chunk_of};
use tidegate_core::manifest::{Dataset, Manifest, Reference};
use tidegate_core::position::Position;
use tidegate_core::record::Line;
use tidegate_core::registry::{Arrival, ArrivalRole, Registration, Registry};
use tidegate_core::shape::{Form, Shape};
use tidegate_core::spelling::normal_parts;
use tidegate_core::split::{Fields, SkippedLines};
use tidegate_core::syntax::{Dialect, Syntax};
use tidegate_core::validate::{Scratch, Validators, unknown_reference};

use crate::files::File;

/// A database in memory. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Database {
    state: Arc<Mutex<State>>,
}

/// All that the database holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// In the order of their numbers, from source 1.
    pub(crate) sources: Vec<Source>,
    /// By source and chunk.
    pub(crate) ledger: BTreeMap<(u64, u64), Chunk>,
    /// The effects of the accepted lines of each source on their table.
    pub(crate) effects: BTreeMap<u64, Effects>,
    /// Rows by the first dataset of the table and the key, in its [`normal_parts`] form. The key of a row without one is
    /// its position.
    pub(crate) tables: BTreeMap<(usize, Vec<u8>), Row>,
    /// The lines that are not, or once were not, in their table.
    pub(crate) letters: BTreeMap<Position, Letter>,
    /// The columns of each table, in the order of its rows' values. Empty before a process has prepared the
    /// tables.
    pub(crate) columns: Vec<Vec<String>>,
    /// The view that is kept up to date.
    pub(crate) view: View,
    /// How many rows other applications have inserted.
    pub(crate) outside: u64,
    offsets: BTreeMap<(String, String, u32), u64>,
    owner: Option<u64>,
    refused: Vec<(usize, String, String)>,
    left_out: Vec<(usize, String, String)>,
}

impl State {
    /// Changes the columns of the tables. Values are carried over by the names of columns. A new column is
    /// empty.
    fn alter(&mut self, columns: Vec<Vec<String>>) {
        for ((dataset, _), row) in &mut self.tables {
            if let (Some(before), Some(now)) = (self.columns.get(*dataset), columns.get(*dataset)) {
                row.values = by_name(before, now, &row.values);
            }
        }
        self.columns = columns;
        self.view = View::afresh(self.view.of, &self.tables);
    }
}

fn by_name(before: &[String], now: &[String], values: &[String]) -> Arc<[String]> {
    let value = |name: &String| {
        let place = before.iter().position(|its| its == name);
        place.map_or_else(String::new, |place| values[place].clone())
    };
    now.iter().map(value).collect()
}

/// A registered source.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// The name of its dataset.
    pub(crate) dataset: String,
    /// The name of its file.
    pub(crate) name: String,
    /// The size of its file.
    pub(crate) bytes: u64,
    /// How many lines it has, once that is known.
    pub(crate) lines: Option<u64>,
    /// Whether every line was accounted for.
    pub(crate) complete: bool,
    fingerprint: Vec<u8>,
    awaited: bool,
    /// How many lines of its file are no records, once that is known.
    pub(crate) skipped: Option<SkippedLines>,
    /// The shape of its text at registration.
    shape: Arc<Shape>,
}

impl Source {
    /// The file of the source, by name and size.
    pub(crate) fn file<'a>(&self, files: &'a [File]) -> Option<&'a File> {
        files.iter().find(|file| file.name == self.name && file.bytes.len() as u64 == self.bytes)
    }
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The position of the line that wrote the row. `None` if another application wrote it: such a row ranks
    /// below every line.
    pub(crate) position: Option<Position>,
    /// Its values, in the order of the columns. A missing one is empty, an empty text is [`EMPTY_TEXT`].
    pub(crate) values: Arc<[String]>,
}

/// An empty text among values.
pub(crate) const EMPTY_TEXT: &str = "\"\"";

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    /// The index of its dataset.
    pub(crate) dataset: usize,
    /// The dead letter's status.
    pub(crate) status: Status,
    /// The reasons for the dead letter.
    pub(crate) reasons: Arc<[Reason]>,
    stage: Stage,
    text: Option<Arc<str>>,
    awaits: Arc<[Key]>,
    /// The shape of its text. `None` for a letter that comes from a topic.
    shape: Option<Arc<Shape>>,
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Something is wrong with the line.
    Rejected,
    /// A reference is missing.
    Waiting,
    /// Its references came, and the line was accepted.
    Healed,
}

/// A count of the rows of a dataset by a column, kept up to date with the changes of each commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// The index of the dataset and of the column.
    pub(crate) of: Option<(usize, usize)>,
    /// The number of rows by value.
    pub(crate) counts: BTreeMap<String, i64>,
}

impl View {
    /// The same view computed afresh.
    pub(crate) fn afresh(of: Option<(usize, usize)>, tables: &BTreeMap<(usize, Vec<u8>), Row>) -> Self {
        let mut view = Self { of, ..Self::default() };
        for ((dataset, _), row) in tables {
            view.change(of, *dataset, None, Some(row));
        }
        view
    }

    /// Applies the change of a row, unless the row is of another dataset. `of` is the view that the calling
    /// process assumes.
    fn change(&mut self, of: Option<(usize, usize)>, dataset: usize, old: Option<&Row>, new: Option<&Row>) {
        let Some((_, column)) = of.filter(|(its, _)| *its == dataset) else { return };
        for (row, by) in [(old, -1), (new, 1)] {
            let Some(row) = row else { continue };
            let Some(value) = row.values.get(column) else { continue };
            let count = self.counts.entry(value.clone()).or_insert(0);
            *count += by;
            if *count == 0 {
                self.counts.remove(value);
            }
        }
    }
}

/// A mistake that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The ledger forgets the first line of a chunk once it holds ten.
    LedgerForgets,
    /// A row is written even if its position is not the newest.
    LastWriteWins,
    /// The ledger claims to hold a line that it does not hold, when a source asks for its resume point.
    ResumeSkips,
    /// The ledger is committed first, and the rows afterwards.
    TwoTransactions,
    /// A process that was taken over may commit.
    StaleCommits,
    /// A commit does not report that waiting lines may now find their references.
    HealingLost,
    /// A content that came before under its name counts as the same delivery, even if another content came in
    /// between.
    ContentIsDelivery,
    /// The source does not check whether a file is being written.
    WritersUnseen,
    /// A line that a trigger leaves out counts as accepted.
    LeftOutAccepted,
    /// The effects of a line are counted even if the ledger holds the line already.
    CountsDuplicates,
    /// Waiting lines are read by today's columns, by place instead of by name.
    ByPlace,
    /// Lines on topics are read by today's columns, whatever their form.
    FormIgnored,
    /// Of a key of several columns, the first column alone identifies a row.
    FirstOfKey,
    /// Rows without a key are taken for one if their values are equal.
    EqualRowsOnce,
    /// A reference with a missing part waits, in place of referencing nothing.
    MissingPartWaits,
    /// A commit does not report that lines may find the rows of a dataset that shares the table of another.
    SharedTableUnseen,
    /// Comments are taken for records.
    CommentsNumbered,
    /// The shape of a registered source does not say that its header may be repeated.
    RepeatedHeaderNumbered,
    /// Empty lines are not counted.
    BlanksUncounted,
    /// The second of the texts that mean missing is kept as a value.
    SecondNullIsValue,
    /// A missing value stays missing where the column has a default.
    DefaultUnapplied,
    /// The first number of a date is taken for the month.
    MonthFirst,
    /// An empty text is stored as a missing value.
    EmptyTextMissing,
}

impl Flaw {
    /// All of them.
    pub(crate) const ALL: [Self; 23] = [
        Self::LedgerForgets,
        Self::LastWriteWins,
        Self::ResumeSkips,
        Self::TwoTransactions,
        Self::StaleCommits,
        Self::HealingLost,
        Self::ContentIsDelivery,
        Self::WritersUnseen,
        Self::LeftOutAccepted,
        Self::CountsDuplicates,
        Self::ByPlace,
        Self::FormIgnored,
        Self::FirstOfKey,
        Self::EqualRowsOnce,
        Self::MissingPartWaits,
        Self::SharedTableUnseen,
        Self::CommentsNumbered,
        Self::RepeatedHeaderNumbered,
        Self::BlanksUncounted,
        Self::SecondNullIsValue,
        Self::DefaultUnapplied,
        Self::MonthFirst,
        Self::EmptyTextMissing,
    ];
}

/// A row's identity: the first dataset of its table, and the key in its [`normal_parts`] form.
type Key = (usize, Vec<u8>);

/// One process's handle on a [`Database`]. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Memory {
    database: Database,
    process: Arc<Process>,
}

struct Process {
    manifest: Arc<Manifest>,
    /// The rules of each dataset.
    validators: Vec<Validators>,
    owner: u64,
    view: Option<(usize, usize)>,
    flaw: Option<Flaw>,
}

impl Process {
    /// The shape of a line on a topic.
    fn shape(&self, dataset: usize, fingerprint: u32) -> Option<Arc<Shape>> {
        let form = self.validators[dataset].form(fingerprint)?;
        Some(Arc::new(Shape::in_form(&self.manifest, &self.manifest.datasets[dataset], form)))
    }
}

/// A delivery as this sink works on it.
#[derive(Default)]
pub(crate) struct Batch {
    rows: Vec<Candidate>,
    letters: Vec<(Position, Letter)>,
    consumed: Vec<ConsumerOffset>,
    tallies: Vec<Tally>,
    /// Whether the lines are stored dead letters that wait.
    stored: bool,
}

/// A line that may become a row.
struct Candidate {
    dataset: usize,
    position: Position,
    key: Vec<u8>,
    values: Arc<[String]>,
    references: Vec<Wanted>,
    /// What the line is as a dead letter: `stage`, `text` and `shape`.
    stage: Stage,
    text: Arc<str>,
    shape: Option<Arc<Shape>>,
}

impl Candidate {
    /// Whether the line is of this dataset and has this value in this column.
    fn has(&self, process: &Process, (dataset, name, value): &(usize, String, String)) -> bool {
        let columns = &process.manifest.datasets[self.dataset].columns;
        let column = columns.iter().position(|column| column.name == *name);
        *dataset == self.dataset && column.is_some_and(|column| self.values[column] == *value)
    }
}

/// A reference of a line: its index among those of the dataset, and the row.
struct Wanted {
    reference: usize,
    key: Key,
}

impl Database {
    /// The handle of a process. `owner` identifies the process, and `view` is the dataset and column that its
    /// view counts. The process may commit once it has [taken over](Memory::take_over).
    pub(crate) fn open(
        &self,
        manifest: Arc<Manifest>,
        owner: u64,
        view: Option<(usize, usize)>,
        flaw: Option<Flaw>,
    ) -> Memory {
        let process = Process {
            validators: manifest.datasets.iter().map(Validators::new).collect(),
            manifest,
            owner,
            view,
            flaw,
        };
        Memory { database: self.clone(), process: Arc::new(process) }
    }

    /// Reads the committed state.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&State) -> T) -> T {
        at(&self.locked())
    }

    /// From now on, refuses rows that have this value, as a check constraint would.
    pub(crate) fn refuse(&self, dataset: usize, column: &str, value: &str) {
        self.locked().refused.push((dataset, column.to_owned(), value.to_owned()));
    }

    /// From now on, leaves out rows that have this value, as a trigger that returns null would.
    pub(crate) fn leave_out(&self, dataset: usize, column: &str, value: &str) {
        self.locked().left_out.push((dataset, column.to_owned(), value.to_owned()));
    }

    /// Inserts a row as another application would, unless the key exists. `definition` is the definition of the
    /// dataset.
    pub(crate) fn insert(&self, dataset: usize, definition: &Dataset, values: &[&str]) {
        let key = key_of(definition, &definition.key, values).expect("a row has a key");
        let names: Vec<String> = definition.columns.iter().map(|column| column.name.clone()).collect();
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        let mut state = self.locked();
        let State { tables, view, outside, columns, .. } = &mut *state;
        // A table that no process has prepared yet has the columns of the application that writes to it.
        columns.resize(columns.len().max(dataset + 1), Vec::new());
        if columns[dataset].is_empty() {
            columns[dataset].clone_from(&names);
        }
        let values = by_name(&names, &columns[dataset], &values);
        tables.entry((dataset, key)).or_insert_with(|| {
            let row = Row { position: None, values };
            view.change(view.of, dataset, None, Some(&row));
            *outside += 1;
            row
        });
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // A state is replaced as a whole: a panic leaves none half-written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Takes the leases, even if another process holds them.
    pub(crate) fn take_over(&self) {
        self.database.locked().owner = Some(self.process.owner);
    }

    /// Whether this process holds the leases.
    pub(crate) fn may_commit(&self) -> bool {
        self.database.locked().owner == Some(self.process.owner)
    }

    /// Gives the tables the columns of this process, and makes the view the one that this process keeps.
    ///
    /// # Errors
    ///
    /// If the process was taken over.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        let mut state = self.fenced()?;
        let of = |dataset: &Dataset| dataset.columns.iter().map(|column| column.name.clone()).collect();
        let columns: Vec<Vec<String>> = self.process.manifest.datasets.iter().map(of).collect();
        if state.columns != columns {
            state.alter(columns);
        }
        if state.view.of != self.process.view {
            state.view = View::afresh(self.process.view, &state.tables);
        }
        Ok(())
    }

    /// Accepts the waiting lines of a dataset whose references exist, in one transaction. Returns how many left
    /// the waiting set.
    ///
    /// # Errors
    ///
    /// If the process was taken over.
    pub(crate) async fn heal_dataset(&self, dataset: usize) -> Result<u64, Error> {
        let Some(batch) = self.ready(dataset) else { return Ok(0) };
        Ok(self.commit(&batch).await?.1)
    }

    /// The waiting lines of a dataset that have a reference that exists or is to the same dataset.
    fn ready(&self, dataset: usize) -> Option<Batch> {
        let state = self.database.locked();
        let mut batch = Batch { stored: true, ..self.empty_batch() };
        for (position, letter) in &state.letters {
            let table = self.process.manifest.datasets[dataset].of_table;
            let has_come = |key: &Key| key.0 == table || state.tables.contains_key(key);
            let waits = letter.dataset == dataset && letter.status == Status::Waiting;
            if waits && letter.awaits.iter().any(has_come) {
                self.read_letter(*position, letter.clone(), &mut batch);
            }
        }
        (!batch.rows.is_empty() || !batch.letters.is_empty()).then_some(batch)
    }

    /// The state, if this process has not been taken over.
    fn fenced(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.database.locked();
        if state.owner == Some(self.process.owner) || self.process.flaw == Some(Flaw::StaleCommits) {
            return Ok(state);
        }
        Err(Error::halt("another process has taken this pipeline over; this one can commit nothing any more"))
    }

    /// The shape of a registered source.
    fn recall(&self, shape: &Arc<Shape>) -> Arc<Shape> {
        if self.process.flaw != Some(Flaw::RepeatedHeaderNumbered) {
            return shape.clone();
        }
        let syntax = Syntax { repeated_header: false, ..shape.syntax.clone() };
        Arc::new(Shape { syntax, ..(**shape).clone() })
    }

    fn empty_batch(&self) -> Batch {
        Batch { tallies: vec![Tally::default(); self.process.manifest.datasets.len()], ..Batch::default() }
    }

    async fn commit(&self, batch: &Batch) -> Result<(CommitReport, u64), Error> {
        let (next, applied, left) = Transaction::run(self, batch)?;
        if self.process.flaw == Some(Flaw::TwoTransactions) {
            let rows = next.tables.clone();
            let held = self.database.look(|state| (state.tables.clone(), state.view.clone()));
            *self.database.locked() = State { tables: held.0, view: held.1, ..next.clone() };
            tokio::task::yield_now().await;
            let mut state = self.database.locked();
            (state.tables, state.view) = (rows, next.view);
        } else {
            *self.database.locked() = next;
        }
        Ok((applied, left))
    }

    fn candidate(&self, dataset: usize, line: Line<'_>, stage: Stage, text: &str) -> Candidate {
        let definition = &self.process.manifest.datasets[dataset];
        let mut fields = Fields::default();
        fields.split(line.text, &Dialect::STANDARD).expect("a canonical line has no open quote");
        let loses_empty_text = self.process.flaw == Some(Flaw::EmptyTextMissing);
        let value = |column: usize| match fields.get(column, line.text) {
            b"" if fields.is_literal(column) && !loses_empty_text => EMPTY_TEXT.to_owned(),
            text => String::from_utf8_lossy(text).into_owned(),
        };
        let values: Arc<[String]> = (0..definition.columns.len()).map(value).collect();
        let flaw = self.process.flaw;
        let wanted = |(number, reference): (usize, &Reference)| {
            let key = match key_of(definition, &reference.columns, &values) {
                None if reference.columns.len() > 1 && flaw == Some(Flaw::MissingPartWaits) => Vec::new(),
                key => key?,
            };
            Some(Wanted { reference: number, key: (reference.dataset, key) })
        };
        let references = definition.references.iter().enumerate().filter_map(wanted).collect();
        let key = match &definition.key[..] {
            [] if flaw == Some(Flaw::EqualRowsOnce) => values.join(",").into_bytes(),
            [] => format!("{}\0{}", line.position.source, line.position.line).into_bytes(),
            [first, _, ..] if flaw == Some(Flaw::FirstOfKey) => {
                let id = key_of(definition, &[*first], &values).expect("a valid line has a key");
                [&id[..], b"\x001"].concat()
            }
            key => key_of(definition, key, &values).expect("a valid line has a key"),
        };
        let (position, text) = (line.position, text.into());
        Candidate { dataset, position, key, values, references, stage, text, shape: None }
    }

    /// Whether a record on a topic is in the columns that the dataset has now. A form of 0 says nothing, and
    /// passes.
    fn is_current(&self, dataset: usize, fingerprint: u32) -> bool {
        let Process { validators, flaw, .. } = &*self.process;
        *flaw == Some(Flaw::FormIgnored) || validators[dataset].form(fingerprint).is_some()
    }

    /// Reads a dead letter into the batch. A waiting one becomes a candidate: its reference may exist by now.
    fn read_letter(&self, position: Position, mut letter: Letter, batch: &mut Batch) {
        if letter.status == Status::Waiting {
            let text = letter.text.clone().unwrap_or_default();
            let definition = &self.process.manifest.datasets[letter.dataset];
            let by_name = letter.shape.as_ref().filter(|_| self.process.flaw != Some(Flaw::ByPlace));
            let by_sink = letter.stage == Stage::Sink;
            let (form, mapping) = match by_name {
                Some(shape) => shape.form_of_letter(definition, by_sink),
                None => (if by_sink { Form::Canonical } else { Form::Given }, None),
            };
            let mut given = text.as_bytes().to_vec();
            if let Some(mut mapping) = mapping {
                given.clear();
                if let Err(reason) = mapping.write(text.as_bytes(), None, &mut given) {
                    (letter.status, letter.reasons) = (Status::Rejected, [reason].into());
                    return batch.letters.push((position, letter));
                }
            }
            let validators = &self.process.validators[letter.dataset];
            match validators.of(form).check(&given, &mut Scratch::default()) {
                Ok(row) => {
                    let line = Line { fingerprint: 0, position, text: row.canonical };
                    let candidate = self.candidate(letter.dataset, line, letter.stage, &text);
                    batch.rows.push(Candidate { shape: letter.shape, ..candidate });
                    return;
                }
                Err(reasons) => (letter.status, letter.reasons) = (Status::Rejected, reasons.into()),
            }
        }
        batch.letters.push((position, letter));
    }
}

impl Sink for Memory {
    type Batch = Batch;

    fn read(&self, delivery: &Delivery) -> Batch {
        let mut batch = self.empty_batch();
        for (dataset, records) in &delivery.rows {
            let lines = records.iter().filter_map(|record| Line::parse(record.value));
            for line in lines.filter(|line| self.is_current(*dataset, line.fingerprint)) {
                let text = String::from_utf8_lossy(line.text);
                batch.rows.push(self.candidate(*dataset, line, Stage::Sink, &text));
            }
        }
        for record in delivery.dead_letters.iter().flat_map(|batch| batch.iter()) {
            let Ok(parsed) = DeadLetter::parse(record.value) else { continue };
            let Some((dataset, _)) = self.process.manifest.dataset(&parsed.dataset) else { continue };
            if !self.is_current(dataset, parsed.fingerprint) {
                continue;
            }
            let status = match parsed.event {
                Event::Rejected => Status::Rejected,
                Event::Waiting => Status::Waiting,
            };
            let position = parsed.position();
            let text = parsed.text.map(|text| text.into());
            let (reasons, awaits) = (parsed.reasons.into(), Arc::default());
            let shape = self.process.shape(dataset, parsed.fingerprint);
            let letter = Letter { dataset, status, reasons, stage: parsed.stage, text, awaits, shape };
            self.read_letter(position, letter, &mut batch);
        }
        batch.consumed = delivery.consumed.clone();
        batch
    }

    async fn apply(&self, batch: &Batch) -> Result<CommitReport, Error> {
        let (applied, _) = self.commit(batch).await?;
        let may_heal = applied.may_heal && self.process.flaw != Some(Flaw::HealingLost);
        Ok(CommitReport { may_heal, ..applied })
    }

    async fn heal(&self) -> Result<u64, Error> {
        let mut total = 0;
        loop {
            let mut healed = 0;
            for dataset in 0..self.process.manifest.datasets.len() {
                healed += self.heal_dataset(dataset).await?;
            }
            total += healed;
            if healed == 0 {
                return Ok(total);
            }
        }
    }

    async fn tidy(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn keys(
        &self,
        dataset: usize,
        limit: usize,
        mut learn: impl FnMut(&[u8]) + Send,
    ) -> Result<bool, Error> {
        let state = self.database.locked();
        let keys = || state.tables.keys().filter(|(its, _)| *its == dataset);
        for (_, key) in keys().take(limit) {
            let joined: Vec<u8> = key.iter().map(|byte| if *byte == 0 { b',' } else { *byte }).collect();
            learn(&joined);
        }
        Ok(keys().count() <= limit)
    }
}

/// One transaction, on a copy of the state.
struct Transaction<'a> {
    process: &'a Process,
    batch: &'a Batch,
    next: State,
    applied: CommitReport,
    /// How many lines left the waiting set.
    left: u64,
}

impl<'a> Transaction<'a> {
    fn run(memory: &'a Memory, batch: &'a Batch) -> Result<(State, CommitReport, u64), Error> {
        let next = memory.fenced()?.clone();
        let process = &*memory.process;
        let applied = CommitReport { tallies: batch.tallies.clone(), ..CommitReport::default() };
        let mut transaction = Self { process, batch, next, applied, left: 0 };
        for dataset in 0..process.manifest.datasets.len() {
            transaction.rows(dataset);
        }
        transaction.letters();
        for consumed in &batch.consumed {
            store(&mut transaction.next, SINK_READER, consumed);
        }
        if process.flaw == Some(Flaw::LedgerForgets) {
            transaction.next.ledger.values_mut().for_each(forget);
        }
        let Self { next, mut applied, left, .. } = transaction;
        let may_heal = |(dataset, tally): (usize, &Tally)| {
            let is_seen = process.flaw != Some(Flaw::SharedTableUnseen)
                || process.manifest.datasets[dataset].of_table == dataset;
            tally.waiting > 0 || (tally.accepted > 0 && process.manifest.is_referenced(dataset) && is_seen)
        };
        applied.may_heal = applied.tallies.iter().enumerate().any(may_heal);
        Ok((next, applied, left))
    }

    /// Settles the new lines of a dataset: each is written, stored as waiting, or rejected.
    fn rows(&mut self, dataset: usize) {
        let batch = self.batch;
        let mut seen = BTreeSet::new();
        let mut new: Vec<&Candidate> = Vec::new();
        for row in batch.rows.iter().filter(|row| row.dataset == dataset) {
            if self.is_new(row.position) && seen.insert(row.position) {
                new.push(row);
            } else {
                self.applied.tallies[dataset].duplicates += 1;
                if self.process.flaw == Some(Flaw::CountsDuplicates) {
                    self.count(row, Effects { superseded: 1, ..Effects::default() });
                }
            }
        }
        let written = self.writable(&new);
        // The newest line first: it supersedes the others of its key.
        new.sort_by_key(|row| std::cmp::Reverse(row.position));
        for row in new.iter().filter(|row| written.contains(&row.position)) {
            let effects = self.write(row);
            self.settle(row, Fate::Accepted, Vec::new());
            self.applied.tallies[dataset].accepted += 1;
            self.count(row, effects);
        }
        for row in new.iter().filter(|row| !written.contains(&row.position)) {
            let lacks: Vec<&Wanted> =
                row.references.iter().filter(|wanted| !self.next.tables.contains_key(&wanted.key)).collect();
            if lacks.is_empty() {
                self.settle(row, Fate::Rejected, Vec::new());
                self.applied.tallies[dataset].rejected += 1;
            } else {
                self.settle(row, Fate::Waiting, lacks);
                self.applied.tallies[dataset].waiting += 1;
            }
        }
    }

    /// Whether the ledger lacks the line or, for stored letters, still has it as waiting.
    fn is_new(&self, position: Position) -> bool {
        let chunk = self.next.ledger.get(&(position.source, chunk_of(position.line)));
        let fate = chunk.and_then(|chunk| chunk.fate(position.line));
        fate == self.batch.stored.then_some(Fate::Waiting)
    }

    /// The lines that can be written together: none is refused or left out, and each finds its references in
    /// the tables or among the others.
    fn writable(&self, new: &[&Candidate]) -> BTreeSet<Position> {
        let left_out =
            |row: &&&Candidate| self.is_left_out(row) && self.process.flaw != Some(Flaw::LeftOutAccepted);
        let mut left: Vec<_> = new.iter().filter(|row| !self.is_refused(row) && !left_out(row)).collect();
        loop {
            let table = |row: &Candidate| self.process.manifest.datasets[row.dataset].of_table;
            let own: BTreeSet<_> = left.iter().map(|row| (table(row), row.key.as_slice())).collect();
            let before = left.len();
            let holds = |(dataset, key): &Key| own.contains(&(*dataset, key.as_slice()));
            let is_there = |wanted: &Wanted| self.next.tables.contains_key(&wanted.key) || holds(&wanted.key);
            let kept: Vec<_> =
                left.iter().copied().filter(|row| row.references.iter().all(is_there)).collect();
            if kept.len() == before {
                return kept.iter().map(|row| row.position).collect();
            }
            left = kept;
        }
    }

    fn is_refused(&self, row: &Candidate) -> bool {
        self.next.refused.iter().any(|value| row.has(self.process, value))
    }

    fn is_left_out(&self, row: &Candidate) -> bool {
        self.next.left_out.iter().any(|value| row.has(self.process, value))
    }

    /// Writes the line if its position is the newest of its key. Returns the line's effect.
    fn write(&mut self, row: &Candidate) -> Effects {
        let table = self.process.manifest.datasets[row.dataset].of_table;
        let key = (table, row.key.clone());
        let held = self.next.tables.get(&key);
        let is_newer = held.is_none_or(|held| held.position < Some(row.position));
        if self.is_left_out(row) || !(is_newer || self.process.flaw == Some(Flaw::LastWriteWins)) {
            return Effects { superseded: 1, ..Effects::default() };
        }
        let effects = match held {
            None => Effects { inserted: 1, ..Effects::default() },
            Some(_) => Effects { updated: 1, ..Effects::default() },
        };
        // By name, as Postgres does: a process that was taken over may know other columns than the table has.
        let columns = self.process.manifest.datasets[row.dataset].columns.iter();
        let names: Vec<String> = columns.map(|column| column.name.clone()).collect();
        let values = match self.next.columns.get(table) {
            Some(now) if *now != names => by_name(&names, now, &row.values),
            _ => row.values.clone(),
        };
        let new = Row { position: Some(row.position), values };
        self.next.view.change(self.process.view, table, held, Some(&new));
        self.next.tables.insert(key, new);
        effects
    }

    /// Counts the effects of an accepted line.
    fn count(&mut self, row: &Candidate, effects: Effects) {
        *self.next.effects.entry(row.position.source).or_default() += effects;
        self.applied.tallies[row.dataset].effects += effects;
    }

    /// Records the fate of a line in the ledger and among the dead letters.
    fn settle(&mut self, row: &Candidate, fate: Fate, lacks: Vec<&Wanted>) {
        self.note(row.position, fate);
        let status = match fate {
            Fate::Accepted if !self.batch.stored => return,
            Fate::Accepted => Status::Healed,
            Fate::Waiting => Status::Waiting,
            Fate::Rejected | Fate::Discarded => Status::Rejected,
        };
        let Process { manifest, .. } = self.process;
        let unknown = |wanted: &&Wanted| {
            let dataset = &manifest.datasets[row.dataset];
            let reference = &dataset.references[wanted.reference];
            let values: Vec<&str> = reference.columns.iter().map(|column| &row.values[*column][..]).collect();
            let parent = &manifest.datasets[wanted.key.0].name;
            unknown_reference(&reference.name(dataset), parent, values.join(",").as_bytes())
        };
        let reasons: Arc<[Reason]> = match fate {
            Fate::Rejected if self.is_refused(row) => {
                [Reason::new(Code::ConstraintViolation, None, "refused", b"")].into()
            }
            Fate::Rejected => [Reason::new(Code::LeftOut, None, "left out", b"")].into(),
            _ => lacks.iter().map(unknown).collect(),
        };
        let awaits = lacks.iter().map(|wanted| wanted.key.clone()).collect();
        let (stage, text) = (row.stage, Some(row.text.clone()));
        let canonical =
            || Arc::new(Shape::in_form(manifest, &manifest.datasets[row.dataset], Form::Canonical));
        let shape = Some(row.shape.clone().unwrap_or_else(canonical));
        let letter = Letter { dataset: row.dataset, status, reasons, stage, text, awaits, shape };
        if !self.batch.stored {
            self.applied.count(row.dataset, &letter.reasons);
        }
        self.next.letters.insert(row.position, letter);
    }

    /// Stores the dead letters that are not candidates.
    fn letters(&mut self) {
        let batch = self.batch;
        for (position, letter) in &batch.letters {
            if self.is_new(*position) {
                self.note(*position, Fate::Rejected);
                self.applied.count(letter.dataset, &letter.reasons);
                self.next.letters.insert(*position, letter.clone());
                self.applied.tallies[letter.dataset].rejected += 1;
            } else {
                self.applied.tallies[letter.dataset].duplicates += 1;
            }
        }
    }

    /// Enters a new line into the ledger. A stored line leaves the waiting set, unless it still waits.
    fn note(&mut self, position: Position, fate: Fate) {
        let key = (position.source, chunk_of(position.line));
        let chunk = self.next.ledger.entry(key).or_default();
        if !self.batch.stored {
            chunk.enter(position.line, fate);
        } else if fate != Fate::Waiting {
            chunk.shift(position.line, Fate::Waiting, fate);
            self.left += 1;
        }
    }
}

/// Forgets the first line of a chunk that holds ten or more: [`Flaw::LedgerForgets`].
fn forget(chunk: &mut Chunk) {
    if chunk.total() < 10 {
        return;
    }
    let mut kept = Chunk::default();
    let held = (1..).filter_map(|line| Some((line, chunk.fate(line)?))).take(chunk.total() as usize);
    for (line, fate) in held.skip(1) {
        kept.enter(line, fate);
    }
    *chunk = kept;
}

/// The values of some columns of a dataset, as a key; `None` if one of them is missing.
fn key_of(dataset: &Dataset, columns: &[usize], values: &[impl AsRef<str>]) -> Option<Vec<u8>> {
    let part = |column: &usize| (dataset.columns[*column].kind, values[*column].as_ref().as_bytes());
    normal_parts(columns.iter().map(part))
}

/// Stores the offset of a reader.
fn store(state: &mut State, reader: &str, consumed: &ConsumerOffset) {
    let key = (reader.to_owned(), consumed.topic.clone(), consumed.partition);
    state.offsets.insert(key, consumed.next);
}

impl Offsets for Memory {
    async fn offsets(&self, reader: &str) -> Result<Vec<ConsumerOffset>, Error> {
        let state = self.database.locked();
        let its = state.offsets.iter().filter(|((its, ..), _)| its == reader);
        let consumed = its.map(|((_, topic, partition), next)| ConsumerOffset {
            topic: topic.clone(),
            partition: *partition,
            next: *next,
        });
        Ok(consumed.collect())
    }

    async fn store(&self, reader: &str, consumed: &[ConsumerOffset]) -> Result<(), Error> {
        let mut state = self.fenced()?;
        consumed.iter().for_each(|consumed| store(&mut state, reader, consumed));
        Ok(())
    }
}

impl Registry for Memory {
    async fn register(&self, file: Arrival<'_>) -> Result<Registration, Error> {
        let Arrival { dataset, name, fingerprint, bytes, role, shape, .. } = file;
        let mut state = self.fenced()?;
        let above = if let ArrivalRole::Behind(source) = role { source as usize } else { 0 };
        let is_namesake = |source: &Source| source.dataset == dataset && source.name == name;
        let is_same = |index: &usize| state.sources[*index].fingerprint == fingerprint && *index >= above;
        let known = match role {
            ArrivalRole::Lost(source) => Some(source as usize - 1),
            ArrivalRole::Reload(_) => None,
            ArrivalRole::Delivery | ArrivalRole::Behind(_)
                if self.process.flaw == Some(Flaw::ContentIsDelivery) =>
            {
                (0..state.sources.len()).find(is_same)
            }
            ArrivalRole::Delivery | ArrivalRole::Behind(_) => {
                let is_awaited =
                    |source: &Source| source.awaited && !source.complete && source.fingerprint == fingerprint;
                let newest = || state.sources.iter().rposition(is_namesake).filter(is_same);
                state.sources.iter().position(is_awaited).or_else(newest)
            }
        };
        let index = known.unwrap_or_else(|| {
            let (dataset, name, fingerprint) = (dataset.to_owned(), name.to_owned(), fingerprint.to_vec());
            let (lines, complete, awaited, skipped) = (None, false, false, None);
            let shape = Arc::new(shape.clone());
            let source =
                Source { dataset, name, fingerprint, bytes, lines, complete, awaited, skipped, shape };
            state.sources.push(source);
            state.sources.len() - 1
        });
        let Source { lines, complete, ref shape, .. } = state.sources[index];
        let shape = known.map(|_| self.recall(shape));
        let (source, identity) = (index as u64 + 1, vec![index as u8]);
        Ok(Registration { source, lines, complete, known: known.is_some(), identity, shape, first_key: None })
    }

    async fn shape(&self, fingerprint: &[u8; 32]) -> Result<Option<Arc<Shape>>, Error> {
        let state = self.database.locked();
        let known = state.sources.iter().find(|source| source.fingerprint == fingerprint && !source.complete);
        Ok(known.map(|source| self.recall(&source.shape)))
    }

    async fn finish(&self, source: u64, lines: u64, skipped: Option<&SkippedLines>) -> Result<(), Error> {
        let (mut state, flaw) = (self.fenced()?, self.process.flaw);
        let source = state.sources.get_mut(source as usize - 1);
        if let Some(source) = source.filter(|source| !source.complete) {
            source.lines = Some(lines);
            let mut skipped = skipped.copied();
            if let Some(skipped) = skipped.as_mut().filter(|_| flaw == Some(Flaw::BlanksUncounted)) {
                skipped.blank = 0;
            }
            source.skipped = skipped.or(source.skipped);
        }
        Ok(())
    }

    async fn complete(&self, sources: &[u64]) -> Result<Vec<u64>, Error> {
        let mut state = self.fenced()?;
        let State { sources: known, ledger, .. } = &mut *state;
        let mut complete = Vec::new();
        for number in sources {
            let held: u64 = ledger.range((*number, 0)..=(*number, u64::MAX)).map(|(_, c)| c.total()).sum();
            let Some(source) = known.get_mut(*number as usize - 1) else { continue };
            source.complete |= source.lines == Some(held);
            if source.complete {
                complete.push(*number);
            }
        }
        Ok(complete)
    }

    async fn files_read(&self, sources: &[u64]) -> Result<Vec<(u64, String, u64)>, Error> {
        let state = self.database.locked();
        let read = sources.iter().filter_map(|number| {
            let source = state.sources.get(*number as usize - 1).filter(|source| source.complete)?;
            Some((*number, source.dataset.clone(), source.bytes))
        });
        Ok(read.collect())
    }

    async fn await_file(&self, source: u64) -> Result<(), Error> {
        self.fenced()?.sources[source as usize - 1].awaited = true;
        Ok(())
    }

    async fn refuse_reload(&self, _: u64, why: &str) -> Result<(), Error> {
        Err(Error::halt(format!("nobody asks this database for a reload: {why}")))
    }

    async fn ledger_chunk(&self, source: u64, line: u64) -> Result<Chunk, Error> {
        let held = self.database.look(|state| state.ledger.get(&(source, chunk_of(line))).cloned());
        let mut chunk = held.unwrap_or_default();
        if self.process.flaw == Some(Flaw::ResumeSkips)
            && let Some(missing) = (line..line + 100).find(|line| chunk.fate(*line).is_none())
        {
            chunk.enter(missing, Fate::Accepted);
        }
        Ok(chunk)
    }
}
