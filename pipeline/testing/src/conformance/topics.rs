//! The conformance suite of [`Topics`].
//!
//! Each property is a function that panics where the property does not hold. [`all`] runs them one after the other.
//! Every run uses new topics, so a cluster may keep the topics of earlier runs.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use tidegate_core::record::Batch;
use tidegate_topics::{Durability, ErrorKind, FetchResult, MAX_NAME_LEN, Offset, Topics};

/// How long a waiting reader may take to wake before the suite takes it for stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether a log that ends before its readers can leave out the offsets between; see [`Topics::create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gaps {
    /// The log leaves them out.
    LeftOut,
    /// The log cannot, and returns its end to the readers.
    Closed,
}

/// Checks every property, each on the topics that `make` returns.
pub async fn all<T: Topics>(gaps: Gaps, make: impl AsyncFn() -> T) {
    appends_give_consecutive_offsets(&make().await).await;
    records_come_back_equal_and_in_order(&make().await).await;
    a_read_may_begin_within_a_batch(&make().await).await;
    a_reader_at_the_end_waits_for_an_append(&make().await).await;
    a_wait_may_be_dropped(&make().await).await;
    an_empty_batch_changes_nothing(&make().await).await;
    an_unknown_topic_is_refused(&make().await).await;
    an_invalid_name_is_refused(&make().await).await;
    topics_and_partitions_are_apart(&make().await).await;
    to_create_again_changes_nothing(&make().await).await;
    match gaps {
        Gaps::LeftOut => offsets_that_readers_have_passed_are_not_given_out(&make().await).await,
        Gaps::Closed => readers_beyond_the_end_are_sent_back(&make().await).await,
    }
    trimming_keeps_what_is_at_and_after(&make().await).await;
    a_read_beyond_the_end_is_refused(&make().await).await;
    bytes_fall_to_nothing_at_the_end(&make().await).await;
    a_large_batch_is_one_batch(&make().await).await;
    batches_of_several_writers_are_whole(Arc::new(make().await)).await;
}

/// A topic name that is unique among all calls and runs.
fn new(name: &str) -> String {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros());
    format!("{name}-{now:x}-{}-{call}", std::process::id())
}

/// A batch of records with these values, and with keys derived from them.
fn batch(values: impl IntoIterator<Item = String>) -> Batch {
    let mut batch = Batch::default();
    for value in values {
        batch.push(format!("key of {value}").as_bytes(), value.as_bytes());
    }
    batch
}

fn numbered(range: std::ops::Range<u64>) -> Batch {
    batch(range.map(|number| number.to_string()))
}

async fn create<T: Topics>(topics: &T, topic: &str) {
    topics.create(topic, 0, 0).await.expect("a topic can be created");
}

async fn append<T: Topics>(topics: &T, topic: &str, batch: &Batch) -> Offset {
    topics.append(topic, 0, batch, Durability::Buffered).await.expect("a batch can be appended")
}

async fn read<T: Topics>(topics: &T, topic: &str, from: Offset) -> Option<FetchResult> {
    topics.read(topic, 0, from).await.expect("a batch can be read")
}

async fn end<T: Topics>(topics: &T, topic: &str) -> Offset {
    topics.end(topic, 0).await.expect("a topic has an end")
}

