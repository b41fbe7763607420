//! A bulk move that meets another move of its lines waits for it: what is passed over is gone, and not busy.

use std::time::Duration;

use tidegate_postgres::listener::Listener;
use tidegate_store::filter::LetterFilter;
use tidegate_store::moves::{self, BulkMove, Kind, jobs};
use tidegate_store::sink::make_moves;

use super::fixture::Fixture;
use super::moves::{NAMELESS, bulk, job, with_letters, work};

/// A move of line 3:1 that another process asks for: it is seen when its transaction is committed.
fn asking(kind: &str) -> String {
    let claim = match kind {
        "replay" => {
            "update tidegate.dead_letters set status = 'claimed', attempt = attempt + 1 where source = 3 and line = 1"
        }
        _ => "select from tidegate.dead_letters where source = 3 and line = 1 for update",
    };
    format!(
        "begin; {claim}; insert into tidegate.moves (source, line, kind, attempt, asked_by, status_before, reasons_before) \
         select source, line, '{kind}', attempt, 'bob', 'rejected', reasons from tidegate.dead_letters \
         where source = 3 and line = 1"
    )
}

async fn until_it_waits(fixture: &Fixture) {
    let sql = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    while fixture.query(sql).await == ["0"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_line_that_another_move_takes_at_the_same_moment_has_its_turn_behind_that() {
    for (kind, others, expected) in [
        (Kind::Replay, "replay", [3, 0, 0]),
        (Kind::Discard, "replay", [0, 3, 0]),
        // Given up by the other: gone.
        (Kind::Replay, "discard", [2, 0, 1]),
        (Kind::Discard, "discard", [0, 2, 1]),
    ] {
        let fixture = with_letters(&[(3, 1, NAMELESS), (3, 2, NAMELESS), (3, 3, NAMELESS)]).await;
        let asked = jobs::ask(&fixture.sink, &bulk(kind, LetterFilter::default())).await.unwrap();
        let (session, connection) =
            tokio_postgres::connect(&fixture.url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        session.batch_execute(&asking(others)).await.unwrap();
        let sink = fixture.sink.clone();
        let working = tokio::spawn(async move { make_moves::work(&sink).await.unwrap() });
        until_it_waits(&fixture).await;
        session.batch_execute("commit").await.unwrap();
        working.await.unwrap();
        work(&fixture.sink).await;
        let done = job(&fixture, asked.job).await;
        let found = [done.rejected, done.discarded, done.passed_over];
        assert_eq!((found, done.left, done.state.as_str()), (expected, 0, "done"), "{kind:?} {others}");
    }
}

#[tokio::test]
async fn a_line_in_the_hands_of_another_is_on_the_list() {
    let fixture = with_letters(&[(3, 1, NAMELESS), (3, 2, NAMELESS)]).await;
    fixture.execute(&format!("{}; commit", asking("replay"))).await;
    assert_eq!(fixture.letters().await[0], "3:1 claimed missing_value");
    let rejected = LetterFilter { status: Some("rejected".to_owned()), ..LetterFilter::default() };
    let discard = bulk(Kind::Discard, rejected);
    assert_eq!(jobs::preview(&fixture.sink, &discard).await.unwrap().counted.lines, 2);
    let asked = jobs::ask(&fixture.sink, &discard).await.unwrap();
    assert_eq!(asked.lines, 2);
    work(&fixture.sink).await;
    let done = job(&fixture, asked.job).await;
    assert_eq!((done.discarded, done.passed_over), (2, 0));
    let bobs = "select outcome from tidegate.moves where asked_by = 'bob'";
    assert_eq!(fixture.query(bobs).await, ["rejected"]);
}

/// A request notifies the task that makes moves, and that task notifies the ones that wait for theirs.
#[tokio::test]
async fn requests_and_made_moves_are_notified() {
    let fixture = with_letters(&[(3, 1, NAMELESS), (3, 2, NAMELESS)]).await;
    let (making, sink) = (fixture.sink.clone(), fixture.sink.clone());
    let listener = Listener::start(&fixture.sink);
    let mut notifications = listener.notifications();
    let maker = tokio::spawn(async move {
        loop {
            notifications.next(None).await;
            work(&making).await;
        }
    });
    for kind in [Kind::Replay, Kind::Discard] {
        let mut made = std::pin::pin!(moves::made(&sink));
        made.as_mut().enable();
        let asked = jobs::ask(&sink, &bulk(kind, LetterFilter::default())).await.unwrap();
        tokio::time::timeout(Duration::from_secs(60), made).await.expect("it is made, and rung");
        while !job(&fixture, asked.job).await.has_ended() {
            tokio::task::yield_now().await;
        }
    }
    maker.abort();
}

#[tokio::test]
async fn jobs_that_overlap_each_come_to_their_ends() {
    let lines: Vec<_> = (1..=30).map(|line| (3, line, NAMELESS)).collect();
    let fixture = with_letters(&lines).await;
    let mut jobs = Vec::new();
    for (kind, rate) in [
        (Kind::Replay, Some(200.0)),
        (Kind::Replay, None),
        (Kind::Replay, Some(100.0)),
        (Kind::Discard, Some(300.0)),
        (Kind::Discard, None),
    ] {
        let wanted = BulkMove { rate, ..bulk(kind, LetterFilter::default()) };
        jobs.push(jobs::ask(&fixture.sink, &wanted).await.unwrap().job);
    }
    // Two make them side by side.
    let (one, other) = (fixture.sink.clone(), fixture.sink.clone());
    tokio::join!(work(&one), work(&other));
    let mut discarded = 0;
    for number in jobs {
        let done = job(&fixture, number).await;
        assert_eq!((done.lines, done.left, done.state.as_str()), (30, 0, "done"), "{done:?}");
        assert_eq!(done.rejected + done.discarded + done.passed_over, 30, "{done:?}");
        discarded += done.discarded;
    }
    assert_eq!(discarded, 30);
}
