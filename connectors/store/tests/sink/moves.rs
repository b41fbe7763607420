//! Dead letters that somebody replays or discards: each move is made once, at the line's own position, and the ledger
//! goes along.

use std::time::{Duration, SystemTime};

use tidegate_core::contract::{Delivery, Sink};
use tidegate_core::dead_letter::{Code, DeadLetter, Event, Reason, Stage};
use tidegate_core::position::Position;
use tidegate_core::record::Batch;
use tidegate_store::export::{self, ExportFormat};
use tidegate_store::filter::{self, LetterFilter, LetterStatus, parse_time};
use tidegate_store::moves::ask::{self, MoveRequest};
use tidegate_store::moves::{self, BulkMove, Job, Kind, Move, MoveError, MoveOutcome, Refusal, jobs};
use tidegate_store::sink::make_moves;
use tidegate_store::{IdempotencyKey, Store, prepare};
use tidegate_testing::company;
use tidegate_testing::store::take_leases;

use super::fixture::{Fixture, delivery, fates};
use super::views::assert_exact;

const GOOD: &str = "1,Ada,2021-03-01T00:00:00Z,1,1";
pub(super) const NAMELESS: &str = "1,,2021-03-01T00:00:00Z,1,1";

/// A department, a job, and employees set aside by the transform: line `SOURCE:LINE` and text.
pub(super) async fn with_letters(letters: &[(u64, u64, &str)]) -> Fixture {
    let fixture = Fixture::new(company::MANIFEST).await;
    fixture.apply(&delivery(&[(0, 1, 1, "1,Sales"), (1, 2, 1, "1,Clerk")])).await.unwrap();
    fixture.apply(&set_aside(letters)).await.unwrap();
    fixture
}

fn set_aside(letters: &[(u64, u64, &str)]) -> Delivery {
    let mut batch = Batch::default();
    for (source, line, text) in letters {
        let reasons = vec![Reason::new(Code::MissingValue, Some("name"), "name is required", b"")];
        let position = Position::new(*source, *line);
        let now = SystemTime::UNIX_EPOCH;
        let letter = DeadLetter::new(
            Event::Rejected,
            Stage::Transform,
            position,
            "hired_employees",
            text.as_bytes(),
            reasons,
            now,
        );
        batch.push_with(b"", |out| letter.write(out));
    }
    Delivery { dead_letters: vec![batch], ..Delivery::default() }
}

fn wanted(kind: Kind, line: Option<&str>) -> MoveRequest {
    let line = line.map(str::to_owned);
    MoveRequest { kind, line, by: "ann".to_owned(), note: Some("from HR".to_owned()), idempotency_key: None }
}

async fn ask(sink: &Store, position: (u64, u64), kind: Kind, line: Option<&str>) -> Result<Move, Refusal> {
    match ask::ask(sink, Position::new(position.0, position.1), &wanted(kind, line)).await {
        Ok(asked) => Ok(asked),
        Err(MoveError::Refused(refused)) => Err(refused),
        Err(MoveError::Postgres(error)) => panic!("{error}"),
    }
}

pub(super) async fn work(sink: &Store) -> u64 {
    let mut lines = 0;
    loop {
        let worked = make_moves::work(sink).await.unwrap();
        lines += worked.lines;
        let Some(next) = worked.next else { return lines };
        tokio::time::sleep(next).await;
    }
}

/// Asks for a move, makes it, and gives what came of it.
async fn moved(fixture: &Fixture, position: (u64, u64), kind: Kind, line: Option<&str>) -> Move {
    let asked = ask(&fixture.sink, position, kind, line).await.unwrap();
    assert_eq!(asked.outcome, None);
    assert_eq!(work(&fixture.sink).await, 1);
    moves::find(&fixture.sink, asked.number).await.unwrap().unwrap()
}

async fn counts(fixture: &Fixture, source: u64) -> [u64; 4] {
    fates(&fixture.sink, source).await
}

async fn employees(fixture: &Fixture) -> Vec<String> {
    fixture
        .query(
            "select concat_ws(',', id, name, department_id, _source, _line) from hired_employees order by id",
        )
        .await
}

