//! A Postgres that was restored to an earlier moment, while data directory and files are of a later one.

use nix::sys::signal::Signal;
use serde_json::Value;
use tidegate::generate::Company;
use tidegate_core::failpoint::Failpoint;

use crate::company::{self, TABLES};
use crate::home::{Home, Running, until};
use crate::http::{self, Service};
use crate::load;

const EMPLOYEES: usize = 12_000;
/// Names are so long that their file is ingested in several transactions.
const NAME_BYTES: usize = 350;
/// What `run` says of such a Postgres.
const REFUSAL: [&str; 2] = ["Postgres is older than what was ingested", "tidegate recover"];

/// The moments to go back to, in their order.
const START: &str = "start";
const MIDDLE: &str = "middle";
const BETWEEN: &str = "between";

/// What is lost besides what Postgres has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    Nothing,
    Topics,
    DataDirectory,
    /// The files that were ingested: the topics alone hold their lines.
    Files,
}

impl Loss {
    fn inflict(self, home: &Home) {
        let folder = match self {
            Self::Nothing => return,
            Self::Topics => ".tidegate/topics",
            Self::DataDirectory => ".tidegate",
            Self::Files => "landing/done",
        };
        std::fs::remove_dir_all(home.path(folder)).unwrap();
    }
}

/// The files of a company, in the order of their sources: the last one hires a third of the employees anew, by
/// other names.
fn files() -> Vec<(&'static str, String)> {
    let folder = tempfile::tempdir().unwrap();
    let generated =
        Company { employees: EMPLOYEES as u64, rejects_percent: 3.0, seed: 11, ..Company::default() };
    generated.write(folder.path()).unwrap();
    let mut files: Vec<_> =
        TABLES.map(|t| std::fs::read_to_string(folder.path().join(format!("{t}.csv"))).unwrap()).into();
    let long_name = format!(",{} ", "x".repeat(NAME_BYTES));
    files[2] = files[2].lines().map(|line| line.replacen(',', &long_name, 1) + "\n").collect();
    let lines = files[2].lines().step_by(3);
    files.push(lines.map(|line| line.replacen(',', ",Anew ", 1) + "\n").collect());
    ["departments.csv", "jobs.csv", "hired_employees-a.csv", "hired_employees-b.csv"]
        .into_iter()
        .zip(files)
        .collect()
}

/// Rows for some of the employees, by other names.
fn more_employees(name: &str) -> String {
    (1..200).map(|id| format!("{id},{name} {id},2021-07-27T16:02:08Z,1,1\n")).collect()
}

/// Drops a file of employees, and ends a run in its middle.
async fn load_in_part(home: &Home, (name, content): &(&str, String)) {
    home.drop(name, content);
    let running = home.spawn("run --until-idle");
    until("the load grows", async || employees(home).await > 0).await;
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
    let count = employees(home).await;
    assert!(count < EMPLOYEES as u64 * 9 / 10, "the load was over too soon: {count}");
}

/// A company whose files were all ingested, with the database as it was at each of the moments.
async fn ingested() -> Home {
    let home = company::embedded(&load::manifest()).await;
    let files = files();
    home.ingest().await;
    home.back_up(START).await;
    for (name, content) in &files[..2] {
        home.drop(name, content);
    }
    home.ingest().await;
    load_in_part(&home, &files[2]).await;
    home.back_up(MIDDLE).await;
    home.ingest().await;
    home.back_up(BETWEEN).await;
    home.drop(files[3].0, &files[3].1);
    home.ingest().await;
    home
}

async fn employees(home: &Home) -> u64 {
    home.count("select count(*) from hired_employees").await
}

async fn incomplete(home: &Home) -> u64 {
    home.count("select count(*) from tidegate.sources where completed_at is null").await
}

/// What `recover` lists: number, what is left of it, from where it came.
fn listed(rows: &[Value], names: [&str; 3]) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    rows.iter().map(|row| names.map(|name| text(&row[name])).join(" ")).collect()
}

