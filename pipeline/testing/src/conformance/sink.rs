//! The conformance suite of sinks, with their registries and offsets: the contract of
//! [`tidegate_core::contract`] as tests.
//!
//! Each property is a function that panics where the property does not hold. [`all`] runs them one after the
//! other, each on a fresh [`Bench`].

use std::collections::BTreeSet;
use std::time::SystemTime;

use tidegate_core::contract::{
    CommitReport, ConsumerOffset, Delivery, Error, Offsets, SINK_READER, Sink, Tally,
};
use tidegate_core::dead_letter::{Code, DeadLetter, Event, Reason, Stage};
use tidegate_core::ledger::{Effects, Fate};
use tidegate_core::position::Position;
use tidegate_core::record::{Batch, Line};
use tidegate_core::registry::{Arrival, ArrivalRole, Registry};
use tidegate_core::shape::Shape;
use tidegate_core::split::SkippedLines;
use tidegate_core::syntax::Syntax;

/// The manifest that the suite uses.
pub const MANIFEST: &str = "
pipeline: conformance
datasets:
  parents:
    key: id
    columns: {id: integer, name: text}
  others:
    key: id
    columns: {id: integer, name: text}
  children:
    key: id
    columns:
      id: integer
      name: text
      parent: {type: integer, references: parents}
      other: {type: integer, references: others}
  people:
    key: id
    columns:
      id: integer
      name: text
      boss: {type: integer, references: people, optional: true}
";

/// The datasets in the order of their references: each dataset comes after all that it references.
const DATASETS: [&str; 4] = ["parents", "others", "people", "children"];
const PARENTS: usize = 0;
const CHILDREN: usize = 3;

/// A line: the name of its dataset, source, line, text.
type Given<'a> = (&'a str, u64, u64, &'a str);

/// A database that the suite can inspect, and that other applications write to as well.
#[expect(async_fn_in_trait, reason = "a test awaits it where it stands")]
pub trait Bench: Sized {
    /// One process's handle on the database.
    type Sink: Sink + Offsets + Registry;

    /// A fresh database for the pipeline of [`MANIFEST`].
    async fn new() -> Self;

    /// A new process, which has taken the pipeline over from earlier ones.
    async fn process(&self) -> Self::Sink;

    /// The rows of a dataset in the order of their keys: `KEY,NAME SOURCE:LINE`, with `-1:-1` if another
    /// application wrote the row.
    async fn rows(&self, dataset: &str) -> Vec<String>;

    /// The dead letters in the order of their positions: `SOURCE:LINE STATUS CODE+CODE`.
    async fn letters(&self) -> Vec<String>;

    /// Writes a row, as another application.
    async fn insert(&self, dataset: &str, values: &[&str]);

    /// From now on, refuses rows of a dataset that have this name.
    async fn refuse(&self, dataset: &str, name: &str);

    /// From now on, leaves out rows of a dataset that have this name, without an error, on insert and on
    /// update.
    async fn leave_out(&self, dataset: &str, name: &str);

    /// The stored effects of the accepted lines of a source.
    async fn effects(&self, source: u64) -> Effects;
}

/// Checks every property.
pub async fn all<B: Bench>() {
    lines_are_applied_once::<B>().await;
    the_newest_position_wins_in_any_order_and_grouping::<B>().await;
    a_row_of_another_application_ranks_below_every_line::<B>().await;
    offsets_are_committed_with_their_lines::<B>().await;
    a_line_waits_for_its_references_and_heals_at_its_own_position::<B>().await;
    the_sink_decides_references_whatever_the_transform_thought::<B>().await;
    parents_and_children_may_come_together::<B>().await;
    a_healed_line_does_not_overwrite_a_newer_one::<B>().await;
    references_within_a_dataset_hold_in_any_order_and_grouping::<B>().await;
    a_refused_row_is_a_dead_letter_and_the_rest_is_applied::<B>().await;
    refusals_do_not_depend_on_which_lines_come_together::<B>().await;
    refusals_and_references_do_not_depend_on_which_lines_come_together::<B>().await;
    a_waiting_line_that_is_refused_when_it_heals_is_rejected::<B>().await;
    a_line_that_is_left_out_is_a_dead_letter_and_the_rest_is_applied::<B>().await;
    lines_that_are_left_out_do_not_depend_on_which_come_together::<B>().await;
    what_accepted_lines_did_is_counted_once::<B>().await;
    rows_are_inserted_as_often_as_they_are_there_in_any_order_and_grouping::<B>().await;
    dead_letters_are_kept_once::<B>().await;
    a_commit_that_may_heal_says_so::<B>().await;
    a_process_that_was_taken_over_commits_nothing::<B>().await;
    sources_are_numbered_without_gaps_and_known_again::<B>().await;
    a_file_is_known_if_it_came_last_under_its_name::<B>().await;
    a_source_is_complete_when_the_ledger_holds_all_its_lines::<B>().await;
    the_ledger_tells_the_fate_of_a_line::<B>().await;
    keys_are_told_up_to_a_limit::<B>().await;
}