#[tokio::test]
async fn an_edited_line_is_accepted_at_its_own_position_and_who_and_why_is_kept() {
    let fixture = with_letters(&[(3, 1, NAMELESS)]).await;
    let asked = ask(&fixture.sink, (3, 1), Kind::Replay, Some(GOOD)).await.unwrap();
    assert_eq!(fixture.letters().await, ["3:1 claimed missing_value"]);
    assert_eq!(counts(&fixture, 3).await, [0, 1, 0, 0], "a claimed line stays in its set");
    assert_eq!(work(&fixture.sink).await, 1);
    assert_eq!(employees(&fixture).await, ["1,Ada,1,3,1"]);
    assert_eq!(fixture.letters().await, ["3:1 replayed missing_value"]);
    assert_eq!(counts(&fixture, 3).await, [1, 0, 0, 0]);
    assert_exact(&fixture, "a replay").await;
    let done = moves::find(&fixture.sink, asked.number).await.unwrap().unwrap();
    assert_eq!((done.outcome, done.attempt, done.newer), (Some(MoveOutcome::Accepted), 1, None));
    assert_eq!((done.by.as_str(), done.note.as_deref()), ("ann", Some("from HR")));
    assert_eq!((done.text_edited.as_deref(), done.text_before.as_deref()), (Some(GOOD), Some(NAMELESS)));
    assert_eq!(done.reasons_before[0].code, Code::MissingValue);
    let letter = filter::find(&fixture.sink, Position::new(3, 1)).await.unwrap().unwrap();
    assert_eq!((letter.text.as_deref(), letter.attempt), (Some(GOOD), 1));
    let again = ask(&fixture.sink, (3, 1), Kind::Replay, None).await.unwrap_err();
    assert_eq!(again, Refusal::Settled(Position::new(3, 1), LetterStatus::Replayed));
    // What comes late from a topic is a duplicate.
    let applied = fixture.apply(&set_aside(&[(3, 1, NAMELESS)])).await.unwrap();
    assert_eq!(applied.tallies[2].duplicates, 1);
    let applied = fixture.apply(&delivery(&[(2, 3, 1, GOOD)])).await.unwrap();
    assert_eq!(applied.tallies[2].duplicates, 1);
    assert_eq!(fixture.letters().await, ["3:1 replayed missing_value"]);
}

#[tokio::test]
async fn a_replay_that_is_asked_for_or_made_twice_is_made_once() {
    let fixture = with_letters(&[(3, 1, NAMELESS)]).await;
    ask(&fixture.sink, (3, 1), Kind::Replay, Some(GOOD)).await.unwrap();
    for kind in [Kind::Replay, Kind::Discard] {
        let refused = ask(&fixture.sink, (3, 1), kind, None).await.unwrap_err();
        assert!(matches!(refused, Refusal::Asked { kind: Kind::Replay, .. }), "{refused}");
    }
    let (one, other) = (fixture.sink.clone(), fixture.sink.clone());
    let (one, other) = tokio::join!(make_moves::work(&one), make_moves::work(&other));
    assert_eq!(one.unwrap().lines + other.unwrap().lines, 1);
    assert_eq!(employees(&fixture).await, ["1,Ada,1,3,1"]);
    assert_eq!(counts(&fixture, 3).await, [1, 0, 0, 0]);
    assert_eq!(fixture.query("select outcome from tidegate.moves").await, ["accepted"]);
    // Of two who ask at once, one is heard.
    let fixture = with_letters(&[(3, 1, NAMELESS)]).await;
    let asks = (0..4).map(|_| ask(&fixture.sink, (3, 1), Kind::Replay, Some(GOOD)));
    let heard = futures_util::future::join_all(asks).await;
    assert_eq!(heard.iter().filter(|heard| heard.is_ok()).count(), 1, "{heard:?}");
}

#[tokio::test]
async fn a_newer_line_keeps_the_row_and_the_answer_tells_which() {
    let fixture = with_letters(&[(3, 1, NAMELESS), (3, 2, NAMELESS)]).await;
    fixture.apply(&delivery(&[(2, 4, 7, "1,Newer,2022-01-01T00:00:00Z,1,1")])).await.unwrap();
    let done = moved(&fixture, (3, 1), Kind::Replay, Some(GOOD)).await;
    assert_eq!((done.outcome, done.newer.as_deref()), (Some(MoveOutcome::Superseded), Some("4:7")));
    assert_eq!(employees(&fixture).await, ["1,Newer,1,4,7"]);
    assert_eq!(counts(&fixture, 3).await, [1, 1, 0, 0]);
    assert_exact(&fixture, "a replay behind a newer line").await;
}

