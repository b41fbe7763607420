//! The incremental views, held against their queries computed afresh: random views of the class, over random
//! schemas, under random histories of several sessions; and under real concurrency.
//!
//! A case is one view under one history. `TIDEGATE_VIEW_SEEDS=2000 cargo test -p tidegate-views
//! random_views -- --nocapture` runs so many histories, and `TIDEGATE_VIEW_SEED=7` in place of it one alone.
//!
//! # Layout
//!
//! * `schema`: tables, columns and their values. `query`: views. `changes`: statements of one session.
//! * `relation`: a view and the comparison with its query. `database`: connections.
//! * `history`: sessions that take turns. `concurrent`: sessions that do not.

#![allow(clippy::unwrap_used)] // the whole crate is tests; the lint knows only `#[test]` functions

mod schema;
mod query;
mod changes;
mod database;
mod relation;
mod history;
mod concurrent;

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use tidegate_postgres::table::quoted;
use tidegate_testing::postgres;
use tokio::task::JoinSet;

use history::Counts;
use query::Query;
use relation::Made;
use schema::Schema;

/// How many histories `cargo test` runs, and how many at a time.
const SEEDS: u64 = 210;
const WORKERS: usize = 3;
/// How many cases these must be at least.
const CASES_MIN: u64 = 2_000;
/// What the random views must be made of.
const CONSTRUCTS: &str = "\njoin |\ninner join |\nJOIN | using (| on |, \"| as t1| \"Alias 1\"|where |group by 1|\
    group by \"|having |order by 1| desc| nulls last|count(*)|count(case|sum(|sum(case|avg(|avg(case|min(|max(|\
    filter (where|round(avg(|coalesce(sum(|100.0 * count(*)|::numeric + count(*)| is null| is not null| in (|\
    not in (| between | like '|coalesce(|case when |is distinct from|date_trunc('month'|extract(year from|lower(|\
    % 3| at time zone 'UTC'|/ 10)::int|::text|->> 'a'|collate \"C\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_views_are_exact_at_every_commit_of_random_histories() {
    let seeds = match (variable("TIDEGATE_VIEW_SEED"), variable("TIDEGATE_VIEW_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(SEEDS),
    };
    let is_whole = seeds == (0..SEEDS);
    let counts = run_all(seeds, Made::Kept).await;
    eprintln!("{counts:#?}");
    if !is_whole {
        return;
    }
    let count = |what| counts.get(what).copied().unwrap_or_default();
    assert!(count("case") >= CASES_MIN, "{} cases", count("case"));
    // A view that shows the same all the time would tell nothing.
    assert!(count("view whose result changed") * 10 >= count("case") * 8);
    assert!(count("serialization failure") < count("commit"));
    for what in [
        "change behind a truncate",
        "fold",
        "copy",
        "merge",
        "delete and insert in one",
        "rollback to a savepoint",
    ] {
        assert!(count(what) > 50, "{what}: {}", count(what));
    }
}

#[tokio::test]
async fn a_view_that_misses_changes_is_found() {
    for seed in 0..3 {
        let failure = history::run(seed, Made::Frozen).await.unwrap_err();
        assert!(failure.contains("differs from its query"), "{failure}");
    }
}

/// Else a view could not be held against its query.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_random_query_depends_on_the_order_of_rows() {
    run_all(0..60, Made::Plain).await;
}

/// Postgres itself refuses an index on what is not immutable.
#[tokio::test]
async fn expressions_of_own_columns_are_immutable() {
    let client = database::connect(&postgres::database().await).await;
    for seed in 0..20 {
        let mut rng = Rng::with_seed(seed);
        let schema = Schema::random(&mut rng);
        let table = &schema.tables[0];
        let columns = table.columns.iter().map(|c| format!("{} {}", quoted(&c.name), c.kind.sql()));
        let columns = columns.collect::<Vec<_>>().join(", ");
        client
            .batch_execute(&format!("create temporary table {} ({columns})", quoted(table.name())))
            .await
            .unwrap();
        for _ in 0..40 {
            let expression = query::own_expression(&mut rng, table);
            let index = format!("create index on pg_temp.{} (({expression}))", quoted(table.name()));
            let result = client.batch_execute(&index).await;
            result.unwrap_or_else(|error| panic!("{index}: {}", database::describe(&error)));
        }
        client.batch_execute("discard temp").await.unwrap();
    }
}

#[test]
fn every_construct_of_the_class_comes_up() {
    let mut texts = String::new();
    for seed in 0..SEEDS {
        let mut rng = Rng::with_seed(seed);
        let schema = Schema::random(&mut rng);
        (0..10).for_each(|i| texts += &Query::random(&mut rng, &schema, i).select);
    }
    for construct in CONSTRUCTS.split('|') {
        assert!(texts.matches(construct).count() > 10, "{construct}");
    }
}

/// Runs the histories of seeds, some at a time, and stops at the first that fails.
async fn run_all(seeds: std::ops::Range<u64>, made: Made) -> Counts {
    let (next, end) = (Arc::new(AtomicU64::new(seeds.start)), seeds.end);
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let next = next.clone();
        workers.spawn(async move {
            let mut counts = Counts::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= end {
                    return counts;
                }
                let failed = |failure| panic!("{failure}");
                add(&mut counts, history::run(seed, made).await.unwrap_or_else(failed));
            }
        });
    }
    let mut counts = Counts::new();
    while let Some(worker) = workers.join_next().await {
        add(&mut counts, worker.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    counts
}

fn add(counts: &mut Counts, more: Counts) {
    more.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
}

/// A number from the environment.
fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is \"{text}\", which is no number")))
}
