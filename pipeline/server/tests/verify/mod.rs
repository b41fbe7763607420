//! `tidegate verify`: a pipeline that is well passes, and each kind of damage is found where it is.

mod damage;
mod files;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tidegate_core::ledger::{Chunk, Fate};
use tidegate_core::manifest::Manifest;
use tidegate_store::Store;
use tidegate_testing::postgres;
use tidegate_verify::{Report, Verdict};
use tokio::sync::OnceCell;

use crate::company;
use crate::home::{Home, until};

/// Accepted, rejected, waiting, superseded and healed lines, and rows of another application.
async fn lived_in() -> Home {
    live_in(company::home().await).await
}

async fn live_in(home: Home) -> Home {
    home.drop("departments.csv", "1,Sales\n2,Legal\nx,Bad\n");
    home.drop("jobs.csv", "1,Clerk\n");
    home.drop(
        "hired_employees.csv",
        "1,Ada,2021-03-01T00:00:00Z,1,1\n\
         2,Bob,2021-04-01T00:00:00Z,1,1\n\
         3,,2021-05-01T00:00:00Z,1,1\n\
         4,Dan,2021-06-01T00:00:00Z,9,1\n\
         5,Eve,2021-07-01T00:00:00Z,2,1\n\
         2,Bob Again,2021-08-01T00:00:00Z,2,1\n\
         7,Gil,2021-09-01T00:00:00Z,3,1\n",
    );
    home.ingest().await;
    home.drop("departments_more.csv", "3,Late\n");
    home.ingest().await;
    home.query("insert into departments values (50, 'theirs'), (51, 'theirs too')").await;
    home
}

/// The files of `done/`: names and contents.
type DoneFiles = Vec<(String, Vec<u8>)>;

/// A copy of [`lived_in`] for one kind of damage: its database and the files of `done/`. Foreign keys and triggers do
/// not see what the test changes.
async fn copy_of_lived_in() -> Home {
    static ORIGINAL: OnceCell<(String, DoneFiles)> = OnceCell::const_new();
    let (url, files) = ORIGINAL
        .get_or_init(async || {
            let home = live_in(company::embedded(company::MANIFEST).await).await;
            let read = |name: String| {
                let path = home.path("landing/done").join(&name);
                (name, std::fs::read(path).unwrap())
            };
            (home.url.clone(), home.names_in("landing/done").into_iter().map(read).collect())
        })
        .await;
    let home = company::furnished(Home::embedded_on(postgres::copy_of(url).await, company::MANIFEST));
    std::fs::create_dir(home.path("landing/done")).unwrap();
    for (name, bytes) in files {
        std::fs::write(home.path("landing/done").join(name), bytes).unwrap();
    }
    home.query("set session_replication_role = replica").await;
    home
}

/// What a report in JSON says: `check result count position` of each row, without the rows that were merely
/// checked.
fn found(rows: &[Value]) -> Vec<String> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
    let rows = rows.iter().filter(|row| row["result"] != "checked");
    rows.map(|row| {
        format!("{} {} {} {}", text(row, "check"), text(row, "result"), row["count"], text(row, "position"))
    })
    .collect()
}

fn count_of(rows: &[Value], message: &str) -> u64 {
    let row = rows.iter().find(|row| row["message"].as_str().is_some_and(|text| text.contains(message)));
    row.and_then(|row| row["count"].as_u64()).unwrap_or_else(|| panic!("nothing says '{message}': {rows:#?}"))
}

#[tokio::test]
async fn a_pipeline_that_is_well_passes_with_its_counts() {
    let home = lived_in().await;
    let rows = home.run("verify --format json").await.succeeded().rows();
    assert_eq!(found(&rows), ["rows note 2 -"], "{rows:#?}");
    for (count, message) in [
        (4, "sources"),
        (12, "lines with a fate"),
        (3, "rows of departments with a position"),
        (1, "rows of jobs with a position"),
        (4, "rows of hired_employees with a position"),
        (2, "rows of departments without one"),
        (4, "dead letters"),
        (3, "rejected, waiting and discarded"),
        (4, "values of hired_employees.department_id"),
        (3, "groups of the store view_hires_by_quarter"),
        (3, "rows of hires_by_quarter"),
        (3, "rows of hires_by_department"),
        (1, "rows of departments_above_mean"),
        (1, "waiting lines"),
    ] {
        assert_eq!(count_of(&rows, message), count, "{message}: {rows:#?}");
    }
    let table = home.run("verify").await.succeeded().stdout;
    assert!(table.ends_with("no violation\n"), "{table}");
    let csv = home.run("verify --format csv").await.succeeded().stdout;
    assert!(csv.starts_with("check,result,count,position,message\nregistry,checked,4,,"), "{csv}");
}

