//! Going on after a stop, a loss or an error.

use std::fs;
use std::sync::Arc;

use tidegate_core::contract::PollAnswer;
use tidegate_core::registry::{Arrival, ArrivalRole, Registry};
use tidegate_core::shape::Shape;
use tidegate_files::{Body, EnteredSource, Inbox};

use super::{Bench, many_lines};

#[tokio::test]
async fn a_source_goes_on_behind_what_is_on_its_topic() {
    let mut bench = Bench::new();
    bench.drop_file("jobs.csv", "1,a\n2,b\n3,c\n4,d\n");
    bench.read(1).await;
    bench.restart(&[(1, 2)]);
    bench.poll_out(false).await;
    assert_eq!(bench.numbers(), [3, 4]);
}

#[tokio::test]
async fn lines_in_the_ledger_are_not_given_out_again() {
    let mut bench = Bench::new();
    let content = many_lines(2);
    let count = content.lines().count() as u64;
    bench.drop_file("hired.csv", &content);
    bench.read(1).await;
    let holes = [5, 65_536, 65_537, count];
    for line in (1..=count).filter(|line| !holes.contains(line)) {
        bench.memory.enter(1, line);
    }
    bench.restart(&[]);
    assert!(matches!(bench.poll_out(false).await, PollAnswer::Waiting));
    assert_eq!(bench.numbers(), holes);
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["1-hired.csv"]);
}

#[tokio::test]
async fn a_fresh_source_asks_the_ledger_nothing() {
    let mut bench = Bench::new();
    bench.drop_file("hired.csv", many_lines(2));
    bench.drop_file("jobs_a.csv", "1,a\n");
    bench.drop_file("jobs_b.csv", "2,a\n");
    bench.read(3).await;
    assert_eq!(bench.memory.asked(), []);
}

#[tokio::test]
async fn what_is_on_no_topic_any_more_is_read_again_from_the_file() {
    let mut bench = Bench::new();
    bench.drop_file("jobs.csv", "1,a\n2,\0\n3,c\n4,d\n");
    bench.read(1).await;
    bench.memory.enter(1, 1);
    bench.memory.enter(1, 4);
    (bench.lines, bench.letters) = (vec![], vec![]);
    assert!(matches!(bench.poll_out(false).await, PollAnswer::Waiting));
    assert!(bench.lines.is_empty());
    bench.poll_until(true, |_, polled| matches!(polled, PollAnswer::SourceBatch(_))).await;
    assert_eq!((bench.numbers(), bench.letters.len()), (vec![3], 1));
    // The lines are lost once more: they are read again, but not at once.
    for _ in 0..100 {
        assert!(matches!(bench.try_poll(true).await.unwrap(), PollAnswer::Waiting));
    }
    bench.poll_until(true, |_, polled| matches!(polled, PollAnswer::SourceBatch(_))).await;
    assert_eq!(bench.numbers(), [3, 3]);
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["1-jobs.csv"]);
}

#[tokio::test]
async fn a_spooled_file_that_is_sent_again_while_its_lines_are_in_flight_is_removed_at_the_end() {
    const TEXT: &str = "1,a\n2,b\n";
    let mut bench = Bench::new();
    let (spool, inbox) = (bench.dir.path().join("spool"), Arc::new(Inbox::default()));
    fs::create_dir(&spool).unwrap();
    let (path, replacement) = (spool.join("jobs.csv"), spool.join("new"));
    fs::write(&path, TEXT).unwrap();
    let (dataset, definition) = bench.manifest.dataset("jobs").unwrap();
    let (content, name) = (*blake3::hash(TEXT.as_bytes()).as_bytes(), "upload".to_owned());
    let arrival = Arrival {
        dataset: "jobs",
        name: &name,
        fingerprint: &content,
        content: &content,
        bytes: TEXT.len() as u64,
        role: ArrivalRole::Delivery,
        shape: &Shape::of(&bench.manifest, definition),
        keys: None,
    };
    let source = bench.memory.register(arrival).await.unwrap().source;
    bench.hand_over(inbox.clone());
    let body = Body::File { path: path.clone(), content, known: false, lines: None, keys: None };
    inbox.push(EnteredSource { source, dataset, name, shape: None, body });
    bench.read(1).await;
    fs::write(&replacement, TEXT).unwrap();
    fs::rename(&replacement, &path).unwrap();
    // Nothing is in the ledger yet and nothing is on a topic: the lines are read again.
    bench.poll_until(true, |bench, _| bench.numbers() == [1, 2, 1, 2]).await;
    assert!(!bench.memory.source(source).awaited);
    bench.account();
    bench.idle().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_source_whose_lines_and_file_are_gone_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.drop_file("jobs.csv", "1,a\n");
    bench.read(1).await;
    fs::remove_file(bench.path("jobs.csv")).unwrap();
    bench.lines.clear();
    bench.idle().await;
    assert!(bench.lines.is_empty());
    assert!(!bench.memory.source(1).complete);
}