/// A bench with one process, and sources 1 to 20.
struct Stand<B: Bench> {
    bench: B,
    sink: B::Sink,
}

impl<B: Bench> Stand<B> {
    async fn new() -> Self {
        let bench = B::new().await;
        let sink = bench.process().await;
        for source in 1..=20 {
            register(&sink, &source.to_string()).await;
        }
        Self { bench, sink }
    }

    async fn apply(&self, lines: &[Given<'_>]) -> CommitReport {
        self.deliver(&delivery(lines)).await.expect("a delivery is applied")
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<CommitReport, Error> {
        self.sink.apply(&self.sink.read(delivery)).await
    }

    async fn heal(&self) -> u64 {
        self.sink.heal().await.expect("healing works")
    }

    async fn fate(&self, source: u64, line: u64) -> Option<Fate> {
        self.sink.ledger_chunk(source, line).await.expect("the ledger can be read").fate(line)
    }
}

/// A file, identified by its content.
fn arrival<'a>(dataset: &'a str, name: &'a str, content: &[u8]) -> Arrival<'a> {
    let hash = Box::leak(Box::new(*blake3::hash(content).as_bytes()));
    let columns = ["id", "name", "parent", "other", "boss"].map(str::to_owned).to_vec();
    let (null, rules) = (Vec::new(), String::new());
    let shape = Shape { columns, syntax: Syntax::default(), null, canonical: false, rules };
    let shape = Box::leak(Box::new(shape));
    Arrival {
        dataset,
        name,
        fingerprint: hash,
        content: hash,
        bytes: 1,
        role: ArrivalRole::Delivery,
        shape,
        keys: None,
    }
}

async fn register(sink: &impl Registry, name: &str) -> u64 {
    let registered = sink.register(arrival("parents", name, name.as_bytes())).await;
    registered.expect("a source can be registered").source
}

fn dataset_of(name: &str) -> usize {
    DATASETS.iter().position(|its| *its == name).expect("a dataset")
}

/// Accepted records.
fn delivery(lines: &[Given<'_>]) -> Delivery {
    let mut delivery = Delivery::default();
    for (dataset, source, line, text) in lines {
        let mut batch = Batch::default();
        let line = Line { fingerprint: 0, position: Position::new(*source, *line), text: text.as_bytes() };
        batch.push_with(b"", |out| line.write(out));
        delivery.rows.push((dataset_of(dataset), batch));
    }
    delivery
}

/// A dead letter of the transform.
fn letter((dataset, source, line, text): Given<'_>, event: Event, code: Code) -> Delivery {
    let reasons = vec![Reason::new(code, None, "a reason", b"")];
    let position = Position::new(source, line);
    let letter = DeadLetter::new(
        event,
        Stage::Transform,
        position,
        dataset,
        text.as_bytes(),
        reasons,
        SystemTime::now(),
    );
    let mut batch = Batch::default();
    batch.push_with(b"", |out| letter.write(out));
    Delivery { dead_letters: vec![batch], ..Delivery::default() }
}

/// The tally of a dataset with its effects cleared, after a check that each accepted line had exactly one
/// effect.
fn fates(applied: &CommitReport, dataset: usize) -> Tally {
    let tally = applied.tallies[dataset];
    assert_eq!(tally.effects.accepted(), tally.accepted, "{tally:?}");
    Tally { effects: Effects::default(), ..tally }
}

/// The effects of accepted lines: inserted, updated, superseded.
fn effects([inserted, updated, superseded]: [u64; 3]) -> Effects {
    Effects { inserted, updated, superseded, uncounted: 0 }
}

fn consumed(next: u64) -> Vec<ConsumerOffset> {
    vec![ConsumerOffset { topic: "conformance-accepted-parents".to_owned(), partition: 0, next }]
}

/// A line is accepted once, however often it is delivered, in one batch or in several.
pub async fn lines_are_applied_once<B: Bench>() {
    let stand = Stand::<B>::new().await;
    let lines = [("parents", 1, 1, "1,a"), ("parents", 1, 2, "2,b"), ("parents", 1, 2, "2,b")];
    let applied = stand.apply(&lines).await;
    assert_eq!(fates(&applied, PARENTS), Tally { accepted: 2, duplicates: 1, ..Tally::default() });
    let again = stand.apply(&lines).await;
    assert_eq!(fates(&again, PARENTS), Tally { duplicates: 3, ..Tally::default() });
    let overlapping = stand.apply(&[("parents", 1, 2, "2,b"), ("parents", 1, 3, "3,c")]).await;
    assert_eq!(fates(&overlapping, PARENTS), Tally { accepted: 1, duplicates: 1, ..Tally::default() });
    assert_eq!(stand.bench.rows("parents").await, ["1,a 1:1", "2,b 1:2", "3,c 1:3"]);
}

/// Of the lines of a key, the newest holds the row.
pub async fn the_newest_position_wins_in_any_order_and_grouping<B: Bench>() {
    let lines = [
        ("parents", 1, 1, "1,a"),
        ("parents", 1, 2, "1,b"),
        ("parents", 2, 1, "1,c"),
        ("parents", 2, 2, "2,d"),
        ("parents", 1, 3, "2,e"),
    ];
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [3, 4, 0, 2, 1]] {
        for size in [1, 2, 5] {
            let stand = Stand::<B>::new().await;
            for group in order.chunks(size) {
                let lines: Vec<_> = group.iter().map(|i| lines[*i]).collect();
                stand.apply(&lines).await;
            }
            assert_eq!(stand.bench.rows("parents").await, ["1,c 2:1", "2,d 2:2"], "{order:?} by {size}");
        }
    }
}

/// A row that another application wrote gives way to any line.
pub async fn a_row_of_another_application_ranks_below_every_line<B: Bench>() {
    let stand = Stand::<B>::new().await;
    stand.bench.insert("parents", &["1", "theirs"]).await;
    assert_eq!(stand.bench.rows("parents").await, ["1,theirs -1:-1"]);
    stand.apply(&[("parents", 1, 1, "1,ours")]).await;
    assert_eq!(stand.bench.rows("parents").await, ["1,ours 1:1"]);
}

/// The offsets of a delivery are stored in its transaction, those of other readers by themselves. An offset may
/// go back, as it does if a topic has lost its end.
pub async fn offsets_are_committed_with_their_lines<B: Bench>() {
    let stand = Stand::<B>::new().await;
    let offsets = async |reader| stand.sink.offsets(reader).await.expect("offsets can be read");
    assert_eq!(offsets(SINK_READER).await, []);
    for given in [5, 3, 7] {
        let delivery = Delivery { consumed: consumed(given), ..delivery(&[("parents", 1, given, "1,a")]) };
        stand.deliver(&delivery).await.expect("a delivery is applied");
        assert_eq!(offsets(SINK_READER).await, consumed(given));
    }
    assert_eq!(offsets("another").await, []);
    for given in [4, 2] {
        stand.sink.store("another", &consumed(given)).await.expect("offsets can be stored");
        assert_eq!(offsets("another").await, consumed(given));
    }
    assert_eq!(offsets(SINK_READER).await, consumed(7));
}

/// A line waits until all its references exist, whether the pipeline or another application writes them. Its
/// dead letter names the references that it lacks.
pub async fn a_line_waits_for_its_references_and_heals_at_its_own_position<B: Bench>() {
    let stand = Stand::<B>::new().await;
    let child = ("children", 9, 1, "7,Ada,1,2");
    let applied = stand.apply(&[child]).await;
    assert_eq!(fates(&applied, CHILDREN), Tally { waiting: 1, ..Tally::default() });
    assert_eq!(stand.bench.letters().await, ["9:1 waiting unknown_reference+unknown_reference"]);
    assert_eq!(stand.heal().await, 0);
    stand.apply(&[("parents", 10, 1, "1,p")]).await;
    assert_eq!(stand.heal().await, 0, "the other is still missing");
    assert_eq!(stand.bench.letters().await, ["9:1 waiting unknown_reference"]);
    assert_eq!(stand.fate(9, 1).await, Some(Fate::Waiting));
    assert_eq!(stand.bench.rows("children").await, [""; 0]);
    stand.bench.insert("others", &["2", "theirs"]).await;
    assert_eq!(stand.heal().await, 1);
    assert_eq!(stand.bench.rows("children").await, ["7,Ada 9:1"]);
    assert_eq!(stand.fate(9, 1).await, Some(Fate::Accepted));
    assert!(stand.bench.letters().await[0].starts_with("9:1 healed"));
    assert_eq!(stand.heal().await, 0, "it heals once");
    assert_eq!(fates(&stand.apply(&[child]).await, CHILDREN), Tally { duplicates: 1, ..Tally::default() });
}

/// The sink decides, whether the transform routed the line as waiting or as accepted.
pub async fn the_sink_decides_references_whatever_the_transform_thought<B: Bench>() {
    let stand = Stand::<B>::new().await;
    stand.apply(&[("parents", 1, 1, "1,p"), ("others", 2, 1, "2,o")]).await;
    let waiting = letter(("children", 9, 1, "7,Ada,1,2"), Event::Waiting, Code::UnknownReference);
    let applied = stand.deliver(&waiting).await.expect("a delivery is applied");
    assert_eq!(fates(&applied, CHILDREN), Tally { accepted: 1, ..Tally::default() });
    let applied = stand.apply(&[("children", 9, 2, "8,Bob,1,3")]).await;
    assert_eq!(fates(&applied, CHILDREN), Tally { waiting: 1, ..Tally::default() });
    assert_eq!(stand.bench.rows("children").await, ["7,Ada 9:1"]);
    assert_eq!(stand.bench.letters().await, ["9:2 waiting unknown_reference"]);
}

/// In one delivery no child waits for a parent, whichever comes first.
pub async fn parents_and_children_may_come_together<B: Bench>() {
    let stand = Stand::<B>::new().await;
    let lines = [("children", 3, 1, "7,Ada,01,2"), ("parents", 1, 1, "1,p"), ("others", 2, 1, "2,o")];
    let applied = stand.apply(&lines).await;
    assert_eq!(applied.tallies.iter().map(|tally| tally.accepted).sum::<u64>(), 3);
    assert_eq!(stand.bench.letters().await, [""; 0]);
}

/// The healed line is accepted, and the newer line keeps the row.
pub async fn a_healed_line_does_not_overwrite_a_newer_one<B: Bench>() {
    let stand = Stand::<B>::new().await;
    stand.apply(&[("others", 2, 1, "2,o"), ("parents", 1, 2, "3,q")]).await;
    stand.apply(&[("children", 9, 1, "7,older,1,2")]).await;
    stand.apply(&[("children", 10, 1, "7,newer,3,2")]).await;
    stand.apply(&[("parents", 1, 1, "1,p")]).await;
    assert_eq!(stand.heal().await, 1);
    assert_eq!(stand.bench.rows("children").await, ["7,newer 10:1"]);
    assert_eq!(stand.fate(9, 1).await, Some(Fate::Accepted));
}

/// Lines that reference each other are accepted together. Lines whose references never come wait.
pub async fn references_within_a_dataset_hold_in_any_order_and_grouping<B: Bench>() {
    let lines = [
        ("people", 1, 1, "3,c,2"),
        ("people", 1, 2, "2,b,01"),
        ("people", 1, 3, "1,a,"),
        ("people", 1, 4, "5,e,4"),
        ("people", 1, 5, "6,f,5"),
        ("people", 1, 6, "7,g,7"),
        ("people", 1, 7, "8,h,9"),
        ("people", 1, 8, "9,i,8"),
    ];
    for size in [8, 1, 2, 3] {
        let stand = Stand::<B>::new().await;
        for group in lines.chunks(size) {
            stand.apply(group).await;
        }
        stand.heal().await;
        let accepted = ["1,a 1:3", "2,b 1:2", "3,c 1:1", "7,g 1:6", "8,h 1:7", "9,i 1:8"];
        assert_eq!(stand.bench.rows("people").await, accepted, "in groups of {size}");
        for line in 1..=8 {
            let waits = line == 4 || line == 5;
            let expected = if waits { Fate::Waiting } else { Fate::Accepted };
            assert_eq!(stand.fate(1, line).await, Some(expected), "line {line} in groups of {size}");
        }
    }
}

/// A row that the database refuses is a dead letter, and the rest of the delivery is applied.
pub async fn a_refused_row_is_a_dead_letter_and_the_rest_is_applied<B: Bench>() {
    let stand = Stand::<B>::new().await;
    stand.bench.refuse("parents", "bad").await;
    let texts: Vec<String> =
        (1..=100).map(|id| format!("{id},{}", if id % 33 == 0 { "bad" } else { "good" })).collect();
    let lines: Vec<_> =
        texts.iter().zip(1..).map(|(text, line)| ("parents", 1, line, text.as_str())).collect();
    let applied = stand.apply(&lines).await;
    assert_eq!(fates(&applied, PARENTS), Tally { accepted: 97, rejected: 3, ..Tally::default() });
    let expected = [33, 66, 99].map(|line| format!("1:{line} rejected constraint_violation"));
    assert_eq!(stand.bench.letters().await, expected);
    assert_eq!(stand.bench.rows("parents").await.len(), 97);
}

/// Of the lines of a key, the newest that is not refused holds the row. Whether a line is refused does not
/// depend on the other lines of its batch.
pub async fn refusals_do_not_depend_on_which_lines_come_together<B: Bench>() {
    let lines = [
        ("parents", 1, 1, "1,older"),
        ("parents", 1, 2, "1,good"),
        ("parents", 1, 3, "1,bad"),
        ("parents", 1, 4, "2,bad"),
        ("parents", 1, 5, "2,good"),
    ];
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]] {
        for size in [5, 1, 2] {
            let stand = Stand::<B>::new().await;
            stand.bench.refuse("parents", "bad").await;
            for group in order.chunks(size) {
                let lines: Vec<_> = group.iter().map(|i| lines[*i]).collect();
                stand.apply(&lines).await;
            }
            let case = format!("{order:?} in groups of {size}");
            assert_eq!(stand.bench.rows("parents").await, ["1,good 1:2", "2,good 1:5"], "{case}");
            let expected = ["1:3 rejected constraint_violation", "1:4 rejected constraint_violation"];
            assert_eq!(stand.bench.letters().await, expected, "{case}");
        }
    }
}