#[tokio::test]
async fn of_two_lines_of_a_key_that_are_replayed_together_the_newer_one_wins() {
    let fixture = with_letters(&[(3, 1, NAMELESS), (3, 2, NAMELESS)]).await;
    let [newer, older] = [((3, 2), "1,Second,2021-03-01T00:00:00Z,1,1"), ((3, 1), GOOD)];
    let newer = ask(&fixture.sink, newer.0, Kind::Replay, Some(newer.1)).await.unwrap();
    let older = ask(&fixture.sink, older.0, Kind::Replay, Some(older.1)).await.unwrap();
    assert_eq!(work(&fixture.sink).await, 2);
    assert_eq!(employees(&fixture).await, ["1,Second,1,3,2"]);
    let outcome = async |number| moves::find(&fixture.sink, number).await.unwrap().unwrap().outcome;
    assert_eq!(outcome(newer.number).await, Some(MoveOutcome::Accepted));
    assert_eq!(outcome(older.number).await, Some(MoveOutcome::Superseded));
}

#[tokio::test]
async fn a_line_that_is_still_wrong_is_rejected_again_with_what_is_wrong_now() {
    let fixture = with_letters(&[(3, 1, NAMELESS)]).await;
    let done = moved(&fixture, (3, 1), Kind::Replay, None).await;
    assert_eq!(done.outcome, Some(MoveOutcome::Rejected));
    assert_eq!(fixture.letters().await, ["3:1 rejected missing_value"]);
    let edited = "1,Ada,soon,x,1";
    let done = moved(&fixture, (3, 1), Kind::Replay, Some(edited)).await;
    assert_eq!((done.outcome, done.attempt), (Some(MoveOutcome::Rejected), 2));
    assert_eq!(fixture.letters().await, ["3:1 rejected invalid_timestamp+invalid_integer"]);
    assert_eq!(counts(&fixture, 3).await, [0, 1, 0, 0]);
    let letter = filter::find(&fixture.sink, Position::new(3, 1)).await.unwrap().unwrap();
    assert_eq!((letter.text.as_deref(), letter.attempt), (Some(edited), 2), "the text that was tried last");
    let moves = moves::of_line(&fixture.sink, Position::new(3, 1)).await.unwrap();
    assert_eq!(moves[1].text_before.as_deref(), Some(NAMELESS), "what it was before is kept");
    assert_eq!(moves[0].reasons[0].code, Code::MissingValue);
    // What only Postgres refuses.
    fixture.execute("alter table hired_employees add check (name <> 'bad')").await;
    let done = moved(&fixture, (3, 1), Kind::Replay, Some("1,bad,2021-03-01T00:00:00Z,1,1")).await;
    assert_eq!(done.outcome, Some(MoveOutcome::Rejected));
    assert_eq!(fixture.letters().await, ["3:1 rejected constraint_violation"]);
    let done = moved(&fixture, (3, 1), Kind::Replay, Some(GOOD)).await;
    assert_eq!((done.outcome, done.attempt), (Some(MoveOutcome::Accepted), 4));
    assert_eq!(employees(&fixture).await, ["1,Ada,1,3,1"]);
}

#[tokio::test]
async fn a_replayed_line_that_lacks_only_a_reference_waits_and_heals() {
    let fixture = with_letters(&[(3, 1, NAMELESS), (3, 2, NAMELESS)]).await;
    let done = moved(&fixture, (3, 1), Kind::Replay, Some("1,Ada,2021-03-01T00:00:00Z,9,1")).await;
    assert_eq!(done.outcome, Some(MoveOutcome::Waiting));
    assert_eq!(done.reasons[0].code, Code::UnknownReference);
    assert_eq!(fixture.letters().await[0], "3:1 waiting unknown_reference");
    assert_eq!(counts(&fixture, 3).await, [0, 1, 1, 0]);
    // From waiting to waiting, and from there to rejected.
    let done = moved(&fixture, (3, 1), Kind::Replay, None).await;
    assert_eq!((done.outcome, done.status_before.as_str()), (Some(MoveOutcome::Waiting), "waiting"));
    let done = moved(&fixture, (3, 1), Kind::Replay, Some(NAMELESS)).await;
    assert_eq!(done.outcome, Some(MoveOutcome::Rejected));
    assert_eq!(counts(&fixture, 3).await, [0, 2, 0, 0]);
    moved(&fixture, (3, 1), Kind::Replay, Some("1,Ada,2021-03-01T00:00:00Z,9,1")).await;
    fixture.apply(&delivery(&[(0, 4, 1, "9,Late")])).await.unwrap();
    fixture.sink.heal().await.unwrap();
    assert_eq!(fixture.letters().await[0], "3:1 healed unknown_reference");
    assert_eq!(employees(&fixture).await, ["1,Ada,9,3,1"]);
    assert_eq!(counts(&fixture, 3).await, [1, 1, 0, 0]);
}

