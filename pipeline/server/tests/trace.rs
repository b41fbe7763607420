//! The story of a line: every kind, for people and for machines.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tidegate::cli::trace::place::Place;
use tidegate_core::position::Position;
use tidegate_postgres::private::{Server, ServerOptions};

use crate::company;
use crate::home::{Home, until};

/// The stories of a place or a key.
async fn stories(home: &Home, arguments: &str) -> Vec<Value> {
    home.run(&format!("trace {arguments} --format json")).await.succeeded().rows()
}

/// The only story.
async fn story(home: &Home, arguments: &str) -> Value {
    let stories = stories(home, arguments).await;
    assert_eq!(stories.len(), 1, "{stories:#?}");
    stories[0].clone()
}

/// The names of a story's events.
fn names(story: &Value) -> Vec<&str> {
    let events = story["events"].as_array().unwrap_or_else(|| panic!("no events: {story}"));
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[track_caller]
fn event<'a>(story: &'a Value, name: &str) -> &'a Value {
    let found = story["events"].as_array().unwrap().iter().find(|event| event["event"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {story:#}"))
}

#[track_caller]
fn what<'a>(story: &'a Value, name: &str) -> &'a str {
    event(story, name)["what"].as_str().unwrap()
}

/// A line that holds its row, one that a newer one replaced, one with two faults, and one that waits.
async fn small() -> Home {
    // Its places are told by names and offsets.
    let home = company::embedded(company::MANIFEST).await;
    home.drop("departments.csv", "1,Old\n2,Two\n1,New\n");
    home.drop("jobs.csv", "1,Clerk\n");
    home.drop(
        "hired_employees.csv",
        "1,Ada,2021-02-01T00:00:00Z,1,1\n\n2,,2021-08-01T00:00:00Z,2,two\n3,Ed,2021-08-01T00:00:00Z,9,1\n",
    );
    home.ingest().await;
    home
}

#[tokio::test]
async fn a_row_that_a_trigger_gave_another_key_is_told_by_that() {
    let home = company::embedded(company::MANIFEST).await;
    home.ingest().await;
    home.query(
        "create function other_key() returns trigger language plpgsql as \
         $$ begin new.id = new.id + 100; return new; end $$; \
         create trigger other_key before insert on departments for each row execute function other_key()",
    )
    .await;
    home.drop("departments.csv", "1,Sales\n");
    home.ingest().await;
    let story = story(&home, "departments.csv:1").await;
    assert!(what(&story, "row_gone").contains("id 101 is of this line"), "{story:#}");
}

