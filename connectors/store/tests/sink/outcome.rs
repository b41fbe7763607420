//! Whatever is delivered, in whatever order and however often: the outcome is that of sorting all lines by
//! position and taking the last of each key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tidegate_core::contract::{Sink, Tally};
use tidegate_core::ledger::CHUNK_LINES;
use tidegate_store::{Store, prepare};
use tidegate_testing::company;
use tidegate_testing::store::take_leases;

use super::fixture::{Fixture, delivery, fates, views};
use super::views::assert_exact;

/// How many cases one run tries; each is some hundred lines in some ten deliveries.
const CASES: u32 = 200;

/// Where the lines of each source begin: some go from one chunk of the ledger into the next.
const FIRST_LINES: [u64; 3] = [1, CHUNK_LINES - 60, 1];

#[derive(Clone, Copy, Debug)]
enum Row {
    Department(u32),
    /// Of a department, which may exist or not.
    Employee(u32, u32),
}

#[derive(Clone)]
struct Line {
    /// From 1. Its lines are numbered in the order in which they stand in the case.
    source: u64,
    row: Row,
    /// Whether a check of the table refuses it.
    bad: bool,
    /// Its place among all deliveries, for each time that it arrives.
    arrivals: Vec<u16>,
}

#[derive(Clone, Debug)]
struct Case {
    lines: Vec<Line>,
    /// How many lines are delivered at once, again and again.
    sizes: Vec<usize>,
    /// Whether waiting lines are healed after a delivery, again and again.
    heals: Vec<bool>,
    /// Rows that another application writes before that delivery, where there is none of that key.
    others: (u8, BTreeSet<u32>),
    /// Whether the tables have a trigger of another application, so that the direct copy is closed.
    trigger: bool,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bad = if self.bad { "bad " } else { "" };
        match self.row {
            Row::Department(id) => write!(f, "source {}: {bad}department {id}", self.source)?,
            Row::Employee(id, of) => write!(f, "source {}: {bad}employee {id} of {of}", self.source)?,
        }
        write!(f, ", arrives {:?}", self.arrivals)
    }
}

fn case() -> impl Strategy<Value = Case> {
    // With many keys few lines meet, and if none is bad either the direct copy is not left.
    let kind = (prop::sample::select(vec![20_u32, 1000, 1_000_000]), any::<bool>());
    kind.prop_flat_map(move |(keys, some_bad)| {
        let row = prop_oneof![
            1 => (1..9_u32).prop_map(Row::Department),
            9 => (1..keys, 1..9_u32).prop_map(|(id, of)| Row::Employee(id, of)),
        ];
        let arrivals = prop::collection::vec(any::<u16>(), 1..3);
        let line = (1..=3_u64, row, prop::bool::weighted(0.05), arrivals).prop_map(
            move |(source, row, bad, arrivals)| Line { source, row, bad: bad && some_bad, arrivals },
        );
        let (few, many) =
            (prop::collection::vec(line.clone(), 1..60), prop::collection::vec(line, 300..1200));
        (
            prop_oneof![4 => few, 1 => many],
            prop::collection::vec(prop_oneof![5..30_usize, 100..700_usize], 1..5),
            prop::collection::vec(any::<bool>(), 1..5),
            (0..4_u8, prop::collection::btree_set(1..9_u32, 0..3)),
            prop::bool::weighted(0.3),
        )
    })
    .prop_map(|(lines, sizes, heals, others, trigger)| Case { lines, sizes, heals, others, trigger })
}

impl Case {
    /// The lines with their positions and texts: dataset, source, line, text.
    fn numbered(&self) -> Vec<(usize, u64, u64, String)> {
        let mut next = FIRST_LINES;
        let mut numbered = Vec::with_capacity(self.lines.len());
        for (i, Line { source, row, bad, .. }) in self.lines.iter().enumerate() {
            let name = if *bad { "bad".to_owned() } else { format!("n{i}") };
            let (dataset, text) = match row {
                Row::Department(id) => (0, format!("{id},{name}")),
                Row::Employee(id, of) => {
                    (2, format!("{id},{name},2021-{:02}-01T00:00:00Z,{of},1", i % 12 + 1))
                }
            };
            let line = &mut next[*source as usize - 1];
            numbered.push((dataset, *source, *line, text));
            *line += 1;
        }
        numbered
    }

    /// The lines of each delivery, by index.
    fn deliveries(&self) -> Vec<Vec<usize>> {
        let lines = self.lines.iter().enumerate();
        let mut arrivals: Vec<_> =
            lines.flat_map(|(i, line)| line.arrivals.iter().map(move |at| (*at, i))).collect();
        arrivals.sort_by_key(|(at, _)| *at);
        let mut rest = arrivals.iter().map(|(_, i)| *i).peekable();
        let mut deliveries = Vec::new();
        for size in self.sizes.iter().cycle() {
            if rest.peek().is_none() {
                break;
            }
            deliveries.push(rest.by_ref().take(*size).collect());
        }
        deliveries
    }

