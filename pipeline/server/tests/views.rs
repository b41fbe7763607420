//! Metric views, end to end: `tidegate view ...`, changed and removed files, refreshed views, an upgrade.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::company;
use crate::home::{Home, until};

/// No reader waits so long. What it is held against takes half a second, on a machine that is not busy.
const WAIT_MAX: Duration = Duration::from_secs(10);

const JOBS_PER_DEPARTMENT: &str = "\
select
    department_id,
    string_agg(distinct job_id::text, ',') as jobs
from hired_employees
group by department_id
";
const DEPARTMENTS: &str = "-- refresh: 1s\nselect count(*) as n from departments\n";

fn write(home: &Home, view: &str, text: &str) {
    std::fs::write(home.path(format!("sql/views/{view}.sql")), text).unwrap();
}

fn remove(home: &Home, view: &str) {
    std::fs::remove_file(home.path(format!("sql/views/{view}.sql"))).unwrap();
}

/// Adds a condition to a view that its store does not have.
fn narrow(home: &Home, view: &str) {
    let path = home.path(format!("sql/views/{view}.sql"));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text.replace("\ngroup by", "\nwhere hired_employees.id > 0\ngroup by")).unwrap();
}

/// A company that has ingested the example.
async fn ingested() -> Home {
    let home = company::home().await;
    company::drop_example(&home);
    home.ingest().await;
    home
}

async fn rows(home: &Home, command: &str) -> Vec<Value> {
    home.run(&format!("view {command} --format json")).await.succeeded().rows()
}

/// The row about a view.
#[track_caller]
fn of<'a>(rows: &'a [Value], view: &str) -> &'a Value {
    let row = rows.iter().find(|row| row["name"] == view || row["view"] == view);
    row.unwrap_or_else(|| panic!("nothing about {view}: {rows:#?}"))
}

/// `VIEW ACTION` of each step that does something.
fn actions(rows: &[Value]) -> Vec<String> {
    let text = |row: &Value| format!("{} {}", row["view"].as_str().unwrap(), row["action"].as_str().unwrap());
    rows.iter().filter(|row| row["action"] != "keep").map(text).collect()
}

/// All that the database has of views.
async fn in_database(home: &Home) -> Vec<String> {
    home.query(
        "select oid::text, relname, relfilenode::text from pg_class \
         where relnamespace in ('public'::regnamespace, to_regnamespace('tidegate')) order by oid",
    )
    .await
}

#[tokio::test]
async fn views_are_listed_with_what_they_read_and_how_fresh_they_are() {
    let home = company::home().await;
    write(&home, "jobs_per_department", JOBS_PER_DEPARTMENT);
    let before = rows(&home, "list").await;
    assert_eq!(
        *of(&before, "hires_by_quarter"),
        json!({
            "name": "hires_by_quarter", "kind": "incremental", "reads": ["departments", "jobs", "hired_employees"],
            "refresh": null, "refreshed_at": null, "next_start": "create",
        })
    );
    assert_eq!(home.query("select to_regclass('tidegate.views')").await, ["null"], "nothing is changed");
    home.ingest().await;
    remove(&home, "departments_above_mean");
    let after = rows(&home, "list").await;
    let names: Vec<&str> = after.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["departments_above_mean", "hires_by_department", "hires_by_quarter", "jobs_per_department"]
    );
    let gone = of(&after, "departments_above_mean");
    assert_eq!(
        (&gone["kind"], &gone["reads"], &gone["next_start"]),
        (&json!("layered"), &json!(["hires_by_department"]), &json!("drop"))
    );
    let refreshed = of(&after, "jobs_per_department");
    assert_eq!((&refreshed["kind"], &refreshed["refresh"]), (&json!("refreshed"), &json!("every 5m")));
    assert!(refreshed["refreshed_at"].as_str().unwrap().starts_with("20"), "{refreshed}");
    let table = home.run("view list").await.succeeded().stdout;
    assert!(table.contains("every 5m") && table.contains("departments, jobs, hired_employees"), "{table}");
    let csv = home.run("view list --format csv").await.succeeded().stdout;
    assert!(csv.starts_with("name,kind,reads,refresh,refreshed_at,next_start\n"), "{csv}");
}

