//! Dead letters are replayed, discarded and exported by the command: beside a running pipeline, without one, and
//! whatever is killed meanwhile.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tidegate_core::failpoint::Failpoint;

use crate::company;
use crate::home::{Home, Outcome, Running, until};

/// Names of at least three letters.
fn strict() -> String {
    company::MANIFEST.replace("name: text", "name: {type: text, min_length: 3}")
}

/// Lines 3:2 (name), 3:3 (name and time) rejected, 3:4 waiting for department 9.
async fn small() -> Home {
    let home = company::embedded(&strict()).await;
    drop_small(&home);
    home.ingest().await;
    home
}

fn drop_small(home: &Home) {
    home.drop("departments.csv", "1,Sales\n");
    home.drop("jobs.csv", "1,Clerk\n");
    home.drop(
        "hired_employees.csv",
        "1,Ada,2021-03-01T00:00:00Z,1,1\n2,Bo,2021-03-01T00:00:00Z,1,1\n3,Cy,soon,1,1\n\
         4,Dan,2021-06-01T00:00:00Z,9,1\n",
    );
}

fn relax(home: &Home) {
    std::fs::write(home.path("tidegate.yaml"), company::MANIFEST).unwrap();
}

async fn letters(home: &Home, arguments: &[&str]) -> Outcome {
    Running::start(home.command(["dead-letters"].iter().chain(arguments))).ended().await
}

fn json(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {}", outcome.stdout))
}

async fn statuses(home: &Home) -> Vec<String> {
    home.query(
        "select source || ':' || line || ' ' || status from tidegate.dead_letters order by source, line",
    )
    .await
}

const EDITED: &str = "3,Cyd,2021-03-01T00:00:00Z,1,1";