#[tokio::test]
async fn a_database_without_a_pipeline_or_with_another_cannot_be_verified() {
    let home = company::embedded(company::MANIFEST).await;
    home.run("verify").await.failed_with(1).saying(&["no pipeline has run in this database"]);
    company::drop_example(&home);
    home.ingest().await;
    let other = company::MANIFEST.replace("pipeline: company", "pipeline: other");
    std::fs::write(home.path("other.yaml"), other).unwrap();
    home.run("verify --config other.yaml").await.failed_with(1).saying(&["holds the pipeline 'company'"]);
    home.query("alter table jobs drop column job cascade").await;
    home.run("verify").await.failed_with(1).saying(&["table of dataset 'jobs'", "column job is missing"]);
}

#[tokio::test]
async fn a_role_that_may_only_read_can_verify() {
    let home = lived_in().await;
    home.query(
        "do $$ begin if to_regrole('auditor') is null then \
         create role auditor login password 'reads'; end if; end $$; \
         grant usage on schema tidegate to auditor; \
         grant select on all tables in schema tidegate, public to auditor",
    )
    .await;
    let (scheme, rest) = home.url.split_once("://").unwrap();
    let (_, place) = rest.split_once('@').unwrap();
    let url = format!("{scheme}://auditor:reads@{place}");
    home.run(&format!("verify --deep --database-url {url}")).await.succeeded();
    home.query("drop owned by auditor").await;
}

/// Plants a replay of line `3:LINE`, which was made, or is under way.
fn a_move(line: u64, before: &str, outcome: Option<&str>) -> String {
    let (outcome, done_at) =
        outcome.map_or(("null".to_owned(), "null"), |outcome| (format!("'{outcome}'"), "now()"));
    format!(
        "insert into tidegate.moves \
         (source, line, kind, attempt, asked_by, status_before, reasons_before, outcome, done_at) \
         values (3, {line}, 'replay', 1, 'ann', '{before}', '[]', {outcome}, {done_at})"
    )
}

/// Changes the dead letter of line `3:LINE`.
fn letter(change: &str, line: u64) -> String {
    format!("update tidegate.dead_letters set {change} where source = 3 and line = {line}")
}

/// A set of lines as the ledger stores it.
fn set(lines: &[u64]) -> String {
    let mut chunk = Chunk::default();
    lines.iter().for_each(|line| assert!(chunk.enter(*line, Fate::Accepted)));
    let hex: String = chunk.encode(Fate::Accepted).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'\\x{hex}'")
}

/// Fails unless an audit finds just this: `CHECK POSITION MESSAGE` of each violation, `CHECK note COUNT` of
/// each note at no place, `CHECK note:POSITION MESSAGE` of each other.
async fn assert_finds(home: &Home, command: &str, damage: &str, expected: &[&str]) {
    let outcome = home.run(&format!("{command} --format json")).await;
    let rows = outcome.rows();
    let mut unexpected: Vec<&Value> = rows.iter().filter(|row| row["result"] != "checked").collect();
    unexpected.retain(|row| !row["message"].as_str().unwrap().contains("other writers'"));
    let mut violations = 0;
    for wanted in expected {
        let (check, rest) = wanted.split_once(' ').unwrap();
        let (place, message) = rest.split_once(' ').unwrap();
        let is = |row: &&Value| {
            let stands = row["position"].as_str().unwrap_or("-");
            let says = row["message"].as_str().unwrap().contains(message);
            match place.strip_prefix("note") {
                Some("") => row["result"] == "note" && row["count"].as_u64() == message.parse().ok(),
                Some(at) => row["result"] == "note" && at[1..] == *stands && says,
                None => row["result"] == "violation" && place == stands && says,
            }
        };
        let found = unexpected.iter().position(|row| row["check"] == check && is(row));
        let found = found.unwrap_or_else(|| panic!("{damage}\nis not found: {wanted}\n{rows:#?}"));
        violations += usize::from(unexpected.remove(found)["result"] == "violation");
    }
    assert!(unexpected.is_empty(), "{damage}\n{unexpected:#?}");
    assert_eq!(outcome.code, Some(i32::from(violations > 0)), "{damage}\n{}", outcome.stderr);
    if violations > 1 {
        outcome.saying(&[&format!("there are {violations} violations")]);
    }
}