#[tokio::test]
async fn a_view_is_explained_to_people_and_machines() {
    let home = company::home().await;
    write(&home, "jobs_per_department", JOBS_PER_DEPARTMENT);
    write(&home, "departments_now", DEPARTMENTS);
    home.ingest().await;
    let text = home.run("view explain hires_by_quarter").await.succeeded().stdout;
    for part in [
        "hires_by_quarter: incremental\n",
        "exact at every commit",
        "tidegate.view_hires_by_quarter: changes of hired_employees",
        "department_id",
        "count(*)",
        "query       select",
        "next start  keeps it as it is",
    ] {
        assert!(text.contains(part), "'{part}' is not in\n{text}");
    }
    let refreshed = home.run("view explain jobs_per_department").await.succeeded().stdout;
    for part in ["refreshed\n", "every 5m", "line 3: ", "string_agg", "yes: readers go on", "department_id"] {
        assert!(refreshed.contains(part), "'{part}' is not in\n{refreshed}");
    }
    let asked_for = home.run("view explain departments_now").await.succeeded().stdout;
    assert!(
        asked_for.contains("its header says so") && asked_for.contains("no: readers wait"),
        "{asked_for}"
    );
    narrow(&home, "hires_by_quarter");
    let all = home.run("view explain").await.succeeded().stdout;
    for part in
        ["departments_above_mean: layered\n", "next start  makes it anew", "and departments_now", "\n\n"]
    {
        let part = part.strip_prefix("and ").unwrap_or(part);
        assert!(all.contains(part), "'{part}' is not in\n{all}");
    }
    let machines = rows(&home, "explain").await;
    assert_eq!(machines.len(), 5);
    let quarter = of(&machines, "hires_by_quarter");
    assert_eq!((&quarter["kind"], &quarter["action"]), (&json!("incremental"), &json!("rebuild")));
    assert_eq!(quarter["store"]["dataset"], "hired_employees");
    assert_eq!(quarter["store"]["sums"][0], "count(*)");
    assert!(quarter["store"]["conditions"][0].as_str().unwrap().contains("id"), "{quarter}");
    assert!(quarter["query"].as_str().unwrap().contains("sum(n)"), "{quarter}");
    let per_department = of(&machines, "jobs_per_department");
    assert_eq!(per_department["unique_columns"], json!(["department_id"]));
    assert_eq!(per_department["refresh_seconds"], 300);
    assert!(per_department["reason"].as_str().unwrap().starts_with("line 3: "), "{per_department}");
    assert_eq!(of(&machines, "departments_above_mean")["views"], json!(["hires_by_department"]));
    home.run("view explain hires").await.failed_with(1).saying(&[
        "there is no view 'hires'",
        "departments_above_mean, ",
        "hires_by_quarter",
    ]);
}

#[tokio::test]
async fn a_view_that_is_called_like_a_command_can_be_shown() {
    let home = company::home().await;
    write(&home, "list", "select count(*) as departments from departments");
    home.drop("departments.csv", "1,One\n2,Two\n");
    home.ingest().await;
    assert_eq!(home.run("view show list --format csv").await.succeeded().stdout, "departments\n2\n");
    let filtered = "view show list --where departments=3 --format json";
    assert_eq!(home.run(filtered).await.succeeded().rows(), [json!(null); 0]);
    assert_eq!(home.run("view --format json list").await.succeeded().rows().len(), 4);
    home.run("view").await.failed_with(2).saying(&["<NAME>"]);
    home.run("view hires_by_quarter list").await.failed_with(2).saying(&["stands before a command"]);
    home.run("view --where a=1 list").await.failed_with(2).saying(&["--where is for the rows of a view"]);
    let help = home.run("view --help").await.succeeded().stdout;
    assert!(help.contains("tidegate view apply --dry-run") && help.contains("view show NAME"), "{help}");
}

#[tokio::test]
async fn a_plan_changes_nothing_and_applying_does_what_it_says() {
    let home = ingested().await;
    assert_eq!(actions(&rows(&home, "apply --dry-run").await), [""; 0]);
    narrow(&home, "hires_by_quarter");
    write(&home, "jobs_per_department", JOBS_PER_DEPARTMENT);
    remove(&home, "departments_above_mean");
    let (views, tables) = (in_database(&home).await, home.query("select * from tidegate.views").await);
    let planned = rows(&home, "apply --dry-run").await;
    let expected = [
        // It had shared the store of the other.
        "hires_by_department rebuild",
        "hires_by_quarter rebuild",
        "jobs_per_department create",
        "departments_above_mean drop",
    ];
    assert_eq!(actions(&planned), expected, "{planned:#?}");
    let step = of(&planned, "departments_above_mean");
    assert_eq!(
        *step,
        json!({
            "view": "departments_above_mean", "action": "drop", "kind": null, "why": "its file is gone", "dependents": [],
        })
    );
    let table = home.run("view apply --dry-run").await.succeeded().stdout;
    assert!(table.contains("its file is new") && table.contains("rebuild"), "{table}");
    assert_eq!(in_database(&home).await, views);
    assert_eq!(home.query("select * from tidegate.views").await, tables);

    assert_eq!(actions(&rows(&home, "apply").await), expected);
    assert_eq!(home.query("select to_regclass('departments_above_mean')").await, ["null"]);
    company::assert_same(
        "a refreshed view that was made",
        &home.query("select * from jobs_per_department order by 1").await,
        &home.query(&format!("{JOBS_PER_DEPARTMENT} order by 1")).await,
    );
    home.run("verify").await.succeeded();
    assert_eq!(actions(&rows(&home, "apply").await), [""; 0], "it is done");
}