/// All values from an offset on.
async fn values_from<T: Topics>(topics: &T, topic: &str, mut from: Offset) -> Vec<String> {
    let mut values = Vec::new();
    while let Some(fetched) = read(topics, topic, from).await {
        assert!(fetched.base >= from && fetched.next > from, "a read at {from} gave {fetched:?}");
        assert_eq!(fetched.next, fetched.base + fetched.batch.len() as u64, "at {from}");
        values.extend(fetched.batch.iter().map(|r| String::from_utf8_lossy(r.value).into_owned()));
        from = fetched.next;
    }
    values
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Each append returns the offset after the records before it. The end is after the last record.
pub async fn appends_give_consecutive_offsets<T: Topics>(topics: &T) {
    let topic = &new("consecutive-offsets");
    create(topics, topic).await;
    assert_eq!(topics.start(topic, 0).await.expect("a topic has a start"), 0);
    assert_eq!(end(topics, topic).await, 0);
    assert_eq!(append(topics, topic, &numbered(0..3)).await, 0);
    let synced = topics.append(topic, 0, &numbered(3..4), Durability::Synced).await;
    assert_eq!(synced.expect("a batch can be appended and synced"), 3);
    assert_eq!(append(topics, topic, &numbered(4..9)).await, 4);
    assert_eq!(end(topics, topic).await, 9);
    assert_eq!(topics.start(topic, 0).await.expect("a topic has a start"), 0);
}

/// Keys and values come back byte for byte, even if they are empty or not text.
pub async fn records_come_back_equal_and_in_order<T: Topics>(topics: &T) {
    let topic = &new("equal-records");
    create(topics, topic).await;
    let mut odd = Batch::default();
    odd.push(b"", b"");
    odd.push(b"\0\xff", b"line\r\nline");
    odd.push(b"", &[0; 1000]);
    let batches = [odd, numbered(0..5), numbered(5..6)];
    for batch in &batches {
        append(topics, topic, batch).await;
    }
    let written: Vec<_> = batches.iter().flat_map(Batch::iter).collect();
    let (mut fetched, mut from) = (Vec::new(), 0);
    while let Some(some) = read(topics, topic, from).await {
        from = some.next;
        fetched.push(some);
    }
    let came_back: Vec<_> = fetched.iter().flat_map(|fetched| fetched.batch.iter()).collect();
    assert_eq!(came_back, written);
}

/// A read in the middle of a batch returns its rest, and reads from any offset return all that follows.
pub async fn a_read_may_begin_within_a_batch<T: Topics>(topics: &T) {
    let topic = &new("middle-of-a-batch");
    create(topics, topic).await;
    append(topics, topic, &numbered(0..10)).await;
    append(topics, topic, &numbered(10..20)).await;
    let middle = read(topics, topic, 4).await.expect("there is something at 4");
    assert_eq!(middle.base, 4);
    for from in 0..20 {
        assert_eq!(values_from(topics, topic, from).await, numbers(from..20), "from {from}");
    }
}

/// At the end a read returns nothing, and an append wakes the reader that waits there.
pub async fn a_reader_at_the_end_waits_for_an_append<T: Topics>(topics: &T) {
    let topic = &new("reader-at-the-end");
    create(topics, topic).await;
    append(topics, topic, &numbered(0..2)).await;
    assert_eq!(read(topics, topic, 2).await, None);
    assert_eq!(topics.wait(topic, 0, 1).await.expect("a wait for what is there ends"), 2);
    let woken = tokio::time::timeout(PATIENCE, async {
        let reader = async { topics.wait(topic, 0, 2).await.expect("a reader can wait") };
        let next = numbered(2..3);
        tokio::join!(biased; reader, append(topics, topic, &next)).0
    });
    assert_eq!(woken.await.expect("an append wakes a reader"), 3);
    assert_eq!(values_from(topics, topic, 2).await, numbers(2..3));
}

/// A wait that is dropped loses no records.
pub async fn a_wait_may_be_dropped<T: Topics>(topics: &T) {
    let topic = &new("dropped-wait");
    create(topics, topic).await;
    for number in 0..3 {
        {
            let waiting = pin!(topics.wait(topic, 0, number));
            let polled = waiting.poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Pending), "nothing is beyond {number}, but {polled:?}");
        }
        append(topics, topic, &numbered(number..number + 1)).await;
        let again = tokio::time::timeout(PATIENCE, topics.wait(topic, 0, number)).await;
        assert_eq!(again.expect("it is there already").expect("a reader can wait"), number + 1);
    }
    assert_eq!(values_from(topics, topic, 0).await, numbers(0..3));
}

/// An empty batch returns the end and is not stored.
pub async fn an_empty_batch_changes_nothing<T: Topics>(topics: &T) {
    let topic = &new("empty-batch");
    create(topics, topic).await;
    assert_eq!(append(topics, topic, &Batch::default()).await, 0);
    append(topics, topic, &numbered(0..2)).await;
    let synced = topics.append(topic, 0, &Batch::default(), Durability::Synced).await;
    assert_eq!(synced.expect("nothing can be appended"), 2);
    assert_eq!(end(topics, topic).await, 2);
    assert_eq!(read(topics, topic, 2).await, None);
    append(topics, topic, &numbered(2..3)).await;
    assert_eq!(values_from(topics, topic, 0).await, numbers(0..3));
}

/// Every call on a topic that was not created is refused with a message that names the topic.
pub async fn an_unknown_topic_is_refused<T: Topics>(topics: &T) {
    let topic = &new("unknown-topic");
    let errors = [
        topics.append(topic, 0, &numbered(0..1), Durability::Buffered).await.map(drop),
        topics.read(topic, 0, 0).await.map(drop),
        topics.wait(topic, 0, 0).await.map(drop),
        topics.start(topic, 0).await.map(drop),
        topics.end(topic, 0).await.map(drop),
        topics.bytes_after(topic, 0, 0).await.map(drop),
        topics.trim(topic, 0, 0).await,
    ];
    for error in errors {
        let error = error.expect_err("a topic that was not created is refused");
        assert_eq!(error.kind(), ErrorKind::UnknownTopic, "{error}");
        assert!(error.to_string().contains(topic), "{error}");
    }
    assert!(!topics.list().await.expect("topics are listed").contains(topic));
}

