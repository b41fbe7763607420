//! How instances of a stage share its partitions.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate_core::contract::{ConsumerOffset, Offsets, SINK_READER, Sink};
use tidegate_core::dead_letter::Stage;
use tidegate_store::{Holder, Membership, Share, Store, group, leases};

use super::fixture::{Fixture, delivery};

const MANIFEST: &str = "
pipeline: shared
lease: 1s
topics: {fluvio: {endpoint: 'nowhere:1', partitions: 4}}
datasets:
  notes: {key: id, columns: {id: integer, note: text}}
";

fn me(number: u32, config_fingerprint: &str) -> Membership {
    let holder = Holder { host: "test".to_owned(), pid: number, started: 0.0 };
    Membership { stage: Stage::Sink, holder, pinned: None, config_fingerprint: config_fingerprint.to_owned() }
}

fn ends(next: u64) -> Vec<ConsumerOffset> {
    let topics = ["shared-raw-notes", "shared-accepted-notes", "shared-dead-letters"];
    let each = topics.iter().flat_map(|topic| (0..4).map(move |partition| (topic, partition)));
    each.map(|(topic, partition)| ConsumerOffset { topic: (*topic).to_owned(), partition, next }).collect()
}

fn set(partitions: &[u32]) -> BTreeSet<u32> {
    partitions.iter().copied().collect()
}

fn share(held: &[u32], surplus: &[u32]) -> Share {
    Share { held: set(held), surplus: set(surplus) }
}

/// Lets the database know the config_fingerprint, and nobody hold anything.
async fn begun(fixture: &Fixture) {
    leases::release(&fixture.sink).await.unwrap();
    group::join(&fixture.sink, "form", "transform", async || Ok(ends(0))).await.unwrap();
}

#[tokio::test]
async fn who_joins_gets_what_others_give_back_and_who_dies_is_followed() {
    let fixture = Fixture::new(MANIFEST).await;
    begun(&fixture).await;
    let (first, second) = (fixture.another_owner(), fixture.another_owner());
    let heartbeat = async |who: &Store, number| {
        group::heartbeat(who, &me(number, "form"), Some(number.into())).await.unwrap()
    };
    assert_eq!(heartbeat(&first, 1).await, share(&[0, 1, 2, 3], &[]));
    assert_eq!(heartbeat(&second, 2).await, share(&[], &[]), "nothing is taken from anybody");
    assert_eq!(heartbeat(&first, 1).await, share(&[0, 1, 2, 3], &[2, 3]));
    group::give_back(&first, Stage::Sink, &set(&[2, 3])).await.unwrap();
    assert_eq!(heartbeat(&first, 1).await, share(&[0, 1], &[]), "what is given back is not renewed");
    assert_eq!(heartbeat(&second, 2).await, share(&[2, 3], &[]));
    assert_eq!(heartbeat(&first, 1).await, share(&[0, 1], &[]));
    let members = group::members(&second).await.unwrap();
    let told: Vec<_> = members.iter().map(|m| (&m.partitions[..], m.lag_records)).collect();
    assert_eq!(told, [(&[0, 1][..], Some(1)), (&[2, 3][..], Some(2))]);
    // The second is not heard of any more.
    let begun = std::time::Instant::now();
    while heartbeat(&first, 1).await != share(&[0, 1, 2, 3], &[]) {
        assert!(begun.elapsed() < Duration::from_secs(30), "its leases do not expire");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() > Duration::from_millis(500), "they were in force");
    group::deregister(&first, Stage::Sink).await.unwrap();
    assert_eq!(group::members(&first).await.unwrap(), []);
    assert_eq!(heartbeat(&second, 2).await, share(&[0, 1, 2, 3], &[]));
}

#[tokio::test]
async fn who_has_lost_a_partition_commits_nothing_for_it() {
    let fixture = Fixture::new(MANIFEST).await;
    begun(&fixture).await;
    let (first, second) = (fixture.another_owner(), fixture.another_owner());
    group::heartbeat(&first, &me(1, "form"), None).await.unwrap();
    let all = first.acting(Stage::Sink, &[0, 1, 2, 3]);
    all.apply(&all.read(&delivery(&[(0, 1, 1, "1,one")]))).await.unwrap();
    group::give_back(&first, Stage::Sink, &set(&[3])).await.unwrap();
    group::heartbeat(&second, &me(2, "form"), None).await.unwrap();
    let error = all.apply(&all.read(&delivery(&[(0, 1, 2, "2,two")]))).await.unwrap_err();
    assert!(!error.retry && error.message.contains("process 2 on test"), "{error}");
    assert!(all.store("transform", &[]).await.is_err());
    let rest = first.acting(Stage::Sink, &[0, 1, 2]);
    rest.apply(&rest.read(&delivery(&[(0, 1, 2, "2,two")]))).await.unwrap();
    let last = second.acting(Stage::Sink, &[3]);
    last.apply(&last.read(&delivery(&[(0, 1, 3, "3,three")]))).await.unwrap();
    let other_stage = second.acting(Stage::Transform, &[3]);
    assert!(other_stage.store("transform", &[]).await.is_err(), "a lease is of one stage");
    assert_eq!(fixture.query("select count(*) from notes").await, ["3"]);
}

#[tokio::test]
async fn readers_begin_where_topics_ended_when_the_pipeline_first_used_them() {
    let fixture = Fixture::new(MANIFEST).await;
    leases::release(&fixture.sink).await.unwrap();
    let next = async |reader: &str| {
        let consumed = fixture.sink.offsets(reader).await.unwrap();
        consumed.iter().map(|consumed| consumed.next).collect::<Vec<_>>()
    };
    group::join(&fixture.sink, "form", "transform", async || Ok(ends(7))).await.unwrap();
    assert_eq!((next("transform").await, next(SINK_READER).await), (vec![7; 4], vec![7; 8]));
    group::join(&fixture.sink, "form", "transform", async || Ok(ends(9))).await.unwrap();
    assert_eq!(next(SINK_READER).await, vec![7; 8], "what came since is read");
    // In another config_fingerprint what is in flight cannot be read.
    let living = fixture.another_owner();
    group::heartbeat(&living, &me(1, "form"), None).await.unwrap();
    let error = group::join(&fixture.sink, "other", "transform", async || Ok(ends(10)))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("process 1 on test runs the sink with another manifest"), "{error}");
    group::deregister(&living, Stage::Sink).await.unwrap();
    group::join(&fixture.sink, "other", "transform", async || Ok(ends(11))).await.unwrap();
    assert_eq!((next("transform").await, next(SINK_READER).await), (vec![11; 4], vec![11; 8]));
    let error = group::heartbeat(&living, &me(1, "form"), None).await.unwrap_err().to_string();
    assert!(error.contains("another manifest or other views by now"), "{error}");
}
