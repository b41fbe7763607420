//! Topics on a real cluster, whose controller `TIDEGATE_TEST_FLUVIO` names.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tidegate_core::manifest::{self, Compression, Tls};
use tidegate_core::record::Batch;
use tidegate_testing::conformance::topics::{self as conformance, Gaps};
use tidegate_topics::{Durability, ErrorKind, Fluvio, Offset, Topics};

/// How to reach the cluster for tests, if there is one; otherwise says that `test` is skipped.
fn cluster(test: &str) -> Option<manifest::FluvioOptions> {
    let endpoint = std::env::var("TIDEGATE_TEST_FLUVIO").ok().filter(|endpoint| !endpoint.is_empty());
    if endpoint.is_none() {
        skipped(test, "no cluster is named; set TIDEGATE_TEST_FLUVIO=host:port");
    }
    endpoint.map(|endpoint| options(&endpoint))
}

/// Says so past the harness, which shows nothing of a test that passes.
fn skipped(test: &str, why: &str) {
    let _ = std::io::stderr().write_all(format!("\nSKIPPED {test}: {why}\n").as_bytes());
}

fn options(endpoint: &str) -> manifest::FluvioOptions {
    manifest::FluvioOptions {
        endpoint: Some(endpoint.to_owned()),
        profile: None,
        tls: None,
        partitions: 1,
        replication: 1,
        compression: Compression::None,
        retention: Duration::from_secs(3600),
        transform: Default::default(),
    }
}

fn open(options: &manifest::FluvioOptions) -> Fluvio {
    Fluvio::open(options, Path::new("")).unwrap()
}

/// A name that no other test and no other run has.
fn new(name: &str) -> String {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    format!("{name}-{now:x}-{}", CALLS.fetch_add(1, Ordering::Relaxed))
}

fn batch(records: impl IntoIterator<Item = (String, String)>) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in records {
        batch.push(key.as_bytes(), value.as_bytes());
    }
    batch
}