/// A line that references a refused line waits. While a line waits, it is not refused.
pub async fn refusals_and_references_do_not_depend_on_which_lines_come_together<B: Bench>() {
    let lines = [
        ("people", 1, 1, "2,b,1"),   // references a refused line
        ("people", 1, 2, "1,bad,"),  // refused
        ("people", 1, 3, "3,bad,2"), // would be refused if its reference existed
        ("people", 1, 4, "4,d,"),
        ("people", 1, 5, "5,e,6"), // these two reference each other
        ("people", 1, 6, "6,f,5"),
        ("people", 1, 7, "8,bad,4"), // refused
    ];
    let orders = [[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [1, 0, 2, 3, 5, 4, 6]];
    for (order, size) in orders.iter().flat_map(|order| [7, 1, 2, 3].map(|size| (order, size))) {
        let stand = Stand::<B>::new().await;
        stand.bench.refuse("people", "bad").await;
        for group in order.chunks(size) {
            let lines: Vec<_> = group.iter().map(|i| lines[*i]).collect();
            stand.apply(&lines).await;
        }
        stand.heal().await;
        let case = format!("{order:?} in groups of {size}");
        assert_eq!(stand.bench.rows("people").await, ["4,d 1:4", "5,e 1:5", "6,f 1:6"], "{case}");
        let letters = stand.bench.letters().await;
        let dead: Vec<_> = letters.iter().filter(|letter| !letter.contains("healed")).collect();
        let expected = [
            "1:1 waiting unknown_reference",
            "1:2 rejected constraint_violation",
            "1:3 waiting unknown_reference",
            "1:7 rejected constraint_violation",
        ];
        assert_eq!(dead, expected, "{case}");
    }
}

/// The rejected line leaves the waiting set.
pub async fn a_waiting_line_that_is_refused_when_it_heals_is_rejected<B: Bench>() {
    let stand = Stand::<B>::new().await;
    stand.apply(&[("children", 9, 1, "7,bad,1,2")]).await;
    stand.bench.refuse("children", "bad").await;
    stand.apply(&[("parents", 1, 1, "1,p"), ("others", 2, 1, "2,o")]).await;
    assert_eq!(stand.heal().await, 1);
    assert_eq!(stand.bench.letters().await, ["9:1 rejected constraint_violation"]);
    assert_eq!(stand.fate(9, 1).await, Some(Fate::Rejected));
}

/// If an update is left out, the row keeps its values.
pub async fn a_line_that_is_left_out_is_a_dead_letter_and_the_rest_is_applied<B: Bench>() {
    let stand = Stand::<B>::new().await;
    stand.apply(&[("parents", 1, 1, "3,before")]).await;
    stand.bench.leave_out("parents", "out").await;
    let texts: Vec<String> =
        (1..=1500).map(|id| format!("{id},{}", if id % 500 == 3 { "out" } else { "good" })).collect();
    let lines: Vec<_> =
        texts.iter().zip(1..).map(|(text, line)| ("parents", 2, line, text.as_str())).collect();
    let applied = stand.apply(&lines).await;
    assert_eq!(fates(&applied, PARENTS), Tally { accepted: 1497, rejected: 3, ..Tally::default() });
    assert_eq!(applied.tallies[PARENTS].effects, effects([1497, 0, 0]));
    assert_eq!(applied.reasons, [((PARENTS, Code::LeftOut), 3)].into());
    let expected = [3, 503, 1003].map(|line| format!("2:{line} rejected left_out"));
    assert_eq!(stand.bench.letters().await, expected);
    let rows = stand.bench.rows("parents").await;
    assert_eq!((rows.len(), rows[2].as_str()), (1498, "3,before 1:1"));
    assert_eq!(stand.fate(2, 503).await, Some(Fate::Rejected));
    let again = stand.apply(&lines[..600]).await;
    assert_eq!(fates(&again, PARENTS), Tally { duplicates: 600, ..Tally::default() });
}

/// A line that references a left-out line waits, whether it comes with that line or later.
pub async fn lines_that_are_left_out_do_not_depend_on_which_come_together<B: Bench>() {
    let lines = [
        ("people", 1, 1, "2,b,1"), // references a line that is left out
        ("people", 1, 2, "1,out,"),
        ("people", 1, 3, "3,c,"),
        ("people", 1, 4, "4,d,3"),
        ("people", 1, 5, "5,bad,"),
    ];
    for (order, size) in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]].iter().flat_map(|o| [5, 1, 2].map(|s| (o, s))) {
        let stand = Stand::<B>::new().await;
        stand.bench.leave_out("people", "out").await;
        stand.bench.refuse("people", "bad").await;
        for group in order.chunks(size) {
            let lines: Vec<_> = group.iter().map(|i| lines[*i]).collect();
            stand.apply(&lines).await;
        }
        stand.heal().await;
        let case = format!("{order:?} in groups of {size}");
        assert_eq!(stand.bench.rows("people").await, ["3,c 1:3", "4,d 1:4"], "{case}");
        let letters = stand.bench.letters().await;
        let dead: Vec<_> = letters.iter().filter(|letter| !letter.contains("healed")).collect();
        let expected =
            ["1:1 waiting unknown_reference", "1:2 rejected left_out", "1:5 rejected constraint_violation"];
        assert_eq!(dead, expected, "{case}");
    }
}

