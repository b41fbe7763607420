//! The example of the repository gives the numbers that its readme names.

use crate::company;

#[tokio::test]
async fn the_example_gives_the_numbers_of_its_readme() {
    let home = company::home().await;
    company::drop_example(&home);
    let summary = home.run("run --until-idle --format json").await.succeeded().json();
    let of = |i: usize| {
        let row = &summary["datasets"][i];
        let n = |name: &str| row[name].as_u64().unwrap();
        (row["dataset"].as_str().unwrap(), n("accepted"), n("rejected"), n("waiting"), n("in_flight"))
    };
    assert_eq!(of(0), ("departments", 12, 0, 0, 0));
    assert_eq!(of(1), ("jobs", 183, 0, 0, 0));
    assert_eq!(of(2), ("hired_employees", 1930, 66, 4, 0));
    company::assert_accounted(&home).await;

    let waiting = "select line from tidegate.dead_letters where status = 'waiting' order by line";
    assert_eq!(home.query(waiting).await, ["1247", "1250", "1506", "1991"]);
    assert_eq!(home.names_in("landing"), ["done"]);
    assert_eq!(
        home.names_in("landing/done"),
        ["1-departments.csv", "2-jobs.csv", "3-hired_employees.csv"],
        "parents are read first"
    );
}

#[tokio::test]
async fn odd_names_of_the_example_go_through_as_they_are() {
    let home = company::home().await;
    company::drop_example(&home);
    home.ingest().await;
    let with = async |condition: &str| {
        home.query(&format!("select id from hired_employees where {condition} order by id")).await
    };
    assert_eq!(with("name like '%,%'").await, ["42", "1207", "1888"]);
    assert_eq!(with("name like '%\"%'").await, ["256", "1888"]);
    assert_eq!(with("name ~ '[\\r\\n]'").await, ["613"]);
}

#[tokio::test]
async fn a_waiting_line_of_the_example_heals_when_its_department_is_inserted() {
    let home = company::home().await;
    company::drop_example(&home);
    home.ingest().await;
    home.query("insert into departments values (99, 'Late')").await;
    let summary = home.run("run --until-idle --format json").await.succeeded().json();
    assert_eq!(summary["datasets"][2]["accepted"], 1932, "{summary}");
    assert_eq!(summary["datasets"][2]["waiting"], 2, "{summary}");
    let healed = home.query("select id, _source, _line from hired_employees where department_id = 99").await;
    assert_eq!(healed, ["1506|3|1506", "1991|3|1991"], "at their own positions");
    company::assert_accounted(&home).await;
}