async fn assert_recovers(moment: &str) {
    let home = ingested().await;
    let (before, done) = (load::state(&home).await, home.names_in("landing/done"));
    for loss in [Loss::Nothing, Loss::Topics, Loss::DataDirectory, Loss::Files] {
        let what = format!("{moment}, {loss:?}");
        home.restore(moment).await;
        loss.inflict(&home);
        home.run("run --until-idle").await.failed_with(1).saying(&REFUSAL);
        let rows = home.run("recover --format json").await.succeeded().rows();
        assert!(rows.iter().all(|row| row["still_lacking"] == 0), "{what}: {rows:?}");
        company::assert_same(&what, &before, &load::state(&home).await);
        company::assert_accounted(&home).await;
        home.run("verify").await.succeeded();
        assert_eq!(home.names_in("landing"), if loss == Loss::Files { vec![] } else { vec!["done"] });
        if loss != Loss::Files {
            assert_eq!(home.names_in("landing/done"), done);
        }
        home.ingest().await;
        assert_eq!(home.run("recover --format json").await.succeeded().rows(), Vec::<Value>::new());
        company::assert_same(&what, &before, &load::state(&home).await);
    }
}

#[tokio::test]
async fn a_postgres_restored_to_before_all_sources_gets_them_back() {
    assert_recovers(START).await;
}

#[tokio::test]
async fn a_postgres_restored_to_the_middle_of_a_source_gets_the_rest_back() {
    assert_recovers(MIDDLE).await;
}

#[tokio::test]
async fn a_postgres_restored_to_between_two_sources_gets_the_later_one_back() {
    assert_recovers(BETWEEN).await;
}

#[tokio::test]
async fn a_dry_run_lists_what_is_missing_and_changes_nothing() {
    let home = ingested().await;
    home.restore(MIDDLE).await;
    let lacking = EMPLOYEES as u64
        - home
            .count(
                "select sum(accepted_count + rejected_count + waiting_count) \
        from tidegate.ledger where source = 3",
            )
            .await;
    let everything = async |home: &Home| {
        let mut all = load::state(home).await;
        for table in ["sources", "offsets", "leases", "dead_letters"] {
            all.extend(home.query(&format!("select r::text from tidegate.{table} as r order by 1")).await);
        }
        all.extend(home.names_in("landing/done"));
        all.push(std::fs::read_to_string(home.path(".tidegate/sources.jsonl")).unwrap());
        let topics = home.run("topic list --format csv").await.succeeded().stdout;
        all.extend(topics.lines().map(str::to_owned));
        all
    };
    let before = everything(&home).await;
    let rows = home.run("recover --dry-run --format json").await.succeeded().rows();
    let expected = [
        format!("3 {lacking} landing/done/3-hired_employees-a.csv"),
        format!("4 {} landing/done/4-hired_employees-b.csv", EMPLOYEES.div_ceil(3)),
    ];
    assert_eq!(listed(&rows, ["source", "lacking", "from"]), expected);
    assert_eq!(
        listed(&rows, ["registered", "now", "name"]),
        ["true 3 hired_employees-a.csv", "false 4 hired_employees-b.csv",]
    );
    company::assert_same("a dry run", &everything(&home).await, &before);
    // Without files the topics have it.
    Loss::Files.inflict(&home);
    let rows = home.run("recover --dry-run --format json").await.succeeded().rows();
    assert_eq!(listed(&rows, ["source", "lacking", "from"])[1], "4 4000 topics");
    let table = home.run("recover --dry-run").await.succeeded().stdout;
    assert!(table.contains("Postgres lacks 2 sources or lines of them; nothing was changed"), "{table}");
}

#[tokio::test]
async fn what_neither_files_nor_topics_hold_is_named_and_can_be_brought_later() {
    let home = ingested().await;
    let before = load::state(&home).await;
    home.restore(BETWEEN).await;
    Loss::Topics.inflict(&home);
    let backup = std::fs::read(home.path("landing/done/4-hired_employees-b.csv")).unwrap();
    // Another content under its name is no substitute.
    std::fs::write(home.path("landing/done/4-hired_employees-b.csv"), "1,One,2021-07-27T16:02:08Z,1,1\n")
        .unwrap();
    home.run("run --until-idle").await.failed_with(1).saying(&REFUSAL);
    let outcome = home.run("recover --format json").await.failed_with(1);
    let rows = outcome.rows();
    assert_eq!(listed(&rows, ["source", "from", "still_lacking"]), ["4 nowhere 4000"]);
    let sum = rows[0]["content"].as_str().unwrap();
    assert!(
        sum.len() == 64 && outcome.stderr.contains("4 'hired_employees-b.csv' (4000 lines)"),
        "{outcome:?}"
    );
    // Its number stays its own, and the pipeline goes on.
    home.drop("hired_employees-c.csv", "0,Late,2021-07-27T16:02:08Z,1,1\n");
    home.ingest().await;
    let sources =
        "select source, name, completed_at is not null from tidegate.sources where source > 3 order by 1";
    assert_eq!(home.query(sources).await, ["4|hired_employees-b.csv|f", "5|hired_employees-c.csv|t"]);
    home.run("recover").await.failed_with(1).saying(&["4 'hired_employees-b.csv' (4000 lines)"]);
    // The file was found.
    home.drop("hired_employees-b.csv", backup);
    home.ingest().await;
    company::assert_accounted(&home).await;
    let late = "delete from hired_employees where _source = 5; delete from tidegate.ledger where source = 5; \
                delete from tidegate.sources where source = 5";
    home.query(late).await;
    company::assert_same("with the file of the backup", &before, &load::state(&home).await);
}