/// Effects are counted in the transaction that accepts the lines, on arrival or by healing, however the lines
/// are written.
pub async fn what_accepted_lines_did_is_counted_once<B: Bench>() {
    let stand = Stand::<B>::new().await;
    stand.bench.insert("parents", &["9", "theirs"]).await;
    let first = [("parents", 1, 1, "1,a"), ("parents", 1, 2, "2,b"), ("parents", 1, 3, "2,c")];
    for expected in [[2, 0, 1], [0; 3]] {
        let applied = stand.apply(&first).await;
        assert_eq!(applied.tallies[PARENTS].effects, effects(expected));
    }
    let second = [
        ("parents", 3, 1, "1,d"),
        ("parents", 3, 2, "9,e"),
        ("parents", 3, 3, "4,f"),
        ("parents", 3, 4, "4,g"),
        ("parents", 3, 5, "4,h"),
    ];
    assert_eq!(stand.apply(&second).await.tallies[PARENTS].effects, effects([1, 2, 2]));
    let older = [("parents", 2, 1, "1,x"), ("parents", 2, 2, "5,y")];
    assert_eq!(stand.apply(&older).await.tallies[PARENTS].effects, effects([1, 0, 1]));
    // Lines that heal are counted when they heal, at their own source.
    stand.apply(&[("children", 4, 1, "7,Ada,1,2"), ("children", 4, 2, "7,Bob,1,2")]).await;
    assert_eq!(stand.bench.effects(4).await, Effects::default());
    stand.apply(&[("others", 5, 1, "2,o")]).await;
    assert_eq!(stand.heal().await, 2);
    let stored = [(1, [2, 0, 1]), (2, [1, 0, 1]), (3, [1, 2, 2]), (4, [1, 0, 1]), (5, [1, 0, 0])];
    for (source, expected) in stored {
        assert_eq!(stand.bench.effects(source).await, effects(expected), "source {source}");
    }
}

