//! Commands that look into a pipeline: views, sources, dead letters, topics.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::company;
use crate::home::Home;

/// A company small enough to be read: two departments, two jobs, four hires, and four dead letters.
async fn small() -> Home {
    let home = company::home().await;
    home.drop("departments.csv", "1,\"Sales, West\"\n2,Support\n,None\n");
    home.drop("jobs.csv", "1,Clerk\n2,Cook\n");
    home.drop(
        "hired_employees.csv",
        "1,Ada,2021-02-01T00:00:00Z,1,1\n2,Bo,2021-05-01T00:00:00Z,1,1\n3,Cy,2021-12-31T23:59:59-01:00,1,1\n\
         4,Di,2021-08-01T00:00:00Z,2,2\n5,,2021-08-01T00:00:00Z,2,two\n6,Ed,2021-08-01T00:00:00Z,9,2\n",
    );
    home.ingest().await;
    home
}

#[tokio::test]
async fn a_view_is_shown_in_three_formats_and_filtered() {
    let home = small().await;
    let csv = home.run("view hires_by_quarter --format csv").await.succeeded().stdout;
    assert_eq!(
        csv,
        "year,department,job,q1,q2,q3,q4\n2021,\"Sales, West\",Clerk,1,1,0,0\n2021,Support,Cook,0,0,1,0\n\
         2022,\"Sales, West\",Clerk,1,0,0,0\n",
        "quarters are of UTC"
    );
    let rows = home.run("view hires_by_quarter --where year=2021 --format json").await.succeeded().rows();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[1],
        json!({"year": 2021, "department": "Support", "job": "Cook", "q1": 0, "q2": 0, "q3": 1, "q4": 0})
    );
    let mut two = home.command(["view", "hires_by_quarter", "--where", "year=2021"]);
    two.args(["--where", "department=Sales, West", "--format", "csv"]);
    let two = crate::home::Running::start(two).ended().await.succeeded().stdout;
    assert_eq!(two, "year,department,job,q1,q2,q3,q4\n2021,\"Sales, West\",Clerk,1,1,0,0\n");

    let table = home.run("view departments_above_mean --where year=2021").await.succeeded().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[1].contains("year") && lines[1].contains("hired"), "{table}");
    assert!(table.contains("Sales, West") && !table.contains("Support"), "{table}");
    let none = home.run("view departments_above_mean --where year=1999 --format json").await.succeeded();
    assert_eq!(none.json(), json!([]));
}

#[tokio::test]
async fn an_unknown_view_column_or_value_is_said_with_what_is_known() {
    let home = small().await;
    home.run("view hires").await.failed_with(1).saying(&[
        "there is no view 'hires'",
        "departments_above_mean, hires_by_department, hires_by_quarter",
    ]);
    home.run("view hires_by_quarter --where yaer=2021")
        .await
        .failed_with(1)
        .saying(&["no column 'yaer'", "year, department, job, q1, q2, q3, q4"]);
    let outcome = home.run("view hires_by_quarter --where year=soon").await.failed_with(1);
    outcome.saying(&["'soon' is no value of column 'year'"]);
    home.run("view hires_by_quarter --where year").await.failed_with(2).saying(&["column=value"]);
    let mut sly = home.command(["view", "hires_by_quarter", "--where"]);
    sly.arg("year=2021; drop table departments");
    crate::home::Running::start(sly).ended().await.failed_with(1);
    assert_eq!(home.query("select count(*) from departments").await, ["2"]);
}

#[tokio::test]
async fn sources_tell_what_became_of_every_line() {
    let home = small().await;
    let csv = home.run("sources --format csv").await.succeeded().stdout;
    assert_eq!(
        csv,
        "source,dataset,name,lines,accepted,inserted,updated,superseded,uncounted,rejected,waiting,discarded,in_flight,\
         skipped,complete\n1,departments,departments.csv,3,2,2,0,0,0,1,0,0,0,,true\n\
         2,jobs,jobs.csv,2,2,2,0,0,0,0,0,0,0,,true\n\
         3,hired_employees,hired_employees.csv,6,4,4,0,0,0,1,1,0,0,,true\n"
    );
    assert!(home.run("sources").await.succeeded().stdout.contains("hired_employees.csv"));
}

#[tokio::test]
async fn dead_letters_are_listed_with_a_row_for_each_reason() {
    let home = small().await;
    let list = async |arguments: &str| {
        let command = format!("dead-letters list {arguments} --format json");
        let rows = home.run(&command).await.succeeded().rows();
        let text = |row: &serde_json::Value| {
            format!("{}:{} {} {}", row["source"], row["line"], row["status"].as_str().unwrap(), row["code"])
                .replace('"', "")
        };
        rows.iter().map(text).collect::<Vec<_>>()
    };
    let all = [
        "3:6 waiting unknown_reference",
        "3:5 rejected missing_value",
        "3:5 rejected invalid_integer",
        "1:3 rejected missing_value",
    ];
    assert_eq!(list("").await, all);
    assert_eq!(list("--dataset departments").await, all[3..]);
    assert_eq!(list("--source 3").await, all[..3]);
    assert_eq!(list("--status waiting").await, all[..1]);
    assert_eq!(list("--code missing_value --source 3").await, all[1..2]);
    assert_eq!(list("--limit 1").await, all[..1]);
    assert_eq!(list("--after 3:6").await, all[1..]);
    let bare = home.run("dead-letters --format csv").await.succeeded().stdout;
    assert_eq!(bare, home.run("dead-letters list --format csv").await.succeeded().stdout);
    assert!(
        bare.starts_with("source,line,dataset,status,code,column,message,text\n3,6,hired_employees,"),
        "{bare}"
    );
}