#[tokio::test]
async fn a_source_whose_number_another_has_taken_gets_a_new_one_and_no_line_is_misread() {
    let home = ingested().await;
    home.drop("hired_employees-d.csv", more_employees("Later"));
    home.ingest().await;
    home.restore(BETWEEN).await;
    // Another machine, with folders of its own, takes over, and knows nothing of source 4.
    std::fs::create_dir(home.path("elsewhere")).unwrap();
    home.drop("hired_employees-c.csv", more_employees("Elsewhere"));
    std::fs::rename(home.path("landing/hired_employees-c.csv"), home.path("elsewhere/hired_employees-c.csv"))
        .unwrap();
    home.run("run --until-idle --data-dir other --landing elsewhere").await.succeeded();
    home.run("run --until-idle").await.failed_with(1).saying(&REFUSAL).saying(&["4 'hired_employees-b.csv'"]);
    let rows = home.run("recover --dry-run --format json").await.succeeded().rows();
    assert_eq!(listed(&rows, ["source", "now", "registered"]), ["4 null false", "5 5 false"]);
    let outcome = home.run("recover --format json").await.succeeded().saying(&["not known any more"]);
    assert_eq!(listed(&outcome.rows(), ["source", "now", "still_lacking"]), ["4 6 0", "5 5 0"]);
    assert_eq!(home.names_in("landing/done")[3..], ["5-hired_employees-d.csv", "6-hired_employees-b.csv"]);
    home.ingest().await;
    company::assert_accounted(&home).await;

    let same = company::embedded(company::MANIFEST).await;
    let files = files();
    for (name, content) in &files[..3] {
        same.drop(name, content);
    }
    same.ingest().await;
    for (name, rows) in [("hired_employees-c.csv", "Elsewhere"), ("hired_employees-d.csv", "Later")] {
        same.drop(name, more_employees(rows));
        same.ingest().await;
    }
    same.drop(files[3].0, &files[3].1);
    same.ingest().await;
    let (left, right) = (load::state(&home).await, load::state(&same).await);
    company::assert_same("recovered and in that order", &left, &right);
}

#[tokio::test]
async fn a_recovery_that_is_killed_is_completed_by_the_next() {
    let home = ingested().await;
    let before = load::state(&home).await;
    for loss in [Loss::Nothing, Loss::DataDirectory] {
        home.restore(START).await;
        loss.inflict(&home);
        for (signal, floor) in [(Signal::SIGKILL, 0), (Signal::SIGTERM, 0), (Signal::SIGKILL, 2_000)] {
            let mut running = home.spawn("recover");
            running.says("running").await;
            until("rows come back", async || employees(&home).await >= floor).await;
            running.signal(signal);
            let outcome = running.ended().await;
            if signal == Signal::SIGTERM {
                outcome.failed_with(1).saying(&["'tidegate recover' goes on from here"]);
            }
            assert!(incomplete(&home).await > 0, "it was over too soon");
            home.run("run --until-idle").await.failed_with(1).saying(&REFUSAL);
        }
        home.run("recover").await.succeeded();
        company::assert_same("before and after", &before, &load::state(&home).await);
        home.ingest().await;
    }
}