#[tokio::test]
async fn a_waiting_line_is_replayed_with_another_reference_and_heals_what_waits_for_it() {
    let fixture = Fixture::new("pipeline: p\ndatasets:\n  people:\n    key: id\n    columns:\n      id: integer\n      boss: {type: integer, references: people, optional: true}\n").await;
    fixture.apply(&delivery(&[(0, 1, 1, "1,"), (0, 1, 2, "2,77"), (0, 1, 3, "3,2")])).await.unwrap();
    fixture.sink.heal().await.unwrap();
    assert_eq!(counts(&fixture, 1).await, [1, 0, 2, 0]);
    moved(&fixture, (1, 2), Kind::Replay, Some("2,1")).await;
    assert_eq!(counts(&fixture, 1).await, [3, 0, 0, 0], "who waited for it is healed at once");
    let statuses =
        fixture.query("select line || ' ' || status from tidegate.dead_letters order by line").await;
    assert_eq!(statuses, ["2 replayed", "3 healed"]);
}

#[tokio::test]
async fn a_discarded_line_is_given_up_for_good() {
    let fixture = with_letters(&[(3, 1, NAMELESS)]).await;
    fixture.apply(&delivery(&[(2, 3, 2, "2,Bob,2021-03-01T00:00:00Z,9,1")])).await.unwrap();
    assert_eq!(counts(&fixture, 3).await, [0, 1, 1, 0]);
    for line in [1, 2] {
        let done = moved(&fixture, (3, line), Kind::Discard, None).await;
        assert_eq!((done.outcome, done.attempt), (Some(MoveOutcome::Discarded), 0));
    }
    assert_eq!(counts(&fixture, 3).await, [0, 0, 0, 2]);
    assert_eq!(fixture.letters().await, ["3:1 discarded missing_value", "3:2 discarded unknown_reference"]);
    fixture.apply(&delivery(&[(0, 4, 1, "9,Late"), (2, 3, 1, GOOD)])).await.unwrap();
    fixture.sink.heal().await.unwrap();
    assert_eq!(employees(&fixture).await, [""; 0]);
    let refused = ask(&fixture.sink, (3, 1), Kind::Replay, Some(GOOD)).await.unwrap_err();
    assert_eq!(refused, Refusal::Settled(Position::new(3, 1), LetterStatus::Discarded));
    let refused = ask(&fixture.sink, (3, 9), Kind::Discard, None).await.unwrap_err();
    assert_eq!(refused, Refusal::Unknown(Position::new(3, 9)));
}

#[tokio::test]
async fn lines_that_are_claimed_or_discarded_while_they_heal_have_one_fate() {
    let fixture = with_letters(&[]).await;
    let lines: Vec<String> = (1..=60).map(|i| format!("{i},N{i},2021-03-01T00:00:00Z,9,1")).collect();
    let lines: Vec<_> = (1..).zip(&lines).map(|(i, text)| (2, 3, i, text.as_str())).collect();
    fixture.apply(&delivery(&lines)).await.unwrap();
    fixture.execute("insert into departments values (9, 'theirs')").await;
    let healing = async {
        for _ in 0..5 {
            fixture.sink.heal().await.unwrap();
        }
    };
    let asking = async {
        for line in 1..=60 {
            let kind = if line % 2 == 0 { Kind::Discard } else { Kind::Replay };
            let _ = ask(&fixture.sink, (3, line), kind, None).await;
        }
    };
    let working = async {
        for _ in 0..20 {
            make_moves::work(&fixture.sink).await.unwrap();
        }
    };
    tokio::join!(asking, healing, working);
    work(&fixture.sink).await;
    let [accepted, rejected, waiting, discarded] = counts(&fixture, 3).await;
    assert_eq!((accepted + discarded, rejected, waiting), (60, 0, 0));
    let statuses = fixture
        .query("select count(*) filter (where status in ('healed', 'replayed')) || ' ' || count(*) filter (where status = 'discarded') from tidegate.dead_letters")
        .await;
    assert_eq!(statuses, [format!("{accepted} {discarded}")]);
    assert_eq!(employees(&fixture).await.len() as u64, accepted);
    assert_exact(&fixture, "all of it").await;
}

#[tokio::test]
async fn a_line_that_healed_before_its_discard_is_passed_over() {
    let fixture = with_letters(&[]).await;
    fixture.apply(&delivery(&[(2, 3, 1, "2,Bob,2021-03-01T00:00:00Z,9,1")])).await.unwrap();
    let asked = ask(&fixture.sink, (3, 1), Kind::Discard, None).await.unwrap();
    // As if another process had healed it, which had not heard of the discard.
    fixture.execute("update tidegate.moves set done_at = now(), outcome = 'passed_over'").await;
    fixture.apply(&delivery(&[(0, 4, 1, "9,Late")])).await.unwrap();
    fixture.sink.heal().await.unwrap();
    fixture.execute("update tidegate.moves set done_at = null, outcome = null").await;
    work(&fixture.sink).await;
    let done = moves::find(&fixture.sink, asked.number).await.unwrap().unwrap();
    assert_eq!(done.outcome, Some(MoveOutcome::PassedOver));
    assert_eq!(counts(&fixture, 3).await, [1, 0, 0, 0]);
    assert_eq!(fixture.letters().await, ["3:1 healed unknown_reference"]);
}