/// All records of a partition from the offset on, in one batch.
async fn read_all(topics: &Fluvio, topic: &str, partition: u32, mut from: Offset) -> Batch {
    let mut all = Batch::default();
    while let Some(fetched) = topics.read(topic, partition, from).await.unwrap() {
        assert_eq!((fetched.base, fetched.next), (from, from + fetched.batch.len() as u64));
        for record in fetched.batch.iter() {
            all.push(record.key, record.value);
        }
        from = fetched.next;
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_a_cluster_conform() {
    let Some(options) = cluster("topics_of_a_cluster_conform") else { return };
    conformance::all(Gaps::Closed, async || open(&options)).await;
}

/// `TIDEGATE_TEST_FLUVIO_TLS` is `host:port:domain` of a cluster that asks for certificates, and
/// `TIDEGATE_TEST_FLUVIO_CERTS` the folder of `ca.crt`, `client.crt` and `client.key`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_an_encrypted_cluster_conform() {
    let variable = |name| std::env::var(name).ok();
    let (tls, certs) = (variable("TIDEGATE_TEST_FLUVIO_TLS"), variable("TIDEGATE_TEST_FLUVIO_CERTS"));
    let (Some(tls), Some(certs)) = (tls, certs) else {
        skipped(
            "topics_of_an_encrypted_cluster_conform",
            "none is named; set TIDEGATE_TEST_FLUVIO_TLS=host:port:domain and TIDEGATE_TEST_FLUVIO_CERTS=folder",
        );
        return;
    };
    let (endpoint, domain) = tls.rsplit_once(':').unwrap();
    let (certs, mut options) = (Path::new(&certs), options(endpoint));
    let (ca, cert, key) = ("ca.crt".into(), "client.crt".into(), "client.key".into());
    options.tls = Some(Tls { domain: domain.to_owned(), ca, cert, key });
    conformance::all(Gaps::Closed, async || Fluvio::open(&options, certs).unwrap()).await;
    // A certificate for another domain is not trusted, and an unencrypted connection is not answered.
    options.tls.as_mut().unwrap().domain = "example.org".to_owned();
    let other = Fluvio::open(&options, certs).unwrap().list().await.unwrap_err();
    assert!(other.to_string().contains("certificate"), "{other}");
    options.tls = None;
    let plain = Fluvio::open(&options, certs).unwrap().list().await.unwrap_err();
    assert!(plain.retryable(), "{plain}");
}

#[tokio::test]
async fn each_compression_gives_back_what_was_written() {
    let Some(mut options) = cluster("each_compression_gives_back_what_was_written") else { return };
    let written = batch((0..20_000).map(|n| (format!("{}", n % 100), format!("0,3,{n},Marcelo Gonzalez"))));
    for compression in Compression::ALL {
        options.compression = compression;
        let (topics, topic) = (open(&options), new(&format!("codec-{compression}")));
        topics.create(&topic, 0, 0).await.unwrap();
        assert_eq!(topics.append(&topic, 0, &written, Durability::Buffered).await.unwrap(), 0);
        assert_eq!(read_all(&topics, &topic, 0, 0).await, written, "{compression}");
        let mut rest = written.clone();
        rest.skip_front(12_345);
        assert_eq!(read_all(&topics, &topic, 0, 12_345).await, rest, "{compression}");
        // Who says otherwise later writes as the topic demands.
        options.compression = Compression::None;
        let others = open(&options);
        assert_eq!(others.append(&topic, 0, &written, Durability::Buffered).await.unwrap(), 20_000);
        assert_eq!(read_all(&others, &topic, 0, 20_000).await, written, "{compression}");
    }
}

#[tokio::test]
async fn large_records_and_large_batches_go_through() {
    let Some(options) = cluster("large_records_and_large_batches_go_through") else { return };
    let (topics, topic) = (open(&options), new("large"));
    topics.create(&topic, 0, 0).await.unwrap();
    let mut written = Batch::default();
    for megabytes in [1, 0, 5, 0, 20] {
        written.push(b"", "x".repeat(megabytes << 20).as_bytes());
    }
    for number in 0..300_000 {
        written.push(b"key", format!("{number:0100}").as_bytes());
    }
    assert_eq!(topics.append(&topic, 0, &written, Durability::Buffered).await.unwrap(), 0);
    assert_eq!(topics.end(&topic, 0).await.unwrap(), written.len() as u64);
    assert!(read_all(&topics, &topic, 0, 0).await == written);
    let mut too_large = Batch::default();
    too_large.push(b"", &vec![b'x'; (32 << 20) + 1]);
    let error = topics.append(&topic, 0, &too_large, Durability::Buffered).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
}

#[tokio::test]
async fn partitions_are_apart_and_their_number_is_checked() {
    let Some(mut options) = cluster("partitions_are_apart_and_their_number_is_checked") else { return };
    options.partitions = 3;
    let (topics, topic) = (open(&options), new("partitions"));
    for partition in 0..3 {
        assert_eq!(topics.create(&topic, partition, 0).await.unwrap(), 0);
        let records = batch((0..=partition).map(|n| (partition.to_string(), n.to_string())));
        assert_eq!(topics.append(&topic, partition, &records, Durability::Buffered).await.unwrap(), 0);
    }
    for partition in 0..3 {
        let expected = batch((0..=partition).map(|n| (partition.to_string(), n.to_string())));
        assert_eq!(read_all(&topics, &topic, partition, 0).await, expected);
    }
    let error = topics.create(&topic, 3, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownTopic, "{error}");
    options.partitions = 4;
    let error = open(&options).create(&topic, 0, 0).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unfit, false), "{error}");
    assert!(error.to_string().contains("has 3 partitions, and the manifest says 4"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_create_a_topic_at_the_same_time() {
    let Some(options) = cluster("many_may_create_a_topic_at_the_same_time") else { return };
    let topic = new("created-together");
    let creators = (0..5).map(|_| {
        let (topics, topic) = (open(&options), topic.clone());
        tokio::spawn(async move { topics.create(&topic, 0, 0).await })
    });
    for creator in creators.collect::<Vec<_>>() {
        assert_eq!(creator.await.unwrap().unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_another_process_wake_soon() {
    let Some(options) = cluster("readers_of_another_process_wake_soon") else { return };
    let (writer, reader, topic) = (open(&options), open(&options), new("woken"));
    writer.create(&topic, 0, 0).await.unwrap();
    let mut slow = 0;
    for number in 0..50 {
        let written = batch([(String::new(), number.to_string())]);
        let (waited, appended) = tokio::join!(
            async {
                let end = reader.wait(&topic, 0, number).await.unwrap();
                (end, Instant::now())
            },
            async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                writer.append(&topic, 0, &written, Durability::Buffered).await.unwrap();
                Instant::now()
            }
        );
        assert_eq!(waited.0, number + 1);
        // Without the bell each would take until the next look, up to a second later.
        slow += u32::from(waited.1.saturating_duration_since(appended) > Duration::from_millis(200));
    }
    assert!(slow < 10, "{slow} of 50 waits were slow");
}

#[tokio::test]
async fn a_cluster_that_is_down_is_an_error_that_may_pass() {
    // Nobody listens at the first; at the second somebody does, and never answers.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [closed, silent.local_addr().unwrap()] {
        let topics = open(&options(&address.to_string()));
        let begun = Instant::now();
        let errors = [
            topics.create("down", 0, 0).await.map(drop).unwrap_err(),
            topics.list().await.map(drop).unwrap_err(),
            topics.read("down", 0, 0).await.map(drop).unwrap_err(),
        ];
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        for error in errors {
            assert_eq!((error.kind(), error.retryable()), (ErrorKind::Io, true), "{error}");
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        }
    }
}

#[test]
fn what_the_manifest_names_must_be_there() {
    let mut options = options("127.0.0.1:9003");
    options.tls = Some(Tls {
        domain: "example.org".to_owned(),
        ca: "ca.pem".into(),
        cert: "cert.pem".into(),
        key: "key.pem".into(),
    });
    let error = Fluvio::open(&options, Path::new("/nowhere")).map(drop).unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unfit, false), "{error}");
}

/// Tries again what may pass, until it works.
macro_rules! persist {
    ($failures:expr, $attempt:expr) => {
        loop {
            match $attempt {
                Ok(value) => break value,
                Err(error) => {
                    assert!(error.retryable(), "{:?}: {error}", error.kind());
                    $failures.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
}

/// `TIDEGATE_TEST_FLUVIO_RESTART` is a command that kills the SPU and starts it anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_after_the_spu_was_killed() {
    const TEST: &str = "nothing_acknowledged_is_missing_after_the_spu_was_killed";
    const KILLS: u32 = 5;
    let Some(options) = cluster(TEST) else { return };
    let Ok(restart) = std::env::var("TIDEGATE_TEST_FLUVIO_RESTART") else {
        skipped(TEST, "nothing kills the SPU; set TIDEGATE_TEST_FLUVIO_RESTART to a command");
        return;
    };
    let (writer, reader, topic) = (open(&options), open(&options), new("killed"));
    writer.create(&topic, 0, 0).await.unwrap();
    let killed = AtomicU32::new(0);
    let (failed_appends, failed_reads) = (AtomicU32::new(0), AtomicU32::new(0));
    let killing = async {
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let status = tokio::process::Command::new("sh").arg("-c").arg(&restart).status().await.unwrap();
            assert!(status.success());
            killed.fetch_add(1, Ordering::Relaxed);
        }
    };
    let appending = async {
        let mut next = 0;
        // On for a while after the last kill, so that the end is not in its shadow.
        while killed.load(Ordering::Relaxed) < KILLS || failed_appends.load(Ordering::Relaxed) == 0 {
            let records = batch((next..next + 1000).map(|n| (String::new(), n.to_string())));
            persist!(failed_appends, writer.append(&topic, 0, &records, Durability::Buffered).await);
            next += 1000;
        }
        let last = batch([(String::new(), "last".to_owned())]);
        persist!(failed_appends, writer.append(&topic, 0, &last, Durability::Buffered).await);
        next
    };
    let reading = async {
        // The next number that was not read yet; what was sent twice comes twice.
        let (mut from, mut expected, mut twice) = (0, 0, 0);
        loop {
            let Some(fetched) = persist!(failed_reads, reader.read(&topic, 0, from).await) else {
                persist!(failed_reads, reader.wait(&topic, 0, from).await);
                continue;
            };
            from = fetched.next;
            for record in fetched.batch.iter() {
                if record.value == b"last" {
                    return (expected, twice);
                }
                let number: u64 = std::str::from_utf8(record.value).unwrap().parse().unwrap();
                assert!(number <= expected, "{number} follows {expected}");
                twice += u64::from(number < expected);
                expected += u64::from(number == expected);
            }
        }
    };
    let ((), appended, (read, twice)) = tokio::join!(killing, appending, reading);
    assert_eq!(read, appended);
    eprintln!(
        "{KILLS} kills: {appended} records acknowledged and read, {twice} of them twice; {} appends and {} \
         reads failed and were tried again",
        failed_appends.load(Ordering::Relaxed),
        failed_reads.load(Ordering::Relaxed)
    );
}