#[tokio::test]
async fn views_are_planned_but_not_applied_while_the_pipeline_runs() {
    let home = company::home().await;
    let mut running = home.spawn("run");
    running.says("running").await;
    narrow(&home, "hires_by_quarter");
    let before = in_database(&home).await;
    let expected = ["hires_by_department rebuild", "hires_by_quarter rebuild"];
    assert_eq!(actions(&rows(&home, "apply --dry-run").await), expected);
    let refused = ["stop it first, or restart it: a start applies the views"];
    home.run("view apply").await.failed_with(1).saying(&refused).saying(&["has the data directory"]);
    home.run("view apply --data-dir other")
        .await
        .failed_with(1)
        .saying(&refused)
        .saying(&["runs this pipeline"]);
    assert_eq!(in_database(&home).await, before);
    home.drop("departments.csv", "1,One\n");
    until("the run goes on", async || home.count("select count(*) from departments").await == 1).await;
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
    home.run("view apply").await.succeeded();
    home.ingest().await;
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn applying_to_a_new_database_prepares_it() {
    let home = company::home().await;
    assert_eq!(rows(&home, "apply").await.len(), 3);
    company::drop_example(&home);
    home.ingest().await;
    company::assert_accounted(&home).await;
}

#[tokio::test]
async fn views_alone_are_verified_and_a_refreshed_one_is_noted() {
    let home = company::home().await;
    write(&home, "jobs_per_department", JOBS_PER_DEPARTMENT);
    company::drop_example(&home);
    home.ingest().await;
    let checks = rows(&home, "verify").await;
    assert!(checks.iter().all(|row| row["check"] == "views"), "{checks:#?}");
    let messages = |rows: &[Value]| -> Vec<String> {
        rows.iter().map(|row| format!("{}: {}", row["result"], row["message"]).replace('"', "")).collect()
    };
    let found = messages(&checks);
    assert_eq!(found.len(), 5, "{found:#?}");
    let is_noted = |message: &String| {
        message.starts_with("note: jobs_per_department is of 20") && message.ends_with("it is not compared")
    };
    assert!(found.iter().any(is_noted), "{found:#?}");
    let whole = home.run("verify --format json").await.succeeded().rows();
    assert!(messages(&whole).iter().any(is_noted), "{whole:#?}");

    home.query("update tidegate.view_hires_by_quarter set n = n + 1 where ctid in (select ctid from tidegate.view_hires_by_quarter limit 1)").await;
    home.run("view verify jobs_per_department").await.succeeded();
    let damaged = home.run("view verify hires_by_department --format json").await.failed_with(1);
    let found = messages(&damaged.rows());
    assert!(
        found.iter().any(|message| message.starts_with("violation: too much in hires_by_department")),
        "{found:#?}"
    );
    assert!(found.iter().any(|message| message.contains("the store view_hires_by_quarter")), "{found:#?}");
    assert!(!found.iter().any(|message| message.contains("departments_above_mean")), "{found:#?}");
    let table = home.run("view verify").await.failed_with(1).saying(&["violation"]).stdout;
    assert!(table.contains("departments_above_mean"), "{table}");
    home.run("view verify hires").await.failed_with(1).saying(&["there is no view 'hires'"]);
}

#[tokio::test]
async fn materialized_views_are_refreshed_when_asked_for_also_beside_a_run() {
    let home = company::home().await;
    write(&home, "jobs_per_department", JOBS_PER_DEPARTMENT);
    write(&home, "departments_now", "-- refresh: 1day\nselect count(*) as n from departments");
    write(&home, "twice", "-- refresh: 1day\nselect n * 2 as n from departments_now");
    home.ingest().await;
    let mut running = home.spawn("run");
    running.says("running").await;
    home.query("insert into departments values (1, 'One')").await;
    assert_eq!(home.query("select n from departments_now").await, ["0"]);
    let refreshed = rows(&home, "refresh twice departments_now").await;
    let names: Vec<&str> = refreshed.iter().map(|row| row["view"].as_str().unwrap()).collect();
    assert_eq!(names, ["departments_now", "twice"], "what is read comes first");
    assert_eq!(home.query("select * from twice").await, ["2"]);
    assert_eq!(refreshed[0]["concurrently"], false);
    assert!(refreshed[0]["seconds"].as_f64().is_some(), "{refreshed:#?}");
    let all = home.run("view refresh").await.succeeded().stdout;
    assert!(all.contains("jobs_per_department") && all.contains("true"), "{all}");
    home.run("view refresh hires_by_quarter")
        .await
        .failed_with(1)
        .saying(&["is incremental", "nothing to refresh"]);
    home.run("view refresh hires").await.failed_with(1).saying(&["there is no view 'hires'", "twice"]);
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
}

#[tokio::test]
async fn a_refreshed_view_follows_changes_during_a_run_and_is_of_it_at_its_end() {
    let home = company::home().await;
    write(&home, "departments_now", DEPARTMENTS);
    write(&home, "jobs_now", "-- refresh: 1day\nselect count(*) as n from jobs");
    let mut running = home.spawn("run");
    running.says("running").await;
    for n in 1..3 {
        home.drop(&format!("departments_{n}.csv"), format!("{n},D{n}\n"));
        until("the view shows it", async || home.count("select n from departments_now").await == n).await;
    }
    running.says("refreshed").await;
    home.drop("jobs.csv", "1,One\n");
    until("the job is there", async || home.count("select count(*) from jobs").await == 1).await;
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
    assert_eq!(home.query("select n from jobs_now").await, ["0"], "its time has not come");
    home.drop("jobs_2.csv", "2,Two\n");
    let outcome = home.ingest().await;
    assert_eq!(home.query("select n from jobs_now").await, ["2"], "{}", outcome.stderr);
}

#[tokio::test]
async fn a_refresh_that_fails_or_hangs_hinders_neither_the_run_nor_its_end() {
    let home = company::home().await;
    write(&home, "broken", "-- refresh: 1s\nselect 1 / (1 - count(*)) as n from departments");
    write(
        &home,
        "hanging",
        "-- refresh: 1s\nselect case when count(*) > 0 then pg_sleep(3600)::text end as n from jobs",
    );
    write(&home, "sound", DEPARTMENTS);
    let mut running = home.spawn("run");
    running.says("running").await;
    home.drop("departments.csv", "1,One\n");
    running.says("view 'broken' cannot be refreshed").await;
    until("the others are", async || home.count("select n from sound").await == 1).await;
    home.drop("jobs.csv", "1,One\n");
    let hangs = "select count(*) from pg_stat_activity where datname = current_database() \
                 and query like 'refresh materialized view%hanging'  and state = 'active'";
    until("a refresh hangs", async || home.count(hangs).await == 1).await;
    home.drop("departments_2.csv", "2,Two\n");
    until("rows are written", async || home.count("select count(*) from departments").await == 2).await;
    let begun = Instant::now();
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
    assert!(begun.elapsed() < Duration::from_secs(60), "it ended after {:?}", begun.elapsed());
    until("the refresh has ended with the run", async || home.count(hangs).await == 0).await;
    remove(&home, "hanging");
    home.query("delete from departments where id = 2").await;
    home.ingest().await.saying(&["a view was not refreshed at the end of the run", "division by zero"]);
    home.run("view refresh broken").await.failed_with(1).saying(&["division by zero"]);
}

/// Reads a view again and again, and notes the longest wait.
struct Reader {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Duration>,
}

impl Reader {
    async fn start(home: &Home, sql: &'static str) -> Self {
        let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let session = home.session().await;
        let (stopped, counted) = (stop.clone(), reads.clone());
        let task = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                session.simple_query(sql).await.unwrap_or_else(|error| panic!("a reader failed: {error:?}"));
                longest = longest.max(begun.elapsed());
                counted.fetch_add(1, Ordering::Relaxed);
            }
            longest
        });
        Self { stop, reads, task }
    }

    /// Waits until it has read so often from now on.
    async fn goes_on(&self, times: u64) {
        let before = self.reads.load(Ordering::Relaxed);
        until("a reader goes on", async || {
            assert!(!self.task.is_finished(), "the reader has ended");
            self.reads.load(Ordering::Relaxed) >= before + times
        })
        .await;
    }

    async fn longest_wait(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

#[tokio::test]
async fn a_changed_view_is_rebuilt_at_the_next_start_while_it_is_read() {
    let home = ingested().await;
    home.query(
        "insert into hired_employees select 1000000 + i, 'n', timestamptz '2021-01-01 UTC' + i * interval '1 min', \
         1 + i % 12, 1 + i % 183 from generate_series(1, 300000) as i",
    )
    .await;
    narrow(&home, "hires_by_quarter");
    let reader = Reader::start(&home, "select count(*), sum(q1) from hires_by_quarter").await;
    let layered = Reader::start(&home, "select count(*) from departments_above_mean").await;
    // One who reads in a long transaction: the exchange has to wait for it, and nobody else for the exchange.
    let long = home.session().await;
    long.simple_query("begin; select count(*) from hires_by_quarter").await.unwrap();
    let waits = "select count(*) from pg_stat_activity where datname = current_database() \
                 and wait_event_type = 'Lock' and query like 'create or replace view%'";
    let mut applying = home.spawn("run --until-idle");
    until("the exchange waits", async || home.count(waits).await == 1).await;
    reader.goes_on(5).await;
    layered.goes_on(5).await;
    assert!(!applying.has_ended(), "it does not wait for the long transaction: {}", applying.said());
    long.simple_query("commit").await.unwrap();
    applying.ended().await.succeeded();
    let (longest, of_layered) = (reader.longest_wait().await, layered.longest_wait().await);
    assert!(longest < WAIT_MAX && of_layered < WAIT_MAX, "readers waited {longest:?}, {of_layered:?}");
    company::assert_views_hold(&home).await;
    let conditions = &rows(&home, "explain hires_by_quarter").await[0]["store"]["conditions"];
    assert_eq!(conditions.as_array().unwrap().len(), 1, "{conditions}");
    home.run("view verify").await.succeeded();
}

#[tokio::test]
async fn a_refreshed_view_can_be_read_while_another_query_of_it_is_computed() {
    let home = company::home().await;
    let waiting = |n: u64| {
        format!(
            "-- refresh: 1day\nselect {n} + count(*) as n, pg_advisory_xact_lock_shared(42)::text as got from jobs"
        )
    };
    write(&home, "slow", &waiting(1));
    home.ingest().await;
    let holder = home.session().await;
    holder.simple_query("select pg_advisory_lock(42)").await.unwrap();
    write(&home, "slow", &waiting(2));
    let applying = home.spawn("view apply");
    let computes = "select count(*) from pg_stat_activity where datname = current_database() \
                    and wait_event_type = 'Lock' and query like 'create materialized view%'";
    until("it is computed", async || home.count(computes).await == 1).await;
    let reader = Reader::start(&home, "select * from slow").await;
    reader.goes_on(20).await;
    assert_eq!(home.query("select n from slow").await, ["1"]);
    holder.simple_query("select pg_advisory_unlock(42)").await.unwrap();
    applying.ended().await.succeeded();
    assert_eq!(home.query("select n from slow").await, ["2"]);
    let longest = reader.longest_wait().await;
    assert!(longest < WAIT_MAX, "a reader waited {longest:?}");
    assert_eq!(home.count("select count(*) from pg_class where relname like 'tidegate.%'").await, 0);
}

#[tokio::test]
async fn a_removed_file_drops_its_view_and_what_was_stored_for_it() {
    let home = company::home().await;
    write(&home, "by_job", "select job_id, sum(id) as ids from hired_employees group by job_id");
    company::drop_example(&home);
    home.ingest().await;
    let there = "select count(*) from pg_class where relname in ('by_job', 'view_by_job')";
    assert_eq!(home.count(there).await, 2);
    remove(&home, "by_job");
    home.ingest().await;
    assert_eq!(home.count(there).await, 0);
    home.query("delete from hired_employees where id < 100").await;
    home.run("verify").await.succeeded();
    for view in ["departments_above_mean", "hires_by_department", "hires_by_quarter"] {
        remove(&home, view);
    }
    home.ingest().await;
    assert_eq!(home.count("select count(*) from pg_trigger where tgname like 'tidegate%'").await, 0);
    assert_eq!(home.count("select count(*) from pg_class where relname like 'view_hires%'").await, 0);
}

#[tokio::test]
async fn what_a_user_built_on_a_view_is_not_dropped_without_being_told() {
    let home = ingested().await;
    home.query("create view mine as select year, sum(q1) as q1 from hires_by_quarter group by year").await;
    // The same columns: it is exchanged below the user's view.
    narrow(&home, "hires_by_quarter");
    home.ingest().await;
    assert_eq!(actions(&rows(&home, "apply --dry-run").await), [""; 0]);
    assert_eq!(home.count("select count(*) from pg_class where relname = 'mine'").await, 1);

    write(
        &home,
        "hires_by_quarter",
        "select department_id, count(*) as hired from hired_employees group by 1",
    );
    let plan = home
        .run("view apply --dry-run --format json")
        .await
        .failed_with(1)
        .saying(&["view mine", "--cascade"]);
    assert_eq!(of(&plan.rows(), "hires_by_quarter")["dependents"], json!(["view mine"]));
    let told = ["view 'hires_by_quarter' has to be dropped", "view mine", "tidegate view apply --cascade"];
    home.run("run --until-idle").await.failed_with(1).saying(&told);
    home.run("view apply").await.failed_with(1).saying(&told);
    assert!(home.count("select count(*) from mine").await > 0, "all is as it was");
    company::assert_views_hold(&home).await;
    home.run("view apply --dry-run --cascade").await.succeeded().saying(&["dropped along: view mine"]);
    home.run("view apply --cascade").await.succeeded();
    assert_eq!(home.query("select to_regclass('mine')").await, ["null"]);
    home.ingest().await;
    home.run("verify").await.succeeded();

    home.query("create view mine as select * from departments_above_mean").await;
    // What reads a view that has to be made anew is made anew too.
    let by_department = std::fs::read_to_string(home.path("sql/views/hires_by_department.sql")).unwrap();
    write(&home, "hires_by_department", &by_department.replace("::integer as year", "::bigint as year"));
    let plan =
        home.run("view apply --dry-run --format json").await.failed_with(1).saying(&["view mine"]).rows();
    let reader = of(&plan, "departments_above_mean");
    assert_eq!((&reader["action"], &reader["dependents"]), (&json!("replace"), &json!(["view mine"])));
    home.run("view apply").await.failed_with(1).saying(&["view 'departments_above_mean' has to be", "mine"]);
    write(&home, "hires_by_department", &by_department);
    remove(&home, "departments_above_mean");
    home.run("run --until-idle")
        .await
        .failed_with(1)
        .saying(&["view 'departments_above_mean' has to be", "mine"]);
}

#[tokio::test]
async fn grants_survive_a_rebuild() {
    let home = company::home().await;
    write(&home, "jobs_per_department", JOBS_PER_DEPARTMENT);
    home.ingest().await;
    home.query(
        "do $$ begin if to_regrole('view_reader') is null then create role view_reader; end if; end $$; \
         grant select on hires_by_quarter, hires_by_department, jobs_per_department to view_reader; \
         grant select on departments_above_mean to public",
    )
    .await;
    let grants = "select relname, grantee::regrole, privilege_type from pg_class, aclexplode(relacl) \
                  where grantee <> relowner and relnamespace = 'public'::regnamespace order by 1, 2";
    let before = home.query(grants).await;
    assert_eq!(before.len(), 4);
    narrow(&home, "hires_by_quarter");
    // Other columns: dropped and made anew, with what reads it.
    write(
        &home,
        "hires_by_department",
        "select extract(year from datetime at time zone 'UTC')::bigint as year, department_id as id, department, \
         count(*) as hired from hired_employees join departments on departments.id = department_id group by 1, 2, 3",
    );
    write(&home, "jobs_per_department", &JOBS_PER_DEPARTMENT.replace("as jobs", "as different_jobs"));
    home.ingest().await;
    assert_eq!(home.query(grants).await, before);
    home.query("drop owned by view_reader").await;
}

#[tokio::test]
async fn a_renamed_department_shows_at_once() {
    let home = ingested().await;
    let named = "select count(*) from hires_by_quarter where department = 'Renamed'";
    assert_eq!(home.count(named).await, 0);
    home.query("update departments set department = 'Renamed' where id = 1").await;
    assert!(home.count(named).await > 0);
    company::assert_views_hold(&home).await;
    home.drop("departments_again.csv", "1,Renamed Again\n");
    home.ingest().await;
    assert_eq!(home.count(named).await, 0);
    company::assert_views_hold(&home).await;
}

#[tokio::test]
async fn changes_of_others_while_nothing_runs_are_in_the_views() {
    let home = ingested().await;
    for sql in [
        "insert into hired_employees select 10000 + i, 'n', '2021-05-01', 1 + i % 12, 1 from generate_series(1, 50) i",
        "update hired_employees set department_id = 2, datetime = datetime + interval '3 months' where id % 3 = 0",
        "delete from hired_employees where id % 5 = 0",
        "insert into hired_employees values (1, 'n', '2021-05-01', 3, 1) on conflict (id) do update \
         set department_id = 3",
        "begin; delete from hired_employees; rollback",
        "truncate hired_employees",
        "insert into hired_employees values (1, 'n', '2021-05-01', 3, 1)",
    ] {
        home.query(sql).await;
        company::assert_views_hold(&home).await;
    }
    home.ingest().await;
    home.run("view verify").await.succeeded();
}

#[tokio::test]
async fn a_view_over_views_is_as_exact_as_they_are() {
    let home = company::home().await;
    write(
        &home,
        "years_above_mean",
        "select year, count(*) as departments from departments_above_mean group by year",
    );
    company::drop_example(&home);
    home.ingest().await;
    let afresh = "select year, count(*) from departments_above_mean group by year order by year";
    home.query("delete from hired_employees where department_id = 8").await;
    let shown = home.query("select * from years_above_mean order by year").await;
    assert!(!shown.is_empty());
    assert_eq!(shown, home.query(afresh).await);
    company::assert_views_hold(&home).await;
    assert_eq!(
        of(&rows(&home, "list").await, "years_above_mean")["reads"],
        json!(["departments_above_mean"])
    );
    home.run("verify").await.succeeded();
}

#[tokio::test]
async fn a_circle_of_views_and_a_faulty_view_are_refused_with_their_names() {
    let home = ingested().await;
    let before = in_database(&home).await;
    write(&home, "egg", "select * from hen");
    write(&home, "hen", "select * from egg");
    let circle = ["'egg' reads 'hen' reads 'egg'"];
    for command in ["run --until-idle", "view apply", "view apply --dry-run", "view list", "view explain"] {
        home.run(command).await.failed_with(1).saying(&circle);
    }
    remove(&home, "egg");
    write(&home, "hen", "select id\nfrom eggs");
    home.run("run --until-idle").await.failed_with(1).saying(&["view 'hen', line 2", "eggs"]);
    let check = home.run("check --format json").await.failed_with(1);
    let fault = check.rows().into_iter().find(|row| row["result"] == "fault").unwrap();
    assert!(fault["message"].as_str().unwrap().contains("sql/views: view 'hen', line 2"), "{fault}");
    write(&home, "hen", "select 1; select 2");
    home.run("run --until-idle").await.failed_with(2).saying(&["hen.sql: line 1", "one select a file"]);
    remove(&home, "hen");
    assert_eq!(in_database(&home).await, before);
    write(&home, "jobs_per_department", JOBS_PER_DEPARTMENT);
    let check = home.run("check --format json").await.succeeded().rows();
    let about = |view: &str| check.iter().find(|row| row["subject"] == format!("view {view}")).unwrap();
    assert_eq!(about("hires_by_quarter")["message"], "incremental: kept by each change to hired_employees");
    assert_eq!(about("departments_above_mean")["message"], "layered: a query over hires_by_department");
    assert_eq!(about("jobs_per_department")["result"], "warning");
    assert!(about("jobs_per_department")["message"].as_str().unwrap().contains("every 5m, for line 3: "));
    assert_eq!(in_database(&home).await, before);
    home.ingest().await.saying(&["view 'jobs_per_department' is refreshed every 5m", "line 3: "]);
}

/// What the first version had made of the views of the example.
const FIRST_VERSION: &str = "\
drop view departments_above_mean, hires_by_department, hires_by_quarter;
drop function tidegate.change_hired_employees cascade;
drop function tidegate.refresh_view;
drop table tidegate.view_hires_by_quarter, tidegate.views, tidegate.view_stores, tidegate.view_resets;
drop sequence tidegate.view_changes;
delete from tidegate.migrations where version >= 2;
drop table tidegate.leases, tidegate.members;
drop index tidegate.sources_of_files;
drop table tidegate.requests, tidegate.request_lines, tidegate.generated_keys, tidegate.tokens, tidegate.restores;
drop table tidegate.moves, tidegate.move_items, tidegate.move_jobs, tidegate.reloads;
alter table tidegate.sources drop column content, drop column first_key, drop column shape, drop column fingerprint,
    drop column awaited, drop column skipped;
alter table tidegate.dead_letters drop column shape, drop column dropped;
alter table tidegate.ledger drop column inserted_count, drop column updated_count, drop column superseded_count,
    drop column uncounted_count, drop column repeated_count;
drop table tidegate.shapes;
drop index tidegate.sources_of_names;
alter table tidegate.pipeline drop column form;
create table tidegate.leases (
    topic text not null, partition integer not null, owner uuid not null, host text not null, pid bigint not null,
    started_at timestamptz not null, expires_at timestamptz not null, primary key (topic, partition)
);
insert into tidegate.leases
select topic, 0, gen_random_uuid(), 'h', 1, now(), '-infinity' from unnest('{company-raw-jobs,company-raw-x}'::text[]) as topic;

create table tidegate.views (
    name text primary key,
    schema text not null,
    kind text not null check (kind in ('incremental', 'layered')),
    dataset text,
    keys text[] not null default '{}',
    definition text not null,
    created_at timestamptz not null default now()
);
create table tidegate.view_hires_by_quarter as
select
    extract(year from datetime at time zone 'UTC')::integer as year, department_id, job_id,
    count(*) filter (where extract(quarter from datetime at time zone 'UTC') = 1) as q1,
    count(*) filter (where extract(quarter from datetime at time zone 'UTC') > 1) as q2
from hired_employees group by 1, 2, 3;
create function tidegate.view_hires_by_quarter_change() returns trigger language plpgsql security definer
set search_path = public, pg_temp as $$ begin
    insert into tidegate.view_hires_by_quarter
    select extract(year from datetime at time zone 'UTC')::integer, department_id, job_id, 1, 0 from new_rows;
    return null;
end $$;
create trigger tidegate_hires_by_quarter_insert after insert on hired_employees referencing new table as new_rows
for each statement execute function tidegate.view_hires_by_quarter_change();
create view hires_by_quarter as
select year, department, job, sum(q1)::bigint as q1, sum(q2)::bigint as q2
from tidegate.view_hires_by_quarter join departments on departments.id = department_id join jobs on jobs.id = job_id
group by 1, 2, 3;
create view hires_by_department as
select year, department_id as id, department, sum(q1 + q2)::bigint as hired
from tidegate.view_hires_by_quarter join departments on departments.id = department_id group by 1, 2, 3;
create view departments_above_mean as
select * from hires_by_department where hired > (select avg(hired) from hires_by_department);
insert into tidegate.views (name, schema, kind, dataset, keys, definition) values
    ('hires_by_quarter', 'public', 'incremental', 'hired_employees', '{year,department_id,job_id}', '-- store: ...'),
    ('hires_by_department', 'public', 'layered', null, '{}', '-- view of hires_by_quarter ...'),
    ('departments_above_mean', 'public', 'layered', null, '{}', '-- view ...');
";

#[tokio::test]
async fn views_of_the_first_version_are_brought_over_by_the_next_start() {
    let home = ingested().await;
    home.query(FIRST_VERSION).await;
    home.query("insert into hired_employees values (10000, 'n', '2021-02-01', 1, 1)").await;
    assert!(home.count("select count(*) from departments_above_mean").await > 0, "it works as it did");
    home.query("create view mine as select * from hires_by_department").await;
    let told = ["others depend on them", "view mine depends on view hires_by_department"];
    home.run("run --until-idle").await.failed_with(1).saying(&told);
    assert!(home.count("select count(*) from departments_above_mean").await > 0, "nothing is dropped");
    home.query("drop view mine").await;
    home.drop("hired_employees_2.csv", "10001,Ada,2021-05-01T00:00:00Z,1,1\n");
    home.ingest().await;
    company::assert_accounted(&home).await;
    home.run("verify").await.succeeded();
    let triggers = home.query("select tgname from pg_trigger where not tgisinternal order by 1").await;
    assert_eq!(triggers, ["tidegate_delete", "tidegate_insert", "tidegate_truncate", "tidegate_update"]);
    let functions = "select proname from pg_proc where pronamespace = 'tidegate'::regnamespace";
    assert_eq!(
        home.query(&format!("{functions} order by 1")).await,
        ["change_hired_employees", "refresh_view"]
    );
    let stores = "select relname from pg_class where relname like 'view\\_hires%'";
    assert_eq!(home.query(stores).await, ["view_hires_by_quarter"]);
    home.query("delete from hired_employees where id % 2 = 0").await;
    company::assert_views_hold(&home).await;
}