/// Audits in this process, with another patience.
async fn verify(home: &Home, heal_within: Duration) -> Report {
    let manifest = Manifest::parse(company::MANIFEST, &|_| None).unwrap();
    let postgres = Store::new(&home.url, manifest.into(), uuid::Uuid::nil()).unwrap();
    tidegate_verify::run(&postgres, heal_within, None, false, &|_, _| {}).await.unwrap()
}

#[tokio::test]
async fn a_line_that_has_all_it_waited_for_must_heal_while_a_pipeline_runs() {
    let home = live_in(company::embedded(company::MANIFEST).await).await;
    home.query("insert into departments values (9, 'came late')").await;
    let rows = home.run("verify --format json").await.succeeded().rows();
    assert_eq!(count_of(&rows, "the next run heals them"), 1);

    // Somebody holds the leases, and does not heal.
    home.query("update tidegate.leases set expires_at = now() + interval '1 hour'").await;
    let report = verify(&home, Duration::from_millis(50)).await;
    let waiting = report.checks.iter().find(|check| check.name == "waiting").unwrap();
    let violation = waiting.findings.iter().find(|finding| finding.verdict == Verdict::Violation).unwrap();
    assert_eq!((violation.position.as_deref(), report.violations()), (Some("3:4"), 1));

    // Somebody heals it while it is watched.
    home.query("update tidegate.leases set expires_at = '-infinity'").await;
    let mut running = home.spawn("run");
    running.says("running").await;
    let report = verify(&home, Duration::from_secs(120)).await;
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
    assert_eq!(report.violations(), 0, "{report:#?}");
    assert_eq!(
        home.query("select count(*) from tidegate.dead_letters where status = 'waiting'").await,
        ["0"]
    );
}

#[tokio::test]
async fn nothing_is_wrong_at_any_moment_of_a_run() {
    let home = company::home().await;
    home.run("generate --to made --employees 60000").await.succeeded();
    let mut running = home.spawn("run");
    running.says("running").await;
    let made = |name: &str| std::fs::read_to_string(home.path("made").join(name)).unwrap();
    let employees = made("hired_employees.csv");
    let employees: Vec<&str> = employees.lines().collect();
    let mut parts = employees.chunks(employees.len() / 4 + 1).map(|part| part.join("\n"));
    // Children first, so that lines wait and heal; an audit begins with each file.
    for (i, name) in
        ["hired_employees", "jobs", "hired_employees", "departments", "hired_employees", "hired_employees"]
            .into_iter()
            .enumerate()
    {
        let text =
            if name == "hired_employees" { parts.next().unwrap() } else { made(&format!("{name}.csv")) };
        home.drop(&format!("{name}_{i}.csv"), text);
        home.run(if i % 2 == 0 { "verify" } else { "verify --deep" }).await.succeeded();
        if i == 0 {
            let waiting = "select count(*) from tidegate.dead_letters where status = 'waiting'";
            until("the first file waits", async || home.count(waiting).await > 0).await;
        }
    }
    until("all files are through", async || {
        home.run("verify").await.succeeded();
        home.names_in("landing/done").len() == 6
    })
    .await;
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
    let rows = home.run("verify --deep --format json").await.succeeded().rows();
    assert_eq!(count_of(&rows, "files of done/"), 6);
    let healed = "select count(*) > 0 from tidegate.dead_letters where status = 'healed'";
    assert_eq!(home.query(healed).await, ["t"]);
}
