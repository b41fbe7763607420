//! The final state does not depend on the order in which files come.

use crate::company::{self, TABLES};
use crate::home::Home;

/// Files with broken lines and unknown references, in the order of [`TABLES`].
fn files() -> [String; 3] {
    let mut departments = String::new();
    for id in 1..=20 {
        match id {
            5 => departments.push_str("five,Broken\n"),
            11 => departments.push_str("11,\n"),
            _ => departments.push_str(&format!("{id},Department {id}\n")),
        }
    }
    let mut jobs = String::new();
    for id in 1..=40 {
        match id {
            7 => jobs.push_str("7,Seven,too many\n"),
            _ => jobs.push_str(&format!("{id},Job {id}\n")),
        }
    }
    let mut employees = String::new();
    for id in 1..=400u32 {
        let (department, job) = (id * 7 % 25 + 1, id * 11 % 45 + 1);
        let (year, month) = (2021 + id % 2, id % 12 + 1);
        let line = match id % 50 {
            3 => format!("{id},,{year}-{month:02}-01T00:00:00Z,{department},{job}"),
            17 => format!("{id},\"Name, {id}\",yesterday,{department},none"),
            29 => format!("x{id},Name {id},{year}-{month:02}-01T00:00:00Z,{department},{job}"),
            _ => format!("{id},Name {id},{year}-{month:02}-28T23:59:59+03:00,{department},{job}"),
        };
        employees.push_str(&line);
        employees.push('\n');
    }
    [departments, jobs, employees]
}

fn drop_file(home: &Home, files: &[String; 3], i: usize) {
    home.drop(&format!("{}.csv", TABLES[i]), &files[i]);
}

/// Of 20 departments two are broken, of 40 jobs one: employees of these, and of those beyond, wait.
async fn ingested_at_once() -> Vec<String> {
    let (home, files) = (company::home().await, files());
    (0..3).for_each(|i| drop_file(&home, &files, i));
    home.ingest().await;
    company::assert_accounted(&home).await;
    let waiting = "select count(*) from tidegate.dead_letters where status = 'waiting'";
    assert!(home.count(waiting).await > 50, "the files are to hold unknown references");
    company::state(&home).await
}

#[tokio::test]
async fn files_ingested_in_any_order_give_the_same_state() {
    let (expected, files) = (ingested_at_once().await, files());
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let home = company::home().await;
        for i in order {
            drop_file(&home, &files, i);
            home.ingest().await;
            company::assert_accounted(&home).await;
        }
        company::assert_same(&format!("order {order:?}"), &company::state(&home).await, &expected);
    }
}

#[tokio::test]
async fn files_dropped_into_a_watched_folder_in_any_order_give_the_same_state() {
    let (expected, files) = (ingested_at_once().await, files());
    for order in [[2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let home = company::home().await;
        let mut running = home.spawn("run");
        for i in order {
            running.says("running").await;
            drop_file(&home, &files, i);
        }
        crate::home::until("all three files are through", async || home.names_in("landing/done").len() == 3)
            .await;
        running.signal(nix::sys::signal::Signal::SIGTERM);
        running.ended().await.succeeded();
        home.ingest().await; // what may still be healed is healed
        company::assert_accounted(&home).await;
        company::assert_same(&format!("order {order:?}"), &company::state(&home).await, &expected);
    }
}

#[tokio::test]
async fn lines_of_a_file_in_reverse_order_give_the_same_rows() {
    let files = files();
    let backwards = files.clone().map(|file| {
        let lines: Vec<&str> = file.lines().rev().collect();
        format!("{}\n", lines.join("\n"))
    });
    let home = company::home().await;
    (0..3).for_each(|i| drop_file(&home, &backwards, i));
    home.ingest().await;
    company::assert_same("backwards", &company::state(&home).await, &ingested_at_once().await);
}

#[tokio::test]
async fn the_newest_of_several_lines_of_a_key_holds_the_row_whichever_comes_last_to_postgres() {
    let home = company::home().await;
    home.drop("departments-1.csv", "1,First\n1,Second\n2,Only\n1,Third\n");
    home.ingest().await;
    assert_eq!(
        home.query("select id, department, _source, _line from departments order by id").await,
        ["1|Third|1|4", "2|Only|1|3"]
    );
    home.drop("departments-2.csv", "2,Newer\n");
    home.ingest().await;
    assert_eq!(
        home.query("select department from departments order by id").await,
        ["Third", "Newer"],
        "a later source is newer"
    );
    // The line of an employee that waited is older than one that was ingested meanwhile.
    home.drop("jobs.csv", "1,Job\n");
    home.drop("hired_employees-1.csv", "7,Older,2021-01-01T00:00:00Z,3,1\n");
    home.ingest().await;
    home.drop("hired_employees-2.csv", "7,Newer,2021-01-01T00:00:00Z,1,1\n");
    home.ingest().await;
    home.drop("departments-3.csv", "3,Late\n");
    home.ingest().await;
    assert_eq!(home.query("select id, name from hired_employees").await, ["7|Newer"]);
    company::assert_accounted(&home).await;
}

#[tokio::test]
async fn a_waiting_line_names_just_the_references_that_it_still_lacks() {
    let home = company::home().await;
    home.drop("departments.csv", "1,One\n");
    home.drop("hired_employees.csv", "1,Ada,2021-01-01T00:00:00Z,2,2\n");
    home.ingest().await;
    let columns = "select reason ->> 'column' from tidegate.dead_letters, jsonb_array_elements(reasons) as reason \
                   where status = 'waiting'";
    assert_eq!(home.query(columns).await, ["department_id", "job_id"]);
    home.drop("jobs.csv", "2,Two\n");
    home.ingest().await;
    // As if the jobs had come first.
    assert_eq!(home.query(columns).await, ["department_id"]);
}
