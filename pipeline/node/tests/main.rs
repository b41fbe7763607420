//! Nodes that share a pipeline, over topics in memory and a real Postgres: they join, leave, are killed and take over.

#![allow(clippy::unwrap_used)] // the whole crate is tests; the lint knows only `#[test]` functions

mod pipeline;

use std::time::Duration;

use pipeline::{Pipeline, until};
use tidegate_core::dead_letter::Stage;
use tidegate_engine::Until;
use tidegate_postgres::Database;
use tidegate_store::filter::LetterFilter;
use tidegate_store::moves::{BulkMove, Kind, jobs};

const STAGES: [Stage; 3] = [Stage::Source, Stage::Transform, Stage::Sink];

#[test]
fn one_node_runs_all_stages_until_all_is_accounted_for() {
    let pipeline = Pipeline::new();
    pipeline.drop_files(0..4);
    let node = pipeline.run(Until::Idle);
    node.ended().unwrap();
    pipeline.assert_all_is_in(4);
    assert_eq!(pipeline.members(), [""; 0], "a node that ends leaves its stages");
    // A second one finds nothing to do.
    pipeline.run(Until::Idle).ended().unwrap();
    pipeline.assert_all_is_in(4);
}

#[test]
fn nodes_share_the_partitions_of_each_stage() {
    let pipeline = Pipeline::new();
    let first = pipeline.run(Until::Stopped);
    until("the first has all", || pipeline.shares(Stage::Sink) == ["0,1,2,3"]);
    let second = pipeline.run(Until::Stopped);
    for stage in STAGES {
        until(&format!("the {} is shared", stage.as_str()), || pipeline.shares(stage) == ["0,1", "2,3"]);
    }
    pipeline.drop_files(0..8);
    until("all is in", || pipeline.count("notes") == 8 * pipeline::LINES);
    second.stop().unwrap();
    for stage in STAGES {
        until("what one gives back the other takes", || pipeline.shares(stage) == ["0,1,2,3"]);
    }
    first.stop().unwrap();
    pipeline.run(Until::Idle).ended().unwrap();
    pipeline.assert_all_is_in(8);
}

#[test]
fn the_partitions_of_a_node_that_is_killed_are_taken_over() {
    let pipeline = Pipeline::new();
    let first = pipeline.run(Until::Stopped);
    let second = pipeline.run(Until::Stopped);
    for stage in STAGES {
        until("both have a share", || pipeline.shares(stage) == ["0,1", "2,3"]);
    }
    for round in 0..3 {
        pipeline.drop_files(4 * round..4 * round + 4);
    }
    until("some lines are in", || pipeline.count("notes") > 0);
    second.kill();
    until("the other takes over when the leases have expired", || {
        STAGES.iter().all(|stage| pipeline.shares(*stage) == ["0,1,2,3"])
    });
    until("all is in", || pipeline.count("notes") == 12 * pipeline::LINES);
    first.stop().unwrap();
    pipeline.run(Until::Idle).ended().unwrap();
    pipeline.assert_all_is_in(12);
}

#[test]
fn stages_that_run_alone_do_what_one_node_does() {
    let pipeline = Pipeline::new();
    let transforms = [pipeline.stage(Stage::Transform, None), pipeline.stage(Stage::Transform, None)];
    let sinks = [pipeline.stage(Stage::Sink, None), pipeline.stage(Stage::Sink, None)];
    for stage in [Stage::Transform, Stage::Sink] {
        until("both have a share", || pipeline.shares(stage) == ["0,1", "2,3"]);
    }
    pipeline.drop_files(0..8);
    pipeline.source(Until::Idle).ended().unwrap();
    pipeline.assert_all_is_in(8);
    // One of each is killed, another takes its place, and lines go on.
    let [transform, killed] = transforms;
    killed.kill();
    let [sink, killed] = sinks;
    killed.kill();
    let others = [pipeline.stage(Stage::Transform, None), pipeline.stage(Stage::Sink, None)];
    pipeline.drop_files(8..12);
    pipeline.source(Until::Idle).ended().unwrap();
    pipeline.assert_all_is_in(12);
    for node in [transform, sink].into_iter().chain(others) {
        node.stop().unwrap();
    }
    assert_eq!(pipeline.members(), [""; 0]);
}

#[test]
fn partitions_that_a_node_is_pinned_to_are_no_other_nodes() {
    let pipeline = Pipeline::new();
    let free = pipeline.stage(Stage::Sink, None);
    until("it has all", || pipeline.shares(Stage::Sink) == ["0,1,2,3"]);
    let pinned = pipeline.stage(Stage::Sink, Some(&[1, 2]));
    until("the pinned ones are given back", || pipeline.shares(Stage::Sink) == ["0,3", "1,2"]);
    let third = pipeline.stage(Stage::Sink, None);
    until("the rest is shared", || pipeline.shares(Stage::Sink) == ["0", "1,2", "3"]);
    for node in [pinned, third, free] {
        node.stop().unwrap();
    }
    let beyond = pipeline.stage(Stage::Sink, Some(&[4]));
    let failure = beyond.ended().unwrap_err();
    assert_eq!(failure.code, 2);
    assert!(failure.message.contains("no partition 4: the topics have 4"), "{}", failure.message);
}

#[test]
fn a_node_of_another_configuration_waits_until_the_others_have_gone() {
    let pipeline = Pipeline::new();
    let first = pipeline.stage(Stage::Sink, None);
    until("it has all", || pipeline.shares(Stage::Sink) == ["0,1,2,3"]);
    let other = pipeline.with_manifest("note: text", "note: {type: text, max_length: 100}");
    let waiting = other.stage(Stage::Sink, None);
    std::thread::sleep(Duration::from_millis(500)); // time in which it must not begin
    assert_eq!(pipeline.shares(Stage::Sink), ["0,1,2,3"]);
    assert!(!waiting.has_ended());
    first.stop().unwrap();
    until("it begins", || pipeline.shares(Stage::Sink) == ["0,1,2,3"]);
    waiting.stop().unwrap();
}

#[test]
fn a_run_until_idle_over_shared_topics_ends_with_what_was_asked_of_it() {
    let pipeline = Pipeline::new();
    pipeline.drop_text("notes-bad.csv", "1,\n2,\n3,\n4,\n");
    pipeline.run(Until::Idle).ended().unwrap();
    let discard = BulkMove {
        kind: Kind::Discard,
        filter: LetterFilter::default(),
        limit: None,
        rate: Some(2.0),
        by: "ann".to_owned(),
        note: None,
        idempotency_key: None,
    };
    let job = pipeline.in_store(async |store| jobs::ask(&store, &discard).await.unwrap().job);
    pipeline.run(Until::Idle).ended().unwrap();
    let done = pipeline.in_store(async |store| {
        let database: &Database = &store;
        jobs::find(database, job).await.unwrap().unwrap()
    });
    assert_eq!((done.discarded, done.left), (4, 0), "all of a job that was slow");
}
