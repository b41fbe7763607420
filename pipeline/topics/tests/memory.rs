//! What befalls topics in memory, and how those differ that are like Fluvio's.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tidegate_core::record::Batch;
use tidegate_topics::memory::Style;
use tidegate_topics::{Durability, ErrorKind, Memory, Topics};

const TOPIC: &str = "in-memory";

/// Topics with three batches of four records.
async fn filled(style: Style) -> Memory {
    let topics = Memory::new(style);
    topics.create(TOPIC, 0, 0).await.unwrap();
    for _ in 0..3 {
        append(&topics).await;
    }
    topics
}

async fn append(topics: &Memory) {
    let mut batch = Batch::default();
    (0..4).for_each(|number: u32| batch.push(b"", &number.to_be_bytes()));
    topics.append(TOPIC, 0, &batch, Durability::Buffered).await.unwrap();
}

async fn bounds(topics: &Memory) -> (u64, u64) {
    (topics.start(TOPIC, 0).await.unwrap(), topics.end(TOPIC, 0).await.unwrap())
}

#[tokio::test]
async fn retention_may_cut_a_batch() {
    for style in [Style::Log, Style::Fluvio] {
        let topics = filled(style).await;
        topics.expire(TOPIC, 0, 6).unwrap();
        assert_eq!(bounds(&topics).await, (6, 12));
        let gone = topics.read(TOPIC, 0, 5).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::BehindStart { start: 6 });
        let rest = topics.read(TOPIC, 0, 6).await.unwrap().unwrap();
        assert_eq!((rest.base, rest.next, rest.batch.len()), (6, 8, 2));
        assert_eq!(topics.bytes_after(TOPIC, 0, 6).await.unwrap(), 6 * 12);
        topics.expire(TOPIC, 0, 100).unwrap();
        assert_eq!(bounds(&topics).await, (12, 12), "what is not there yet is not taken");
        assert_eq!(topics.read(TOPIC, 0, 12).await.unwrap(), None);
    }
}

#[tokio::test]
async fn only_a_log_of_ones_own_drops_what_it_may() {
    for (style, start) in [(Style::Log, 8), (Style::Fluvio, 0)] {
        let topics = filled(style).await;
        topics.trim(TOPIC, 0, 8).await.unwrap();
        assert_eq!(bounds(&topics).await, (start, 12), "{style:?}");
    }
}

#[tokio::test]
async fn a_cluster_sends_readers_back_to_the_end_of_what_it_has() {
    let topics = filled(Style::Fluvio).await;
    assert_eq!(topics.create(TOPIC, 0, 20).await.unwrap(), 12, "it cannot leave offsets out");
    assert_eq!(topics.create("new", 3, 20).await.unwrap(), 0);
    assert_eq!(topics.partitions(), [(TOPIC.to_owned(), 0), ("new".to_owned(), 3)]);
    topics.lose_tail(TOPIC, 0, 1).unwrap();
    assert_eq!(topics.create(TOPIC, 0, 12).await.unwrap(), 8);
    let error = topics.read(TOPIC, 0, 12).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BeyondEnd { end: 8 });
    append(&topics).await;
    assert_eq!(bounds(&topics).await, (0, 12), "offsets are given out again");
}

#[tokio::test]
async fn who_waits_at_an_end_that_is_lost_is_told() {
    let topics = filled(Style::Fluvio).await;
    let mut waiting = pin!(topics.wait(TOPIC, 0, 12));
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(waiting.as_mut().poll(&mut context), Poll::Pending));
    topics.make_anew(TOPIC, 0).unwrap();
    assert_eq!(bounds(&topics).await, (0, 0));
    assert!(matches!(waiting.as_mut().poll(&mut context), Poll::Ready(Ok(0))));
}