    /// What must be there in the end.
    fn expected(&self) -> MoveOutcome {
        let mut sorted: Vec<_> = self.numbered().into_iter().zip(&self.lines).collect();
        sorted.sort_by_key(|((_, source, line, _), _)| (*source, *line));
        let (mut outcome, mut rows) = (MoveOutcome::default(), [BTreeMap::new(), BTreeMap::new()]);
        rows[0].extend(self.others.1.iter().map(|id| (*id, format!("{id},theirs,-1,-1"))));
        let good = self.lines.iter().filter(|line| !line.bad);
        let mut departments: BTreeSet<u32> = good
            .filter_map(|line| match line.row {
                Row::Department(id) => Some(id),
                Row::Employee(..) => None,
            })
            .collect();
        departments.extend(&self.others.1);
        for ((_, source, line, text), Line { row, bad, .. }) in sorted {
            let counts = &mut outcome.counts[source as usize - 1];
            match row {
                Row::Employee(_, of) if !departments.contains(of) => {
                    counts[2] += 1;
                    outcome.letters.push(format!("{source}:{line} waiting unknown_reference"));
                }
                _ if *bad => {
                    counts[1] += 1;
                    outcome.letters.push(format!("{source}:{line} rejected constraint_violation"));
                }
                Row::Department(id) => {
                    counts[0] += 1;
                    rows[0].insert(*id, format!("{text},{source},{line}"));
                }
                Row::Employee(id, _) => {
                    counts[0] += 1;
                    rows[1].insert(*id, format!("{text},{source},{line}"));
                }
            }
        }
        outcome.rows = rows.map(|rows| rows.into_values().collect());
        outcome
    }
}

#[derive(Debug, Default, PartialEq)]
struct MoveOutcome {
    /// Of departments and of employees, by key.
    rows: [Vec<String>; 2],
    /// Those that are not healed, by position.
    letters: Vec<String>,
    /// By source: accepted, rejected, waiting, discarded.
    counts: [[u64; 4]; 3],
}

async fn outcome(fixture: &Fixture, sink: &Store) -> MoveOutcome {
    let departments = "select concat_ws(',', id, department, _source, _line) from departments order by id";
    let employees = "select concat_ws(',', id, name, to_char(datetime, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
        department_id, job_id, _source, _line) from hired_employees order by id";
    let rows = [fixture.query(departments).await, fixture.query(employees).await];
    let mut letters = fixture.letters().await;
    letters.retain(|letter| !letter.contains(" healed "));
    let mut counts = [[0; 4]; 3];
    for (source, counts) in (1..).zip(&mut counts) {
        *counts = fates(sink, source).await;
    }
    MoveOutcome { rows, letters, counts }
}

async fn apply(fixture: &Fixture, case: &Case) -> MoveOutcome {
    let trigger = |table| {
        let function = "execute function theirs()";
        format!("create trigger theirs before insert on {table} for each row {function}; ")
    };
    let triggers =
        if case.trigger { trigger("departments") + &trigger("hired_employees") } else { String::new() };
    fixture
        .execute(&format!(
            "delete from tidegate.leases; truncate tidegate.ledger, tidegate.dead_letters; \
             truncate departments, hired_employees; \
             drop trigger if exists theirs on departments; drop trigger if exists theirs on hired_employees; \
             {triggers}"
        ))
        .await;
    // One that knows nothing of the cases before.
    let sink = fixture.another_owner();
    take_leases(&sink).await;
    prepare::prepare(&sink, &views()).await.unwrap();
    let numbered = case.numbered();
    let theirs: Vec<String> = case.others.1.iter().map(|id| format!("({id}, 'theirs')")).collect();
    let deliveries = case.deliveries();
    let others_before = usize::from(case.others.0).min(deliveries.len() - 1);
    for ((i, lines), heals) in deliveries.iter().enumerate().zip(case.heals.iter().cycle()) {
        if i == others_before && !theirs.is_empty() {
            let values = theirs.join(", ");
            fixture.execute(&format!("insert into departments values {values} on conflict do nothing")).await;
        }
        let lines: Vec<_> = lines.iter().map(|i| &numbered[*i]).collect();
        let lines: Vec<_> = lines.iter().map(|(d, s, l, text)| (*d, *s, *l, text.as_str())).collect();
        let applied = sink.apply(&sink.read(&delivery(&lines))).await.unwrap();
        let decided = |tally: &Tally| tally.accepted + tally.rejected + tally.waiting + tally.duplicates;
        assert_eq!(applied.tallies.iter().map(decided).sum::<u64>(), lines.len() as u64);
        if *heals {
            sink.heal().await.unwrap();
        }
    }
    sink.heal().await.unwrap();
    assert_exact(fixture, "all deliveries").await;
    outcome(fixture, &sink).await
}

#[test]
fn the_outcome_is_that_of_sorting_all_lines_by_position() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fixture = runtime.block_on(async {
        let fixture = Fixture::new(company::MANIFEST).await;
        fixture
            .execute(
                "insert into jobs values (1, 'Clerk'); \
                 alter table departments add check (department <> 'bad'); \
                 alter table hired_employees add check (name <> 'bad'); \
                 create function theirs() returns trigger language plpgsql as $$ begin return new; end $$",
            )
            .await;
        fixture
    });
    let config =
        Config { cases: CASES, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
    let run = |case: Case| {
        prop_assert_eq!(runtime.block_on(apply(&fixture, &case)), case.expected());
        Ok(())
    };
    TestRunner::new(config).run(&case(), run).unwrap_or_else(|failure| panic!("{failure}"));
}
