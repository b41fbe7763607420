//! The same content again: when it is the same delivery, and when it is not.

use std::fs;
use std::sync::Arc;

use tidegate_core::contract::PollAnswer;
use tidegate_files::{Inbox, PassedOver, QueuedReload};

use super::{Bench, many_lines};

/// A bench into which contents were dropped under one name, one after the other.
async fn after(contents: &[&str]) -> Bench {
    let mut bench = Bench::new();
    for content in contents {
        drop_and_finish(&mut bench, content).await;
    }
    bench
}

async fn drop_and_finish(bench: &mut Bench, content: &str) {
    let path = bench.drop_file("jobs.csv", content);
    bench
        .poll_until(true, |bench, polled| {
            bench.account();
            matches!(polled, PollAnswer::Idle) && !path.exists()
        })
        .await;
}

/// The newest source of the file is to be read again.
fn again(bench: &Bench, reload: u64, old_source: u64) -> QueuedReload {
    let (dataset, _) = bench.manifest.dataset("jobs").unwrap();
    let (name, content, bytes, generated_keys, source) = ("jobs.csv".to_owned(), None, None, None, None);
    QueuedReload { reload, old_source, dataset, name, content, bytes, generated_keys, source }
}

#[tokio::test]
async fn a_content_that_comes_back_after_another_is_a_new_source() {
    let bench = after(&["1,ten\n", "1,twelve\n", "1,ten\n"]).await;
    let given: Vec<_> = bench.lines.iter().map(|(source, _, text)| (*source, text.as_str())).collect();
    assert_eq!(given, [(1, "1,ten"), (2, "1,twelve"), (3, "1,ten")]);
    assert_eq!(bench.done(), ["1-jobs.csv", "2-jobs.csv", "3-jobs.csv"]);
    assert_eq!(bench.landing.passed_over(), []);
}

#[tokio::test]
async fn the_content_that_came_last_is_passed_over_and_said() {
    let bench = after(&["1,ten\n", "1,twelve\n", "1,twelve\n"]).await;
    assert_eq!(bench.memory.sources().len(), 2);
    assert_eq!(bench.landing.passed_over(), [PassedOver { name: "jobs.csv".to_owned(), source: 2 }]);
    assert_eq!(bench.done(), ["1-jobs.csv", "2-jobs.csv"]);
}

#[tokio::test]
async fn a_delivery_that_was_interrupted_goes_on_under_its_number_though_its_content_came_before() {
    let mut bench = after(&["1,a\n2,b\n", "1,c\n"]).await;
    bench.drop_file("jobs.csv", "1,a\n2,b\n");
    bench.read(3).await;
    bench.restart(&[(3, 1)]);
    bench.poll_until(false, |bench, _| !bench.lines.is_empty()).await;
    assert_eq!((bench.lines.clone(), bench.memory.sources().len()), (vec![(3, 2, "2,b".to_owned())], 3));
}

#[tokio::test]
async fn a_source_is_read_again_from_its_file_as_often_as_that_is_asked_for() {
    let mut bench = after(&["1,ten\n", "1,twelve\n"]).await;
    let inbox = Arc::new(Inbox::default());
    bench.hand_over(inbox.clone());
    for (reload, old_source, new) in [(1, 1, 3), (2, 1, 4), (3, 3, 5)] {
        inbox.push_reload(again(&bench, reload, old_source));
        inbox.push_reload(again(&bench, reload, old_source)); // it is asked for once
        bench.lines.clear();
        bench.read(new).await;
        assert_eq!(bench.lines, [(new as u64, 1, "1,ten".to_owned())]);
        bench.account();
        bench.idle().await;
    }
    let done = ["1-jobs.csv", "2-jobs.csv", "3-jobs.csv", "4-jobs.csv", "5-jobs.csv"];
    assert_eq!(bench.done(), done);
    // What it has become is the newest, so the same file is passed over.
    drop_and_finish(&mut bench, "1,ten\n").await;
    assert_eq!(bench.memory.sources().len(), 5);
}

#[tokio::test]
async fn a_reload_that_was_interrupted_goes_on_under_its_number() {
    let content = many_lines(3).replace(",1\n", "\n");
    let mut bench = after(&[&content]).await;
    let inbox = Arc::new(Inbox::default());
    bench.hand_over(inbox.clone());
    inbox.push_reload(again(&bench, 1, 1));
    bench.poll_until(false, |_, polled| matches!(polled, PollAnswer::SourceBatch(_))).await;
    assert_eq!(bench.memory.sources().len(), 2);
    bench.restart(&[(2, 10)]);
    let inbox = Arc::new(Inbox::default());
    bench.hand_over(inbox.clone());
    inbox.push_reload(QueuedReload { source: Some(2), ..again(&bench, 1, 1) });
    bench.read(2).await;
    let lines = content.lines().count() as u64;
    assert_eq!((bench.numbers()[0], bench.numbers().len() as u64), (11, lines - 10));
    (1..=10).for_each(|line| bench.memory.enter(2, line));
    bench.account();
    bench.idle().await;
    assert_eq!(
        (bench.done(), bench.memory.sources().len()),
        (vec!["1-jobs.csv".into(), "2-jobs.csv".into()], 2)
    );
}

#[tokio::test]
async fn a_source_whose_file_is_gone_or_another_is_not_read_again_and_that_is_said() {
    let mut bench = after(&["1,a\n", "1,b\n"]).await;
    fs::remove_file(bench.path("done/1-jobs.csv")).unwrap();
    fs::write(bench.path("done/2-jobs.csv"), "1,edited\n").unwrap();
    let inbox = Arc::new(Inbox::default());
    bench.hand_over(inbox.clone());
    inbox.push_reload(again(&bench, 1, 1));
    inbox.push_reload(QueuedReload { bytes: Some(4), ..again(&bench, 2, 2) });
    bench.poll_until(true, |bench, _| bench.memory.refused(2).is_some()).await;
    let gone = bench.memory.refused(1).unwrap();
    assert!(gone.contains("done/1-jobs.csv' cannot be read again: No such file"), "{gone}");
    let other = bench.memory.refused(2).unwrap();
    assert!(other.contains("done/2-jobs.csv' cannot be read again: it is not what was read"), "{other}");
    assert_eq!(bench.memory.sources().iter().filter(|source| source.name == "jobs.csv").count(), 2);
}

#[tokio::test]
async fn a_source_whose_file_was_lost_goes_on_when_it_comes_back_though_a_newer_one_has_its_name() {
    let mut bench = Bench::new();
    bench.drop_file("jobs.csv", "1,a\n2,b\n");
    bench.read(1).await;
    bench.memory.enter(1, 1); // and the other line is lost
    bench.drop_file("jobs.csv", "1,c\n");
    bench.read(2).await;
    bench.memory.enter(2, 1);
    bench
        .poll_until(true, |bench, polled| matches!(polled, PollAnswer::Idle) && bench.done().len() == 1)
        .await;
    bench.lines.clear();
    drop_and_finish(&mut bench, "1,a\n2,b\n").await;
    assert_eq!((bench.lines.clone(), bench.memory.sources().len()), (vec![(1, 2, "2,b".to_owned())], 2));
    // From now on it is a file as any other.
    drop_and_finish(&mut bench, "1,a\n2,b\n").await;
    assert_eq!(bench.memory.sources().len(), 3);
}