#[tokio::test]
async fn one_dead_letter_is_shown_whole() {
    let home = small().await;
    let shown = home.run("dead-letters show 3:5 --format json").await.succeeded().rows();
    assert_eq!(shown.len(), 1);
    let letter = &shown[0];
    assert_eq!(letter["name"], "hired_employees.csv");
    assert_eq!(letter["stage"], "transform");
    assert_eq!(letter["text"], "5,,2021-08-01T00:00:00Z,2,two");
    assert_eq!(
        letter["reasons"],
        json!([
            {"code": "missing_value", "column": "name", "message": "name is required", "value": ""},
            {"code": "invalid_integer", "column": "job_id", "message": "job_id is not an integer", "value": "two"},
        ])
    );
    home.run("dead-letters show 3:1").await.failed_with(1).saying(&["3:1", "is no dead letter"]);
    home.run("dead-letters show 3-1").await.failed_with(2);
}

#[tokio::test]
async fn dead_letters_are_summed_up_by_dataset_status_and_reason() {
    let home = small().await;
    let csv = home.run("dead-letters summary --format csv").await.succeeded().stdout;
    assert_eq!(
        csv,
        "dataset,status,code,column,lines,setting\ndepartments,rejected,missing_value,id,1,\n\
         hired_employees,rejected,invalid_integer,job_id,1,\nhired_employees,rejected,missing_value,name,1,\n\
         hired_employees,waiting,unknown_reference,department_id,1,\n"
    );
}

#[tokio::test]
async fn topics_can_be_read_while_a_run_has_the_data_directory() {
    let home = company::embedded(company::MANIFEST).await;
    let mut running = home.spawn("run");
    running.says("running").await;
    home.drop("departments.csv", "1,One\n2,\n3,Three\n");
    crate::home::until("the file is through", async || home.names_in("landing/done").len() == 1).await;
    let topics = home.run("topic --format json").await.succeeded().rows();
    let end = |topic: &str| {
        let found = topics.iter().find(|row| row["topic"] == topic);
        found.unwrap_or_else(|| panic!("no {topic}: {topics:?}"))["end"].as_u64().unwrap()
    };
    assert_eq!(end("company-raw-departments"), 3);
    assert_eq!(end("company-accepted-departments"), 2);
    assert_eq!(end("company-dead-letters"), 1);
    assert_eq!(end("company-raw-hired-employees"), 0);
    assert_eq!(topics.len(), 7, "{topics:?}");

    let read = async |arguments: &str| {
        home.run(&format!("topic read {arguments} --format json")).await.succeeded().rows()
    };
    let raw = read("company-raw-departments").await;
    // In front stands the form of the lines, which is one for all of a dataset.
    let form = raw[0]["value"].as_str().unwrap().split(',').next().unwrap().to_owned();
    assert_ne!(form.parse::<u32>().unwrap(), 0);
    let value = |rest: &str| format!("{form},{rest}");
    assert_eq!(raw[0], json!({"partition": 0, "offset": 0, "key": "1", "value": value("1,1,1,One")}));
    assert_eq!(raw.len(), 3);
    let some = read("company-raw-departments --from 1 --limit 1").await;
    assert_eq!(some, [json!({"partition": 0, "offset": 1, "key": "2", "value": value("1,2,2,")})]);
    let letters = read("company-dead-letters").await;
    let letter: serde_json::Value = serde_json::from_str(letters[0]["value"].as_str().unwrap()).unwrap();
    assert_eq!((&letter["event"], &letter["line"]), (&json!("rejected"), &json!(2)), "{letter}");
    assert!(!running.has_ended(), "{}", running.said());
    running.signal(Signal::SIGTERM);
    running.ended().await.succeeded();
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_said() {
    let home = small().await;
    let outcome = home.run("topic read company-raw-cats").await.failed_with(1);
    outcome.saying(&["company-raw-cats"]);
    let elsewhere = home.run("topic read ../../landing/done").await;
    assert_ne!(elsewhere.code, Some(0), "{elsewhere:?}");
}

#[tokio::test]
async fn looking_into_a_database_that_no_run_has_prepared_says_so() {
    let home = company::home().await;
    for command in ["sources", "dead-letters", "view hires_by_quarter"] {
        let outcome = home.run(command).await.failed_with(1);
        assert!(outcome.stderr.contains("tidegate run"), "{command}: {}", outcome.stderr);
    }
}
