//! The simulation: the real stages over topics and a database in memory, in a world that duplicates,
//! reorders, loses, stalls and kills, all by a seed. Whatever happens, the outcome is that of a plain loop
//! over the lines. In half of the seeds each process has topics of its own, as embedded ones are; in the others all
//! share topics that behave like those of a Fluvio cluster.
//!
//! `TIDEGATE_SEEDS=100000 cargo test -p tidegate-engine --test simulation seeds -- --nocapture` tries so many seeds,
//! and with `TIDEGATE_SEED=7` in place of it one alone, and tells it call by call.
//!
//! # Layout
//!
//! * `model`: the database in memory. `conformance`: the contract of a sink, which it keeps.
//! * `dialect`: how files are written. `files` and `writer`: what is in them, and what it means. `reference`: what must
//!   come of it.
//! * `world`: what goes wrong, and when. `outside`: topics and database as a process sees them.
//! * `process`: one process, which can be frozen and killed.
//! * `seed`: one seed, from the first process to the last. `invariants`: what holds at every commit.

#![allow(clippy::unwrap_used)] // the whole crate is tests; the lint knows only `#[test]` functions

mod model;
mod conformance;
mod dialect;
mod files;
mod writer;
mod reference;
mod world;
mod outside;
mod process;
mod invariants;
mod seed;

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use model::Flaw;
use seed::{Course, Failure, Place};
use world::Stats;

/// How many seeds `cargo test` tries, and how many of them with each planted mistake.
const SEEDS: u64 = 5_000;
const SEEDS_WITH_FLAW: u64 = 300;

/// Runs seeds from 1 on, on all processors, until `look` has seen enough.
fn run_seeds(
    count: u64,
    flaw: Option<Flaw>,
    look: impl Fn(Result<Course, Failure>) -> ControlFlow<()> + Sync,
) {
    let (next, enough) = (AtomicU64::new(1), AtomicBool::new(false));
    let work = || {
        let place = Place::new();
        while !enough.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > count {
                break;
            }
            if look(seed::run(seed, &place, flaw, false)).is_break() {
                enough.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get());
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

#[test]
fn seeds_agree_with_the_reference() {
    if let Some(seed) = variable("TIDEGATE_SEED") {
        match seed::run(seed, &Place::new(), None, true) {
            Ok(course) => println!("{}\nseed {seed}: {}", course.trace, course.stats),
            Err(failure) => panic!("{}\n{failure}", failure.trace),
        }
        return;
    }
    let (begun, count) = (Instant::now(), variable("TIDEGATE_SEEDS").unwrap_or(SEEDS));
    let (sum, failed) = (Mutex::new(Stats::default()), Mutex::new(None));
    run_seeds(count, None, |result| match result {
        Ok(course) => {
            sum.lock().unwrap().add(&course.stats);
            ControlFlow::Continue(())
        }
        Err(failure) => {
            failed.lock().unwrap().get_or_insert(failure);
            ControlFlow::Break(())
        }
    });
    if let Some(failure) = failed.into_inner().unwrap() {
        panic!("{failure}");
    }
    println!("{count} seeds in {:.1} s: {}", begun.elapsed().as_secs_f64(), sum.into_inner().unwrap());
}

#[test]
fn the_same_seed_takes_the_same_course() {
    let place = Place::new();
    for seed in 1..=100 {
        let course = |_| seed::run(seed, &place, None, false).map(|course| course.hash);
        let courses = [0, 1].map(course).map(|hash| hash.unwrap_or_else(|failure| panic!("{failure}")));
        assert_eq!(courses[0], courses[1], "seed {seed}");
    }
}

#[test]
fn planted_mistakes_are_found() {
    for flaw in Flaw::ALL {
        let failed = Mutex::new(Vec::new());
        run_seeds(SEEDS_WITH_FLAW, Some(flaw), |result| {
            failed.lock().unwrap().extend(result.err());
            ControlFlow::Continue(())
        });
        let failed = failed.into_inner().unwrap();
        let first = failed.iter().min_by_key(|failure| failure.seed);
        let first = first.unwrap_or_else(|| panic!("{flaw:?} is not found in {SEEDS_WITH_FLAW} seeds"));
        let (seed, found) = (first.seed, failed.len());
        println!("{flaw:?}: seed {seed} finds it, and {found} of {SEEDS_WITH_FLAW} do; {}", first.what);
    }
}