#[tokio::test]
async fn a_line_that_is_no_record_of_its_dataset_is_refused_and_nothing_is_claimed() {
    let fixture = with_letters(&[(3, 1, NAMELESS)]).await;
    let long = "x".repeat(1_048_577);
    let cases = [
        ("", "is empty"),
        ("\n", "is empty"),
        ("1,a\n2,b", "more than one record"),
        ("1,a\n", "more than one record, or ends with"),
        ("1,a\r\n", "more than one record, or ends with"),
        ("\u{feff}1,a", "byte order mark"),
        ("1,\"a", "never closes"),
        ("1,\"a\"b", "closes before the field ends"),
        ("1,a\0", "NUL"),
        (&long, "is 1048577 bytes long, max_record_bytes allows 1048576"),
    ];
    for (line, why) in cases {
        let refused = ask(&fixture.sink, (3, 1), Kind::Replay, Some(line)).await.unwrap_err();
        assert!(matches!(&refused, Refusal::Line(said) if said.contains(why)), "{line:.20}: {refused}");
    }
    assert_eq!(fixture.letters().await, ["3:1 rejected missing_value"]);
    assert_eq!(fixture.query("select count(*) from tidegate.moves").await, ["0"]);
    // A line feed inside quotes is data.
    let done = moved(&fixture, (3, 1), Kind::Replay, Some("1,\"A\nda\",2021-03-01T00:00:00Z,1,1")).await;
    assert_eq!(done.outcome, Some(MoveOutcome::Accepted));
    assert_eq!(fixture.query("select name from hired_employees").await, ["A\nda"]);
}

#[tokio::test]
async fn an_edited_line_is_written_like_the_text_of_its_letter_which_is_canonical_if_it_is_of_the_sink() {
    let manifest = "pipeline: p\ndatasets:\n  notes:\n    key: id\n    csv: {delimiter: ';'}\n    columns:\n      id: integer\n      note: text\n";
    let fixture = Fixture::new(manifest).await;
    fixture.execute("alter table notes add constraint good check (note <> 'a;b')").await;
    fixture.apply(&delivery(&[(0, 1, 1, "1,a;b"), (0, 1, 2, "2,a;b")])).await.unwrap();
    assert_eq!(counts(&fixture, 1).await, [0, 2, 0, 0]);
    fixture.execute("alter table notes drop constraint good").await;
    moved(&fixture, (1, 1), Kind::Replay, None).await;
    moved(&fixture, (1, 2), Kind::Replay, Some("2,\"x,y\"")).await;
    assert_eq!(fixture.query("select id || '=' || note from notes order by id").await, ["1=a;b", "2=x,y"]);
}

#[tokio::test]
async fn what_is_not_kept_as_a_whole_text_needs_a_line() {
    let fixture = with_letters(&[(3, 1, NAMELESS), (3, 2, NAMELESS)]).await;
    fixture
        .execute(
            "update tidegate.dead_letters set text = null, bytes = 'eA==' where line = 1; \
             update tidegate.dead_letters set length = 9999999, blake3 = 'aa' where line = 2",
        )
        .await;
    for line in [1, 2] {
        let refused = ask(&fixture.sink, (3, line), Kind::Replay, None).await.unwrap_err();
        assert!(matches!(refused, Refusal::NeedsLine(..)), "{refused}");
    }
    let all = bulk(Kind::Replay, LetterFilter::default());
    let preview = jobs::preview(&fixture.sink, &all).await.unwrap();
    assert_eq!((preview.counted.lines, preview.need_a_line), (0, 2));
    assert_eq!(jobs::ask(&fixture.sink, &all).await.unwrap().lines, 0);
    moved(&fixture, (3, 1), Kind::Replay, Some(GOOD)).await;
    let letter = filter::find(&fixture.sink, Position::new(3, 1)).await.unwrap().unwrap();
    assert_eq!((letter.text.as_deref(), letter.bytes), (Some(GOOD), None));
    assert_eq!(
        fixture.query("select letter_before ->> 'bytes' from tidegate.moves where source = 3").await,
        ["eA=="]
    );
}