/// The number of inserts is the number of new rows. How many lines update or are superseded depends on their
/// order.
pub async fn rows_are_inserted_as_often_as_they_are_there_in_any_order_and_grouping<B: Bench>() {
    let lines = [
        ("parents", 1, 1, "1,a"),
        ("parents", 1, 2, "1,b"),
        ("parents", 2, 1, "1,c"),
        ("parents", 2, 70_000, "2,d"),
        ("parents", 1, 3, "2,bad"),
        ("parents", 2, 70_001, "3,out"),
        ("parents", 1, 4, "4,theirs"),
    ];
    for order in [[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [2, 0, 4, 6, 1, 3, 5]] {
        for size in [1, 2, 7] {
            let stand = Stand::<B>::new().await;
            stand.bench.refuse("parents", "bad").await;
            stand.bench.leave_out("parents", "out").await;
            stand.bench.insert("parents", &["4", "before"]).await;
            for group in order.chunks(size) {
                let lines: Vec<_> = group.iter().map(|i| lines[*i]).collect();
                stand.apply(&lines).await;
            }
            let mut sum = Effects::default();
            for (source, accepted) in [(1, 3), (2, 2)] {
                let effects = stand.bench.effects(source).await;
                assert_eq!(effects.accepted(), accepted, "{order:?} by {size}: {effects:?}");
                sum += effects;
            }
            assert_eq!(sum.inserted, 2, "{order:?} by {size}: {sum:?}");
        }
    }
}

/// A line has one fate: the first that is committed.
pub async fn dead_letters_are_kept_once<B: Bench>() {
    let stand = Stand::<B>::new().await;
    let rejected = letter(("parents", 1, 1, "x,a"), Event::Rejected, Code::InvalidInteger);
    for expected in [Tally { rejected: 1, ..Tally::default() }, Tally { duplicates: 1, ..Tally::default() }] {
        let applied = stand.deliver(&rejected).await.expect("a delivery is applied");
        assert_eq!(fates(&applied, PARENTS), expected);
    }
    let accepted = stand.apply(&[("parents", 1, 1, "1,a"), ("parents", 1, 2, "2,b")]).await;
    assert_eq!(fates(&accepted, PARENTS), Tally { accepted: 1, duplicates: 1, ..Tally::default() });
    let late = letter(("parents", 1, 2, "2,b"), Event::Rejected, Code::NotAllowed);
    let applied = stand.deliver(&late).await.expect("a delivery is applied");
    assert_eq!(fates(&applied, PARENTS), Tally { duplicates: 1, ..Tally::default() });
    assert_eq!(stand.bench.letters().await, ["1:1 rejected invalid_integer"]);
    assert_eq!(stand.bench.rows("parents").await, ["2,b 1:2"]);
}

/// A commit says so if it accepted lines that others may wait for, or set lines aside as waiting.
pub async fn a_commit_that_may_heal_says_so<B: Bench>() {
    let stand = Stand::<B>::new().await;
    assert!(stand.apply(&[("children", 9, 1, "7,Ada,1,2")]).await.may_heal, "a line waits");
    assert!(stand.apply(&[("parents", 1, 1, "1,p")]).await.may_heal, "a parent has come");
    assert!(stand.apply(&[("others", 2, 1, "2,o")]).await.may_heal, "another has come");
    assert!(!stand.apply(&[("children", 9, 2, "8,Bob,1,2")]).await.may_heal, "nobody references children");
}

/// Nothing of its delivery, healing, offsets or sources is committed.
pub async fn a_process_that_was_taken_over_commits_nothing<B: Bench>() {
    let stand = Stand::<B>::new().await;
    stand.apply(&[("people", 1, 1, "1,a,2"), ("children", 1, 2, "7,c,1,2")]).await;
    stand.bench.insert("people", &["2", "theirs", ""]).await;
    let (rows, letters) = (stand.bench.rows("people").await, stand.bench.letters().await);
    let new = stand.bench.process().await;
    let mut late = Delivery { consumed: consumed(5), ..delivery(&[("parents", 1, 3, "1,p")]) };
    late.dead_letters = letter(("parents", 1, 4, "x"), Event::Rejected, Code::WrongColumnCount).dead_letters;
    let sink = &stand.sink;
    let refused = [
        stand.deliver(&late).await.map(drop),
        sink.heal().await.map(drop),
        sink.store("another", &consumed(5)).await,
        sink.register(arrival("parents", "late", b"late")).await.map(drop),
        sink.finish(1, 2, None).await,
        sink.complete(&[1]).await.map(drop),
    ];
    for (call, result) in refused.into_iter().enumerate() {
        let error = result.expect_err(&format!("call {call} by a process that was taken over"));
        assert!(!error.retry && error.message.contains("taken"), "{error}");
    }
    assert_eq!((stand.bench.rows("people").await, stand.bench.letters().await), (rows, letters));
    assert_eq!(stand.bench.rows("parents").await, [""; 0]);
    assert_eq!((stand.fate(1, 3).await, stand.fate(1, 4).await), (None, None));
    for reader in [SINK_READER, "another"] {
        assert_eq!(new.offsets(reader).await.expect("offsets can be read"), []);
    }
    assert_eq!(register(&new, "new").await, 21, "the late registration used up no number");
    assert_eq!(new.heal().await.expect("the new process heals"), 1);
    new.apply(&new.read(&late)).await.expect("the new process commits");
    assert_eq!(stand.bench.rows("parents").await, ["1,p 1:3"]);
}

/// A source's number is its place in the order of registration. A file that is registered again keeps its
/// number.
pub async fn sources_are_numbered_without_gaps_and_known_again<B: Bench>() {
    let bench = B::new().await;
    let sink = bench.process().await;
    for (name, number) in [("a", 1), ("b", 2), ("a", 1), ("c", 3), ("b", 2)] {
        assert_eq!(register(&sink, name).await, number, "{name}");
    }
    let known = async || sink.register(arrival("parents", "b", b"b")).await.expect("a source is known");
    assert!(known().await.known && !known().await.complete && known().await.lines.is_none());
    let skipped = SkippedLines { header: 1, ..SkippedLines::default() };
    sink.finish(2, 7, Some(&skipped)).await.expect("a source has an end");
    assert_eq!(known().await.lines, Some(7));
    let new =
        sink.register(arrival("parents", "b", b"another content")).await.expect("a source can be registered");
    assert!(new.source == 4 && !new.known);
}

/// A file is compared with the newest source of its dataset and name, and with none before it.
pub async fn a_file_is_known_if_it_came_last_under_its_name<B: Bench>() {
    let bench = B::new().await;
    let sink = bench.process().await;
    let came = async |dataset: &str, name: &str, content: &str, role: ArrivalRole| {
        let file = Arrival { role, ..arrival(dataset, name, content.as_bytes()) };
        let registered = sink.register(file).await.expect("a source can be registered");
        (registered.source, registered.known)
    };
    for (content, expected) in
        [("10", (1, false)), ("12", (2, false)), ("12", (2, true)), ("10", (3, false)), ("10", (3, true))]
    {
        assert_eq!(came("parents", "prices", content, ArrivalRole::Delivery).await, expected, "{content}");
    }
    // A file of another name or another dataset is another source.
    assert_eq!(came("parents", "prices-2", "12", ArrivalRole::Delivery).await, (4, false));
    assert_eq!(came("others", "prices", "12", ArrivalRole::Delivery).await, (5, false));
    assert_eq!(came("parents", "prices", "10", ArrivalRole::Delivery).await, (3, true));
    // A source that was closed early is not the file's, but a later one of the same content is.
    assert_eq!(came("parents", "prices", "10", ArrivalRole::Behind(3)).await, (6, false));
    assert_eq!(came("parents", "prices", "10", ArrivalRole::Behind(3)).await, (6, true));
    assert_eq!(came("parents", "prices", "12", ArrivalRole::Lost(2)).await, (2, true));
    // A source whose file is awaited is resumed, even if a newer source has its name.
    sink.await_file(1).await.expect("it can be noted");
    assert_eq!(came("parents", "prices", "10", ArrivalRole::Delivery).await, (1, true));
    sink.finish(1, 0, None).await.expect("a source has an end");
    assert_eq!(sink.complete(&[1]).await.expect("the registry answers"), [1]);
    assert_eq!(came("parents", "prices", "10", ArrivalRole::Delivery).await, (6, true));
}

/// A source is not complete before. It is named on every call, since an answer may be lost.
pub async fn a_source_is_complete_when_the_ledger_holds_all_its_lines<B: Bench>() {
    let stand = Stand::<B>::new().await;
    let complete = async |sources: &[u64]| -> BTreeSet<u64> {
        stand.sink.complete(sources).await.expect("the registry answers").into_iter().collect()
    };
    let none = BTreeSet::new();
    stand.apply(&[("parents", 1, 1, "1,a"), ("parents", 1, 3, "3,c")]).await;
    assert_eq!(complete(&[1, 2]).await, none, "its end is not known");
    stand.sink.finish(1, 4, None).await.expect("a source has an end");
    stand.sink.finish(2, 0, None).await.expect("a source has an end");
    assert_eq!(complete(&[1]).await, none, "lines are missing");
    stand.apply(&[("children", 1, 2, "7,c,1,1")]).await;
    let rejected = letter(("parents", 1, 4, "x"), Event::Rejected, Code::WrongColumnCount);
    stand.deliver(&rejected).await.expect("a delivery is applied");
    for _ in 0..2 {
        assert_eq!(complete(&[1, 2, 3]).await, [1, 2].into());
    }
    stand.sink.finish(1, 9, None).await.expect("it is too late to change that");
    let known = stand.sink.register(arrival("parents", "1", b"1")).await.expect("a source is known");
    assert!(known.complete && known.lines == Some(4), "{known:?}");
}

/// The ledger has the fate of every line, whichever it is, and none for a line in flight.
pub async fn the_ledger_tells_the_fate_of_a_line<B: Bench>() {
    let stand = Stand::<B>::new().await;
    stand
        .apply(&[("parents", 1, 1, "1,a"), ("children", 1, 2, "7,c,1,1"), ("parents", 1, 70_000, "2,b")])
        .await;
    let rejected = letter(("parents", 1, 3, "x"), Event::Rejected, Code::WrongColumnCount);
    stand.deliver(&rejected).await.expect("a delivery is applied");
    let fates = [(1, Fate::Accepted), (2, Fate::Waiting), (3, Fate::Rejected), (70_000, Fate::Accepted)];
    for (line, fate) in fates {
        assert_eq!(stand.fate(1, line).await, Some(fate), "line {line}");
    }
    for (source, line) in [(1, 4), (1, 69_999), (2, 1)] {
        assert_eq!(stand.fate(source, line).await, None, "line {line} of {source}");
    }
}

/// `keys` gives every key, or says that there are more than the limit.
pub async fn keys_are_told_up_to_a_limit<B: Bench>() {
    let stand = Stand::<B>::new().await;
    stand.apply(&[("parents", 1, 1, "1,a"), ("parents", 1, 2, "2,b"), ("others", 2, 1, "9,o")]).await;
    stand.bench.insert("parents", &["3", "theirs"]).await;
    for (limit, all) in [(3, true), (2, false)] {
        let mut keys = BTreeSet::new();
        let learn = |key: &[u8]| keys.extend([key.to_vec()]);
        let told = stand.sink.keys(PARENTS, limit, learn).await;
        assert_eq!(told.expect("keys can be read"), all, "up to {limit}");
        if all {
            assert_eq!(keys, ["1", "2", "3"].map(|key| key.as_bytes().to_vec()).into());
        }
    }
}