#[tokio::test]
async fn a_recovery_that_ends_between_registry_and_journal_is_completed_by_the_next() {
    let home = ingested().await;
    let before = load::state(&home).await;
    for (action, code) in [("abort", None), ("error", Some(1))] {
        home.restore(BETWEEN).await;
        let mut command = home.command(["recover"]);
        command.env("TIDEGATE_FAILPOINT", format!("{}={action}@1", Failpoint::SourcesRestored.as_str()));
        assert_eq!(Running::start(command).ended().await.code, code);
        home.run("run --until-idle").await.failed_with(1).saying(&REFUSAL);
        home.run("recover").await.succeeded();
        company::assert_same(action, &before, &load::state(&home).await);
    }
}

#[tokio::test]
async fn a_recovery_without_a_journal_is_completed_too() {
    let home = company::embedded(&load::manifest()).await;
    let files = files();
    for (name, content) in &files[..2] {
        home.drop(name, content);
    }
    load_in_part(&home, &files[2]).await;
    home.back_up(MIDDLE).await;
    home.ingest().await;
    let before = load::state(&home).await;
    home.restore(MIDDLE).await;
    Loss::DataDirectory.inflict(&home);
    let mut running = home.spawn("recover");
    running.says("running").await;
    running.kill().await;
    assert!(incomplete(&home).await > 0, "it was over too soon");
    home.run("run --until-idle").await.failed_with(1).saying(&REFUSAL);
    home.run("recover").await.succeeded();
    company::assert_same("before and after", &before, &load::state(&home).await);
}

#[tokio::test]
async fn a_run_whose_postgres_loses_a_source_takes_in_no_other() {
    let home = company::embedded(company::MANIFEST).await;
    let mut running = home.spawn("run");
    running.says("running").await;
    for (name, content) in files() {
        home.drop(name, content);
        until("it is done", async || !home.path("landing").join(name).exists()).await;
    }
    let before = load::state(&home).await;
    // What a replica lacks that lagged.
    home.query(
        "begin; delete from tidegate.ledger where source = 4; delete from hired_employees where _source = 4; \
         delete from tidegate.dead_letters where source = 4; delete from tidegate.sources where source = 4; commit",
    )
    .await;
    home.drop("hired_employees-c.csv", more_employees("Late"));
    running
        .ended()
        .await
        .failed_with(1)
        .saying(&["Postgres has lost what it had committed", "tidegate recover"]);
    assert_eq!(home.count("select max(source) from tidegate.sources").await, 3, "no number was given twice");
    home.run("run --until-idle").await.failed_with(1).saying(&REFUSAL);
    std::fs::remove_file(home.path("landing/hired_employees-c.csv")).unwrap();
    // The topics have it, but readers that are not lost stand behind it.
    Loss::Files.inflict(&home);
    let rows = home.run("recover --format json").await.succeeded().rows();
    assert_eq!(listed(&rows, ["now", "from", "still_lacking"]), ["4 topics 0"]);
    company::assert_same("before and after", &before, &load::state(&home).await);
}

#[tokio::test]
async fn a_file_in_mid_load_whose_registration_is_lost_keeps_its_number() {
    let home = company::embedded(company::MANIFEST).await;
    let files = files();
    for (name, content) in &files[..2] {
        home.drop(name, content);
    }
    home.ingest().await;
    home.back_up(BETWEEN).await;
    home.drop(files[2].0, &files[2].1);
    let mut running = home.spawn("run");
    // Before that no line of it is on a topic, and another may have its number.
    let journal = home.path(".tidegate/sources.jsonl");
    let is_noted = || std::fs::read_to_string(&journal).is_ok_and(|journal| journal.contains(files[2].0));
    until("it is in the journal", async || is_noted()).await;
    running.kill().await;
    assert_eq!(home.names_in("landing").len(), 2, "it was over too soon");
    home.restore(BETWEEN).await;
    // A file that would come first otherwise.
    home.drop("departments-b.csv", "1,Anew\n");
    home.run("run --until-idle").await.failed_with(1).saying(&REFUSAL).saying(&["3 'hired_employees-a.csv'"]);
    let rows = home.run("recover --format json").await.succeeded().rows();
    let expected = ["3 landing/hired_employees-a.csv 0"];
    assert_eq!(listed(&rows, ["now", "from", "still_lacking"]), expected);
    company::assert_accounted(&home).await;
    assert_eq!(home.names_in("landing/done")[2..], ["3-hired_employees-a.csv", "4-departments-b.csv"]);
}