#[tokio::test]
async fn a_line_is_moved_beside_a_running_pipeline_and_who_and_why_is_told() {
    let home = company::embedded(&strict()).await;
    drop_small(&home);
    let mut running = home.spawn("run");
    running.says("running").await;
    until("all is in", async || home.count("select count(*) from tidegate.dead_letters").await == 3).await;
    let arguments =
        ["replay", "3:3", "--line", EDITED, "--note", "from HR", "--by", "ann", "--format", "json"];
    let done = json(&letters(&home, &arguments).await.succeeded());
    assert_eq!(
        (&done["outcome"], &done["by"], &done["note"]),
        (&"accepted".into(), &"ann".into(), &"from HR".into())
    );
    let said = letters(&home, &["discard", "3:4"]).await.succeeded().stdout;
    assert_eq!(said, "line 3:4 is discarded\n");
    let said = letters(&home, &["replay", "3:2"]).await.failed_with(1);
    assert!(said.stdout.contains("line 3:2 was rejected again: name has 2 characters"), "{}", said.stdout);
    // The file named by a path, with the line ending that an editor leaves.
    std::fs::write(home.path("line.csv"), "1,Bob,2021-03-01T00:00:00Z,1,1\r\n").unwrap();
    let said = letters(&home, &["replay", "3:2", "--line-file", "line.csv"]).await.succeeded().stdout;
    assert!(said.starts_with("line 3:2 was accepted"), "{said}");
    assert_eq!(statuses(&home).await, ["3:2 replayed", "3:3 replayed", "3:4 discarded"]);
    assert_eq!(
        home.query("select concat_ws(',', id, name, _source, _line) from hired_employees order by id").await,
        ["1,Bob,3,2", "3,Cyd,3,3"]
    );
    home.run("verify --deep").await.succeeded();
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
    let user = home.query("select distinct asked_by from tidegate.moves where asked_by <> 'ann'").await;
    assert!(user.len() == 1 && !user[0].is_empty(), "{user:?}");
    let story = home.run("trace 3:3 --format json").await.succeeded().rows();
    let events: Vec<&str> =
        story[0]["events"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    let ours = ["set_aside", "claimed", "replayed", "held"];
    assert_eq!(events[events.len() - 4..], ours, "{story:#?}");
    let claimed = &story[0]["events"][events.iter().position(|event| *event == "claimed").unwrap()];
    assert_eq!((&claimed["by"], &claimed["note"]), (&"ann".into(), &"from HR".into()));
    assert_eq!(claimed["text_before"], "3,Cy,soon,1,1");
    let story = home.run("trace 3:4").await.succeeded().stdout;
    assert!(story.contains("discard asked") && story.contains("given up by"), "{story}");
    let story = home.run("trace 3:2").await.succeeded().stdout;
    assert!(story.contains("again, at replay 1: name has 2 characters"), "{story}");
}

#[tokio::test]
async fn where_no_pipeline_runs_the_command_makes_the_move_itself() {
    let home = small().await;
    relax(&home);
    home.drop("departments_later.csv", "9,Late\n");
    let job =
        json(&letters(&home, &["replay", "--reason", "too_short", "--format", "json"]).await.succeeded());
    assert_eq!(
        (&job["lines"], &job["accepted"], &job["rejected"]),
        (&2.into(), &1.into(), &1.into()),
        "{job}"
    );
    assert_eq!(statuses(&home).await, ["3:2 replayed", "3:3 rejected", "3:4 waiting"]);
    assert_eq!(home.names_in("landing").len(), 2, "it ingests nothing");
    home.run("verify --deep").await.succeeded();
    home.query("insert into hired_employees values (3, 'Newer', now(), 1, 1, 3, 4)").await;
    let said = letters(&home, &["replay", "3:3", "--line", EDITED]).await.succeeded().stdout;
    assert_eq!(said, "line 3:3 was accepted, at its own position; the newer line 3:4 holds the row\n");
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_said() {
    let home = small().await;
    let refused = [
        (vec!["replay", "3:1"], 1, "line 3:1 is no dead letter"),
        (vec!["replay", "3:3", "--line", "a\nb"], 1, "more than one record"),
        (vec!["replay"], 2, "name a line as SOURCE:LINE, or say which lines with a filter"),
        (vec!["replay", "3:3", "--all"], 2, "cannot be used with"),
        (vec!["discard", "--reason", "to_short"], 1, "there is no reason 'to_short'"),
        (vec!["discard", "--all", "--limit", "0"], 1, "a limit of 0 moves nothing"),
        (vec!["replay", "--all", "--rate", "0"], 1, "a rate is a number of lines a second"),
        (vec!["list", "--status", "dead"], 2, "there is no status 'dead'"),
        (vec!["list", "--since", "yesterday"], 2, "'yesterday' is no time"),
        (vec!["cancel", "7"], 1, "there is no job 7"),
        (vec!["jobs", "7"], 1, "there is no job 7"),
        (vec!["export", "--format", "json"], 2, "ndjson or csv"),
    ];
    for (arguments, code, said) in refused {
        letters(&home, &arguments).await.failed_with(code).saying(&[said]);
    }
    assert_eq!(home.query("select count(*) from tidegate.moves").await, ["0"]);
    // Somebody holds the leases, and makes no move.
    home.query("update tidegate.leases set expires_at = now() + interval '1 hour'").await;
    letters(&home, &["discard", "3:3", "--wait", "200ms"])
        .await
        .failed_with(1)
        .saying(&["was not made within 200ms"]);
    home.query("update tidegate.leases set expires_at = '-infinity'").await;
    letters(&home, &["discard", "3:3"]).await.failed_with(1).saying(&["is not done yet"]);
    home.run("run --until-idle").await.succeeded();
    assert_eq!(statuses(&home).await[1], "3:3 discarded");
}

#[tokio::test]
async fn filters_previews_jobs_and_exports() {
    let home = small().await;
    let list = async |arguments: &[&str]| {
        let rows =
            letters(&home, &[&["list", "--format", "json"], arguments].concat()).await.succeeded().rows();
        rows.iter()
            .map(|row| format!("{}:{} {}", row["source"], row["line"], row["code"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    let all = ["3:4 unknown_reference", "3:3 too_short", "3:3 invalid_timestamp", "3:2 too_short"];
    assert_eq!(list(&[]).await, all);
    assert_eq!(list(&["--column", "datetime"]).await, all[2..3]);
    assert_eq!(list(&["--contains", ",soon,"]).await, all[1..3]);
    assert_eq!(list(&["--until", "2020-01-01"]).await, [""; 0]);
    assert_eq!(list(&["--since", "2020-01-01", "--status", "waiting"]).await, all[..1]);
    assert_eq!(list(&["--limit", "1"]).await, all[..1]);
    assert_eq!(list(&["--after", "3:4", "--limit", "1"]).await, all[1..3]);
    let preview = json(
        &letters(&home, &["discard", "--source", "3", "--dry-run", "--format", "json"]).await.succeeded(),
    );
    assert_eq!(
        (&preview["lines"], preview["reasons"].as_array().unwrap().len()),
        (&3.into(), 3),
        "{preview}"
    );
    let preview = letters(&home, &["replay", "--all", "--dry-run"]).await.succeeded().stdout;
    assert!(preview.ends_with("3 lines would be replayed\n"), "{preview}");
    let said =
        letters(&home, &["discard", "--reason", "too_short", "--note", "=tests"]).await.succeeded().stdout;
    assert_eq!(said, "job 1, discard of 2 lines, done: 2 discarded\n");
    let jobs = letters(&home, &["jobs", "--format", "json"]).await.succeeded().rows();
    assert_eq!(
        (&jobs[0]["state"], &jobs[0]["discarded"], &jobs[0]["filter"]["reason"]),
        (&"done".into(), &2.into(), &"too_short".into())
    );
    letters(&home, &["cancel", "1"]).await.failed_with(1).saying(&["has ended already"]);
    let ndjson = letters(&home, &["export", "--status", "discarded"]).await.succeeded().stdout;
    let exported: Vec<Value> = ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(exported.len(), 2);
    assert_eq!(exported[1]["text"], "3,Cy,soon,1,1");
    let csv = letters(&home, &["export", "--format", "csv", "--limit", "1"]).await.succeeded().stdout;
    assert_eq!(csv.lines().count(), 2);
    let ndjson = letters(&home, &["list", "--all", "--format", "ndjson"]).await.succeeded().stdout;
    assert_eq!(ndjson.lines().count(), 4);
    home.run("verify").await.succeeded();
}

/// So many that a bulk move takes several batches.
const MANY: usize = 12_000;

async fn with_many() -> Home {
    let home = company::embedded(&strict()).await;
    home.drop("departments.csv", "1,Sales\n");
    home.drop("jobs.csv", "1,Clerk\n");
    let line = |i: usize| format!("{i},Bo,2021-0{}-01T00:00:00Z,1,1\n", i % 9 + 1);
    home.drop("hired_employees.csv", (1..=MANY).map(line).collect::<String>());
    home.ingest().await;
    assert_eq!(home.query("select count(*) from tidegate.dead_letters").await, [MANY.to_string()]);
    relax(&home);
    home
}

async fn at(home: &Home, point: Failpoint, action: &str, arguments: &[&str]) -> Outcome {
    let mut command = home.command(arguments);
    command.env("TIDEGATE_FAILPOINT", format!("{}={action}", point.as_str()));
    Running::start(command).ended().await
}

async fn assert_each_line_moved_once(home: &Home, kind: &str) {
    assert_eq!(
        home.query("select count(*), count(distinct (source, line)), count(*) filter (where done_at is null) from tidegate.moves").await,
        [format!("{MANY}|{MANY}|0")]
    );
    let state = "select state, lines - left_over from (select case when done_at is null then 'running' else 'done' end as state, lines, \
                 (select count(*) from tidegate.move_items) as left_over from tidegate.move_jobs) as jobs";
    assert_eq!(home.query(state).await, [format!("done|{MANY}")]);
    let expected = if kind == "replay" { (MANY, 0) } else { (0, MANY) };
    assert_eq!(
        home.query("select sum(accepted_count), sum(discarded_count), sum(rejected_count) from tidegate.ledger where source = 3").await,
        [format!("{}|{}|0", expected.0, expected.1)]
    );
    assert_eq!(home.query("select count(*) from hired_employees").await, [expected.0.to_string()]);
    home.run("verify --deep").await.succeeded();
    company::assert_accounted(home).await;
}

#[tokio::test]
async fn a_bulk_move_that_ends_at_any_durable_step_is_completed_by_the_next_run() {
    let points = [
        ("replay", Failpoint::MovesClaimed, 1),
        ("replay", Failpoint::MovesClaimed, 2),
        ("replay", Failpoint::RowsWritten, 2),
        ("replay", Failpoint::LettersWritten, 1),
        ("replay", Failpoint::LedgerWritten, 2),
        ("replay", Failpoint::BatchCommitted, 2),
        ("replay", Failpoint::MovesMade, 2),
        ("discard", Failpoint::MovesClaimed, 2),
        ("discard", Failpoint::LettersDiscarded, 2),
        ("discard", Failpoint::MovesMade, 2),
    ];
    for (kind, point, count) in points {
        let home = with_many().await;
        let asked =
            at(&home, Failpoint::MovesListed, "abort@1", &["dead-letters", kind, "--source", "3"]).await;
        assert_eq!(asked.signal, Some(Signal::SIGABRT as i32), "{asked:?}");
        let ended = at(&home, point, &format!("abort@{count}"), &["run", "--until-idle"]).await;
        assert_eq!(
            ended.signal,
            Some(Signal::SIGABRT as i32),
            "{kind} at {} is not passed: {ended:?}",
            point.as_str()
        );
        home.run("verify").await.succeeded();
        home.ingest().await;
        assert_each_line_moved_once(&home, kind).await;
    }
}

#[tokio::test]
async fn a_move_whose_asking_or_making_was_not_answered_is_made_once() {
    let home = small().await;
    let asked =
        at(&home, Failpoint::MoveAsked, "abort@1", &["dead-letters", "replay", "3:3", "--line", EDITED])
            .await;
    assert_eq!(asked.signal, Some(Signal::SIGABRT as i32), "{asked:?}");
    home.run("verify").await.succeeded();
    letters(&home, &["replay", "3:3", "--line", EDITED]).await.failed_with(1).saying(&["is not done yet"]);
    home.ingest().await;
    assert_eq!(statuses(&home).await[1], "3:3 replayed");
    letters(&home, &["replay", "3:3", "--line", EDITED])
        .await
        .failed_with(1)
        .saying(&["is replayed already"]);
    for point in [Failpoint::LettersDiscarded, Failpoint::MovesMade] {
        let home = small().await;
        at(&home, point, "error@1", &["dead-letters", "discard", "3:3"]).await.succeeded();
        assert_eq!(statuses(&home).await[1], "3:3 discarded");
        home.run("verify").await.succeeded();
    }
}

#[tokio::test]
async fn a_bulk_replay_survives_kills_at_any_moment() {
    let home = with_many().await;
    let asked = at(
        &home,
        Failpoint::MovesListed,
        "abort@1",
        &["dead-letters", "replay", "--source", "3", "--rate", "8000"],
    )
    .await;
    assert_eq!(asked.signal, Some(Signal::SIGABRT as i32), "{asked:?}");
    let moved = "select count(*) from tidegate.moves";
    let mut kills = 0;
    loop {
        let before = home.count(moved).await;
        let mut running = home.spawn("run");
        running.says("running").await;
        if before >= MANY as u64 || kills == 12 {
            until("all is moved", async || {
                home.count("select count(*) from tidegate.move_jobs where done_at is not null").await == 1
            })
            .await;
            running.signal(Signal::SIGTERM);
            running.ended().await.succeeded();
            break;
        }
        until("a batch is claimed", async || home.count(moved).await > before).await;
        // From the middle of a batch's transaction to its end.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..120))).await;
        running.kill().await;
        kills += 1;
    }
    assert!(kills >= 2, "it was killed {kills} times");
    assert_each_line_moved_once(&home, "replay").await;
}

#[tokio::test]
async fn the_summary_names_the_setting_that_would_accept_many_letters() {
    let manifest =
        "pipeline: days\ndatasets:\n  days:\n    key: id\n    columns: {id: integer, d: date, n: integer}\n";
    let home = Home::new(manifest).await;
    let rows: String = (1..=12).map(|id| format!("{id},{}/07/2021,{id}\n", id + 12)).collect();
    home.drop("days.csv", format!("{rows}13,2021-07-01,x\n"));
    home.ingest().await;
    let summary = json(&letters(&home, &["summary", "--format", "json"]).await);
    let setting = |column: &str| {
        let rows = summary.as_array().unwrap().iter();
        rows.clone().find(|row| row["column"] == column).unwrap_or_else(|| panic!("{summary}"))["setting"]
            .clone()
    };
    assert_eq!(setting("d"), "format: \"%d/%m/%Y\"");
    assert_eq!(setting("n"), Value::Null, "one letter names no setting");
}