#[tokio::test]
async fn only_who_holds_the_leases_makes_moves() {
    let fixture = with_letters(&[(3, 1, NAMELESS)]).await;
    let other = fixture.another_owner();
    ask(&other, (3, 1), Kind::Replay, Some(GOOD)).await.unwrap();
    let error = make_moves::work(&other).await.unwrap_err().to_string();
    assert!(error.contains("has taken this pipeline over"), "{error}");
    assert_eq!(fixture.letters().await, ["3:1 claimed missing_value"]);
    // Whoever heals does it too.
    fixture.sink.heal().await.unwrap();
    assert_eq!(fixture.letters().await, ["3:1 replayed missing_value"]);
}

#[tokio::test]
async fn a_letter_and_a_ledger_that_disagree_stop_a_move_instead_of_hiding_it() {
    let fixture = with_letters(&[(3, 1, NAMELESS)]).await;
    fixture.execute("update tidegate.ledger set discarded = rejected, rejected = '' where source = 3").await;
    for (kind, line) in [(Kind::Replay, Some(GOOD)), (Kind::Discard, None)] {
        fixture
            .execute("delete from tidegate.moves; update tidegate.dead_letters set status = 'rejected'")
            .await;
        ask(&fixture.sink, (3, 1), kind, line).await.unwrap();
        let error = make_moves::work(&fixture.sink).await.unwrap_err().to_string();
        assert!(error.contains("tidegate verify"), "{error}");
    }
    assert_eq!(employees(&fixture).await, [""; 0]);
}

pub(super) fn bulk(kind: Kind, filter: LetterFilter) -> BulkMove {
    BulkMove {
        kind,
        filter,
        limit: None,
        rate: None,
        by: "ann".to_owned(),
        note: None,
        idempotency_key: None,
    }
}