#[tokio::test]
async fn numbers_of_which_nothing_is_known_any_more_are_named() {
    let home = ingested().await;
    home.restore(START).await;
    Loss::DataDirectory.inflict(&home);
    std::fs::remove_file(home.path("landing/done/3-hired_employees-a.csv")).unwrap();
    home.run("recover").await.failed_with(1).saying(&["had the numbers 3"]);
    let sources = "select source, completed_at is not null from tidegate.sources order by source";
    assert_eq!(home.query(sources).await, ["1|t", "2|t", "4|t"]);
    home.drop("hired_employees-c.csv", more_employees("Late"));
    home.ingest().await;
    assert_eq!(home.query(sources).await[3], "5|t", "a number that was given is not given again");
    home.run("recover").await.succeeded();
}

/// Of millions of requests the journal keeps the latest; of the others it knows that they were.
#[tokio::test]
async fn requests_that_were_forgotten_are_named_by_their_numbers() {
    const PATH: &str = "/v1/datasets/departments/rows?wait=true";
    let home = http::company().await;
    home.drop("departments.csv", "1,Sales\n");
    home.ingest().await;
    home.back_up(START).await;
    let push = async |service: &Service, id: u64| {
        let row = serde_json::json!({"rows": [{"id": id, "department": "D"}]});
        service.post_json(PATH, &row).await.with_status(200).json()["source"].clone()
    };
    let service = Service::start(&home).await;
    for id in 2..=4 {
        assert_eq!(push(&service, id).await, id);
    }
    service.stop().await;
    let journal = home.path(".tidegate/sources.jsonl");
    let noted = std::fs::read_to_string(&journal).unwrap();
    let is_kept = |line: &&str| ["\"source\":1,", "\"source\":4,"].iter().any(|source| line.contains(source));
    let kept: Vec<&str> = noted.lines().filter(is_kept).collect();
    std::fs::write(&journal, format!("{{\"event\":\"forgotten\",\"up_to\":3}}\n{}\n", kept.join("\n")))
        .unwrap();
    home.ingest().await;
    home.restore(START).await;
    home.run("run --until-idle").await.failed_with(1).saying(&REFUSAL);
    // Nobody can tell any more whose lines are on the topics.
    let said = ["had the numbers 2 to 3", "not known any more", "4 'request' (1 lines)"];
    home.run("recover").await.failed_with(1).saying(&said);
    assert_eq!(home.query("select id from departments").await, ["1"]);
    let service = Service::start(&home).await;
    assert_eq!(push(&service, 5).await, 5, "a number that was given is not given again");
    service.stop().await;
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn a_journal_that_is_lost_costs_no_line() {
    let home = company::embedded(&load::manifest()).await;
    let files = files();
    for (name, content) in &files[..2] {
        home.drop(name, content);
    }
    load_in_part(&home, &files[2]).await;
    std::fs::remove_file(home.path(".tidegate/sources.jsonl")).unwrap();
    home.ingest().await.saying(&["read again from the files"]);
    home.drop(files[3].0, &files[3].1);
    home.ingest().await;
    company::assert_accounted(&home).await;
    let undisturbed = ingested().await;
    let (left, right) = (load::state(&home).await, load::state(&undisturbed).await);
    company::assert_same("disturbed and undisturbed", &left, &right);
}

#[tokio::test]
async fn a_data_directory_of_another_database_is_refused() {
    let (home, other) = (company::embedded(company::MANIFEST).await, company::home().await);
    home.ingest().await;
    let refusal = ["belongs to another database", "--data-dir"];
    for command in ["run --until-idle", "recover"] {
        let command = format!("{command} --database-url {}", other.url);
        home.run(&command).await.failed_with(1).saying(&refusal);
    }
    let command = format!("recover --dry-run --database-url {}", other.url);
    home.run(&command).await.failed_with(1).saying(&refusal);
}

#[tokio::test]
async fn a_database_made_anew_gets_all_from_the_files() {
    let home = ingested().await;
    let before = load::state(&home).await;
    home.query("drop schema public, tidegate cascade; create schema public").await;
    home.run("run --until-idle").await.failed_with(1).saying(&["made anew"]);
    Loss::DataDirectory.inflict(&home);
    home.run("run --until-idle")
        .await
        .failed_with(1)
        .saying(&REFUSAL)
        .saying(&["move files in done/ away first"]);
    home.run("recover").await.succeeded();
    company::assert_same("before and after", &before, &load::state(&home).await);
}