#[tokio::test]
async fn an_accepted_line_is_held_by_its_row() {
    let home = small().await;
    let story = story(&home, "hired_employees.csv:1").await;
    assert_eq!(
        names(&story),
        ["entered", "in_file", "on_topic", "on_topic", "accepted", "held"],
        "{story:#}"
    );
    for (field, value) in [
        ("source", json!(3)),
        ("line", json!(1)),
        ("dataset", json!("hired_employees")),
        ("name", json!("hired_employees.csv")),
        ("physical_line", json!(1)),
        ("text", json!("1,Ada,2021-02-01T00:00:00Z,1,1")),
        ("bytes", Value::Null),
        ("fate", json!("accepted")),
    ] {
        assert_eq!(story[field], value, "{field}");
    }
    let times = home
        .query(
            "select to_char(registered_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
             to_char(completed_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') from tidegate.sources where source = 3",
        )
        .await;
    let (registered_at, completed_at) = times[0].split_once('|').unwrap();
    assert_eq!(event(&story, "entered")["at"], registered_at);
    assert_eq!(what(&story, "accepted"), format!("between {registered_at} and {completed_at}"));
    assert_eq!(event(&story, "accepted")["at"], Value::Null, "it is not known");
    assert_eq!(what(&story, "held"), "row of hired_employees with id 1 is of this line");
    let topics: Vec<(&str, u64)> = story["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["event"] == "on_topic")
        .map(|event| (event["topic"].as_str().unwrap(), event["offset"].as_u64().unwrap()))
        .collect();
    assert_eq!(topics, [("company-raw-hired-employees", 0), ("company-accepted-hired-employees", 0)]);
    for place in [
        "3:1",
        "landing/done/3-hired_employees.csv:1",
        "./hired_employees.csv:1",
        "/any/hired_employees.csv:1",
    ] {
        assert_eq!(crate::trace::story(&home, place).await, story, "{place}");
    }
}

#[tokio::test]
async fn a_replaced_line_names_the_newer_one() {
    let home = small().await;
    let old = story(&home, "1:1").await;
    assert_eq!(names(&old).last(), Some(&"replaced"), "{old:#}");
    assert_eq!(old["fate"], "accepted");
    let replaced = event(&old, "replaced");
    assert_eq!((&replaced["by_source"], &replaced["by_line"]), (&json!(1), &json!(3)));
    home.drop("departments-2.csv", "2,Second\n");
    home.ingest().await;
    let two = story(&home, "departments.csv:2").await;
    assert_eq!(
        what(&two, "replaced"),
        "row of departments with id 2 is of the newer line 4:1 of 'departments-2.csv'"
    );
    assert_eq!(names(&story(&home, "departments-2.csv:1").await).last(), Some(&"held"));
}

#[tokio::test]
async fn a_rejected_line_says_all_reasons_and_a_waiting_one_what_it_lacks() {
    let home = small().await;
    let rejected = story(&home, "3:2").await;
    assert_eq!(names(&rejected), ["entered", "in_file", "on_topic", "on_topic", "rejected"], "{rejected:#}");
    assert_eq!(
        (&rejected["fate"], &rejected["physical_line"]),
        (&json!("rejected"), &json!(3)),
        "a blank line"
    );
    let at = "select to_char(created_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') from tidegate.dead_letters where line = 2";
    assert_eq!(event(&rejected, "rejected")["at"], home.query(at).await[0]);
    assert_eq!(
        what(&rejected, "rejected"),
        "by the transform: name is required (missing_value); job_id is not an integer (invalid_integer)"
    );
    assert_eq!(event(&rejected, "rejected")["reasons"][1]["value"], "two");
    let waiting = story(&home, "3:3").await;
    assert_eq!(names(&waiting), ["entered", "in_file", "on_topic", "on_topic", "waiting"]);
    assert_eq!(what(&waiting, "waiting"), "by the transform: departments has no row '9' (unknown_reference)");

    home.drop("departments-9.csv", "9,Nine\n");
    home.ingest().await;
    let healed = story(&home, "3:3").await;
    assert_eq!(names(&healed)[4..], ["waiting", "healed", "held"], "{healed:#}");
    assert_eq!(healed["fate"], "accepted");
    assert!(event(&healed, "waiting")["at"].as_str() < event(&healed, "healed")["at"].as_str(), "{healed:#}");
    assert_eq!(event(&healed, "waiting")["at"], event(&waiting, "waiting")["at"]);
}

#[tokio::test]
async fn a_line_that_waited_and_was_rejected_then_says_both() {
    let home = company::home().await;
    home.drop("hired_employees.csv", "1,Ada,2021-02-01T00:00:00Z,1,1\n");
    home.ingest().await;
    home.query("alter table hired_employees add check (name <> 'Ada')").await;
    home.drop("departments.csv", "1,One\n");
    home.drop("jobs.csv", "1,Clerk\n");
    home.ingest().await;
    let story = story(&home, "hired_employees.csv:1").await;
    assert_eq!(names(&story)[4..], ["waiting", "rejected"], "{story:#}");
    assert!(what(&story, "rejected").contains("(constraint_violation)"), "{story:#}");
    assert!(event(&story, "waiting")["at"].as_str() < event(&story, "rejected")["at"].as_str(), "{story:#}");
}

#[tokio::test]
async fn letters_that_were_replayed_or_discarded_say_so_and_disagreement_is_named() {
    let home = small().await;
    let set = async |status: &str, line: u32| {
        let sql = format!(
            "update tidegate.dead_letters set status = '{status}', updated_at = now() where line = {line}"
        );
        home.query(&sql).await;
    };
    let moved = async |kind: &str, outcome: &str, line: u32| {
        let sql = format!(
            "insert into tidegate.moves \
             (source, line, kind, attempt, asked_by, status_before, reasons_before, outcome, done_at) \
             select source, line, '{kind}', 1, 'ann', 'rejected', reasons, {outcome} \
             from tidegate.dead_letters where source = 3 and line = {line}"
        );
        home.query(&sql).await;
    };
    moved("replay", "null, null", 3).await;
    set("claimed", 3).await;
    assert_eq!(names(&story(&home, "3:3").await)[4..], ["set_aside", "claimed"]);
    moved("discard", "'discarded', now()", 2).await;
    set("discarded", 2).await;
    let discarded = story(&home, "3:2").await;
    assert_eq!(
        names(&discarded)[4..],
        ["set_aside", "discard_asked", "discarded", "disagreement"],
        "{discarded:#}"
    );
    assert_eq!(
        what(&discarded, "disagreement"),
        "the ledger says rejected, the dead letters say discarded: this must not be"
    );
    home.query("update tidegate.ledger set discarded = rejected, rejected = '' where source = 3").await;
    assert_eq!(names(&story(&home, "3:2").await)[4..], ["set_aside", "discard_asked", "discarded"]);
    home.query("update tidegate.ledger set accepted = waiting, waiting = '' where source = 3").await;
    home.query("update tidegate.dead_letters set attempt = 1 where line = 3").await;
    home.query("update tidegate.moves set outcome = 'accepted', done_at = now() where line = 3").await;
    set("replayed", 3).await;
    let replayed = story(&home, "3:3").await;
    assert_eq!(names(&replayed)[4..], ["set_aside", "claimed", "replayed", "row_gone"], "{replayed:#}");
    home.query("delete from tidegate.dead_letters where line = 2").await;
    assert_eq!(names(&story(&home, "3:2").await).last(), Some(&"disagreement"));
}

#[tokio::test]
async fn a_line_in_flight_is_where_the_topics_have_it() {
    let home = company::embedded(company::MANIFEST).await;
    let mut running = home.spawn("run");
    running.says("running").await;
    home.query("begin; lock table departments in share mode").await;
    home.drop("departments.csv", "1,One\n2,\n3,Three\n");
    let read = async |topic: &str| {
        let read = home.run(&format!("topic read company-{topic} --format json")).await;
        if read.code == Some(0) { read.rows().len() } else { 0 }
    };
    until("the lines are on their topics", async || {
        read("accepted-departments").await == 2 && read("dead-letters").await == 1
    })
    .await;
    for during in ["running", "killed"] {
        let one = story(&home, "1:1").await;
        assert_eq!(
            names(&one),
            ["entered", "in_file", "on_topic", "on_topic", "in_flight"],
            "{during} {one:#}"
        );
        assert_eq!((&one["fate"], &one["text"]), (&json!("in_flight"), &json!("1,One")));
        assert!(what(&one, "in_flight").contains("to the sink"), "{one:#}");
        assert!(what(&one, "in_file").ends_with("landing/departments.csv"), "{one:#}");
        let two = story(&home, "1:2").await;
        assert_eq!(two["events"][3]["topic"], "company-dead-letters", "{two:#}");
        assert!(two["events"][3]["at"].is_string(), "{two:#}");
        home.run("trace 1:4").await.failed_with(1).saying(&["has 3 lines"]);
        if during == "running" {
            running.signal(Signal::SIGKILL);
            until("it has ended", async || running.has_ended()).await;
        }
    }
    std::fs::remove_dir_all(home.path(".tidegate")).unwrap();
    let lost = story(&home, "1:1").await;
    assert_eq!(names(&lost), ["entered", "in_file", "not_on_topic", "in_flight"]);
    assert!(what(&lost, "in_flight").contains("reads it from"), "{lost:#}");
    std::fs::remove_file(home.path("landing/departments.csv")).unwrap();
    let gone = story(&home, "1:1").await;
    assert_eq!(names(&gone), ["entered", "not_in_file", "not_on_topic", "in_flight"]);
    assert!(what(&gone, "in_flight").contains("put the file"), "{gone:#}");
    home.query("rollback").await;
}

#[tokio::test]
async fn a_line_outlives_topics_and_files() {
    let home = small().await;
    std::fs::remove_dir_all(home.path(".tidegate/topics")).unwrap();
    let trimmed = story(&home, "1:2").await;
    assert_eq!(names(&trimmed), ["entered", "in_file", "not_on_topic", "accepted", "held"]);
    std::fs::remove_dir_all(home.path("landing/done")).unwrap();
    let held = story(&home, "1:2").await;
    assert_eq!(names(&held), ["entered", "not_in_file", "not_on_topic", "accepted", "held"], "{held:#}");
    assert_eq!(what(&held, "held"), "row of departments with id 2 is of this line", "found by its position");
    assert_eq!(held["text"], Value::Null);
    assert_eq!(names(&story(&home, "1:1").await).last(), Some(&"not_held"));
    assert_eq!(story(&home, "3:2").await["text"], "2,,2021-08-01T00:00:00Z,2,two", "the dead letter has it");
    home.drop("departments.csv", "9,Other\n");
    let other = story(&home, "1:2").await;
    assert!(what(&other, "not_in_file").contains("has other content"), "{other:#}");
}

#[tokio::test]
async fn a_file_seen_twice_is_one_source_and_other_content_another() {
    let home = small().await;
    home.drop("jobs.csv", "1,Clerk\n");
    home.ingest().await;
    assert_eq!(story(&home, "jobs.csv:1").await["source"], 2);
    home.drop("jobs.csv", "1,Chef\n2,Cook\n");
    home.ingest().await;
    let outcome = home.run("trace jobs.csv:1 --format json").await.succeeded();
    let both = outcome.rows();
    assert_eq!((&both[0]["source"], &both[1]["source"], both.len()), (&json!(2), &json!(4), 2));
    assert_eq!((names(&both[0]).last(), names(&both[1]).last()), (Some(&"replaced"), Some(&"held")));
    outcome.saying(&["2 sources have the name 'jobs.csv'"]);
    let second = stories(&home, "jobs.csv:2").await;
    assert_eq!((names(&second[0]), second[1]["text"].as_str()), (vec!["beyond_end"], Some("2,Cook")));
}

#[tokio::test]
async fn headers_and_records_of_several_lines_are_counted_as_they_entered() {
    let home = Home::new(
        "pipeline: texts\nstable_for: 10ms\ndatasets:\n  headed: {key: id, csv: {header: true}, columns: {id: integer, \
         a: text, b: {type: text, optional: true}}}\n",
    )
    .await;
    home.drop("headed.csv", "a,b,id\n\"two\nlines\",,1\n\n\"say \"\"hi\"\"\",\u{1f600},2\nshort\nbad,\0,3\n");
    home.ingest().await;
    let one = story(&home, "headed.csv:1").await;
    assert_eq!((&one["physical_line"], &one["text"]), (&json!(2), &json!("\"two\nlines\",,1")));
    let two = story(&home, "1:2").await;
    assert_eq!((&two["physical_line"], &two["text"]), (&json!(5), &json!("\"say \"\"hi\"\"\",\u{1f600},2")));
    assert_eq!(what(&two, "in_file"), "record 2 starts at physical line 5 of landing/done/1-headed.csv");
    assert_eq!(names(&two).last(), Some(&"held"), "the row has the values of the line: {two:#}");
    let short = story(&home, "1:3").await;
    assert!(what(&short, "rejected").contains("record 3 (physical line 6)"), "{short:#}");
    let binary = story(&home, "1:4").await;
    assert_eq!((&binary["physical_line"], &binary["bytes"]), (&json!(7), &json!("YmFkLAAsMw==")));
    let shown = home.run("trace 1:1").await.succeeded().stdout;
    assert!(shown.contains("\n  | \"two\n  | lines\",,1\n"), "{shown}");
    // A line whose columns the source could not tell has no key.
    let untold = home.run("trace --dataset headed --key 3 --format json").await.succeeded();
    assert_eq!(names(&untold.rows()[0]), ["no_row"]);
    untold.saying(&["2 dead letters of 'headed' have no key that can be told"]);
}

#[tokio::test]
async fn rows_that_others_changed_or_deleted_are_told() {
    let home = small().await;
    home.query("update departments set department = 'Other' where id = 2").await;
    let changed = story(&home, "1:2").await;
    assert_eq!(names(&changed)[4..], ["accepted", "held", "row_changed"], "{changed:#}");
    assert_eq!(event(&changed, "row_changed")["columns"], json!(["department"]));
    home.query("delete from hired_employees; delete from departments where id = 2").await;
    assert_eq!(names(&story(&home, "1:2").await)[4..], ["accepted", "row_gone"]);
    home.query("insert into departments (id, department) values (2, 'Mine')").await;
    assert_eq!(names(&story(&home, "1:2").await)[4..], ["accepted", "row_foreign"]);
    home.query("update departments set _source = 99, _line = 1 where id = 2").await;
    assert_eq!(names(&story(&home, "1:2").await)[4..], ["accepted", "row_foreign"], "there is no source 99");
    assert_eq!(names(&story(&home, "--dataset departments --key 2").await), ["row_foreign"]);
    home.query("update departments set _source = 1, _line = 1 where id = 2").await;
    let older = story(&home, "1:2").await;
    assert_eq!(event(&older, "row_older")["by_line"], 1, "{older:#}");
}

#[tokio::test]
async fn a_key_tells_its_row_and_its_dead_letters() {
    let home = small().await;
    home.drop(
        "hired_employees-2.csv",
        "002,Bo,2021-01-01T00:00:00Z,1,none\n1,\n+1,Eve,2021-01-01T00:00:00Z,1,1\n",
    );
    home.ingest().await;
    let positions = |stories: &[Value]| {
        let position = |story: &Value| format!("{}:{}", story["source"], story["line"]);
        stories.iter().map(position).collect::<Vec<_>>()
    };
    let one = stories(&home, "--dataset hired_employees --key 1").await;
    assert_eq!(positions(&one), ["4:2", "4:3"], "a letter, and the row's line: {one:#?}");
    assert_eq!(names(&one[1]).last(), Some(&"held"));
    let two = stories(&home, "--dataset hired_employees --key 2").await;
    assert_eq!(positions(&two), ["3:2", "4:1", "null:null"], "keys are values");
    assert_eq!(what(&two[2], "no_row"), "there is no row of hired_employees with id 2");
    let deep = stories(&home, "--dataset hired_employees --key 01 --deep").await;
    assert_eq!(positions(&deep), ["3:1", "4:2", "4:3"], "{deep:#?}");
    assert_eq!(names(&deep[0]).last(), Some(&"replaced"));
    let outcome =
        home.run("trace --dataset hired_employees --key 1 --deep --limit 1 --format json").await.succeeded();
    assert_eq!(positions(&outcome.rows()), ["4:3"]);
    outcome.saying(&["there are older lines of this key"]);

    home.drop("departments-new.csv", "8,Eight\n1,Newest\n");
    let waiting = stories(&home, "--dataset departments --key 1 --deep").await;
    assert_eq!(positions(&waiting), ["1:1", "1:3", "null:2"]);
    assert_eq!((names(&waiting[2]), &waiting[2]["text"]), (vec!["not_entered"], &json!("1,Newest")));
    std::fs::remove_file(home.path("landing/done/1-departments.csv")).unwrap();
    let outcome = home.run("trace --dataset departments --key 1 --deep --format json").await.succeeded();
    assert_eq!(positions(&outcome.rows()), ["1:3", "null:2"], "the row's line, and the new one");
    outcome.saying(&["1 of 1 sources have no file any more"]);

    let none = story(&home, "--dataset departments --key x").await;
    assert_eq!(what(&none, "no_row"), "there can be no row of departments with id x: the key is no integer");
    home.query("insert into departments (id, department) values (-5, 'Mine')").await;
    assert_eq!(names(&story(&home, "--dataset departments --key -5").await), ["row_foreign"]);
}

#[tokio::test]
async fn what_is_not_there_is_said_with_what_to_do() {
    let home = small().await;
    home.drop("jobs-new.csv", "7,Seven\n");
    home.drop("cats.csv", "1\n");
    for (arguments, code, texts) in [
        ("9:1", 1, ["there is no source 9", "tidegate sources"]),
        ("3:4", 1, ["source 3 ('hired_employees.csv') has 3 lines", "no line 4"]),
        ("dogs.csv:1", 1, ["no file 'dogs.csv' was taken yet", "tidegate sources"]),
        ("cats.csv:1", 1, ["no file 'cats.csv'", "no dataset"]),
        ("landing/jobs-new.csv:1", 1, ["no file 'jobs-new.csv'", "tidegate run"]),
        ("--dataset cats --key 1", 1, ["there is no dataset 'cats'", "departments, jobs, hired_employees"]),
        ("jobs.csv", 2, ["FILE:LINE", "records from 1"]),
        ("jobs.csv:0", 2, ["FILE:LINE", "records from 1"]),
        ("--key 1", 2, ["--dataset", "required"]),
        ("--dataset jobs", 2, ["--key", "required"]),
        ("1:1 --dataset jobs --key 1", 2, ["cannot be used with", "--dataset"]),
        ("", 2, ["required", "FILE:LINE"]),
    ] {
        home.run(&format!("trace {arguments}")).await.failed_with(code).saying(&texts);
    }
    let empty = company::home().await;
    empty.run("trace 1:1").await.failed_with(1).saying(&["tidegate run"]);
    // The dataset has left the manifest; what Postgres knows is told.
    let manifest =
        company::MANIFEST.replace("  jobs:", "  tasks:").replace("references: jobs", "references: tasks");
    std::fs::write(home.path("tidegate.yaml"), manifest).unwrap();
    let left = story(&home, "2:1").await;
    assert_eq!(names(&left), ["entered", "not_in_file", "not_on_topic", "accepted"], "{left:#}");
    assert!(what(&left, "not_in_file").contains("no dataset 'jobs'"), "{left:#}");
}

#[tokio::test]
async fn people_read_a_story_and_tables_take_it_as_csv() {
    let home = small().await;
    let shown = home.run("trace departments.csv:1").await.succeeded().stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "line 1:1, physical line 1 of 'departments.csv', dataset departments: accepted");
    assert_eq!(lines[1], "  | 1,Old");
    assert!(
        lines[2].contains("Z  entered           with source 1, 'departments.csv', 18 bytes, 3 lines"),
        "{shown}"
    );
    let last = lines.last().unwrap();
    let expected = "  -                            replaced          row of departments with id 1 is of the newer line \
                    1:3 of 'departments.csv'";
    assert_eq!(*last, expected);
    let csv = home.run("trace 1:1 --format csv").await.succeeded().stdout;
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows[0], "source,line,event,at,what");
    assert!(rows[1].starts_with("1,1,entered,20"), "{csv}");
    assert_eq!(rows[3], "1,1,on_topic,,\"company-raw-departments, offset 0\"");
    home.drop("departments-long.csv", format!("7,\u{1b}[31m{}\n", "x".repeat(5000)));
    home.ingest().await;
    let shown = home.run("trace departments-long.csv:1").await.succeeded().stdout;
    assert!(shown.contains("… 5007 bytes in all"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "no escape sequence reaches the terminal");
}

#[tokio::test]
async fn the_time_of_a_commit_is_told_where_the_server_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(ServerOptions {
        dir: folder.path().join("postgres"),
        settings: vec![("track_commit_timestamp".to_owned(), "on".to_owned())],
        temporary: true,
        ..ServerOptions::default()
    })
    .await
    .unwrap();
    let home = Home::on(server.url(), company::MANIFEST);
    home.drop("departments.csv", "1,One\n2,Two\n");
    home.ingest().await;
    let at = "select to_char(pg_xact_commit_timestamp(xmin), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
              from departments where id = 1";
    let committed_at = home.query(at).await;
    let exact = story(&home, "1:1").await;
    for name in ["accepted", "held"] {
        assert_eq!(event(&exact, name)["at"], committed_at[0], "{exact:#}");
    }
    // Another application has written the row again, with the same values.
    home.query("update departments set department = department where id = 1").await;
    let again = story(&home, "1:1").await;
    assert_eq!(event(&again, "accepted")["at"], Value::Null, "{again:#}");
    assert!(event(&again, "held")["at"].as_str() > committed_at.first().map(String::as_str), "{again:#}");
}

#[test]
fn a_number_is_a_source_and_anything_else_a_file() {
    let file = |name: &str, line| Ok(Place::File { name: name.to_owned(), line });
    assert_eq!("3:117".parse(), Ok(Place::Source(Position::new(3, 117))));
    assert_eq!("./3:117".parse(), file("3", 117));
    assert_eq!("landing/done/3-a.csv:1".parse(), file("3-a.csv", 1));
    assert_eq!("a:b.csv:1".parse(), file("a:b.csv", 1));
    for wrong in ["", "3", "a.csv", ":1", "a.csv:0", "a.csv:x", "a.csv:-1", "/:1", "99999999999999999999:1"] {
        assert!(wrong.parse::<Place>().is_err(), "{wrong}");
    }
}