pub(super) async fn job(fixture: &Fixture, number: u64) -> Job {
    jobs::find(&fixture.sink, number).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_bulk_move_has_the_lines_that_were_there_when_it_was_asked_for() {
    let good = "7,Gil,2021-03-01T00:00:00Z,1,1";
    let fixture = with_letters(&[(3, 1, good), (3, 2, NAMELESS), (4, 1, NAMELESS), (4, 2, good)]).await;
    let of_3 = || LetterFilter { source: Some(3), ..LetterFilter::default() };
    let replay = bulk(Kind::Replay, of_3());
    let preview = jobs::preview(&fixture.sink, &replay).await.unwrap();
    assert_eq!(preview.counted.lines, 2);
    assert_eq!(preview.counted.reasons[0].lines, 2);
    assert_eq!(
        fixture.query("select count(*) from tidegate.move_jobs").await,
        ["0"],
        "a preview changes nothing"
    );
    let asked = jobs::ask(&fixture.sink, &replay).await.unwrap();
    assert_eq!((asked.lines, asked.left, asked.state.as_str()), (2, 2, "running"));
    fixture.apply(&set_aside(&[(3, 3, good)])).await.unwrap();
    work(&fixture.sink).await;
    let done = job(&fixture, asked.job).await;
    assert_eq!((done.accepted, done.rejected, done.left, done.state.as_str()), (1, 1, 0, "done"));
    let left = fixture.letters().await;
    assert_eq!(
        left[..3],
        ["3:1 replayed missing_value", "3:2 rejected missing_value", "3:3 rejected missing_value"]
    );
    assert_eq!(fixture.query("select distinct job from tidegate.moves").await, [asked.job.to_string()]);

    let discard = BulkMove { limit: Some(2), ..bulk(Kind::Discard, LetterFilter::default()) };
    assert_eq!(jobs::preview(&fixture.sink, &discard).await.unwrap().counted.lines, 2);
    let asked = jobs::ask(&fixture.sink, &discard).await.unwrap();
    // One of its lines is moved otherwise before its turn.
    ask(&fixture.sink, (3, 2), Kind::Replay, Some(GOOD)).await.unwrap();
    work(&fixture.sink).await;
    let done = job(&fixture, asked.job).await;
    assert_eq!((done.discarded, done.passed_over, done.left), (1, 1, 0));
    assert_eq!(counts(&fixture, 3).await, [2, 0, 0, 1]);
    assert_eq!(jobs::list(&fixture.sink, None, 1).await.unwrap()[0].job, asked.job, "the latest first");
    assert_eq!(jobs::list(&fixture.sink, Some(asked.job), 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_bulk_move_keeps_its_rate_and_ends_when_it_is_cancelled() {
    let lines: Vec<_> = (1..=50).map(|line| (3, line, NAMELESS)).collect();
    let fixture = with_letters(&lines).await;
    let slow = BulkMove { rate: Some(8.0), ..bulk(Kind::Discard, LetterFilter::default()) };
    let asked = jobs::ask(&fixture.sink, &slow).await.unwrap();
    let begun = std::time::Instant::now();
    let mut lines = 0;
    while begun.elapsed() < Duration::from_millis(1500) {
        let worked = make_moves::work(&fixture.sink).await.unwrap();
        lines += worked.lines;
        tokio::time::sleep(worked.next.unwrap_or_default()).await;
    }
    // A second's worth may have gathered before the first turn.
    assert!((4..=8 * 4).contains(&lines), "{lines} lines in {:?}", begun.elapsed());
    let cancelled = jobs::cancel(&fixture.sink, asked.job, "bob").await.unwrap();
    assert_eq!((cancelled.state.as_str(), cancelled.cancelled_by.as_deref()), ("cancelled", Some("bob")));
    work(&fixture.sink).await;
    let done = job(&fixture, asked.job).await;
    assert_eq!((done.discarded, done.left), (lines, 50 - lines), "what was not moved is left");
    assert_eq!(counts(&fixture, 3).await, [0, 50 - lines, 0, lines]);
    for (number, wanted) in [(asked.job, Refusal::JobEnded(asked.job)), (999, Refusal::NoJob(999))] {
        match jobs::cancel(&fixture.sink, number, "bob").await {
            Err(MoveError::Refused(refused)) => assert_eq!(refused, wanted),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn another_process_goes_on_with_a_bulk_move() {
    let good = "7,Gil,2021-03-01T00:00:00Z,1,1";
    let fixture = with_letters(&(1..=20).map(|line| (3, line, good)).collect::<Vec<_>>()).await;
    let slow = BulkMove { rate: Some(20.0), ..bulk(Kind::Replay, LetterFilter::default()) };
    let asked = jobs::ask(&fixture.sink, &slow).await.unwrap();
    let first = make_moves::work(&fixture.sink).await.unwrap().lines;
    assert!(first < 20, "{first}");
    let other = fixture.another_owner();
    take_leases(&other).await;
    prepare::prepare(&other, &super::fixture::views()).await.unwrap();
    assert_eq!(first + work(&other).await, 20);
    let done = job(&fixture, asked.job).await;
    assert_eq!((done.accepted + done.superseded, done.left), (20, 0));
    assert_eq!(counts(&fixture, 3).await, [20, 0, 0, 0]);
    assert_eq!(employees(&fixture).await, ["7,Gil,1,3,20"]);
    assert_eq!(
        fixture.query("select count(*), count(distinct (source, line)) from tidegate.moves").await.len(),
        1
    );
    assert_eq!(
        fixture.query("select count(*) - count(distinct (source, line)) from tidegate.moves").await,
        ["0"]
    );
}

#[tokio::test]
async fn a_filter_means_the_letters_of_which_all_is_true() {
    let fixture = with_letters(&[(3, 1, NAMELESS), (3, 2, "2,100%_sure,x"), (5, 1, NAMELESS)]).await;
    fixture.apply(&delivery(&[(2, 6, 1, "2,Bob,2021-03-01T00:00:00Z,9,1")])).await.unwrap();
    fixture.execute("update tidegate.dead_letters set created_at = '2020-01-01' where source = 5").await;
    let none = LetterFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        (none(), "3:1 3:2 5:1 6:1"),
        (LetterFilter { dataset: text("hired_employees"), ..none() }, "3:1 3:2 5:1 6:1"),
        (LetterFilter { dataset: text("jobs"), ..none() }, ""),
        (LetterFilter { code: text("missing_value"), ..none() }, "3:1 3:2 5:1"),
        (LetterFilter { column: text("department_id"), ..none() }, "6:1"),
        (LetterFilter { code: text("missing_value"), column: text("department_id"), ..none() }, ""),
        (LetterFilter { status: text("waiting"), ..none() }, "6:1"),
        (LetterFilter { source: Some(5), ..none() }, "5:1"),
        (LetterFilter { source: Some(u64::MAX), ..none() }, ""),
        (LetterFilter { until: Some(parse_time("2020-01-02").unwrap()), ..none() }, "5:1"),
        (LetterFilter { since: Some(parse_time("2020-01-02").unwrap()), ..none() }, "3:1 3:2 6:1"),
        (LetterFilter { contains: text("100%_"), ..none() }, "3:2"),
        (LetterFilter { contains: text("' or true --"), ..none() }, ""),
    ];
    for (filter, expected) in cases {
        filter.check().unwrap();
        let page = filter::page(&fixture.sink, &filter, None, 100).await.unwrap();
        let found: Vec<String> = page.letters.iter().map(|letter| letter.position().to_string()).collect();
        assert_eq!(found.join(" "), expected, "{filter:?}");
        assert_eq!(page.next, None);
        assert_eq!(
            filter::count(&fixture.sink, &filter).await.unwrap().lines,
            found.len() as u64,
            "{filter:?}"
        );
    }
    for wrong in [
        LetterFilter { code: text("mising_value"), ..none() },
        LetterFilter { status: text("dead"), ..none() },
        LetterFilter { contains: text("a\0"), ..none() },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
    let first = filter::page(&fixture.sink, &none(), None, 2).await.unwrap();
    assert_eq!(first.next, Some(Position::new(3, 2)));
    let second = filter::page(&fixture.sink, &none(), first.next, 3).await.unwrap();
    assert_eq!((second.letters.len(), second.next), (2, None));
}

#[tokio::test]
async fn an_export_has_every_letter_once_however_long_they_are() {
    let long = format!("1,{},x", "a".repeat(900_000));
    let mut letters: Vec<(u64, u64, &str)> = (1..=12).map(|line| (3, line, long.as_str())).collect();
    letters.push((3, 13, "=1+1,\"a\"\"b\",x"));
    let fixture = with_letters(&letters).await;
    let mut lines = Vec::new();
    let mut pieces = 0;
    let mut export = export::export(&fixture.sink, LetterFilter::default(), ExportFormat::Ndjson, None);
    while let Some(piece) = export.next().await.unwrap() {
        assert!(piece.len() < 6 * 1024 * 1024, "a piece has {} bytes", piece.len());
        pieces += 1;
        for line in std::str::from_utf8(&piece).unwrap().lines() {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap();
            lines.push(letter["line"].as_u64().unwrap());
        }
    }
    assert_eq!(lines, (1..=13).collect::<Vec<u64>>());
    assert!(pieces > 1, "{pieces} pieces");
    let last = LetterFilter { contains: Some("=1".to_owned()), ..LetterFilter::default() };
    let mut export = export::export(&fixture.sink, last, ExportFormat::Csv, Some(5));
    let csv = String::from_utf8(export.next().await.unwrap().unwrap()).unwrap();
    assert_eq!(export.next().await.unwrap(), None);
    let (header, row) = csv.split_once('\n').unwrap();
    assert!(header.starts_with("source,line,dataset,name,status"), "{header}");
    assert!(
        row.starts_with(
            "3,13,hired_employees,test,rejected,transform,0,missing_value,name,name is required,\"'=1+1,"
        ),
        "{row}"
    );
    let nothing = LetterFilter { source: Some(77), ..LetterFilter::default() };
    let mut export = export::export(&fixture.sink, nothing, ExportFormat::Csv, None);
    assert!(export.next().await.unwrap().is_some(), "the header");
    assert_eq!(export.next().await.unwrap(), None);
}

/// A request that names itself is one, however many send it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_under_a_key_is_one() {
    let fixture = with_letters(&[(3, 1, NAMELESS), (3, 2, NAMELESS)]).await;
    let idempotency_key = IdempotencyKey { identity: [1; 32], content: [2; 32] };
    let many =
        BulkMove { idempotency_key: Some(idempotency_key), ..bulk(Kind::Discard, LetterFilter::default()) };
    let asking = (0..16).map(|_| {
        let (sink, many) = (fixture.sink.clone(), many.clone());
        tokio::spawn(async move { jobs::ask(&sink, &many).await.unwrap().job })
    });
    let mut jobs = Vec::new();
    for asked in asking.collect::<Vec<_>>() {
        jobs.push(asked.await.unwrap());
    }
    jobs.dedup();
    assert_eq!(jobs.len(), 1);
    let other =
        BulkMove { idempotency_key: Some(IdempotencyKey { content: [3; 32], ..idempotency_key }), ..many };
    assert!(matches!(jobs::ask(&fixture.sink, &other).await, Err(MoveError::Refused(Refusal::KeyReused))));
    // What is refused does not take the name.
    let idempotency_key = Some(IdempotencyKey { identity: [4; 32], content: [4; 32] });
    let one = MoveRequest { idempotency_key, ..wanted(Kind::Discard, None) };
    assert!(ask::ask(&fixture.sink, Position::new(3, 9), &one).await.is_err());
    let asked = ask::ask(&fixture.sink, Position::new(3, 1), &one).await.unwrap();
    assert_eq!(ask::ask(&fixture.sink, Position::new(3, 1), &one).await.unwrap().number, asked.number);
}