/// Names that Fluvio refuses, and names that would leave a directory, are refused.
pub async fn an_invalid_name_is_refused<T: Topics>(topics: &T) {
    let long = "a".repeat(MAX_NAME_LEN + 1);
    for name in ["", "Upper", "under_score", "a.b", "..", "a/b", "-a", "a-", "é", &long] {
        let error = topics.create(name, 0, 0).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
    }
    create(topics, &long[1..]).await;
}

/// Topics are listed by name. Neither topics nor partitions share offsets.
pub async fn topics_and_partitions_are_apart<T: Topics>(topics: &T) {
    let (a, b) = (&new("apart-a"), &new("apart-b"));
    for topic in [b, a] {
        create(topics, topic).await;
    }
    append(topics, a, &numbered(0..1)).await;
    assert_eq!(append(topics, b, &numbered(7..9)).await, 0);
    assert_eq!(values_from(topics, a, 0).await, numbers(0..1));
    assert_eq!(values_from(topics, b, 0).await, numbers(7..9));
    let mut names = topics.list().await.expect("topics are listed");
    names.retain(|name| name == a || name == b);
    assert_eq!(names, [a.as_str(), b.as_str()]);
    let missing = topics.end(a, 1).await.expect_err("there is no second partition");
    assert_eq!(missing.kind(), ErrorKind::UnknownTopic, "{missing}");
}

/// A topic that exists is not changed, even if its readers are before its end.
pub async fn to_create_again_changes_nothing<T: Topics>(topics: &T) {
    let topic = &new("create-again");
    create(topics, topic).await;
    append(topics, topic, &numbered(0..5)).await;
    for next in [0, 3, 5] {
        topics.create(topic, 0, next).await.expect("a topic can be created again");
        assert_eq!(end(topics, topic).await, 5);
    }
    assert_eq!(values_from(topics, topic, 0).await, numbers(0..5));
}

/// A log that ends before its readers continues at their offset, and readers before that offset reach it.
pub async fn offsets_that_readers_have_passed_are_not_given_out<T: Topics>(topics: &T) {
    let (fresh, topic) = (&new("passed-new"), &new("passed"));
    topics.create(fresh, 0, 7).await.expect("a new topic may begin later");
    assert_eq!(end(topics, fresh).await, 7);
    assert_eq!(append(topics, fresh, &numbered(7..9)).await, 7);
    assert_eq!(values_from(topics, fresh, 7).await, numbers(7..9));

    create(topics, topic).await;
    append(topics, topic, &numbered(0..5)).await;
    for next in [10, 20] {
        topics.create(topic, 0, next).await.expect("a topic may go on later");
        assert_eq!(end(topics, topic).await, next);
        assert_eq!(read(topics, topic, next).await, None);
    }
    // Nothing is there yet, but a reader before the end must not wait for records that never come.
    let mut from = 5;
    while let Some(fetched) = read(topics, topic, from).await {
        assert!(fetched.batch.is_empty() && fetched.next > from, "a read at {from} gave {fetched:?}");
        from = fetched.next;
    }
    assert_eq!(from, 20);
    assert_eq!(append(topics, topic, &numbered(20..23)).await, 20);
    for from in 5..20 {
        let fetched = read(topics, topic, from).await.expect("the next batch");
        assert_eq!((fetched.base, fetched.next), (20, 23), "from {from}");
    }
    let mut expected = numbers(0..5);
    expected.extend(numbers(20..23));
    assert_eq!(values_from(topics, topic, 0).await, expected);
}

/// A reader beyond the end of a log without gaps continues at the end, and misses nothing.
pub async fn readers_beyond_the_end_are_sent_back<T: Topics>(topics: &T) {
    let topic = &new("sent-back");
    assert_eq!(topics.create(topic, 0, 7).await.expect("a new topic begins at 0"), 0);
    append(topics, topic, &numbered(0..5)).await;
    for (next, expected) in [(0, 0), (3, 3), (5, 5), (9, 5)] {
        assert_eq!(topics.create(topic, 0, next).await.expect("a topic can be created again"), expected);
    }
    assert_eq!(append(topics, topic, &numbered(5..7)).await, 5);
    assert_eq!(values_from(topics, topic, 5).await, numbers(5..7));
}