#[tokio::test]
async fn a_source_that_does_not_agree_with_its_ledger_is_named_and_not_waited_for() {
    let mut bench = Bench::new();
    let path = bench.drop_file("jobs.csv", "1,a\n");
    bench.memory.enter(1, 98);
    bench.memory.enter(1, 99);
    bench.read(1).await;
    bench.account();
    bench.idle().await;
    assert!(bench.landing.refused()[&path].starts_with("it does not become complete"));
    assert!(path.exists());
    assert_eq!(bench.lines.len(), 1);
}

#[tokio::test]
async fn an_error_of_the_registry_at_any_call_loses_and_doubles_nothing() {
    let content = many_lines(2);
    // Each call fails once or more before it works.
    for failures in 1..4 {
        let mut bench = Bench::new();
        bench.drop_file("hired.csv", &content);
        let mut errors = 0;
        bench.memory.fail(failures);
        loop {
            match bench.try_poll(false).await {
                Ok(PollAnswer::Idle) => break,
                Ok(PollAnswer::SourceBatch(_)) => bench.memory.fail(failures),
                Ok(PollAnswer::Waiting) => bench.account(),
                Err(error) => {
                    assert!(error.retry);
                    errors += 1;
                }
            }
        }
        assert!(errors >= 2 * failures, "{errors}");
        assert_eq!(bench.texts(), content.lines().collect::<Vec<_>>());
        assert_eq!((bench.memory.sources().len(), bench.done().len()), (1, 1));
    }
}

#[tokio::test]
async fn an_error_while_the_ledger_is_asked_loses_and_doubles_nothing() {
    let mut bench = Bench::new();
    let content = many_lines(3);
    bench.drop_file("hired.csv", &content);
    bench.read(1).await;
    bench.memory.enter(1, 1);
    bench.restart(&[]);
    bench.memory.fail(1);
    assert!(bench.try_poll(false).await.is_err());
    loop {
        match bench.try_poll(false).await {
            Ok(PollAnswer::SourceBatch(_)) => bench.memory.fail(1),
            Ok(_) => break,
            Err(_) => {}
        }
    }
    assert_eq!(bench.texts(), content.lines().skip(1).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_in_done_gives_out_again_what_the_ledger_has_lost() {
    let mut bench = Bench::new();
    bench.drop_file("jobs.csv", "1,a\n2,b\n3,c\n");
    bench.read(1).await;
    bench.account();
    bench.idle().await;
    assert_eq!(bench.done(), ["1-jobs.csv"]);
    bench.memory.forget(1, 2);
    bench.restart(&[]);
    let (jobs, _) = bench.manifest.dataset("jobs").unwrap();
    bench.landing.take_back(1, bench.path("done/1-jobs.csv"), "jobs.csv".to_owned(), jobs);
    bench.landing.take_back(2, bench.path("done/2-gone.csv"), "gone.csv".to_owned(), jobs);
    bench.read(1).await;
    assert_eq!((bench.texts(), bench.numbers()), (vec!["2,b"], vec![2]));
    bench.account();
    bench.idle().await;
    assert_eq!((bench.done(), bench.memory.sources().len()), (vec!["1-jobs.csv".to_owned()], 1));
    assert!(bench.memory.source(1).complete);
}