/// Records from the offset on can still be read, and a read of dropped ones fails with the start.
pub async fn trimming_keeps_what_is_at_and_after<T: Topics>(topics: &T) {
    let topic = &new("trimmed");
    create(topics, topic).await;
    let mut next = 0;
    for _ in 0..64 {
        next = append(topics, topic, &numbered(next..next + 10)).await + 10;
    }
    for before in [0, 5, 300, 635, 640] {
        topics.trim(topic, 0, before).await.expect("a topic can be trimmed");
        let start = topics.start(topic, 0).await.expect("a topic has a start");
        assert!(start <= before, "trimmed before {before}, but it starts at {start}");
        assert_eq!(end(topics, topic).await, 640);
        assert_eq!(values_from(topics, topic, before).await, numbers(before..640), "before {before}");
        assert_eq!(values_from(topics, topic, start).await, numbers(start..640), "before {before}");
        if start > 0 {
            let error = topics.read(topic, 0, start - 1).await.expect_err("what was dropped is gone");
            assert_eq!(error.kind(), ErrorKind::BehindStart { start }, "{error}");
        }
    }
    assert_eq!(append(topics, topic, &numbered(640..641)).await, 640);
}

/// An offset that was never given out is an error. A reader must not wait there.
pub async fn a_read_beyond_the_end_is_refused<T: Topics>(topics: &T) {
    let topic = &new("beyond-the-end");
    create(topics, topic).await;
    append(topics, topic, &numbered(0..2)).await;
    let error = topics.read(topic, 0, 3).await.expect_err("nothing was ever there");
    assert_eq!(error.kind(), ErrorKind::BeyondEnd { end: 2 }, "{error}");
}

/// The bytes after an offset fall towards the end, are 0 at the end, and are more than 0 before it.
pub async fn bytes_fall_to_nothing_at_the_end<T: Topics>(topics: &T) {
    let topic = &new("bytes-after");
    create(topics, topic).await;
    assert_eq!(topics.bytes_after(topic, 0, 0).await.expect("a measure"), 0);
    let mut stored = 0;
    for number in 0..50 {
        let batch = numbered(number * 4..number * 4 + 4);
        stored += batch.as_bytes().len() as u64;
        append(topics, topic, &batch).await;
    }
    let mut last = topics.bytes_after(topic, 0, 0).await.expect("a measure");
    assert!(last >= stored / 2, "{last} of {stored}");
    for offset in 0..200 {
        let bytes = topics.bytes_after(topic, 0, offset).await.expect("a measure");
        assert!(0 < bytes && bytes <= last, "{bytes} bytes after {offset}, {last} before");
        last = bytes;
    }
    assert_eq!(topics.bytes_after(topic, 0, 200).await.expect("a measure"), 0);
}

/// A batch of 2 MiB is stored and read like any other.
pub async fn a_large_batch_is_one_batch<T: Topics>(topics: &T) {
    let topic = &new("large-batch");
    create(topics, topic).await;
    let large = batch((0..2048).map(|number| format!("{number:01024}")));
    assert!(large.as_bytes().len() > 2 << 20);
    let small = numbered(0..1);
    assert_eq!(append(topics, topic, &large).await, 0);
    assert_eq!(append(topics, topic, &small).await, 2048);
    let (mut from, mut count) = (0, 0);
    let written: Vec<_> = large.iter().chain(small.iter()).collect();
    while from < 2049 {
        let fetched = read(topics, topic, from).await.expect("the batch is there");
        for record in fetched.batch.iter() {
            assert!(record == written[count], "record {count} has changed");
            count += 1;
        }
        from = fetched.next;
    }
    assert_eq!(count, 2049);
}

/// Concurrent writers lose nothing, and their batches do not interleave.
pub async fn batches_of_several_writers_are_whole<T: Topics>(topics: Arc<T>) {
    const BATCHES: u64 = 100;
    const RECORDS: u64 = 7;
    let topic: Arc<str> = new("several-writers").into();
    create(&*topics, &topic).await;
    let writers = ["a", "b", "c"].map(|name| {
        let (topics, topic) = (Arc::clone(&topics), Arc::clone(&topic));
        tokio::spawn(async move {
            let mut bases = Vec::new();
            for number in 0..BATCHES {
                let batch = batch((0..RECORDS).map(|record| format!("{name}-{number}-{record}")));
                let durability = if number % 10 == 0 { Durability::Synced } else { Durability::Buffered };
                let base = topics.append(&topic, 0, &batch, durability).await;
                bases.push((base.expect("a batch can be appended"), name, number));
            }
            bases
        })
    });
    let mut bases = Vec::new();
    for writer in writers {
        bases.extend(writer.await.expect("a writer ends"));
    }
    bases.sort_unstable();
    let mut expected = Vec::new();
    for (at, (base, name, number)) in bases.into_iter().enumerate() {
        assert_eq!(base, at as u64 * RECORDS, "batch {number} of {name}");
        expected.extend((0..RECORDS).map(|record| format!("{name}-{number}-{record}")));
    }
    assert_eq!(values_from(&*topics, &topic, 0).await, expected);
}
